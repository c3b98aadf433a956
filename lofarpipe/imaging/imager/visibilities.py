"""Single-pass reading of measurement sets into weighted, averaged Stokes visibilities by output channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import list_names
from lofarpipe.imaging.imager.averaging import Averager, Chunk, Rows, averaged_channels, averaged_steps
from lofarpipe.imaging.imager.bands import BandRange, band_ranges, frequency_bins
from lofarpipe.imaging.imager.beam_times import list_beam_times
from lofarpipe.imaging.imager.channels import Channel, ChannelCollector
from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.imaging.imager.sets import RowSource, join_channels, read_sources
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.imager.stokes import coefficients
from lofarpipe.imaging.imager.weights import WeightGrid
from lofarpipe.imaging.ms.measurement_set import read_all_weights
from lofarpipe.imaging.plan.smearing import SPEED_OF_LIGHT_M_S

SAMPLES_PER_BLOCK = 800_000  # (row, chan) samples read at a time
FEWEST_ROWS = 1000


def read_channels(settings: ImagerSettings, scratch: Path | None = None) -> list[Channel]:
    """Return the output channels with imaging weights; their arrays are in files in ``scratch`` if given.

    Raises
    ------
    ImagerError
        If the sets are incompatible with each other or the settings, or have no usable visibility.
    """
    sources = read_sources(settings)
    bands = output_bands(sources, settings)
    collectors = [
        ChannelCollector(band, len(settings.pol), scratch and scratch / f"{number:04d}")
        for number, band in enumerate(bands)
    ]
    grid = WeightGrid(settings)
    groups = join_channels(sources)
    beam_times = list_beam_times(groups)
    for number, group in enumerate(groups):
        pairs, _ = number_baselines(group[0])
        columns, frequencies_hz, spreads_hz = group_bins(group, settings, bands)
        for chunk in averaged_chunks(group, settings, columns):
            grid.add(chunk.uvw_m, frequencies_hz, chunk.weights)
            origins = (
                beam_times[number].origins(chunk, pairs, float(spreads_hz.max())) if settings.station_beams_jy else None
            )
            for collector in collectors:
                collector.add(chunk, frequencies_hz, origins)
    factors = grid.factors()
    channels = [
        one.finish(lambda uvw_m, freq_hz, weights: grid.apply(uvw_m, freq_hz, weights, factors)) for one in collectors
    ]
    if not any(one.count for one in channels):
        raise ImagerError(
            f"{list_names(settings.sets)}: no visibility can be used: all are flagged, without weight, not finite, "
            "or outside of the uv range"
        )
    return channels


def output_bands(sources: Sequence[RowSource], settings: ImagerSettings) -> list[BandRange]:
    """Return the output channels of all sources.

    Raises
    ------
    ImagerError
        If there are more of them than frequencies.
    """
    frequencies_hz, widths_hz = [one.frequencies_hz for one in sources], [one.widths_hz for one in sources]
    return band_ranges(frequencies_hz, widths_hz, settings.channels_out)


def group_bins(
    group: Sequence[RowSource], settings: ImagerSettings, bands: Sequence[BandRange]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the bins of the channels of sources read side by side, as `frequency_bins` does."""
    frequencies_hz = np.concatenate([one.frequencies_hz for one in group])
    widths_hz = np.concatenate([one.widths_hz for one in group])
    return frequency_bins(frequencies_hz, widths_hz, bands, channels_to_average(group, settings))


def channels_to_average(group: Sequence[RowSource], settings: ImagerSettings) -> int:
    """Return the number of channels that the longest baseline within the uv range permits to average."""
    if not settings.average_channels:
        return 1
    first, lowest_hz = group[0], min(float(one.frequencies_hz[0]) for one in group)
    pairs, _ = number_baselines(first)
    lengths_m = np.linalg.norm(first.positions_m[pairs[:, 0]] - first.positions_m[pairs[:, 1]], axis=1)
    longest_m = float(lengths_m.max(initial=0.0))
    if settings.max_uv_lambda > 0:
        longest_m = min(longest_m, settings.max_uv_lambda * SPEED_OF_LIGHT_M_S / lowest_hz)
    radius_rad = max(settings.size) / 2 * settings.cell_rad
    width_hz = max(float(one.widths_hz.max()) for one in group)
    return averaged_channels(longest_m, radius_rad, width_hz, settings.averaging_loss)


