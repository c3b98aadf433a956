"""Public parsets and plugins, recorded on the original engine, where the recordings are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "cases" / "wild"
CASES = sorted(path.parent for path in RECORDED.glob("*/run.sh"))


@pytest.mark.skipif(not CASES, reason="no recordings in ../shared")
@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_recorded_case_agrees(case):
    if "timeout" in (case / "run.sh").read_text() and os.getloadavg()[0] > 4 * (os.cpu_count() or 1):
        pytest.skip("this machine is too busy for the time limit of the case")
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["sh", str(case / "run.sh"), "genericpipeline.py", "--lenient"]
    done = subprocess.run(command, env={**os.environ, "PATH": here}, capture_output=True, text=True, check=False)
    assert done.stdout == (case / "expected").read_text(), done.stderr
