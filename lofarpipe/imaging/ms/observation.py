"""FITS keywords that describe the observation of measurement sets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.tables import opened
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.fits_header import LONGEST_TEXT

MJD_BEGIN = datetime(1858, 11, 17)  # naive: TIME is UTC, and FITS dates have no zone
#: Keyword of FITS -> column of OBSERVATION, comment.
OF_OBSERVATION = {
    "TELESCOP": ("TELESCOPE_NAME", "telescope"),
    "OBSERVER": ("OBSERVER", "observer"),
    "PROJECT": ("PROJECT", "project"),
}


@dataclass(frozen=True)
class ObservedSet:
    """One set: texts by keyword, the times of its first and last sample, s of MJD (UTC), and the interval, s."""

    texts: dict[str, str]
    first_s: float
    last_s: float
    step_s: float


def observation_keywords(sets: Sequence[str]) -> dict[str, tuple[str | float, str]]:
    """Return keyword -> (value, comment) for an image of all ``sets``, without unknown ones.

    Texts that differ between sets are joined by plus signs. The exposure is the time covered by any set: simultaneous
    sets count once, gaps between sets do not count. Unreadable sets are skipped.
    """
    observed = [one for path in sets if (one := read_observed_set(path)) is not None]
    comments = {key: comment for key, (_, comment) in OF_OBSERVATION.items()} | {"OBJECT": "field"}
    keywords: dict[str, tuple[str | float, str]] = {}
    for key, comment in comments.items():
        texts = dict.fromkeys(text for one in observed if (text := one.texts.get(key, "")))
        if texts:
            keywords[key] = ("+".join(texts)[:LONGEST_TEXT], comment)
    timed = [one for one in observed if all(map(math.isfinite, (one.first_s, one.last_s, one.step_s)))]
    spans = [(one.first_s - one.step_s / 2, one.last_s + one.step_s / 2) for one in timed]
    if timed:
        keywords["DATE-OBS"] = (date_text(min(one.first_s for one in timed)), "time of the first sample, UTC")
        keywords["DATE-BEG"] = (date_text(min(start for start, _ in spans)), "start of the observation, UTC")
        keywords["DATE-END"] = (date_text(max(end for _, end in spans)), "its end, UTC")
        keywords["EXPTIME"] = (round(covered_s(spans), 3), "[s] time that the sets cover")
    return keywords


def read_observed_set(path: str) -> ObservedSet | None:
    """Return the observation of one set; None if it cannot be read.

    Only the first and the last row are read: rows are assumed to be in time order, as in sets of all telescopes.
    """
    try:
        with opened(f"{path}::OBSERVATION") as table:
            columns = table.colnames() if table.nrows() else []
            texts = {
                key: str(table.getcell(column, 0)).strip()
                for key, (column, _) in OF_OBSERVATION.items()
                if column in columns
            }
        with opened(f"{path}::FIELD") as table:
            if table.nrows() == 1:
                texts["OBJECT"] = str(table.getcell("NAME", 0)).strip()
        with opened(path) as table:
            return ObservedSet(texts, *_times(table))
    except (PipelineError, RuntimeError):
        return None


def _times(table: Any) -> tuple[float, float, float]:
    """Return the first and the last time, and the interval; NaN without rows."""
    if not table.nrows():
        return math.nan, math.nan, math.nan
    times = [float(table.getcell("TIME", row)) for row in (0, table.nrows() - 1)]
    return min(times), max(times), float(table.getcell("INTERVAL", 0))


def covered_s(spans: Iterable[tuple[float, float]]) -> float:
    """Return the duration of the union of time spans, s."""
    total, reached = 0.0, -math.inf
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def date_text(mjd_s: float) -> str:
    """Format a time, s of MJD, as a FITS date."""
    try:
        return (MJD_BEGIN + timedelta(seconds=round(mjd_s, 3))).isoformat(timespec="milliseconds")
    except OverflowError:  # invalid time
        return MJD_BEGIN.isoformat()
