"""Identity of a job, its outputs, and the inputs that it changes in place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lofarpipe.config import Overrides, Settings, load_settings
from lofarpipe.engine.recipe import RecipePlan, prepare
from lofarpipe.jobs import Resources
from lofarpipe.pipeline.control import Control
from lofarpipe.pipeline.steps import Step
from lofarpipe.support.data_map import DataMap, DataProduct


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(Path("run.parset"), Overrides())
    settings.mapfile_dir.mkdir(parents=True)
    return settings


def step(settings: Settings, arguments: dict[str, str], program: str = "", **control: str) -> RecipePlan:
    """Prepare a step of two products of the given program."""
    data = settings.runtime_directory / "d"
    for name in "ab":
        (data / f"{name}.ms").mkdir(parents=True, exist_ok=True)
    products = [DataProduct("localhost", f"{data}/{name}.ms", False) for name in "ab"]
    mapfile = str(settings.mapfile_dir / "in.mapfile")
    DataMap(products).save(mapfile)
    control = {"executable": "/bin/true", "mapfile_in": mapfile, "inputkey": "msin", **control}
    whole = Step("average", "average", "recipe", "executable_args", control, arguments)
    prepared = prepare(whole, {}, settings, Resources(2, 4.0))
    return replace(prepared, control=Control({**prepared.control.values, "program": program}))


def identities(settings: Settings, arguments: dict[str, str], **control: str) -> list[dict[str, object]]:
    prepared = step(settings, arguments, **control)
    return [prepared.job_identity(planned) for planned in prepared.jobs]


def test_jobs_differ_by_their_product(settings: Settings) -> None:
    first, second = identities(settings, {"flags": "[msin]"})
    assert {key for key in first if first[key] != second[key]} == {"arguments", "inputs", "output"}
    assert first["inputs"] == [("localhost", f"{settings.runtime_directory}/d/a.ms", False)]
    assert first["output"] == ("localhost", f"{settings.job_workdir}/a.average")


@pytest.mark.parametrize(
    ("arguments", "control", "part"),
    [
        ({"flags": "[msin, -v]"}, {}, "arguments"),
        ({"flags": "[msin]"}, {"environment": "{A: b}"}, "environment"),
        ({"flags": "[msin]"}, {"executable": "/bin/false"}, "executable"),
        ({"flags": "[msin]"}, {"inplace": "True"}, "output"),
    ],
)
def test_changed_part_changes_identity(
    settings: Settings, arguments: dict[str, str], control: dict[str, str], part: str
) -> None:
    before, after = identities(settings, {"flags": "[msin]"})[0], identities(settings, arguments, **control)[0]
    assert [key for key in before if key != "program" and before[key] != after[key]] == [part]


def test_maps_name_outputs_of_job(settings: Settings) -> None:
    prepared = step(settings, {"flags": "[msin]"}, outputsuffixes="[-psf.fits]")
    here = settings.job_workdir
    assert prepared.outputs_of(prepared.jobs[1]) == [f"{here}/b.average", f"{here}/b.average-psf.fits"]
    prepared = step(settings, {"flags": "[msin]"}, inplace="True")
    assert prepared.outputs_of(prepared.jobs[1]) == []  # they are the inputs


@pytest.mark.parametrize(
    ("program", "arguments", "control", "changed"),
    [
        ("", {"flags": "[msin]"}, {}, []),
        ("", {"flags": "[msin]"}, {"inplace": "True"}, ["a.ms"]),
        ("dp3", {"msin": "msin", "msout": ".", "steps": "[flag]"}, {}, ["a.ms"]),
        ("dp3", {"msin": "msin", "msout": "", "steps": "[flag]"}, {"inplace": "True"}, ["a.ms"]),
        ("dp3", {"msin": "msin", "msout": "msin", "steps": "[flag]"}, {}, ["a.ms"]),
        ("dp3", {"msin": "msin", "msout": "/d/new.ms", "steps": "[flag]"}, {"inplace": "True"}, []),
        # The next attempt overwrites WSClean's model in the set, unless it continues from it.
        ("wsclean", {"flags": "[-niter, 9, msin]"}, {"inplace": "True"}, []),
        ("wsclean", {"flags": "[-niter, 9, -no-update-model-required, msin]"}, {"inplace": "True"}, []),
        ("wsclean", {"flags": "[-continue, msin]", "niter": "9"}, {"inplace": "True"}, ["a.ms"]),
    ],
)
def test_changed_inputs_are_named(
    settings: Settings, program: str, arguments: dict[str, str], control: dict[str, str], changed: list[str]
) -> None:
    prepared = step(settings, arguments, program, **control)
    paths = [f"{settings.runtime_directory}/d/{name}" for name in changed]
    assert prepared.changed_inputs(prepared.jobs[0]) == paths
