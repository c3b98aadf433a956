"""Bandwidth and time smearing, and the limits of averaging.

Directions are direction cosines (l, m); baselines are in wavelengths at the middle of a channel and a time slot.
A loss is the lost fraction of a source's peak: 0.05 leaves 95 %.
Source of every formula here: Bridle & Schwab 1999, ASP Conf. 180, ch. 18; Thompson, Moran & Swenson, ch. 6.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]

EARTH_ROTATION_RAD_S = 7.2921159e-5  # sidereal
SPEED_OF_LIGHT_M_S = 299792458.0
LN2 = math.log(2.0)
BEAM_TIMES_BASELINE = math.sqrt(4 * LN2) / math.pi  # FWHM of a Gaussian beam times its rms baseline, 0.5300
LOW_DECLINATION_RAD = math.radians(10.0)
LOW_DECLINATION_FACTOR = 1.3  # time smearing over the polar value, simulated for HBA and LBA at 0 deg


@dataclass(frozen=True)
class AveragingLimits:
    """The widest channel and the longest time slot within a loss limit."""

    channel_width_hz: float
    timestep_s: float


@dataclass(frozen=True)
class PeakLoss:
    """The loss of the peak of a source at one distance from the phase centre, 0 to 1.

    ``bandwidth`` and ``time`` are the losses of one axis, ``total`` of both; means over position angles.
    ``worst_angle`` is the total at the worst position angle.
    """

    bandwidth: float
    time: float
    total: float
    worst_angle: float


def sinc_loss(turns: ArrayLike) -> Floats:
    """Return the loss of one visibility whose phase runs through ``turns`` turns: 1 - sin(pi x)/(pi x)."""
    loss: Floats = 1.0 - np.sinc(np.asarray(turns, float))
    return loss


def gaussian_loss(beta: float) -> float:
    """Return the loss in the image for a Gaussian uv distribution.

    1 - sqrt(pi) erf(beta sqrt(ln2)) / (2 beta sqrt(ln2)).

    ``beta`` is (channel width / frequency) * (distance / FWHM of the synthesized beam), or its counterpart in time.
    """
    scaled = beta * math.sqrt(LN2)
    if scaled < 1e-4:  # series expansion, where the quotient loses precision
        return scaled**2 / 3
    return 1.0 - math.sqrt(math.pi) / (2 * scaled) * math.erf(scaled)


def invert_sinc_loss(loss: float) -> float:
    """Return the phase change in turns at which one visibility loses ``loss``; found by bisection.

    Raises
    ------
    ValueError
        If the loss is not between 0 and 1.
    """
    if not 0 < loss < 1:
        raise ValueError(f"loss is {loss}; it must lie between 0 and 1, e.g. 0.05 for 5 %")
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if float(sinc_loss(middle)) < loss else (low, middle)
    return high


def loss_per_axis(loss: float) -> float:
    """Return the loss allowed per axis, when ``loss`` is shared equally by frequency and time."""
    return 1.0 - math.sqrt(1.0 - loss)


def phase_turns(
    baseline_lambda: float, theta_rad: float, frequency_hz: float, channel_width_hz: float, timestep_s: float
) -> tuple[float, float]:
    """Return the largest phase change, in turns, over a channel and over a time slot, of one baseline.

    b theta dnu/nu and b theta omega dt: bounds over all orientations. Use the three-dimensional length of a baseline
    at low declination.
    """
    reach = baseline_lambda * theta_rad
    return reach * channel_width_hz / frequency_hz, reach * EARTH_ROTATION_RAD_S * timestep_s


def peak_limits(loss: float, theta_rad: float, frequency_hz: float, b_rms_lambda: float) -> AveragingLimits:
    """Return the limits at which a source at ``theta_rad`` loses ``loss`` in the image.

    dnu/nu = omega dt = sqrt(12 L1) / (pi theta b_rms), with L1 the share of each axis.
    """
    share = math.sqrt(12 * loss_per_axis(loss)) / math.pi
    return _limits(share, theta_rad, frequency_hz, b_rms_lambda)


def worst_limits(loss: float, theta_rad: float, frequency_hz: float, b_max_lambda: float) -> AveragingLimits:
    """Return the limits at which no single visibility of a source at ``theta_rad`` loses more than ``loss``.

    dnu/nu = omega dt = X(L1) / (theta b_max), with sinc(X) = 1 - L1.
    """
    return _limits(invert_sinc_loss(loss_per_axis(loss)), theta_rad, frequency_hz, b_max_lambda)


def _limits(turns: float, theta_rad: float, frequency_hz: float, baseline_lambda: float) -> AveragingLimits:
    """Return the channel width and time step that let a baseline's phase run through ``turns`` turns."""
    for name, value in (("theta", theta_rad), ("frequency", frequency_hz), ("baseline length", baseline_lambda)):
        if not value > 0:
            raise ValueError(f"{name} is {value}; a positive value is needed for a smearing limit")
    relative = turns / (theta_rad * baseline_lambda)
    return AveragingLimits(relative * frequency_hz, relative / EARTH_ROTATION_RAD_S)


def for_declination(limits: AveragingLimits, declination_rad: float) -> AveragingLimits:
    """Shorten the time step near the equator, where sources cross the fringes faster.

    The time loss there is up to 1.3 times that of a polar field; above 10 deg it never exceeds the polar loss.
    """
    if abs(declination_rad) >= LOW_DECLINATION_RAD:
        return limits
    return AveragingLimits(limits.channel_width_hz, limits.timestep_s / math.sqrt(LOW_DECLINATION_FACTOR))


