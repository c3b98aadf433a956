"""One run at a time in a job directory, on any file system: who holds it, and whether that one is alive."""

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

BEAT_S = 5.0  # so often the holder gives a sign of life
STALE_S = 60.0  # one that gave none for so long is looked at
LOOK_S = 15.0  # so long; three signs of life would come in that time
POLL_S = 0.5
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # a file system without hard links


@dataclass(frozen=True)
class Holder:
    """A process that holds a job directory, as it is written in the lock file."""

    host: str = ""
    pid: int = 0
    ticks: int = 0  # when it began, clock ticks since the machine did; 0: not known
    boot: str = ""  # since which start of which machine
    space: str = ""  # where its id is counted
    token: str = ""  # its own, so that no two records are equal
    run: str = ""  # its job directory, where the file is in another one
    job: str = ""  # of a queue, where it runs in one

    @classmethod
    def of_this_process(cls, run: str = "") -> Holder:
        """Return this process."""
        pid = os.getpid()
        token = secrets.token_hex(8)
        job = os.environ.get("SLURM_JOB_ID", "")
        return cls(socket.gethostname(), pid, start_ticks(pid) or 0, boot_id(), process_space(), token, run, job)

    @classmethod
    def read(cls, content: bytes) -> Holder:
        """Return the holder that a lock file names; one without a host if it cannot be read."""
        try:
            fields = json.loads(content)
            return cls(**{key: type(default)(fields.get(key, default)) for key, default in asdict(cls()).items()})
        except (ValueError, TypeError, AttributeError):
            return cls()

    def is_near(self, other: Holder) -> bool:
        """Whether ``other`` can look for this process; fields missing in an old record are taken to agree."""
        pairs = ((self.boot, other.boot), (self.space, other.space))
        return self.host == other.host and all(one in ("", two) for one, two in pairs)

    def lives(self) -> bool:
        """Whether the process, which is near, lives."""
        first_ticks = start_ticks(self.pid)
        return first_ticks is not None and self.ticks in (0, first_ticks)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host or 'some host'}"


@dataclass(frozen=True)
class Held:
    """A lock file as it was found."""

    content: bytes
    beat_s: float  # its time, by the clock of the file server


class RunLock:
    """A file that one process at a time holds; it names that process.

    No lock of the file system is needed: the file is made by a link, which only one can make, and its time shows that
    the holder lives. One on this host lives if its process does; one elsewhere if the time goes on. A holder that does
    not live is replaced; of several that would do so, one does. Times are compared with those of the same file server,
    so that no clock has to be right.

    SoftFileLease of filelock 4.3 was tried in its place, and keeps less of tests/state/test_lock.py: it takes the lock
    from a living run of our earlier versions after 2 s, because their record is not of its form, and at once from one
    on another machine of the same host name; one elsewhere is watched for the whole lease, whether it lives or not; a
    file that somebody removed is not made again; who dies while it takes over leaves files that stay.

    Parameters
    ----------
    stale_s: a holder on another machine that gave no sign of life for so long is looked at.
    is_queued: whether the job of such a holder is known to run; it then keeps the lock.

    Attributes
    ----------
    notice: state of the former lock, for people; "" without.
    is_lost: whether another process has taken it over, as after a very long standstill of this one.

    Raises
    ------
    PipelineError
        If another process holds it, or the file cannot be written.
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
        self._me = Holder.of_this_process(run)
        self._content = json.dumps(asdict(self._me)).encode()
        self._file = path.with_name(f".{path.name}.{self._me.token}")
        try:
            _write_new(self._file, self._content)
            self._seize(path)
        except OSError as err:
            raise PipelineError(f"{path}: cannot be written: {err.strerror}; check the directory") from err
        finally:
            self._file.unlink(missing_ok=True)
        if self.has_beat:
            self._begin()

    def _begin(self) -> None:
        with contextlib.suppress(OSError):  # they harm nobody
            self._remove_traces()
        self._released = threading.Event()
        self._beat = threading.Thread(target=self._beats, name="run lock", daemon=True)
        self._beat.start()

    def release(self) -> None:
        """Give the lock to whoever asks next."""
        if self.has_beat:
            self._released.set()
            self._beat.join(BEAT_S)  # it may wait for a file server
        held = _read(self.path)
        if held is not None and held.content == self._content:
            self.path.unlink(missing_ok=True)

    def _seize(self, path: Path) -> None:
        """Put our record where nobody has one, or one who does not live."""
        while not self._put(path):
            held = _read(path)
            if held is not None:
                self._refuse_living(path, held)
                if self._replace(path, held):
                    return

    def _put(self, path: Path) -> bool:
        """Return whether our record is the one that is there now; it is if no other was."""
        try:
            os.link(self._file, path)
        except FileExistsError:
            # Over a network the answer may have been lost, and the question asked twice.
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
        """Put our record in place of one whose holder is dead; False if another was faster.

        Only who has the right to replace just this record, which is a file of its own, does so.
        """
        right = path.with_name(f"{path.name}.{hashlib.sha256(dead.content).hexdigest()[:12]}")
        self._seize(right)
        try:
            now = _read(path)
            if now is None or now.content != dead.content:
                return False
            successor = self._file.with_name(f"{self._file.name}.next")  # ours: who dies here leaves one to nobody
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
                if held is not None and self._is_left(held, now_s):
                    path.unlink(missing_ok=True)

    def _is_left(self, held: Held, now_s: float) -> bool:
        holder = Holder.read(held.content)
        if not holder.host:
            return now_s - held.beat_s > STALE_S
        return holder.is_near(self._me) and not holder.lives()

    def _refuse_living(self, path: Path, held: Held) -> None:
        holder = Holder.read(held.content)
        if not holder.host:  # as a file system without links shows one that is just being written
            if self._changes(path, held, POLL_S):
                raise self._refusal(holder, "try again")
        elif holder.is_near(self._me):
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
        """Look for a sign of life."""
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
            with contextlib.suppress(OSError):  # a file server that does not answer now may do so again
                self._give_sign()

    def _give_sign(self) -> None:
        held = _read(self.path)
        if held is None:  # somebody removed it
            with contextlib.suppress(FileExistsError):
                _write_new(self.path, self._content)
        elif held.content == self._content:
            os.utime(self.path)
        else:
            self.is_lost = True


class OutputClaim(RunLock):
    """A file beside outputs that names the run which makes them; that run's own lock shows whether it lives.

    Parameters
    ----------
    outputs: the beginning of their names.
    job_directory: of this run.

    Raises
    ------
    PipelineError
        If another run makes them, or the file cannot be written.
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
        is_near = holder.is_near(self._me)
        if holder.lives() if is_near else has_sign_of_life(Path(holder.run)):
            remedy = "" if is_near else f"; if it was killed, remove {self.path}"
            raise PipelineError(
                f"{self.outputs}: {holder} makes these outputs now, in the run {holder.run}; wait for it or end it, "
                f"then start again{remedy}"
            )


def has_sign_of_life(job_directory: Path) -> bool:
    """Return whether a run on another machine gave one in the last minute; True where its directory is not there."""
    try:
        beat_s = (job_directory / "journal.lock").stat().st_mtime
    except OSError:
        return not job_directory.is_dir()
    return abs(time.time() - beat_s) <= STALE_S


def _read(path: Path) -> Held | None:
    """Return the content of a lock file, as of the file server; None if it does not exist."""
    try:
        with path.open("rb") as file:
            return Held(file.read(), os.fstat(file.fileno()).st_mtime)
    except FileNotFoundError:
        return None


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that must not exist."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.write(file, content)
        os.fsync(file)
    finally:
        os.close(file)
