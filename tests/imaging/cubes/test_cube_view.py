"""Pictures and numbers of a full-Stokes cube for the report."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
from astropy.io import fits

from lofarpipe.imaging.cubes.cube_view import MOST_PLANES, cube_view
from lofarpipe.imaging.cubes.stokes_images import blank_record


def test_view_has_pictures_of_good_channels(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    fits.PrimaryHDU(rng.normal(size=(3, 4, 32, 32)).astype(np.float32)).writeto(tmp_path / "c.fits")
    good = {"status": "ok", "beam": {"bmaj_arcsec": 9.0, "bmin_arcsec": 8.0, "bpa_deg": 10.0}}
    good["rms_jy"] = dict.fromkeys("IQUV", 1.0)
    channels = [
        {"index": 1, "frequency_hz": 9e8, "reason": None, **good},
        {"index": 2, "frequency_hz": 9.2e8, **blank_record("flagged")},
        {"index": 3, "frequency_hz": 9.4e8, "reason": None, **good},
    ]
    view = cube_view(tmp_path / "c.fits", {"robust": 0.0, "channels": channels})
    assert [cube["stokes"] for cube in view["cubes"]] == ["I", "Q", "U", "V", "P"]
    assert view["cubes"][0]["rms_jy"] == [1.0, None, 1.0]
    assert view["cubes"][4]["rms_jy"] == [1.0, None, 1.0]  # of Q and U
    assert view["axes"][0]["arcsec"] == [9.0, None, 9.0]
    assert view["blank"] == ["2 (flagged)"]
    assert view["slices"]["labels"] == ["channel 1, 900.000 MHz", "channel 3, 940.000 MHz"]
    pictures = view["slices"]["pictures"]
    assert all(base64.b64decode(text).startswith(b"\x89PNG") for texts in pictures.values() for text in texts)


def test_number_of_pictures_is_bounded(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.random.default_rng(1).normal(size=(70, 4, 8, 8)).astype(np.float32)).writeto(tmp_path / "c.fits")
    beam = {"bmaj_arcsec": 9.0, "bmin_arcsec": 8.0, "bpa_deg": 10.0}
    channels = [
        {"index": n, "frequency_hz": 9e8 + n, "status": "ok", "reason": None, "beam": beam, "rms_jy": {}}
        for n in range(70)
    ]
    view = cube_view(tmp_path / "c.fits", {"robust": 0.0, "channels": channels})
    assert len(view["slices"]["labels"]) <= MOST_PLANES
