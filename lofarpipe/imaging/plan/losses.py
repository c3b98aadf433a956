"""Predicted averaging losses from the observed uv coverage, and averaging steps within a limit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lofarpipe.imaging.beam.station import SPEED_OF_LIGHT_M_S
from lofarpipe.imaging.beam.width import station_fwhm_deg, station_kind
from lofarpipe.imaging.ms.measurement_set import (
    SetMetadata,
    sample_set,
)
from lofarpipe.imaging.ms.uv_sample import ImagingSample
from lofarpipe.imaging.plan import historical
from lofarpipe.imaging.plan.options import PlanOptions
from lofarpipe.imaging.plan.sizes import FieldAngles
from lofarpipe.imaging.plan.smearing import (
    AveragingLimits,
    PeakLoss,
    closed_form_loss,
    for_declination,
    max_turning_lambda,
    peak_limits,
    weighted_loss,
    worst_baseline_loss,
    worst_limits,
)
from lofarpipe.support.dataclass import dataclass

MAX_CHANNEL_WIDTH_HZ = 2.0e6  # caps for tiny images, whose smearing limits are loose
MAX_TIMESTEP_S = 120.0
MIN_OUTPUT_SLOTS = 2  # Dysco packs two time slots at least
ROUNDING = 1 + 1e-9  # tolerance: a step equal to its limit is allowed


@dataclass(frozen=True)
class AveragingStep:
    """Number of channels or time slots averaged into one, and the reason for it.

    ``too_coarse``: the input itself exceeds the limit, so nothing may be averaged.
    """

    step: int
    reason: str
    too_coarse: bool = False


def choose_freqstep(nchan: int, channel_width_hz: float, limit_hz: float, least_channels: int = 1) -> AveragingStep:
    """Return the largest divisor of ``nchan`` whose width is within the limit and the cap of 2 MHz.

    ``least_channels`` remain, if there are as many: two output channels need two channels.
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
    """The options that determine averaging, under the same names."""

    fieldsize_highres: float = 1.5
    minlambda: float = 80.0
    maxlambda: float = 7000.0
    max_peak_smearing: float = 0.05
    smearing_criterion: str = "peak"
    averaging: str = "physics"
    station_diameter_m: float = 0.0


def expected_steps(metadata: SetMetadata, wish: AveragingWish) -> tuple[int, int]:
    """Return upper bounds of the averaging steps in channels and time slots."""
    nchan, width_hz = len(metadata.frequencies_hz), metadata.channel_width_hz
    if wish.averaging == "historical":
        return historical.freqstep(nchan, width_hz), historical.timestep(metadata.timestep_s)
    limits = _limits(metadata, wish)
    if limits is None:
        return 1, 1
    freqstep = choose_freqstep(nchan, width_hz, limits.channel_width_hz).step
    return freqstep, choose_timestep(metadata.ntimes, metadata.timestep_s, limits.timestep_s).step


def least_image_side(sets: Sequence[SetMetadata], wish: AveragingWish, cellsize_deg: float) -> float:
    """Return a lower bound of the image's side in pixels: off the zenith the beam is wider.

    Raises
    ------
    ValueError
        If the stations have no diameter.
    """
    return _field_width_deg(min(sets, key=lambda one: float(one.frequencies_hz.min())), wish) / cellsize_deg


def _field_width_deg(metadata: SetMetadata, wish: AveragingWish) -> float:
    """Return the width of the image for a zenith pointing at mid-band, degrees."""
    frequency_hz = float(np.mean(metadata.frequencies_hz))
    diameter_m = wish.station_diameter_m or metadata.diameter_m
    kind = station_kind(metadata.telescope, metadata.antenna_set, frequency_hz, diameter_m)
    return wish.fieldsize_highres * station_fwhm_deg(frequency_hz, diameter_m, kind.alpha)


def _limits(metadata: SetMetadata, wish: AveragingWish) -> AveragingLimits | None:
    """Return smearing limits at half the field's width for natural weights; None without baselines in the uv range."""
    frequency_hz = float(np.mean(metadata.frequencies_hz))
    theta_rad = math.radians(_field_width_deg(metadata, wish)) / 2
    uvw_m = sample_set(metadata, SAMPLE_ROWS).uvw_m
    lengths = np.hypot(uvw_m[:, 0], uvw_m[:, 1]) * frequency_hz / SPEED_OF_LIGHT_M_S
    in_range = lengths[(lengths >= wish.minlambda) & (lengths <= wish.maxlambda)]
    if not len(in_range):
        return None
    if wish.smearing_criterion == "worst":
        return worst_limits(wish.max_peak_smearing, theta_rad, frequency_hz, float(in_range.max()))
    return peak_limits(wish.max_peak_smearing, theta_rad, frequency_hz, float(np.sqrt(np.mean(in_range**2))))


@dataclass(frozen=True)
class Baselines:
    """Baseline lengths, in wavelengths, that determine smearing.

    Weighted rms of the projected lengths for uniform and for the image's Briggs weights, the longest projected length,
    and the effective length of the fastest baseline for time smearing.
    """

    rms_uniform_lambda: float
    rms_briggs_lambda: float
    max_lambda: float
    turning_lambda: float


@dataclass(frozen=True)
class Steps:
    """Averaging in frequency and in time."""

    frequency: AveragingStep
    time: AveragingStep


