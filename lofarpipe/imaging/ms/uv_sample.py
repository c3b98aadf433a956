"""A sample of the visibilities of an image, with their imaging weights.

A few time slots determine the uv coverage: the Earth's rotation turns each baseline in a known way, and all subbands of
a time block share it. Some slots of some subbands are read, and visibilities drawn at random between them in time and
frequency. For a small observation all visibilities are generated or read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.ms.grouping import time_blocks
from lofarpipe.imaging.ms.measurement_set import Sample, SetMetadata, sample_set
from lofarpipe.imaging.ms.tables import MeasurementSetError
from lofarpipe.imaging.plan.smearing import EARTH_ROTATION_RAD_S, SPEED_OF_LIGHT_M_S
from lofarpipe.imaging.weighting.weights import (
    GriddedDensity,
    ImageWeighting,
    briggs_from_density,
    grid_density,
    rms_baseline_lambda,
    uniform_from_density,
)
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]

SETS_PER_BLOCK = 4  # lowest, highest and two between: flags and weights vary slowly with frequency
MAX_ROWS = 100_000  # read in all
MAX_DENSITY_POINTS = 2_000_000  # visibilities drawn for the density of the uv plane
MAX_POINTS = 50_000  # visibilities kept for sums over them
# Samples per density cell: fewer underestimate the density, wider cells smooth real gaps. b_rms within 2.2 % of the
# truth in simulations of 62 stations, 0.5 to 8 h, 10 and 20 subbands; 4 and 16: within 3 %.
POINTS_PER_CELL = 8
MAX_COARSENING = 16
DRAW_SEED = 20181127  # fixed: reproducible plans


@dataclass(frozen=True, eq=False)
class SetSample:
    """Rows of one set, and the channel frequencies (Hz) of all sets it represents."""

    metadata: SetMetadata
    sample: Sample
    frequencies_hz: Floats


@dataclass(frozen=True, eq=False)
class Visibilities:
    """Drawn visibilities: ``uvw_lambda`` (n, 3), ``frequency_hz`` (n,), ``natural`` (n,), antennas (n,).

    ``natural`` is the natural weight times the number of visibilities represented.
    """

    uvw_lambda: Floats
    frequency_hz: Floats
    natural: Floats
    antenna1: NDArray[np.int64]
    antenna2: NDArray[np.int64]

    def take(self, which: NDArray[np.int64]) -> Visibilities:
        """Return the visibilities with these indices."""
        return Visibilities(
            self.uvw_lambda[which],
            self.frequency_hz[which],
            self.natural[which],
            self.antenna1[which],
            self.antenna2[which],
        )


@dataclass(frozen=True, eq=False)
class ImagingSample:
    """Visibilities within the uv range, with their weights in the image, each array (n,).

    ``cell_factor`` is the width of the density cells in uv cells of the image; 1 if ``complete``: every baseline at
    every time and frequency is included.
    """

    visibilities: Visibilities
    briggs: Floats
    uniform: Floats
    complete: bool
    cell_factor: int
    rows_read: int
    flagged_fraction: float
    longest_lambda: float = 0.0  # within the uv range, including baselines beyond the image's uv grid

    def rms_baseline_lambda(self, weights: Floats) -> float:
        """Return the weighted rms length of the projected baselines, wavelengths."""
        uvw = self.visibilities.uvw_lambda
        return rms_baseline_lambda(uvw[:, 0], uvw[:, 1], weights)

    def max_baseline_lambda(self) -> float:
        """Return the longest projected baseline, wavelengths."""
        uvw = self.visibilities.uvw_lambda
        return float(np.hypot(uvw[:, 0], uvw[:, 1]).max())


def _representatives(block: Sequence[SetMetadata]) -> list[tuple[SetMetadata, Floats]]:
    """Return some sets of a time block, each with the frequencies of the neighbouring sets it represents."""
    count = min(SETS_PER_BLOCK, len(block))
    shares = np.array_split(np.arange(len(block)), count)
    places = np.linspace(0, 1, count) if count > 1 else [0.5]
    return [
        (
            block[share[round(place * (len(share) - 1))]],
            np.concatenate([block[index].frequencies_hz for index in share]),
        )
        for share, place in zip(shares, places, strict=True)
    ]


def read_samples(sets: Sequence[SetMetadata], max_rows: int = MAX_ROWS, data_column: str = "") -> list[SetSample]:
    """Return rows of some sets of each time block, about ``max_rows`` in total.

    Entirely flagged sets are excluded. If a column is given, its non-finite visibilities count as flagged.

    Raises
    ------
    MeasurementSetError
        If nothing unflagged is found, or two sets cover the same time and frequency.
    """
    chosen = [one for block in time_blocks(sets) for one in _representatives(block)]
    share = max(1, max_rows // len(chosen))
    samples = [
        SetSample(metadata, sample_set(metadata, share, data_column), frequencies_hz)
        for metadata, frequencies_hz in chosen
    ]
    usable = [one for one in samples if not one.sample.flags.all()]
    if not usable:
        names = ", ".join(one.metadata.name for one in samples)
        raise MeasurementSetError(f"{names}: all sampled rows are flagged; there is nothing to image")
    return usable


def rotate_uvw(uvw: Floats, seconds: Floats, declination_rad: float) -> Floats:
    """Rotate baselines (n, 3) to ``seconds`` (n,) later, in the same frame and unit.

    The Earth turns them around the pole, (0, cos d, sin d) in uvw.
    """
    pole = np.array([0.0, math.cos(declination_rad), math.sin(declination_rad)])
    angle = EARTH_ROTATION_RAD_S * seconds[:, None]
    along = (uvw @ pole)[:, None] * pole
    turned: Floats = along + (uvw - along) * np.cos(angle) + np.cross(pole, uvw) * np.sin(angle)
    return turned


def _draw_places(rng: np.random.Generator, rows: int, places: int, per_row: int) -> NDArray[np.int64]:
    """Return (row, per_row) of 0 ... places - 1: all of them, or one at random from each of ``per_row`` ranges."""
    if per_row >= places:
        return np.broadcast_to(np.arange(places), (rows, places))
    place = (np.arange(per_row) + rng.random((rows, per_row))) * (places / per_row)
    return np.minimum(place.astype(np.int64), places - 1)


def _slots_per_row(one: SetSample) -> int:
    """Return the number of time slots that each row represents."""
    return max(1, round(1 / one.sample.fraction))


def _draw(one: SetSample, points_per_row: int, rng: np.random.Generator) -> Visibilities:
    """Draw unflagged visibilities from the slots and channels that one set's rows represent."""
    sample, nchan, nslots = one.sample, len(one.frequencies_hz), _slots_per_row(one)
    rows = len(sample.time_s)
    places = _draw_places(rng, rows, nslots * nchan, points_per_row)
    row = np.repeat(np.arange(rows), places.shape[1])
    slot, channel = np.divmod(places.ravel(), nchan)
    in_set = channel % sample.flags.shape[1]
    multiplicity = nchan / places.shape[1] / sample.fraction
    natural = sample.weights[row, in_set] * multiplicity
    has_weight = natural > 0
    row, slot, channel, natural = row[has_weight], slot[has_weight], channel[has_weight], natural[has_weight]
    uvw_m = sample.uvw_m[row]
    if nslots > 1:
        later_s = (slot - nslots // 2) * one.metadata.timestep_s
        uvw_m = rotate_uvw(uvw_m, later_s, one.metadata.phase_centre_rad[1])
    frequency_hz = one.frequencies_hz[channel]
    uvw_lambda = uvw_m * (frequency_hz / SPEED_OF_LIGHT_M_S)[:, None]
    return Visibilities(uvw_lambda, frequency_hz, natural, sample.antenna1[row], sample.antenna2[row])


def draw_visibilities(samples: Sequence[SetSample]) -> tuple[Visibilities, bool]:
    """Return up to about two million unflagged visibilities of the observation, and whether these are all.

    All: every baseline at every time and frequency; flags and weights still come from the rows read.
    """
    rng = np.random.default_rng(DRAW_SEED)
    points_per_row = max(1, MAX_DENSITY_POINTS // sum(len(one.sample.time_s) for one in samples))
    drawn = [_draw(one, points_per_row, rng) for one in samples]
    complete = all(_slots_per_row(one) * len(one.frequencies_hz) <= points_per_row for one in samples)
    joined = [
        np.concatenate([getattr(piece, name) for piece in drawn])
        for name in ("uvw_lambda", "frequency_hz", "natural", "antenna1", "antenna2")
    ]
    return Visibilities(*joined), complete


def _weight_density(visibilities: Visibilities, complete: bool, image: ImageWeighting) -> tuple[GriddedDensity, int]:
    """Return the density of the uv plane, in cells wide enough for the sample, and their width in image cells."""
    factor = 1
    u, v = visibilities.uvw_lambda[:, 0], visibilities.uvw_lambda[:, 1]
    while True:
        gridded = grid_density(u, v, visibilities.natural, image, factor)
        per_cell = len(u) / gridded.cells
        if complete or per_cell >= POINTS_PER_CELL or factor >= MAX_COARSENING:
            return gridded, factor
        factor = min(MAX_COARSENING, max(factor + 1, math.ceil(factor * math.sqrt(POINTS_PER_CELL / per_cell))))


def _longest(drawn: Visibilities, image: ImageWeighting) -> float:
    """Return the longest projected baseline within the uv range, wavelengths."""
    lengths = np.hypot(drawn.uvw_lambda[:, 0], drawn.uvw_lambda[:, 1])
    return float(lengths[lengths <= image.max_lambda].max(initial=0.0))


def imaging_sample(samples: Sequence[SetSample], image: ImageWeighting) -> ImagingSample:
    """Return visibilities within the uv range, with WSClean's Briggs and uniform weights.

    At most 50,000 visibilities are returned; the density behind their weights comes from up to two million.

    Raises
    ------
    ValueError
        If nothing unflagged lies within the uv range.
    """
    drawn, complete = draw_visibilities(samples)
    gridded, factor = _weight_density(drawn, complete, image)
    usable = np.flatnonzero(gridded.usable)
    if len(usable) > MAX_POINTS:
        usable = np.sort(np.random.default_rng(DRAW_SEED).choice(usable, MAX_POINTS, replace=False))
    return ImagingSample(
        visibilities=drawn.take(usable),
        briggs=briggs_from_density(drawn.natural, gridded, image.robust)[usable],
        uniform=uniform_from_density(drawn.natural, gridded)[usable],
        complete=complete,
        cell_factor=factor,
        rows_read=sum(len(one.sample.time_s) for one in samples),
        flagged_fraction=float(
            np.average(
                [one.sample.flags.mean() for one in samples], weights=[len(one.frequencies_hz) for one in samples]
            )
        ),
        longest_lambda=_longest(drawn, image),
    )
