"""Observations on the page: problems, tables and pictures of each session, from raw data to images.

Source: one file ``*.observation.json`` of the job directory per session.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def observation_section(entry: Mapping[str, Any], picture_uri: Callable[[Path], str | None]) -> dict[str, Any]:
    """Return the section of a session; {} for a malformed entry.

    ``picture_uri`` returns a picture as an address that holds it, None where it cannot.
    """
    try:
        pictures = [(str(title), picture_uri(Path(path))) for title, path in entry["pictures"]]
        return {
            "title": str(entry["title"]),
            "problems": [str(text) for text in entry["problems"]],
            "tables": [
                (str(title), [str(name) for name in head], [[str(cell) for cell in row] for row in rows])
                for title, head, rows in entry["tables"]
            ],
            "pictures": [(title, address) for title, address in pictures if address],
        }
    except (KeyError, TypeError, ValueError):
        return {}
