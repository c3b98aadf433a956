"""Baseline-dependent averaging in time, and averaging in frequency, limited by the loss of a source at the edge.

A source at the angle theta from the phase centre turns the phase of a baseline of L wavelengths by up to
2 pi L theta omega dt in a time step dt, omega the Earth's rotation. The mean over x turns loses 1 - sin(pi x) / (pi x)
of the flux; with x solved from the permitted loss, kt = x / (L theta omega dt) steps are averaged. Across a channel
of the width df the phase turns by D theta df / c, D the longest baseline in m within the uv range, so that
kf = x c / (D theta df) channels next to each other become one, for all baselines alike, at their mean frequency. Where
one half of them is flagged the phase at the edge errs by pi x / 2, so that averaging in frequency is an option.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.kernels import compiled
from lofarpipe.imaging.plan.smearing import EARTH_ROTATION_RAD_S, SPEED_OF_LIGHT_M_S

LONGEST_S = 120.0  # longest average
GAP_STEPS = 1.5  # time steps; a longer gap ends an average

Floats = NDArray[np.float64]


class Rows(NamedTuple):
    """Rows of a measurement set: vis, weights, flags (row, chan, corr); uvw_m (row, 3); the others (row,)."""

    vis: NDArray[np.complex64]
    weights: NDArray[np.float32]
    flags: NDArray[np.bool_]
    uvw_m: Floats
    baselines: NDArray[np.int64]  # index of the antenna pair
    times_s: Floats


class Sums(NamedTuple):
    """Open averages, one per baseline: weighted sums, and sums of weights."""

    vis: NDArray[np.complex64]  # (pol, baseline, chan)
    weights: NDArray[np.float32]  # (baseline, chan)
    uvw_m: Floats  # (baseline, 3)
    total: Floats  # (baseline,), sum of weights
    steps: NDArray[np.int64]  # number of time steps
    first_s: Floats  # time of the first step
    last_s: Floats  # time of the last step
    delay_s: Floats  # times since the first step
    delay_s2: Floats  # their squares


class Chunk(NamedTuple):
    """Averaged rows: visibilities (pol, row, chan) and weights (row, chan), 0 without data.

    ``times_s`` are weighted means, ``spreads_s`` the standard deviations of the averaged times.
    """

    vis: NDArray[np.complex64]
    weights: NDArray[np.float32]
    uvw_m: Floats
    baselines: NDArray[np.int64]  # index of the antenna pair
    times_s: Floats
    spreads_s: Floats


@compiled
def sample_weight(
    weights: NDArray[np.float32], flags: NDArray[np.bool_], squares: Floats, row: int, chan: int
) -> float:
    """Return the weight of sum c v: the smallest weight over sum |c|^2; 0 if a used correlation is flagged.

    The smallest weight stands for all, as in WSClean's Stokes I; for equal weights this is the sum's inverse variance.
    """
    smallest, total = np.inf, 0.0
    for corr in range(len(squares)):
        if squares[corr] < 0:  # the correlation is not used
            continue
        weight = weights[row, chan, corr]
        if flags[row, chan, corr] or not (weight > 0 and np.isfinite(weight)):
            return 0.0
        smallest = min(smallest, weight)
        total += squares[corr]
    weight_of_sum: float = smallest / total
    return weight_of_sum


@compiled
def is_finite(vis: NDArray[np.complex64], squares: Floats, row: int, chan: int) -> bool:
    """Whether all used correlations are finite."""
    for corr in range(len(squares)):
        value = vis[row, chan, corr]
        if squares[corr] >= 0 and not (np.isfinite(value.real) and np.isfinite(value.imag)):
            return False
    return True


@compiled
def clear(baseline: int, sums: Sums) -> None:
    """Reset the average of a baseline."""
    for chan in range(sums.weights.shape[1]):
        sums.weights[baseline, chan] = 0
        for pol in range(len(sums.vis)):
            sums.vis[pol, baseline, chan] = 0
    for axis in range(3):
        sums.uvw_m[baseline, axis] = 0
    sums.total[baseline] = 0
    sums.steps[baseline] = 0
    sums.delay_s[baseline] = 0
    sums.delay_s2[baseline] = 0


@compiled
def close_average(baseline: int, sums: Sums, chunk: Chunk, n: int) -> int:
    """Write the average of a baseline as row n unless its weight is 0, and reset it; return the next n."""
    total = sums.total[baseline]
    if total > 0:
        for chan in range(sums.weights.shape[1]):
            weight = sums.weights[baseline, chan]
            chunk.weights[n, chan] = weight
            for pol in range(len(sums.vis)):
                chunk.vis[pol, n, chan] = sums.vis[pol, baseline, chan] / weight if weight > 0 else 0
        for axis in range(3):
            chunk.uvw_m[n, axis] = sums.uvw_m[baseline, axis] / total
        delay_s = sums.delay_s[baseline] / total
        chunk.baselines[n] = baseline
        chunk.times_s[n] = sums.first_s[baseline] + delay_s
        chunk.spreads_s[n] = np.sqrt(max(sums.delay_s2[baseline] / total - delay_s**2, 0.0))
        n += 1
    clear(baseline, sums)
    return n


@compiled
def add_row(
    rows: Rows,
    row: int,
    coefficients: NDArray[np.complex64],
    squares: Floats,
    columns: NDArray[np.int64],
    sums: Sums,
) -> None:
    """Add one row to the average of its baseline, each channel to its column."""
    baseline, total = rows.baselines[row], 0.0
    for chan in range(rows.vis.shape[1]):
        weight = sample_weight(rows.weights, rows.flags, squares, row, chan)
        if weight == 0 or not is_finite(rows.vis, squares, row, chan):
            continue
        for pol in range(len(coefficients)):
            value = np.complex64(0)
            for corr in range(len(squares)):
                if squares[corr] >= 0:
                    value += coefficients[pol, corr] * rows.vis[row, chan, corr]
            sums.vis[pol, baseline, columns[chan]] += np.float32(weight) * value
        sums.weights[baseline, columns[chan]] += weight
        total += weight
    for axis in range(3):
        sums.uvw_m[baseline, axis] += total * rows.uvw_m[row, axis]
    if sums.steps[baseline] == 0:
        sums.first_s[baseline] = rows.times_s[row]
    delay_s = rows.times_s[row] - sums.first_s[baseline]
    sums.delay_s[baseline] += total * delay_s
    sums.delay_s2[baseline] += total * delay_s**2
    sums.total[baseline] += total
    sums.steps[baseline] += 1
    sums.last_s[baseline] = rows.times_s[row]


@compiled
def add_rows(
    rows: Rows,
    steps: NDArray[np.int64],
    gap_s: float,
    coefficients: NDArray[np.complex64],
    squares: Floats,
    columns: NDArray[np.int64],
    sums: Sums,
    chunk: Chunk,
) -> int:
    """Add rows to the averages of their baselines; write complete ones into the chunk. Return the chunk's row count."""
    n = 0
    for row in range(len(rows.times_s)):
        baseline = rows.baselines[row]
        is_full = sums.steps[baseline] >= steps[baseline]
        if sums.steps[baseline] > 0 and (is_full or abs(rows.times_s[row] - sums.last_s[baseline]) > gap_s):
            n = close_average(baseline, sums, chunk, n)
        add_row(rows, row, coefficients, squares, columns, sums)
    return n


