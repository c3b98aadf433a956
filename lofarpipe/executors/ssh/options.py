"""[ssh] of pipeline.cfg."""

from __future__ import annotations

import os
import shutil

from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.queue import walltime_problem
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.host_list import expand_hosts

NO_SSH = "there is no ssh on PATH; install openssh-client, or set method = local in [remote] of pipeline.cfg"
ENVIRONMENTS = ("run", "host")


def is_this_machine(host: str) -> bool:
    """Whether a name denotes this machine."""
    this_host = os.uname().nodename
    return host in {"localhost", this_host, this_host.partition(".")[0]}


def walltime_s(text: str) -> float:
    """Convert a time limit in sbatch's notation to s; infinity if there is none."""
    if not text or text[0].isalpha():
        return float("inf")
    days, dash, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if dash:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:  # minutes[:seconds]
        hours, minutes, seconds = (0, *parts, 0)[:3]
    return 86400.0 * int(days or 0) + 3600 * hours + 60 * minutes + seconds


@dataclass(frozen=True)
class SshOptions:
    """Section [ssh] of pipeline.cfg; each field is a key.

    Attributes
    ----------
    hosts: host names, such as ``node[01-12],big``; localhost and this machine's name are used without ssh.
    cores, memory_gb, gpus: of each host; 0: as detected there.
    environment: run: jobs have the run's variables, as with other methods; host: on other machines those of the login.
    env_file: shell file sourced before each job on its host; ``~/`` is the home directory there.
    walltime: time limit of a job; a step's own has priority.
    extra: further options of ssh.
    """

    hosts: str
    cores: int = 0
    memory_gb: float = 0.0
    gpus: int = 0
    environment: str = "run"
    env_file: str = ""
    walltime: str = ""
    extra: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Return the host names, with this machine only under its first name.

        Raises
        ------
        PipelineError
            If the list is invalid.
        """
        names = expand_hosts(self.hosts)
        local_names = [name for name in names if is_this_machine(name)]
        return tuple(name for name in names if name not in local_names[1:])

    def faults(self) -> dict[str, str]:
        """Return key -> expected value, for invalid values."""
        problems = {}
        try:
            expand_hosts(self.hosts)
        except PipelineError as err:
            problems["hosts"] = str(err)
        if self.environment not in ENVIRONMENTS:
            problems["environment"] = f"one of {', '.join(ENVIRONMENTS)} is needed"
        if self.env_file and not self.env_file.startswith(("/", "~/")):
            problems["env_file"] = "a path that begins with / or ~/ is needed"
        problem = walltime_problem(self.walltime)
        return problems | ({"walltime": problem} if problem else {})

    def problems(self) -> list[str]:
        """Return the problems of the options on this machine."""
        elsewhere = not all(is_this_machine(name) for name in self.names())
        return [f"hosts = {self.hosts}: {NO_SSH}"] if elsewhere and shutil.which("ssh") is None else []
