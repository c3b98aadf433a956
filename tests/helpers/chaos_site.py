"""A pipeline in a directory of its own that can be run, killed, and looked at."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from living import living

IN_ENGINE = Path(__file__).resolve().parent / "in_engine"
LIMIT_S = 120.0


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until something is so; fail if it never is."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come about"
        time.sleep(0.02)


class Site:
    """One job, always started by the same command.

    Parameters
    ----------
    here: the directory of the site; the command is given there. Temporary files go to scratch/ in it.
    arguments: of genericpipeline.py, but the job's name.
    """

    def __init__(self, here: Path, arguments: Sequence[str]) -> None:
        self.here = here
        self.arguments = tuple(arguments)
        self.said = here / "said.txt"
        self.scratch = here / "scratch"
        self.scratch.mkdir(parents=True)

    @property
    def job(self) -> Path:
        """The job directory."""
        return self.here / "image"

    def start(self, **environment: str) -> subprocess.Popen[bytes]:
        """Start the command, with its output in ``said``."""
        path = os.pathsep.join(filter(None, [str(IN_ENGINE), os.environ.get("PYTHONPATH", "")]))
        command = [sys.executable, "-P", "-m", "lofarpipe.cli", *self.arguments, "-j", self.job.name]
        with self.said.open("wb") as said:
            return subprocess.Popen(
                command,
                cwd=self.here,
                env={**os.environ, "PYTHONPATH": path, "TMPDIR": str(self.scratch), **environment},
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def finish(self, **environment: str) -> None:
        """Run to the end."""
        status = self.start(**environment).wait()
        assert status == 0, self.said.read_text()

    def jobs(self, engine: int) -> list[int]:
        """Return the living processes of the jobs, and the guardian's."""
        return [process for process in living(self.here) if process != engine]

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of one kind in the journal; lines that cannot be read are passed over."""
        found = []
        for line in (self.job / "journal.jsonl").read_text(errors="replace").splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event.get("event") == kind:
                found.append(event)
        return found

    def starts(self) -> Counter[str]:
        """Return how often each job was started."""
        return Counter(event["job"] for event in self.events("job_started"))

    def is_quiet(self) -> bool:
        """Whether no process of this site lives."""
        return not living(self.here)


def kill(process: int) -> None:
    """Kill a process; one that has ended is as good."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return
