"""The crew that runs the jobs of a step, with hand-made steps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from journal_events import emit
from lofarpipe.engine.crew import WorkingCrew, notices_of, run_started
from lofarpipe.engine.kinds import Recipe, Scope
from lofarpipe.engine.run import Run
from lofarpipe.engine.step_jobs import StepJobs
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.steps import Step
from lofarpipe.state.events import Event, StepDone, StepFailed, StepStarted
from lofarpipe.state.jobs import JobLedger
from made_scope import DoingExecutor, Listener, copy_step_of, made_scope, made_step


@pytest.fixture
def heard() -> Listener:
    return Listener()


@pytest.fixture
def scope(tmp_path: Path, heard: Listener) -> Scope:
    return made_scope(tmp_path, reporters=[heard])


def jobs_of(scope: Scope, step: Step) -> StepJobs:
    plan = Recipe(scope).plan(step, {})
    return StepJobs(step.name, plan, scope.executor, JobLedger(scope.ledger, step.name))


def commands(scope: Scope) -> list[str]:
    lines = (scope.settings.job_directory / "commands.txt").read_text().splitlines()
    return [line.partition(":")[0] for line in lines]


def test_directories_are_made(scope: Scope) -> None:
    WorkingCrew(scope).prepare()
    assert scope.settings.mapfile_dir.is_dir()
    assert scope.settings.parset_dir.is_dir()


def test_step_emits_start_and_end(tmp_path: Path, scope: Scope, heard: Listener) -> None:
    crew, step = WorkingCrew(scope), copy_step_of(tmp_path, "a", "b")
    crew.prepare()
    jobs = jobs_of(scope, step)
    crew.run(step, jobs)
    crew.record(jobs, {"mapfile": "/m"})
    assert heard.kinds == ["step_started", "job_done", "job_done", "step_done"]
    began, done = heard.events[0], heard.events[-1]
    assert isinstance(began, StepStarted)
    assert isinstance(done, StepDone)
    assert (began.step, began.type, began.jobs, began.done_before) == ("copy", "executable_args", 2, 0)
    assert (done.jobs, done.failed, done.outputs) == (2, 0, {"mapfile": "/m"})
    assert commands(scope) == ["copy/000", "copy/001"]


def test_finished_jobs_are_skipped(tmp_path: Path, scope: Scope, heard: Listener) -> None:
    crew, step = WorkingCrew(scope), copy_step_of(tmp_path, "a", "b")
    crew.prepare()
    crew.run(step, jobs_of(scope, step))
    emit(scope.stream, "job_forgotten", step="copy", job="copy/001")
    executor = scope.executor
    assert isinstance(executor, DoingExecutor)
    executor.ran.clear()
    jobs = jobs_of(scope, step)
    crew.run(step, jobs)
    assert executor.ran == ["copy/001"]
    began = [event for event in heard.events if isinstance(event, StepStarted)]
    assert [(event.jobs, event.done_before) for event in began] == [(2, 0), (2, 1)]
    assert [result.name for result in jobs.results] == ["copy/000", "copy/001"]


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        ([], []),
        (["copy/001"], "one job failed, and its product is still skipped: copy/001; --forget copy/001"),
        (["copy/000", "copy/001"], "jobs failed, and their products are still skipped: copy/000, copy/001; --forget"),
    ],
)
def test_skipped_step_names_failed_jobs(
    tmp_path: Path, scope: Scope, heard: Listener, failing: list[str], said: str
) -> None:
    scope.executor = DoingExecutor(failing)
    crew, step = WorkingCrew(scope), copy_step_of(tmp_path, "a", "b")
    crew.prepare()
    jobs = jobs_of(scope, step)
    crew.run(step, jobs)
    crew.record(jobs, {})
    crew.skip_step(step, jobs.plan)
    assert heard.kinds[-1 - bool(failing)] == "step_skipped"
    warnings = heard.texts("warning")
    assert warnings == [] if not failing else warnings[0].startswith(f"copy: {said}")


def test_leave_drops_commands_of_unreached_jobs(tmp_path: Path, scope: Scope) -> None:
    scope.settings.job_directory.mkdir(exist_ok=True)
    (scope.settings.job_directory / "commands.txt").write_text("copy/000: old\nlater/000: old\n")
    crew, step = WorkingCrew(scope), copy_step_of(tmp_path, "a")
    crew.prepare()
    crew.run(step, jobs_of(scope, step))
    assert commands(scope) == ["copy/000", "later/000"]
    crew.finish()
    assert commands(scope) == ["copy/000"]


@pytest.mark.parametrize(("kind", "events"), [("recipe", ["step_failed"]), ("loop", []), ("pipeline", [])])
def test_inner_step_records_failure(scope: Scope, heard: Listener, kind: str, events: list[str]) -> None:
    assert not WorkingCrew(scope).accept_failure(made_step("a", kind), PipelineError("it failed"))
    assert heard.kinds == events
    assert [event.problem for event in heard.events if isinstance(event, StepFailed)] == ["it failed"] * len(events)


def test_unrecordable_failure_still_fails_step(scope: Scope, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Event) -> None:
        raise PipelineError("disk full")

    monkeypatch.setattr(scope.stream, "emit", refuse)
    assert not WorkingCrew(scope).accept_failure(made_step("a"), PipelineError("it failed"))


def test_job_notices_are_reported_once() -> None:
    jobs: list[Any] = [SimpleNamespace(notices=notices) for notices in (("x", "y"), ("y",), ())]
    assert notices_of(jobs) == ["x", "y"]


def test_run_started_describes_run(tmp_path: Path) -> None:
    inner = made_step("inner")
    scope = made_scope(tmp_path, Step("again", "again", "loop", "", {}, {}, body=(inner,)), made_step("b"))
    event = run_started("field", tmp_path, scope.pipeline, scope.executor)
    assert (event.job, event.executor, event.cores, event.memory_gb) == ("field", "doing", 2, 4.0)
    assert (event.step_count, event.job_directory) == (2, tmp_path)
    assert event.steps is not None
    assert set(event.steps) >= {"inner", "b"}


def test_run_executes_steps_in_order(tmp_path: Path, heard: Listener) -> None:
    """Twice: the second time all is done."""
    scope = made_scope(tmp_path, copy_step_of(tmp_path, "a"), reporters=[heard])
    results = Run(scope).execute()
    assert results["copy"]["mapfile"] == str(scope.settings.mapfile_dir / "copy.mapfile")
    again = Scope(scope.pipeline, scope.settings, scope.executor, scope.stream)
    assert Run(again).execute()["copy"] == results["copy"]
    assert heard.kinds == ["step_started", "job_done", "step_done", "step_skipped"]


def test_failing_step_ends_run(tmp_path: Path, heard: Listener) -> None:
    scope = made_scope(tmp_path, copy_step_of(tmp_path, "a"), reporters=[heard], executor=DoingExecutor(["copy/000"]))
    with pytest.raises(PipelineError, match="step 'copy': 1 of 1 jobs failed: copy/000"):
        Run(scope).execute()
    assert heard.kinds[-1] == "step_failed"
    assert "copy" not in scope.results
