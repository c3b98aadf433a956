"""How much disk an image takes before it is made: averaged sets, and WSClean's reordered visibilities."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lofarpipe.imaging.beam.formula import SPEED_OF_LIGHT_M_S, station_fwhm_deg, station_kind
from lofarpipe.imaging.ms.measurement_set import (
    SetMetadata,
    read_metadata,
    sample_set,
)
from lofarpipe.imaging.ms.tables import MeasurementSetError
from lofarpipe.imaging.plan import historical
from lofarpipe.imaging.plan.averaging import choose_freqstep, choose_timestep
from lofarpipe.imaging.plan.smearing import AveragingLimits, peak_limits, worst_limits

# Bytes that WSClean 3.1 writes per row, channel and polarisation imaged: visibility 8, weight 4, model 8; flagged ones
# and those outside the uv range too. Per row 38 more. Source: the sizes of its files in -temp-dir, with tDDECal.
REORDERED_BYTES = 12
MODEL_BYTES = 8
REORDERED_ROW_BYTES = 38
# Bytes of an averaged set per row and channel: 4 complex numbers, Dysco weights 1.5, flags 0.5; per row about 100.
# Source: a set of 425,475 rows and 20 channels took 294 MB (notes/real_tools.md, section 4).
AVERAGED_BYTES = 34
AVERAGED_ROW_BYTES = 100
SAMPLE_ROWS = 2000


@dataclass(frozen=True)
class ImagingVolume:
    """Rows and visibilities (rows x channels) of all sets together, after averaging."""

    rows: float
    visibilities: float

    def reordered_bytes(self, polarisations: int = 1, with_model: bool = True) -> float:
        """Return what WSClean writes to its temporary directory; the model is there if it cleans with -mgain < 1."""
        per_visibility = REORDERED_BYTES + (MODEL_BYTES if with_model else 0)
        return self.visibilities * polarisations * per_visibility + self.rows * REORDERED_ROW_BYTES

    @property
    def averaged_bytes(self) -> float:
        """What the averaged sets take, with Dysco weights and uncompressed visibilities of 4 correlations."""
        return self.visibilities * AVERAGED_BYTES + self.rows * AVERAGED_ROW_BYTES


@dataclass(frozen=True)
class PresentVolume(ImagingVolume):
    """Rows and visibilities of sets as they are."""

    like: SetMetadata  # the first of them


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


def least_volume(sets: Sequence[SetMetadata], wish: AveragingWish) -> ImagingVolume:
    """Return the volume that is left after as much averaging as can be expected.

    The plan itself averages no more: it weights long baselines up, and the beam is wider than at the zenith.

    Raises
    ------
    ValueError
        If the stations have no diameter.
    """
    first = min(sets, key=lambda one: one.ref_frequency_hz)
    freqstep, timestep = expected_steps(first, wish)
    # DP3 fills gaps with flagged slots.
    written = [(one.times.grid_slots * one.layout.pairs, len(one.frequencies_hz)) for one in sets]
    rows = sum(rows for rows, _ in written) / timestep
    visibilities = sum(rows * channels for rows, channels in written) / timestep / freqstep
    return ImagingVolume(rows, visibilities)


def present_volume(paths: Sequence[str]) -> PresentVolume | None:
    """Return the volume of sets as they are; None if there are none, or the first cannot be read.

    Only the first is opened: the others are taken to hold as much as their files are larger.
    """
    sizes = [table_bytes(path) for path in paths]
    if not sizes or not sizes[0]:
        return None
    try:
        first = read_metadata(paths[0])
    except MeasurementSetError:
        return None
    share = sum(sizes) / sizes[0]
    return PresentVolume(first.nrows * share, first.nrows * len(first.frequencies_hz) * share, first)


def table_bytes(path: str) -> int:
    """Return the size of the files of a set's main table; 0 where there is none."""
    try:
        with os.scandir(path) as entries:
            return sum(entry.stat().st_size for entry in entries if entry.is_file())
    except OSError:
        return 0


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
