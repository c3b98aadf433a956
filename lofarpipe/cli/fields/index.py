"""fields.json and fields.html: state, noise, picture and report of all fields of a directory."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lofarpipe.errors import PipelineError, counted
from lofarpipe.jobs import duration_text
from lofarpipe.support.utilities import printable, write_atomically

JSON_FILE, HTML_FILE, PICTURE_FILE = "fields.json", "fields.html", "thumbnail.png"
INTERVAL_S = 2.0  # between two writes while fields begin and end
SIDE_PIXELS = 160
SCHEMA_VERSION = 1
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem; color: #222; background: #fff }
table { border-collapse: collapse } td, th { padding: .35rem .8rem; text-align: left; border-bottom: 1px solid #ddd }
td { vertical-align: middle } img { display: block; max-width: 80px; max-height: 80px }
.done { color: #17692f } .failed, .killed { color: #b3261e } .running { color: #0b57d0 }
"""

Facts = dict[str, Any]  # of one field


class FieldsIndex:
    """Keeps the index of a directory's fields up to date, including fields of other tables.

    Parameters
    ----------
    directory: the site's runtime directory.
    complain: gets the reason why the index cannot be written; that ends no run.
    """

    def __init__(self, directory: Path, complain: Callable[[str], None]) -> None:
        self._directory = directory
        self._complain = complain
        self._next_s = 0.0

    def update(self, fields: Sequence[Facts], at_once: bool = False) -> None:
        """Write both files, unless they were written a moment ago."""
        if not at_once and time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + INTERVAL_S
        try:
            field_names = {entry["field"] for entry in fields}
            others = [entry for entry in indexed_fields(self._directory) if entry["field"] not in field_names]
            everything = [*(one for one in others if Path(one["job_directory"]).is_dir()), *fields]
            text = json.dumps({"schema_version": SCHEMA_VERSION, "fields": everything}, indent=1)
            write_atomically(self._directory / JSON_FILE, f"{text}\n")
            write_atomically(self._directory / HTML_FILE, index_page(everything, self._directory), errors="replace")
        except OSError as err:
            self._complain(f"{self._directory / JSON_FILE}: cannot be written: {err.strerror}")


def indexed_fields(directory: Path) -> list[Facts]:
    """Return the fields in the index of a directory; none where there is no index, or it is damaged."""
    try:
        entries = json.loads((directory / JSON_FILE).read_text(encoding="utf-8"))["fields"]
        return [one for one in entries if isinstance(one["field"], str) and isinstance(one["job_directory"], str)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def outcome_facts(job_directory: Path, draws: bool = True) -> Facts:
    """Return the facts of a field in run.json: noise, image, warnings and pages; as far as they are there.

    Parameters
    ----------
    draws: whether a small picture is made.
    """
    try:
        record = json.loads((job_directory / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict):
        return {}
    quality = record.get("quality")
    quality = quality if isinstance(quality, dict) else {}
    image = quality.get("image_pb") or quality.get("image")
    page_file = job_directory / "report.html"
    return {
        "rms": _value(quality, "rms"),
        "rms_unit": (quality.get("rms") or {}).get("unit") if isinstance(quality.get("rms"), dict) else None,
        "noise_ratio": _value(quality, "measured_over_expected"),
        "image": image if isinstance(image, str) else None,
        "warnings": len(record.get("warnings") or ()),
        "report": str(page_file) if page_file.is_file() else None,
        "picture": picture_of(job_directory, image) if draws and isinstance(image, str) else None,
    }


def _value(quality: Mapping[str, Any], name: str) -> float | None:
    fact = quality.get(name)
    value = fact.get("value") if isinstance(fact, dict) else None
    return float(value) if isinstance(value, int | float) else None


def picture_of(job_directory: Path, image: str) -> str | None:
    """Return a small picture of an image, made from the large one beside it; None where there is none."""
    large, small = Path(image).with_suffix(".png"), job_directory / PICTURE_FILE
    if not large.is_file():
        return None
    try:
        from PIL import Image

        with Image.open(large) as opened:
            picture = opened.convert("RGB")
        picture.thumbnail((SIDE_PIXELS, SIDE_PIXELS))
        picture.save(small)
    except (ImportError, OSError, ValueError):  # a picture is not worth a failure
        return None
    return str(small)


HEAD = ("", "field", "state", "took", "noise", "over expected", "warnings", "image", "")


def state_counts(states: Sequence[str]) -> str:
    """Return how many there are of each state: ``3 done, 1 failed``."""
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def index_page(fields: Sequence[Facts], directory: Path) -> str:
    """Return the page that shows the fields; its links are relative to the directory."""
    counts = state_counts([str(one.get("state")) for one in fields])
    rows = "\n".join(_row(one, directory) for one in fields)
    head = "".join(f"<th>{title}</th>" for title in HEAD)
    policy = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(counted(len(fields), "field"))}</title>
<meta http-equiv="Content-Security-Policy" content="{policy}">
<style>{STYLE}</style></head>
<body><h1>{escape(counted(len(fields), "field"))}</h1>
<p>{escape(counts)}. Written {time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())} UTC.</p>
<table><thead><tr>{head}</tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def _row(one: Facts, directory: Path) -> str:
    picture, report = one.get("picture"), one.get("report")
    name, state = escape(printable(one["field"])), escape(str(one.get("state")))
    ratio, took_s = one.get("noise_ratio"), one.get("took_s")
    cells = [
        f'<img loading="lazy" alt="" src="{_address(picture, directory)}">' if picture else "",
        f'<a href="{_address(report, directory)}">{name}</a>' if report else name,
        f'<span class="{state}">{state}</span>',
        "" if took_s is None else escape(duration_text(took_s)),
        escape(rms_text(one)),
        "" if ratio is None else f"{ratio:.2f}",
        str(one.get("warnings") or ""),
        escape(printable(one.get("image") or "")),
        escape(printable(one.get("problem") or "")),
    ]
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _address(path: str, directory: Path) -> str:
    return escape(quote(os.path.relpath(path, directory)))


def rms_text(one: Facts) -> str:
    """Return the noise of a field for people; "" where it is not known."""
    value, unit = one.get("rms"), one.get("rms_unit")
    if value is None:
        return ""
    return f"{1e3 * value:.3g} mJy/beam" if unit == "Jy/beam" else f"{value:.3g} {unit or ''}".rstrip()


def fields_of(path: Path) -> list[tuple[str, Path]]:
    """Return name and job directory of the fields of a table, or of an index.

    Job directories come from the index beside the table or in the current directory; else they are below the latter.

    Raises
    ------
    PipelineError
        If it cannot be read, or has no fields.
    """
    from lofarpipe.cli.fields.table import read_fields

    if path.suffix == ".json":
        entries = [(one["field"], Path(one["job_directory"])) for one in indexed_fields(path.parent)]
        if path.name != JSON_FILE or not entries:
            raise PipelineError(f"{path}: is no index of fields; name {JSON_FILE}, a table, or job directories")
        return entries
    rows, findings = read_fields(path)
    if findings:
        raise PipelineError(str(findings[0]))
    places = (Path.cwd(), path.absolute().parent)
    directories = {one["field"]: Path(one["job_directory"]) for place in places for one in indexed_fields(place)}
    return [(row.name, directories.get(row.name, Path.cwd() / row.name)) for row in rows]
