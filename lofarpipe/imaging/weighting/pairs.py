"""Weights of station pairs in an image, per output channel, frequency and stretch of time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.station import SPEED_OF_LIGHT_M_S, BeamError
from lofarpipe.imaging.ms.measurement_set import Sample, SetMetadata, sample_visibilities
from lofarpipe.imaging.weighting.weights import ImageWeighting, SampledTracks, sampled_briggs_weights
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]

LONGEST_STRETCH_S = 3600.0  # beam rotation of 15 deg; measured: tests/imaging/beam/test_primary_beam.py
SAME_TIME_S = 600.0  # tolerance of mean times for merging stretches of several sets
WIDEST_FRACTIONAL_BAND = 0.06  # width of one beam evaluation; within it the beam is linear in frequency to 3e-3
MOST_SAMPLES = 4_000_000  # rows x channels, all sets together; smaller data sets are read entirely
SLOTS_PER_STRETCH = 2


@dataclass(frozen=True)
class ChannelRange:
    """The edges of one output channel of the imager, Hz."""

    low_hz: float
    high_hz: float

    def includes(self, frequencies_hz: Floats) -> NDArray[np.bool_]:
        """Return a mask of the frequencies in the range."""
        return np.asarray((frequencies_hz >= self.low_hz) & (frequencies_hz <= self.high_hz))


@dataclass(frozen=True, eq=False)
class Stretch:
    """The weight of every station pair (station, station) of one set in a stretch of time and frequency."""

    ms_path: str
    output_channel: int
    piece: int  # of the channel's band, by rising frequency
    time_s: float  # mean, MJD UTC
    frequency_hz: float  # mean
    weights: Floats


def _sample(sets: Sequence[SetMetadata]) -> list[Sample]:
    """Return samples of all sets: all rows of small sets, otherwise a few complete time slots per hour."""
    if sum(metadata.nrows * len(metadata.frequencies_hz) for metadata in sets) <= MOST_SAMPLES:
        return [sample_visibilities(metadata.path, metadata.nrows) for metadata in sets]
    samples = []
    for metadata in sets:
        stations, channels = len(metadata.antenna_names), len(metadata.frequencies_hz)
        slot_rows = stations * (stations + 1) // 2
        affordable = MOST_SAMPLES // (len(sets) * channels * slot_rows)
        hours = math.ceil((metadata.end_s - metadata.start_s) / LONGEST_STRETCH_S)
        samples.append(
            sample_visibilities(metadata.path, slot_rows * max(hours, min(affordable, SLOTS_PER_STRETCH * hours)))
        )
    return samples


def _imaging_weights(sets: Sequence[SetMetadata], samples: Sequence[Sample], image: ImageWeighting) -> list[Floats]:
    """Return the imaging weight of every sampled visibility, one array (row, channel) per set."""
    tracks = [
        SampledTracks(
            sample.uvw_m,
            np.where(sample.flags, 0.0, sample.weights),
            metadata.frequencies_hz / SPEED_OF_LIGHT_M_S,
            1 / sample.fraction,
            metadata.timestep_s,
        )
        for metadata, sample in zip(sets, samples, strict=True)
    ]
    try:
        return sampled_briggs_weights(tracks, sets[0].phase_centre_rad[1], image)
    except ValueError as err:
        raise BeamError(f"{sets[0].path}: its station pairs cannot be weighted: {err}") from err


def _piece_edges(frequencies_hz: Floats, channels: Sequence[ChannelRange]) -> list[Floats]:
    """Return the edges of pieces for one beam evaluation each, per output channel; none without data."""
    edges = []
    for channel in channels:
        inside = frequencies_hz[channel.includes(frequencies_hz)]
        width = np.ptp(inside) / inside.mean() if len(inside) else 0.0
        pieces = max(1, math.ceil(width / WIDEST_FRACTIONAL_BAND))
        edges.append(np.linspace(inside.min(), inside.max() * (1 + 1e-9), pieces + 1) if len(inside) else np.empty(0))
    return edges


def _bands(frequencies_hz: Floats, edges: Sequence[Floats]) -> list[tuple[int, int, NDArray[np.int64]]]:
    """Return (output channel, piece, input channel indices) for the non-empty pieces of a set."""
    bands = []
    for number, of_channel in enumerate(edges):
        piece = np.searchsorted(of_channel, frequencies_hz, side="right") - 1
        bands += [(number, index, np.flatnonzero(piece == index)) for index in range(len(of_channel) - 1)]
    return [band for band in bands if len(band[2])]


def _stretches_of_set(metadata: SetMetadata, sample: Sample, weights: Floats, edges: Sequence[Floats]) -> list[Stretch]:
    """Return the non-zero pair weights of one set, hour by hour and band by band."""
    stations, duration_s = len(metadata.antenna_names), metadata.end_s - metadata.start_s
    count = max(1, math.ceil(duration_s / LONGEST_STRETCH_S - 1e-6))
    hour = np.clip(((sample.time_s - metadata.start_s) / duration_s * count).astype(int), 0, count - 1)
    pair = sample.antenna1 * stations + sample.antenna2
    stretches = []
    for number, piece, indices in _bands(metadata.frequencies_hz, edges):
        band_weights = weights[:, indices]
        of_row = band_weights.sum(axis=1)
        for rows in (np.flatnonzero((hour == index) & (of_row > 0)) for index in range(count)):
            if len(rows) == 0:
                continue
            matrix = np.bincount(pair[rows], of_row[rows], stations**2).astype(float).reshape(stations, stations)
            time_s = float(np.average(sample.time_s[rows], weights=of_row[rows]))
            of_channel = band_weights[rows].sum(axis=0)
            frequency_hz = float(np.average(metadata.frequencies_hz[indices], weights=of_channel))
            # Normalise by the sampled fraction: otherwise densely sampled sets would weigh more.
            stretches.append(Stretch(metadata.path, number, piece, time_s, frequency_hz, matrix / sample.fraction))
    return stretches


def weigh_pairs(sets: Sequence[SetMetadata], channels: Sequence[ChannelRange], image: ImageWeighting) -> list[Stretch]:
    """Return station pair weights per output channel, in stretches of an hour and 6 % in frequency.

    The image's weights: natural weights and flags from a sample of the sets, Briggs weighting over all output channels
    together (as WSClean with joined channels), and the uv range.

    Raises
    ------
    BeamError
        If no visibility is unflagged and within the uv range.
    MeasurementSetError
        If a set cannot be read.

    Source: notes of the weighting in lofarpipe.imaging.weighting.weights.
    """
    samples = _sample(sets)
    weights = _imaging_weights(sets, samples, image)
    edges = _piece_edges(np.unique(np.concatenate([metadata.frequencies_hz for metadata in sets])), channels)
    stretches = []
    for metadata, sample, of_set in zip(sets, samples, weights, strict=True):
        stretches += _stretches_of_set(metadata, sample, of_set, edges)
    if not stretches:
        raise BeamError(f"{sets[0].path}: no unflagged visibility lies within the output channels of the image")
    return _joined(stretches)


def _joined(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Merge stretches of the same band and about the same time: subbands averaged alone."""
    alike: dict[tuple[int, int, int], list[Stretch]] = {}
    for one in stretches:
        alike.setdefault((one.output_channel, one.piece, round(one.time_s / SAME_TIME_S)), []).append(one)
    return [same[0] if len(same) == 1 else _mean_stretch(same) for same in alike.values()]


def _mean_stretch(same: Sequence[Stretch]) -> Stretch:
    totals = [float(one.weights.sum()) for one in same]
    time_s, frequency_hz = (
        float(np.average([getattr(one, name) for one in same], weights=totals)) for name in ("time_s", "frequency_hz")
    )
    return replace(
        same[0], time_s=time_s, frequency_hz=frequency_hz, weights=np.sum([one.weights for one in same], axis=0)
    )
