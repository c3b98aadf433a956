"""What an earlier run left, by name of the jobs."""

from __future__ import annotations

import os
from pathlib import Path

from lofarpipe.executors.claims import take
from lofarpipe.executors.earlier import end_guards, orders_of
from lofarpipe.executors.jobs import Job
from lofarpipe.executors.orders import Order, new_attempt, order_path, write_order


def ordered(directory: Path, name: str) -> Order:
    job = Job(name, ("true",), directory, directory / "log")
    attempt = new_attempt()
    return write_order(job, attempt, order_path(directory, job, attempt), beat_s=0.1, grace_s=0.1)


def test_orders_of_some_jobs(tmp_path: Path) -> None:
    there = [ordered(tmp_path, name) for name in ("a/000", "a/001", "a/001", "b/000")]
    wanted = [Job(name, ("true",), tmp_path, tmp_path / "log") for name in ("a/001", "a/002", "c/000")]
    assert {order.path for order in orders_of(tmp_path, wanted)} == {there[1].path, there[2].path}
    assert orders_of(tmp_path / "none", wanted) == []


def test_living_guard_is_waited_for(tmp_path: Path) -> None:
    order, other = ordered(tmp_path, "a/000"), ordered(tmp_path, "a/001")
    take(order)  # this process is its guard, and it lives
    waited: list[bool] = []

    def wait(_: float) -> None:
        waited.append(order.path.exists())
        if len(waited) == 3:  # the guard ends without a record
            os.unlink(order.claim(0))  # noqa: PTH108

    end_guards([order, other], wait)
    assert waited == [False] * 3
    assert list((tmp_path / "a").iterdir()) == []