@dataclass(frozen=True)
class LossAt:
    """Predicted losses at one distance from the phase centre.

    ``averaged`` is the loss at the image's channel width and time step, ``unaveraged`` that of the input.
    ``closed_form`` is the loss for a Gaussian uv distribution of the same rms baseline.
    """

    distance_rad: float
    unaveraged: PeakLoss
    averaged: PeakLoss
    closed_form: PeakLoss
    worst_baseline: float

    @property
    def added(self) -> float:
        """The loss added by averaging: image of the averaged data relative to one of the input."""
        return 1 - (1 - self.averaged.total) / (1 - self.unaveraged.total)


class LossPredictor:
    """Predicts the losses of one observation: its visibilities, imaging weights, channels and time slots."""

    def __init__(self, sample: ImagingSample, metadata: SetMetadata, lowest_frequency_hz: float) -> None:
        self.sample = sample
        self.metadata = metadata
        self.frequency_hz = lowest_frequency_hz
        self.declination_rad = metadata.phase_centre_rad[1]
        self.baselines = Baselines(
            rms_uniform_lambda=sample.rms_baseline_lambda(sample.uniform),
            rms_briggs_lambda=sample.rms_baseline_lambda(sample.briggs),
            max_lambda=sample.max_baseline_lambda(),
            turning_lambda=max_turning_lambda(sample.visibilities.uvw_lambda, self.declination_rad),
        )

    def limits(self, theta_rad: float, options: PlanOptions) -> AveragingLimits:
        """Return the widest channel and longest time slot by the selected criterion."""
        loss = options.max_peak_smearing
        if options.smearing_criterion == "worst":
            in_frequency = worst_limits(loss, theta_rad, self.frequency_hz, self.baselines.max_lambda)
            in_time = worst_limits(loss, theta_rad, self.frequency_hz, self.baselines.turning_lambda)
            return AveragingLimits(in_frequency.channel_width_hz, in_time.timestep_s)
        limits = peak_limits(loss, theta_rad, self.frequency_hz, self.baselines.rms_uniform_lambda)
        return for_declination(limits, self.declination_rad)

    def loss(self, theta_rad: float, freqstep: int, timestep: int) -> PeakLoss:
        """Return the loss of a source's peak after averaging by these steps."""
        visibilities = self.sample.visibilities
        return weighted_loss(
            visibilities.uvw_lambda,
            visibilities.frequency_hz,
            self.sample.briggs,
            theta_rad,
            self.declination_rad,
            freqstep * self.metadata.channel_width_hz,
            timestep * self.metadata.timestep_s,
        )

    def loss_at(self, theta_rad: float, freqstep: int, timestep: int) -> LossAt:
        """Return the predictions for one distance from the phase centre."""
        width_hz = freqstep * self.metadata.channel_width_hz
        slot_s = timestep * self.metadata.timestep_s
        lengths = self.baselines
        unaveraged = self.loss(theta_rad, 1, 1)
        return LossAt(
            distance_rad=theta_rad,
            unaveraged=unaveraged,
            averaged=unaveraged if freqstep == timestep == 1 else self.loss(theta_rad, freqstep, timestep),
            closed_form=closed_form_loss(lengths.rms_briggs_lambda, theta_rad, self.frequency_hz, width_hz, slot_s),
            worst_baseline=worst_baseline_loss(
                lengths.max_lambda, lengths.turning_lambda, theta_rad, self.frequency_hz, width_hz, slot_s
            ),
        )

    def losses(self, angles: FieldAngles, freqstep: int, timestep: int) -> dict[str, LossAt]:
        """Return the predictions for half the FWHM, the image's edge and its corner."""
        return {
            "half_fwhm": self.loss_at(angles.half_power_rad, freqstep, timestep),
            "image_edge": self.loss_at(angles.edge_rad, freqstep, timestep),
            "image_corner": self.loss_at(angles.corner_rad, freqstep, timestep),
        }


def choose_steps(
    predictor: LossPredictor, theta_rad: float, ntimes: int, options: PlanOptions, least_channels: int = 1
) -> Steps:
    """Return averaging steps within the limits and with an acceptable predicted loss at every position angle.

    The limits assume an ideal uv distribution; the sum over the real one decides. Above the limit, the costlier axis is
    averaged less, down to no averaging. At least ``least_channels`` of each set remain.
    """
    metadata = predictor.metadata
    nchan = len(metadata.frequencies_hz)
    limits = predictor.limits(theta_rad, options)
    frequency = choose_freqstep(nchan, metadata.channel_width_hz, limits.channel_width_hz, least_channels)
    time = choose_timestep(ntimes, metadata.timestep_s, limits.timestep_s)
    while frequency.step > 1 or time.step > 1:
        loss = predictor.loss(theta_rad, frequency.step, time.step)
        if loss.worst_angle <= options.max_peak_smearing:
            break
        cost = f"{frequency.step} channels x {time.step} slots would lose up to {loss.worst_angle:.2%}"
        reason = f"less than the limit allows: {cost} at the image's edge"
        if frequency.step > 1 and (loss.bandwidth >= loss.time or time.step == 1):
            smaller = max(step for step in range(1, frequency.step) if nchan % step == 0)
            frequency = replace(frequency, step=smaller, reason=reason)
        else:
            time = replace(time, step=time.step - 1, reason=reason)
    return Steps(frequency, time)
