"""What a step would do and give, with steps that are made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from journal_events import tell
from lofarpipe.engine.foresight import MEANING, Foresight, NotKnown, Printout, shown_kind
from lofarpipe.engine.kinds import Broken, Kind, Scope
from lofarpipe.engine.prediction import Awaited, Shadow, Supposer, placeholder
from lofarpipe.engine.step_jobs import StepJobs
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.steps import BROKEN, Step
from lofarpipe.state.jobs import JobLedger
from lofarpipe.support.data_map import DataMap
from made_scope import copy_step_of, made_scope, made_step

PLUGIN = """\
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, mapfile_dir, **kwargs):
    path = mapfile_dir + "/made.mapfile"
    open(path, "w").write(repr([{"host": "localhost", "file": "/d/a.ms", "skip": False}]))
    return {"mapfile": path}
"""


@pytest.fixture
def foresight(tmp_path: Path) -> Foresight:
    for name in ("files", "jobs"):
        (tmp_path / "dry" / name).mkdir(parents=True)
    shadow = Shadow(tmp_path / "dry" / "files")
    scope = made_scope(tmp_path)
    supposer = Supposer(shadow, scope.stream.state.work, tmp_path / "dry" / "jobs")
    return Foresight(Printout(shadow), supposer, Awaited(scope.settings.job_workdir))


def scope_of(here: Path, foresight: Foresight, *steps: Step) -> Scope:
    scope = made_scope(here, *steps)
    scope.disk = foresight.shadow
    scope.ledger.disk = foresight.shadow
    return scope


def kind_of(foresight: Foresight, scope: Scope, name: str) -> Kind:
    return shown_kind(foresight, scope, name)


def test_placeholder_is_explained_once(foresight: Foresight) -> None:
    values = [placeholder("make", "image", place) for place in range(2)]
    foresight.shown.tell("# first", *values)
    assert foresight.shown.lines == ["# first", values[0], MEANING, values[1]]


def test_files_have_the_names_of_a_run(foresight: Foresight) -> None:
    foresight.shown.tell(f"cat {foresight.shadow.made('/d/x.txt')}")
    assert foresight.shown.lines == ["cat /d/x.txt"]


@pytest.mark.parametrize(
    ("given", "incomplete", "missing"),
    [({}, set(), "make"), ({"make": {}}, {"make"}, "make"), ({"make": {"mapfile": "/m"}}, {"make"}, "")],
)
def test_step_waits_for_those_that_it_needs(
    tmp_path: Path, foresight: Foresight, given: dict[str, dict[str, object]], incomplete: set[str], missing: str
) -> None:
    step = made_step("use", mapfile_in="make.output.mapfile")
    scope = scope_of(tmp_path, foresight, made_step("make"), step)
    scope.results |= given
    foresight.incomplete |= incomplete
    if missing:
        with pytest.raises(PipelineError, match=f"it needs what these give, which did not run: {missing}"):
            foresight.refuse_missing(step, scope)
    else:
        foresight.refuse_missing(step, scope)


def test_step_reads_maps_where_they_are(foresight: Foresight) -> None:
    made = foresight.shadow.made("/maps/a.mapfile")
    step = made_step("use", mapfile_in="make.output.mapfile", mapfiles_in="[/maps/a.mapfile, /maps/b.mapfile]")
    seen, results = foresight.seen(step, {"make": {"mapfile": "/maps/a.mapfile", "n": 3}})
    assert seen.control["mapfile_in"] == made
    assert seen.control["mapfiles_in"] == f"[{made}, /maps/b.mapfile]"
    assert results["make"] == {"mapfile": made, "n": 3}


def test_recipe_gives_its_map_as_if_its_jobs_had_done_well(tmp_path: Path, foresight: Foresight) -> None:
    step = copy_step_of(tmp_path, "one.txt")
    scope = scope_of(tmp_path, foresight, step)
    kind = kind_of(foresight, scope, "recipe")
    plan = kind.plan(step, {})
    jobs = StepJobs("copy", plan, scope.executor, JobLedger(scope.ledger, "copy"))
    outputs = kind.finish(plan, jobs)
    mapfile = str(scope.settings.mapfile_dir / "copy.mapfile")
    assert outputs["mapfile"] == mapfile
    assert not Path(mapfile).exists()
    assert [p.file for p in DataMap.load(scope.disk.found(mapfile)).data] == [f"{scope.settings.job_workdir}/one.copy"]
    assert foresight.awaited.writer(str(scope.settings.job_workdir)) == "copy"
    assert kind.finish(plan, None) == {}


def test_plugin_that_says_where_it_writes_is_called(tmp_path: Path, foresight: Foresight) -> None:
    (tmp_path / "PipelineStep_maker.py").write_text(PLUGIN)
    (tmp_path / "maps").mkdir()
    step = made_step("make", "plugin", "maker", mapfile_dir=str(tmp_path / "maps"))
    scope = scope_of(tmp_path, foresight, step)
    outputs = kind_of(foresight, scope, "plugin").finish(step, None)
    assert outputs == {"mapfile": f"{tmp_path}/maps/made.mapfile"}
    assert list((tmp_path / "maps").iterdir()) == []
    assert foresight.shown.lines == ["# make: plugin maker"]


def test_plugin_that_does_not_say_it_gives_what_it_gave_the_last_time(tmp_path: Path, foresight: Foresight) -> None:
    (tmp_path / "PipelineStep_maker.py").write_text(PLUGIN.partition("\n")[2])
    step = made_step("make", "plugin", "maker", mapfile_dir="/m")
    scope = scope_of(tmp_path, foresight, step)
    kind = kind_of(foresight, scope, "plugin")
    with pytest.raises(NotKnown, match="make"):
        kind.finish(step, None)
    tell(scope.stream, "plugin_done", step="make", outputs={"mapfile": "/m/old.mapfile"})
    assert kind.finish(step, None) == {"mapfile": "/m/old.mapfile"}
    assert foresight.shown.lines == [
        "# make: plugin maker; a dry run does not call it",
        "# make: plugin maker; a dry run does not call it; its maps are taken to be those of the last run",
    ]


@pytest.mark.parametrize("what", ["named", "not there yet"])
def test_directory_into_which_jobs_may_yet_write_is_not_looked_through(
    tmp_path: Path, foresight: Foresight, what: str
) -> None:
    folder = tmp_path / "images"
    foresight.refuse_unsettled([str(folder)])
    foresight.awaited.add("image", [str(folder) if what == "named" else f"{folder}/x.fits"])
    with pytest.raises(PipelineError, match=f"what is in {folder} is known only when image has run"):
        foresight.refuse_unsettled([str(folder)])


def test_directory_with_files_of_the_dry_run_is_not_looked_through(tmp_path: Path, foresight: Foresight) -> None:
    foresight.shadow.made(f"{tmp_path}/maps/a.mapfile")
    with pytest.raises(PipelineError, match="is known only when the steps before have run"):
        foresight.refuse_unsettled([f"{tmp_path}/maps"])


@pytest.mark.parametrize(("count", "turns", "said"), [("2", 2, []), ("-1", 1, ["one iteration is shown"])])
def test_loop_is_shown_as_far_as_it_is_known(
    tmp_path: Path, foresight: Foresight, count: str, turns: int, said: list[str]
) -> None:
    loop = replace(made_step("again", "loop", loopcount=count), body=(made_step("a"),))
    kind = kind_of(foresight, scope_of(tmp_path, foresight, loop), "loop")
    plan = kind.plan(loop, {})
    assert [step.name for step in kind.steps(plan)] == ["a"] * turns
    assert [line.rpartition("; ")[2] for line in foresight.shown.lines] == said
    assert kind.finish(plan, None) == {"counter": -1, "break": False}


def test_kind_that_is_not_known_is_told(tmp_path: Path, foresight: Foresight) -> None:
    scope, step = scope_of(tmp_path, foresight), made_step("a", "dance")
    kind = kind_of(foresight, scope, "dance")
    assert kind.finish(kind.plan(step, {}), None) == {}
    assert foresight.shown.lines == ["# a: kind 'dance' is not known; nothing is done"]
    assert isinstance(kind_of(foresight, scope, BROKEN), Broken)
