"""The map of the spectral index of total intensity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.spectral_index import write_spectral_index


def write(path: Path, pixels: np.ndarray, frequency_hz: float) -> Path:
    header = fits.Header(
        {"CTYPE3": "FREQ", "CRVAL3": frequency_hz, "CDELT2": 2 / 3600, "BMAJ": 8 / 3600, "BMIN": 8 / 3600}
    )
    fits.PrimaryHDU(pixels[None, None].astype(np.float32), header).writeto(path)
    return path


def test_source_spectral_index_is_found(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    noise = rng.normal(0, 1e-3, (64, 64))
    y, x = np.mgrid[:64, :64] - 32
    image = write(tmp_path / "i.fits", noise + np.exp(-4 * np.log(2) * (x**2 + y**2) / 16), 1.0e9)
    models, residuals = [], []
    for frequency_hz in (9e8, 1.0e9, 1.2e9):
        pixels = np.zeros((64, 64))
        pixels[32, 32] = (frequency_hz / 1e9) ** -0.7
        models.append(write(tmp_path / f"m{frequency_hz}.fits", pixels, frequency_hz))
        residuals.append(write(tmp_path / f"r{frequency_hz}.fits", noise, frequency_hz))
    write_spectral_index(image, models, residuals, tmp_path / "alpha.fits")
    index, error = fits.getdata(tmp_path / "alpha.fits")[:, 0]
    assert index[32, 32] == pytest.approx(-0.7, abs=1e-4)
    assert index[34, 32] == pytest.approx(-0.7, abs=1e-4)
    assert error[32, 32] == pytest.approx(1.41e-3 / np.log(12 / 9), rel=0.15)
    assert np.isnan(index[5, 5])
    with pytest.raises(PipelineError, match="needs two output channels"):
        write_spectral_index(image, models[:1], residuals[:1], tmp_path / "alpha.fits")
