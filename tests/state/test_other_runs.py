"""Other runs: ends of jobs by fingerprint, and files changed only by their jobs."""

from __future__ import annotations

from pathlib import Path

from lofarpipe.state.events import JobDone
from lofarpipe.state.journal import Journal, Stream
from lofarpipe.state.other_runs import OtherRuns


def write_run(root: Path, name: str, *ends: JobDone) -> None:
    (root / name).mkdir()
    with Journal(root / name / "journal.jsonl") as journal:
        stream = Stream(journal)
        for end in ends:
            stream.emit(end)


def end(number: int, mark: str, problem: str | None = None, **changes: object) -> JobDone:
    return JobDone("image", f"image/{number:03}", fingerprint=mark, problem=problem, **changes)  # type: ignore[arg-type]


def changed(before: str, after: str) -> JobDone:
    return end(0, "x", former={'/a "b".MS': before}, written={'/a "b".MS': after})


def test_successful_jobs_are_found(tmp_path: Path) -> None:
    write_run(tmp_path, "own", end(0, "m1"))
    write_run(tmp_path, "other", end(0, "m1", problem="failed"), end(1, "m2"), end(2, "m3"))
    others = OtherRuns(f"{tmp_path}/*", tmp_path / "own")
    assert [(run, one.job) for run, one in others.successful_jobs({"m1", "m2"})] == [("other", "image/001")]
    assert list(others.successful_jobs({"none"})) == []
    assert list(OtherRuns("", tmp_path / "own").successful_jobs({"m2"})) == []


def test_chain_of_job_changes_is_found(tmp_path: Path) -> None:
    write_run(tmp_path, "own", changed("2@2", "3@3"))
    write_run(tmp_path, "other", changed("1@1", "2@2"), changed("3@3", "4@4"))
    others = OtherRuns(f"{tmp_path}/*", tmp_path / "own")
    assert others.explains('/a "b".MS', "1@1", "4@4")
    assert not others.explains('/a "b".MS', "1@1", "5@5")
    assert not others.explains('/a "b".MS', "0@0", "4@4")
    assert not others.explains("/b.MS", "1@1", "4@4")


def test_unreadable_journal_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "other/journal.jsonl").mkdir(parents=True)
    assert list(OtherRuns(f"{tmp_path}/*", tmp_path / "own").successful_jobs({"m"})) == []
