"""The header of a FITS file as cards: read, and extended while its pixels stay as they are, without a library.

Source: FITS standard 4.0, sections 3.3 and 4.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from lofarpipe.support.dataclass import dataclass

CARD_BYTES, BLOCK_BYTES = 80, 2880
MOST_BLOCKS = 1000
LONGEST_TEXT = 68  # characters of a text value, quotes doubled
LONGEST_LINE = 72  # characters of a card of HISTORY
HISTORY_BEGIN, HISTORY_END = "---- image pipeline ----", "---- end of image pipeline ----"

NO_DATE = "1858-11-17T00:00:00"  # MJD 0: WSClean 3.1 has it in images of the whole band

# Values of the STOKES axis. Source: FITS standard 4.0, table 29.
STOKES_NAMES = {1: "I", 2: "Q", 3: "U", 4: "V", -1: "RR", -2: "LL", -3: "RL", -4: "LR"}
STOKES_NAMES |= {-5: "XX", -6: "YY", -7: "XY", -8: "YX"}

#: Keyword -> value and comment.
Keywords = Mapping[str, tuple[str | int | float, str]]


@dataclass(frozen=True)
class FitsHeader:
    """The cards of a header, 80 bytes each, without END."""

    cards: tuple[bytes, ...]

    def text(self, key: str) -> str | None:
        """Return the value of a keyword without quotes and comment, or None."""
        name = key.encode().ljust(8) + b"="
        return next((_value(card) for card in self.cards if card.startswith(name)), None)

    def number(self, key: str) -> float:
        """Return a number.

        Raises
        ------
        ValueError
            If the keyword is missing.
        """
        text = self.text(key)
        if text is None:
            raise ValueError(f"the header has no {key}")
        return float(text.replace("D", "E"))

    @property
    def history(self) -> list[str]:
        """The lines of HISTORY."""
        return [card[8:].decode("ascii", "replace").rstrip() for card in self.cards if card.startswith(b"HISTORY ")]


def _value(card: bytes) -> str:
    text = card[10:].decode("ascii", "replace").strip()
    if not text.startswith("'"):
        return text.partition("/")[0].strip()
    value, rest = "", text[1:]
    while True:
        part, _, rest = rest.partition("'")
        value += part
        if not rest.startswith("'"):
            return value.rstrip()
        value, rest = f"{value}'", rest[1:]


def read_header(stream: BinaryIO) -> FitsHeader:
    """Return the header at the place of a stream, and leave that at the first byte behind it.

    Raises
    ------
    ValueError
        If the file has no header.
    """
    cards: list[bytes] = []
    for _ in range(MOST_BLOCKS):
        block = stream.read(BLOCK_BYTES)
        lines = [block[start : start + CARD_BYTES] for start in range(0, len(block), CARD_BYTES)]
        end = next((place for place, line in enumerate(lines) if line.rstrip() == b"END"), None)
        cards += lines[:end]
        if end is not None and cards and cards[0].startswith((b"SIMPLE  =", b"XTENSION=")):
            return FitsHeader(tuple(cards))
        if len(block) < BLOCK_BYTES or end is not None:
            break
    raise ValueError("is no FITS file")


def extend_header(path: Path, keywords: Keywords, history: Iterable[str]) -> None:
    """Put keywords and lines of HISTORY into the header of a file; all behind it stays as it is, to the bit.

    A keyword that has a value keeps it. Lines of an earlier call are replaced. The file appears under its name when it
    is complete; a link keeps pointing at it.

    Raises
    ------
    ValueError
        If it is no FITS file.
    OSError
        If it cannot be read or written.
    """
    target = Path(os.path.realpath(path))
    unfinished = target.with_name(f".{target.name}.part")  # a retry replaces the file of a killed job
    try:
        with target.open("rb") as source:
            cards = extended_cards(read_header(source), keywords, history)
            with unfinished.open("wb") as changed:
                changed.write(_blocks(cards))
                shutil.copyfileobj(source, changed, 1 << 20)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def extended_cards(header: FitsHeader, keywords: Keywords, history: Iterable[str]) -> list[bytes]:
    """Return the cards with the missing keywords, and HISTORY lines at the end."""
    new_cards = {key: _card(key, *pair) for key, pair in keywords.items() if is_unset(header.text(key))}
    others = [_replaced(card, new_cards) for card in header.cards if not card.startswith(b"HISTORY ")]
    new = [card for key, card in new_cards.items() if header.text(key) is None]
    lines = [*other_history(header.history), HISTORY_BEGIN, *history, HISTORY_END]
    return [*others, *new, *(f"HISTORY {part}".encode().ljust(CARD_BYTES) for line in lines for part in wrapped(line))]


def is_unset(value: str | None) -> bool:
    """Return whether the value of a keyword is void: absent, or the date of MJD 0."""
    return not value or value.startswith(NO_DATE)


def _replaced(card: bytes, new_cards: Mapping[str, bytes]) -> bytes:
    return new_cards.get(card[:8].decode("ascii", "replace").rstrip(), card) if card[8:9] == b"=" else card


def other_history(lines: Sequence[str]) -> list[str]:
    """Return the HISTORY lines, except those added by this module."""
    others = list(lines)
    if HISTORY_BEGIN in others and HISTORY_END in others:
        del others[others.index(HISTORY_BEGIN) : others.index(HISTORY_END) + 1]
    return others


def wrapped(line: str) -> Iterator[str]:
    """Split a line into parts for HISTORY cards; none ends with a space, which would be lost."""
    rest = printable_ascii(line)
    while len(rest) > LONGEST_LINE:
        length = len(rest[:LONGEST_LINE].rstrip()) or LONGEST_LINE
        yield rest[:length]
        rest = rest[length:]
    yield rest


def printable_ascii(text: str) -> str:
    """Return a text as a card can have it: other letters are escaped as Python does."""
    escaped = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(letter if " " <= letter <= "~" else f"\\x{ord(letter):02x}" for letter in escaped)


def _card(key: str, value: str | int | float, comment: str) -> bytes:
    if isinstance(value, str):
        text = printable_ascii(value).replace("'", "''")[:LONGEST_TEXT]
        if (len(text) - len(text.rstrip("'"))) % 2:  # a doubled quote was cut in two
            text = text[:-1]
        value_text = f"'{text:8}'".ljust(20)
    else:
        value_text = f"{value!r:>20}"
    card = f"{key:8}= {value_text} / {printable_ascii(comment)}"
    return card[:CARD_BYTES].rstrip(" /").ljust(CARD_BYTES).encode("ascii")


def _blocks(cards: Sequence[bytes]) -> bytes:
    content = b"".join([*cards, b"END".ljust(CARD_BYTES)])
    return content.ljust(-(-len(content) // BLOCK_BYTES) * BLOCK_BYTES)
