"""The job that describes one product, as the engine starts it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from lofarpipe.archive.feedback_job import main
from made_images import REPOSITORY, measured, write_image


def spec(tmp_path, **changes):
    path = tmp_path / "000.json"
    call = {"product": str(tmp_path / "a.fits"), "product_type": "SkyImage", "result": str(tmp_path / "result.json")}
    path.write_text(json.dumps(call | changes))
    return str(path)


def test_feedback_runs_as_a_process(tmp_path):
    measured(tmp_path / "a.fits")
    argv = [sys.executable, "-m", "lofarpipe.archive.feedback_job", spec(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(argv, capture_output=True, text=True, env=environment, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    keys = json.loads((tmp_path / "result.json").read_text())
    assert keys["location"] == f"{socket.gethostname()}:{tmp_path}"
    assert keys["DirectionCoordinate"]["DirectionLinearAxis"][0]["length"] == 128


def test_failure_removes_old_result(tmp_path, capsys):
    write_image(tmp_path / "a.fits")
    (tmp_path / "result.json").write_text("{}")
    assert main(["feedback", spec(tmp_path)]) == 1
    assert "FITS header has no MEANRMS" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "result.json").exists()


def test_wrong_call_shows_usage(capsys):
    assert main(["feedback"]) == 1
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", '{"product": "a"}'])
def test_unreadable_description_is_refused(tmp_path, capsys, text):
    (tmp_path / "bad.json").write_text(text)
    assert main(["feedback", str(tmp_path / "bad.json")]) == 1
    assert "bad.json: not a readable description" in capsys.readouterr().err
