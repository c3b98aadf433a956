"""What averaging will cost, predicted from the data's own uv coverage, and the steps that keep within a limit."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lofarpipe.imaging.ms.measurement_set import SetMetadata
from lofarpipe.imaging.ms.uv_sample import ImagingSample
from lofarpipe.imaging.plan.averaging import AveragingStep, choose_freqstep, choose_timestep
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


@dataclass(frozen=True)
class Baselines:
    """Lengths, in wavelengths, that set the smearing of an image.

    Weighted rms of the projected lengths for uniform and for the image's Briggs weights, the longest projected length,
    and the length that the fastest baseline seems to have in time.
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

    ``averaged`` is everything lost by the channel width and time step that the image is made from, ``given`` what of it
    the input had lost before. ``closed_form`` is the loss of a Gaussian uv distribution of the same rms baseline.
    """

    distance_rad: float
    given: PeakLoss
    averaged: PeakLoss
    closed_form: PeakLoss
    worst_baseline: float

    @property
    def added(self) -> float:
        """The loss that averaging adds: what an image of the averaged data lacks of one of the input."""
        return 1 - (1 - self.averaged.total) / (1 - self.given.total)


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
        """Return the widest channel and longest time slot by the criterion that was asked for."""
        loss = options.max_peak_smearing
        if options.smearing_criterion == "worst":
            in_frequency = worst_limits(loss, theta_rad, self.frequency_hz, self.baselines.max_lambda)
            in_time = worst_limits(loss, theta_rad, self.frequency_hz, self.baselines.turning_lambda)
            return AveragingLimits(in_frequency.channel_width_hz, in_time.timestep_s)
        limits = peak_limits(loss, theta_rad, self.frequency_hz, self.baselines.rms_uniform_lambda)
        return for_declination(limits, self.declination_rad)

    def loss(self, theta_rad: float, freqstep: int, timestep: int) -> PeakLoss:
        """Return the loss of a source's peak in the image after averaging by these steps."""
        seen = self.sample.visibilities
        return weighted_loss(
            seen.uvw_lambda,
            seen.frequency_hz,
            self.sample.briggs,
            theta_rad,
            self.declination_rad,
            freqstep * self.metadata.channel_width_hz,
            timestep * self.metadata.timestep_s,
        )

    def loss_at(self, theta_rad: float, freqstep: int, timestep: int) -> LossAt:
        """Return all that is predicted for one distance from the phase centre."""
        width_hz = freqstep * self.metadata.channel_width_hz
        slot_s = timestep * self.metadata.timestep_s
        lengths = self.baselines
        given = self.loss(theta_rad, 1, 1)
        return LossAt(
            distance_rad=theta_rad,
            given=given,
            averaged=given if freqstep == timestep == 1 else self.loss(theta_rad, freqstep, timestep),
            closed_form=closed_form_loss(lengths.rms_briggs_lambda, theta_rad, self.frequency_hz, width_hz, slot_s),
            worst_baseline=worst_baseline_loss(
                lengths.max_lambda, lengths.turning_lambda, theta_rad, self.frequency_hz, width_hz, slot_s
            ),
        )

    def losses(self, angles: FieldAngles, freqstep: int, timestep: int) -> dict[str, LossAt]:
        """Return what is predicted at half the FWHM, at the image's edge and in its corner."""
        return {
            "half_fwhm": self.loss_at(angles.half_power_rad, freqstep, timestep),
            "image_edge": self.loss_at(angles.edge_rad, freqstep, timestep),
            "image_corner": self.loss_at(angles.corner_rad, freqstep, timestep),
        }


def choose_steps(
    predictor: LossPredictor, theta_rad: float, ntimes: int, options: PlanOptions, least_channels: int = 1
) -> Steps:
    """Return the averaging steps within the limits whose predicted loss is allowed too, at every position angle.

    The limits hold for the ideal uv distribution that they were derived from; the sum over the real one decides.
    Where it is beyond what is allowed, the axis that costs more is averaged less, down to no averaging. At least
    ``least_channels`` are left of each set.
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
