"""Time limits as the manuals of queues have them."""

from __future__ import annotations

import pytest

from lofarpipe.executors.remote.queue import FORMS, walltime_problem

SLURM = "90 90:00 12:00:00 2-0 2-12:30 2-00:00:00 UNLIMITED infinite"  # all taken by sbatch 22.05 --test-only


@pytest.mark.parametrize(
    ("queue", "texts"),
    [("slurm", SLURM), ("pbs", "3600 60:00 12:00:00"), ("lsf", "90 1:30"), ("sge", "3600 1:00:00 :30:")],
)
def test_valid_walltimes_are_accepted(queue: str, texts: str) -> None:
    assert [text for text in texts.split() if walltime_problem(text, queue)] == []
    assert walltime_problem("", queue) == ""


@pytest.mark.parametrize(
    ("queue", "texts"),
    [
        ("slurm", "soon 12h 1d 2- -1 1:2:3:4 2-1:2:3:4 1.5 12:00:00.5 1:00: :30"),
        ("pbs", "2-00:00:00 1:2:3:4 12h"),
        ("lsf", "12:00:00 2-0 12h"),
        ("sge", "12:00 2-0 12h"),
    ],
)
def test_invalid_walltimes_are_refused(queue: str, texts: str) -> None:
    assert [walltime_problem(text, queue) for text in texts.split()] == [FORMS[queue][1]] * len(texts.split())


def test_refusal_lists_walltime_forms() -> None:
    assert walltime_problem("12h") == (
        "a time is needed, as minutes, minutes:seconds, hours:minutes:seconds, days-hours, days-hours:minutes or "
        "days-hours:minutes:seconds, such as 12:00:00 or 2-00:00:00, or UNLIMITED"
    )