def averaged_chunks(
    group: Sequence[RowSource], settings: ImagerSettings, columns: NDArray[np.int64]
) -> Iterator[Chunk]:
    """Yield averaged rows of sources read side by side, channels in the order of the sources, in their columns."""
    first = group[0]
    pairs, baselines = number_baselines(first)
    lengths_m = np.linalg.norm(first.positions_m[pairs[:, 0]] - first.positions_m[pairs[:, 1]], axis=1)
    highest_hz = max(float(one.frequencies_hz[-1]) for one in group)
    radius_rad = max(settings.size) / 2 * settings.cell_rad
    steps = averaged_steps(lengths_m, highest_hz, radius_rad, first.step_s, settings.averaging_loss)
    channels = sum(len(one.frequencies_hz) for one in group)
    factors = coefficients(first.path, first.correlation_types, settings.pol)
    averager = Averager(steps, first.step_s, factors, columns)
    for rows in read_blocks(group, baselines, channels):
        yield averager.add(rows)
    yield averager.finish()


def number_baselines(source: RowSource) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the antenna pairs (baseline, 2), and each row's pair index (row,), -1 for autocorrelations."""
    antennas = len(source.positions_m)
    codes = source.antenna1 * antennas + source.antenna2
    cross = source.antenna1 != source.antenna2
    pair_codes, numbers = np.unique(codes[cross], return_inverse=True)
    baselines = np.full(len(codes), -1)
    baselines[cross] = numbers
    return np.stack(np.divmod(pair_codes, antennas), axis=1), baselines


def read_blocks(group: Sequence[RowSource], baselines: NDArray[np.int64], channels: int) -> Iterator[Rows]:
    """Yield the cross-correlations of sources side by side, block by block, without rows of invalid UVW or time."""
    rows_at_once = max(FEWEST_ROWS, SAMPLES_PER_BLOCK // channels)
    times_s = group[0].times_s
    with ExitStack() as stack:
        tables = [stack.enter_context(source.opened()) for source in group]
        for first in range(0, len(times_s), rows_at_once):
            count = min(rows_at_once, len(times_s) - first)
            block = slice(first, first + count)
            uvw_m = np.asarray(tables[0].getcol("UVW", first, count), float)
            usable = (baselines[block] >= 0) & np.isfinite(uvw_m).all(axis=1) & np.isfinite(times_s[block])
            parts = [_samples(table, one, first, count) for table, one in zip(tables, group, strict=True)]
            vis, weights, flags = (_side_by_side([part[k] for part in parts], usable) for k in range(3))
            yield Rows(vis, weights, flags, uvw_m[usable], baselines[block][usable], times_s[block][usable])


def _samples(table: Any, source: RowSource, first: int, count: int) -> tuple[NDArray[Any], ...]:
    """Return visibilities, weights and flags (row, chan, corr) of rows, channels in rising frequency."""
    vis = np.asarray(table.getcol(source.column, first, count), np.complex64)
    weights = np.broadcast_to(np.asarray(read_all_weights(table, first, count), np.float32), vis.shape)
    flags = np.asarray(table.getcol("FLAG", first, count), bool)
    row_flags = np.asarray(table.getcol("FLAG_ROW", first, count), bool)
    if row_flags.any():
        flags = flags | row_flags[:, None, None]
    order = source.channel_order
    if (np.diff(order) == 1).all():
        return vis, weights, flags
    return vis[:, order], weights[:, order], flags[:, order]


def _side_by_side(parts: Sequence[NDArray[Any]], usable: NDArray[np.bool_]) -> NDArray[Any]:
    joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    return np.ascontiguousarray(joined if usable.all() else joined[usable])
