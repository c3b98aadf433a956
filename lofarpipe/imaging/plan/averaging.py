"""Integer averaging steps from smearing limits: never coarser than the limit, never across the edge of a set."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lofarpipe.imaging.beam.formula import SPEED_OF_LIGHT_M_S, station_fwhm_deg, station_kind
from lofarpipe.imaging.ms.measurement_set import (
    SetMetadata,
    sample_set,
)
from lofarpipe.imaging.plan import historical
from lofarpipe.imaging.plan.smearing import AveragingLimits, peak_limits, worst_limits

MAX_CHANNEL_WIDTH_HZ = 2.0e6  # caps that protect tiny images, whose limits are loose
MAX_TIMESTEP_S = 120.0
MIN_OUTPUT_SLOTS = 2  # Dysco packs two time slots at least
ROUNDING = 1 + 1e-9  # a step that equals its limit is allowed


@dataclass(frozen=True)
class AveragingStep:
    """How many channels or time slots become one, and why not one more.

    ``too_coarse`` is True where the input itself is beyond the limit, so that nothing may be averaged.
    """

    step: int
    reason: str
    too_coarse: bool = False


def choose_freqstep(nchan: int, channel_width_hz: float, limit_hz: float, least_channels: int = 1) -> AveragingStep:
    """Return the largest divisor of ``nchan`` whose width is within the limit and the cap of 2 MHz.

    ``least_channels`` are left, as far as there are as many: two output channels need two channels.
    """
    if channel_width_hz > limit_hz * ROUNDING:
        return AveragingStep(1, f"the input's {channel_width_hz / 1e3:.3f} kHz are beyond the limit", too_coarse=True)
    within_hz = min(limit_hz, MAX_CHANNEL_WIDTH_HZ) * ROUNDING
    steps = [step for step in range(1, nchan + 1) if nchan % step == 0 and step * channel_width_hz <= within_hz]
    step = max(steps, default=1)
    if nchan // step < min(least_channels, nchan):
        fewer = max(step for step in steps if nchan // step >= min(least_channels, nchan))
        return AveragingStep(fewer, f"{least_channels} channels at least must be left of {nchan}")
    if step == nchan:
        return AveragingStep(step, f"all {nchan} channels of a set; averaging ends at its edge")
    bound = "the limit" if limit_hz <= MAX_CHANNEL_WIDTH_HZ else f"the cap of {MAX_CHANNEL_WIDTH_HZ / 1e6:g} MHz"
    return AveragingStep(step, f"largest divisor of {nchan} channels within {bound} of {within_hz / 1e3:.3f} kHz")


def choose_timestep(ntimes: int, timestep_s: float, limit_s: float) -> AveragingStep:
    """Return the largest number of time slots within the limit and the cap of 120 s that leaves two output slots."""
    if timestep_s > limit_s * ROUNDING:
        return AveragingStep(1, f"the input's {timestep_s:.4f} s are beyond the limit", too_coarse=True)
    within_s = min(limit_s, MAX_TIMESTEP_S) * ROUNDING
    step = max(1, int(within_s / timestep_s))
    longest = max(1, -(-ntimes // MIN_OUTPUT_SLOTS))
    if step > longest:
        return AveragingStep(longest, f"{ntimes} time slots must leave {MIN_OUTPUT_SLOTS} at least")
    bound = "the limit" if limit_s <= MAX_TIMESTEP_S else f"the cap of {MAX_TIMESTEP_S:g} s"
    return AveragingStep(step, f"largest number of slots within {bound} of {within_s:.4f} s")


SAMPLE_ROWS = 2000


@dataclass(frozen=True)
class AveragingWish:
    """What decides how much is averaged; the options of the same names."""

    fieldsize_highres: float = 1.5
    minlambda: float = 80.0
    maxlambda: float = 7000.0
    max_peak_smearing: float = 0.05
    smearing_criterion: str = "peak"
    averaging: str = "physics"
    station_diameter_m: float = 0.0


def expected_steps(metadata: SetMetadata, wish: AveragingWish) -> tuple[int, int]:
    """Return how many channels and time slots will at most become one."""
    nchan, width_hz = len(metadata.frequencies_hz), metadata.channel_width_hz
    if wish.averaging == "historical":
        return historical.freqstep(nchan, width_hz), historical.timestep(metadata.timestep_s)
    limits = _limits(metadata, wish)
    if limits is None:
        return 1, 1
    freqstep = choose_freqstep(nchan, width_hz, limits.channel_width_hz).step
    return freqstep, choose_timestep(metadata.ntimes, metadata.timestep_s, limits.timestep_s).step


def least_image_side(sets: Sequence[SetMetadata], wish: AveragingWish, cellsize_deg: float) -> float:
    """Return about how many pixels the image has on a side, at least: the beam is wider than at the zenith.

    Raises
    ------
    ValueError
        If the stations have no diameter.
    """
    return _field_width_deg(min(sets, key=lambda one: one.ref_frequency_hz), wish) / cellsize_deg


def _field_width_deg(metadata: SetMetadata, wish: AveragingWish) -> float:
    """Return the width of the image for stations that look at the zenith, in the middle of the band, degrees."""
    frequency_hz = float(np.mean(metadata.frequencies_hz))
    diameter_m = wish.station_diameter_m or metadata.diameter_m
    kind = station_kind(metadata.telescope, metadata.antenna_set, frequency_hz, diameter_m)
    return wish.fieldsize_highres * station_fwhm_deg(frequency_hz, diameter_m, kind.alpha)


def _limits(metadata: SetMetadata, wish: AveragingWish) -> AveragingLimits | None:
    """Return smearing limits at half the field's width, for natural weights; None if no baseline is in the uv range."""
    frequency_hz = float(np.mean(metadata.frequencies_hz))
    theta_rad = math.radians(_field_width_deg(metadata, wish)) / 2
    uvw_m = sample_set(metadata, SAMPLE_ROWS).uvw_m
    lengths = np.hypot(uvw_m[:, 0], uvw_m[:, 1]) * frequency_hz / SPEED_OF_LIGHT_M_S
    used = lengths[(lengths >= wish.minlambda) & (lengths <= wish.maxlambda)]
    if not len(used):
        return None
    if wish.smearing_criterion == "worst":
        return worst_limits(wish.max_peak_smearing, theta_rad, frequency_hz, float(used.max()))
    return peak_limits(wish.max_peak_smearing, theta_rad, frequency_hz, float(np.sqrt(np.mean(used**2))))
