"""A known program called by a script whose next call depends on what this one made."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Resources
from lofarpipe.programs.argv import build_argv
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.find import find


def call_program(name: str, keywords: Mapping[str, str], flags: Sequence[str]) -> None:
    """Run a known program with the cores of this job, and print its log.

    Raises
    ------
    PipelineError
        If it is not found, or ends with an error; the message has what it complained of.
    """
    program = KNOWN_PROGRAMS[name]
    executable = find(program.task["executable"])
    cores = int(os.environ.get("OMP_NUM_THREADS", "1"))
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 / (os.cpu_count() or 1) * cores
    fitted, rest, notices = program.complete(executable, keywords, flags, Resources(cores, memory_gb))
    argv = build_argv(str(executable), rest, fitted, program.task["args_format"])
    for notice in notices:
        print(notice)
    print("command:", *argv, flush=True)
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(done.stdout, flush=True)
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
        raise PipelineError(f"{program.name} ended with {done.returncode}: {program.complaint(done.stdout) or last}")