def closed_form_loss(
    b_rms_lambda: float, theta_rad: float, frequency_hz: float, channel_width_hz: float, timestep_s: float
) -> PeakLoss:
    """Return the loss for a Gaussian uv distribution of the same rms baseline and a field at the pole."""
    reach = theta_rad * b_rms_lambda / BEAM_TIMES_BASELINE
    bandwidth = gaussian_loss(reach * channel_width_hz / frequency_hz)
    time = gaussian_loss(reach * EARTH_ROTATION_RAD_S * timestep_s)
    total = 1 - (1 - bandwidth) * (1 - time)
    return PeakLoss(bandwidth, time, total, total)


def delay_turns(uvw_lambda: Floats, l: float, m: float) -> Floats:  # noqa: E741  # the field's own letter
    """Return u l + v m + w (n - 1), turns of phase per fractional bandwidth; ``uvw_lambda`` is (..., 3)."""
    n_minus_1 = math.sqrt(1 - l * l - m * m) - 1
    turns: Floats = uvw_lambda @ np.array([l, m, n_minus_1])
    return turns


def fringe_rate_turns_s(uvw_lambda: Floats, l: float, m: float, declination_rad: float) -> Floats:  # noqa: E741
    """Return the rate at which a source's phase turns, turns per second; ``uvw_lambda`` is (..., 3).

    omega [(w cos d - v sin d) l + u sin d m - u cos d (n - 1)]: the Earth turns the baseline around the pole.
    """
    n_minus_1 = math.sqrt(1 - l * l - m * m) - 1
    sin_d, cos_d = math.sin(declination_rad), math.cos(declination_rad)
    direction = np.array([sin_d * m - cos_d * n_minus_1, -sin_d * l, cos_d * l])
    rate: Floats = EARTH_ROTATION_RAD_S * (uvw_lambda @ direction)
    return rate


def weighted_loss(
    uvw_lambda: Floats,
    frequency_hz: Floats,
    weights: Floats,
    theta_rad: float,
    declination_rad: float,
    channel_width_hz: float,
    timestep_s: float,
    nangles: int = 12,
) -> PeakLoss:
    """Return the loss of the peak of a source at ``theta_rad`` from the phase centre, summed over visibilities.

    The sum of weight * sinc(delay) * sinc(fringe rate) over the sum of weights: the ratio of a point source's dirty
    peaks with and without averaging. ``uvw_lambda`` (row, 3) in wavelengths at ``frequency_hz`` (row,); ``weights``
    (row,) are the imaging weights. Half a circle of position angles suffices: (l, m) and (-l, -m) agree but for the w
    term.

    Raises
    ------
    ValueError
        If all weights are zero, or the direction is not on the sky.
    """
    total_weight = float(weights.sum())
    if not total_weight > 0:
        raise ValueError("all imaging weights are 0: no visibility is left within the uv range and the flags")
    if not 0 <= theta_rad < math.pi / 2:
        raise ValueError(
            f"the source is {math.degrees(theta_rad):.1f} deg from the phase centre; less than 90 deg is needed"
        )
    relative_width = channel_width_hz / frequency_hz
    radius = math.sin(theta_rad)
    losses = []
    for index in range(nangles):
        angle = math.pi * index / nangles
        east, north = radius * math.sin(angle), radius * math.cos(angle)
        over_channel = np.sinc(delay_turns(uvw_lambda, east, north) * relative_width)
        over_slot = np.sinc(fringe_rate_turns_s(uvw_lambda, east, north, declination_rad) * timestep_s)
        losses.append(
            [
                1 - float(weights @ response) / total_weight
                for response in (over_channel, over_slot, over_channel * over_slot)
            ]
        )
    bandwidth, time, total = np.mean(losses, axis=0)
    return PeakLoss(float(bandwidth), float(time), float(total), float(np.max(losses, axis=0)[2]))


def worst_baseline_loss(
    b_max_lambda: float,
    turning_lambda: float,
    theta_rad: float,
    frequency_hz: float,
    channel_width_hz: float,
    timestep_s: float,
) -> float:
    """Return the larger of the longest baseline's two losses, which peak at different position angles.

    ``turning_lambda`` is the effective length for time smearing, see `max_turning_lambda`. Beyond the first null of the
    sinc the loss is 1.
    """
    over_channel, _ = phase_turns(b_max_lambda, theta_rad, frequency_hz, channel_width_hz, timestep_s)
    _, over_slot = phase_turns(turning_lambda, theta_rad, frequency_hz, channel_width_hz, timestep_s)
    return max(float(sinc_loss(min(turns, 1.0))) for turns in (over_channel, over_slot))


def max_turning_lambda(uvw_lambda: Floats, declination_rad: float) -> float:
    """Return the largest speed of a baseline in the uv plane divided by the Earth's rotation rate, wavelengths.

    It exceeds any projected length if a long baseline is seen end-on.
    """
    u, v, w = np.moveaxis(uvw_lambda, -1, 0)
    sin_d, cos_d = math.sin(declination_rad), math.cos(declination_rad)
    return float(np.hypot(w * cos_d - v * sin_d, u * sin_d).max())
