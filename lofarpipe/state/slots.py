"""A throttle shared by jobs on all machines, to limit concurrent reads and copies of large data."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.state.lock import Holder, RunLock

STALE_S = 300.0  # without a heartbeat; then the queue is asked, and the slot is taken over
FIRST_WAIT_S, LONGEST_WAIT_S, GROWTH = 0.5, 20.0, 1.5
QUEUE_TIMEOUT_S = 60


@contextlib.contextmanager
def io_slot(directory: Path, slots: int, wait: Callable[[float], object] = time.sleep) -> Iterator[str]:
    """Hold one of the slots of a shared directory; yield its name.

    Each slot is a file with host, process and queue job of its holder, and its time as heartbeat. The slot of
    a dead holder is taken over; the slot is released however the block ends.

    Parameters
    ----------
    wait: pauses some seconds before all slots are tried again.

    Raises
    ------
    PipelineError
        If the directory cannot be written.
    """
    _make_shared(directory)
    lock = _claim_slot(directory, slots, wait)
    try:
        yield lock.path.name
    finally:
        lock.release()


def _make_shared(directory: Path) -> None:
    try:
        if not directory.is_dir():
            directory.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                directory.chmod(0o777)  # writable for all users
    except OSError as err:
        raise PipelineError(
            f"{directory}: the slots cannot be made there: {err.strerror}; set io_slots_dir to a directory that all "
            "jobs can write"
        ) from err


def _claim_slot(directory: Path, slots: int, wait: Callable[[float], object]) -> RunLock:
    """Return a slot, once one is free."""
    pause_s, is_noted = FIRST_WAIT_S, False
    while True:
        for number in random.sample(range(slots), slots):
            path = directory / f"slot-{number}"
            try:
                lock = RunLock(path, stale_s=STALE_S, is_queued=is_in_queue)
            except PipelineError:
                if not path.exists() and not _is_writable(directory):
                    raise
                continue
            if lock.notice:
                print(f"{path}: the slot of a holder that has died was taken over")
            return lock
        if not is_noted:
            print(f"{directory}: all {slots} slots are held; waiting for one (io_slots)")
            is_noted = True
        wait(pause_s * random.uniform(0.7, 1.3))
        pause_s = min(GROWTH * pause_s, LONGEST_WAIT_S)


def _is_writable(directory: Path) -> bool:
    probe = directory / f".{Holder.current().token}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True


def is_in_queue(holder: Holder) -> bool:
    """Whether the queue still has the holder's job.

    False without a queue or a reply from it, and for this very job, which was requeued.
    """
    if not holder.job.isdecimal() or holder.job == os.environ.get("SLURM_JOB_ID"):
        return False
    command = ["squeue", "--noheader", "--jobs", holder.job, "--format=%T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=QUEUE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0 and bool(answer.stdout.strip())
