"""The numbers of quality.json, on real data and on images whose numbers are known."""

from __future__ import annotations

import json
import math
import shutil

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.tables import MeasurementSetError
from lofarpipe.imaging.quality.numbers import (
    CENTRAL_RMS_METHOD,
    expected_noise,
    header_facts,
    image_facts,
    image_weighting,
    imaged_data,
    missing_sets,
    observation_facts,
    quality,
    sets_in_image,
)
from lofarpipe.imaging.quality.sky_image import SkyImageError, read_sky_image
from made_images import image_of_real_data, write_image
from small_sets import SetShape, make_set, set_flags

SHAPE = SetShape(nantennas=6, ntimes=10)


@pytest.fixture(scope="module")
def real_quality(hba_set, tmp_path_factory):
    image = read_sky_image(image_of_real_data(hba_set, tmp_path_factory.mktemp("real_quality")))
    return quality(image, image, imaged_data([str(hba_set)]), image_weighting(image, 0, 1.2, 80, 7000))


def value(facts, name):
    return facts[name]["value"]


def test_every_number_has_value_unit_and_source(real_quality):
    facts = {name: entry for name, entry in real_quality.items() if not name.startswith("image")}
    assert all(set(entry) == {"value", "unit", "source"} and entry["source"] for entry in facts.values())
    json.dumps(real_quality, allow_nan=False)


def test_real_image_has_expected_numbers(real_quality):
    assert value(real_quality, "flagged_fraction") == pytest.approx(0.3095, abs=1e-4)
    assert value(real_quality, "integration_time") == pytest.approx(6 * 10.0139 * (1 - 0.3095), rel=1e-3)
    assert value(real_quality, "bandwidth") == pytest.approx(195312.5)
    # 8 stations for a minute: Janskys of sidelobes over a thermal noise of a fraction of a Jansky
    assert 0.05 < value(real_quality, "expected_thermal_noise") < 2
    ratio = value(real_quality, "rms") / value(real_quality, "expected_thermal_noise")
    assert value(real_quality, "measured_over_expected") == pytest.approx(ratio)
    assert value(real_quality, "dynamic_range") == pytest.approx(
        value(real_quality, "peak") / value(real_quality, "rms")
    )


def test_simulated_image_has_expected_numbers(tmp_path):
    plane = np.random.default_rng(3).normal(0, 1e-3, (256, 256))
    rows, columns = np.indices(plane.shape)
    for y, x in ((60, 60), (200, 90), (130, 220)):
        plane += 0.5 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)
    plane -= 0.1 * np.exp(-((rows - 150) ** 2 + (columns - 40) ** 2) / 8)  # an error of calibration
    corrected = plane * 2
    corrected[:32] = np.nan
    flat = read_sky_image(write_image(tmp_path / "flat.fits", plane))
    facts = image_facts(flat, read_sky_image(write_image(tmp_path / "pb.fits", corrected)))
    assert value(facts, "rms") == pytest.approx(1e-3, rel=0.02)
    assert value(facts, "rms_whole_image") == pytest.approx(1e-3, rel=0.02)
    assert value(facts, "rms_field_median") == pytest.approx(1e-3, rel=0.05)
    assert value(facts, "peak") == pytest.approx(0.5, rel=0.01)
    assert value(facts, "peak_true_sky") == pytest.approx(1.0, rel=0.01)
    assert value(facts, "source_count") == 3
    assert facts["source_count"]["source"].endswith("not deblended; negative ones, which are never sources: 1")
    assert value(facts, "blank_fraction") == pytest.approx(32 / 256)
    assert (value(facts, "beam_major"), value(facts, "beam_minor")) == pytest.approx((80, 40))
    assert value(facts, "beam_position_angle") == 30


def test_raised_noise_is_no_peak(tmp_path):
    plane = np.random.default_rng(3).normal(0, 1e-3, (256, 256))
    rows, columns = np.indices(plane.shape)
    beam = np.exp(-((rows - 128) ** 2 + (columns - 128) ** 2) / (2 * 43**2))  # 0.012 in the corners

    def peak(flat_plane):
        flat = read_sky_image(write_image(tmp_path / "flat.fits", flat_plane))
        corrected = read_sky_image(write_image(tmp_path / "pb.fits", flat_plane / beam))
        return image_facts(flat, corrected)["peak_true_sky"]

    assert peak(plane)["value"] is None
    assert peak(plane)["source"] == (
        "unknown: no pixel is above 5 x local rms in the flat-noise image, where the beam is above 0.1"
    )
    plane += 0.05 * np.exp(-((rows - 128) ** 2 + (columns - 170) ** 2) / 8)
    plane[5, 5] = 0.02  # beam 0.017
    assert (plane / beam).max() > 1
    assert peak(plane)["value"] == pytest.approx(0.05 / beam[128, 170], rel=0.05)


def test_noise_is_measured_at_centre(tmp_path):
    plane = np.random.default_rng(3).normal(0, 1e-3, (128, 128))
    plane[:32] *= 50
    plane[96:] *= 50
    image = read_sky_image(write_image(tmp_path / "a.fits", plane))
    assert value(image_facts(image, image), "rms") == pytest.approx(1e-3, rel=0.05)


