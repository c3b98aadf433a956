"""The head of a job's log: one line is kept free for how the job ended, so that nobody has to look for the last one."""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path

from lofarpipe.jobs import NOTE, JobResult

LINE_BYTES = 240  # of the line that is kept free, line end included
HEAD_BYTES = 65536  # where it is looked for; it is the second line
END = f"{NOTE}end: "
NOT_YET = "not yet"


def utc_now() -> str:
    """Return the time, such as ``2026-11-21T07:43:24Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def end_line(text: str = NOT_YET) -> bytes:
    """Return the line that says how a job ended, always of the same length; what is too long is cut off."""
    line = os.fsencode(END + " ".join(text.split()))
    if len(line) >= LINE_BYTES:
        line = line[: LINE_BYTES - 4].decode(errors="ignore").encode() + b"..."
    return line.ljust(LINE_BYTES - 1) + b"\n"


def usage_text(result: JobResult) -> str:
    """Return how a job ended and what it used."""
    return f"{result.reason()}; CPU {result.cpu_s:.2f} s, memory {result.max_rss_mb:.0f} MB"


def write_end(log: Path, text: str) -> None:
    """Write how a job ended into the head of its log, at once; everything else stays where it is.

    A log without such a line, or that cannot be written any more, stays as it is: its last line says the same.
    """
    with contextlib.suppress(OSError):
        file = os.open(log, os.O_RDWR | os.O_CLOEXEC)  # not the program's own: that one appends, wherever it is told to
        try:
            head = os.pread(file, HEAD_BYTES, 0)
            start = head.find(b"\n" + END.encode()) + 1
            if start > 0 and head[start + LINE_BYTES - 1 : start + LINE_BYTES] == b"\n":
                os.pwrite(file, end_line(f"{utc_now()}, {text}"), start)
        finally:
            os.close(file)
