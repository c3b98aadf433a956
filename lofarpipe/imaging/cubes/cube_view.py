"""Thumbnails, noise and beams of a full-Stokes cube for the report: I, Q, U, V and polarised intensity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from lofarpipe.imaging.cubes.cube import image_unit
from lofarpipe.imaging.cubes.stokes_images import STOKES
from lofarpipe.imaging.cubes.thumbnail import Thumbnail

POLARISED = "P"
NAMES = (*STOKES, POLARISED)
MOST_PLANES = 32  # channels with pictures; of more channels a regular subset is shown


def cube_view(cube: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return JSON values for the report of a cube: pictures, noise, beams, blank channels.

    Memory holds one plane of each Stokes parameter at a time.
    """
    channels = manifest["channels"]
    frequencies_hz = [channel["frequency_hz"] for channel in channels]
    pictures: dict[str, list[str]] = {name: [] for name in NAMES}
    means = {name: Thumbnail(1) for name in NAMES}
    places = _places(channels)
    for planes in _planes(cube, places):
        for name, plane in zip(NAMES, planes, strict=True):
            one = Thumbnail(1)
            one.add(plane)
            means[name].add(plane)
            pictures[name].append(one.png())
    largest = max((c["beam"] for c in channels if c["beam"]), key=lambda beam: float(beam["bmaj_arcsec"]))
    return {
        "name": f"robust {manifest['robust']}, largest native beam",
        "beam": {
            "major_arcsec": largest["bmaj_arcsec"],
            "minor_arcsec": largest["bmin_arcsec"],
            "angle_deg": largest["bpa_deg"],
        },
        "cubes": [
            {
                "stokes": name,
                "frequencies_hz": frequencies_hz,
                "rms_jy": [_rms_jy(channel["rms_jy"], name) for channel in channels],
                "thumbnail": means[name].png(),
            }
            for name in NAMES
        ],
        "axes": [
            {
                "name": name,
                "frequencies_hz": frequencies_hz,
                "arcsec": [channel["beam"][key] if channel["beam"] else None for channel in channels],
            }
            for name, key in (("major", "bmaj_arcsec"), ("minor", "bmin_arcsec"))
        ],
        "blank": [f"{c['index']} ({c['reason']})" for c in channels if c["status"] != "ok"],
        "slices": {
            "labels": [_label(channels[place]) for place in places],
            "pictures": pictures,
        },
    }


def _places(channels: Sequence[Mapping[str, Any]]) -> list[int]:
    """Return the indices of channels with pictures."""
    good = [place for place, channel in enumerate(channels) if channel["status"] == "ok"]
    return good[:: -(-len(good) // MOST_PLANES) or 1]


def _planes(cube: Path, places: Sequence[int]) -> Iterator[list[NDArray[np.float32]]]:
    with fits.open(cube, memmap=False, lazy_load_hdus=True) as hdus:
        for place in places:
            planes = [np.asarray(image_unit(hdus).section[place, number], np.float32) for number in range(len(STOKES))]
            yield [*planes, np.hypot(planes[1], planes[2])]


def _rms_jy(rms_jy: Mapping[str, float | None], name: str) -> float | None:
    """Return the noise of a plane; for polarised intensity the mean of Q's and U's noise."""
    if name != POLARISED:
        return rms_jy.get(name)
    pair = [value for value in (rms_jy.get("Q"), rms_jy.get("U")) if value is not None]
    return sum(pair) / len(pair) if pair else None


def _label(channel: Mapping[str, Any]) -> str:
    return f"channel {channel['index']}, {channel['frequency_hz'] / 1e6:.3f} MHz"
