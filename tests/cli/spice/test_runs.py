"""Runs of the imager from its Python function and its commands, with a stub of WSClean."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from loading import load_script
from lofarpipe.cli.spice import main
from lofarpipe.cli.spice.function import ImagingFailed
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.jobs import Resources

pytest.importorskip("radio_beam", reason="radio_beam is not installed")


class Owned(LocalExecutor):
    """An executor that records whether it was closed."""

    is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "in").mkdir()
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return load_script("spice").Site(tmp_path, 1)


def arguments(site: Any) -> dict[str, Any]:
    return {
        "msdir": site.here / "in",
        "out_dir": site.here / "out",
        "num_beams": 1,
        "nchan": 3,
        "wsclean_path": site.stub,
    }


def test_function_uses_given_executor(site: Any) -> None:
    executor = Owned(Resources(2, 4.0))
    thread = threading.Thread(target=lambda: main(**arguments(site), executor=executor))
    thread.start()
    thread.join()
    assert not executor.is_closed
    names = {path.name for path in (site.here / "out").iterdir()}
    assert {f"image.restored.{p}.CDFS_2_5.contcube.beam00.conv.fits" for p in "iqu"} <= names
    assert "image.CDFS_2_5.contcube.beam00.image_i.log" in names
    assert list((site.here / "cwd").iterdir()) == []


def test_failures_are_one_exception(site: Any) -> None:
    site.stub.write_text(site.stub.read_text().replace("pol=I\n", "echo out of luck; exit 3\n"))
    with pytest.raises(ImagingFailed) as caught:
        main(**arguments(site))
    assert len(caught.value.failures) == 2
    assert caught.value.failures[0].startswith("beam00: image_i, Stokes I: exit code 3 after ")
    assert "image_polarisation, Stokes QU" in caught.value.failures[1]
    with pytest.raises(PipelineError, match="num_beams is 5"):
        main(**{**arguments(site), "num_beams": 5})


def command(site: Any, program: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lofarpipe.cli", program, *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=site.here / "cwd")


def test_commands_print_beams_and_failures(site: Any) -> None:
    words = ["--num_beams", "1", "--nchan", "3", "--local_wsclean", str(site.stub), "../in", "../out"]
    checked, printed = (command(site, "spice_image", *words, task) for task in ("--check", "--dry-run"))
    assert (checked.returncode, printed.returncode) == (0, 0)
    assert "image_i/000: " in printed.stdout
    assert not (site.here / "out").exists()
    site.stub.write_text(site.stub.read_text().replace("pol=I\n", "exit 3\n"))
    failed = command(site, "spice_image", *words, "--pols", "I")
    assert failed.returncode == 1
    assert "beam00: image_i, Stokes I: exit code 3 after " in failed.stdout
    assert "Traceback" not in failed.stdout + failed.stderr


def test_wrong_file_is_wrong_usage(site: Any) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    (site.here / "cwd" / "c.yaml").write_text("imager_only: true\nautto_mask: 4\n")
    wrong = command(site, "spice_process", "--config", "c.yaml", "../in", "../out", "F")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "spice_process: c.yaml:2: there is no option 'autto_mask'; did you mean 'auto_mask'?\n"
    assert not (site.here / "out").exists()
