"""The source list of an image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import Angle
from astropy.io import fits
from astropy.wcs import WCS

from lofarpipe.imaging.imager.components import dec_text, ra_text, write_components

CELL_RAD = math.radians(60 / 3600)
CENTRE_DEG = (359.9, 51.5)


def header() -> fits.Header:
    made = fits.Header()
    for axis, (kind, value, step, pixel) in enumerate(
        (("RA---SIN", CENTRE_DEG[0], -1 / 60, 33), ("DEC--SIN", CENTRE_DEG[1], 1 / 60, 25)), 1
    ):
        made[f"CTYPE{axis}"], made[f"CRVAL{axis}"], made[f"CDELT{axis}"], made[f"CRPIX{axis}"] = (
            kind,
            value,
            step,
            pixel,
        )
    return made


def listed(path: Path, **changes: object) -> list[list[str]]:
    """Return the fields of each component of a model with a slope, a hole, and a channel without weight."""
    models = [np.zeros((48, 64), np.float32) for _ in range(3)]
    models[0][10, 5], models[1][10, 5], models[2][10, 5] = 2.0, 3.0, 99.0
    models[1][40, 60] = -1.0
    given = {"weights": [1.0, 1.0, 0.0], "frequencies_hz": [100e6, 200e6, 300e6], "terms": 0} | changes
    write_components(str(path), models, centre_deg=CENTRE_DEG, cell_rad=CELL_RAD, **given)
    first, *rest = path.read_text().splitlines()
    assert first.startswith(
        "Format = Name, Type, Ra, Dec, I, SpectralIndex, LogarithmicSI, ReferenceFrequency='150000000"
    )
    return [line.split(",") for line in rest]


def test_positions_agree_with_image(tmp_path: Path) -> None:
    rows = listed(tmp_path / "a-sources.txt")
    expected = WCS(header()).pixel_to_world([5, 60], [10, 40])
    assert [Angle(row[2], "hourangle").deg for row in rows] == pytest.approx(expected.ra.deg, abs=1e-5)
    decs = [row[3].replace(".", ":", 2) for row in rows]
    assert [Angle(dec, "deg").deg for dec in decs] == pytest.approx(expected.dec.deg, abs=1e-6)


def test_spectra_are_fitted(tmp_path: Path) -> None:
    row = listed(tmp_path / "a-sources.txt")[0]
    assert row[:2] == ["s0c0", "POINT"]
    assert (float(row[4]), float(row[5].strip("[]"))) == pytest.approx((2.5, 1.5))  # 2.5 + 1.5 (f / 150 MHz - 1)
    row = listed(tmp_path / "b-sources.txt", terms=1)[0]
    assert (float(row[4]), row[5]) == (2.5, "[]")


def test_seconds_are_not_rounded_to_sixty() -> None:
    assert ra_text(359.9999999999) == "00:00:00.000"
    assert ra_text(15 * (3 + 49 / 60 + 55.273 / 3600)) == "03:49:55.273"
    assert dec_text(-0.99999999999) == "-01.00.00.000"
    assert dec_text(50 + 46 / 60 + 57.708 / 3600) == "50.46.57.708"
