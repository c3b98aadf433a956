"""The picture of an image: its elements."""

from __future__ import annotations

import math

import matplotlib.image
import numpy as np
import pytest
from matplotlib.patches import Ellipse

from lofarpipe.imaging.quality.figures import save_figure
from lofarpipe.imaging.quality.plot import draw_image, format_flux, image_title, plot_image, plot_rms
from lofarpipe.imaging.quality.sky_image import SkyImageError, read_sky_image
from made_images import measured, write_image


@pytest.fixture
def image(tmp_path):
    return read_sky_image(measured(tmp_path / "a.fits"))


def drawn(image, rms=1e-3):
    return draw_image(image, rms, "flat-noise image").axes


def test_grey_scale_is_minus_4_to_16_rms(image):
    axes, bar = drawn(image, 2e-3)
    assert axes.images[0].get_clim() == pytest.approx((-8e-3, 32e-3))
    assert bar.get_ylabel() == "mJy/beam"
    assert [text.get_text() for text in bar.get_yticklabels()][::5] == ["-8  (-4 rms)", "32  (16 rms)"]


@pytest.mark.parametrize(("rms", "unit"), [(0.5, "Jy/beam"), (2e-3, "mJy/beam"), (5e-6, "\u03bcJy/beam")])
def test_colour_bar_has_a_fitting_unit(image, rms, unit):
    assert drawn(image, rms)[1].get_ylabel() == unit


def test_beam_ellipse_has_size_and_angle(image):
    (beam,) = [patch for patch in drawn(image)[0].patches if isinstance(patch, Ellipse)]
    assert (beam.width, beam.height) == pytest.approx((4, 8))  # 40 x 80 arcsec in pixels of 10
    assert beam.angle == 30


def test_small_beam_is_enlarged_with_label(tmp_path):
    image = read_sky_image(measured(tmp_path / "a.fits", BMAJ=2 / 3600, BMIN=1 / 3600))
    axes, _ = drawn(image)
    (beam,) = [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    enlarged = math.ceil(0.016 * 128 / 0.2)
    assert beam.height == pytest.approx(0.2 * enlarged)
    assert f"beam, {enlarged} x enlarged" in [text.get_text() for text in axes.texts]


def test_axes_have_world_coordinates(image):
    axes, _ = drawn(image)
    assert [coordinate.get_axislabel() for coordinate in axes.coords] == [
        "Right ascension (J2000)",
        "Declination (J2000)",
    ]
    assert axes.wcs.wcs.crval[1] == 34.5


def test_title_contains_image_numbers(image):
    title = image_title(image, 1e-3, "flat-noise image")
    for part in (
        "a.fits",
        "144.000 MHz",
        "48.00 MHz wide",
        "rms 1 mJy/beam",
        "80.0″ x 40.0″",
        "PA 30°",
        "1.00 h",
        "range 77",
    ):
        assert part in title


def test_title_ignores_raised_noise(tmp_path):
    plane = np.random.default_rng(7).normal(0, 1e-3, (128, 128))
    plane[3, 3] = 9.0
    for header, words in (({}, "no source above 5 rms"), ({"PEAKSKY": 0.25}, "peak 250 mJy/beam")):
        title = image_title(read_sky_image(measured(tmp_path / "a.fits", plane=plane, **header)), 1e-3, "as given")
        assert words in title
        assert "9 Jy" not in title
    unmeasured = read_sky_image(write_image(tmp_path / "a.fits", plane))
    assert "highest pixel 9 Jy/beam" in image_title(unmeasured, 1e-3, "as given")


def test_narrow_band_is_in_khz(tmp_path):
    image = read_sky_image(write_image(tmp_path / "a.fits", CDELT3=195312.5))
    title = image_title(image, 1e-3, "as given")
    assert "195.3 kHz wide" in title
    assert "dynamic range" not in title
    assert "unflagged" not in title


def test_rms_comes_from_the_header(image):
    assert plot_rms(image) == (1e-3, "flat-noise image")


def test_missing_rms_is_measured(tmp_path):
    rms, origin = plot_rms(read_sky_image(write_image(tmp_path / "a.fits")))
    assert rms == pytest.approx(1e-3, rel=0.05)
    assert origin == "middle of this image"


def test_constant_image_cannot_be_drawn(tmp_path):
    with pytest.raises(SkyImageError, match=r"same value.*; there is nothing to draw"):
        plot_rms(read_sky_image(write_image(tmp_path / "a.fits", np.zeros((32, 32)))))


def test_blank_image_cannot_be_drawn(tmp_path):
    with pytest.raises(SkyImageError, match="every pixel is blank; there is nothing to draw"):
        drawn(read_sky_image(measured(tmp_path / "a.fits", plane=np.full((32, 32), np.nan))))


@pytest.mark.parametrize(
    ("flux", "text"), [(5.87, "5.87 Jy/beam"), (2.64e-3, "2.64 mJy/beam"), (6.2e-5, "62 μJy/beam"), (0, "0 μJy/beam")]
)
def test_flux_has_si_prefix(flux, text):
    assert format_flux(flux) == text


def test_picture_is_written_and_not_empty(tmp_path):
    plane = np.random.default_rng(1).normal(0, 1e-3, (128, 192))
    plane[:20] = np.nan
    outfile = tmp_path / "a.png"
    plot_image(read_sky_image(measured(tmp_path / "a.fits", plane=plane)), outfile)
    picture = matplotlib.image.imread(outfile)
    assert min(picture.shape[:2]) > 800
    assert picture[..., :3].std() > 0.05
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.fits", "a.png"]


def test_rms_option_is_used(image, tmp_path):
    plot_image(image, tmp_path / "a.png", rms=0.5)
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_unfinished_picture_is_removed(tmp_path):
    class Broken:
        def savefig(self, path, **keywords):
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        save_figure(Broken(), tmp_path / "a.png", 100)
    assert list(tmp_path.iterdir()) == []


def test_image_without_beam_has_no_ellipse(tmp_path):
    image = read_sky_image(measured(tmp_path / "dirty.fits", BMAJ=0.0, BMIN=0.0, BPA=0.0))
    axes, _ = drawn(image)
    assert not [patch for patch in axes.patches if isinstance(patch, Ellipse)]
    assert axes.get_xlim() == (-0.5, 127.5)
    assert image_title(image, 1e-3, "as given").endswith("beam not known: no PSF was made")
