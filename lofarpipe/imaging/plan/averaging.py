"""Integer averaging steps from smearing limits: never coarser than the limit, never across the edge of a set."""

from __future__ import annotations

from dataclasses import dataclass

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
