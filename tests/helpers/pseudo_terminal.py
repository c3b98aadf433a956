"""A terminal for tests: it runs a program and collects its output."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LIMIT_S = 60.0
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3|4|9)[0-7][;m]")


class PseudoTerminal:
    """A program in a terminal of its own, of some rows and columns."""

    def __init__(
        self, argv: Sequence[str], folder: Path, columns: int = 80, rows: int = 24, **changes: str | None
    ) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = ""
        self.process = subprocess.Popen(
            argv,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=_environment(changes),
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    def read(self) -> bool:
        """Read available output, waiting a moment for it; False once the program is gone and all is read."""
        if select.select([self._ours], [], [], 0.1)[0]:
            try:
                self.raw += os.read(self._ours, 65536).decode(errors="replace")
            except OSError:  # Linux raises it when the other end is closed
                return False
            return True
        return self.process.poll() is None

    def until(self, *texts: str) -> None:
        """Read until all these texts were written."""
        end = time.monotonic() + LIMIT_S
        while not all(text in self.raw for text in texts):
            assert self.read(), self.raw
            assert time.monotonic() < end, self.raw

    def finish(self) -> int:
        """Read to the end, and return the exit status."""
        end = time.monotonic() + LIMIT_S
        while self.read():
            assert time.monotonic() < end, self.raw
        os.close(self._ours)
        return self.process.wait(LIMIT_S)

    def type(self, keys: bytes) -> None:
        """Press keys; b"\\x03" is Ctrl-C."""
        os.write(self._ours, keys)

    def lines(self) -> list[str]:
        """Return every line of output, without cursor movements and colours."""
        return [ESCAPE.sub("", line).rstrip() for line in re.split(r"[\r\n]+", self.raw)]

    def close(self) -> None:
        """End remaining processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, 9)
        self.process.wait(LIMIT_S)


def _environment(changes: Mapping[str, str | None]) -> dict[str, str]:
    base = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "LINES")}
    merged: dict[str, str | None] = {**base, "TERM": "xterm-256color", "PYTHONUTF8": "1", **changes}
    return {key: value for key, value in merged.items() if value is not None}


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # Ctrl-C reaches the program
