"""What is done, and with which inputs: an append-only file that survives a crash at any byte."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType

from lofarpipe.errors import PipelineError
from lofarpipe.history import Event, History, path_as_text, read_events

# After these the disk is waited for: work of hours hangs on them.
LASTING = ("step_done", "step_forgotten", "run_ended")


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
        line = json.dumps(entry, allow_nan=False, default=path_as_text)
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
