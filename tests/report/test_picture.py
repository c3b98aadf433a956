"""The picture of the run of this process, as the thread that shows it sees it."""

from __future__ import annotations

import threading

import pytest

from lofarpipe.report import Picture
from lofarpipe.report import run_state as module
from lofarpipe.report.run_state import RunState


def test_it_says_what_the_events_say() -> None:
    picture = Picture()
    picture.apply({"event": "run_started", "time_s": 5.0, "job": "field", "steps": ["a"]})
    picture.apply({"event": "step_started", "time_s": 6.0, "step": "a", "jobs": 2})
    assert picture.see(lambda state: (state.facts["job"], state.steps["a"].total)) == ("field", 2)
    assert picture.state.state == "running"


def test_many_events_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    picture = Picture()
    for number in range(5):
        picture.apply({"event": "notice", "text": str(number)})
        assert len(picture._waiting) == (number + 1) % 3
    assert picture.state.notices == list("01234")


def test_its_beginning_is_that_of_the_first_run() -> None:
    picture = Picture()
    assert picture.first_s is None
    for event in ({"event": "x"}, {"event": "y", "time_s": "soon"}, {"event": "run_started", "time_s": 7}):
        picture.apply(event)
    picture.apply({"event": "run_started", "time_s": 9.0})
    assert picture.first_s == 7.0
    picture.apply({"event": "run_started", "time_s": 3.0})  # the clock was set back
    assert picture.first_s == 3.0


def test_nothing_changes_while_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 1)
    picture = Picture()
    changed = threading.Event()

    def change() -> None:
        picture.apply({"event": "run_started", "job": "field"})
        changed.set()

    def look(state: RunState) -> int:
        thread.start()
        changed.wait(0.2)
        return state.run

    thread = threading.Thread(target=change)
    assert picture.see(look) == 0
    assert changed.wait(60)
    thread.join()
    assert picture.see(lambda state: state.run) == 1


def test_pauses_are_between_runs_that_ended() -> None:
    picture = Picture()
    kinds = (
        "run_started",
        "run_ended",
        "run_started",
        "run_started",
        "warning",
        "run_ended",
        "run_ended",
        "run_started",
    )
    for time_s, kind in enumerate(kinds):
        picture.apply({"event": kind, "time_s": float(time_s)})
    assert picture.pauses == [(1.0, 2.0), (6.0, 7.0)]  # the second run was killed
