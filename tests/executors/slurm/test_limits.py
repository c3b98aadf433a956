"""Number of submitted jobs: by configured limits, and by refusals."""

from __future__ import annotations

import pytest

from lofarpipe.executors.slurm.batch import SubmitLimit


def test_unlimited_queue_takes_all_jobs() -> None:
    assert SubmitLimit().room(1000, 500) == 500


@pytest.mark.parametrize(
    ("present", "wanted", "room"),
    [(0, 10, 4), (0, 3, 3), (1, 10, 3), (2, 10, 2), (3, 10, 0), (3, 1, 1), (4, 1, 0), (9, 1, 0)],
)
def test_room_fills_in_halves(present: int, wanted: int, room: int) -> None:
    assert SubmitLimit(4).room(present, wanted) == room


def test_limit_is_found_by_halving() -> None:
    limit, tried = SubmitLimit(), []
    while (count := limit.room(0, 1500)) > 400:
        tried.append(count)
        limit.record_refusal(0, count)
    assert tried == [1500, 750]
    assert count == 375


def test_accounting_limit_is_used_at_once() -> None:
    limit = SubmitLimit()
    limit.record_refusal(0, 1500, limit=1000)
    assert limit.room(0, 1500) == 1000
    limit.record_refusal(0, 1000, limit=1000)  # jobs of others are in the queue
    assert limit.room(0, 1500) == 500


def test_proven_limit_survives_refusal() -> None:
    limit = SubmitLimit()
    limit.record_refusal(0, 10, limit=8)
    limit.record_accepted(8)
    limit.record_refusal(4, 4)  # ended jobs count for a while
    assert limit.room(0, 100) == 8


def test_learned_limit_is_probed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    limit = SubmitLimit()
    limit.record_refusal(0, 16)
    now[0] = 59.0
    assert limit.room(0, 100) == 8
    now[0] = 61.0
    assert limit.room(0, 100) == 10
    assert limit.room(0, 100) == 10
    fixed = SubmitLimit(8)
    now[0] = 1000.0
    assert fixed.room(0, 100) == 8


def test_room_is_never_zero() -> None:
    limit = SubmitLimit()
    limit.record_refusal(0, 1)
    assert limit.room(0, 5) == 1
