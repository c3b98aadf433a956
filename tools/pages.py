"""Hooks of mkdocs: README is the first page of the site; links to other files become text."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = "doc/"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the first page, with its relative links adapted."""
    from mkdocs.structure.files import File

    text = _LINK.sub(lambda link: _moved(link, "README.md"), (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return a page without links to files outside the site."""
    source = page.file.src_uri
    return markdown if source == "index.md" else _LINK.sub(lambda link: _moved(link, PAGES + source), markdown)


def _moved(link: re.Match[str], source: str) -> str:
    """Return a link of a file of the repository as it is in the site; its text alone where it leads to no page."""
    mark, text, target = link.groups()
    path, hash_sign, anchor = target.partition("#")
    if not path or "://" in path:
        return link[0]
    place = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
    if not place.startswith(PAGES):
        return text
    own = "" if source == "README.md" else posixpath.dirname(source)[len(PAGES) :]
    return f"{mark}[{text}]({posixpath.relpath(place[len(PAGES) :], own or '.')}{hash_sign}{anchor})"
