"""Images made of known sources against their truth."""

from __future__ import annotations

import numpy as np
import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.quality.comparison import check_image, table_text, worst_ratio
from made_sources import CENTRE_DEG, NPIX, restored
from made_truth import FREQUENCY_HZ, TRUTH, write

NOISE_JY = 1e-4


@pytest.fixture
def images(tmp_path):
    """True-sky and flat image; the beam is 0.5 everywhere, near comes out 2 % too bright, far 1 % too faint."""
    sky = restored(1.02 * 1.25, 218.0, 48.0).pixels + restored(0.99 * 2, 218.1, 48.1).pixels
    sky = sky + np.random.default_rng(1).normal(0, 2 * NOISE_JY, (NPIX, NPIX))
    return write(tmp_path / "pb.fits", sky), write(tmp_path / "flat.fits", sky / 2)


def test_check_measures_ratio_position_and_noise(images):
    corrected, flat = images
    check = check_image(corrected, TRUTH, flat)
    near, far, outside = check.sources
    assert (near.source.name, far.source.name, outside.source.name) == ("near", "far", "outside")
    assert check.frequency_hz == FREQUENCY_HZ
    assert near.true_flux_jy == pytest.approx(1.25)  # 1 Jy * (120 / 150)^-1
    assert near.ratio == pytest.approx(1.02, abs=2e-3)
    assert far.ratio == pytest.approx(0.99, abs=2e-3)
    assert far.distance_deg == pytest.approx(0.1204, abs=1e-3)  # hypot(0.1 cos 48 deg, 0.1)
    assert check.rms_jy == pytest.approx(NOISE_JY, rel=0.1)
    assert near.noise_jy == pytest.approx(2 * check.rms_jy, rel=1e-5)
    assert near.signal_to_noise == pytest.approx(1.25 / 2e-4, rel=0.1)
    assert near.offset_arcsec < 0.1
    assert near.offset_beams == pytest.approx(near.offset_arcsec / 41.83, rel=1e-3)  # root of 50" * 35"
    assert near.widening == pytest.approx(1, abs=2e-3)


def test_missing_source_is_reported(images):
    check = check_image(*images[:1], TRUTH)
    missing = check.sources[-1]
    assert missing.fit is None
    assert np.isnan([missing.ratio, missing.offset_arcsec, missing.offset_beams, missing.widening]).all()
    (line,) = [line for line in table_text(check).splitlines() if "outside" in line]
    assert line.endswith("not found")


def test_missing_flat_image_uses_image_noise(images):
    check = check_image(images[0], TRUTH)
    assert check.rms_jy == pytest.approx(2 * NOISE_JY, rel=0.1)
    assert check.sources[0].noise_jy == pytest.approx(check.rms_jy)


def test_table_has_a_line_per_source(images):
    text = table_text(check_image(images[0], TRUTH, images[1]))
    lines = text.splitlines()
    assert len(lines) == 2 + 3 + 1
    assert lines[2].split()[:3] == ["near", "0.000", "1.2500"]
    assert float(lines[2].split()[5]) == pytest.approx(1.02, abs=2e-3)
    assert float(lines[-1].split()[1]) == pytest.approx(0.1, rel=0.1)
    assert lines[-1].endswith("mJy/beam; fluxes at 120.000 MHz")


def test_sources_are_selected_by_distance_and_brightness(images):
    check = check_image(images[0], TRUTH, images[1])
    assert [one.source.name for one in check.select_sources(0.05)] == ["near"]
    assert [one.source.name for one in check.select_sources(0.2)] == ["near", "far"]
    assert check.select_sources(0.2, signal_to_noise=1e6) == []


def test_worst_ratio_is_found(images):
    check = check_image(images[0], TRUTH, images[1])
    assert worst_ratio(check.select_sources(0.2)) == pytest.approx(0.02, abs=2e-3)
    assert worst_ratio(check.sources) == 1.0  # one is missing
    assert worst_ratio([]) == 0.0


def test_images_of_two_sizes_are_refused(images, tmp_path):
    other = write(tmp_path / "other.fits", np.ones((NPIX, NPIX + 2)))
    with pytest.raises(PipelineError, match=r"other.fits: is not of the size of .*pb.fits"):
        check_image(images[0], TRUTH, other)


def test_blank_image_is_refused(tmp_path):
    empty = write(tmp_path / "empty.fits", np.full((NPIX, NPIX), np.nan))
    with pytest.raises(PipelineError, match=r"empty.fits: every pixel is blank"):
        check_image(empty, TRUTH)


def test_centre_comes_from_header(images):
    assert TRUTH.phase_centre_deg == CENTRE_DEG
