"""Recorded behaviour of the program that imgpipe replaces: the same, or the correct one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
CASES = REPOSITORY.parent / "shared" / "imgpipe_cases"
NAMES = sorted(path.parent.name for path in CASES.glob("*/case.json"))
PARTS = 6


@pytest.mark.slow
@pytest.mark.skipif(not NAMES, reason="the recorded cases are not beside the repository")
@pytest.mark.parametrize("part", range(PARTS))
def test_recorded_cases_agree(part: int, tmp_path: Path) -> None:
    runner = tmp_path / "run"
    runner.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m lofarpipe.cli imgpipe "$@"\n')
    runner.chmod(0o755)
    command = [sys.executable, str(CASES / "judge.py"), "--runner", str(runner), *NAMES[part::PARTS]]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout + judged.stderr
