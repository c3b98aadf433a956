"""The lock of a job directory, for one run at a time on any file system, with a liveness check of the holder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.processes import boot_id, process_space, start_ticks

BEAT_S = 5.0  # interval of the holder's heartbeat
STALE_S = 60.0  # a holder silent for this long is watched
LOOK_S = 15.0  # time to watch it: three heartbeats
POLL_S = 0.5
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # a file system without hard links


@dataclass(frozen=True)
class Holder:
    """A process that holds a job directory, as recorded in the lock file."""

    host: str = ""
    pid: int = 0
    ticks: int = 0  # start time of the process, clock ticks since boot; 0: unknown
    boot: str = ""  # boot id of the machine
    space: str = ""  # PID namespace
    token: str = ""  # unique, so that no two records are equal
    run: str = ""  # its job directory, if the file is elsewhere
    job: str = ""  # queue job id, if any

    @classmethod
    def current(cls, run: str = "") -> Holder:
        """Return this process."""
        pid = os.getpid()
        token = secrets.token_hex(8)
        job = os.environ.get("SLURM_JOB_ID", "")
        return cls(socket.gethostname(), pid, start_ticks(pid) or 0, boot_id(), process_space(), token, run, job)

    @classmethod
    def read(cls, content: bytes) -> Holder:
        """Return the holder named in a lock file; without a host if unreadable."""
        try:
            fields = json.loads(content)
            return cls(**{key: type(default)(fields.get(key, default)) for key, default in asdict(cls()).items()})
        except (ValueError, TypeError, AttributeError):
            return cls()

    def is_visible_to(self, other: Holder) -> bool:
        """Whether ``other`` can see this process; fields missing in an old record count as equal."""
        pairs = ((self.boot, other.boot), (self.space, other.space))
        return self.host == other.host and all(one in ("", two) for one, two in pairs)

    def lives(self) -> bool:
        """Whether the process, on this machine, is alive."""
        first_ticks = start_ticks(self.pid)
        return first_ticks is not None and self.ticks in (0, first_ticks)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host or 'some host'}"


@dataclass(frozen=True)
class Held:
    """A snapshot of a lock file."""

    content: bytes
    beat_s: float  # modification time, by the clock of the file server


class RunLock:
    """A lock file, held by one process at a time and naming it.

    No lock of the file system is needed: the file is created by an atomic hard link, and its modification time
    is the holder's heartbeat. A holder on this host is alive if its process is; one elsewhere if the time advances. A
    dead holder is replaced by exactly one contender. Times are compared with those of the same file server,
    so no clock has to be right.

    SoftFileLease of filelock 4.3 was tried instead, and fails parts of tests/state/test_lock.py: it takes the lock
    from a live run of our earlier versions after 2 s, because their record has another form, and at once from one
    on another machine of the same host name; a holder elsewhere is watched for the whole lease, dead or alive; a
    removed file is not restored; a contender that dies while taking over leaves files behind.

    Parameters
    ----------
    stale_s: a holder on another machine without a heartbeat for this long is watched.
    is_queued: whether the queue still has such a holder's job; it then keeps the lock.

    Attributes
    ----------
    notice: message about the former lock, or "".
    is_lost: whether another process took over, as after a very long pause of this one.

    Raises
    ------
    PipelineError
        If another process holds the lock, or the file cannot be written.
    """

    has_beat = True

    def __init__(
        self,
        path: Path,
        run: str = "",
        stale_s: float = STALE_S,
        is_queued: Callable[[Holder], bool] = lambda _: False,
    ) -> None:
        self.path = path
        self._stale_s, self._is_queued = stale_s, is_queued
        self.notice = ""
        self.is_lost = False
        self._me = Holder.current(run)
        self._content = json.dumps(asdict(self._me)).encode()
        self._file = path.with_name(f".{path.name}.{self._me.token}")
        try:
            _write_new(self._file, self._content)
            self._acquire(path)
        except OSError as err:
            raise PipelineError(f"{path}: cannot be written: {err.strerror}; check the directory") from err
        finally:
            self._file.unlink(missing_ok=True)
        if self.has_beat:
            self._begin()

    def _begin(self) -> None:
        with contextlib.suppress(OSError):  # leftover lock files are harmless
            self._remove_traces()
        self._released = threading.Event()
        self._beat = threading.Thread(target=self._beats, name="run lock", daemon=True)
        self._beat.start()

    def release(self) -> None:
        """Release the lock."""
        if self.has_beat:
            self._released.set()
            self._beat.join(BEAT_S)  # the heartbeat may be waiting for a file server
        held = _read(self.path)
        if held is not None and held.content == self._content:
            self.path.unlink(missing_ok=True)

    def _acquire(self, path: Path) -> None:
        """Write our record if the lock is free or its holder is dead."""
        while not self._create(path):
            held = _read(path)
            if held is not None:
                self._refuse_living(path, held)
                if self._replace(path, held):
                    return

    def _create(self, path: Path) -> bool:
        """Create the lock file with our record; return False if another record is there."""
        try:
            os.link(self._file, path)
        except FileExistsError:
            # Over a network the reply may be lost and the request repeated.
            return self._file.stat().st_nlink > 1 and self._is_ours(path)
        except OSError as err:
            if err.errno not in NO_LINKS:
                raise
            with contextlib.suppress(FileExistsError):
                _write_new(path, self._content)
                return True
            return False
        return True

    def _is_ours(self, path: Path) -> bool:
        held = _read(path)
        return held is not None and held.content == self._content

    def _replace(self, path: Path, dead: Held) -> bool:
        """Replace the record of a dead holder by ours; False if another contender was faster.

        The right to replace this record is a lock file of its own.
        """
        right = path.with_name(f"{path.name}.{hashlib.sha256(dead.content).hexdigest()[:12]}")
        self._acquire(right)
        try:
            now = _read(path)
            if now is None or now.content != dead.content:
                return False
            successor = self._file.with_name(f"{self._file.name}.next")  # unique to us, so no contender can inherit it
            _write_new(successor, self._content)
            successor.replace(path)
        finally:
            right.unlink(missing_ok=True)
        self.notice = f"{self.path.parent}: {Holder.read(dead.content)} worked here and has died; this run takes over"
        return True

    def _remove_traces(self) -> None:
        """Remove lock files of dead contenders; an empty file once it is old."""
        now_s = self.path.stat().st_mtime
        for pattern in (f".{self.path.name}.*", f"{self.path.name}.*"):
            for path in self.path.parent.glob(pattern):
                held = _read(path)
                if held is not None and self._is_stale(held, now_s):
                    path.unlink(missing_ok=True)

    def _is_stale(self, held: Held, now_s: float) -> bool:
        holder = Holder.read(held.content)
        if not holder.host:
            return now_s - held.beat_s > STALE_S
        return holder.is_visible_to(self._me) and not holder.lives()

    def _refuse_living(self, path: Path, held: Held) -> None:
        holder = Holder.read(held.content)
        if not holder.host:  # still being written, on a file system without hard links
            if self._changes(path, held, POLL_S):
                raise self._refusal(holder, "try again")
        elif holder.is_visible_to(self._me):
            if holder.lives():
                raise self._refusal(holder, "wait for it, end it, or choose another job directory")
        else:
            silent_s = self._now_s() - held.beat_s
            if abs(silent_s) <= self._stale_s or self._is_queued(holder) or self._changes(path, held, LOOK_S):
                advice = f"wait for it or end it; if it was killed, start again {self._stale_s:.0f} s after that"
                raise self._refusal(holder, f"its last sign of life was {max(silent_s, 0):.0f} s ago; {advice}")

    def _now_s(self) -> float:
        """Return the time of the file server, s since 1970."""
        os.utime(self._file)
        return self._file.stat().st_mtime

    def _changes(self, path: Path, held: Held, limit_s: float) -> bool:
        """Wait for a heartbeat of the holder."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            time.sleep(min(POLL_S, limit_s / 5))
            if _read(path) != held:
                return True
        return False

    def _refusal(self, holder: Holder, advice: str) -> PipelineError:
        return PipelineError(f"{self.path.parent}: another run works here: {holder}; {advice}")

    def _beats(self) -> None:
        while not self.is_lost and not self._released.wait(BEAT_S):
            with contextlib.suppress(OSError):  # the file server may answer later
                self._renew()

    def _renew(self) -> None:
        held = _read(self.path)
        if held is None:  # the file was removed
            with contextlib.suppress(FileExistsError):
                _write_new(self.path, self._content)
        elif held.content == self._content:
            os.utime(self.path)
        else:
            self.is_lost = True


