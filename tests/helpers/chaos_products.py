"""Products of a run as values, comparable with those of another run elsewhere at another time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import casacore.tables
from astropy.io import fits

# When something was made is not the same in two runs.
DATES = {"DATE", "CHECKSUM", "DATASUM"}
COLUMNS = ("DATA", "FLAG", "WEIGHT_SPECTRUM", "UVW", "TIME", "ANTENNA1", "ANTENNA2")
TEXTS = ("quality.json", "plan.json", "images.metadata", "fullband-MFS.skymodel")
_TEMPORARY = re.compile(r"(^|/)\.|\.(incomplete|replaced|tmp|part|unfinished)\b|~$")
#: Files of a run about itself; only their presence is compared.
ABOUT_THE_RUN = ("journal.", "commands.txt", "run.json", "report.html", "logs/", "jobs/", "mapfiles/", "parsets/")


def products(job: Path) -> dict[str, Any]:
    """Return everything that a finished image pipeline made, by its name: pixels, headers, visibilities, texts."""
    made: dict[str, Any] = {name: _plain((job / name).read_text(), job) for name in TEXTS}
    for path in sorted(job.glob("*.fits")):
        header, pixels = _image(path, job)
        made |= {f"{path.name}: header": header, f"{path.name}: pixels": pixels}
    for path in sorted(job.glob("*.average_dpppconcat.ms")):
        made |= {f"{path.name}: {column}": values for column, values in _columns(path)}
    made |= {path.name: path.read_bytes() for path in sorted(job.glob("*.png"))}
    return made


def differing(some: dict[str, Any], others: dict[str, Any]) -> list[str]:
    """Return the names of the products that are not the same, or not in both."""
    return sorted(name for name in some.keys() | others.keys() if some.get(name) != others.get(name))


def names(job: Path) -> set[str]:
    """Return the names of all products, with hidden and stale ones."""
    paths = (path.relative_to(job) for path in job.rglob("*") if path.is_file() or path.is_symlink())
    return {str(path) for path in paths if not str(path).startswith(ABOUT_THE_RUN)}


def left_over(job: Path) -> list[str]:
    """Return temporary files that still exist."""
    there = (str(path.relative_to(job)) for path in job.rglob("*"))
    kept = ("jobs/.report", "jobs/.casacore")
    return sorted(name for name in there if _TEMPORARY.search(name) and not name.startswith(kept))


def left_in(scratch: Path) -> list[str]:
    """Return the names of stale files in the directory of temporary files.

    Trial files are excluded: each Python process tests write access there once, and Astropy memory mapping;
    a process killed at that moment leaves an anonymous trial file.
    """
    return [path.name for path in scratch.iterdir() if not (path.is_file() and _is_try(path.name, path.read_bytes()))]


def _is_try(name: str, content: bytes) -> bool:
    by_python = re.fullmatch("[a-z0-9_]{8}", name) and b"blat".startswith(content)  # as tempfile does
    return bool(by_python or (name.startswith("tmp") and content == b" "))


def _image(path: Path, job: Path) -> tuple[list[Any], bytes]:
    with fits.open(path, memmap=False) as units:
        header = units[0].header
        cards = [(card.keyword, card.value) for card in header.cards if card.keyword not in DATES | {"HISTORY"}]
        # Lines end at 72 characters, and blanks at their ends are lost: longer paths, other blanks.
        history = _plain("".join("".join(header.get("HISTORY", "")).split()), job)
        return [*cards, ("HISTORY", history)], units[0].data.tobytes()


def _columns(path: Path) -> Iterator[tuple[str, bytes]]:
    with casacore.tables.table(str(path), ack=False) as rows:
        for column in COLUMNS:
            yield column, rows.getcol(column).tobytes()


def _plain(text: str, job: Path) -> str:
    """Return a text without the places of this job, and without the size of a file with them in its header."""
    if text.startswith("{"):
        text = json.dumps(json.loads(text), indent=0)
    text = re.sub(r"(SkyImage_\[\d+\]\.size)=\d+", r"\1", text)
    return re.sub(r"scratch/\S{1,20}?-[0-9a-f]{8}-", "scratch/", text.replace(str(job.parent), "HERE"))
