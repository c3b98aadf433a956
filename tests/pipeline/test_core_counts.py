"""Requests for more cores than available give a warning before the first job."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.cli import main
from lofarpipe.config import Overrides, Settings, load_settings
from lofarpipe.jobs import Resources
from lofarpipe.pipeline import preflight as core_counts
from lofarpipe.pipeline.preflight import core_warnings
from lofarpipe.pipeline.steps import Step


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(core_counts, "usable_cores", lambda: 2)
    monkeypatch.chdir(tmp_path)


def settings(remote: str = "", cores: int | None = None) -> Settings:
    top = "[DEFAULT]\nruntime_directory = .\nworking_directory = .\nrecipe_directories = []\n"
    Path("pipeline.cfg").write_text(f"{top}[remote]\n{remote}\n")
    return load_settings(Path("run.parset"), Overrides(cores=cores))


def step(**control: str) -> Step:
    return Step("image", "image", "recipe", "wsclean", control, {})


def told(steps: list[Step], site: Settings, cores: int = 2) -> list[str]:
    return [str(finding) for finding in core_warnings(steps, site, Resources(cores, 8.0))]


def test_sufficient_cores_give_no_warning() -> None:
    assert told([step(cores="2"), step(), step(cores="x.output.n")], settings("cores = 2")) == []


def test_excess_cores_of_run_give_warning() -> None:
    (said,) = told([], settings(cores=1000), 1000)
    assert said.startswith("this run: cores = 1000 of [remote], or --cores: this machine has 2; programs get more")


def test_excess_cores_of_step_give_warning() -> None:
    loop = Step("l", "l", "loop", "", {}, {}, body=(step(cores="64"),))
    (said,) = told([loop], settings())
    assert said.startswith("step 'image', control.cores: is 64, and the run has 2; its jobs run one at a time")
    task = Step("image", "image", "recipe", "wsclean", {}, {}, task={"cores": "3"})
    assert len(told([task], settings())) == 1
    assert len(told([step(cores="3")], settings(cores=4), 4)) == 2  # the cores that are there count


def test_cluster_nodes_limit_cores() -> None:
    site = settings("method = slurm")
    assert told([step(cores="64")], site, 64) == []
    (said,) = told([step(cores="65")], site, 64)
    assert "is 65, and the largest node has 64" in said
    assert told([step(cores="65", partition="large")], site, 64) == []


def test_check_warns_without_findings(capsys: pytest.CaptureFixture[str]) -> None:
    settings()
    Path("run.parset").write_text(
        "pipeline.steps = [one]\none.control.type = executable_args\none.control.executable = true\n"
        "one.control.cores = 64\none.control.mapfile_in = x.mapfile\n"
    )
    assert main(["--check", "run.parset"]) == 0
    assert "run.parset:4: one.control.cores: is 64, and the run has 2" in capsys.readouterr().err
