"""Fits of made sources: fluxes and positions known by construction, errors known by repetition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lofarpipe.imaging.quality.catalogue import SourceNotFitted, beam_matrix, fit_source
from lofarpipe.imaging.quality.sky_image import SkyImage
from made_sources import CELL_DEG, CENTRE_DEG, NPIX, header, restored


@settings(max_examples=20, deadline=None)
@given(
    flux_jy=st.floats(0.01, 100),
    dx=st.floats(-0.1, 0.1),
    dy=st.floats(-0.1, 0.1),
    widen=st.floats(1, 1.5),
    angle_deg=st.floats(0, 179),
)
def test_fit_recovers_made_source(flux_jy, dx, dy, widen, angle_deg):
    ra_deg, dec_deg = CENTRE_DEG[0] + dx, CENTRE_DEG[1] + dy
    fit = fit_source(restored(flux_jy, ra_deg, dec_deg, widen, angle_deg), ra_deg, dec_deg, 0.001)
    assert fit.flux_jy == pytest.approx(flux_jy, rel=1e-4)
    assert fit.peak_jy == pytest.approx(flux_jy / widen**2, rel=1e-4)
    assert (fit.right_ascension_deg, fit.declination_deg) == pytest.approx((ra_deg, dec_deg), abs=1e-6)
    assert (fit.major_arcsec, fit.minor_arcsec) == pytest.approx((50 * widen, 35 * widen), rel=1e-4)
    assert abs((fit.angle_deg - angle_deg + 90) % 180 - 90) < 0.1


def test_fit_follows_displaced_source():
    fit = fit_source(restored(1.0, 218.004, 48.004), *CENTRE_DEG, 0.001)
    assert (fit.right_ascension_deg, fit.declination_deg) == pytest.approx((218.004, 48.004), abs=1e-5)


def test_beam_matrix_equals_hand_calculation():
    matrix = beam_matrix(SkyImage("made.fits", header(angle_deg=0.0), np.zeros((NPIX, NPIX), np.float32)))
    # Major axis north: 50" / 10" a pixel / 2.3548 = 2.1233 pixels along y; 1.4863 along x
    assert matrix == pytest.approx(np.diag([1.4863**-2, 2.1233**-2]), rel=1e-4)


def test_errors_agree_with_repeated_fits():
    """Scatter of flux and position over 200 fits agrees with the quoted errors.

    An interferometer's noise has the beam for its autocorrelation: it is white noise convolved with the beam's root.
    """
    rng = np.random.default_rng(5)
    beam = restored(1.0, *CENTRE_DEG, widen=math.sqrt(0.5)).pixels
    kernel = np.fft.fft2(np.fft.ifftshift(beam))
    clean = restored(1.0, *CENTRE_DEG)
    fluxes, decs, fit = [], [], None
    for _ in range(200):
        noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal(beam.shape)) * kernel).real
        noise *= 0.01 / noise.std()
        fit = fit_source(SkyImage("n", clean.header, (clean.pixels + noise).astype(np.float32)), *CENTRE_DEG, 0.01)
        fluxes.append(fit.flux_jy)
        decs.append(fit.declination_deg * 3600)
    assert np.std(fluxes) == pytest.approx(fit.flux_error_jy, rel=0.25)
    assert np.mean(fluxes) == pytest.approx(1, abs=0.005)
    # Along the major axis, which is 30 deg from north: 50" and 35" mixed
    assert np.std(decs) == pytest.approx(fit.position_error_arcsec * math.hypot(0.866, 0.5 * 35 / 50), rel=0.25)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ((230.0, 48.0), "is outside the image, or too near to its edge"),
        ((218.26, 48.0), "is outside the image, or too near to its edge"),
    ],
)
def test_positions_outside_are_refused(place, said):
    with pytest.raises(SourceNotFitted, match=said):
        fit_source(restored(1.0, *CENTRE_DEG), *place, 0.001)


def test_few_blank_pixels_are_tolerated():
    image = restored(1.0, *CENTRE_DEG)
    image.pixels[64, 66] = np.nan
    assert fit_source(image, *CENTRE_DEG, 0.001).flux_jy == pytest.approx(1, rel=1e-4)
    image.pixels[:] = np.nan
    with pytest.raises(SourceNotFitted, match="pixels around 64, 64 are blank"):
        fit_source(image, *CENTRE_DEG, 0.001)


def test_position_without_signal_is_refused():
    image = restored(1.0, *CENTRE_DEG)
    image.pixels[:] = -1.0
    with pytest.raises(SourceNotFitted, match="nothing positive around pixel 64, 64"):
        fit_source(image, *CENTRE_DEG, 0.001)


def test_plateau_is_no_source():
    image = restored(1.0, *CENTRE_DEG)
    image.pixels[:] = 1.0
    with pytest.raises(SourceNotFitted, match="no source is near pixel 64, 64"):
        fit_source(image, *CENTRE_DEG, 0.001)


def test_infinite_pixels_are_ignored():
    image = restored(1.0, *CENTRE_DEG)
    image.pixels[64, 60] = np.inf
    assert fit_source(image, *CENTRE_DEG, 0.001).flux_jy == pytest.approx(1, rel=1e-4)


def test_missing_beam_prevents_fit():
    dirty = restored(1.0, *CENTRE_DEG)
    dirty.header["BMAJ"] = dirty.header["BMIN"] = 0.0
    with pytest.raises(SourceNotFitted, match="no restoring beam"):
        fit_source(dirty, *CENTRE_DEG, 0.001)


def test_unresolved_beam_prevents_fit():
    coarse = restored(1.0, *CENTRE_DEG)
    coarse.header["BMAJ"] = coarse.header["BMIN"] = 0.4 * CELL_DEG
    with pytest.raises(SourceNotFitted, match=r"its beam is 0\.4 pixels wide"):
        fit_source(coarse, CENTRE_DEG[0] + 0.5 * CELL_DEG, CENTRE_DEG[1] + 0.5 * CELL_DEG, 0.001)
