"""How much disk an image takes before it is made: averaged sets, and WSClean's reordered visibilities."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.imaging.ms.tables import MeasurementSetError, opened, opened_set
from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    from lofarpipe.imaging.ms.measurement_set import SetMetadata
    from lofarpipe.imaging.plan.losses import AveragingWish

# Bytes that WSClean 3.1 writes per row, channel and polarisation imaged: visibility 8, weight 4, model 8; flagged ones
# and those outside the uv range too. Per row 38 more. Source: the sizes of its files in -temp-dir, with tDDECal.
REORDERED_BYTES = 12
MODEL_BYTES = 8
REORDERED_ROW_BYTES = 38
# Bytes of an averaged set per row and channel: 4 complex numbers, Dysco weights 1.5, flags 0.5; per row about 100.
# Measured: a set of 425,475 rows and 20 channels takes 294 MB, of which this makes 332 MB.
AVERAGED_BYTES = 34
AVERAGED_ROW_BYTES = 100


@dataclass(frozen=True)
class ImagingVolume:
    """Rows and visibilities (rows x channels) of all sets together, after averaging."""

    rows: float
    visibilities: float

    def reordered_bytes(self, polarisations: int = 1, with_model: bool = True) -> float:
        """Return the size of WSClean's temporary files, with the model if it cleans with -mgain < 1."""
        per_visibility = REORDERED_BYTES + (MODEL_BYTES if with_model else 0)
        return self.visibilities * polarisations * per_visibility + self.rows * REORDERED_ROW_BYTES

    @property
    def averaged_bytes(self) -> float:
        """Size of the averaged sets, with Dysco weights and uncompressed visibilities of 4 correlations."""
        return self.visibilities * AVERAGED_BYTES + self.rows * AVERAGED_ROW_BYTES


def least_volume(sets: Sequence[SetMetadata], wish: AveragingWish) -> ImagingVolume:
    """Return the volume after the expected averaging.

    The plan itself averages no more: it weights long baselines up, and the beam is wider than at the zenith.

    Raises
    ------
    ValueError
        If the stations have no diameter.
    """
    from lofarpipe.imaging.plan.losses import expected_steps

    first = min(sets, key=lambda one: float(one.frequencies_hz.min()))
    freqstep, timestep = expected_steps(first, wish)
    # DP3 fills gaps with flagged slots.
    shapes = [(one.times.grid_slots * one.layout.pairs, len(one.frequencies_hz)) for one in sets]
    rows = sum(rows for rows, _ in shapes) / timestep
    visibilities = sum(rows * channels for rows, channels in shapes) / timestep / freqstep
    return ImagingVolume(rows, visibilities)


def present_volume(paths: Sequence[str]) -> ImagingVolume | None:
    """Return the volume of sets without averaging; None without sets, or if the first cannot be read.

    Only the first is opened: the others are taken to hold as much as their files are larger.
    """
    sizes = [table_bytes(path) for path in paths]
    if not sizes or not sizes[0]:
        return None
    try:
        changed_ns = Path(paths[0], "table.dat").stat().st_mtime_ns
        rows, channels = _rows_and_channels(paths[0], changed_ns)
    except (OSError, MeasurementSetError):
        return None
    share = sum(sizes) / sizes[0]
    return ImagingVolume(rows * share, rows * channels * share)


@functools.lru_cache(maxsize=1024)
def _rows_and_channels(path: str, _changed_ns: int) -> tuple[int, int]:
    """Return the shape of a set, opened once for several steps while it stays as it was at a time."""
    with opened_set(path) as table:
        rows = int(table.nrows())
    with opened(f"{path}::SPECTRAL_WINDOW") as windows:
        return rows, int(windows.getcell("NUM_CHAN", 0))


def table_bytes(path: str) -> int:
    """Return the size of the files of a set's main table; 0 if missing."""
    try:
        with os.scandir(path) as entries:
            return sum(entry.stat().st_size for entry in entries if entry.is_file())
    except OSError:
        return 0
