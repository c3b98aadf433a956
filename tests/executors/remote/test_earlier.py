"""Orders and results of an earlier run, by name of the jobs."""

from __future__ import annotations

import os
from pathlib import Path

from lofarpipe.executors.remote.lease import claim_order, end_guards, orders_of, recall_order
from lofarpipe.executors.remote.order import Order, new_attempt, order_path, write_order, write_record
from lofarpipe.jobs import Job, JobResult


def ordered(directory: Path, name: str) -> Order:
    job = Job(name, ("true",), directory, directory / "log")
    attempt = new_attempt()
    return write_order(job, attempt, order_path(directory, job, attempt), beat_s=0.1, grace_s=0.1)


def test_orders_of_jobs_are_found(tmp_path: Path) -> None:
    there = [ordered(tmp_path, name) for name in ("a/000", "a/001", "a/001", "b/000")]
    wanted = [Job(name, ("true",), tmp_path, tmp_path / "log") for name in ("a/001", "a/002", "c/000")]
    assert {order.path for order in orders_of(tmp_path, wanted)} == {there[1].path, there[2].path}
    assert orders_of(tmp_path / "none", wanted) == []


def test_earlier_order_awaits_live_guard(tmp_path: Path) -> None:
    order, other = ordered(tmp_path, "a/000"), ordered(tmp_path, "a/001")
    claim_order(order)  # this process is its guard, and it lives
    waited: list[bool] = []

    def wait(_: float) -> None:
        waited.append(order.path.exists())
        if len(waited) == 3:  # the guard ends without a record
            os.unlink(order.claim(0))  # noqa: PTH108

    end_guards([order, other], wait)
    assert waited == [False] * 3
    assert list((tmp_path / "a").iterdir()) == []


def test_withdrawal_returns_existing_result(tmp_path: Path) -> None:
    order, other = ordered(tmp_path, "a/000"), ordered(tmp_path, "a/001")
    result = JobResult("a/000", 0, 1e9, 1.0, 1.0, 10.0, order.job.log, order.job.argv)
    write_record(order, result)
    assert (recall_order(order), recall_order(other)) == (result, None)
    assert list((tmp_path / "a").iterdir()) == []


def test_ending_run_does_not_await_guard(tmp_path: Path) -> None:
    order = ordered(tmp_path, "a/000")
    claim_order(order)
    assert recall_order(order, must_end=lambda: True) is None
    assert list((tmp_path / "a").iterdir()) == []  # the guard sees that at its next beat
