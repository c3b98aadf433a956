"""How many jobs a run submits: as it was said, and as refusals tell."""

from __future__ import annotations

import pytest

from lofarpipe.executors.slurm.batch import SubmitLimit


def test_without_a_limit_all_jobs_go() -> None:
    assert SubmitLimit().room(1000, 500) == 500


@pytest.mark.parametrize(
    ("present", "wanted", "room"),
    [(0, 10, 4), (0, 3, 3), (1, 10, 3), (2, 10, 2), (3, 10, 0), (3, 1, 1), (4, 1, 0), (9, 1, 0)],
)
def test_limit_is_filled_by_halves(present: int, wanted: int, room: int) -> None:
    assert SubmitLimit(4).room(present, wanted) == room


def test_limit_is_found_by_halving() -> None:
    limit, tried = SubmitLimit(), []
    while (count := limit.room(0, 1500)) > 400:
        tried.append(count)
        limit.note_refusal(0, count)
    assert tried == [1500, 750]
    assert count == 375


def test_limit_of_the_accounting_is_used_at_once() -> None:
    limit = SubmitLimit()
    limit.note_refusal(0, 1500, known=1000)
    assert limit.room(0, 1500) == 1000
    limit.note_refusal(0, 1000, known=1000)  # jobs of others are in the queue
    assert limit.room(0, 1500) == 500


def test_limit_that_was_true_before_is_kept() -> None:
    limit = SubmitLimit()
    limit.note_refusal(0, 10, known=8)
    limit.note_taken(8)
    limit.note_refusal(4, 4)  # ended jobs count for a while
    assert limit.room(0, 100) == 8


def test_learned_limit_is_tried_again_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    limit = SubmitLimit()
    limit.note_refusal(0, 16)
    now[0] = 59.0
    assert limit.room(0, 100) == 8
    now[0] = 61.0
    assert limit.room(0, 100) == 10
    assert limit.room(0, 100) == 10
    fixed = SubmitLimit(8)
    now[0] = 1000.0
    assert fixed.room(0, 100) == 8


def test_one_job_is_always_tried() -> None:
    limit = SubmitLimit()
    limit.note_refusal(0, 1)
    assert limit.room(0, 5) == 1
