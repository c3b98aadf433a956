"""Visibilities of one output channel in the gridder's layout; in memory, or in memory-mapped files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.averaging import Chunk
from lofarpipe.imaging.imager.bands import BandRange
from lofarpipe.imaging.plan.smearing import SPEED_OF_LIGHT_M_S
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]
GRIDDER_AXES = (1, 0, 2)  # v first, as the first axis of an image


@dataclass(eq=False)
class Channel:
    """Visibilities of an output channel; every row has a used one.

    ``vuw_m`` (row, 3) are v, u, w in metres; ``vis[pol]``, ``weights`` and ``mask`` are (row, chan), the mask 1 for
    used visibilities. ``weight_sum`` is the sum of the imaging weights, Jy^-2 times the factors of the weighting.
    ``origins`` (row, `Origin`) are kept on request only.
    """

    band: BandRange
    frequencies_hz: Floats
    vuw_m: Floats
    vis: list[NDArray[np.complex64]]
    weights: NDArray[np.float32]
    mask: NDArray[np.uint8] = field(init=False)
    weight_sum: float = field(init=False)
    count: int = field(init=False)
    natural_weight_sum: float = 0.0  # before image weighting
    origins: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        self.mask = (self.weights > 0).astype(np.uint8)
        self.weight_sum = float(self.weights.sum(dtype=np.float64))
        self.count = int(self.mask.sum(dtype=np.int64))

    def sample(self, rows: int) -> Channel:
        """Return a channel of at most ``rows`` random rows, without visibilities."""
        chosen: slice | NDArray[np.int64] = slice(None)
        if len(self.vuw_m) > rows:
            chosen = np.sort(np.random.default_rng(0).choice(len(self.vuw_m), rows, replace=False))
        return Channel(self.band, self.frequencies_hz, self.vuw_m[chosen], [], self.weights[chosen])

    @property
    def effective_count(self) -> float:
        """Effective number of visibilities: (sum w)^2 / sum w^2."""
        squares = float((self.weights**2).sum(dtype=np.float64))
        return self.weight_sum**2 / squares if squares > 0 else 0.0

    @property
    def frequency_hz(self) -> float:
        """Mean frequency."""
        return float(np.mean(self.band.frequencies_hz))

    def reach(self, half_width_rad: float) -> float:
        """Return the highest frequency, wavelengths, of a point response at ``half_width_rad`` from the centre."""
        if self.count == 0:
            return 0.0
        per_angle = half_width_rad / np.sqrt(max(1 - half_width_rad**2, 0.1))
        uv_m = np.hypot(self.vuw_m[:, 0], self.vuw_m[:, 1])
        return float((uv_m + np.abs(self.vuw_m[:, 2]) * per_angle).max() * self.frequencies_hz[-1] / SPEED_OF_LIGHT_M_S)


class Origin(IntEnum):
    """Columns of the origins of averaged rows, for the stations' beams."""

    NODE = 0  # fractional index of the time in a list of beam times
    FIRST = 1  # index of the first station of the baseline
    SECOND = 2
    SPREAD_S = 3  # standard deviation of the averaged times
    SPREAD_HZ = 4  # of the averaged frequencies
    SCALE = 5  # frequency over that of the column, for rows of several sets joined to one column


class GrowingArray:
    """An appendable array of rows, in memory or in a file."""

    def __init__(self, tail: tuple[int, ...], dtype: Any, path: Path | None = None):
        self.tail, self.dtype, self.path = tail, np.dtype(dtype), path
        self.parts: list[NDArray[Any]] = []
        self.rows = 0

    def append(self, rows: NDArray[Any]) -> None:
        """Append a copy of rows."""
        self.rows += len(rows)
        if self.path is None:
            self.parts.append(np.ascontiguousarray(rows, self.dtype))
            return
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(rows, self.dtype).data)

    def finish(self) -> NDArray[Any]:
        """Return all rows; a file is memory-mapped, and writable."""
        shape = (self.rows, *self.tail)
        if self.rows == 0:
            return np.empty(shape, self.dtype)
        if self.path is not None:
            return np.memmap(self.path, self.dtype, "r+", shape=shape)
        parts, self.parts = self.parts, []
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class _Block:
    """Rows of an output channel with equal frequencies."""

    def __init__(self, frequencies_hz: Floats, pols: int, stem: Path | None):
        self.frequencies_hz = frequencies_hz
        tail = (len(frequencies_hz),)

        def array(name: str, tail: tuple[int, ...], dtype: Any) -> GrowingArray:
            return GrowingArray(tail, dtype, stem and stem.with_name(f"{stem.name}-{name}"))

        self.vis = [array(f"vis{pol}", tail, np.complex64) for pol in range(pols)]
        self.weights = array("weights", tail, np.float32)
        self.uvw_m = array("uvw", (3,), np.float64)
        self.origins = array("origins", (len(Origin),), np.float32)


