"""The last lines of a terminal, as one shows them."""

from __future__ import annotations

import io
import re
import sys

import pytest

from lofarpipe.report import screen as module
from lofarpipe.report.board import Line
from lofarpipe.report.screen import HIDE_CURSOR, SHOW_CURSOR, Screen, fitting

PIECE = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|(\r)|(\n)|([^\x1b\r\n]+)")


class Terminal(io.StringIO):
    """A terminal without an end, of so many columns: what was written, and how it looks."""

    encoding = "utf-8"

    def rows(self) -> list[str]:
        """What is in each row, without what cannot be seen at the end of it."""
        rows, row, column = [""], 0, 0
        for number, letter, home, newline, text in PIECE.findall(self.getvalue()):
            if letter == "A":
                row -= int(number)
                assert row >= 0, "above the first row"
            elif letter == "K":
                rows[row] = ""
            elif letter == "J":
                rows[row:] = [rows[row][:column]]
            elif home:
                column = 0
            elif newline:
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif text:
                rows[row] = rows[row][:column].ljust(column) + text + rows[row][column + len(text) :]
                column += len(text)
        return rows


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 80 columns."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def lines(*texts: str) -> list[Line]:
    return [Line(text) for text in texts]


def test_picture_takes_the_place_of_the_last_one(terminal: Terminal) -> None:
    screen = Screen(terminal)
    for picture in (("one", "two", "three"), ("1", "2"), ("a longer one", "b", "c")):
        screen.show(lines(*picture))
        assert terminal.rows()[: len(picture)] == list(picture)
        assert "".join(terminal.rows()[len(picture) :]) == ""
    assert terminal.getvalue().count(HIDE_CURSOR) == 1


def test_what_is_said_goes_above(terminal: Terminal) -> None:
    screen = Screen(terminal)
    screen.say("before")
    screen.show(lines("one", "two"))
    screen.say("first")
    screen.say("a warning", "warning")
    screen.show(lines("one", "2"))
    screen.close()
    assert terminal.rows() == ["before", "first", "a warning", "one", "2", ""]
    assert "\x1b[33ma warning\x1b[0m" in terminal.getvalue()
    assert terminal.getvalue().endswith(f"\n{SHOW_CURSOR}")


def test_what_others_print_goes_above_in_whole_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", errors)
    screen = Screen(terminal, err_too=True)
    screen.show(lines("picture"))
    print("one", "line", flush=True)
    sys.stdout.writelines(["two\n", "three\n", "the e"])
    assert terminal.rows() == ["one line", "two", "three", "picture"]
    print("an error", file=sys.stderr)
    print("nd")
    print("not ended", end="")
    assert sys.stdout.encoding == "utf-8"
    screen.close()
    assert (sys.stdout, sys.stderr) == (terminal, errors)
    assert terminal.rows() == ["one line", "two", "three", "an error", "the end", "not ended", "picture", ""]
    assert errors.getvalue() == ""


def test_standard_error_that_goes_elsewhere_stays_so(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = Terminal()
    monkeypatch.setattr(sys, "stderr", errors)
    screen = Screen(terminal)
    screen.show(lines("picture"))
    assert sys.stderr is errors
    screen.close()


def test_stream_that_somebody_else_replaced_is_left_alone(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal)
    screen = Screen(terminal)
    screen.show(lines("picture"))
    assert sys.stdout is not terminal
    theirs = io.StringIO()
    monkeypatch.setattr(sys, "stdout", theirs)
    screen.close()
    assert sys.stdout is theirs


def test_more_lines_than_there_is_room_for_are_shown_at_the_end(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Screen, "_size", lambda _: module.os.terminal_size((80, 3)))
    screen = Screen(terminal)
    texts = [str(number) for number in range(10)]
    for _ in range(2):
        screen.show(lines(*texts))
        assert terminal.rows() == texts[:3]
    screen.close()
    screen.close()
    assert terminal.rows() == [*texts, ""]


def test_names_cannot_move_the_cursor(terminal: Terminal) -> None:
    screen = Screen(terminal)
    screen.show(lines("a\x1b[5Ab\rc"))
    assert terminal.rows() == ["abc"]
    screen.close()


def test_nothing_was_shown(terminal: Terminal) -> None:
    Screen(terminal).close()
    assert terminal.getvalue() == ""


def test_height_leaves_a_line_for_the_cursor(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Screen(terminal).height == 23  # it is no terminal, and counts as one of 24 lines
    monkeypatch.setattr(module.os, "get_terminal_size", lambda _: module.os.terminal_size((10, 2)))
    monkeypatch.setattr(terminal, "fileno", lambda: 1)
    assert Screen(terminal).height == 4
    monkeypatch.setattr(module.os, "get_terminal_size", lambda _: module.os.terminal_size((0, 0)))
    assert Screen(terminal).height == 23


def test_colours_are_left_out_where_nobody_wants_them(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen(terminal)
    screen.show([Line("a", "running"), Line("b", "done"), Line("c")])
    screen.close()
    assert "\x1b[1ma\x1b[0m" in terminal.getvalue()
    assert "32" not in terminal.getvalue()


def test_terminal_without_marks(terminal: Terminal) -> None:
    terminal.encoding = "ascii"
    screen = Screen(terminal)
    assert not screen.has_marks
    screen.show(lines("\N{GREEK SMALL LETTER ALPHA}", "x" * 100))
    assert terminal.rows() == ["?", "x" * 79 + "~"]
    screen.close()


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "abcd…"),
        ("\N{CJK UNIFIED IDEOGRAPH-65E5}" * 3, 6, "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 3),
        ("\N{CJK UNIFIED IDEOGRAPH-65E5}" * 3, 5, "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 2 + "…"),
        ("\N{CJK UNIFIED IDEOGRAPH-65E5}" * 3, 4, "\N{CJK UNIFIED IDEOGRAPH-65E5}…"),
        ("e\N{COMBINING ACUTE ACCENT}f", 2, "e\N{COMBINING ACUTE ACCENT}f"),
    ],
)
def test_long_lines_are_cut_by_their_width(text: str, columns: int, shown: str) -> None:
    assert fitting(text, columns, "…") == shown
