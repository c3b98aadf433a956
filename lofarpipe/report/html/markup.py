"""Pieces of HTML: text becomes a part of a page in one way only, escaped, unless it is a piece already.

With markupsafe alone, which is what jinja2 escapes with: to load an engine for templates and to read them costs more
than all of a page without images.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup, escape

from lofarpipe.report.html.logs import page_text

Html = Markup
NONE = Html("")


def fill(pattern: str, *things: object) -> Html:
    """Return a pattern with each ``{}`` replaced by one of the things, which are escaped."""
    return Html(pattern.format(*(thing if type(thing) is Html else escape(thing) for thing in things)))


def joined(pieces: Iterable[Html], between: str = "") -> Html:
    """Return pieces one after the other."""
    return Html(between.join(pieces))


def each(pattern: str, things: Iterable[object]) -> Html:
    """Return a pattern with one ``{}``, once for each thing."""
    return joined(fill(pattern, thing) for thing in things)


def escaped(text: object) -> Html:
    """Return what a program, a file or a user said: without colours of terminals, and escaped."""
    return Html(said(str(text)))


def said(text: str) -> str:
    """Return the same as plain text, of which there is very much: a piece costs three times as much to make."""
    return text if text.isalnum() else html.escape(page_text(text))


def item_list(texts: Iterable[object], kind: str = "") -> Html:
    """Return a list; ``kind`` is its class."""
    return fill(
        "<ul{}>{}</ul>\n", fill(' class="{}"', kind) if kind else NONE, each("<li>{}</li>", map(escaped, texts))
    )


def table(head: Sequence[str], body: Iterable[Sequence[Any]], numbers: Sequence[int] = ()) -> Html:
    """Return a table; the columns in ``numbers`` are set to the right."""
    kinds = [Html(' class="number"') if column in numbers else NONE for column in range(len(head))]
    titles = joined(fill("<th{}>{}</th>", kind, name) for kind, name in zip(kinds, head, strict=True))
    lines = Html("".join(f"<tr>{''.join(map(_cell, kinds, row))}</tr>\n" for row in body))
    pattern = '<div class="wide"><table>\n<thead><tr>{}</tr></thead>\n<tbody>\n{}</tbody>\n</table></div>\n'
    return fill(pattern, titles, lines)


def _cell(kind: Html, cell: object) -> str:
    return f"<td{kind}>{said(str(cell))}</td>"


def figure(address: str, text: str, caption: str) -> Html:
    """Return a drawing; ``text`` stands in for it where it cannot be seen."""
    pattern = '<figure class="drawn"><img src="{}" alt="{}"><figcaption>{}</figcaption></figure>\n'
    return fill(pattern, address, text, caption)


def cut(text: str, most: int) -> str:
    """Return a text of a line, cut off where it is clearly too long."""
    return text if len(text) <= most + 5 else f"{text[: most - 1]}…"
