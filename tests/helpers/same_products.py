"""All lasting files of a run for people and programs, and their differences between two job directories."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

# Facts about the run, not its products: times, process ids, logs.
OF_THE_RUN = ("commands.txt", "journal.jsonl", "journal.lock", "run.json", "report.html", "Results")
OF_STEPS = ("mapfiles/", "parsets/")
OF_THE_RUN_BELOW = ("jobs/", "logs/", "mapfiles/.")
NOT_THE_SAME = re.compile(r"(job_duration|monitor_stats)\.mapfile$")
TEMPORARY = re.compile(r"-temp-dir \S+|image-[0-9a-f]{8}-")
NUMBER = re.compile(r"(?<=[a-z_]/)\d{3}(?=[:.])|(?<=[a-z_]-)\d{3}(?=\.incomplete)")  # of a job: it is never given again
TIMES = re.compile(r"\b20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?")


def products(here: Path, job: str = "image") -> dict[str, Any]:
    """Return the content of every product below the job directory, by its name; without the name of ``here``."""
    root = here / job
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_dir() or name in OF_THE_RUN or name.startswith(OF_THE_RUN_BELOW) or NOT_THE_SAME.search(name):
            continue
        if ".average" in name or ".dpppconcat" in name:  # tables: their images are compared
            continue
        found[name] = _content(path, str(here))
    return found


def _content(path: Path, here: str) -> Any:
    if path.suffix == ".fits":
        with fits.open(path) as hdus:
            cards = hdus[0].header.cards
            told = [_plain(str(card), here) for card in cards if card.keyword not in ("DATE", "HISTORY")]
            history = "".join(
                card.image[8:] for card in cards if card.keyword == "HISTORY"
            )  # a line goes on in the next
            return np.array(hdus[0].data), [*told, _plain(history, here)]
    if path.suffix == ".png":
        return len(path.read_bytes()) > 0
    text = _plain(path.read_text(errors="replace"), here)
    return json.loads(text) if path.suffix == ".json" else text


def _plain(text: str, here: str) -> str:
    for pattern, name in ((TEMPORARY, "<temporary>"), (NUMBER, "<number>"), (TIMES, "<time>")):
        text = pattern.sub(name, text)
    return text.replace(here, "<here>")


def differences(used: dict[str, Any], fresh: dict[str, Any], tolerance: float = 0.0) -> list[str]:
    """Return differences in words; pixels may differ by ``tolerance`` of the largest one.

    Maps and parsets of removed steps may stay: nothing reads them.
    """
    lacking = [f"{name}: only in the fresh one" for name in sorted(fresh.keys() - used.keys())]
    left = [name for name in sorted(used.keys() - fresh.keys()) if not name.startswith(OF_STEPS)]
    found = [*lacking, *(f"{name}: left of an earlier run" for name in left)]
    for name in sorted(used.keys() & fresh.keys()):
        if isinstance(used[name], tuple):
            found += [f"{name}: {what}" for what in _of_images(used[name], fresh[name], tolerance)]
        elif not _is_same(used[name], fresh[name], tolerance):
            found.append(f"{name}: {used[name]!r:.2000} is not {fresh[name]!r:.2000}")
    return found


def _of_images(one: Any, other: Any, tolerance: float) -> list[str]:
    (pixels, cards), (others, other_cards) = one, other
    if pixels.shape != others.shape:
        return [f"{pixels.shape} is not {others.shape}"]
    told = [f"header: {sorted(set(cards) ^ set(other_cards))}"] if cards != other_cards and not tolerance else []
    allowed = tolerance * float(np.nanmax(np.abs(others), initial=0.0))
    is_same = np.isclose(pixels, others, rtol=0, atol=allowed, equal_nan=True)
    return told if is_same.all() else [*told, f"{(~is_same).sum()} pixels differ"]


def _is_same(one: Any, other: Any, tolerance: float) -> bool:
    if tolerance and isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key], tolerance) for key in one)
    if tolerance and isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=1e-3))
    return bool(one == other)
