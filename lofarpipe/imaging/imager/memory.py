"""Estimate of a run's memory: image planes, averaged visibilities, and work arrays of a channel.

Visibilities beyond the memory limit go to memory-mapped files, one group per output channel. Channels are processed
one after the other, each releasing its pages at the end. Image planes must fit. Source: the
constants are fitted to measured VmHWM, benchmarks/imager_memory.py.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.averaging import GAP_STEPS, averaged_steps
from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.imaging.imager.sets import RowSource, read_sources
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.imager.visibilities import group_bins, output_bands
from lofarpipe.imaging.plan.smearing import SPEED_OF_LIGHT_M_S
from lofarpipe.support.dataclass import dataclass

GB = 1e9
PROGRAM_BYTES = 0.35e9  # libraries, kernels, and a block of rows while reading
PLANES_OF_A_CHANNEL = 2  # residual and model, of float32, for each Stokes parameter
OTHER_PLANES = 7  # work arrays of the resampler, grids of the gridder, means
SCALED_PLANES = 0.5  # per channel in multiscale runs: strided maps of all scales together
WORK_BYTES = 20  # per visibility of the current channel: its prediction, and arrays of the gridder
ORIGIN_BYTES = 24  # station pair and time of a row, for the stations' beams
SAMPLED_ROWS = 20_000  # rows of a source sampled for its share in the uv range


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of a run: program and planes, all used visibilities, and the largest output channel."""

    planes: float
    visibilities: float
    channel: float
    count: float  # used visibilities

    @property
    def in_memory(self) -> float:
        """Return the need with all visibilities in memory."""
        return self.planes + self.visibilities + self.channel

    @property
    def in_files(self) -> float:
        """Return the need with the visibilities in files."""
        return self.planes + 2 * self.channel


def estimate(settings: ImagerSettings) -> MemoryNeed:
    """Estimate the memory of a run from its pixels, output channels, and the rows and channels of the sets.

    Raises
    ------
    MeasurementSetError
        If a set cannot be read.
    """
    sources = read_sources(settings)
    bands = output_bands(sources, settings)
    rows = count = 0.0
    for source in sources:
        averaged, share = averaged_rows(source, settings)
        rows += averaged * share
        count += averaged * share * len(group_bins([source], settings, bands)[1])
    pols = len(settings.pol)
    each = 8 * pols + 4 + 1  # visibilities, weight, mask of a sample
    channel_rows = settings.channels_out * rows if len(sources) == 1 else count
    row_bytes = 24 + (ORIGIN_BYTES if settings.station_beams_jy else 0)  # u, v, w of rows in each output channel
    visibilities = each * count + row_bytes * channel_rows
    largest = count / settings.channels_out
    return MemoryNeed(plane_bytes(settings), visibilities, WORK_BYTES * largest, count)


def averaged_rows(source: RowSource, settings: ImagerSettings) -> tuple[float, float]:
    """Return a source's number of rows after averaging, and the share of visibilities within the uv range."""
    cross = source.antenna1 != source.antenna2
    lengths_m = np.linalg.norm(source.positions_m[source.antenna1] - source.positions_m[source.antenna2], axis=1)
    radius_rad = max(settings.size) / 2 * settings.cell_rad
    highest_hz = float(source.frequencies_hz[-1])
    steps = averaged_steps(lengths_m, highest_hz, radius_rad, source.step_s, settings.averaging_loss)
    shares = np.where(cross, averaged_share(source, steps), 0.0)
    step = max(1, len(shares) // SAMPLED_ROWS)
    with source.opened() as table:
        uvw_m = np.asarray(table.getcol("UVW", 0, -1, step), float)
    distance = np.hypot(uvw_m[:, 0], uvw_m[:, 1])[:, None] * source.frequencies_hz / SPEED_OF_LIGHT_M_S
    inside = (distance >= settings.min_uv_lambda) & (distance <= (settings.max_uv_lambda or np.inf))
    sampled = shares[::step]
    part = float(sampled @ inside.mean(axis=1) / sampled.sum()) if sampled.sum() > 0 else 0.0
    return float(shares.sum()), part


def averaged_share(source: RowSource, steps: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of rows left by averages of ``steps`` time steps; a gap in time ends an average."""
    slots_s = np.unique(source.times_s)
    ends = np.flatnonzero(np.diff(slots_s) > GAP_STEPS * source.step_s)
    lengths = np.diff([-1, *ends, len(slots_s) - 1])
    every = np.unique(steps)
    shares = np.array([np.ceil(lengths / one).sum() for one in every]) / len(slots_s)
    return np.asarray(shares[np.searchsorted(every, steps)])


def plane_bytes(settings: ImagerSettings) -> float:
    """Return the bytes of image planes, PSF patches, and the program itself."""
    planes = float(settings.channels_out * len(settings.pol) * PLANES_OF_A_CHANNEL + OTHER_PLANES)
    if settings.multiscale:
        planes += SCALED_PLANES * settings.channels_out * len(settings.pol)
    patches = settings.tiles**2 + (len(settings.scales) or 6 if settings.multiscale else 1) ** 2
    patch = 4 * (2 * settings.patch_radius + 1) ** 2 * settings.channels_out
    return PROGRAM_BYTES + 4 * planes * settings.size[0] * settings.size[1] + patches * patch


@contextmanager
def working_files(settings: ImagerSettings, notice: Callable[[str], None]) -> Iterator[Path | None]:
    """Yield a temporary directory for the visibilities; None if they fit into memory.

    Raises
    ------
    ImagerError
        If the planes exceed the memory, or the files the free space of the directory's file system.
    """
    need = estimate(settings)
    limit = settings.memory_bytes
    if limit and need.in_memory > limit:
        _check_planes(need, settings)
        place = Path(settings.scratch or Path(settings.name).absolute().parent)
        _check_space(need, place)
        notice(
            f"Memory: {need.in_memory / GB:.1f} GB with all visibilities exceeds {limit / GB:.1f} GB: "
            f"{need.visibilities / GB:.1f} GB of them go to files in {place}, which leaves {need.in_files / GB:.1f} GB"
        )
        directory = Path(tempfile.mkdtemp(prefix="lofar-clean-", dir=place))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        return
    notice(f"Memory: about {need.in_memory / GB:.1f} GB" + (f" of {limit / GB:.1f} GB" if limit else ""))
    yield None


def _check_planes(need: MemoryNeed, settings: ImagerSettings) -> None:
    if need.in_files > settings.memory_bytes:
        width, height = settings.size
        raise ImagerError(
            f"{settings.name}: {settings.channels_out * len(settings.pol)} planes of {width} x {height} pixels and one "
            f"channel's visibilities need {need.in_files / GB:.1f} GB, and {settings.memory_bytes / GB:.1f} GB may be "
            "used; give more memory, or make fewer channels or pixels"
        )


def _check_space(need: MemoryNeed, place: Path) -> None:
    free = shutil.disk_usage(place).free
    if need.visibilities > free:
        raise ImagerError(
            f"{place}: {need.visibilities / GB:.1f} GB of visibilities do not fit into the {free / GB:.1f} GB that are "
            "free; give more memory, or another directory for temporary files (-temp-dir)"
        )
