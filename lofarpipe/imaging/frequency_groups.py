"""Which sets belong together: the same subband at several times, or the same time at several frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from lofarpipe.imaging.measurement_set import SetMetadata
from lofarpipe.imaging.set_tables import MeasurementSetError

SAME_DIRECTION_RAD = 5e-7  # 0.1 arcsec
SAME_RELATIVE_WIDTH = 1e-6


def frequency_key(metadata: SetMetadata) -> int:
    """Return what tells one subband from another: the reference frequency in whole Hz."""
    return int(metadata.ref_frequency_hz)


def frequency_groups(sets: Sequence[SetMetadata]) -> list[list[SetMetadata]]:
    """Return the sets of each subband, subbands by rising frequency, sets in the order given."""
    groups: dict[int, list[SetMetadata]] = {}
    for metadata in sets:
        groups.setdefault(frequency_key(metadata), []).append(metadata)
    return [groups[key] for key in sorted(groups)]


def by_frequency(sets: Sequence[SetMetadata]) -> list[SetMetadata]:
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
    return [by_frequency(block) for block in blocks]


def _check_subbands_differ(block: Sequence[SetMetadata]) -> None:
    """Raise if two sets of a time block would be concatenated on top of each other."""
    for group in frequency_groups(block):
        if len(group) > 1:
            raise MeasurementSetError(
                f"{group[1].path}: covers the same time and frequency ({frequency_key(group[0]) / 1e6:.6f} MHz) as "
                f"{group[0].path}; give each subband once for each time"
            )


def _check_bands_are_apart(block: Sequence[SetMetadata]) -> None:
    """Raise if channels of two sets of a time block overlap: DP3 would put all of them into the one set."""
    for below, above in pairwise(sorted(block, key=lambda one: float(one.frequencies_hz.min()))):
        distance_hz = float(above.frequencies_hz.min() - below.frequencies_hz.max())
        if distance_hz < below.channel_width_hz / 2:
            raise MeasurementSetError(
                f"{above.path}: its channels from {above.frequencies_hz.min() / 1e6:.6f} MHz overlap with those of "
                f"{below.path}, which go up to {below.frequencies_hz.max() / 1e6:.6f} MHz at the same time; leave one "
                "of both out, or cut the channels that they share"
            )


def set_disagreements(sets: Sequence[SetMetadata]) -> list[str]:
    """Return one line for each way in which a set cannot be imaged together with the first one; empty if all agree.

    Compared are telescope, phase centre, number and width of channels, time step, correlations and antennas. Nothing
    else is said of a set of another telescope.
    """
    return [line for metadata in sets[1:] for line in _differences(metadata, sets[0])]


def _differences(metadata: SetMetadata, first: SetMetadata) -> list[str]:
    """Return what differs between a set and the first one."""
    if metadata.telescope != first.telescope:
        what = f"is of {metadata.telescope or 'no telescope'}, {first.name} of {first.telescope or 'no telescope'}"
        return [f"{metadata.path}: {what}; image them in runs of their own"]
    shape = (len(metadata.frequencies_hz), metadata.channel_width_hz)
    first_shape = (len(first.frequencies_hz), first.channel_width_hz)
    offset_rad = angle_between_rad(metadata.phase_centre_rad, first.phase_centre_rad)
    lines = []
    if offset_rad > SAME_DIRECTION_RAD:
        arcsec = np.degrees(offset_rad) * 3600
        lines.append(f"phase centre is {arcsec:.1f} arcsec from that of {first.name}; phase-shift it, or leave it out")
    if shape[0] != first_shape[0] or not np.isclose(shape[1], first_shape[1], rtol=SAME_RELATIVE_WIDTH):
        lines.append(
            f"has {shape[0]} channels of {shape[1] / 1e3:.3f} kHz, {first.name} has {first_shape[0]} of "
            f"{first_shape[1] / 1e3:.3f} kHz; average all sets alike"
        )
    if not np.isclose(metadata.timestep_s, first.timestep_s, rtol=1e-3):
        lines.append(
            f"has time slots of {metadata.timestep_s:.4f} s, {first.name} of {first.timestep_s:.4f} s; "
            "average all sets alike"
        )
    if metadata.correlations != first.correlations:
        lines.append(f"has correlations {metadata.correlations}, {first.name} {first.correlations}; leave it out")
    if metadata.antenna_names != first.antenna_names:
        lines.append(
            f"has {len(metadata.antenna_names)} antennas, other than the {len(first.antenna_names)} of {first.name}; "
            "give sets with the same stations, or leave it out"
        )
    return [f"{metadata.path}: {line}" for line in lines]


def angle_between_rad(one_rad: tuple[float, float], other_rad: tuple[float, float]) -> float:
    """Return the angle between two directions given as (right ascension, declination), radians."""
    vectors = [
        np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)]) for ra, dec in (one_rad, other_rad)
    ]
    return float(2 * np.arcsin(min(1.0, float(np.linalg.norm(vectors[0] - vectors[1])) / 2)))