class ChannelCollector:
    """Collects averaged rows into one output channel."""

    def __init__(self, band: BandRange, pols: int, stem: Path | None = None):
        """Store the rows in files with the prefix ``stem``; in memory for None."""
        self.band, self.pols, self.stem = band, pols, stem
        self.blocks: dict[tuple[float, ...], _Block] = {}

    def add(self, chunk: Chunk, frequencies_hz: Floats, origins: NDArray[np.float32] | None = None) -> None:
        """Add the rows of a chunk with data in this output channel."""
        columns = self.band.columns(frequencies_hz)
        weights = chunk.weights[:, columns]
        rows = np.flatnonzero((weights > 0).any(axis=1))
        if len(rows) == 0:
            return
        block = self._block(frequencies_hz[columns])
        block.weights.append(weights[rows])
        block.uvw_m.append(chunk.uvw_m[rows])
        if origins is not None:
            block.origins.append(origins[rows])
        for pol, vis in zip(block.vis, chunk.vis, strict=True):
            pol.append(vis[rows, columns])

    def _block(self, frequencies_hz: Floats) -> _Block:
        key = tuple(float(one) for one in frequencies_hz)
        if key not in self.blocks:
            stem = self.stem and self.stem.with_name(f"{self.stem.name}-{len(self.blocks)}")
            self.blocks[key] = _Block(frequencies_hz, self.pols, stem)
        return self.blocks[key]

    def finish(self, weigh: Callable[[Floats, Floats, NDArray[np.float32]], None]) -> Channel:
        """Return the channel; ``weigh(uvw_m, frequencies_hz, weights)`` applies the imaging weights in place."""
        parts, natural = [], 0.0
        for block in self.blocks.values():
            uvw_m, weights = block.uvw_m.finish(), block.weights.finish()
            natural += float(weights.sum(dtype=np.float64))
            weigh(uvw_m, block.frequencies_hz, weights)
            parts.append(
                _Rows(block.frequencies_hz, uvw_m, [vis.finish() for vis in block.vis], weights, block.origins.finish())
            )
        self.blocks = {}
        if not parts:
            parts = [_no_rows(self.band, self.pols)]
        rows = parts[0] if len(parts) == 1 else _flattened(parts)
        rows.uvw_m[:] = rows.uvw_m[:, GRIDDER_AXES]
        origins = rows.origins if len(rows.origins) else None
        return Channel(self.band, *rows[:4], natural_weight_sum=natural, origins=origins)


class _Rows(NamedTuple):
    """The columns of a channel's rows; no origins if they are not kept."""

    frequencies_hz: Floats
    uvw_m: Floats
    vis: list[NDArray[np.complex64]]
    weights: NDArray[np.float32]
    origins: NDArray[np.float32]


def _no_rows(band: BandRange, pols: int) -> _Rows:
    frequencies_hz = np.array(band.frequencies_hz)
    shape = (0, len(frequencies_hz))
    vis = [np.empty(shape, np.complex64) for _ in range(pols)]
    no_origins = np.empty((0, len(Origin)), np.float32)
    return _Rows(frequencies_hz, np.empty((0, 3)), vis, np.empty(shape, np.float32), no_origins)


def _flattened(parts: Sequence[_Rows]) -> _Rows:
    """Join rows of different frequencies: one row per visibility, with its uvw scaled to one common frequency."""
    common_hz = max(float(part.frequencies_hz[-1]) for part in parts)
    uvw, vis, weights, origins = [], [], [], []
    for frequencies_hz, uvw_m, pols, wgt, origin in parts:
        has_weight = wgt > 0
        scaled = uvw_m[:, None, :] * (frequencies_hz / common_hz)[None, :, None]
        uvw.append(scaled[has_weight])
        vis.append([one[has_weight][:, None] for one in pols])
        weights.append(wgt[has_weight][:, None])
        if len(origin):
            rows, columns = np.nonzero(has_weight)
            scaled_origin = origin[rows]
            scaled_origin[:, Origin.SCALE] = frequencies_hz[columns] / common_hz
            origins.append(scaled_origin)
    joined = [np.concatenate(pol) for pol in zip(*vis, strict=True)]
    all_origins = np.concatenate(origins) if origins else parts[0].origins
    return _Rows(np.array([common_hz]), np.concatenate(uvw), joined, np.concatenate(weights), all_origins)
