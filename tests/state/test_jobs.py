"""A job keeps its number wherever its product moves; no number is reused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from journal_events import Entry, state_of
from lofarpipe.config import Overrides, load_settings
from lofarpipe.state.jobs import JobKey, JobLedger
from lofarpipe.state.journal import Stream
from lofarpipe.state.uptodate import Ledger

Numbers = Callable[..., list[int]]


def began(number: int, label: str, **facts: Any) -> Entry:
    return {"event": "job_started", "step": "s", "job": f"s/{number:03d}", "label": label, **facts}


def done(number: int, label: str, **facts: Any) -> Entry:
    return {**began(number, label), "event": "job_done", "problem": None, "fingerprint": f"of {label}", **facts}


@pytest.fixture
def numbers(tmp_path: Path) -> Numbers:
    (tmp_path / "pipeline.cfg").write_text(
        f"[DEFAULT]\nruntime_directory = {tmp_path}\nworking_directory = {tmp_path}\n"
    )
    settings = load_settings(tmp_path / "run.parset", Overrides(config=str(tmp_path / "pipeline.cfg")))

    def numbers_of(
        events: Sequence[Entry], labels: Sequence[str], changes: Mapping[str, Sequence[str]] | None = None
    ) -> list[int]:
        keys = [
            JobKey(place, f"of {label}", label, lambda label=label: (changes or {}).get(label, ()))
            for place, label in enumerate(labels)
        ]
        found = JobLedger(Ledger(Stream(state=state_of(events)), settings), "s").numbers(keys)
        assert len(set(found.values())) == len(found)
        return [found.get(place, place) for place in range(len(labels))]

    return numbers_of


def test_step_without_history_is_numbered_by_place(numbers: Numbers) -> None:
    assert numbers([], "ab") == [0, 1]


@pytest.mark.parametrize(
    ("labels", "given"),
    [
        ("ab", [0, 1]),
        ("abx", [0, 1, 2]),
        ("xab", [2, 0, 1]),
        ("axb", [0, 2, 1]),
        ("ba", [1, 0]),
        ("b", [1]),
        ("x", [2]),
        ("bxyza", [1, 2, 3, 4, 0]),
        ("xyab", [2, 3, 0, 1]),
        ("aab", [0, 2, 1]),
    ],
)
def test_job_keeps_its_number(numbers: Numbers, labels: str, given: list[int]) -> None:
    assert numbers([done(0, "a"), done(1, "b")], labels) == given


def test_equal_jobs_have_distinct_numbers(numbers: Numbers) -> None:
    history = [done(0, "a"), done(1, "a"), done(2, "b")]
    assert numbers(history, "aab") == [0, 1, 2]
    assert numbers(history, "baaa") == [2, 0, 1, 3]


def test_finished_job_is_preferred_among_equals(numbers: Numbers) -> None:
    assert numbers([done(0, "a", problem="failed"), done(1, "a")], "xa") == [2, 1]


def test_product_identifies_job_without_fingerprint(numbers: Numbers) -> None:
    assert numbers([done(0, "a", problem="failed"), done(1, "b", fingerprint="other")], "xab") == [2, 0, 1]
    assert numbers([began(0, "a"), began(1, "b")], "ba") == [1, 0]


@pytest.mark.parametrize("event", [done(0, "a"), done(0, "a", problem="failed"), began(0, "a")])
def test_number_is_not_reused(numbers: Numbers, event: Entry) -> None:
    """Its log is still there."""
    assert numbers([event], "x") == [1]


def test_place_identifies_job_with_list(numbers: Numbers) -> None:
    history = [done(0, "[a, b]"), done(1, "[c]")]
    assert numbers(history, ["[x, a, b]", "[c]"]) == [0, 1]
    assert numbers(history, ["[x]", "[a, b]", "[c]"]) == [2, 0, 1]


def test_half_changed_input_number_needs_same_change(numbers: Numbers) -> None:
    """Two jobs of one product, each with another changed file."""
    history = [began(0, "m", before={"/a": "1@1"}), began(1, "m", before={"/b": "1@1"})]
    assert numbers(history, "m", {"m": ["/b"]}) == [1]
    assert numbers(history, "m", {"m": ["/c"]}) == [2]
    assert numbers(history, "mm", {"m": ["/a", "/b"]}) == [0, 1]


def test_step_start_records_jobs(numbers: Numbers) -> None:
    start = {"event": "step_started", "step": "s", "unsafe": {"s/000": {"/a": "1@1"}, "s/001": {"/b": "1@1"}}}
    changes = {"x": ["/x"], "a": ["/a"], "b": ["/b"]}
    assert numbers([start], "ab", changes) == [0, 1]
    assert numbers([start], "xa", changes) == [2, 3]


@pytest.mark.parametrize("label", [None, 7, ["a"], ""])
def test_missing_products_are_accepted(numbers: Numbers, label: object) -> None:
    """The fingerprint identifies the job; else its place does, as in older versions."""
    history = [{**done(0, "a"), "label": label}, {**done(1, "b"), "label": label}]
    assert numbers(history, "xab") == [2, 0, 1]
    assert numbers(history, "xb") == [0, 1]


def test_damaged_journal_is_accepted(numbers: Numbers) -> None:
    history = [
        {**done(0, "a"), "job": "s/a"},
        {**done(0, "a"), "fingerprint": ["f"]},
        {"event": "step_started", "step": "s", "unsafe": {"s/x": {"/a": "1@1"}, "s/002": "text"}},
    ]
    assert numbers(history, "xa") == [1, 0]
