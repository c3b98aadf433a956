"""Expected noise, against tables by hand and against images of nothing but noise."""

import math
from dataclasses import replace

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.ms.measurement_set import read_metadata, sample_visibilities
from lofarpipe.imaging.ms.uv_sample import read_samples
from lofarpipe.imaging.quality.sky_image import read_sky_image
from lofarpipe.imaging.quality.statistics import robust_rms
from lofarpipe.imaging.weighting import noise
from lofarpipe.imaging.weighting.noise import (
    NoiseUnknownError,
    expected_rms_jy,
    station_sefd_jy,
    survey_rms_jy,
    visibility_rms_jy,
)
from lofarpipe.imaging.weighting.weights import ImageWeighting
from made_images import image_with_wsclean
from small_sets import SetShape, make_set, set_flags

SHAPE = SetShape(nantennas=30, ntimes=60, timestep_s=30.0, nchan=4)
CELL_ARCSEC, NPIX = 10, 256


def weighting(robust, min_lambda=0.0, max_lambda=math.inf):
    return ImageWeighting((NPIX, NPIX), math.radians(CELL_ARCSEC / 3600), robust, 1.2, min_lambda, max_lambda)


def looked_at(*paths, max_rows=1_000_000):
    return read_samples([read_metadata(path) for path in paths], max_rows)


def noise_of_rows(path):
    """Noise of the first channel of all cross-correlations."""
    metadata, sample = read_metadata(path), sample_visibilities(path)
    frequency_hz = np.full(len(sample.time_s), metadata.frequencies_hz[0])
    return visibility_rms_jy(metadata, sample.exposure_s, sample.antenna1, sample.antenna2, frequency_hz)


def fill_with_noise(path, sigma_jy):
    """Independent noise in every correlation, sigma of real and imaginary part."""
    rng = np.random.default_rng(11)
    with ct.table(path, readonly=False, ack=False) as table:
        cells = (table.nrows(), *table.getcell("FLAG", 0).shape)
        draws = rng.normal(0, sigma_jy, (*cells, 2))
        table.putcol("DATA", (draws[..., 0] + 1j * draws[..., 1]).astype(np.complex64))


@pytest.mark.parametrize(
    ("station", "frequency_hz", "antenna_set", "sefd_jy"),
    [
        ("CS001HBA0", 150e6, "HBA_DUAL", 2800),
        ("CS001HBA0", 135e6, "HBA_DUAL", 3200),  # half-way between 3600 and 2800
        ("RS106HBA", 150e6, "HBA_DUAL", 1400),
        ("RS106HBA", 150e6, "HBA_DUAL_INNER", 2800),
        ("DE601HBA", 150e6, "HBA_DUAL_INNER", 700),
        ("CS001LBA", 60e6, "LBA_OUTER", 32000),
        ("DE601LBA", 60e6, "LBA_OUTER", 16000),
        ("CS001HBA0", 300e6, "HBA_DUAL", 4100),
    ],
)
def test_station_sensitivity_follows_table(station, frequency_hz, antenna_set, sefd_jy):
    assert station_sefd_jy(station, frequency_hz, antenna_set) == pytest.approx(sefd_jy)


def test_zero_frequency_is_refused():
    with pytest.raises(ValueError, match=r"frequency is 0\.0 Hz"):
        station_sefd_jy("CS001HBA0", 0.0, "")


@pytest.mark.parametrize(
    ("elevation_deg", "bandwidth_hz", "unflagged", "rms_ujy"),
    [(90, 48e6, 1.0, 62.00), (60, 47.65e6, 0.9, 87.458), (30, 48e6, 1.0, 150.057)],
)
def test_survey_noise_scales_with_elevation_and_bandwidth(elevation_deg, bandwidth_hz, unflagged, rms_ujy):
    found = survey_rms_jy(math.radians(elevation_deg), bandwidth_hz, 8 * 3600, unflagged)
    assert found * 1e6 == pytest.approx(rms_ujy, rel=1e-4)