def test_blank_image_is_refused(tmp_path):
    image = read_sky_image(write_image(tmp_path / "a.fits", np.full((64, 64), np.nan)))
    with pytest.raises(SkyImageError, match=r"a\.fits: every pixel is blank"):
        image_facts(image, image)


def test_blank_corrected_image_is_refused(tmp_path):
    flat = read_sky_image(write_image(tmp_path / "a.fits"))
    blank = read_sky_image(write_image(tmp_path / "pb.fits", np.full((64, 64), np.nan)))
    with pytest.raises(SkyImageError, match=r"pb\.fits: every pixel is blank"):
        image_facts(flat, blank)


def test_weights_of_zero_count_as_flagged(tmp_path):
    path = make_set(tmp_path / "a.MS", SHAPE, weight=0.0)
    with ct.table(path, readonly=False, ack=False) as table:
        table.putcol("WEIGHT_SPECTRUM", np.ones((105, 8, 4), np.float32), 0, 105)  # half of the slots
    assert value(observation_facts(imaged_data([path])), "flagged_fraction") == pytest.approx(0.5)


def test_integration_time_sums_only_time_blocks(tmp_path):
    def made(name, **changes):
        return make_set(tmp_path / name, SetShape(**vars(SHAPE) | changes))

    low = made("low.MS")
    high = made("high.MS", first_channel_hz=150e6)
    later = made("later.MS", start_s=SHAPE.start_s + 1000)
    set_flags(high, np.ones((210, 8), bool) * (np.arange(8) < 4))
    # 100 s each; half of high is flagged, so low and high together have 75 s
    assert imaged_data([low]).integration_time_s == pytest.approx(100)
    assert imaged_data([low, high]).integration_time_s == pytest.approx(75)
    assert imaged_data([low, later]).integration_time_s == pytest.approx(200)


def test_averaged_sets_cover_recorded_sets(tmp_path):
    def made(name, **changes):
        return make_set(tmp_path / name, SetShape(**vars(SHAPE) | changes))

    low, high = made("low.MS"), made("high.MS", first_channel_hz=150e6)
    later = made("later.MS", start_s=SHAPE.start_s + 1000)
    # low after 4 channels and 3 slots became one: centres 1.5 channels higher, the last slot beyond the end
    channels = {"nchan": 2, "channel_width_hz": 4 * 24414.0625, "first_channel_hz": 144e6 + 1.5 * 24414.0625}
    averaged = made("averaged.MS", **channels, ntimes=4, timestep_s=30.0)
    assert sets_in_image([low, high, later], [averaged]) == [low]
    assert sets_in_image([low, high, later], [later, averaged]) == [low, later]
    assert sets_in_image([], [averaged]) == []


def test_missing_recorded_sets_are_named():
    assert missing_sets(["a.MS", "b.MS", "c.MS"], ["b.MS"]) == {
        "value": 2, "unit": "", "source": "recorded sets that are not in the image: a.MS, c.MS",
    }  # fmt: skip
    assert value({"n": missing_sets(["a.MS"], ["a.MS"])}, "n") == 0


def test_missing_sets_are_refused():
    with pytest.raises(PipelineError, match="no measurement sets given"):
        imaged_data([])


def test_flagged_sets_are_refused(tmp_path, dish_set):
    shutil.copytree(dish_set, tmp_path / "flagged.MS")
    with pytest.raises(MeasurementSetError, match="are flagged; there is nothing to image"):
        imaged_data([str(tmp_path / "flagged.MS")])


def test_unknown_telescope_has_no_expected_noise(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(**vars(SHAPE) | {"telescope": "MeerKAT"}))
    image = read_sky_image(write_image(tmp_path / "a.fits"))
    facts = quality(image, image, imaged_data([path]), image_weighting(image, 0, 1.2, 0, math.inf))
    for name in ("expected_thermal_noise", "expected_survey_noise", "measured_over_expected"):
        assert value(facts, name) is None
        assert facts[name]["source"].startswith("unknown: ")


def test_zero_integration_time_has_no_survey_noise(tmp_path):
    path = make_set(tmp_path / "a.MS", SHAPE)
    image = read_sky_image(write_image(tmp_path / "a.fits"))
    observation = imaged_data([path])
    object.__setattr__(observation, "integration_time_s", 0.0)
    facts = expected_noise(observation, image_weighting(image, 0, 1.2, 0, math.inf))
    assert facts["expected_survey_noise"]["source"].startswith("unknown: bandwidth")


def test_weighting_describes_rectangular_image(tmp_path):
    image = read_sky_image(write_image(tmp_path / "a.fits", np.ones((32, 64))))
    weighting = image_weighting(image, -0.5, 1.4, 80, 7000)
    assert weighting.npix == (64, 32)
    assert math.degrees(weighting.cellsize_rad) * 3600 == pytest.approx(10)


def test_method_fits_one_card(real_quality):
    assert len(CENTRAL_RMS_METHOD) <= 68
    assert header_facts(real_quality)["RMSMETH"][0] == CENTRAL_RMS_METHOD


def test_missing_beam_gives_unknown_numbers(tmp_path):
    image = read_sky_image(write_image(tmp_path / "dirty.fits", BMAJ=0.0, BMIN=0.0))
    facts = image_facts(image, image)
    assert facts["beam_major"] == {"value": None, "unit": "arcsec", "source": "unknown: WSClean made no PSF"}
    assert value(facts, "rms") == pytest.approx(1e-3, rel=0.1)
