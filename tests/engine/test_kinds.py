"""The kinds of steps, with steps that are made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lofarpipe.engine.kinds import Broken, Feedback, Loop, Plugin, Recipe, SubPipeline, UnknownKind, kind_of, plain
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Interrupted
from lofarpipe.pipeline.steps import BROKEN
from made_scope import Listener, copy_step_of, made_scope, made_step

PLUGIN = "def plugin_main(args, **kwargs):\n    {body}\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("recipe", Recipe), ("plugin", Plugin), ("feedback", Feedback), ("loop", Loop), ("pipeline", SubPipeline)),
        *((BROKEN, Broken), ("dance", UnknownKind)),
    ],
)
def test_kind_is_found_by_its_name(tmp_path: Path, name: str, kind: type) -> None:
    found = kind_of(made_scope(tmp_path), name)
    assert type(found) is kind
    assert found.has_jobs == (name in ("recipe", "feedback"))


def test_unknown_kind_gives_warning(tmp_path: Path) -> None:
    heard = Listener()
    step, scope = made_step("a", "dance"), made_scope(tmp_path, reporters=[heard])
    assert UnknownKind(scope).finish(UnknownKind(scope).plan(step, {}), None) == {}
    assert heard.texts("warning") == ["step 'a': kind 'dance' is not known; nothing was done"]


def test_broken_step_fails_on_planning(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"run\.parset:7: no such parset"):
        Broken(made_scope(tmp_path)).plan(replace(made_step("a"), problem="run.parset:7: no such parset"), {})


def test_recipe_plans_one_job_per_product(tmp_path: Path) -> None:
    scope = made_scope(tmp_path)
    scope.settings.parset_dir.mkdir(parents=True)
    plan = Recipe(scope).plan(copy_step_of(tmp_path, "one.txt", "two.txt"), {})
    assert [planned.job.name for planned in plan.jobs] == ["copy/000", "copy/001"]
    assert plan.jobs[1].job.argv == ("/bin/cp", f"{tmp_path}/two.txt", f"{scope.settings.job_workdir}/two.copy")
    assert Recipe(scope).finish(plan, None) == {}


@pytest.mark.parametrize(
    ("body", "outputs"),
    [
        ("return {'mapfile': '/m', 'n': 3}", {"mapfile": "/m", "n": 3}),
        ("return None", {}),
        ("return [1]", {}),
    ],
)
def test_plugin_returns_its_outputs(tmp_path: Path, body: str, outputs: dict[str, object]) -> None:
    heard = Listener()
    (tmp_path / "PipelineStep_maker.py").write_text(PLUGIN.format(body=body))
    scope = made_scope(tmp_path, reporters=[heard])
    kind = Plugin(scope)
    assert kind.finish(kind.plan(made_step("make", "plugin", "maker"), {}), None) == outputs
    assert heard.kinds == ["plugin_started", "plugin_done"]
    assert scope.stream.state.work.plugins == {"make": outputs}


def test_failing_plugin_names_step(tmp_path: Path) -> None:
    (tmp_path / "PipelineStep_maker.py").write_text(PLUGIN.format(body="raise ValueError('no files')"))
    kind = Plugin(made_scope(tmp_path))
    call = kind.plan(made_step("make", "plugin", "maker"), {})
    with pytest.raises(PipelineError, match=r"step 'make': .*PipelineStep_maker.py.*no files"):
        kind.finish(call, None)


def test_loop_plugin_must_return_dictionary(tmp_path: Path) -> None:
    (tmp_path / "PipelineStep_maker.py").write_text(PLUGIN.format(body="return 5"))
    scope = made_scope(tmp_path)
    kind, loop = Plugin(scope), made_step("again", "loop", loopcount="2")
    steps = Loop(scope).steps(replace(loop, body=(made_step("make", "plugin", "maker"),)))
    call = kind.plan(next(steps), {})
    with pytest.raises(PipelineError, match="returned 5; inside a loop a dictionary is needed"):
        kind.finish(call, None)


@pytest.mark.parametrize(("stop_at", "turns"), [(None, 3), (1, 2)])
def test_loop_ends_on_count_or_break(tmp_path: Path, stop_at: int | None, turns: int) -> None:
    scope = made_scope(tmp_path)
    body = made_step("clean")
    loop = replace(made_step("again", "loop", loopcount="3"), body=(body,))
    entries, counters = [], []
    for step in Loop(scope).steps(loop):
        entries.append(scope.entry(step))
        counters.append(scope.results["again"]["counter"])
        scope.store_outputs(step, {"break": len(counters) - 1 == stop_at})
    assert entries == [f"clean@{turn}" for turn in range(turns)]
    assert counters == list(range(turns))
    assert Loop(scope).finish(loop, None) == {"counter": -1, "break": False}
    assert scope.counted == {"clean": {"again": {"counter": turns - 1}}}
    assert scope.entry(body) == "clean"


def test_steps_of_another_parset_get_their_input(tmp_path: Path) -> None:
    scope = made_scope(tmp_path)
    step = replace(made_step("sub", "pipeline", "/p/other.parset", mapfile_in="/m"), body=(made_step("a"),))
    kind = SubPipeline(scope)
    assert [inner.name for inner in kind.steps(kind.plan(step, {}))] == ["a"]
    assert scope.results["other"] == {"parset": "/p/other.parset", "mapfile": "/m"}
    assert kind.finish(step, None) == {}


def test_signal_ends_run_after_step(tmp_path: Path) -> None:
    scope = made_scope(tmp_path)
    scope.signals = [15]
    with pytest.raises(Interrupted, match="SIGTERM"):
        scope.store_outputs(made_step("a"), {})
    assert "a" not in scope.results


def test_plugin_outputs_are_written_as_text() -> None:
    assert plain({"a": True, "b": 3, 4: Path("/m"), "c": None}) == {"a": True, "b": 3, "4": "/m", "c": "None"}
