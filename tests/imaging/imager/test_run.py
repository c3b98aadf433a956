"""Whole runs of the imager on a small set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

pytest.importorskip("ducc0")

from imager_runs import make_set, pixel_source, run_settings
from lofarpipe.imaging.imager.major_cycle import Hooks
from lofarpipe.imaging.imager.restore import RestoringBeam
from lofarpipe.imaging.imager.run import image_sets, scales_of
from yardstick_sky import apparent_fluxes

SOURCES = (pixel_source(100, 60, 2.0), pixel_source(180, 200, 0.5))


@pytest.fixture(scope="module")
def one_set(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("run") / "a.ms", SOURCES, noise=0.01)


def plane(name: Path, kind: str) -> np.ndarray:
    return fits.getdata(f"{name}-{kind}.fits").squeeze()


@pytest.fixture(scope="module")
def run(one_set, tmp_path_factory):
    name, lines = tmp_path_factory.mktemp("images") / "a", []
    return name, image_sets(run_settings(one_set, name), Hooks(notice=lines.append)), lines


def test_products_are_written(run):
    name, facts, lines = run
    kinds = ("image", "residual", "model", "dirty", "psf")
    expected = {f"{name}-{label}-{kind}.fits" for label in ("MFS", "0000", "0001") for kind in kinds}
    assert set(facts.paths) == expected
    assert lines[0] == f"{facts.visibilities} visibilities in 2 output channels"
    assert {"read", "psf", "dirty", "clean", "write"} <= set(facts.parts_s)


def test_image_has_sources_and_noise(run):
    name, facts, _ = run
    frequency_hz = fits.getval(f"{name}-0001-image.fits", "CRVAL3")
    fluxes = apparent_fluxes(SOURCES, np.array([frequency_hz]))[:, 0]
    assert plane(name, "0001-dirty")[60, 100] == pytest.approx(fluxes[0], rel=0.02)
    # Few visibilities: their sidelobes hide a tenth of the flux.
    assert plane(name, "0001-image")[60, 100] == pytest.approx(fluxes[0], rel=0.15)
    assert plane(name, "0001-image")[200, 180] > 0.5 * fluxes[1]
    assert plane(name, "MFS-residual").std() < 1.5 * facts.sigma_jy
    assert plane(name, "MFS-psf")[128, 128] == pytest.approx(1, abs=1e-3)


def test_stokes_parameters_are_cleaned_separately(one_set, tmp_path):
    settings = run_settings(one_set, tmp_path / "a", pol=("I", "Q"), products=("image", "model"), channels_out=1)
    facts = image_sets(settings)
    assert sorted(Path(path).name for path in facts.paths) == [
        "a-I-image.fits", "a-I-model.fits", "a-Q-image.fits", "a-Q-model.fits"
    ]  # fmt: skip
    low, high = sorted(apparent_fluxes(SOURCES[:1], np.array([120e6, 168e6]))[0])
    assert 0.85 * low < plane(tmp_path / "a", "I-image")[60, 100] < high
    assert abs(plane(tmp_path / "a", "Q-image")[60, 100]) < 0.1


def test_image_without_cleaning_is_dirty(one_set, tmp_path):
    settings = run_settings(one_set, tmp_path / "a", niter=0, products=("image", "dirty"), size=(200, 160))
    facts = image_sets(settings, scratch=tmp_path)
    assert (facts.majors, facts.iterations, facts.reason) == (0, 0, "")
    np.testing.assert_array_equal(plane(tmp_path / "a", "MFS-image"), plane(tmp_path / "a", "MFS-dirty"))
    assert plane(tmp_path / "a", "MFS-image").shape == (160, 200)


def test_scales_follow_from_beam_and_shortest_uv_distance(one_set):
    settings = run_settings(one_set, Path("a"), multiscale=True, min_uv_lambda=20.0)
    cell = settings.cell_rad
    beam = RestoringBeam(4 * cell, 4 * cell, 0.0)
    # 0.28 / 20 rad are 48.13 pixels of 60 arcsec: three steps of 1.819 from two beams.
    assert scales_of(settings, beam) == pytest.approx((0, 8, 14.55, 26.46, 48.13), abs=0.01)
    assert scales_of(run_settings(one_set, Path("a"), multiscale=True), beam) == pytest.approx((0, 8, 16, 32, 64))
    assert scales_of(run_settings(one_set, Path("a"), multiscale=True, scales=(9.0, 3.0)), beam) == (0, 3, 9)
    assert scales_of(run_settings(one_set, Path("a")), beam) == (0,)


def test_patch_is_within_image(one_set):
    assert run_settings(one_set, Path("a"), size=(100, 60)).patch_radius == 50
    assert run_settings(one_set, Path("a"), psf_radius=20).patch_radius == 20


def test_patch_holds_response_between_largest_scales(one_set):
    def radius(**options):
        return run_settings(one_set, Path("a"), size=(2000, 2000), multiscale=True, **options).patch_radius

    assert radius(scales=(0.0, 96.0)) == 173  # 1.8 x 96
    assert radius(scales=(0.0, 12.0)) == 128
    assert radius() == 256  # of scales up to a quarter of the image
