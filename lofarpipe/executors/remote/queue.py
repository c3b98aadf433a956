"""Common parts of cluster queues: time limits, temporary refusals, environments of remote jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lofarpipe.support.patterns import lazy_pattern

_CLOCK = r"\d+(:\d+){0,2}"
#: Queue -> pattern of its time limits, and their description.
FORMS = {
    "slurm": (
        lazy_pattern(rf"{_CLOCK}|\d+-{_CLOCK}|unlimited|infinite", re.IGNORECASE),
        "a time is needed, as minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes or "
        "days-hours:minutes:seconds, such as 12:00:00 or 2-00:00:00, or UNLIMITED",
    ),
    "pbs": (lazy_pattern(_CLOCK), "a time is needed, as seconds, minutes:seconds or hours:minutes:seconds"),
    "lsf": (lazy_pattern(r"\d+(:\d+)?"), "a time is needed, as minutes or hours:minutes"),
    "sge": (lazy_pattern(r"\d+|\d*:\d*:\d*"), "a time is needed, as seconds or hours:minutes:seconds"),
}


def walltime_problem(text: str, queue: str = "slurm") -> str:
    """Return the expected form of an invalid time limit; "" if valid or unset."""
    pattern, needed = FORMS[queue]
    return "" if not text or pattern.fullmatch(text) else needed


#: Variables that a user sets for all submissions; any others of this kind would change the runner's requests.
USERS_DEFAULTS = ("ACCOUNT", "PARTITION", "QOS", "RESERVATION", "CONSTRAINT", "CLUSTERS")
OF_SLURM_ITSELF = ("SLURM_CONF", "SLURM_JWT", "SLURM_CONF_SERVER")
#: The controller is busy or restarting: the same command works later.
PASSING = lazy_pattern(
    r"Unable to contact slurm controller|Socket timed out|Connection (refused|timed out|reset)|Zero Bytes were|"
    r"slurmctld is in the process|temporarily (unable|unavailable)|Resource temporarily|submit limit",
    re.IGNORECASE,
)
#: Variables of one machine or terminal, wrong on another.
OF_A_SESSION = lazy_pattern(r"(SSH|XDG|DBUS|DASK|TERM|TMUX|STY|DISPLAY|WAYLAND|HOST|TMP|TEMP|PWD|OLDPWD|SHLVL|_$)")
SECRET = lazy_pattern(r"TOKEN|SECRET|PASS|CREDENTIAL|_KEY|KEY_")


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Slurm's commands and for jobs, also inside a Slurm job."""
    users = {f"SBATCH_{name}" for name in USERS_DEFAULTS}
    exceptions = {*OF_SLURM_ITSELF, *users}
    ours = {
        "CUDA_VISIBLE_DEVICES",
        "GPU_DEVICE_ORDINAL",
        "ROCR_VISIBLE_DEVICES",
    }  # variables of this allocation, not of the job's
    prefixes = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SALLOC_", "PMI_", "PMIX_")
    return {
        name: value
        for name, value in environment.items()
        if name in exceptions or not (name in ours or name.startswith(prefixes))
    }


def portable_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for jobs in another session of the user or the site, without secrets."""
    return {
        name: value
        for name, value in clean_environment(environment).items()
        if not (OF_A_SESSION.match(name) or SECRET.search(name))
    }