def test_survey_noise_needs_positive_time():
    with pytest.raises(ValueError, match="all must be positive"):
        survey_rms_jy(1.0, 48e6, 0.0, 1.0)


def test_visibility_noise_equals_hand_calculation(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(nchan=1, ntimes=2, first_channel_hz=150e6, channel_width_hz=1e5))
    # 2800 Jy / sqrt(4 * 1e5 Hz * 10 s) = 1.4 Jy
    assert noise_of_rows(path) == pytest.approx(1.4)


def test_unknown_telescope_is_refused(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(telescope="MeerKAT", ntimes=2))
    with pytest.raises(NoiseUnknownError, match=r"a\.MS: telescope MeerKAT has no table"):
        expected_rms_jy(looked_at(path), weighting(0))


def test_empty_uv_range_is_refused(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(ntimes=2))
    with pytest.raises(NoiseUnknownError, match=r"a\.MS: no unflagged visibility lies between"):
        expected_rms_jy(looked_at(path), weighting(0, 1e6, 2e6))


def test_natural_weighting_gives_textbook_noise(tmp_path):
    """Equal weights: sigma / sqrt(number of visibilities)."""
    path = make_set(tmp_path / "a.MS", SHAPE)
    number = 30 * 29 / 2 * 60 * 4
    sigma_jy = 2956.0 / math.sqrt(4 * SHAPE.channel_width_hz * 30)  # 144 MHz: 3600 - 0.8 * 800 = 2960, channel means
    assert expected_rms_jy(looked_at(path), weighting(6)) == pytest.approx(sigma_jy / math.sqrt(number), rel=0.01)


@pytest.mark.parametrize("robust", [-1, 0])
def test_image_of_noise_has_the_expected_noise(tmp_path, robust):
    """WSClean's image of noise with the sigma of the table, a fifth of it flagged, agrees to 3 %."""
    path = make_set(tmp_path / "noise.MS", SHAPE, with_data=True)
    flags = np.random.default_rng(2).random((SHAPE.ntimes * 465, SHAPE.nchan)) < 0.2
    set_flags(path, flags)
    per_correlation_jy = math.sqrt(2) * float(noise_of_rows(path).mean())
    fill_with_noise(path, per_correlation_jy)
    options = (
        "-size",
        str(NPIX),
        str(NPIX),
        "-scale",
        f"{CELL_ARCSEC}asec",
        "-padding",
        "1.2",
        "-niter",
        "0",
        "-minuv-l",
        "300",
    )
    image = image_with_wsclean(path, tmp_path / "noise", *options, "-weight", "briggs", str(robust))
    measured = robust_rms(read_sky_image(image).plane)
    assert measured == pytest.approx(expected_rms_jy(looked_at(path), weighting(robust, 300)), rel=0.03)


@pytest.mark.parametrize(("robust", "tolerance"), [(0, 0.03), (1, 0.01)])
def test_sample_represents_the_whole(tmp_path, robust, tolerance):
    path = make_set(tmp_path / "a.MS", SetShape(nantennas=14, ntimes=600, nchan=4))
    whole = expected_rms_jy(looked_at(path), weighting(robust))
    sampled = expected_rms_jy(looked_at(path, max_rows=3000), weighting(robust))
    assert sampled == pytest.approx(whole, rel=tolerance)


def test_two_sets_have_less_noise_than_one(tmp_path):
    low = make_set(tmp_path / "low.MS", SHAPE)
    high = make_set(tmp_path / "high.MS", replace(SHAPE, first_channel_hz=144.2e6))
    one, both = expected_rms_jy(looked_at(low), weighting(6)), expected_rms_jy(looked_at(low, high), weighting(6))
    assert both == pytest.approx(one / math.sqrt(2), rel=0.01)


def test_tables_have_equal_lengths():
    assert len(noise.HBA_FREQUENCIES_HZ) == len(noise.HBA_CORE_SEFD_JY)
    assert len(noise.LBA_FREQUENCIES_HZ) == len(noise.LBA_SEFD_JY)
