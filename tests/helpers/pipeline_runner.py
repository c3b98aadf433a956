"""Runs pipelines through the command line, as a user does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def run_pipeline(here: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run genericpipeline.py in the directory ``here``."""
    command = [sys.executable, "-m", "lofarpipe.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
