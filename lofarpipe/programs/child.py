"""A known program as a child of a job that runs several: checked, completed and watched as in a step of its own."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Resources
from lofarpipe.programs.argv import build_argv
from lofarpipe.programs.base import KNOWN_PROGRAMS, Program
from lofarpipe.programs.find import find, quiet_environment
from lofarpipe.programs.logs import detector_of, explained

END_S = 10.0  # from SIGTERM to SIGKILL
TAIL_LINES = 400


class ChildFailed(PipelineError):  # noqa: N818 - named after the event
    """A program refused its arguments, failed, or was aborted because of its log."""


def run_program(
    name: str, keywords: Mapping[str, str], flags: Sequence[str], share: Resources, workdir: Path
) -> tuple[str, ...]:
    """Run a known program in ``workdir`` and return its command; its output goes to the job's log.

    Raises
    ------
    ChildFailed
        If it failed; with the message in its log, and the remedy if known.
    PipelineError
        If it is not installed.
    """
    program = KNOWN_PROGRAMS[name]
    executable = find(program.task["executable"])
    if findings := program.check(executable, keywords, flags, share):
        raise ChildFailed(f"{program.name} would refuse its arguments: {'; '.join(findings)}")
    fitted, rest, notices = program.complete(executable, keywords, flags, share)
    for notice in notices:
        print(f"{program.name}: {notice}")
    argv = build_argv(str(executable), rest, fitted, program.task["args_format"])
    print(shlex.join(argv), flush=True)
    tail, sign, code = _watched(program, argv, workdir, share)
    log = "".join(tail)
    reason = sign or program.complaint(log) or (explained(program.name, log, program.messages) if code else "")
    if code or sign or reason:
        ending = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        raise ChildFailed(f"{program.name} {ending}{': ' if reason else ''}{reason}")
    return tuple(argv)


def _watched(program: Program, argv: Sequence[str], workdir: Path, share: Resources) -> tuple[list[str], str, int]:
    """Return the last lines of a program, the reason to end it, and its exit code."""
    detector = detector_of(program, {})
    environment = {**quiet_environment(), "OMP_NUM_THREADS": str(share.cores)}
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    sign = ""
    with _child(argv, workdir, environment) as process:
        for line in _lines(process):
            sys.stdout.write(line)
            tail.append(line)
            if detector is not None and not sign and (sign := detector(line.rstrip("\n")) or ""):
                _end(process)
        code = process.wait()
    return list(tail), sign, code


class _child:  # noqa: N801 - used as a context manager alone
    """A process that does not outlive the block."""

    def __init__(self, argv: Sequence[str], workdir: Path, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            argv,
            cwd=workdir,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def __enter__(self) -> subprocess.Popen[str]:
        return self._process

    def __exit__(self, *_: object) -> None:
        _end(self._process)
        if self._process.stdout is not None:
            self._process.stdout.close()


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    yield from process.stdout


def _end(process: subprocess.Popen[str]) -> None:
    """End a process that lives."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
