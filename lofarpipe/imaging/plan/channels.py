"""Division of a band into output channels, and of these into batches for staging and imaging."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]
LEAST_DIGITS = 3  # digits of channel numbers in names
ROUNDING = 1e-9  # tolerance of the number of channels


@dataclass(frozen=True)
class OutputChannel:
    """A plane of the cube: its edges, and the input channels (window, channel) with centres inside.

    ``reason`` is why the plane is known to be blank before imaging: ``no data`` or ``flagged``; otherwise "".
    """

    index: int  # from 1
    low_hz: int
    high_hz: int
    members: tuple[tuple[int, int], ...] = ()
    reason: str = ""
    frequency_hz: float = 0.0  # centre of the nominal channel on the regular axis; the last channel may be narrower


@dataclass(frozen=True)
class WindowRange:
    """The channels of one window read by a batch: ``count`` from ``first``, in the order of the set."""

    window: int
    first: int
    count: int


@dataclass(frozen=True)
class OutputBatch:
    """Neighbouring output channels, staged and imaged by one job."""

    number: int
    channels: tuple[OutputChannel, ...]

    def ranges(self) -> list[WindowRange]:
        """Return the channel range to read from each window."""
        channels_by_window: dict[int, list[int]] = {}
        for channel in self.channels:
            for window, number in channel.members:
                channels_by_window.setdefault(window, []).append(number)
        return [
            WindowRange(window, min(numbers), max(numbers) - min(numbers) + 1)
            for window, numbers in sorted(channels_by_window.items())
        ]


def divide_band(
    frequencies_hz: Mapping[int, Floats], lowest_mhz: float, highest_mhz: float, width_mhz: float
) -> list[OutputChannel]:
    """Return the output channels in ascending order, each with its input channels.

    Channel i is [f0 + (i - 1) w, f0 + i w) in whole Hz; the last one ends at the highest edge. An input channel belongs
    to the output channel that contains its centre.

    Parameters
    ----------
    frequencies_hz: centres of the channels of each window, by its number.
    """
    low_hz, high_hz, width_hz = (round(1e6 * mhz) for mhz in (lowest_mhz, highest_mhz, width_mhz))
    number = math.ceil((high_hz - low_hz) / width_hz - ROUNDING)
    members = _members(frequencies_hz, low_hz, high_hz, width_hz)
    return [
        OutputChannel(
            index=index + 1,
            low_hz=low_hz + index * width_hz,
            high_hz=min(low_hz + (index + 1) * width_hz, high_hz),
            members=tuple(members.get(index, ())),
            reason="" if index in members else "no data",
            frequency_hz=low_hz + (index + 0.5) * width_hz,
        )
        for index in range(number)
    ]


def _members(
    frequencies_hz: Mapping[int, Floats], low_hz: int, high_hz: int, width_hz: int
) -> dict[int, list[tuple[int, int]]]:
    members: dict[int, list[tuple[int, int]]] = {}
    for window, centres_hz in sorted(frequencies_hz.items()):
        for number, centre_hz in enumerate(centres_hz):
            if low_hz <= centre_hz < high_hz:
                members.setdefault(int((centre_hz - low_hz) // width_hz), []).append((window, number))
    return members


def mark_blank_channels(
    channels: Iterable[OutputChannel], counts: Mapping[int, NDArray[np.int64]]
) -> list[OutputChannel]:
    """Mark channels without unflagged visibilities as blank; ``counts`` cover all rows."""
    return [
        replace(channel, reason="flagged")
        if channel.members and not any(counts[window][number] for window, number in channel.members)
        else channel
        for channel in channels
    ]


def effective_frequency_hz(
    channel: OutputChannel, frequencies_hz: Mapping[int, Floats], counts: Mapping[int, NDArray[np.int64]]
) -> float | None:
    """Return the mean frequency of the unflagged visibilities of a channel; None without any."""
    weights = np.array([counts[window][number] for window, number in channel.members], float)
    if not weights.sum():
        return None
    return float(np.average([frequencies_hz[window][number] for window, number in channel.members], weights=weights))


def frequency_range(channel: OutputChannel, frequencies_hz: Iterable[Floats]) -> tuple[int, int]:
    """Return the index range (end exclusive) of a channel in the sorted distinct frequencies.

    The imager numbers channels this way across all its input windows.
    """
    distinct = np.unique(np.concatenate(list(frequencies_hz)))
    inside = np.flatnonzero((distinct >= channel.low_hz) & (distinct < channel.high_hz))
    return int(inside[0]), int(inside[-1]) + 1


def chosen_channels(channels: Sequence[OutputChannel], text: str) -> list[OutputChannel]:
    """Return the channels selected by ``1-200``, ``7`` or ``all``.

    Raises
    ------
    ValueError
        If the text has another form, or selects channels beyond the plan.
    """
    if text == "all":
        return list(channels)
    first, dash, last = text.partition("-")
    if not (first.strip().isdecimal() and (not dash or last.strip().isdecimal())):
        raise ValueError(f"channels is '{text}'; all, a number, or a range such as 1-200 is needed")
    low, high = int(first), int(last) if dash else int(first)
    if not 1 <= low <= high <= len(channels):
        raise ValueError(f"channels is '{text}', and the plan has 1-{len(channels)}; name a range of these")
    return list(channels[low - 1 : high])


def channel_label(index: int, last: int) -> str:
    """Return the zero-padded number of a channel: three digits, or as many as the last one needs."""
    return f"{index:0{max(LEAST_DIGITS, len(str(last)))}d}"


def divide_into_batches(channels: Iterable[OutputChannel], jobs: int, size: int = 0) -> list[OutputBatch]:
    """Divide channels not known to be blank into batches of neighbours; each batch reads its windows once.

    Parameters
    ----------
    jobs: maximum number of batches; each reads the set once.
    size: channels per batch; 0: divide evenly among ``jobs`` batches.
    """
    remaining = [channel for channel in channels if not channel.reason]
    most = size or max(1, math.ceil(len(remaining) / max(1, jobs)))
    return [OutputBatch(number, tuple(part)) for number, part in enumerate(_runs(remaining, most))]


def _runs(channels: Sequence[OutputChannel], most: int) -> Iterator[list[OutputChannel]]:
    """Yield groups of channels with the same windows, of limited size."""
    run: list[OutputChannel] = []
    for channel in channels:
        windows = {window for window, _ in channel.members}
        if run and (len(run) == most or not windows & {window for window, _ in run[-1].members}):
            yield run
            run = []
        run.append(channel)
    if run:
        yield run


# ------------------------------------------------------------------------------------------------ joined channels
def joined_channel_edges(frequencies_hz: Floats, low_hz: float, high_hz: float, number: int) -> list[float]:
    """Return the inner edges that divide a band into ``number`` non-empty intervals of equal width.

    Parameters
    ----------
    frequencies_hz: centres of the channels with data.
    """
    inside = np.sort(frequencies_hz[(frequencies_hz >= low_hz) & (frequencies_hz < high_hz)])
    if not inside.size:
        return []
    edges = np.linspace(inside[0], inside[-1], number + 1)[1:-1]
    useful_edges: list[float] = []
    below = 0
    for edge in edges:
        count = int(np.searchsorted(inside, edge, side="left"))
        if below < count < inside.size:
            useful_edges.append(float(edge))
            below = count
    return useful_edges
