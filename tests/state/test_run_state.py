"""The picture of a run that its events give; the events are written out by hand."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from journal_events import as_event, began, ended, event, job_began, job_ended, run_began, state_of
from lofarpipe.state.events import RunStarted
from lofarpipe.state.journal import Stream
from lofarpipe.state.run_state import KILLED_PROBLEM, RunState

START = {"event": "run_started", "time_s": 100.0, "job": "field", "pid": 7, "steps": ["create", "average", "image"]}


WHOLE = [
    START,
    event("notice", 100.1, text="wgridder is used"),
    event("warning", 100.2, text="coarse"),
    event("plugin_done", 101.0, step="create", outputs={}, duration_s=0.5),
    began("average", 102.0, 2),
    job_began("average/000", 102.0),
    job_began("average/001", 103.0),
    job_ended("average/000", 107.0),
    job_ended("average/001", 108.0, 1, "exited with 1 after 5.0 s"),
    ended("average", 112.0, 2, 1),
    began("image", 112.0, 1),
    job_began("image/000", 112.5),
]


def states(run: RunState) -> dict[str, str]:
    return {name: step.state for name, step in run.steps.items()}


def test_unfinished_run_is_running() -> None:
    run = state_of(WHOLE)
    assert (run.state, run.run, run.started_s, run.last_s) == ("running", 1, 100.0, 112.5)
    assert run.facts == {"job": "field", "pid": 7, "steps": ["create", "average", "image"]}
    assert states(run) == {"create": "done", "average": "done", "image": "running"}
    average = run.steps["average"]
    assert (average.total, average.done, average.failed, average.running) == (2, 1, 1, [])
    assert (average.started_s, average.duration_s, average.type) == (102.0, 10.0, "dp3")
    assert [job.name for job in run.steps["image"].running] == ["image/000"]
    skipped = "average: 1 of 2 jobs failed; their products are skipped from here on"
    assert (run.warnings, run.notices) == (["coarse", skipped], ["wgridder is used"])


def test_clean_step_gives_no_warning() -> None:
    assert state_of([START, began("a", 101.0, 1), ended("a", 102.0, 1)]).warnings == []


def test_plugin_start_is_end_minus_duration() -> None:
    create = state_of(WHOLE).steps["create"]
    assert (create.type, create.started_s, create.ended_s) == ("plugin", 100.5, 101.0)


def test_job_combines_start_and_end_events() -> None:
    job = state_of(WHOLE).steps["average"].jobs["average/001"]
    assert (job.state, job.exit_code, job.problem) == ("failed", 1, "exited with 1 after 5.0 s")
    assert (job.node, job.pid, job.log, job.label, job.cores, job.memory_gb) == ("n1", 42, "/job/0.log", "a.ms", 2, 1.5)
    assert (job.start_s, job.duration_s, job.cpu_s, job.max_rss_mb) == (103.0, 5.0, 4.5, 80.0)


def test_repeated_jobs_are_counted_once() -> None:
    run = state_of([START, began("a", 101.0, 3)])
    step = run.steps["a"]

    def counts(*events: dict[str, Any]) -> tuple[int, int, list[str]]:
        for one in events:
            run.apply(as_event(one))
        return step.done, step.failed, [job.name for job in step.running]

    assert counts(job_began("a/000", 102.0), job_began("a/001", 102.0)) == (0, 0, ["a/000", "a/001"])
    assert counts(job_ended("a/000", 103.0, 1, "lost"), job_began("a/000", 104.0)) == (0, 0, ["a/001", "a/000"])
    assert counts(job_ended("a/000", 105.0), job_ended("a/001", 105.0, 1, "bad")) == (1, 1, [])
    assert counts(job_ended("a/000", 106.0)) == (1, 1, [])  # said twice
    assert counts(START | {"steps": ["a"]}, began("a", 107.0, 3), job_began("a/001", 108.0)) == (0, 0, ["a/001"])


def test_jobs_before_step_start_count() -> None:
    run = state_of([START, job_began("a/000", 102.0), job_ended("a/000", 103.0), began("a", 104.0, 2)])
    assert run.steps["a"].done == 1


def test_waiting_steps_keep_their_order() -> None:
    assert states(state_of([START])) == {"create": "waiting", "average": "waiting", "image": "waiting"}
    assert RunState().state == "waiting"


def test_successful_run_is_done() -> None:
    run = state_of([*WHOLE, ended("image", 120.0, 1), event("run_ended", 121.0, ok=True, signal=None)])
    assert (run.state, run.ok, run.ended, run.ended_s) == ("done", True, True, 121.0)
    assert run.steps["image"].done == 1


def test_problem_ends_step_and_run() -> None:
    failed = event("step_failed", 119.0, step="image", problem="2 of 2 jobs failed")
    run = state_of([*WHOLE, failed, event("run_ended", 121.0, ok=False, problem="it failed")])
    assert (run.state, run.problem) == ("failed", "it failed")
    assert (run.steps["image"].state, run.steps["image"].problem) == ("failed", "2 of 2 jobs failed")


def test_old_journal_infers_failed_step() -> None:
    run = state_of([*WHOLE, event("run_ended", 121.0, ok=False, problem="step 'image': bad")])
    assert (run.steps["image"].state, run.steps["image"].problem) == ("failed", "step 'image': bad")


@pytest.mark.parametrize(
    "facts", [{"problem": "interrupted by SIGTERM: all jobs were ended", "signal": None}, {"problem": "", "signal": 15}]
)
def test_interrupted_run_has_problem(facts: dict[str, Any]) -> None:
    run = state_of([*WHOLE, event("run_ended", 121.0, ok=False, **facts)])
    image = run.steps["image"]
    assert (image.state, image.jobs["image/000"].state, image.running) == ("interrupted", "interrupted", [])
    assert run.state == "interrupted"


def test_killed_run_is_never_running() -> None:
    run = state_of(WHOLE)
    run.mark_killed()
    assert (run.state, run.problem, run.ended_s) == ("killed", KILLED_PROBLEM, 112.5)
    assert states(run)["image"] == "interrupted"


def test_run_after_killed_run_is_running() -> None:
    run = state_of(WHOLE)
    run.mark_killed()
    run.apply(as_event(START))
    assert run.state == "running"


def test_ended_run_was_not_killed() -> None:
    run = state_of([*WHOLE, event("run_ended", 121.0, ok=True)])
    run.mark_killed()
    assert (run.state, run.problem) == ("done", "")


def test_second_run_keeps_finished_steps() -> None:
    run = state_of([*WHOLE, START | {"time_s": 200.0}])
    assert states(run) == {"create": "done", "average": "done", "image": "waiting"}
    assert (run.run, run.started_s, run.warnings, run.steps["average"].jobs.keys()) == (
        2,
        200.0,
        [],
        {"average/000", "average/001"},
    )
    run.apply(as_event(event("step_skipped", 201.0, step="average", jobs=2)))
    assert (states(run)["average"], run.steps["average"].done) == ("skipped", 1)
    run.apply(as_event(START))
    assert states(run)["average"] == "done"


def test_next_run_ignores_earlier_jobs() -> None:
    run = state_of([*WHOLE, START, began("average", 201.0, 2)])
    assert (run.steps["average"].done, run.steps["average"].failed) == (0, 0)
    run.apply(as_event({**began("average", 201.0, 2), "done_before": 1}))
    run.apply(as_event(job_began("average/001", 202.0)))
    run.apply(as_event(job_ended("average/001", 207.0)))
    assert (run.steps["average"].done, run.steps["average"].failed) == (2, 0)
    assert run.steps["average"].jobs["average/000"].run == 1


def test_repeated_lost_job_counts_once() -> None:
    lost = job_ended("image/000", 115.0, 1, "lost with node n1")
    run = state_of([*WHOLE, lost])
    assert run.steps["image"].failed == 1
    run.apply(as_event(job_began("image/000", 116.0)))
    assert (run.steps["image"].failed, run.steps["image"].jobs["image/000"].problem) == (0, "")


def test_removed_step_disappears() -> None:
    run = state_of([*WHOLE, START | {"steps": ["average", "new"]}])
    assert states(run) == {"average": "done", "new": "waiting"}


def test_forgotten_step_waits() -> None:
    run = state_of([*WHOLE, event("step_forgotten", 130.0, step="average")])
    assert states(run)["average"] == "waiting"


def test_iterations_replace_step_of_loop() -> None:
    events = [{**START, "steps": ["clean", "mask", "after"]}]
    for turn in range(2):
        events += [began(f"{name}@{turn}", 1.0, 1) for name in ("clean", "mask")]
        events += [ended(f"{name}@{turn}", 2.0, 1) for name in ("clean", "mask")]
    run = state_of(events)
    assert list(run.steps) == ["clean@0", "mask@0", "clean@1", "mask@1", "after"]
    run.apply(as_event({**START, "steps": ["clean", "mask", "after"]}))  # as when it is resumed
    assert list(run.steps) == ["clean@0", "mask@0", "clean@1", "mask@1", "after"]


def test_old_journal_gives_coarser_state() -> None:
    run = state_of(
        [
            event("run_started", 1.0, job="field"),
            event("step_started", 2.0, step="average", jobs=2, names=[]),
            event("job_done", 3.0, job="average/000", exit_code=1),
            event("step_done", 4.0, step="average", outputs={}),
            event("step_done", 5.0, step="alone", duration_s=1.5),
        ]
    )
    assert (run.steps["average"].total, run.steps["average"].failed, run.steps["average"].done) == (2, 1, 1)
    assert run.steps["alone"].duration_s == 1.5


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"event": 3},
        {"event": "not known", "step": "x"},
        {"event": "run_started", "steps": 3, "time_s": "now"},
        {"event": "job_started", "job": None, "step": ["x"], "pid": True},
        {"event": "job_done"},
        {"event": "step_done", "jobs": "two", "failed": None, "duration_s": {}},
        {"event": "plugin_done"},
        {"event": "run_ended", "ok": "yes", "problem": 3, "signal": "TERM"},
    ],
)
def test_odd_events_are_accepted(odd: dict[str, Any]) -> None:
    run = state_of([*WHOLE, odd, *WHOLE])
    assert run.steps["average"].done == 1


def test_removed_jobs_are_not_shown() -> None:
    first = [
        START,
        began("average", 101.0, 2),
        *(job_ended(f"average/00{n}", 102.0 + n) for n in (0, 1)),
        ended("average", 104.0, 2),
    ]
    again = [
        START,
        {**began("average", 111.0, 2), "left": ["average/000"], "done_before": 1},
        job_began("average/002", 112.0),
    ]
    step = state_of([*first, *again]).steps["average"]
    assert list(step.jobs) == ["average/001", "average/002"]
    assert (step.total, step.done, step.failed) == (2, 1, 0)
    back = [
        START,
        {**began("average", 121.0, 2), "left": ["average/002"], "done_before": 2},
        ended("average", 122.0, 2),
    ]
    step = state_of([*first, *again, job_ended("average/002", 113.0), ended("average", 114.0, 2), *back]).steps[
        "average"
    ]
    assert list(step.jobs) == ["average/000", "average/001"]
    assert (step.done, step.state) == (2, "done")


@pytest.mark.parametrize("left", [5, "average/000", [["average/000"]], {"average/000": 1}])
def test_invalid_list_of_removed_jobs_is_ignored(left: object) -> None:
    events = [
        START,
        began("average", 101.0, 1),
        job_ended("average/000", 102.0),
        {**began("average", 103.0, 1), "left": left},
    ]
    assert list(state_of(events).steps["average"].jobs) == ["average/000"]


def wrote(step: str, time_s: float, *paths: str, gone: tuple[str, ...] = ()) -> dict[str, Any]:
    written = {**dict.fromkeys(paths, "1@2"), **dict.fromkeys(gone)}
    return {**ended(step, time_s, 1), "written": written}


def test_earlier_files_exclude_own_outputs() -> None:
    first = [run_began(0, ["plan", "image", "list"]), wrote("plan", 1, "/plan"), wrote("image", 2, "/a", "/b")]
    first += [wrote("list", 3, "/list", "/a"), event("run_ended", 4, ok=True)]
    assert state_of(first).earlier_files() == set()
    second = [*first, run_began(10, ["plan", "image"]), event("step_skipped", 11, step="plan", jobs=1)]
    assert state_of(second).earlier_files() == {"/a", "/b", "/list"}
    done = state_of([*second, wrote("image", 12, "/a", gone=("/b",))])
    assert done.earlier_files() == {"/list"}  # of a step that is not in the pipeline any more
    assert done.current == {"plan", "image"}


def test_unfinished_step_keeps_earlier_files() -> None:
    events = [run_began(0, ["a"]), wrote("a", 1, "/a"), run_began(2, ["a"]), began("a", 3, 1)]
    assert state_of(events).earlier_files() == {"/a"}
    events += [event("step_failed", 4, step="a", problem="no")]
    assert state_of(events).earlier_files() == {"/a"}
    kept = {**ended("a", 5, 1), "kept": {"/a": "1@2"}, "written": {"/b": "1@2"}}
    assert state_of([*events, kept]).earlier_files() == set()


def test_plugin_runs_until_return_or_failure() -> None:
    run = state_of([START, event("plugin_started", 101.0, step="create")])
    create = run.steps["create"]
    assert (create.state, create.type, create.started_s, create.run) == ("running", "plugin", 101.0, 1)
    run.apply(as_event(event("step_failed", 102.0, step="create", problem="no files")))
    assert (create.state, create.problem, create.ended_s) == ("failed", "no files", 102.0)


def test_start_is_start_of_first_run() -> None:
    run = RunState()
    assert run.first_s is None
    for facts in ({"event": "x"}, {"event": "run_ended", "time_s": "soon"}, {"event": "run_started", "time_s": 7}):
        run.apply(as_event(facts))
    run.apply(as_event({"event": "run_started", "time_s": 9.0}))
    assert run.first_s == 7.0
    run.apply(as_event({"event": "run_started", "time_s": 3.0}))  # the clock was set back
    assert run.first_s == 3.0


def test_pauses_lie_between_ended_runs() -> None:
    kinds = ("started", "ended", "started", "started", "ended", "ended", "started")  # the second one was killed
    run = state_of([{"event": f"run_{kind}", "time_s": float(time_s)} for time_s, kind in enumerate(kinds)])
    assert run.pauses == [(1.0, 2.0), (5.0, 6.0)]


def test_reader_blocks_changes() -> None:
    stream = Stream()
    changed = threading.Event()

    def change() -> None:
        stream.emit(RunStarted("field"))
        changed.set()

    def look(state: RunState) -> int:
        thread.start()
        changed.wait(0.2)
        return state.run

    thread = threading.Thread(target=change)
    assert stream.state.read_locked(look) == 0
    assert changed.wait(60)
    thread.join()
    assert stream.state.read_locked(lambda state: state.run) == 1
