"""Cells, rounds of cleaning, masks, fits and catalogues of made-up images."""

import json
import math
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.ata.images import (
    Band,
    Cleaning,
    Grid,
    ImageError,
    Images,
    are_far_apart,
    careful_clean,
    cell_arcsec,
    clean_rounds,
    correct_beam,
    count_islands,
    fit_calibrator,
    image_root,
    image_side,
    mask_rounds,
    plan_image,
    remove_images,
    windows_of,
    write_fit,
    write_island_mask,
    write_plan,
)
from made_images import CELL_DEG, gaussian_sources, write_image

BAND = Band("", ("b",), 3.0e9, 3.0e9, 328.673)


class Imager:
    """Writes images whose residual has a given noise in each call; notes how it was called."""

    def __init__(self, noises, islands=()) -> None:
        self.noises, self.islands, self.calls = list(noises), list(islands), []

    def __call__(self, root: str, grid: Grid, cleaning: Cleaning | None) -> Images:
        self.calls.append((Path(root).name, cleaning))
        noise = np.random.default_rng(len(self.calls)).normal(
            0, self.noises.pop(0) if self.noises else 1e-3, (128, 128)
        )
        number = self.islands.pop(0) if self.islands else 1
        sources = [(1.0, 20 * k - 40, 0) for k in range(number)]
        write_image(Path(f"{root}-image.fits"), noise + gaussian_sources(128, sources))
        write_image(Path(f"{root}-residual.fits"), noise)
        return Images(f"{root}-image.fits", f"{root}-residual.fits", f"{root}-pb.fits")


def test_original_rule_gives_cell_size():
    # 299792458 / 3e9 / 328.673 / 8 rad
    assert cell_arcsec("original", BAND)[0] == pytest.approx(7.84)


def test_beam_rule_gives_fifth_of_beam():
    cell, reason = cell_arcsec("beam", Band("", ("b",), 3e9, 4e9, 300.0), 40.0, 3e9)
    assert cell == 6.0
    assert "30.00 arcsec" in reason


def test_image_reaches_the_first_null():
    # 1.22 * 0.099931 / 6.1 rad = 1.1451 deg
    assert image_side(10.0, 3e9)[0] == pytest.approx(2 * 1.1451 * 360, rel=0.02)
    assert image_side(1.0, 3e9)[0] == 2048
    assert image_side(60.0, 3e9)[0] == 256


@pytest.mark.parametrize(
    ("ranges", "expected"),
    [([(3000, 3032), (3040, 3072)], False), ([(3000, 3032), (3065, 3097)], True), ([(3000, 3032)], False)],
)
def test_wide_gap_separates_tunings(ranges, expected):
    assert are_far_apart(ranges) is expected


def test_band_selects_spectral_windows(tmp_path):
    (tmp_path / "x.ms").mkdir()
    column = ct.makearrcoldesc("CHAN_FREQ", 0.0, ndim=1)
    with ct.table(str(tmp_path / "x.ms" / "SPECTRAL_WINDOW"), ct.maketabdesc([column]), nrow=3, ack=False) as windows:
        for row, first_hz in enumerate((6e9, 3e9, 3.04e9)):
            windows.putcell("CHAN_FREQ", row, first_hz + 1e6 * np.arange(32))
    assert windows_of(str(tmp_path / "x.ms"), Band("", ("b", "c"), 3e9, 3.071e9, 300.0)) == (1, 2)
    assert windows_of(str(tmp_path / "x.ms"), Band("_d", ("d",), 6e9, 6.031e9, 300.0)) == (0,)


def test_plan_measures_a_psf_and_removes_it(tmp_path):
    plan = plan_image(Band("", ("b",), 144e6, 144e6, 6000.0), "beam", tmp_path, Imager([]))
    assert plan.grid.cell_arcsec == 8.0
    assert list(tmp_path.iterdir()) == []
    original = plan_image(BAND, "original", tmp_path, Imager([]))
    write_plan(tmp_path, original.described("r", [{"noise_jy": 1}]))
    assert json.loads((tmp_path / "plan.json").read_text())["cell_arcsec"] == 7.84
    assert image_root(tmp_path, "3c286", 0.0, original.grid) == f"{tmp_path}/3c286_briggs0_7.84arcsec"


def test_constant_noise_ends_cleaning_rounds(tmp_path):
    imager = Imager([1.0, 0.1, 0.05, 0.049, 0.049])
    made, rounds = clean_rounds(str(tmp_path / "x"), Grid(10.0, 128), imager)
    assert [name for name, _ in imager.calls] == ["x_dirty", "x_clean_iter1", "x_clean_iter2", "x_clean_iter3"]
    assert made.image.endswith("x_clean_iter3-image.fits")
    assert imager.calls[1][1].threshold_jy == pytest.approx(5.0, rel=0.05)
    assert len(rounds) == 4


def test_cleaning_rounds_are_two_to_six(tmp_path):
    assert len(clean_rounds(str(tmp_path / "x"), Grid(10.0, 128), Imager([1, 1, 1, 1]))[1]) == 3
    assert len(clean_rounds(str(tmp_path / "x"), Grid(10.0, 128), Imager([0.5**k for k in range(9)]))[1]) == 7


