"""Which files a run read and which it made."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

import pytest

from journal_events import work_of
from lofarpipe.archive import inputs as files
from lofarpipe.archive.inputs import RunFiles
from lofarpipe.config import Overrides, load_settings
from lofarpipe.pipeline.load import load_pipeline
from lofarpipe.state.work import Work
from lofarpipe.support.data_map import DataMap, DataProduct

PARSET = """
! sets = []   ## {list} sets
pipeline.steps = [a]
a.control.type = executable_args
a.control.executable = /bin/true
a.argument.model = sky.txt
a.argument.sets = {{ sets }}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory with two tables, a sky model and a job directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("L1_SB000.MS", "L1_SB001.MS"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.dat").write_text(name)
    (tmp_path / "sky.txt").write_text("model")
    (tmp_path / "field" / "mapfiles").mkdir(parents=True)
    (tmp_path / "field.parset").write_text(PARSET)
    return tmp_path


def files_of(here: Path, began: float | None = None, sets: str = "[L1_SB*.MS]") -> RunFiles:
    settings = load_settings(here / "field.parset", Overrides())
    pipeline = load_pipeline(here / "field.parset", settings, [f"sets={sets}"])
    return RunFiles(pipeline, settings, frozenset({"/bin/true"}), time.time() + 60 if began is None else began)


def names(paths: list[str], here: Path) -> list[str]:
    return [os.path.relpath(path, here) for path in paths]


def test_inputs_come_from_parset_and_patterns(here: Path) -> None:
    assert names(files_of(here).inputs(work_of([])), here) == ["L1_SB000.MS", "L1_SB001.MS", "sky.txt"]
    assert names(files_of(here, sets="[L1_SB001.MS]").inputs(work_of([])), here) == ["L1_SB001.MS", "sky.txt"]


def test_files_of_steps_are_inputs(here: Path) -> None:
    (here / "more.txt").touch()
    done = {"event": "step_done", "step": "a", "serial": 1, "files": {str(here / "more.txt"): "x", "/bin/true": "y"}}
    assert "more.txt" in names(files_of(here).inputs(work_of([done])), here)
    assert "/bin/true" not in files_of(here).inputs(work_of([done]))


def test_files_younger_than_run_are_no_inputs(here: Path) -> None:
    files = files_of(here, began=1.0)
    assert files.inputs(work_of([])) == []
    assert names(files.inputs(work_of([]), [str(here / "sky.txt"), str(here / "gone.txt")]), here) == ["sky.txt"]


def test_files_created_between_runs_are_inputs(here: Path) -> None:
    came_s = (here / "sky.txt").stat().st_ctime
    files = dataclasses.replace(
        files_of(here, began=1.0), pauses=[(came_s - 1, came_s - 0.5), (came_s - 0.1, came_s + 0.1)]
    )
    assert "sky.txt" in names(files.inputs(work_of([])), here)
    files = dataclasses.replace(files, pauses=[(came_s - 1, came_s - 0.5), (came_s + 0.5, came_s + 1)])
    assert files.inputs(work_of([])) == []


def written(*paths: Path) -> dict:
    return {"event": "step_done", "step": "a", "written": {str(path): "stamp" for path in paths}}


def test_products_are_existing_written_files(here: Path) -> None:
    (here / "field" / "image.fits").touch()
    work = work_of([written(here / "field" / "image.fits", here / "field" / "gone.fits")])
    assert names(files_of(here).products(work, (), {"p"}, ()), here) == ["field/image.fits"]


def test_files_of_the_runner_are_no_products(here: Path) -> None:
    own = [here / "field" / name for name in ("run.json", "commands.txt", "mapfiles/a.mapfile", "journal.jsonl")]
    own += [here / "field" / "logs" / "a" / "000.log", here / "other.mapfile"]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert files_of(here).products(work_of([written(*own)]), (), {"p"}, ()) == []


def test_files_inside_tables_count_as_table(here: Path) -> None:
    table = here / "L1_SB000.MS"
    work = work_of([written(table / "table.dat", table)])
    assert names(files_of(here).products(work, (), {"p"}, ()), here) == ["L1_SB000.MS"]


def listed(here: Path, *paths: object) -> Work:
    mapfile = str(here / "field" / "mapfiles" / "out.mapfile")
    DataMap([DataProduct("localhost", path, False) for path in paths]).save(mapfile)
    outputs = {"mapfile": mapfile, "other": "x", "gone": str(here / "none.mapfile")}
    return work_of([{"event": "plugin_done", "step": "p", "outputs": outputs}])


def test_young_files_listed_by_plugin_are_products(here: Path) -> None:
    work = listed(here, here / "sky.txt", "3.5", [str(here / "L1_SB000.MS")], here / "none.txt")
    assert names(files_of(here, began=1.0).products(work, (), {"p"}, ()), here) == ["sky.txt"]
    assert files_of(here).products(work, (), {"p"}, ()) == []
    assert files_of(here, began=1.0).products(work, [str(here / "sky.txt")], {"p"}, ()) == []


@pytest.mark.parametrize("name", ["none", "folder", "a\0b"])
def test_folders_and_pipes_count_as_absent(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    assert files._kind(f"{tmp_path}/{name}") == files.ABSENT


def test_vanished_file_is_no_input(here: Path) -> None:
    assert not files_of(here)._is_older(str(here / "gone.txt"))
    assert files_of(here)._is_older(str(here / "sky.txt"))
