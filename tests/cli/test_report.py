"""report.html on demand."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lofarpipe import cli


def job_directory(here: Path, *events: dict[str, object]) -> Path:
    lines = [json.dumps({"time_s": 1.0, **event}) for event in events]
    (here / "journal.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return here


def test_report_writes_and_names_page(tmp_path, capsys):
    job_directory(tmp_path, {"event": "run_started", "job": "field"}, {"event": "run_ended", "ok": True})
    assert cli.main(["report", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/report.html\n"
    assert "<title>field: done</title>" in (tmp_path / "report.html").read_text()


def test_killed_run_is_shown_as_killed(tmp_path):
    gone = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    facts = {"job": "field", "host": socket.gethostname(), "pid": int(gone.stdout)}
    job_directory(tmp_path, {"event": "run_started", **facts}, {"event": "step_started", "step": "a", "jobs": 1})
    assert cli.main(["report", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text()
    assert "<title>field: killed</title>" in text
    assert "the run was killed" in text


def test_live_run_is_shown_as_running(tmp_path):
    facts = {"job": "field", "host": socket.gethostname(), "pid": os.getpid()}
    job_directory(tmp_path, {"event": "run_started", **facts})
    (tmp_path / "journal.lock").write_text(json.dumps({"host": facts["host"], "pid": facts["pid"]}))
    assert cli.main(["report", str(tmp_path)]) == 0
    assert "<title>field: running</title>" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_directory_without_run_is_refused(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", name]) == 1
    assert "there is no journal.jsonl; name the job directory of a run" in capsys.readouterr().err