@pytest.mark.parametrize(("islands", "rounds"), [([1, 1, 1, 1, 1], 3), ([1, 1, 2, 3, 3, 4], 4), ([0, 0], 1)])
def test_stable_islands_end_mask_rounds(tmp_path, islands, rounds):
    imager = Imager([], islands)
    made, described = mask_rounds(str(tmp_path / "t"), Grid(10.0, 128), imager, write_island_mask)
    assert len(described) == rounds
    assert imager.calls[1][1] == Cleaning(noise_sigma=1, mask_sigma=3, gain=0.6)
    if rounds > 1:
        assert imager.calls[2][1].mask == str(tmp_path / "t_mask.fits")
    assert made.image.endswith("t_clean-image.fits")


def test_mask_contains_only_sources(tmp_path):
    noise = np.random.default_rng(3).normal(0, 1e-3, (200, 200))
    image = write_image(tmp_path / "i.fits", noise + gaussian_sources(200, [(1.0, 0, 0), (0.5, 40, -30)]))
    assert write_island_mask(str(image), str(tmp_path / "m.fits")) == 2
    mask = fits.getdata(tmp_path / "m.fits")[0, 0]
    assert mask[100, 100] == mask[70, 140] == 1
    assert mask.mean() < 0.01


def test_fit_finds_flux_and_position(tmp_path):
    noise = np.random.default_rng(3).normal(0, 1e-3, (128, 128))
    image = write_image(tmp_path / "i.fits", noise + gaussian_sources(128, [(4.2, 0.4, -0.3)]))
    fit = fit_calibrator(image)
    assert fit.flux_jy == pytest.approx(4.2, abs=2e-3)
    assert fit.error_jy == pytest.approx(1e-3, rel=0.1)
    assert fit.position_deg[0] == pytest.approx(218.0 - 0.4 * CELL_DEG / math.cos(math.radians(34.5)), abs=1e-5)
    assert fit.position_deg[1] == pytest.approx(34.5 - 0.3 * CELL_DEG, abs=1e-5)
    write_fit(tmp_path, fit)
    flux, error = map(float, (tmp_path / "fitting_results.txt").read_text().split(","))
    assert (flux, error) == pytest.approx((fit.flux_jy, fit.error_jy), abs=1e-6)
    assert json.loads((tmp_path / "fitting_results.json").read_text())["systematic_fraction"] == 0.1


def test_negative_centre_is_refused(tmp_path):
    image = write_image(tmp_path / "i.fits", np.full((128, 128), -1.0))
    with pytest.raises(ImageError, match="nothing positive is in its middle"):
        fit_calibrator(image)


def test_corrected_image_has_true_fluxes(tmp_path):
    image = write_image(tmp_path / "i.fits", np.ones((512, 512)), CDELT1=-0.05, CDELT2=0.05, CRVAL3=3e9)
    correct_beam(str(image), str(tmp_path / "pb.fits"))
    corrected = fits.getdata(tmp_path / "pb.fits")[0, 0]
    assert corrected[256, 256] == 1
    # 1.2 lambda / D = 1.1264 deg; half of it is 11.26 pixels from the middle
    assert np.interp(11.264, [11, 12], corrected[256, 267:269]) == pytest.approx(2.0, rel=0.01)
    assert np.isnan(corrected[0, 0])


class DivergingImager(Imager):
    """Fails where it is to clean in large steps."""

    def __call__(self, root: str, grid: Grid, cleaning: Cleaning | None) -> Images:
        if cleaning is not None and cleaning.gain > 0.4:
            raise ImageError("the peak of the residual image rose")
        return super().__call__(root, grid, cleaning)


def test_diverging_clean_is_repeated_within_the_beam(tmp_path):
    dirty = write_image(tmp_path / "d-image.fits", np.ones((128, 128)), CDELT1=-0.02, CDELT2=0.02, CRVAL3=3e9)
    imager = DivergingImager([])
    _, reason = careful_clean(imager, str(tmp_path / "x"), Grid(72.0, 128), Cleaning(mask_sigma=3), str(dirty))
    assert reason == "the peak of the residual image rose"
    (_, cleaning), half_power = imager.calls[-1], str(tmp_path / "x_half_power.fits")
    assert cleaning == Cleaning(noise_sigma=3, mask=half_power, gain=0.4)
    # 1.2 lambda / D = 1.1264 deg is 56.3 pixels wide
    inside = fits.getdata(half_power)[0, 0]
    assert inside.sum() == pytest.approx(math.pi * 28.16**2, rel=0.02)
    assert count_islands(half_power) == 1


def test_careful_clean_keeps_islands_within_beam(tmp_path):
    keys = {"CDELT1": -0.02, "CDELT2": 0.02, "CRVAL3": 3e9}
    dirty = write_image(tmp_path / "d-image.fits", np.ones((128, 128)), **keys)
    islands = np.zeros((128, 128))
    islands[64, 70] = islands[3, 3] = 1
    mask = write_image(tmp_path / "m.fits", islands, **keys)
    careful_clean(DivergingImager([]), str(tmp_path / "x"), Grid(72.0, 128), Cleaning(mask=str(mask)), str(dirty))
    assert np.argwhere(fits.getdata(tmp_path / "x_half_power.fits")[0, 0]).tolist() == [[64, 70]]
    write_image(tmp_path / "m.fits", np.zeros((128, 128)), **keys)
    careful_clean(DivergingImager([]), str(tmp_path / "x"), Grid(72.0, 128), Cleaning(mask=str(mask)), str(dirty))
    assert fits.getdata(tmp_path / "x_half_power.fits").sum() > 1000


def test_images_of_an_earlier_run_are_removed(tmp_path):
    for name in ("t_briggs0.5_11.75arcsec_clean-image.fits", "t_briggs0.5_11.75arcsec_mask.fits", "plan.json"):
        (tmp_path / name).touch()
    remove_images(tmp_path, "t")
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
