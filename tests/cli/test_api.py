"""The function for Python: arguments become options, products become a result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lofarpipe
from copy_pipeline import copy_step, journalled, list_step
from doc_pages import REPOSITORY, blocks
from lofarpipe import ImageResult, image
from lofarpipe.errors import CheckFailed, PipelineError, UsageError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.jobs import Resources

OPTIONS = """\
! data_input_filenames = []    ## {list} files
! cellsize_highres_deg = 0.002    ## {number > 0} pixel size
! robust = 0    ## {number -2..2} robustness
! sip_file = none    ## {path} description
! local_rms = False    ## {True | False} flag
! marks = []    ## {list} texts
pipeline.steps = [list, copy]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.MS").write_text("a")
    (tmp_path / "image.parset").write_text(OPTIONS + list_step("{{ data_input_filenames }}") + copy_step())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def options_of(job_directory: Path) -> dict[str, str]:
    return {one["name"]: one["value"] for one in json.loads((job_directory / "run.json").read_text())["options"]}


def test_result_has_paths_quality_and_plan(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "image").mkdir()
    (site / "image" / "quality.json").write_text(
        '{"image": "/x/flat.fits", "image_pb": "/x/pb.fits", "rms": {"value": 1}}'
    )
    (site / "image" / "plan.json").write_text('{"summary": ["One pixel."]}')
    result = image("a.MS", cellsize_arcsec=7.5)
    assert isinstance(result, ImageResult)
    assert result.plan["summary"] == ["One pixel."]
    assert result.quality["rms"] == {"value": 1}
    assert (result.paths["image"], result.paths["flat_image"]) == (Path("/x/pb.fits"), Path("/x/flat.fits"))
    here = {name: path.name for name, path in result.paths.items() if name not in ("image", "flat_image")}
    assert here == {
        "job_directory": "image",
        "report": "report.html",
        "record": "run.json",
        "plan": "plan.json",
        "quality": "quality.json",
    }
    assert float(options_of(site / "image")["cellsize_highres_deg"]) * 3600 == pytest.approx(7.5)
    assert (site / "image" / "a.copy").read_text() == "a"
    assert capsys.readouterr().out == ""


def test_tour_example_runs(site: Path) -> None:
    (example,) = (
        block.text for block in blocks(REPOSITORY / "doc" / "tour.md") if "from lofarpipe import" in block.text
    )
    (site / "data").mkdir()
    (site / "data" / "L628614_SB000.MS").write_text("a")
    (site / "image").mkdir()
    (site / "image" / "quality.json").write_text('{"image_pb": "/x/pb.fits", "rms": {"value": 1, "unit": "Jy/beam"}}')
    (site / "image" / "plan.json").write_text('{"summary": ["One pixel."]}')
    code = example.replace("/data/", f"{site}/data/")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "/x/pb.fits 1 Jy/beam\nOne pixel.\n"), done.stderr


def test_python_values_become_options(site: Path) -> None:
    values = {"robust": np.float32(-0.5), "local_rms": True, "sip_file": None, "marks": ["a, b", "c"]}
    (site / "out").mkdir()
    result = image([Path("a.MS")], name="field", directory=site / "out", **values)
    options = options_of(result.paths["job_directory"])
    assert result.paths["job_directory"] == site / "out" / "field"
    assert (options["robust"], options["local_rms"], options["sip_file"]) == ("-0.5", "True", "none")
    assert options["data_input_filenames"] == f"[{site}/a.MS]"
    assert options["marks"] == "[a, b, c]"
    assert (result.quality, result.plan) == ({}, {})
    image([Path("a.MS")], name="field", directory=site / "out", **values)
    assert len(journalled(site / "out" / "field", "job_started")) == 1


def test_caller_sets_executor_and_configuration(site: Path) -> None:
    (site / "my.cfg").write_text("[layout]\njob_directory = %(runtime_directory)s/jobs/%(job_name)s\n")
    executor = LocalExecutor(Resources(1, 1.0))
    result = image("*.MS", parset=site / "image.parset", config="my.cfg", executor=executor, sip_file=Path("x.xml"))
    assert result.paths["job_directory"] == site / "jobs" / "image"
    executor.close()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"cellsize_arcsec": 1, "cellsize_highres_deg": 1},
            UsageError,
            "cellsize_arcsec: cellsize_highres_deg is given",
        ),
        ({"robust": {}}, UsageError, "robust: is {}; text, a number"),
        ({"robust": 3}, CheckFailed, "robust is '3'; a number -2..2 is needed"),
        ({"robst": 3}, CheckFailed, "no option is called 'robst'; did you mean 'robust'"),
        ({"parset": "nowhere.parset"}, PipelineError, "nowhere.parset: no such parset"),
    ],
)
def test_invalid_values_are_refused(
    site: Path, options: dict[str, object], error: type[PipelineError], said: str
) -> None:
    with pytest.raises(error) as raised:
        image("a.MS", **options)
    assert said in str(raised.value)
    assert not (site / "image").exists()


def test_failed_run_raises_error(site: Path) -> None:
    text = (site / "image.parset").read_text().replace("/bin/cp", "/bin/false")
    (site / "image.parset").write_text(text)
    with pytest.raises(PipelineError, match="1 of 1 jobs failed"):
        image("a.MS")


def test_package_imports_lazily() -> None:
    code = "import sys, lofarpipe; print([name for name in sys.modules if name.startswith('lofarpipe.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    with pytest.raises(AttributeError, match="module 'lofarpipe' has no attribute 'imag'"):
        lofarpipe.imag  # noqa: B018


@pytest.mark.parametrize("cellsize", ["7.5", -1, 0, 3601, float("nan")])
def test_impossible_cellsize_is_usage_error(cellsize: float) -> None:
    with pytest.raises(UsageError, match=r"cellsize_arcsec is .*; a number of arcsec > 0 <= 3600 is needed"):
        image([], cellsize_arcsec=cellsize)
