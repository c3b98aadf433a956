"""Real runs of DP3."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def dp3() -> Path:
    found = shutil.which("DP3.py", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not found:
        pytest.skip("DP3 is not installed")
    return Path(found)


def run_real(dp3, folder, keywords):
    """Run DP3, and return exit code and log."""
    argv = [str(dp3), *(f"{key}={value}" for key, value in keywords.items())]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, cwd=folder)
    return done.returncode, done.stdout
