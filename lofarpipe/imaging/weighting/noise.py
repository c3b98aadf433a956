"""Expected thermal noise of an image, from station sensitivities and data weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.measurement_set import Sample, SetMetadata
from lofarpipe.imaging.ms.uv_sample import SetSample, draw_visibilities, imaging_sample
from lofarpipe.imaging.plan.smearing import SPEED_OF_LIGHT_M_S
from lofarpipe.imaging.weighting.weights import ImageWeighting, briggs_weights

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

# System equivalent flux density at zenith, Jy, of one polarization. Source: doc/spec/imaging.md, section 6.2.
HBA_FREQUENCIES_HZ = (120e6, 150e6, 180e6, 210e6, 240e6)
HBA_CORE_SEFD_JY = (3600.0, 2800.0, 3200.0, 3700.0, 4100.0)  # 24 tiles
LBA_FREQUENCIES_HZ = (15e6, 30e6, 45e6, 60e6, 75e6)
LBA_SEFD_JY = (483e3, 89e3, 48e3, 32e3, 51e3)  # 48 dipoles
DUTCH_PREFIXES = ("CS", "RS")
FIRST_HBA_HZ = 100e6
# Shimwell et al. 2022, LoTSS DR2: 62 uJy/beam in 8 h with 48 MHz. Source: doc/spec/imaging.md, section 6.2.
SURVEY_RMS_JY, SURVEY_BANDWIDTH_HZ, SURVEY_TIME_S, SURVEY_MIN_ELEVATION_DEG = 62e-6, 48e6, 8 * 3600.0, 40.0


class NoiseUnknownError(PipelineError):
    """The expected noise cannot be calculated: no sensitivity is known."""


def station_sefd_jy(name: str, frequency_hz: float, antenna_set: str) -> float:
    """Return the system equivalent flux density of one polarization of a LOFAR station, Jy.

    Interpolated in a table at zenith (constant beyond its ends), and inversely proportional to the number of elements
    in use: HBA core 24 tiles, remote 48 (24 in an INNER set), international 96; LBA 48 dipoles, international 96.

    Raises
    ------
    ValueError
        If the frequency is not positive.

    Source: doc/spec/imaging.md, section 6.2; numbers of elements: van Haarlem et al. 2013.
    """
    if not frequency_hz > 0:
        raise ValueError(f"frequency is {frequency_hz} Hz; a station has a sensitivity at positive frequencies")
    international = not name.startswith(DUTCH_PREFIXES)
    if frequency_hz < FIRST_HBA_HZ:
        return float(np.interp(frequency_hz, LBA_FREQUENCIES_HZ, LBA_SEFD_JY)) / (2 if international else 1)
    remote_factor = 1 if "INNER" in antenna_set.upper() else 2
    factor = 4 if international else remote_factor if name.startswith("RS") else 1
    return float(np.interp(frequency_hz, HBA_FREQUENCIES_HZ, HBA_CORE_SEFD_JY)) / factor


def survey_rms_jy(
    elevation_rad: float, bandwidth_hz: float, integration_time_s: float, unflagged_fraction: float
) -> float:
    """Return the noise of the LoTSS survey, scaled to this bandwidth and time, Jy/beam.

    62 uJy / cos^2(90 deg - elevation), elevation at least 40 deg, scaled with the root of bandwidth, time and unflagged
    data. Measured on images of all Dutch stations at 120-168 MHz: it includes the losses of a survey by calibration.

    Raises
    ------
    ValueError
        If bandwidth, time or unflagged fraction is not positive.

    Source: Shimwell et al. 2022; doc/spec/imaging.md, section 6.2.
    """
    if min(bandwidth_hz, integration_time_s, unflagged_fraction) <= 0:
        raise ValueError(
            f"bandwidth {bandwidth_hz} Hz, time {integration_time_s} s, unflagged {unflagged_fraction}; "
            "all must be positive"
        )
    elevation_deg = max(math.degrees(elevation_rad), SURVEY_MIN_ELEVATION_DEG)
    projection = math.cos(math.radians(90 - elevation_deg)) ** 2
    amount = bandwidth_hz / SURVEY_BANDWIDTH_HZ * integration_time_s / SURVEY_TIME_S * unflagged_fraction
    return SURVEY_RMS_JY / projection / math.sqrt(amount)


def visibility_rms_jy(
    metadata: SetMetadata, exposure_s: float, antenna1: Numbers, antenna2: Numbers, frequency_hz: Floats
) -> Floats:
    """Return the Stokes I noise of visibilities, per real or imaginary part, Jy; all arrays (n,).

    sqrt(SEFD_p SEFD_q / (2 bandwidth time)) for one polarization; I = (XX + YY) / 2 has 1 / sqrt(2) of that.

    Raises
    ------
    NoiseUnknownError
        If the telescope is not LOFAR: other sensitivities are not tabulated.

    Source: Thompson, Moran & Swenson 2017, eq. 6.50 (system noise of a correlator).
    """
    if metadata.telescope.upper() != "LOFAR":
        raise NoiseUnknownError(f"{metadata.path}: telescope {metadata.telescope} has no table of sensitivities here")
    frequencies_hz, channel = np.unique(frequency_hz, return_inverse=True)
    sefd_jy = np.array(
        [[station_sefd_jy(name, hz, metadata.antenna_set) for hz in frequencies_hz] for name in metadata.antenna_names]
    )
    polarizations = 2 if len(metadata.correlations) > 1 else 1
    amount = 2 * polarizations * metadata.channel_width_hz * exposure_s
    noise: Floats = np.sqrt(sefd_jy[antenna1, channel] * sefd_jy[antenna2, channel] / amount)
    return noise


def baselines_lambda(metadata: SetMetadata, sample: Sample) -> tuple[Floats, Floats]:
    """Return u and v of sampled visibilities, each (row, chan), in wavelengths."""
    per_metre = metadata.frequencies_hz / SPEED_OF_LIGHT_M_S
    return sample.uvw_m[:, 0, None] * per_metre, sample.uvw_m[:, 1, None] * per_metre


def unflagged_number(samples: Sequence[SetSample]) -> float:
    """Return the number of unflagged visibilities represented by the samples."""
    number = 0.0
    for one in samples:
        usable = float(1 - one.sample.flags.mean())
        number += len(one.sample.time_s) / one.sample.fraction * len(one.frequencies_hz) * usable
    return number


def expected_rms_jy(samples: Sequence[SetSample], weighting: ImageWeighting) -> float:
    """Return the thermal noise of an observation's image, Jy/beam, for the imager's weights.

    sqrt(sum w^2 s^2) / sum w over all visibilities, w the Briggs weight and s the noise of each. A drawn visibility
    represents m visibilities, with the sum of their weights: it contributes w^2 s^2 / m.

    Raises
    ------
    NoiseUnknownError
        If the telescope's sensitivity is not known, or if no unflagged visibility is within the uv range.

    Source: propagation of independent errors.
    """
    metadata = samples[0].metadata  # sets imaged together agree in the properties used here
    exposure_s = float(np.mean([one.sample.exposure_s for one in samples]))
    drawn, _ = draw_visibilities(samples)
    noise_jy = visibility_rms_jy(metadata, exposure_s, drawn.antenna1, drawn.antenna2, drawn.frequency_hz)
    u_lambda, v_lambda = drawn.uvw_lambda[:, 0], drawn.uvw_lambda[:, 1]
    try:
        coarsening = imaging_sample(samples, weighting).cell_factor
        weights = briggs_weights(u_lambda, v_lambda, drawn.natural, weighting, coarsening)
    except ValueError as err:
        raise NoiseUnknownError(f"{metadata.path}: {err}") from err
    multiplicity = unflagged_number(samples) / len(drawn.natural)
    return math.sqrt(float((weights**2 * noise_jy**2).sum()) / multiplicity) / float(weights.sum())
