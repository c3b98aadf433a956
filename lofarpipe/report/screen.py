"""A part of a terminal that is written again and again; other lines go above it."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO, cast

from lofarpipe.imaging.progress import printable

if TYPE_CHECKING:
    from lofarpipe.report.board import Line

# As ECMA-48 has them: 1 bold, 2 faint, 30 + n a colour. A state is told by its mark and its word as well.
STYLES = {
    "done": ("", "32"),
    "skipped": ("2", "32"),
    "running": ("1", "36"),
    "failed": ("1", "31"),
    "interrupted": ("1", "33"),
    "waiting": ("2", ""),
    "title": ("1", ""),
    "warning": ("", "33"),
}
SMALLEST_HEIGHT = 4
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
CLEAR_LINE, CLEAR_BELOW = "\x1b[2K", "\x1b[J"
CUT_OFF = {True: "…", False: "~"}  # what shows that a line goes on; by whether the terminal shows more than ASCII


def shows_live(stream: TextIO) -> bool:
    """Return whether something can be shown in place: a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


class Screen:
    """The last lines of a terminal.

    While it is open, what others print goes above it.

    Parameters
    ----------
    stream: the terminal.
    err_too: so does what they write to standard error; for a standard error that is this terminal.
    """

    def __init__(self, stream: TextIO, err_too: bool = False) -> None:
        self._stream = stream
        self._err_too = err_too
        self._has_colours = not os.environ.get("NO_COLOR")
        self._lines: Sequence[Line] = ()
        self._rows = 0  # of the terminal that the picture takes
        self._is_open = False
        self._replaced: list[tuple[str, _Above, TextIO]] = []
        self._lock = threading.RLock()

    @property
    def height(self) -> int:
        """Lines that can be shown; one stays free for the cursor."""
        return max(SMALLEST_HEIGHT, self._size().lines - 1)

    @property
    def has_marks(self) -> bool:
        """Whether the terminal shows more than ASCII."""
        return (self._stream.encoding or "ascii").lower().startswith("utf")

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines in place of the last ones; what is too long for the terminal is cut off."""
        with self._lock:
            start = "" if self._is_open else HIDE_CURSOR
            if not self._is_open:
                self._open()
            self._lines = lines
            self._write(start + self._to_top() + self._picture(self._size().lines))

    def say(self, text: str, style: str = "") -> None:
        """Write a line above, as long as it is."""
        with self._lock:
            above = f"{self._to_top()}{CLEAR_BELOW}{self._styled(text, style)}\n"
            self._write(above + (self._picture(self._size().lines) if self._is_open else ""))

    def close(self) -> None:
        """Leave the last lines where they are, all of them, and give the terminal back."""
        with self._lock:
            if not self._is_open:
                return
            for name, above, stream in self._replaced:
                if getattr(sys, name) is above:
                    setattr(sys, name, stream)
                above.end()
            self._is_open = False
            self._write(f"{self._to_top()}{self._picture(len(self._lines))}\n{SHOW_CURSOR}")
            self._rows = 0

    def _open(self) -> None:
        self._is_open = True
        for name in ("stdout", "stderr") if self._err_too else ("stdout",):
            stream = getattr(sys, name)
            if name == "stderr" or stream is self._stream:
                above = _Above(self, stream)
                setattr(sys, name, cast("TextIO", above))
                self._replaced.append((name, above, stream))

    def _size(self) -> os.terminal_size:
        try:
            found = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            found = os.terminal_size((0, 0))
        return os.terminal_size((found.columns or 80, found.lines or 24))  # one that does not know says 0

    def _to_top(self) -> str:
        """Return what moves the cursor to the beginning of the picture."""
        return "\r" + (f"\x1b[{self._rows - 1}A" if self._rows > 1 else "")

    def _picture(self, most: int) -> str:
        """Return the first lines of the picture, and note how many they are."""
        columns = self._size().columns
        shown = self._lines[:most]
        self._rows = len(shown)
        cut = CUT_OFF[self.has_marks]
        texts = [self._styled(fitting(printable(line.text), columns, cut), line.style) for line in shown]
        return "\n".join(f"\r{CLEAR_LINE}{text}" for text in texts) + CLEAR_BELOW

    def _styled(self, text: str, style: str) -> str:
        weight, colour = STYLES.get(style, ("", ""))
        codes = ";".join(code for code in (weight, colour if self._has_colours else "") if code)
        return f"\x1b[{codes}m{text}\x1b[0m" if codes else text

    def _write(self, text: str) -> None:
        encoding = self._stream.encoding or "ascii"
        self._stream.write(text.encode(encoding, "replace").decode(encoding))
        self._stream.flush()


class _Above:
    """Takes the place of a standard stream: whole lines go above the picture, all else is the stream's."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen = screen
        self._stream = stream
        self._begun = ""  # of a line

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._screen.say(line)
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        """A line that is not complete waits for its end."""

    def end(self) -> None:
        """Write what was begun."""
        if self._begun:
            self.write("\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def fitting(text: str, columns: int, cut: str) -> str:
    """Return a line without what is too long for a terminal; ``cut`` in its place."""
    if text.isascii() and len(text) <= columns:
        return text
    widths = [_width(character) for character in text]
    if sum(widths) <= columns:
        return text
    kept = sum(end <= columns - len(cut) for end in itertools.accumulate(widths))
    return text[:kept] + cut


def _width(character: str) -> int:
    """Return how many columns a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
