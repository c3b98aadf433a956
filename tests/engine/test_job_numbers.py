"""Which number a job gets: that which it had, wherever its product is now; never one that says something of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lofarpipe.config import Overrides, load_settings
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.job_numbers import Numbering
from lofarpipe.engine.step_jobs import Work
from lofarpipe.jobs import Job
from lofarpipe.state.history import Event, History, fingerprint
from lofarpipe.state.uptodate import JobLedger, Ledger


def identity(label: str) -> dict[str, object]:
    return {"arguments": [label, f"/out/{label.rpartition('/')[2]}"]}


def planned(place: int, label: str) -> PlannedJob:
    job = Job(name=f"s/{place:03d}", argv=("true",), workdir=Path("/w"), log=Path("/l"), label=label)
    return PlannedJob(job, place, ([label], {}), (), {}, None)


def began(number: int, label: str, **facts: Any) -> Event:
    return {"event": "job_started", "step": "s", "job": f"s/{number:03d}", "label": label, **facts}


def done(number: int, label: str, **facts: Any) -> Event:
    start = {"event": "job_done", "step": "s", "job": f"s/{number:03d}", "label": label, "problem": None}
    return {**start, "fingerprint": fingerprint(identity(label)), **facts}


@pytest.fixture
def numbers(tmp_path: Path):  # type: ignore[no-untyped-def]
    (tmp_path / "pipeline.cfg").write_text(
        f"[DEFAULT]\nruntime_directory = {tmp_path}\nworking_directory = {tmp_path}\n"
    )
    settings = load_settings(tmp_path / "run.parset", Overrides(config=str(tmp_path / "pipeline.cfg")))

    def give(
        events: Sequence[Event], labels: Sequence[str], in_place: Mapping[str, Sequence[str]] | None = None, **work: Any
    ) -> list[int]:
        facts: dict[str, Any] = {
            "identity": {},
            "failure_of": lambda _: None,
            "finish": lambda *_: {},
            "error_tolerance": False,
            "job_identity": lambda job: identity(job.job.label),
            "changed_inputs": lambda job: (in_place or {}).get(job.job.label, ()),
        }
        jobs = [planned(place, label) for place, label in enumerate(labels)]
        ledger = JobLedger(Ledger(History(events), settings), "s")
        found = Numbering(Work(jobs, **{**facts, **work}), ledger).numbers()
        return [found[job.place] for job in jobs]

    return give


def test_step_that_never_ran(numbers) -> None:  # type: ignore[no-untyped-def]
    assert numbers([], "ab") == [0, 1]


def test_what_did_not_move_is_not_looked_at(numbers) -> None:  # type: ignore[no-untyped-def]
    history = [done(0, "a"), done(1, "b", problem="failed"), began(2, "c")]
    assert numbers(history, "abcd", job_identity=lambda _: 1 / 0) == [0, 1, 2, 3]
    with pytest.raises(ZeroDivisionError):
        numbers(history, "xabcd", job_identity=lambda _: 1 / 0)


@pytest.mark.parametrize(
    ("labels", "given"),
    [
        ("xab", [2, 0, 1]),
        ("axb", [0, 2, 1]),
        ("ba", [1, 0]),
        ("b", [1]),
        ("bxyza", [1, 4, 2, 3, 0]),
        ("xyab", [2, 3, 0, 1]),
        ("xb", [2, 1]),
        ("aab", [0, 2, 1]),
    ],
)
def test_job_keeps_its_number(numbers, labels: str, given: list[int]) -> None:  # type: ignore[no-untyped-def]
    assert numbers([done(0, "a"), done(1, "b")], labels) == given


def test_of_equal_jobs_each_has_one(numbers) -> None:  # type: ignore[no-untyped-def]
    history = [done(0, "a"), done(1, "a"), done(2, "b")]
    assert numbers(history, "aab") == [0, 1, 2]
    assert numbers(history, "baaa") == [2, 1, 0, 3]
    assert numbers(history, "ba") == [2, 1]


def test_of_equal_jobs_that_which_is_done_is_taken(numbers) -> None:  # type: ignore[no-untyped-def]
    assert numbers([done(0, "a"), done(1, "a", problem="failed")], "xa") == [2, 0]


def test_job_that_failed_or_is_made_of_something_else_is_known_by_its_product(numbers) -> None:  # type: ignore[no-untyped-def]
    assert numbers([done(0, "a", problem="failed"), done(1, "b", fingerprint="other")], "xab") == [2, 0, 1]
    assert numbers([began(0, "a"), began(1, "b")], "ba") == [1, 0]


def test_number_of_work_that_is_written_over_is_taken(numbers) -> None:  # type: ignore[no-untyped-def]
    assert numbers([done(0, "/1/a", written={"/out/a": "1@1"})], ["/2/a"]) == [0]
    assert numbers([done(0, "/1/a", written={"/out/a": "1@1"})], ["/2/b"]) == [1]


def test_job_that_takes_a_list_is_known_by_its_place(numbers) -> None:  # type: ignore[no-untyped-def]
    assert numbers([done(0, "[a, b]"), done(1, "[c]")], ["[x, a, b]", "[c]"]) == [0, 1]
    assert numbers([done(0, "[a, b]"), done(1, "[c]")], ["[x]", "[a, b]", "[c]"]) == [2, 0, 1]


def test_number_of_a_failure_is_taken_and_that_of_a_job_that_may_live_is_not(numbers) -> None:  # type: ignore[no-untyped-def]
    assert numbers([done(0, "a", problem="failed")], "x") == [0]
    far: list[Event] = [{"event": "run_started", "executor": "slurm"}, began(0, "a")]
    assert numbers([began(0, "a")], "x") == [0]  # it ends before a run begins
    assert numbers(far, "x") == [1]
    assert numbers([*far, done(0, "a", problem="lost with its node", is_lost=True)], "x") == [0]


def test_job_that_was_cut_off_is_known_by_what_it_changes(numbers) -> None:  # type: ignore[no-untyped-def]
    """Two jobs of one product, each of which changes another file."""
    history = [began(0, "m", before={"/a": "1@1"}), began(1, "m", before={"/b": "1@1"})]
    changed = {"/b": ["/b"], "/a": ["/a"]}
    assert numbers(history, ["/b", "/a"], changed) == [1, 0]
    assert numbers(history, ["/c", "/b"], {**changed, "/c": ["/c"]}) == [2, 1]
    assert numbers(history, ["/a", "/c"], {"/a": ["/a", "/more"], "/c": []}) == [0, 2]


def test_start_of_the_step_tells_of_jobs_too(numbers) -> None:  # type: ignore[no-untyped-def]
    start = {"event": "step_started", "step": "s", "unsafe": {"s/000": {"/a": "1@1"}, "s/001": {"/b": "1@1"}}}
    changed = {"x": ["/x"], "a": ["/a"], "b": ["/b"]}
    assert numbers([start], "ab", changed) == [0, 1]
    assert numbers([start], "xab", changed) == [2, 0, 1]
    assert numbers([start], "xb", changed) == [2, 1]


@pytest.mark.parametrize("label", [None, 7, ["a"], ""])
def test_journal_that_does_not_tell_the_product(numbers, label: object) -> None:  # type: ignore[no-untyped-def]
    """What the job is made of tells; else its place does, as in older versions."""
    history = [{**done(0, "a"), "label": label}, {**done(1, "b"), "label": label}]
    assert numbers(history, "xab") == [2, 0, 1]
    assert numbers(history, "xb") == [0, 1]


def test_journal_that_is_damaged(numbers) -> None:  # type: ignore[no-untyped-def]
    history = [
        {**done(0, "a"), "job": "s/a"},
        {**done(0, "a"), "fingerprint": ["f"]},
        {"event": "step_started", "step": "s", "unsafe": {"s/x": {"/a": "1@1"}, "s/002": "text"}},
    ]
    assert numbers(history, "xa") == [1, 0]
