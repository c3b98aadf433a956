"""What is done, and with which inputs: an append-only file that survives a crash at any byte."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

from lofarpipe.errors import PipelineError

Event = dict[str, Any]

# After these the disk is waited for: work of hours hangs on them.
LASTING = ("step_done", "step_forgotten", "run_ended")


def fingerprint(inputs: object) -> str:
    """Return the SHA-256 of ``inputs``, written as JSON in one canonical way.

    Raises
    ------
    TypeError, ValueError
        If ``inputs`` holds anything but text, finite numbers, booleans, None, lists, tuples, paths and dictionaries.
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_path_as_text)
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


class Journal(History):
    """The journal of one job directory; it belongs to one run at a time.

    Parameters
    ----------
    path: the file, usually <job_directory>/journal.jsonl; made if it is not there.

    Attributes
    ----------
    notices: what was found wrong with the file, for people.

    Raises
    ------
    PipelineError
        If another run has it, with the host and the process id of that run; or if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notices: list[str] = []
        self._lock = RunLock(path.with_suffix(".lock"))
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as err:
            self._lock.release()
            raise PipelineError(f"{path}: the journal cannot be written: {err.strerror}; check the directory") from err
        content = path.read_bytes()
        events, good = read_events(content)
        self._set_aside(content[good:])
        super().__init__(events)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let other runs have the job directory."""
        os.close(self._file)
        self._lock.release()

    def record(self, event: str, **facts: object) -> None:
        """Append an event; ``step_done`` and ``run_ended`` are on the disk when this returns.

        Events with a meaning here: ``step_started`` (step, names), ``step_done`` (step, fingerprint, outputs, and the
        files and maps as they were left), ``step_forgotten`` (step), ``plugin_done`` (step, outputs),
        ``job_done`` (job, fingerprint, and what the caller needs to know again). All others are kept, and not used.
        """
        entry: Event = {"event": event, "time_s": round(time.time(), 3), **facts}
        line = json.dumps(entry, allow_nan=False, default=_path_as_text)
        self._append(line.encode() + b"\n")
        if event in LASTING:
            os.fsync(self._file)
        self._apply(json.loads(line))

    def _append(self, line: bytes) -> None:
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            written = os.write(self._file, line)
        except OSError as err:
            raise PipelineError(f"{self.path}: the journal cannot be written: {err.strerror}; free some space") from err
        if written < len(line):
            os.ftruncate(self._file, end)
            raise PipelineError(f"{self.path}: the journal cannot be written: the disk is full; free some space")

    def _set_aside(self, unreadable: bytes) -> None:
        """Cut off what cannot be read, and keep it beside the journal."""
        if not unreadable:
            return
        damaged = self.path.with_suffix(".damaged")
        damaged.write_bytes(unreadable)
        os.ftruncate(self._file, os.fstat(self._file).st_size - len(unreadable))
        self.notices.append(
            f"{self.path}: the last {len(unreadable)} bytes are not readable, as after a crash; they are now in "
            f"{damaged}, and what they recorded runs again"
        )


class RunLock:
    """A file that one process at a time holds; it names that process.

    Where the file system has locks, the lock decides, and a holder that died has none. Where it has not, a holder on
    this host that does not live any more is replaced, and one on another host has to be removed by hand.

    Raises
    ------
    PipelineError
        If another process holds it, or the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as err:
            raise PipelineError(f"{path}: cannot be written: {err.strerror}; check the job directory") from err
        try:
            self._take()
        except PipelineError:
            os.close(self._file)
            raise
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)

    def release(self) -> None:
        """Give the lock to whoever asks next; the file stays, empty."""
        os.ftruncate(self._file, 0)
        os.close(self._file)

    def _take(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._refusal(*self._holder(), "wait for it, end it, or choose another job name (-j)") from None
        except OSError:  # no locks here, as on some parallel file systems
            host, pid = self._holder()
            if host and not (host == socket.gethostname() and not _lives(pid)):
                raise self._refusal(host, pid, f"if that run has ended, remove {self.path}") from None

    def _holder(self) -> tuple[str, int]:
        try:
            holder = json.loads(os.pread(self._file, 4096, 0))
            return str(holder["host"]), int(holder["pid"])
        except (ValueError, KeyError, TypeError):
            return "", 0

    def _refusal(self, host: str, pid: int, advice: str) -> PipelineError:
        return PipelineError(
            f"{self.path.parent}: another run works here: process {pid} on {host or 'some host'}; {advice}"
        )


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _event(line: bytes) -> Event | None:
    if not line.endswith(b"\n"):
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _path_as_text(thing: object) -> str:
    if isinstance(thing, Path):
        return str(thing)
    raise TypeError(f"{type(thing).__name__} cannot be written as JSON; give text, a number, a list or a dictionary")
