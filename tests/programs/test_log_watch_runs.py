"""A whole run with a diverging deconvolution: a stub repeats WSClean's output, and continues."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from copy_pipeline import list_step
from lofarpipe import cli
from lofarpipe.executors.local import executor as giving_up
from wsclean_stubs import make_stub

LOGS = Path(__file__).parent / "logs"
STEPS = """\
pipeline.steps = [make, clean]
clean.control.type = executable_args
clean.control.program = wsclean
clean.control.args_format = wsclean
clean.control.executable = {stub}
clean.control.mapfile_in = make.output.mapfile
clean.control.inputkey = ms
{more}
clean.argument.flags = [ms]
clean.argument.name = {folder}/image
clean.argument.size = 128 128
"""
PARSET = STEPS + list_step("[/d/a.ms]", "make")
DIVERGES = """
case "$1" in -version|-help|-dry-run) exit 0;; esac
cat {log}
[ -e {folder}/ends ] || while :; do sleep 0.05; done
while [ "$1" != -name ]; do shift; done
[ -e {folder}/is_silent ] || touch "$2-image.fits"
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs the pipeline."""
    installed = shutil.which("wsclean")
    if installed is None:
        pytest.skip("the help of the stub is that of an installed WSClean")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(giving_up, "LOOK_S", 0.0)
    stub = make_stub(tmp_path / "bin", Path(installed))

    def whole(log: str, more: str = "", *options: str) -> int:
        with stub.open("a") as script:
            script.write(DIVERGES.format(log=LOGS / log, folder=tmp_path))
        (tmp_path / "field.parset").write_text(PARSET.format(stub=stub, folder=tmp_path, more=more))
        return cli.main(["field.parset", "-q", *options])

    return whole


def test_divergence_ends_run(run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wsclean_diverged.log") == 1
    said = capsys.readouterr().err
    assert "clean/000 (/d/a.ms) stopped after " in said
    assert "the peak of the residual image is 3.93e+05 MJy in major iteration 4, beyond max_peak_jy = 100000 Jy" in said


def test_step_raises_threshold(run, tmp_path: Path) -> None:
    (tmp_path / "ends").touch()
    assert run("wsclean_diverged.log", "clean.control.max_peak_jy = 0") == 0


def test_missing_output_ends_run(run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ends").touch()
    (tmp_path / "is_silent").touch()
    assert run("wsclean_diverged.log", "clean.control.max_peak_jy = 0") == 1
    assert f"but did not write {tmp_path}/image-*.fits" in capsys.readouterr().err


def test_lenient_run_watches_nothing(run, tmp_path: Path) -> None:
    (tmp_path / "ends").touch()
    assert run("wsclean_diverged.log", "", "--lenient") == 0