@compiled
def close_all(sums: Sums, chunk: Chunk) -> int:
    """Write all open averages into the chunk; return its row count."""
    n = 0
    for baseline in range(len(sums.steps)):
        if sums.steps[baseline] > 0:
            n = close_average(baseline, sums, chunk, n)
    return n


def sinc_width(loss: float) -> float:
    """Solve 1 - sin(pi x) / (pi x) = loss for x."""
    from scipy.optimize import brentq

    return float(brentq(lambda x: 1 - np.sinc(x) - loss, 1e-6, 0.99)) if loss > 0 else 0.0


def averaged_steps(
    lengths_m: Floats, frequency_hz: float, radius_rad: float, step_s: float, loss: float
) -> NDArray[np.int64]:
    """Return the number of time steps to average (baseline,), at which a source at ``radius_rad`` loses ``loss``."""
    turns = lengths_m * frequency_hz / SPEED_OF_LIGHT_M_S * radius_rad * EARTH_ROTATION_RAD_S * step_s  # of a step
    most = max(1.0, LONGEST_S // step_s)
    # Avoid infinity for a tiny turn.
    return np.clip(sinc_width(loss) / np.maximum(turns, 1e-9), 1, most).astype(np.int64)


def averaged_channels(longest_m: float, radius_rad: float, width_hz: float, loss: float) -> int:
    """Return the number of channels to average, at which a source at ``radius_rad`` loses ``loss``."""
    turns = longest_m * radius_rad * width_hz / SPEED_OF_LIGHT_M_S  # across a channel
    return max(1, int(sinc_width(loss) / max(turns, 1e-9)))


class Averager:
    """Averages the rows of one set, which come in time order; ``columns`` (chan,) are those of the averages."""

    def __init__(
        self,
        steps: NDArray[np.int64],
        step_s: float,
        coefficients: NDArray[np.complex64],
        columns: NDArray[np.int64],
    ):
        self.steps, self.gap_s, self.coefficients = steps, GAP_STEPS * step_s, coefficients
        self.columns, channels = columns, int(columns[-1]) + 1
        has_coefficient = (coefficients != 0).any(axis=0)
        self.squares = np.where(has_coefficient, np.abs(coefficients[0]).astype(float) ** 2, -1.0)
        pols, pairs = len(coefficients), len(steps)
        self.sums = Sums(
            np.zeros((pols, pairs, channels), np.complex64),
            np.zeros((pairs, channels), np.float32),
            np.zeros((pairs, 3)),
            np.zeros(pairs),
            np.zeros(pairs, np.int64),
            *(np.zeros(pairs) for _ in range(4)),
        )

    def add(self, rows: Rows) -> Chunk:
        """Return the averages completed by these rows."""
        chunk = self._empty_chunk(len(rows.times_s))
        n = add_rows(rows, self.steps, self.gap_s, self.coefficients, self.squares, self.columns, self.sums, chunk)
        return _first_rows(chunk, n)

    def finish(self) -> Chunk:
        """Return the remaining open averages."""
        chunk = self._empty_chunk(len(self.steps))
        return _first_rows(chunk, close_all(self.sums, chunk))

    def _empty_chunk(self, rows: int) -> Chunk:
        pols, _, channels = self.sums.vis.shape
        return Chunk(
            np.empty((pols, rows, channels), np.complex64),
            np.empty((rows, channels), np.float32),
            np.empty((rows, 3)),
            np.empty(rows, np.int64),
            np.empty(rows),
            np.empty(rows),
        )


def _first_rows(chunk: Chunk, n: Any) -> Chunk:
    vis, weights, uvw_m, baselines, times_s, spreads_s = chunk
    return Chunk(vis[:, :n], weights[:n], uvw_m[:n], baselines[:n], times_s[:n], spreads_s[:n])
