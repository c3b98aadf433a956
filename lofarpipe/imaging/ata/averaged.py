"""Averaged measurement sets of scans: verification before the full-resolution set is removed, and flag statistics."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import casacore.tables
import numpy as np

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ata.session import lists_to_tuples
from lofarpipe.imaging.ata.uvh5 import ReadingNotes
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically


class AveragingError(PipelineError):
    """An averaged set is incomplete, invalid or unreadable."""


@dataclass(frozen=True)
class SetFacts:
    """Size and flags of the cross-correlations of a set; fractions count visibilities."""

    rows: int  # with autocorrelations
    times_s: tuple[float, ...]  # middle of each integration, MJD
    interval_s: float
    frequencies_hz: tuple[float, ...]
    width_hz: float
    antennas: tuple[str, ...]
    positions_m: tuple[tuple[float, float, float], ...]
    flagged: float
    flagged_by_antenna: tuple[float, ...]
    flagged_by_channel: tuple[float, ...]
    uv_m: tuple[float, float]  # shortest and longest projected baseline with unflagged data; zeros without such data

    @property
    def is_usable(self) -> bool:
        """Whether any visibility is not flagged."""
        return self.flagged < 1


def facts_path(ms: str | Path) -> Path:
    """Return the path of the facts file beside a set."""
    return Path(f"{str(ms).removesuffix('.ms')}.json")


def load_facts(ms: str | Path) -> SetFacts:
    """Load the facts written by `verify_averaged`."""
    entry = lists_to_tuples(json.loads(facts_path(ms).read_text()))
    return SetFacts(**entry | {"positions_m": tuple(tuple(place) for place in entry["positions_m"])})


def measure_facts(ms: str) -> SetFacts:
    """Return the facts of a measurement set with one spectral window.

    Raises
    ------
    AveragingError
        If the set cannot be read.
    """
    try:
        with closing(casacore.tables.table(ms, ack=False)) as table:
            first, second = table.getcol("ANTENNA1"), table.getcol("ANTENNA2")
            times_s, uvw_m = table.getcol("TIME"), table.getcol("UVW")
            flags = table.getcol("FLAG") | table.getcol("FLAG_ROW")[:, None, None]
            interval_s = float(table.getcell("INTERVAL", 0))
        with closing(casacore.tables.table(f"{ms}::SPECTRAL_WINDOW", ack=False)) as windows:
            frequencies_hz, width_hz = windows.getcell("CHAN_FREQ", 0), float(windows.getcell("CHAN_WIDTH", 0)[0])
        with closing(casacore.tables.table(f"{ms}::ANTENNA", ack=False)) as antennas:
            names, positions_m = antennas.getcol("NAME"), antennas.getcol("POSITION")
    except (RuntimeError, OSError) as err:
        raise AveragingError(f"{ms}: cannot be read: {str(err).splitlines()[0]}") from err
    cross = first != second
    by_row = flags.mean(axis=(1, 2))
    of_antenna = [cross & ((first == place) | (second == place)) for place in range(len(names))]
    lengths_m = np.hypot(uvw_m[:, 0], uvw_m[:, 1])[cross & (by_row < 1)]
    return SetFacts(
        rows=len(first),
        times_s=tuple(np.unique(times_s).tolist()),
        interval_s=interval_s,
        frequencies_hz=tuple(np.asarray(frequencies_hz).tolist()),
        width_hz=width_hz,
        antennas=tuple(names),
        positions_m=tuple((float(x), float(y), float(z)) for x, y, z in positions_m),
        flagged=float(by_row[cross].mean()) if cross.any() else 1.0,
        flagged_by_antenna=tuple(float(by_row[rows].mean()) if rows.any() else 1.0 for rows in of_antenna),
        flagged_by_channel=tuple(flags[cross].mean(axis=(0, 2)).tolist()),
        uv_m=(float(lengths_m.min()), float(lengths_m.max())) if len(lengths_m) else (0.0, 0.0),
    )


def verify_averaged(ms: str, notes: ReadingNotes, channels: int, times: int) -> SetFacts:
    """Check an averaged set against the full-resolution set; write its facts beside it and return them.

    Parameters
    ----------
    notes: reading notes of the full-resolution set.
    channels, times: numbers of input channels and integrations per averaged one.

    Raises
    ------
    AveragingError
        If rows, channels or times are missing, or unflagged visibilities are not finite. A fully flagged set, such as
        that of a source below the horizon, is complete.
    """
    facts = measure_facts(ms)
    expected = {
        "integrations": (len(facts.times_s), -(-notes.times // times)),
        "channels": (len(facts.frequencies_hz), -(-notes.channels // channels)),
        "rows": (facts.rows, -(-notes.times // times) * notes.baselines),
    }
    if wrong := [
        f"{count} {noun}, and {expected_count} are expected"
        for noun, (count, expected_count) in expected.items()
        if count != expected_count
    ]:
        raise AveragingError(f"{ms}: has {'; '.join(wrong)}; the full-resolution set is kept")
    with closing(casacore.tables.table(ms, ack=False)) as table:
        spoiled = ~np.isfinite(table.getcol("DATA")) & ~table.getcol("FLAG")
    if spoiled.any():
        raise AveragingError(
            f"{ms}: {int(spoiled.sum())} unflagged visibilities are no numbers; the full-resolution set is kept"
        )
    write_atomically(facts_path(ms), json.dumps(asdict(facts)))
    return facts


def remove_set(ms: Path) -> bool:
    """Remove a measurement set; return whether it existed. Renamed first: a partial set never has its name."""
    if not ms.is_dir():
        return False
    removed = ms.with_name(f".{ms.name}.removed")
    shutil.rmtree(removed, ignore_errors=True)
    os.rename(ms, removed)  # noqa: PTH104 - a directory
    shutil.rmtree(removed)
    return True
