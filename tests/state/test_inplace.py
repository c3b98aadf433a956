"""Jobs interrupted while they changed their inputs: identified by input, not by number."""

from __future__ import annotations

from pathlib import Path

import pytest

from journal_events import Entry, work_of
from lofarpipe.errors import PipelineError
from lofarpipe.state.fingerprints import stamp
from lofarpipe.state.jobs import CutOff, UnsafeJobs, recorded_stamps


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "a.ms").write_text("whole")
    return str(tmp_path / "a.ms")


def started(path: str) -> list[Entry]:
    """Return the start of a step with two jobs, the second of which began."""
    return [
        {"event": "step_started", "step": "s", "unsafe": {"s/000": {path: stamp(path)}, "s/001": {"/b": "1@1"}}},
        {"event": "job_started", "step": "s", "job": "s/001", "before": {"/b": "1@1", "/out": None}},
    ]


def unsafe(*events: Entry) -> UnsafeJobs:
    return UnsafeJobs(work_of(events), "s", "s")


def test_interrupted_jobs_are_listed(path: str) -> None:
    cut_off = unsafe(*started(path)).interrupted_jobs()
    assert [(cut.job, cut.serial, list(cut.stamps)) for cut in cut_off] == [
        ("s/001", 2, ["/b"]),
        ("s/000", 1, [path]),
        ("s/001", 1, ["/b"]),
    ]
    ends: list[Entry] = [
        {"event": "job_done", "step": "s", "job": f"s/00{number}", "problem": None} for number in (0, 1)
    ]
    assert unsafe(*started(path), *ends).interrupted_jobs() == []
    assert unsafe(*ends, *started(path)).interrupted_jobs() == [
        CutOff("s/001", 4, {"/b": "1@1"}),
        CutOff("s/000", 3, {path: str(stamp(path))}),
        CutOff("s/001", 3, {"/b": "1@1"}),
    ]


def test_half_changed_input_of_another_job_is_refused(path: str) -> None:
    jobs = unsafe(*started(path))
    changed = {"s/007": [path]}
    assert list(jobs.check_inputs(changed, repeatable=False)) == []
    Path(path).write_text("half")
    with pytest.raises(PipelineError, match=f"s/000 was cut off while it changed {path} in place"):
        list(jobs.check_inputs(changed, repeatable=False))
    (notice,) = jobs.check_inputs(changed, repeatable=True)
    assert notice == f"s/000 was cut off while it changed {path}; it is run again, for it is repeatable"
    assert list(jobs.check_inputs({"s/000": []}, repeatable=False)) == []


def test_removed_jobs_keep_unsettled_inputs(path: str) -> None:
    before = {path: stamp(path)}
    assert unsafe(*started(path)).unsettled_inputs({"/b"}) == {"s/000": before}
    assert unsafe(*started(path)).unsettled_inputs({"/b", path}) == {}
    made: Entry = {"event": "job_done", "step": "t", "job": "t/000", "problem": None, "written": {path: "2@2"}}
    assert unsafe(*started(path), made).unsettled_inputs({"/b"}) == {}


def test_damaged_line_is_ignored() -> None:
    assert recorded_stamps("text") == recorded_stamps(None) == recorded_stamps({"/a": None, "/b": 5}) == {}
    assert unsafe({"event": "step_started", "step": "s", "unsafe": {"s/000": "text"}}).interrupted_jobs() == []
