"""Plausibility checks: scatter of visibilities before the run, noise and peak of an image afterwards.

Uncalibrated visibilities make an image like any other, but at a wrong scale. Findings are warnings, as none is certain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.ms.inputs import SetFinding
from lofarpipe.imaging.ms.measurement_set import SetMetadata, read_antenna_pairs
from lofarpipe.imaging.ms.survey import SetSurvey
from lofarpipe.imaging.ms.tables import MeasurementSetError, opened_field
from lofarpipe.imaging.quality.statistics import MAD_TO_SIGMA
from lofarpipe.imaging.simulation.sky import separation_deg
from lofarpipe.imaging.weighting.noise import NoiseUnknownError, visibility_rms_jy
from lofarpipe.support.utilities import flux_text

Floats = NDArray[np.float64]

# Ratio of measured and expected noise. Elevation and the Galaxy account for a factor of 2 or 3.
LOWEST_RATIO, HIGHEST_RATIO = 0.2, 5.0
# Parallel hands also contain the sky, which varies with channel; the factor allows for strong sources.
HIGHEST_PARALLEL_RATIO = 50.0
# Range of system equivalent flux densities of all telescopes, Jy: Arecibo has 3, a single dipole of an
# antenna array at 10 MHz 1e7; the square root of two is that of a baseline.
LOWEST_SEFD_JY, HIGHEST_SEFD_JY = 1.0, 1e8
LEAST_DIFFERENCE = 0.01  # relative change; Dysco's median change is smaller
SCATTER_VALUES = 50_000  # rows x channels read per set: their scatter is good to 1 %
CROSS_HANDS = ("XY", "YX", "RL", "LR")
CALIBRATED = "CORRECTED_DATA"
# log10(S / Jy) = a + b x + c x^2 with x = log10(frequency / MHz); the brightest sources of the sky, and those that are
# the brightest away from the first two. Source: Baars et al. 1977, table 5 (Cas A in 1980; Cyg A is fainter).
CAS_A, TAU_A, VIR_A = (5.625, -0.634, -0.023), (3.915, -0.299, 0.0), (5.023, -0.856, 0.0)
BRIGHTEST_DEG = ((350.86, 58.81), (299.87, 40.73))  # Cas A, Cyg A: right ascension, declination, J2000
AROUND_BRIGHTEST_DEG = 15.0
PEAK_MARGIN = 2.0  # margin for flux scales and variable sources
WIDEST_BEAM_ARCSEC = 3600.0  # in a wider beam the Galaxy is as bright as sources


def set_warnings(surveys: Iterable[SetSurvey], data_column: str) -> Iterator[SetFinding]:
    """Yield warnings about the visibilities of sets to be imaged."""
    for survey in surveys:
        if data_column not in survey.visibility_columns or not survey.usability.usable:
            continue
        try:
            yield from _set_warnings(survey, data_column)
        except MeasurementSetError as err:
            yield SetFinding(survey.path, str(err).removeprefix(f"{survey.path}: "))


def _set_warnings(survey: SetSurvey, data_column: str) -> Iterator[SetFinding]:
    beside = CALIBRATED if data_column != CALIBRATED and CALIBRATED in survey.visibility_columns else ""
    visibilities, others, antennas = _read(survey, data_column, beside)
    if _differ(visibilities, others):
        yield SetFinding(
            survey.path,
            f"data_column is {data_column}, and the set has {beside} beside it, with other values; set data_column = "
            f"{beside}, unless {data_column} holds the calibrated visibilities",
        )
    ratio, limits = scatter_ratio(survey.metadata, visibilities, antennas)
    if ratio > 0 and not limits[0] <= ratio <= limits[1]:
        expected = "what the sensitivity of its stations gives" if limits[0] < 1 else "that of a station of 1 Jy"
        without = ", or was simulated without noise" if ratio < limits[0] else ""
        observation = f"the noise of its visibilities in {data_column} is {ratio:.2g} times {expected}"
        remedy = f"it does not look calibrated to Jy{without}; calibrate it, or name another data_column"
        yield SetFinding(survey.path, f"{observation}: {remedy}", kind=remedy)


def _read(survey: SetSurvey, data_column: str, beside: str) -> tuple[NDArray[Any], NDArray[Any], tuple[Any, Any]]:
    """Return two columns in the middle of a set, (row, chan, corr), NaN where unusable, and the antennas of the rows.

    A column never written, or of another shape, counts as zeros.
    """
    metadata = survey.metadata
    nchan = len(metadata.frequencies_hz)
    with opened_field(survey.path, metadata.field_id) as table:
        rows = max(1, min(survey.layout.most_rows, SCATTER_VALUES // nchan, int(table.nrows())))
        first = (int(table.nrows()) - rows) // 2
        antennas = read_antenna_pairs(table, first, rows)
        unusable = table.getcol("FLAG", first, rows) | (antennas[0] == antennas[1])[:, None, None]
        values = table.getcol(data_column, first, rows)
        is_there = bool(beside) and table.iscelldefined(beside, first)
        others = table.getcol(beside, first, rows) if is_there else np.zeros(0, complex)
    if others.shape != values.shape:
        others = np.zeros_like(values)
    values, others = (np.where(unusable | ~np.isfinite(one), np.nan, one) for one in (values, others))
    return values, others, antennas


def _differ(visibilities: NDArray[Any], others: NDArray[Any]) -> bool:
    """Whether a column differs from another one by more than compression."""
    usable = np.isfinite(visibilities) & np.isfinite(others)
    if not others[usable].any():
        return False
    apart, size = np.abs(visibilities - others)[usable], np.abs(others)[usable]
    return bool(np.median(apart) > LEAST_DIFFERENCE * np.median(size))


def scatter_ratio(
    metadata: SetMetadata, visibilities: NDArray[Any], antennas: tuple[Any, Any]
) -> tuple[float, tuple[float, float]]:
    """Return measured over expected noise of visibilities (0 if unknown), and its plausible range.

    The noise is measured in differences of neighbouring channels, of the cross-hands if present: few sources are
    polarized, so these hardly contain the sky. Without tabulated sensitivities the expected noise is that of an SEFD of
    1 Jy.
    """
    hands = [number for number, name in enumerate(metadata.correlations) if name in CROSS_HANDS]
    limits = (LOWEST_RATIO, HIGHEST_RATIO if hands else HIGHEST_PARALLEL_RATIO)
    chosen = visibilities[:, :, hands or slice(None)]
    frequency_hz = np.full(len(chosen), metadata.frequencies_hz.mean())
    try:
        # Noise of one of n parallel hands: sqrt(n) times that of I.
        number = min(2, len(metadata.correlations))
        noise_jy = visibility_rms_jy(metadata, metadata.timestep_s, *antennas, frequency_hz) * math.sqrt(number)
    except NoiseUnknownError:
        noise_jy = np.full(len(chosen), 1 / math.sqrt(2 * metadata.channel_width_hz * metadata.timestep_s))
        limits = (LOWEST_SEFD_JY, HIGHEST_SEFD_JY)
    steps = np.diff(chosen, axis=1) / (math.sqrt(2) * noise_jy[:, None, None])
    parts = np.concatenate([steps.real.ravel(), steps.imag.ravel()])
    parts = parts[np.isfinite(parts)]
    return (MAD_TO_SIGMA * float(np.median(np.abs(parts))) if len(parts) else 0.0), limits


def highest_peak_jy(frequency_hz: float, centre_deg: tuple[float, float]) -> float:
    """Return the flux density of the brightest known source around a direction, Jy; without the Sun."""
    near = any(separation_deg(centre_deg, place) < AROUND_BRIGHTEST_DEG for place in BRIGHTEST_DEG)
    logarithm = math.log10(frequency_hz / 1e6)
    spectra = (CAS_A,) if near else (TAU_A, VIR_A)
    return PEAK_MARGIN * max(10 ** (a + b * logarithm + c * logarithm**2) for a, b, c in spectra)


def image_warnings(
    facts: Mapping[str, Any],
    centre_deg: tuple[float, float],
    data_column: str,
    columns: frozenset[str],
    is_cleaned: bool = True,
) -> list[str]:
    """Return warnings about the numbers of an image, with the likely cause.

    Parameters
    ----------
    facts
        As in quality.json.
    data_column, columns
        The imaged column of the recorded sets, and all their columns.
    is_cleaned
        In a dirty image, sidelobes exceed the noise, so that a high noise is normal.
    """
    value = {name: facts[name]["value"] for name in ("measured_over_expected", "peak", "frequency", "beam_major")}
    other = data_column != CALIBRATED and CALIBRATED in columns
    remedy = (
        f"set data_column = {CALIBRATED}, which the sets have, or calibrate them" if other else "calibrate the data"
    )
    warnings = []
    ratio = value["measured_over_expected"]
    if ratio and ratio < LOWEST_RATIO:
        warnings.append(f"the noise is {ratio:.2g} times the expected one: the data do not look calibrated; {remedy}")
    if ratio and ratio > HIGHEST_RATIO and is_cleaned:
        warnings.append(
            f"the noise is {ratio:.3g} times the expected one: the data are not, or not well, calibrated, hold "
            f"interference, or cleaning ended early (niter, auto_threshold); {remedy}, flag them, or clean deeper"
        )
    highest_jy = highest_peak_jy(value["frequency"], centre_deg)
    if value["peak"] > highest_jy and (value["beam_major"] or 0) < WIDEST_BEAM_ARCSEC:
        warnings.append(
            f"the peak is {flux_text(value['peak'])}, and no source in this direction is brighter than "
            f"{flux_text(highest_jy)}: the data are not in Jy, or some are not of the sky; {remedy}, or flag them"
        )
    return warnings
