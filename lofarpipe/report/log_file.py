"""A file that lines are added to while a run goes on, and that others read, move away and remove meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

LINES_AT_ONCE = 1000  # of a long log are in memory


class LogFile:
    """Stays open while the run goes on; in the place of one that was removed or moved away a new one is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None  # while it is open
        self._seen_at = ""  # when it was looked whether the file is still there: once a second, and for each step

    def append(self, lines: Iterable[str], moment: str) -> None:
        """Add lines; ``moment`` is the time of day, to the second.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        # Bare calls of the system: this is done for jobs, and a stream costs several times as much.
        file = self._file
        if file is None or self._seen_at != moment:
            file = self._opened()
            self._seen_at = moment
        rest = iter(lines)
        while text := "".join(islice(rest, LINES_AT_ONCE)):
            _write_all(file, text.encode("utf-8", "replace"))

    def _opened(self) -> int:
        """Return the descriptor of the file, which has a name: what is written into a removed one, nobody reads."""
        if self._file is not None and os.fstat(self._file).st_nlink == 0:
            self.close()
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return self._file

    def look_again(self) -> None:
        """Have the next line written into a file that is there for sure."""
        self._seen_at = ""

    def leave_if_moved(self) -> None:
        """Close the file if its name stands for another one, or for none: programs that keep logs move them away."""
        self.look_again()
        if self._file is not None:
            try:
                is_there = os.path.samestat(os.fstat(self._file), os.stat(self.path))  # noqa: PTH116
            except OSError:
                is_there = False
            if not is_there:
                self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]
