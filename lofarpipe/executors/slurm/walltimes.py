"""Time limits as queues take them: what each accepts, and what to say of anything else.

Source: sbatch(1), --time; pbs_resources(7), walltime; bsub(1), -W; complex(5) of Grid Engine, TIME.
"""

from __future__ import annotations

import re

_CLOCK = r"\d+(:\d+){0,2}"
#: Queue -> pattern of its times, and the forms as people read them.
FORMS = {
    "slurm": (
        re.compile(rf"{_CLOCK}|\d+-{_CLOCK}|unlimited|infinite", re.IGNORECASE),
        "a time is needed, as minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes or "
        "days-hours:minutes:seconds, such as 12:00:00 or 2-00:00:00, or UNLIMITED",
    ),
    "pbs": (re.compile(_CLOCK), "a time is needed, as seconds, minutes:seconds or hours:minutes:seconds"),
    "lsf": (re.compile(r"\d+(:\d+)?"), "a time is needed, as minutes or hours:minutes"),
    "sge": (re.compile(r"\d+|\d*:\d*:\d*"), "a time is needed, as seconds or hours:minutes:seconds"),
}


def walltime_problem(text: str, queue: str = "slurm") -> str:
    """Return what a queue needs instead of a time limit; "" if it takes it, or if none was set."""
    pattern, needed = FORMS[queue]
    return "" if not text or pattern.fullmatch(text) else needed
