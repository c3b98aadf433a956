"""What is done, and with which inputs: an append-only file that survives a crash at any byte."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from lofarpipe.errors import PipelineError
from lofarpipe.state.history import Event, History, path_as_text, read_events
from lofarpipe.state.lock import RunLock
from lofarpipe.support.utilities import write_atomically

# What later steps of the same run need to know of a job that ended; the rest is for the next run.
OF_A_JOB = ("event", "job", "serial", "problem", "is_lost", "fingerprint", "written", "made")
# After these the disk is waited for: work of hours hangs on them.
LASTING = ("step_done", "step_forgotten", "run_ended")


class Journal(History):
    """The journal of one job directory; it belongs to one run at a time.

    Parameters
    ----------
    path: the file, usually <job_directory>/journal.jsonl; made if it is not there.
    listener: is told of every event as the file has it, those that are there already first.

    Attributes
    ----------
    notices: what was found wrong with the file, for people.

    Raises
    ------
    PipelineError
        If another run has it, with the host and the process id of that run; or if it cannot be written.
    """

    def __init__(self, path: Path, listener: Callable[[Event], None] | None = None) -> None:
        self.path = path
        self._listener = listener
        self._lock = RunLock(path.with_suffix(".lock"))
        self.notices: list[str] = [self._lock.notice] if self._lock.notice else []
        try:
            content = path.read_bytes() if path.exists() else b""
            events, damaged = read_events(content)
            self._set_aside(content, damaged)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except OSError as err:
            self._lock.release()
            raise PipelineError(f"{path}: the journal cannot be written: {err.strerror}; check the directory") from err
        super().__init__(events)
        if listener is not None:
            for event in events:
                listener(event)

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

        Events with a meaning here: ``step_started`` (step; ``left``: jobs that it has not any more; ``unsafe``:
        the stamps of what its jobs are going to change), ``step_done`` (step, fingerprint, outputs, and the files
        and maps as they were left), ``step_forgotten`` (step), ``plugin_done`` (step, outputs), ``job_started`` (job,
        and the stamps of what it may write before it did), ``job_done`` (job, fingerprint, files, and what the caller
        needs to know again), ``job_cleared`` (job), ``run_started`` (executor, boot). All others are kept for people.

        Raises
        ------
        PipelineError
            If it cannot be written, or another run has taken over.
        """
        if self._lock.is_lost:
            raise PipelineError(f"{self.path.parent}: another run has taken over; this one ends")
        entry: Event = {"event": event, "time_s": round(time.time(), 3), **self._numbered(event), **facts}
        line = json.dumps(entry, allow_nan=False, default=path_as_text)
        self._append(line.encode() + b"\n")
        if event in LASTING or facts.get("unsafe"):
            os.fsync(self._file)
        self._take_in(json.loads(line))

    def _take_in(self, event: Event) -> None:
        self._apply(_needed(event))
        if event["event"] == "job_done" and not event.get("is_lost"):
            self.files |= event.get("files") or {}
        if self._listener is not None:
            self._listener(event)

    def _append(self, line: bytes) -> None:
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            written = os.write(self._file, line)
        except OSError as err:
            raise PipelineError(f"{self.path}: the journal cannot be written: {err.strerror}; free some space") from err
        if written < len(line):
            os.ftruncate(self._file, end)
            raise PipelineError(f"{self.path}: the journal cannot be written: the disk is full; free some space")

    def _set_aside(self, content: bytes, damaged: Sequence[bytes]) -> None:
        """Take out what cannot be read, and keep it beside the journal."""
        if not damaged:
            return
        beside = self.path.with_suffix(".damaged")
        with beside.open("ab") as file:
            file.writelines(damaged)
        torn = b"" if damaged[-1].endswith(b"\n") else damaged[-1]
        if torn:
            os.truncate(self.path, len(content) - len(torn))
        if [torn] != damaged:
            bad = set(damaged)
            kept = [line for line in content.split(b"\n")[:-1] if line + b"\n" not in bad]
            write_atomically(self.path, b"\n".join([*kept, b""]).decode(errors="surrogateescape"))
        where = "the last " if [torn] == damaged else ""
        self.notices.append(
            f"{self.path}: {where}{sum(map(len, damaged))} bytes are not readable, as after a crash; they are now in "
            f"{beside}, and what they recorded runs again"
        )


def _needed(event: Event) -> Event:
    """Return an event without what only the next run needs: of 10^5 jobs that is much."""
    return {key: event[key] for key in OF_A_JOB if key in event} if event["event"] == "job_done" else event