class OutputClaim(RunLock):
    """A file beside outputs with the name of the run that makes them; the lock of that run shows whether it is alive.

    Parameters
    ----------
    outputs: common prefix of the output paths.
    job_directory: job directory of this run.

    Raises
    ------
    PipelineError
        If another run makes the outputs, or the file cannot be written.
    """

    has_beat = False

    def __init__(self, outputs: Path, job_directory: Path) -> None:
        self.outputs = outputs
        super().__init__(self.path_of(outputs), str(job_directory))

    @staticmethod
    def path_of(outputs: Path) -> Path:
        """Return the file that claims outputs."""
        return outputs.with_name(f".{outputs.name}.lock")

    def _refuse_living(self, path: Path, held: Held) -> None:
        holder = Holder.read(held.content)
        if not holder.host:
            super()._refuse_living(path, held)
            return
        is_near = holder.is_visible_to(self._me)
        if holder.lives() if is_near else has_sign_of_life(Path(holder.run)):
            remedy = "" if is_near else f"; if it was killed, remove {self.path}"
            raise PipelineError(
                f"{self.outputs}: {holder} makes these outputs now, in the run {holder.run}; wait for it or end it, "
                f"then start again{remedy}"
            )


def has_sign_of_life(job_directory: Path) -> bool:
    """Whether a run on another machine had a heartbeat in the last minute; True if its directory is not visible."""
    try:
        beat_s = (job_directory / "journal.lock").stat().st_mtime
    except OSError:
        return not job_directory.is_dir()
    return abs(time.time() - beat_s) <= STALE_S


def _read(path: Path) -> Held | None:
    """Read the present content and time of a lock file; None if it does not exist."""
    try:
        with path.open("rb") as file:
            return Held(file.read(), os.fstat(file.fileno()).st_mtime)
    except FileNotFoundError:
        return None


def _write_new(path: Path, content: bytes) -> None:
    """Create a new file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
