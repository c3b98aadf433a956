"""Checks of measurement sets before the first job, here or on the job's host: presence, format, column."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path

from lofarpipe.cli.imgpipe.settings import ImgpipeSettings
from lofarpipe.errors import PipelineError
from lofarpipe.executors.ssh.options import is_this_machine
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.host_list import expand_hosts

MISSING = "there is no such measurement set"
NO_SET = "is no measurement set: it has no table.dat and no SPECTRAL_WINDOW"
NOT_HERE = "cannot be seen from here, so that its channels cannot be counted; make channels-out a number"
LOOK = """exec /bin/sh -c 'while IFS= read -r set; do
if [ -f "$set/table.dat" ]; then echo found; elif [ -e "$set" ]; then echo other; else echo missing; fi; done'"""
SSH = ("ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
LIMIT_S = 60.0


@functools.cache
def set_problem(path: Path, column: str) -> str:
    """Return the fault of a set, or ""."""
    if not path.exists():
        return MISSING + _hint(path)
    if not (path / "table.dat").is_file() or not (path / "SPECTRAL_WINDOW").is_dir():
        return NO_SET
    from lofarpipe.imaging.ms.tables import opened

    try:
        with opened(str(path)) as main:
            columns = main.colnames()
    except PipelineError as err:
        return str(err).removeprefix(f"{path}: ")
    if not column or column in columns:
        return ""
    with_data = [name for name in columns if name.endswith("DATA") and name != "SIGMA_DATA"]
    return f"has no column {column}; it has {', '.join(with_data)}; set wsclean.data-column"


def _hint(path: Path) -> str:
    """Return the likely mistake in the name of a missing set, or ""."""
    pieces = str(path).split(",")
    if len(pieces) > 1 and all(Path(piece).exists() for piece in pieces):
        return "; blanks separate sets, not commas"
    if path.parent == Path() and {":", "*", "?", "["} & set(path.name):
        return "; for patterns of observations set data_handler.config_file"
    return ""


@functools.cache
def read_frequencies(path: Path) -> list[list[float]]:
    """Return the channel frequencies of a set, Hz, by spectral window.

    Raises
    ------
    ValueError
        If they cannot be read; with the reason.
    """
    from lofarpipe.imaging.ms.tables import opened

    if not path.exists():
        raise ValueError(f"{path} {NOT_HERE}")
    try:
        with opened(str(path / "SPECTRAL_WINDOW")) as windows:
            return [[float(one) for one in windows.getcell("CHAN_FREQ", row)] for row in range(windows.nrows())]
    except PipelineError as err:
        raise ValueError(str(err)) from err


@dataclass
class SetChecks:
    """The faults of sets; if all jobs run on other hosts, missing sets are looked for there.

    Attributes
    ----------
    elsewhere: sets found only on another host -> that host.
    """

    settings: ImgpipeSettings
    column: str
    elsewhere: dict[Path, str] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """Warnings of sets that only other hosts have."""
        unseen = "its column is not checked, and changes of it are not seen"
        return [f"{path}: only host {host} has it; {unseen}" for path, host in self.elsewhere.items()]

    def problems(self, paths: Sequence[Path]) -> dict[Path, str]:
        """Return the faults of faulty sets."""
        problems = {path: problem for path in paths if (problem := set_problem(path, self.column))}
        missing = [path for path, problem in problems.items() if problem.startswith(MISSING)]
        hosts = self._other_hosts() if missing else ()
        paths_by_host: dict[str, list[Path]] = {}
        for path in missing if hosts else ():
            paths_by_host.setdefault(self._host_of(path, hosts), []).append(path)
        for host, few in paths_by_host.items():
            problems |= self._search_host(host, few)
        return {path: problem for path, problem in problems.items() if problem}

    def _other_hosts(self) -> Sequence[str]:
        """Return the hosts of the jobs; empty if jobs run on this machine or in a queue."""
        hosts = expand_hosts(str(self.settings["nodes"]))
        return () if hosts == ("slurm",) or any(map(is_this_machine, hosts)) else hosts

    def _host_of(self, path: Path, hosts: Sequence[str]) -> str:
        pattern = str(self.settings["run_on_file_host_pattern"])
        match = re.search(pattern, str(path)) if pattern and self.settings["run_on_file_host"] is True else None
        return match[1] if match and match[1] in hosts else hosts[0]

    def _search_host(self, host: str, paths: Sequence[Path]) -> Mapping[Path, str]:
        names = "".join(f"{path.absolute()}\n" for path in paths)
        try:
            done = subprocess.run(
                [*SSH, host, LOOK], input=os.fsencode(names), capture_output=True, check=False, timeout=LIMIT_S
            )
            answers = done.stdout.decode().split()
        except (OSError, subprocess.TimeoutExpired):
            answers = []
        if len(answers) != len(paths):  # unreachable hosts are reported by the check of hosts
            return dict.fromkeys(paths, f"{MISSING} here, and host {host} gives no answer")
        self.elsewhere |= {path: host for path, answer in zip(paths, answers, strict=True) if answer == "found"}
        faults = {"found": "", "other": f"{NO_SET}, on host {host}"}
        missing = f"{MISSING}, here or on host {host}"
        return {path: faults.get(answer, missing) for path, answer in zip(paths, answers, strict=True)}
