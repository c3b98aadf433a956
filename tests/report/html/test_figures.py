"""The pictures of the page: greys that turn back into fluxes, axes and scales, figures, and undrawable images."""

from __future__ import annotations

import base64
import io
import itertools
import math
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from matplotlib.patches import Ellipse
from PIL import Image

from lofarpipe.report.html import figures as html_figures
from lofarpipe.report.html.figures import (
    FLUX_GAP,
    averaged,
    figure_preview,
    flux_ticks,
    open_plane,
    unit_of_scales,
)
from lofarpipe.report.html.page import NoPictureError, data_uri, shrunk_picture
from made_images import CELL_DEG, sky_header, write_image

SOURCE = {"distance_deg": 1.0, "ratio": 1.02, "ratio_error": 0.01, "east_arcsec": 0.5, "north_arcsec": -0.2}
SOURCE |= {"peak_loss": 0.01, "peak_loss_error": 0.002}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn, before they become text."""
    figures: list[Any] = []

    def keep(figure: Any, kind: str) -> str:
        figure.canvas.draw()
        figures.append(figure)
        return kind

    monkeypatch.setattr(html_figures, "_uri", keep)
    return figures


def text_of(uri: str) -> str:
    kind, content = uri.split(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(content).decode()


def opened(uri: str) -> Image.Image:
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(content)))


def picture_of(uri: str) -> np.ndarray:
    return np.asarray(opened(uri).convert("RGB")).astype(int)


def beam_plane(side: int = 128) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2
    return np.exp(-(x**2 + y**2) / (2 * (side / 4) ** 2))


def red_pixels(picture: np.ndarray) -> int:
    red, green, blue = np.moveaxis(picture, -1, 0)
    return int(((red > 180) & (green < 60) & (blue < 90)).sum())


def test_beam_has_a_half_power_contour(tmp_path: Path) -> None:
    assert red_pixels(picture_of(html_figures.beam_figure(write_image(tmp_path / "b.fits", beam_plane())))) > 500


@pytest.mark.filterwarnings("error")
def test_wide_beam_has_no_half_power_contour(tmp_path: Path) -> None:
    flat = write_image(tmp_path / "b.fits", 0.8 + 0.2 * beam_plane())
    assert red_pixels(picture_of(html_figures.beam_figure(flat))) == 0


def test_blank_beam_is_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(NoPictureError, match="every pixel is blank"):
        html_figures.beam_figure(write_image(tmp_path / "b.fits", np.full((8, 8), np.nan)))


def test_tile_noise_equals_pixel_noise(tmp_path: Path) -> None:
    plane = np.random.default_rng(1).normal(0, 1e-3, (480, 480))
    plane[:240] *= 3  # the southern half
    noise, distance_deg, extent = html_figures.noise_tiles(write_image(tmp_path / "a.fits", plane))
    assert noise.shape == (24, 24)
    assert np.median(noise[:12]) == pytest.approx(3e-3, rel=0.05)
    assert np.median(noise[12:]) == pytest.approx(1e-3, rel=0.05)
    # 480 cells of 10 arcsec, the reference pixel is 241: from +240.5 to -239.5 cells along right ascension.
    assert extent == pytest.approx(np.array([240.5, -239.5, -240.5, 239.5]) * 10 / 3600)
    assert distance_deg[0, 0] == pytest.approx(np.hypot(230.5, -230.5) * 10 / 3600)


def test_large_image_is_subsampled_for_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_figures, "NOISE_PIXELS", 10_000)
    plane = np.random.default_rng(1).normal(0, 1e-3, (300, 300))
    plane[:, 1::3] = plane[:, 2::3] = plane[1::3] = plane[2::3] = 7.0  # every = isqrt(90000 // 10000) = 3
    noise, _, _ = html_figures.noise_tiles(write_image(tmp_path / "a.fits", plane))
    assert np.median(noise) == pytest.approx(1e-3, rel=0.1)


def test_noise_figure_shows_expected_noise(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.fits")
    chart, expected = html_figures.noise_figures(image, 1e-3)
    assert picture_of(chart).size
    assert "expected thermal noise" in text_of(expected)
    assert "expected thermal noise" not in text_of(html_figures.noise_figures(image, None)[1])


def test_image_without_noise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoPictureError, match="no part of it has noise"):
        html_figures.noise_figures(write_image(tmp_path / "a.fits", np.zeros((64, 64))), None)


def test_smearing_is_drawn_with_and_without_measurements() -> None:
    predicted = [(0.0, 0.0), (1.0, 0.01), (2.0, 0.03)]
    assert "measured" not in text_of(html_figures.smearing_figure(predicted, []))
    text = text_of(html_figures.smearing_figure(predicted, [SOURCE]))
    assert "predicted" in text
    assert "measured" in text


def test_fluxes_and_positions_are_drawn() -> None:
    assert "measured / reference flux" in text_of(html_figures.flux_figure([SOURCE]))
    assert "a tenth of the beam" in text_of(html_figures.position_figure([SOURCE], 40.0))
    assert "a tenth of the beam" not in text_of(html_figures.position_figure([SOURCE], None))


def test_figures_are_reproducible() -> None:
    assert html_figures.flux_figure([SOURCE]) == html_figures.flux_figure([SOURCE])


def test_pictures_are_only_shrunk(tmp_path: Path) -> None:
    for side, expected in ((300, (100, 50)), (60, (60, 30))):
        Image.new("RGB", (side, side // 2), "blue").save(tmp_path / "p.png")
        picture = picture_of(shrunk_picture(tmp_path / "p.png", 100))
        assert picture.shape == (expected[1], expected[0], 3)
        assert picture[5, 5].tolist() == [0, 0, 255]


def test_text_file_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_text("no picture")
    with pytest.raises(NoPictureError, match=r"p\.png: cannot be read as a picture"):
        shrunk_picture(tmp_path / "p.png")


def test_legend_leaves_the_middle_free(drawn: list[Any]) -> None:
    html_figures.position_figure([SOURCE], 40.0)
    (axes,) = drawn[0].axes
    left, _, right, top = axes.get_legend().get_window_extent().transformed(axes.transAxes.inverted()).extents
    assert left < right < 0.5 < top


@pytest.mark.parametrize("distance_deg", [0.0, 0.2])
def test_axis_of_single_source_starts_at_centre(drawn: list[Any], distance_deg: float) -> None:
    html_figures.flux_figure([SOURCE | {"distance_deg": distance_deg}])
    left, right = drawn[0].axes[0].get_xlim()
    assert left == 0.0
    assert distance_deg < right


# ---- sky images


def test_blocks_are_averaged() -> None:
    plane = np.arange(16.0).reshape(4, 4)
    assert averaged(plane, 2).tolist() == [[2.5, 4.5], [10.5, 12.5]]  # (0 + 1 + 4 + 5) / 4, ...


def test_blocks_at_the_edges_are_smaller() -> None:
    plane = np.arange(15.0).reshape(3, 5)
    # Columns 0-1, 2-3, 4; rows 0-1, 2.
    assert averaged(plane, 2).tolist() == [[3.0, 5.0, 6.5], [10.5, 12.5, 14.0]]


def test_average_ignores_blank_pixels() -> None:
    plane = np.array([[1.0, np.nan, np.nan, np.nan], [3.0, np.nan, np.nan, np.nan]])
    with np.errstate(all="raise"):
        assert averaged(plane, 2)[0, 0] == 2
        assert np.isnan(averaged(plane, 2)[0, 1])


def test_big_endian_pixels_are_averaged() -> None:
    assert averaged(np.ones((2, 2), ">f4"), 2).tolist() == [[1.0]]


def test_greys_convert_back_to_fluxes(tmp_path: Path) -> None:
    plane = np.random.default_rng(1).normal(0, 1e-3, (64, 64))
    plane[10, 20], plane[40, 50] = 2.0, np.nan
    made = figure_preview(write_image(tmp_path / "a.fits", plane))
    greys = np.asarray(opened(made.greys))
    assert greys.shape == (64, 64)
    assert greys[63 - 10, 20] == 0  # the brightest; north is up
    assert greys[63 - 40, 50] == 255  # blank
    part = (254 - greys[::-1].astype(float)) / 254
    fluxes = made.softening_jy * np.sinh(made.lowest + (made.highest - made.lowest) * part)
    known = np.isfinite(plane)
    # Half a step: (highest - lowest) / 508 in asinh(flux / softening), the derivative of which is 1 / hypot of both.
    half_step = (made.highest - made.lowest) / 508 * np.hypot(plane, made.softening_jy)
    assert np.all(np.abs(fluxes - plane)[known] <= 1.05 * half_step[known])
    assert half_step[known].min() < 0.1 * 1e-3  # a tenth of the noise


def test_deep_holes_share_the_darkest_level(tmp_path: Path) -> None:
    plane = np.random.default_rng(1).normal(0, 1e-3, (64, 64))
    plane[0, 0] = -5.0
    made = figure_preview(write_image(tmp_path / "a.fits", plane))
    assert made.lowest == pytest.approx(math.asinh(-20 / 2))
    assert np.asarray(opened(made.greys))[63, 0] == 254


def test_large_images_are_shrunk(tmp_path: Path) -> None:
    made = figure_preview(
        write_image(tmp_path / "a.fits", np.random.default_rng(1).normal(0, 1, (50, 101))), largest_side=40
    )
    assert (made.factor, made.width, made.height) == (3, 34, 17)  # 101 / 40 -> 3; 101 / 3, 50 / 3 rounded up
    assert (made.image_width, made.image_height) == (101, 50)
    assert made.noise_jy == pytest.approx(1 / 3, rel=0.15)  # white noise: 9 pixels in a block


def test_coordinates_and_beam_come_from_the_header(tmp_path: Path) -> None:
    made = figure_preview(write_image(tmp_path / "a.fits"))
    assert made.is_sin
    assert made.reference_pixel == (65.0, 65.0)
    assert made.reference_deg == (-142.0, 34.5)
    assert made.increment_deg == pytest.approx((-CELL_DEG, CELL_DEG))
    assert made.beam_deg == pytest.approx((80 / 3600, 40 / 3600, 30.0))
    assert (made.name, made.unit) == ("a.fits", "JY/BEAM")


@pytest.mark.parametrize(
    "header", [{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, {"PC1_2": 0.1}, {"PV2_1": 0.1}, {"CRVAL1": "unknown"}]
)
def test_unsupported_projections_are_not_sin(tmp_path: Path, header: dict[str, object]) -> None:
    assert not figure_preview(write_image(tmp_path / "a.fits", **header)).is_sin


def test_image_without_beam_and_coordinates_has_a_picture(tmp_path: Path) -> None:
    made = figure_preview(write_image(tmp_path / "a.fits", without=("BMAJ", "CRPIX1")))
    assert made.beam_deg is None
    assert not made.is_sin
    assert made.reference_pixel == (0.0, 65.0)


def test_plane_is_memory_mapped(tmp_path: Path) -> None:
    plane, header = open_plane(write_image(tmp_path / "a.fits"))
    assert plane.shape == (128, 128)
    assert header["CRPIX1"] == sky_header()["CRPIX1"]
    owner = plane
    while hasattr(owner, "base") and owner.base is not None:
        owner = owner.base
    assert isinstance(owner, mmap.mmap)


@pytest.mark.parametrize(
    ("plane", "message"),
    [(np.full((8, 8), np.nan), "every pixel is blank"), (np.zeros((8, 8)), "the same value")],
)
def test_undrawable_images_are_refused(tmp_path: Path, plane: np.ndarray, message: str) -> None:
    with pytest.raises(NoPictureError, match=rf"a\.fits: .*{message}"):
        figure_preview(write_image(tmp_path / "a.fits", plane))


def test_files_without_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.fits").write_text("no FITS at all")
    with pytest.raises(NoPictureError, match=r"text\.fits: cannot be read as FITS"):
        figure_preview(tmp_path / "text.fits")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(NoPictureError, match="holds no image"):
        figure_preview(tmp_path / "empty.fits")
    with pytest.raises(NoPictureError, match="cannot be read as FITS"):
        figure_preview(tmp_path / "nowhere.fits")


def test_data_uri_is_base64() -> None:
    assert data_uri(b"abc", "text/plain") == "data:text/plain;base64,YWJj"


def test_zero_beam_is_none(tmp_path: Path) -> None:
    assert figure_preview(write_image(tmp_path / "dirty.fits", BMAJ=0.0, BMIN=0.0)).beam_deg is None


# ---- the axes of a sky image, and its scales


def sky_axes(drawn: list[Any], path: Path) -> tuple[Any, Any]:
    """The axes of the image, and those of its colour bar."""
    figure_preview(path)
    axes, bar = drawn[0].axes
    return axes, bar


def test_sky_image_has_the_coordinates_of_astropy(drawn: list[Any], tmp_path: Path) -> None:
    axes, _ = sky_axes(drawn, write_image(tmp_path / "a.fits"))
    assert [coordinate.get_axislabel() for coordinate in axes.coords] == [
        "Right ascension (J2000)",
        "Declination (J2000)",
    ]
    assert (axes.get_xlim(), axes.get_ylim()) == ((-0.5, 127.5), (-0.5, 127.5))
    # FITS counts from 1, the axes from 0: the reference value is at the reference pixel.
    assert axes.wcs.wcs_pix2world([[64, 64]], 0)[0] % 360 == pytest.approx([218.0, 34.5])


def test_averaging_preserves_coordinates(drawn: list[Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(html_figures, "DRAWN_SIDE", 50)
    plane = np.random.default_rng(1).normal(0, 1e-3, (64, 128))
    axes, _ = sky_axes(drawn, write_image(tmp_path / "a.fits", plane))
    assert axes.images[0].get_array().shape == (22, 43)  # of 3 x 3
    assert axes.get_xlim() == (-0.5, 128.5)


@pytest.mark.parametrize("header", [{"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, {"CDELT1": -2.0, "CDELT2": 2.0}])
def test_any_projection_of_the_sky_has_coordinates(drawn: list[Any], tmp_path: Path, header: dict[str, Any]) -> None:
    axes, _ = sky_axes(drawn, write_image(tmp_path / "a.fits", **header))
    assert axes.coords[0].get_axislabel() == "Right ascension (J2000)"


@pytest.mark.parametrize(
    "header",
    [
        {"CTYPE1": "XX", "CTYPE2": "YY"},
        {"CTYPE2": "VELO"},
        {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
        {"CRVAL1": "unknown"},
        {"CDELT2": 0.0},
    ],
)
def test_image_without_coordinates_is_drawn_in_pixels(drawn: list[Any], tmp_path: Path, header: dict[str, Any]) -> None:
    axes, _ = sky_axes(drawn, write_image(tmp_path / "a.fits", **header))
    assert axes.get_xlabel() == "pixels"


def test_galactic_axes_have_galactic_labels(drawn: list[Any], tmp_path: Path) -> None:
    axes, _ = sky_axes(drawn, write_image(tmp_path / "a.fits", CTYPE1="GLON-SIN", CTYPE2="GLAT-SIN"))
    assert [coordinate.get_axislabel() for coordinate in axes.coords] == ["GLON", "GLAT"]


def test_sky_image_has_its_beam(drawn: list[Any], tmp_path: Path) -> None:
    axes, _ = sky_axes(drawn, write_image(tmp_path / "a.fits"))
    (beam,) = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    assert (beam.width, beam.height, beam.angle) == pytest.approx((4, 8, 30))  # 40 x 80 arcsec in pixels of 10


def test_colour_bar_has_the_fluxes_of_the_greys(drawn: list[Any], tmp_path: Path) -> None:
    plane = np.random.default_rng(1).normal(0, 1e-3, (64, 64))
    plane[10, 20] = 2.0
    axes, bar = sky_axes(drawn, write_image(tmp_path / "a.fits", plane))
    assert bar.get_xlabel() == "mJy/beam"
    softening_jy = html_figures.SOFTENING_RMS * html_figures.robust_rms(html_figures.central_part(plane))
    shown = {text.get_text(): text.get_position()[0] for text in bar.get_xticklabels()}
    assert shown["100"] == pytest.approx(math.asinh(0.1 / softening_jy), rel=1e-3)
    assert axes.images[0].get_clim()[1] == pytest.approx(math.asinh(2 / softening_jy), rel=1e-3)


@pytest.mark.parametrize(
    ("noise_jy", "unit"), [(0.1, ("Jy/beam", 1)), (3e-3, ("mJy/beam", 1e3)), (20e-6, ("μJy/beam", 1e6))]
)
def test_unit_fits_sixteen_times_the_noise(noise_jy: float, unit: tuple[str, float]) -> None:
    assert unit_of_scales("JY/BEAM", noise_jy) == unit
    assert unit_of_scales("K", noise_jy) == ("K", 1)


def test_scales_span_the_range_of_greys(tmp_path: Path) -> None:
    plane = np.random.default_rng(1).normal(0, 1e-3, (64, 64))
    plane[10, 20] = 1.0
    made = figure_preview(write_image(tmp_path / "a.fits", plane))
    assert made.scale_unit == "mJy/beam"
    asinh, linear = ({text: at for at, _, text in made.scales[name]} for name in ("asinh", "linear"))
    # From -4 rms to the brightest pixel, and from -4 to 16 rms.
    low, high = math.asinh(-2), math.asinh(1 / made.softening_jy)
    assert asinh["100"] == pytest.approx((math.asinh(0.1 / made.softening_jy) - low) / (high - low), abs=1e-4)
    assert linear["0"] == pytest.approx(0.2)
    assert linear["5"] == pytest.approx(0.2 + 5e-3 / made.noise_jy / 20, abs=1e-4)


def test_linear_scale_has_round_ticks() -> None:
    ticks = flux_ticks(-4.0, 16.0, None)
    assert ticks == [(0.2, 0.0, "0"), (0.45, 5.0, "5"), (0.7, 10.0, "10"), (0.95, 15.0, "15")]


def test_asinh_scale_has_round_ticks() -> None:
    ticks = {text: at for at, _, text in flux_ticks(-4.0, 1000.0, 2.0)}
    # By hand: asinh(-2) = -1.4436, asinh(500) = 6.9078, asinh(50) = 4.6053, asinh(250) = 6.2146.
    assert ticks["100"] == pytest.approx((4.6053 + 1.4436) / (6.9078 + 1.4436), abs=1e-4)
    assert ticks["0"] == pytest.approx(1.4436 / 8.3514, abs=1e-4)
    assert ticks["500"] == pytest.approx((6.2146 + 1.4436) / 8.3514, abs=1e-4)
    places = sorted(ticks.values())
    assert all(after - before >= FLUX_GAP for before, after in itertools.pairwise(places))


def test_tick_labels_have_unit_and_minus() -> None:
    assert "−4" in [text for *_, text in flux_ticks(-4e-3, 4e-3, None, 1e3)]


def test_pure_noise_image_has_zero_tick() -> None:
    assert 0.0 in [flux for _, flux, _ in flux_ticks(-0.5, 0.6, 2.0)]
