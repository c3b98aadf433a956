"""Predicted return values of jobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from copy_pipeline import CONFIG, journalled, list_step
from lofarpipe.cli import main
from lofarpipe.engine.feedback_step import FeedbackPlan
from lofarpipe.engine.prediction import feedback_outputs
from lofarpipe.pipeline.control import FEEDBACK_KEYS, defaults
from lofarpipe.pipeline.steps import Step
from lofarpipe.support.data_map import DataMap

MAKE = """\
import sys
from pathlib import Path

OUTPUTS = ("image",)


def main(name):
    if name.endswith("b.txt") and not Path("ok").exists():
        raise ValueError(name)
    return {"image": name + ".fits"}
"""
STEPS = """\
pipeline.steps = [list, make, show]
make.control.type = pythonplugin
make.control.executable = make.py
make.control.mapfile_in = list.output.mapfile
make.control.inputkey = infile
make.control.error_tolerance = False
make.argument.flags = [infile]
show.control.type = executable_args
show.control.executable = /bin/echo
show.control.mapfiles_in = [make.output.image.mapfile, make.output.job_duration.mapfile, make.output.ok.mapfile]
show.control.inputkeys = [image, took, ok]
show.argument.flags = [image, took, ok]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script runs on three files; it fails on the second one."""
    (tmp_path / "my/scripts").mkdir(parents=True)
    (tmp_path / "my/scripts/make.py").write_text(MAKE)
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "run.parset").write_text(STEPS + list_step("[/d/a.txt, /d/b.txt, /d/c.txt]"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], step: str) -> list[str]:
    """Return the commands of a step in a dry run, without its name."""
    capsys.readouterr()
    assert main(["run.parset", "-c", "pipeline.cfg", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith(f"{step}/")]


def test_finished_jobs_have_known_outputs(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run.parset", "-c", "pipeline.cfg", "-q"]) == 1
    (ended,) = {event["job"] for event in journalled(site / "run", "job_done") if event["problem"]}
    assert ended == "make/001"
    assert len(shown(capsys, "make")) == 1
    images = [line.split(" ", 1)[1] for line in shown(capsys, "show")]
    assert images == [
        "/d/a.txt.fits '<make:job_duration:000>' True",  # how long it took counts as not known
        "'<make:image:001>' '<make:job_duration:001>' True",
        "/d/c.txt.fits '<make:job_duration:002>' True",
    ]


def test_script_without_result_has_no_outputs(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ended by sys.exit: there is no result."""
    planning = MAKE.replace("    return", "    sys.exit(0)\n    return") + "\nDRY_RUN_WRITES = ()\n"
    (site / "my/scripts/make.py").write_text(planning.replace("endswith", "__eq__"))
    assert len(shown(capsys, "make")) == 3
    assert shown(capsys, "show") == []  # there is no output image


@pytest.mark.parametrize(("outputs", "told"), [('"image"', 0), ('"image", "break"', 3), (None, 3)])
def test_possible_break_shows_all_iterations(
    site: Path, capsys: pytest.CaptureFixture[str], outputs: str | None, told: int
) -> None:
    """It is shown to the end."""
    line = "" if outputs is None else f"OUTPUTS = ({outputs},)\n"
    (site / "my/scripts/make.py").write_text(MAKE.replace('OUTPUTS = ("image",)\n', line))
    loop = "again.control.kind = loop\nagain.control.loopcount = 3\nagain.control.loopsteps = [make]\n"
    text = (site / "run.parset").read_text().replace("[list, make, show]", "[list, again]")
    (site / "run.parset").write_text(text + loop)
    assert main(["run.parset", "-c", "pipeline.cfg", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("# make: it may end the loop here") == told
    assert [line.partition(":")[0] for line in lines if line.startswith("make/")] == 3 * [
        "make/000",
        "make/001",
        "make/002",
    ]


@pytest.mark.parametrize("sip_file", ["none", "a.xml"])
def test_feedback_step_predicts_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sip_file: str) -> None:
    monkeypatch.chdir(tmp_path)
    values = {**defaults(FEEDBACK_KEYS), "mapfile_in": "/m", "metadata_file": "x.metadata", "sip_file": sip_file}
    step = Step("describe", "describe", "feedback", "", {}, {})
    prepared = FeedbackPlan(step, values, DataMap([]), [], tmp_path, "p", lambda *_: 1 / 0)
    wanted = {"mapfile": "/m", "metadata_file": f"{tmp_path}/x.metadata"}
    assert feedback_outputs(prepared) == wanted | ({"sip_file": f"{tmp_path}/a.xml"} if sip_file != "none" else {})
