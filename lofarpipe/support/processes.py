"""Identity of processes: an id alone does not suffice, since ids are reused."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# Held by threads of ours while they work, and by who forks: a child that a plugin forks has no such thread, and would
# wait for ever for what that one held: a stream, a module that was being imported.
BACKGROUND = threading.RLock()
LOOKS, LOOK_S = 4, 0.05  # at a process that has no environment yet


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
    """Return in which namespace process ids are counted: a container has its own; "" if it is not known."""
    try:
        return os.readlink(PROC / "self/ns/pid")  # noqa: PTH115 - it is no path
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Return when a living process began, in clock ticks since the machine did; None if there is none.

    With ``boot_id`` it distinguishes a process from a later one with the same id.
    """
    try:
        stat = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # "pid (name, which may hold anything) state ..."; the 22nd field is the time. Source: proc(5).
    state, *fields = stat[stat.rindex(b")") + 2 :].split()
    return None if state in (b"Z", b"X") else int(fields[18])


def resident_bytes(pid: int, proc: Path = PROC) -> int:
    """Return the memory that a process and its descendants have now; 0 for one that has ended."""
    total, waiting = 0, [pid]
    while waiting:
        process = proc / str(waiting.pop())
        with contextlib.suppress(OSError):  # it ended while we looked, or is somebody else's
            total += int((process / "statm").read_bytes().split()[1]) * PAGE_BYTES
            for thread in (process / "task").iterdir():
                waiting += map(int, (thread / "children").read_bytes().split())
    return total


def carrying(variable: str, proc: Path = PROC) -> list[int]:
    """Return the living processes that have ``NAME=value`` in the environment that they were started with."""
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
        (process / "exe").readlink()  # what has no program, as the kernel's own, has no environment either
        time.sleep(LOOK_S)
    return content
