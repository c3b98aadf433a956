"""A part of a terminal that is written again and again, with rich; other lines go above it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from lofarpipe.report.board import Line

STYLES = {
    "done": "green",
    "skipped": "dim green",
    "running": "bold cyan",
    "failed": "bold red",
    "interrupted": "bold yellow",
    "waiting": "dim",
    "title": "bold",
    "warning": "yellow",
}
SMALLEST_HEIGHT = 4


def shows_live(stream: TextIO) -> bool:
    """Return whether something can be shown in place: a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


class Screen:
    """The last lines of a terminal.

    Parameters
    ----------
    stream: the terminal.
    console: of rich, for tests.
    err_too: what others write to standard error goes above, too; for a standard error that is this terminal.
    """

    def __init__(self, stream: TextIO, console: Console | None = None, err_too: bool = False) -> None:
        from rich.console import Console
        from rich.live import Live

        # Colours only where the user has not said NO_COLOR, which rich looks at.
        self._console = console or Console(file=stream, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            redirect_stderr=err_too,
            vertical_overflow="crop",
            transient=False,
        )
        self._is_open = False

    @property
    def height(self) -> int:
        """Lines that can be shown; one stays free for the cursor."""
        return max(SMALLEST_HEIGHT, self._console.height - 1)

    @property
    def has_marks(self) -> bool:
        """Whether the terminal shows more than ASCII."""
        return self._console.encoding.lower().startswith("utf")

    def show(self, lines: Sequence[Line]) -> None:
        """Show these lines in place of the last ones; what is too long for the terminal is cut off."""
        from rich.console import Group

        if not self._is_open:
            self._live.start()
            self._is_open = True
        self._live.update(Group(*map(_text, lines)), refresh=True)

    def say(self, text: str, style: str = "") -> None:
        """Write a line above, as long as it is."""
        from rich.text import Text

        self._console.print(Text(text, STYLES.get(style, "")), soft_wrap=True)

    def close(self) -> None:
        """Leave the last lines where they are, and give the terminal back."""
        if self._is_open:
            self._live.stop()
            self._is_open = False


def _text(line: Line) -> Text:
    from rich.text import Text

    return Text(line.text, style=STYLES.get(line.style, ""), no_wrap=True, overflow="ellipsis")
