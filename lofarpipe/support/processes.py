"""Identity of processes: an id alone does not suffice, since ids are reused."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Held by our working threads, and for a fork: a child forked by a plugin has no such thread, and would
# wait forever for its locks, of a stream or of a module import.
BACKGROUND = threading.RLock()
LOOKS, LOOK_S = 4, 0.05  # at a process without an environment yet


def boot_id() -> str:
    """Return a text that differs from machine to machine and from start to start of each; "" if it is not known."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def node_name() -> str:
    """Return the name of this machine, as the queue knows it where it started this process."""
    return os.environ.get("SLURMD_NODENAME") or os.uname().nodename


def process_space() -> str:
    """Return the namespace of process ids, which differs in containers; "" if unknown."""
    try:
        return os.readlink(PROC / "self/ns/pid")  # noqa: PTH115 - it is no path
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Return the start time of a living process, in clock ticks since boot; None without the process.

    Together with ``boot_id`` this distinguishes processes with the same id.
    """
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # "pid (name, which may hold anything) state ..."; the 22nd field is the time. Source: proc(5).
    state, *fields = stat[stat.rindex(b")") + 2 :].split()
    return None if state in (b"Z", b"X") else int(fields[18])


def resident_bytes(pid: int, proc: Path = PROC) -> int:
    """Return the current memory of a process and its descendants; 0 if it has ended."""
    total, waiting = 0, [pid]
    while waiting:
        process = proc / str(waiting.pop())
        with contextlib.suppress(OSError):  # it ended while we looked, or is somebody else's
            total += int((process / "statm").read_bytes().split()[1]) * PAGE_BYTES
            for thread in (process / "task").iterdir():
                waiting += map(int, (thread / "children").read_bytes().split())
    return total


def carrying(variable: str, proc: Path = PROC) -> list[int]:
    """Return the living processes started with ``NAME=value`` in their environment."""
    assignment = os.fsencode(variable)
    process_ids = []
    for entry in proc.iterdir():
        with contextlib.suppress(OSError):  # it ended while we looked, or is somebody else's
            if entry.name.isdigit() and assignment in _environment(entry).split(b"\0"):
                process_ids.append(int(entry.name))
    return process_ids


def _environment(process: Path) -> bytes:
    """Return the environment of a process from /proc: empty for a moment while it starts a program."""
    for _ in range(LOOKS):
        content = (process / "environ").read_bytes()
        if content:
            break
        (process / "exe").readlink()  # kernel threads have neither a program nor an environment
        time.sleep(LOOK_S)
    return content
