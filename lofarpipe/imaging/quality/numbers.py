"""Quality numbers of an image: noise and expected noise, dynamic range, beam, flags, sources."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.grouping import time_blocks
from lofarpipe.imaging.ms.measurement_set import (
    SetMetadata,
    elevation_rad,
    read_metadata,
    sample_set,
    usable_exposure_s,
)
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.ms.uv_sample import SetSample, read_samples
from lofarpipe.imaging.quality.sky_image import (
    DYNAMIC_RANGE_KEY,
    INTEGRATION_TIME_KEY,
    PEAK_KEY,
    RMS_KEY,
    RMS_METHOD_KEY,
    SkyImage,
    SkyImageError,
)
from lofarpipe.imaging.quality.statistics import (
    PEAK_SIGMA,
    RMS_METHOD,
    Floats,
    central_part,
    count_sources,
    local_rms,
    robust_rms,
    tile_rms,
    tile_size,
)
from lofarpipe.imaging.weighting.noise import NoiseUnknownError, expected_rms_jy, survey_rms_jy
from lofarpipe.imaging.weighting.weights import ImageWeighting
from lofarpipe.support.dataclass import dataclass

CENTRAL_FRACTION = 0.5  # fraction of width and height: away from the edges, with a quarter of all pixels
SAMPLED_VISIBILITIES = 10_000_000  # over all sets: about 0.4 GB of flags and weights
CENTRAL_RMS_METHOD = f"{RMS_METHOD}; central half, flat noise"  # one FITS card: 68 characters
LEAST_BEAM = 0.1  # below, the correction raises noise above sources
SURVEY_BAND_HZ = (110e6, 190e6)

Fact = dict[str, Any]


def fact(value: Any, unit: str, source: str) -> Fact:
    """Return one number of quality.json, with unit and method."""
    return {"value": value, "unit": unit, "source": source}


@dataclass(frozen=True, eq=False)
class ImagedData:
    """Properties of an image's measurement sets: flags, times, and a sample of visibilities."""

    sets: tuple[SetMetadata, ...]
    samples: tuple[SetSample, ...]
    integration_time_s: float

    @property
    def flagged_fraction(self) -> float:
        """The unusable fraction of the sampled cross-correlations: flagged, without weight, or not finite."""
        unused = [float(one.sample.flags.mean()) for one in self.samples]
        sizes = [len(one.sample.time_s) / one.sample.fraction * len(one.frequencies_hz) for one in self.samples]
        return float(np.average(unused, weights=sizes))


