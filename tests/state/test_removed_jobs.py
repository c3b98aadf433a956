"""Jobs removed from their step: their work counts when they return, unless it was overwritten."""

from __future__ import annotations

from typing import Any

import pytest

from journal_events import Entry, as_event, state_of, work_of
from lofarpipe.state.run_state import RunState
from lofarpipe.state.work import Work


def done(job: str, **facts: Any) -> Entry:
    path = f"/out/{job.rpartition('/')[2]}"
    made = {"files": {path: "1@1", "/in": "1@1"}, "written": {path: "1@1"}}
    return {"event": "job_done", "step": job.rpartition("/")[0], "job": job, "problem": None, **made, **facts}


def started(step: str, *left: str, **facts: Any) -> Entry:
    return {"event": "step_started", "step": step, **({"left": list(left)} if left else {}), **facts}


def after(*events: Entry) -> RunState:
    return state_of([started("s"), done("s/000"), done("s/001"), started("s", "s/000"), *events])


def names(work: Work) -> list[str]:
    return [end.job for end in work.jobs_ended("s")]


def test_removed_job_is_known_but_not_counted() -> None:
    work = after().work
    assert names(work) == ["s/001"]
    assert [end.job for end in work.end_events("s")] == ["s/000", "s/001"]
    assert set(work.known_jobs("s")) == set(work.jobs_of("s")) == {"s/000", "s/001"}
    assert [end.serial for end in work.end_events("s")] == [2, 3]


def test_returning_job_keeps_its_state() -> None:
    work = after(started("s", "s/001")).work
    assert names(work) == ["s/000"]
    assert names(after(started("s")).work) == ["s/000", "s/001"]


def test_step_with_only_removed_jobs_is_known() -> None:
    work = work_of([started("s"), done("s/000"), started("s", "s/000")])
    assert names(work) == []
    assert work.steps_with_jobs() == {"s"}
    assert names(work_of([started("s", "s/000")])) == []


@pytest.mark.parametrize(
    ("event", "is_known"),
    [
        (done("s/002"), True),
        (done("s/002", written={"/out/000": "2@2"}), False),
        (done("s/002", written={"/out/000": None}, problem="failed"), False),
        (done("s/002", written={"/out/000": "2@2"}, is_lost=True), False),
        (done("s/002", written={"/in": "2@2"}), False),  # who shares an input of this step changed it
        (done("t/000", written={"/in": "2@2"}), True),  # what comes after a step is no business of it
        (done("t/000", written={"/out/000": "2@2"}), False),
        ({"event": "step_done", "step": "t", "written": {"/out/000": "2@2"}}, False),
        ({"event": "job_started", "step": "s", "job": "s/000"}, True),  # as one that is open
        ({"event": "job_forgotten", "step": "s", "job": "s/000"}, False),
        ({"event": "step_forgotten", "step": "s"}, False),
    ],
)
def test_overwritten_product_is_not_done(event: Entry, is_known: bool) -> None:
    state = after(event)
    work = state.work
    assert ("s/000" in work.known_jobs("s")) == is_known
    assert work.last_job("s/000") is None or (is_known and event["event"] != "job_started")
    state.apply(as_event(started("s")))
    assert (work.last_job("s/000") is not None) == (is_known and event["event"] != "job_started")


def test_returned_job_is_counted_again() -> None:
    work = after(started("s"), done("s/001", written={"/out/000": "2@2"})).work
    assert names(work) == ["s/000", "s/001"]


@pytest.mark.parametrize("left", [5, "s/000", {"s/000": 1}, [["s/000"], None]])
def test_invalid_removed_jobs_are_ignored(left: object) -> None:
    assert names(work_of([started("s"), done("s/000"), {"event": "step_started", "step": "s", "left": left}])) == [
        "s/000"
    ]


def test_unsafe_inputs_last_until_forgotten() -> None:
    unsafe = {"s/000": {"/a": "1@1"}, "s/001": {"/b": "1@1"}}
    events: list[Entry] = [started("s", unsafe=unsafe), {"event": "step_done", "step": "s"}]
    assert work_of(events).unsafe_inputs("s") == (1, unsafe)
    assert work_of(events).jobs_of("s") == ["s/000", "s/001"]
    work = work_of([*events, {"event": "job_forgotten", "step": "s", "job": "s/000"}])
    assert work.unsafe_inputs("s") == (1, {"s/001": {"/b": "1@1"}})
    assert work_of([*events, {"event": "step_forgotten", "step": "s"}]).unsafe_inputs("s") == (0, {})
    assert unsafe.keys() == {"s/000", "s/001"}
