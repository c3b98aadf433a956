"""What the events of a journal mean: which steps are done, with what, and how they left files and maps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError

Event = dict[str, Any]


def fingerprint(inputs: object) -> str:
    """Return the SHA-256 of ``inputs``, written as JSON in one canonical way.

    Raises
    ------
    TypeError, ValueError
        If ``inputs`` holds anything but text, finite numbers, booleans, None, lists, tuples, paths and dictionaries.
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False, default=path_as_text)
    return hashlib.sha256(text.encode()).hexdigest()


def read_events(content: bytes) -> tuple[list[Event], int]:
    """Return the events at the start of a journal, and how many bytes they take.

    A line that was cut off by a crash, or is damaged, ends the reading: what follows it cannot be trusted.
    """
    events: list[Event] = []
    good = 0
    for line in content.splitlines(keepends=True):
        event = _event(line)
        if event is None:
            break
        events.append(event)
        good += len(line)
    return events, good


class History:
    """What a journal says: which steps are done, with what, and the state in which files were left.

    Attributes
    ----------
    files: the stamp of each file that a step named or wrote, as the last of them left it; None: it was not there.
    written: the same of the files that a step changed.
    maps: the text of each mapfile as the last step wrote it.
    in_flux: what those steps name that began and did not end; they may have changed it.
    plugins: what each plugin returned the last time.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.files: dict[str, str | None] = {}
        self.written: dict[str, str | None] = {}
        self.maps: dict[str, str] = {}
        self.in_flux: set[str] = set()
        self.plugins: dict[str, dict[str, Any]] = {}
        self._steps: dict[str, Event] = {}
        self._jobs: dict[str, Event] = {}
        self._count = 0
        for event in events:
            self._apply(event)

    def done(self, step: str, fingerprint: str) -> dict[str, Any] | None:
        """Return the outputs of a step that was done with these inputs; None if it has to run."""
        event = self.last_done(step)
        return (
            dict(event.get("outputs") or {}) if event is not None and event.get("fingerprint") == fingerprint else None
        )

    def last_done(self, step: str) -> Event | None:
        """Return the facts of a step that is done, with the ``serial`` number of this event; None if it is not."""
        event = self._steps.get(step)
        return dict(event) if event is not None and event["event"] == "step_done" else None

    def job_done(self, job: str, fingerprint: str) -> Event | None:
        """Return the facts of a job that was done with these inputs; None if it has to run."""
        event = self._jobs.get(job)
        return dict(event) if event is not None and event.get("fingerprint") == fingerprint else None

    def steps(self) -> dict[str, Event]:
        """Return the last event of each step (started, done or forgotten), in the order in which they began."""
        return {name: dict(event) for name, event in self._steps.items()}

    def record(self, event: str, **facts: object) -> None:
        """Add an event, here for as long as this object lives."""
        self._apply({"event": event, **facts})

    def _apply(self, event: Event) -> None:
        self._count += 1
        if event["event"] == "job_done" and isinstance(event.get("job"), str):
            self._jobs[event["job"]] = event
        if not isinstance(event.get("step"), str):
            return
        if event["event"] == "step_started":
            # A step that began again may have overwritten its outputs: it is not done any more.
            self._steps[event["step"]] = event
            self.in_flux.update(event.get("names") or ())
        elif event["event"] == "step_done":
            self._apply_done(event)
        elif event["event"] == "step_forgotten" and self.last_done(event["step"]) is not None:
            self._steps[event["step"]] = event
        elif event["event"] == "plugin_done":
            self.plugins[event["step"]] = event.get("outputs") or {}

    def _apply_done(self, event: Event) -> None:
        self._steps[event["step"]] = {**event, "serial": self._count}
        written = event.get("written") or {}
        left = {**(event.get("files") or {}), **written}
        self.files |= left
        self.written |= written
        self.in_flux.difference_update(left)
        self.maps |= event.get("maps") or {}


def read_history(path: Path) -> History:
    """Return what the journal in ``path`` says; nothing is written, and another run may have it.

    Raises
    ------
    PipelineError
        If it is there and cannot be read.
    """
    try:
        return History(read_events(path.read_bytes())[0])
    except FileNotFoundError:
        return History()
    except OSError as err:
        raise PipelineError(f"{path}: the journal cannot be read: {err.strerror}") from err


def _event(line: bytes) -> Event | None:
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def path_as_text(thing: object) -> str:
    """Return a path as text for JSON; whatever else JSON does not know is refused with a TypeError."""
    if isinstance(thing, Path):
        return str(thing)
    raise TypeError(f"{type(thing).__name__} cannot be written as JSON; give text, a number, a list or a dictionary")
