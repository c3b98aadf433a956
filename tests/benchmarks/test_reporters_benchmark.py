"""The benchmark of the reporters runs, and prints what each costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "reporters.py"


def test_each_reporter_is_counted(tmp_path: Path) -> None:
    argv = [sys.executable, BENCHMARK, "--jobs", "3", "--repeat", "1", "--directory", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # with three jobs the limit means nothing
    assert done.stdout.startswith("3 jobs: ")
    for name in ("ClassicLog", "Statistics", "LiveTerminal"):
        assert re.search(rf"^  {name} +[\d.]+ ms +[\d.]+%$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"the terminal over the run +[\d.]+%, limit 1%: (ok|MISSED)", done.stdout)
    assert list(tmp_path.iterdir()) == []
