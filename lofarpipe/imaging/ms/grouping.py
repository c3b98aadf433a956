"""Grouping of measurement sets by subband and by time block, and checks of their consistency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from lofarpipe.imaging.ms.measurement_set import SetMetadata
from lofarpipe.imaging.ms.tables import MeasurementSetError

SAME_DIRECTION_RAD = 5e-7  # 0.1 arcsec
SAME_RELATIVE_WIDTH = 1e-6
SAME_PLACE_M = 1.0  # coordinate frames of copies differ by less, apart from a common shift


def frequency_key(metadata: SetMetadata) -> tuple[int, int]:
    """Return the sort key of a subband: lowest and highest channel in whole Hz."""
    return round(float(metadata.frequencies_hz.min())), round(float(metadata.frequencies_hz.max()))


def frequency_groups(sets: Sequence[SetMetadata]) -> list[list[SetMetadata]]:
    """Return the sets of each subband, subbands by rising frequency, sets in the order given."""
    groups: dict[tuple[int, int], list[SetMetadata]] = {}
    for metadata in sets:
        groups.setdefault(frequency_key(metadata), []).append(metadata)
    return [groups[key] for key in sorted(groups)]


def sort_by_frequency(sets: Sequence[SetMetadata]) -> list[SetMetadata]:
    """Return the sets by rising frequency, and within a subband in the order given."""
    return [metadata for group in frequency_groups(sets) for metadata in group]


def time_blocks(sets: Sequence[SetMetadata]) -> list[list[SetMetadata]]:
    """Return the sets of each time block, blocks by rising start, sets by rising frequency.

    Sets whose times overlap belong to one block.

    Raises
    ------
    MeasurementSetError
        If two sets of one block cover the same subband, or their channels overlap.
    """
    blocks: list[list[SetMetadata]] = []
    end_s = -np.inf
    for metadata in sorted(sets, key=lambda one: (one.start_s, frequency_key(one))):
        if metadata.start_s >= end_s - metadata.timestep_s / 2:
            blocks.append([])
            end_s = metadata.end_s
        end_s = max(end_s, metadata.end_s)
        blocks[-1].append(metadata)
    for block in blocks:
        _check_subbands_differ(block)
        _check_bands_are_apart(block)
    return [sort_by_frequency(block) for block in blocks]


def concat_groups(blocks: Sequence[Sequence[SetMetadata]], copied: Collection[str] = ()) -> list[list[SetMetadata]]:
    """Return the sets of each time block in groups that DP3 can concatenate, ordered by their first sets.

    DP3 needs the same times and baselines without gaps; a set with a gap is averaged alone, and WSClean combines the
    averaged sets. For paths in ``copied`` DP3 reads a copy with sorted rows and the true INTERVAL.

    Source: DP3 6.6, which compares first and last time and INTERVAL with casacore's near() (tried).
    """
    groups: list[list[SetMetadata]] = []
    for block in blocks:
        sets_by_key: dict[tuple[object, ...], list[SetMetadata]] = {}
        for one in block:
            key = _concat_key(one, one.path in copied)
            sets_by_key.setdefault(key, []).append(one)
        groups += sets_by_key.values()
    return groups


def _concat_key(one: SetMetadata, is_copied: bool) -> tuple[object, ...]:
    """Return the grouping key of a set: properties shared by the sets that DP3 concatenates."""
    times, layout = one.times, one.layout
    if not times.is_contiguous:
        return (one.path,)
    interval_s = round(times.step_s if is_copied else times.first_interval_s, 12)  # relative tolerance of near(): 1e-13
    digest = layout.sorted_digest if is_copied and not layout.is_regular else layout.digest
    return round(times.first_s, 4), round(times.last_s, 4), interval_s, digest, one.antenna_set


def _check_subbands_differ(block: Sequence[SetMetadata]) -> None:
    """Raise if two sets of a time block cover the same subband or overlap in frequency."""
    for group in frequency_groups(block):
        if len(group) > 1:
            raise MeasurementSetError(
                f"{group[1].path}: covers the same time and frequency ({_lowest_hz(group[0]) / 1e6:.6f} MHz) as "
                f"{group[0].path}; give each subband once for each time"
            )


def _check_bands_are_apart(block: Sequence[SetMetadata]) -> None:
    """Raise if channels of two sets of a time block overlap: DP3 would merge them.

    Interleaved channels are allowed: subbands averaged separately have them.
    """
    frequencies_hz = np.concatenate([one.frequencies_hz for one in block])
    order = np.argsort(frequencies_hz, kind="stable")
    owner = np.repeat(np.arange(len(block)), [len(one.frequencies_hz) for one in block])[order]
    close = np.diff(frequencies_hz[order]) < block[0].channel_width_hz / 2
    for place in np.flatnonzero(close & (np.diff(owner) != 0))[:1]:
        below, above = sorted((block[number] for number in owner[place : place + 2]), key=_lowest_hz)
        raise MeasurementSetError(
            f"{above.path}: its channels from {_lowest_hz(above) / 1e6:.6f} MHz overlap with those of {below.path}, "
            f"which go up to {below.frequencies_hz.max() / 1e6:.6f} MHz at the same time; leave one of both out, or "
            "cut the channels that they share"
        )


def _lowest_hz(one: SetMetadata) -> float:
    return float(one.frequencies_hz.min())


def set_disagreements(sets: Sequence[SetMetadata]) -> list[str]:
    """Return one line per inconsistency of a set with the others; empty if all agree.

    Telescope, phase centre, number and width of channels, time step, correlations, antennas and their positions are
    compared with the most common values. For a set of another telescope only the telescope is reported.
    """
    if not sets:
        return []
    telescope = _most_common(sets, lambda one: one.telescope)
    lines = [
        f"{one.path}: is of {one.telescope or 'no telescope'}, {telescope.name} of "
        f"{telescope.telescope or 'no telescope'}; image them in runs of their own"
        for one in sets
        if one.telescope != telescope.telescope
    ]
    alike = [one for one in sets if one.telescope == telescope.telescope]
    for compare, key in _COMPARISONS:
        usual = _most_common(alike, key)
        lines += [f"{one.path}: {line}" for one in alike if (line := compare(one, usual))]
    return lines


def _most_common(sets: Sequence[SetMetadata], key: Callable[[SetMetadata], Any]) -> SetMetadata:
    """Return the first set that has the most common properties."""
    counts = Counter(key(one) for one in sets)
    most = max(counts.values())
    return next(one for one in sets if counts[key(one)] == most)


def _compare_centres(one: SetMetadata, usual: SetMetadata) -> str:
    offset_rad = angle_between_rad(one.phase_centre_rad, usual.phase_centre_rad)
    if offset_rad <= SAME_DIRECTION_RAD:
        return ""
    arcsec = np.degrees(offset_rad) * 3600
    return f"phase centre is {arcsec:.1f} arcsec from that of {usual.name}; phase-shift it, or leave it out"


def _compare_channels(one: SetMetadata, usual: SetMetadata) -> str:
    nchan, width_hz = len(one.frequencies_hz), one.channel_width_hz
    usual_nchan, usual_hz = len(usual.frequencies_hz), usual.channel_width_hz
    if nchan == usual_nchan and np.isclose(width_hz, usual_hz, rtol=SAME_RELATIVE_WIDTH):
        return ""
    channels = f"{nchan} channels of {width_hz / 1e3:.3f} kHz"
    others = f"{usual_nchan} of {usual_hz / 1e3:.3f} kHz"
    return f"has {channels}, {usual.name} has {others}; average all sets alike"


def _compare_steps(one: SetMetadata, usual: SetMetadata) -> str:
    if np.isclose(one.timestep_s, usual.timestep_s, rtol=1e-3):
        return ""
    slots = f"has time slots of {one.timestep_s:.4f} s, {usual.name} of {usual.timestep_s:.4f} s"
    return f"{slots}; average all sets alike"


def _compare_correlations(one: SetMetadata, usual: SetMetadata) -> str:
    if one.correlations == usual.correlations:
        return ""
    return f"has correlations {one.correlations}, {usual.name} {usual.correlations}; leave it out"


def _compare_antennas(one: SetMetadata, usual: SetMetadata) -> str:
    if one.antenna_names == usual.antenna_names:
        return _compare_positions(one, usual)
    if sorted(one.antenna_names) == sorted(usual.antenna_names):
        return f"has the antennas of {usual.name} in another order; give sets with the same stations, or leave it out"
    return (
        f"has {len(one.antenna_names)} antennas, other than the {len(usual.antenna_names)} of {usual.name}; give sets "
        "with the same stations, or leave it out"
    )


def _compare_positions(one: SetMetadata, usual: SetMetadata) -> str:
    """Compare antenna positions: concatenated sets get the UVW of the first set."""
    used = sorted({*one.layout.antennas} & {*usual.layout.antennas})  # unused antennas may have any position
    if one is usual or not used:
        return ""
    shifts_m = one.antenna_positions_m[used] - usual.antenna_positions_m[used]
    offsets_m = np.linalg.norm(shifts_m - np.median(shifts_m, axis=0), axis=1)
    worst = int(np.argmax(offsets_m))
    if offsets_m[worst] <= SAME_PLACE_M:
        return ""
    return (
        f"antenna {one.antenna_names[used[worst]]} is {offsets_m[worst]:.1f} m from where it is in {usual.name}; take "
        "the set from the copy that the others come from, or leave it out"
    )


# Comparison of two sets, and the key by which the most common value is counted.
_COMPARISONS: tuple[tuple[Callable[[SetMetadata, SetMetadata], str], Callable[[SetMetadata], Any]], ...] = (
    (_compare_centres, lambda one: tuple(round(angle / SAME_DIRECTION_RAD) for angle in one.phase_centre_rad)),
    (_compare_channels, lambda one: (len(one.frequencies_hz), round(one.channel_width_hz))),
    (_compare_steps, lambda one: round(one.timestep_s, 2)),
    (_compare_correlations, lambda one: one.correlations),
    (_compare_antennas, lambda one: (one.antenna_names, one.antenna_positions_m.round().tobytes())),
)


def angle_between_rad(one_rad: tuple[float, float], other_rad: tuple[float, float]) -> float:
    """Return the angle between two directions given as (right ascension, declination), radians."""
    vectors = [
        np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]) for ra, dec in (one_rad, other_rad)
    ]
    return float(2 * np.arcsin(min(1.0, float(np.linalg.norm(vectors[0] - vectors[1])) / 2)))
