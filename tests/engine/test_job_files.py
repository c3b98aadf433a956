"""The file of all commands: one line for each job, in the order of the pipeline, also after several tries."""

from __future__ import annotations

from pathlib import Path

from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.step_jobs import CommandFile, failure_text
from lofarpipe.jobs import Job, JobResult


def planned(*names: str, argument: str = "1") -> list[PlannedJob]:
    jobs = [Job(name, ("DP3", argument), Path("/w"), Path("/l")) for name in names]
    return [PlannedJob(job, place, ([], {}), (), {}, None) for place, job in enumerate(jobs)]


def noted(path: Path, *steps: list[PlannedJob], pending: list[PlannedJob] | None = None) -> str:
    """Return the content of the file after a run of these steps, some without jobs."""
    commands = CommandFile(path)
    for jobs in steps:
        if pending is not None and not any(planned in pending for planned in jobs):
            commands.keep_commands(jobs)
        else:
            commands.note(jobs, jobs if pending is None else [one for one in jobs if one in pending])
    commands.finish()
    return path.read_text()


def test_steps_are_added_in_their_order(tmp_path: Path) -> None:
    text = noted(tmp_path / "commands.txt", planned("a/000", "a/001"), planned("b/000"))
    assert text == "a/000: DP3 1\na/001: DP3 1\nb/000: DP3 1\n"


def test_repeated_job_keeps_its_line(tmp_path: Path) -> None:
    path = tmp_path / "commands.txt"
    noted(path, planned("a/000", "a/001"), planned("b/000"))
    again = planned("a/000", "a/002", argument="x y")
    assert noted(path, [*again, *planned("a/001")], planned("b/000"), pending=again) == (
        "a/000: DP3 'x y'\na/002: DP3 'x y'\na/001: DP3 1\nb/000: DP3 1\n"
    )


def test_commands_of_removed_jobs_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "commands.txt"
    noted(path, planned("a/000", "a/001"), planned("b/000"), planned("c/000"))
    here = planned("a/000", argument="2"), planned("d/000"), planned("c/000", argument="3")
    assert noted(path, *here) == "a/000: DP3 2\nd/000: DP3 1\nc/000: DP3 3\n"
    assert noted(path, planned("a/000"), pending=[]) == "a/000: DP3 2\n"


def test_commands_of_earlier_run_come_last(tmp_path: Path) -> None:
    """The lines before those of a step are commands of this run."""
    path = tmp_path / "commands.txt"
    noted(path, planned("a/000"), planned("b/000"))
    CommandFile(path).note(planned("c/000"), planned("c/000"))
    assert path.read_text() == "c/000: DP3 1\na/000: DP3 1\nb/000: DP3 1\n"


def test_last_line_of_job_counts(tmp_path: Path) -> None:
    path = tmp_path / "commands.txt"
    path.write_text("a/000: one\nb/000: two\na/000: three\n")
    again = planned("b/000")
    assert noted(path, planned("a/000"), again, pending=again) == "a/000: three\nb/000: DP3 1\n"


def test_failure_shows_end_of_log(tmp_path: Path) -> None:
    log = tmp_path / "000.log"
    job = Job("a/000", ("DP3",), Path("/w"), log, label="[/d/1.MS,/d/2.MS,/d/3.MS]")
    plan = [PlannedJob(job, 0, ([], {}), (), {}, None)]
    results = [JobResult("a/000", 1, 1.0, 2.0, 0.1, 50.0, log, job.argv)]
    log.write_text("")
    said = failure_text("a", plan, results, {"a/000": "exited with 1"}).splitlines()
    assert said[0] == "step 'a': 1 of 1 jobs failed: a/000 (/d/1.MS and 2 more) exited with 1"
    assert said[1] == f"It said nothing; its log: {log}"
    log.write_text("no disk\n")
    said = failure_text("a", plan, results, {"a/000": "exited with 1"}).splitlines()
    assert said[1:3] == [f"Last lines of {log}:", "    no disk"]


def test_failure_cleans_and_shortens_log_lines(tmp_path: Path) -> None:
    log = tmp_path / "000.log"
    log.write_text("\x1b[2J\x1b[31mred\x07\n" + "." * 10_000 + "\n")
    job = Job("a/000", ("DP3",), Path("/w"), log)
    result = JobResult("a/000", 1, 1.0, 1.0, 1.0, 1.0, log, job.argv)
    said = failure_text("a", [PlannedJob(job, 0, ([], {}), (), {}, None)], [result], {"a/000": "exited with 1"})
    assert said.splitlines()[2:4] == ["    red", "    " + "." * 500]