def imaged_data(paths: Sequence[str], data_column: str = "", field: str = AUTO) -> ImagedData:
    """Return the properties of an image's measurement sets, at a cost independent of their size.

    Non-finite values of ``data_column``, if given, count as flagged.

    The integration time is the total of all time blocks; simultaneous subbands count once, weighted by bandwidth.

    Raises
    ------
    MeasurementSetError
        If a set cannot be read, two sets cover the same time and frequency, or all data are flagged.
    PipelineError
        If no set is given.
    """
    if not paths:
        raise PipelineError("measure_quality: no measurement sets given; name those that the image was made of")
    sets = tuple(read_metadata(path, field) for path in paths)
    max_rows = max(1, SAMPLED_VISIBILITIES // max(len(metadata.frequencies_hz) for metadata in sets))
    samples = tuple(read_samples(sets, max_rows, data_column))
    share = max(1, max_rows // len(sets))
    exposures_s = {one.path: usable_exposure_s(one, sample_set(one, share, data_column)) for one in sets}
    integration_time_s = 0.0
    for block in time_blocks(sets):
        widths = [one.bandwidth_hz for one in block]
        integration_time_s += float(np.average([exposures_s[one.path] for one in block], weights=widths))
    return ImagedData(sets, samples, integration_time_s)


def sets_in_image(recorded: Sequence[str], imaged: Sequence[str], field: str = AUTO) -> list[str]:
    """Return the recorded sets contained in the imaged ones, without failed sets or time blocks.

    An imaged set contains a recorded one if it covers the middle time and, with one of its channels, the first channel:
    averaged and concatenated sets cover their inputs.

    Raises
    ------
    MeasurementSetError
        If a set cannot be read.
    """
    wholes = [read_metadata(path) for path in imaged]
    parts = [read_metadata(path, field) for path in recorded]
    return [part.path for part in parts if any(_covers(imaged_set, part) for imaged_set in wholes)]


def _covers(imaged_set: SetMetadata, part: SetMetadata) -> bool:
    middle_s = (part.start_s + part.end_s) / 2
    away_hz = float(np.abs(imaged_set.frequencies_hz - part.frequencies_hz[0]).min())
    return imaged_set.start_s <= middle_s <= imaged_set.end_s and away_hz <= imaged_set.channel_width_hz / 2


def missing_sets(recorded: Sequence[str], imaged: Sequence[str]) -> Fact:
    """Return number and names of recorded sets missing in the image."""
    lacking = [path for path in recorded if path not in imaged]
    return fact(len(lacking), "", f"recorded sets that are not in the image: {', '.join(lacking) or 'none'}")


def image_weighting(
    image: SkyImage, robust: float, padding: float, min_lambda: float, max_lambda: float
) -> ImageWeighting:
    """Return the weighting of an image: size and cell from its header, the rest from WSClean's arguments."""
    x_axis, y_axis = image.axis("RA"), image.axis("DEC")
    cellsize_rad = math.radians(abs(y_axis.increment))
    return ImageWeighting((x_axis.length, y_axis.length), cellsize_rad, robust, padding, min_lambda, max_lambda)


def measured_noise(image: SkyImage) -> dict[str, Fact]:
    """Return the noise of a flat-noise image: central, typical over the field, and global.

    Raises
    ------
    SkyImageError
        If the image is blank or constant.
    """
    tiles = tile_rms(image.plane, tile_size(image.plane, image.beam_area_pixels))
    try:
        central, everywhere = robust_rms(central_part(image.plane, CENTRAL_FRACTION)), robust_rms(image.plane)
    except ValueError as err:
        raise SkyImageError(f"{image.path}: {err}; was there any unflagged data?") from err
    return {
        "rms": fact(central, image.unit, CENTRAL_RMS_METHOD),
        "rms_whole_image": fact(everywhere, image.unit, f"{RMS_METHOD}; all of the flat-noise image"),
        "rms_field_median": fact(float(np.nanmedian(tiles)), image.unit, f"median over tiles of: {RMS_METHOD}"),
    }


def brightest(image: SkyImage) -> float:
    """Return the brightest pixel of an image, in its unit.

    Raises
    ------
    SkyImageError
        If the image is blank.
    """
    if not np.isfinite(image.plane).any():
        raise SkyImageError(f"{image.path}: every pixel is blank; was there any unflagged data?")
    return float(np.nanmax(image.plane))


def image_facts(image: SkyImage, image_pb: SkyImage) -> dict[str, Fact]:
    """Return the numbers derived from the images alone.

    Raises
    ------
    SkyImageError
        If a header lacks a key, or the image is blank.
    """
    facts = measured_noise(image)
    rms, peak = facts["rms"]["value"], brightest(image)
    noise = local_rms(image.plane, image.beam_area_pixels)
    sources, holes = count_sources(image.plane, noise), count_sources(-image.plane, noise)
    return facts | {
        "peak": fact(peak, image.unit, "brightest pixel of the flat-noise image"),
        "peak_true_sky": true_peak(image, image_pb, noise),
        "dynamic_range": fact(peak / rms, "", "peak / rms, both of the flat-noise image"),
        **beam_facts(image),
        "frequency": fact(image.frequency_hz, "Hz", "FITS header"),
        "bandwidth": fact(image.bandwidth_hz, "Hz", "FITS header: lowest to highest channel edge, gaps included"),
        "blank_fraction": fact(float(np.isnan(image_pb.plane).mean()), "", "NaN pixels of the corrected image"),
        "source_count": fact(
            sources,
            "",
            "islands above 4 x local rms with a peak above 5 x, in the flat-noise image; not deblended; negative ones, "
            f"which are never sources: {holes}",
        ),
    }


def true_peak(image: SkyImage, image_pb: SkyImage, noise: Floats) -> Fact:
    """Return the brightest source pixel of the corrected image, excluding noise raised by the correction.

    Parameters
    ----------
    noise: local noise at every pixel of the flat-noise image.

    Raises
    ------
    SkyImageError
        If the corrected image is blank.
    """
    brightest(image_pb)
    with np.errstate(invalid="ignore", divide="ignore"):
        is_source = (image.plane > PEAK_SIGMA * noise) & (image.plane > LEAST_BEAM * image_pb.plane)
    where = f"above {PEAK_SIGMA:g} x local rms in the flat-noise image, where the beam is above {LEAST_BEAM:g}"
    pixels = image_pb.plane[is_source]
    if not np.isfinite(pixels).any():
        return fact(None, image.unit, f"unknown: no pixel is {where}")
    return fact(float(np.nanmax(pixels)), image.unit, f"brightest pixel, primary-beam corrected, of those {where}")


def beam_facts(image: SkyImage) -> dict[str, Fact]:
    """Return the restoring beam; null if WSClean made no PSF."""
    numbers = (
        ("beam_major", image.beam_major_arcsec, "arcsec", ""),
        ("beam_minor", image.beam_minor_arcsec, "arcsec", ""),
        ("beam_position_angle", image.beam_angle_deg, "deg", ", north through east"),
    )
    if not image.has_beam:
        return {name: fact(None, unit, "unknown: WSClean made no PSF") for name, _, unit, _ in numbers}
    fitted = "restoring beam in the FITS header, fitted by WSClean"
    return {name: fact(value, unit, fitted + how) for name, value, unit, how in numbers}


def observation_facts(observation: ImagedData) -> dict[str, Fact]:
    """Return flagged fraction and unflagged integration time."""
    lookup = "cross-correlations: FLAG, FLAG_ROW, no positive weight, or not finite; sampled time slots"
    return {
        "flagged_fraction": fact(observation.flagged_fraction, "", lookup),
        "integration_time": fact(
            observation.integration_time_s, "s", "exposure of all time slots x usable fraction, autocorrelations out"
        ),
    }


def expected_noise(observation: ImagedData, weighting: ImageWeighting) -> dict[str, Fact]:
    """Return the expected thermal noise; if unknown, the value is null and the source has the reason."""
    formula = (
        "sqrt(sum w^2 s^2) / sum w over the visibilities: w the Briggs weights of this image, s from station "
        "sensitivities at zenith (van Haarlem et al. 2013)"
    )
    try:
        expected = fact(expected_rms_jy(observation.samples, weighting), "Jy/beam", formula)
    except NoiseUnknownError as err:
        expected = fact(None, "Jy/beam", f"unknown: {err}")
    return {"expected_thermal_noise": expected, "expected_survey_noise": _survey_noise(observation)}


def _survey_noise(observation: ImagedData) -> Fact:
    """Return the noise scaled from the LoTSS survey, for comparable images."""
    metadata = observation.sets[0]
    low_hz, high_hz = SURVEY_BAND_HZ
    if metadata.telescope.upper() != "LOFAR" or not low_hz <= metadata.frequencies_hz.mean() <= high_hz:
        return fact(None, "Jy/beam", "unknown: the survey was made with LOFAR at 120-168 MHz, this is something else")
    times_s = np.concatenate([np.linspace(one.start_s, one.end_s, 5) for one in observation.sets])
    bandwidth_hz = sum(one.bandwidth_hz for one in time_blocks(observation.sets)[0])
    try:
        value = survey_rms_jy(
            float(elevation_rad(metadata, times_s).mean()), bandwidth_hz, observation.integration_time_s, 1.0
        )
    except ValueError as err:
        return fact(None, "Jy/beam", f"unknown: {err}")
    return fact(value, "Jy/beam", "62 uJy in 8 h and 48 MHz, all Dutch stations (Shimwell et al. 2022), scaled")


def header_facts(facts: Mapping[str, Fact]) -> dict[str, tuple[Any, str]]:
    """Return the FITS keywords of noise and integration time, with comments."""
    return {
        RMS_KEY: (facts["rms"]["value"], "[Jy/beam] rms of the flat-noise image"),
        RMS_METHOD_KEY: (facts["rms"]["source"], ""),
        DYNAMIC_RANGE_KEY: (facts["dynamic_range"]["value"], "peak / rms, both of the flat-noise image"),
        PEAK_KEY: (facts["peak_true_sky"]["value"], "[Jy/beam] brightest source, beam corrected"),
        INTEGRATION_TIME_KEY: (facts["integration_time"]["value"], "[s] unflagged integration time"),
    }


def quality(
    image: SkyImage,
    image_pb: SkyImage,
    observation: ImagedData,
    weighting: ImageWeighting,
    recorded: ImagedData | None = None,
) -> dict[str, Any]:
    """Return the content of quality.json: value, unit and source of each number.

    ``image`` is the flat-noise image, ``image_pb`` the image corrected for the primary beam, ``observation`` describes
    the imaged sets. ``recorded`` describes the sets before averaging, which hides flags: if given, it supplies flagged
    fraction and integration time.

    Raises
    ------
    SkyImageError
        If a header lacks a key, or an image is blank.
    """
    facts = image_facts(image, image_pb) | observation_facts(recorded or observation)
    facts |= expected_noise(observation, weighting)
    expected = facts["expected_thermal_noise"]["value"]
    ratio = facts["rms"]["value"] / expected if expected else None
    reason = "rms / expected_thermal_noise" if expected else "unknown: no expected thermal noise"
    names = {"image": image.path, "image_pb": image_pb.path}
    return names | facts | {"measured_over_expected": fact(ratio, "", reason)}
