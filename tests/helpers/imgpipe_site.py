"""A directory with small measurement sets, in which imgpipe is run as a user does."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from small_sets import SetShape, change_column, make_set

SMALL = SetShape(nantennas=6, ntimes=6)
TOML = """
[wsclean]
data-column = 'DATA'
size = 64
scale = '20asec'
niter = 5
j = 1
"""


def _with_noise(visibilities: np.ndarray) -> np.ndarray:
    """A source of 1 Jy in the middle, and noise."""
    rng = np.random.default_rng(1)
    return (
        visibilities * 0 + 1.0 + 0.1 * (rng.normal(size=visibilities.shape) + 1j * rng.normal(size=visibilities.shape))
    )


class ImgpipeSite:
    """Runs ``imgpipe img.toml`` in a directory of its own."""

    def __init__(self, here: Path) -> None:
        self.here = here

    def make_sets(self, *names: str, **changes: object) -> None:
        """Make sets with visibilities; ``changes`` are those of their shape."""
        for number, name in enumerate(names):
            shape = SetShape(**{**vars(SMALL), **changes})  # type: ignore[arg-type]
            make_set(self.here / name, shape, weight=1.0 + number, with_data=True)
            change_column(str(self.here / name), "DATA", _with_noise)

    def write(self, text: str, name: str = "img.toml") -> None:
        """Write a configuration."""
        (self.here / name).write_text(text)

    def stub(self, lines: str) -> Path:
        """Put a wsclean before the real one, by env_file, that does something first; return its path."""
        path = self.here / "bin/wsclean"
        path.parent.mkdir()
        path.write_text(f'#!/bin/sh\n{lines}\nexec {shutil.which("wsclean")} "$@"\n')
        path.chmod(0o755)
        self.write("[worker]\nenv_file = 'env.sh'\n" + (self.here / "img.toml").read_text())
        (self.here / "env.sh").write_text(f"PATH={path.parent}:$PATH\nfalse\n")
        return path

    def wait_for(self, name: str, limit_s: float = 60.0) -> None:
        """Wait until a file is there."""
        end = time.monotonic() + limit_s
        while not (self.here / name).exists():
            assert time.monotonic() < end, f"{name} did not come"
            time.sleep(0.05)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start imgpipe with the words of its command line."""
        command = [sys.executable, "-m", "lofarpipe.cli", "imgpipe", *words]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, cwd=self.here, text=True, **pipes)

    def run(self, *words: str, expected: int = 0) -> str:
        """Run it, and return its output."""
        process = self.start(*words)
        out, err = process.communicate(timeout=300)
        assert process.returncode == expected, out + err
        assert "Traceback" not in out + err
        return out + err

    def commands(self, printed: str) -> list[list[str]]:
        """Return the commands that a dry run printed, each on a line of its own."""
        return [shlex.split(line) for line in printed.splitlines() if line and not line.startswith("#")]

    def names(self) -> list[str]:
        """Return the names in the directory."""
        return sorted(path.name for path in self.here.iterdir())

    def pixels(self, name: str) -> np.ndarray:
        """Return the pixels of an image."""
        with fits.open(self.here / name) as opened:
            return np.array(opened[0].data)

    def jobs_done(self) -> list[str]:
        """Return the jobs that ended well in any run so far."""
        lines = [line for path in self.here.glob("*.runs/*/journal.jsonl") for line in path.read_text().splitlines()]
        events = [json.loads(line) for line in lines if line.endswith("}")]
        return [one["job"] for one in events if one["event"] == "job_done" and not one.get("problem")]

    def jobs_run(self) -> list[str]:
        """Return the jobs that the last run started, by the journals of all runs."""
        names = []
        for journal in self.here.glob("*.runs/*/journal.jsonl"):
            events = [json.loads(line) for line in journal.read_text().splitlines()]
            last = max(place for place, event in enumerate(events) if event["event"] == "run_started")
            names += [event["job"] for event in events[last:] if event["event"] == "job_started"]
        return sorted(names)
