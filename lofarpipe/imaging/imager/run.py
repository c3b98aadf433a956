"""One run of the imager: read visibilities, make dirty images, clean, write the products."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import counted
from lofarpipe.imaging.imager.beam_times import list_beam_times
from lofarpipe.imaging.imager.channels import Channel
from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.imaging.imager.major_cycle import Hooks, MajorCycles, State, channel_weights
from lofarpipe.imaging.imager.masks import local_factors
from lofarpipe.imaging.imager.model_data import write_model_data
from lofarpipe.imaging.imager.operators import Gridder
from lofarpipe.imaging.imager.products import CleaningFacts, OutputBand, ProductWriter, read_observation, whole_band
from lofarpipe.imaging.imager.psf import central_psfs, make_psfs
from lofarpipe.imaging.imager.restore import RestoringBeam, fit_beam
from lofarpipe.imaging.imager.scales import automatic_scales
from lofarpipe.imaging.imager.sets import common_column, join_channels, read_sources
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.imager.station_beams import EveryBeamJones, StationResponses
from lofarpipe.imaging.imager.visibilities import read_channels
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.heap import release_freed_memory

Cube = NDArray[np.float32]  # (pol, chan, y, x)

EPSILON = 1e-3  # nominal accuracy of dirty images and PSFs; their largest error is 2e-5 of the peak


@dataclass(eq=False)
class Clock:
    """CPU seconds by part of a run."""

    parts_s: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the CPU time of the block to a part."""
        start_s = _cpu_s()
        yield
        self.parts_s[name] = self.parts_s.get(name, 0.0) + _cpu_s() - start_s


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True, eq=False)
class RunFacts:
    """Results of a run; ``beam`` is of the whole band, None without a PSF."""

    beam: RestoringBeam | None
    majors: int
    iterations: int
    sigma_jy: float
    reason: str
    visibilities: int
    paths: list[str]
    parts_s: dict[str, float]


def image_sets(
    settings: ImagerSettings, hooks: Hooks | None = None, history: Sequence[str] = (), scratch: Path | None = None
) -> RunFacts:
    """Image measurement sets, and write the products.

    Raises
    ------
    ImagerError
        If the sets are incompatible with each other or the settings, or have no usable visibility.
    MeasurementSetError
        If a set cannot be read.
    """
    hooks, clock = hooks or Hooks(), Clock()
    check_station_beams(settings)
    with clock.part("read"):
        channels = read_channels(settings, scratch)
        release_freed_memory()
    visibilities = sum(channel.count for channel in channels)
    hooks.notice(f"{visibilities} visibilities in {counted(len(channels), 'output channel')}")
    gridder = Gridder.for_channels(channels, settings.size, settings.cell_rad, settings.threads)
    hooks = with_station_beams(hooks, settings, channels, gridder)
    with clock.part("psf"):
        central = central_psfs(channels, gridder, settings.patch_radius)
    bands, total_band = describe_bands(channels, central, settings.cell_rad)
    observation = read_observation(settings.sets, settings.field_id, common_column(settings))
    writer = ProductWriter(settings, observation, bands, total_band, history)
    with clock.part("dirty"):
        residual = dirty_images(settings, channels, gridder)
        for pol, stokes in enumerate(settings.pol):
            writer.write_planes("dirty", residual[pol], stokes)
    if "psf" in settings.products:
        with clock.part("psf images"):
            writer.write_planes("psf", psf_images(channels, gridder))
    with clock.part("clean"):
        states = clean_groups(settings, channels, gridder, central, total_band.beam, residual, hooks)
    models = [plane for state in states for plane in state.model]
    with clock.part("write"):
        for pol, stokes in enumerate(settings.pol):
            state = states[pol % len(states)]
            writer.write_cleaned(residual[pol], models[pol], CleaningFacts(state.majors, state.iterations), stokes)
    if settings.save_model_data:
        with clock.part("model data"):
            write_model_data(settings, [channel.band for channel in channels], models)
    last = states[0]
    return RunFacts(
        total_band.beam,
        last.majors,
        last.iterations,
        last.sigma_jy,
        last.reason,
        visibilities,
        writer.paths,
        clock.parts_s,
    )


def check_station_beams(settings: ImagerSettings) -> None:
    """Refuse the stations' beams for sets without a model of them.

    Raises
    ------
    ImagerError
        If a set has none.
    """
    for path in settings.sets if settings.station_beams_jy else ():
        if not read_metadata(path, str(settings.field_id)).has_lofar_beam:
            raise ImagerError(
                f"{path}: has no beam model of LOFAR's stations (table LOFAR_ANTENNA_FIELD), which -station-beams "
                "needs; leave that option out"
            )


def with_station_beams(hooks: Hooks, settings: ImagerSettings, channels: Sequence[Channel], gridder: Gridder) -> Hooks:
    """Return hooks that correct bright sources for the stations' beams, if the settings ask for it."""
    if not settings.station_beams_jy or hooks.beyond is not None:
        return hooks
    groups = join_channels(read_sources(settings))
    centre_rad = groups[0][0].phase_centre_rad
    times, limit_jy = list_beam_times(groups), settings.station_beams_jy
    responses = StationResponses(channels, gridder, times, centre_rad, limit_jy, EveryBeamJones())
    hooks.notice(f"Sources above {limit_jy:g} Jy are predicted with the beams of the stations")
    return replace(hooks, beyond=responses)


def describe_bands(
    channels: Sequence[Channel], central: NDArray[np.float32], cell_rad: float
) -> tuple[list[OutputBand], OutputBand]:
    """Return the header facts of the output channels and the whole band, with their restoring beams."""
    beams = [fit_beam(psf, cell_rad) if one.count else None for one, psf in zip(channels, central, strict=True)]
    bands = [_band(channel, beam) for channel, beam in zip(channels, beams, strict=True)]
    mean = np.tensordot(channel_weights(channels), central, 1)
    return bands, whole_band(bands, fit_beam(mean, cell_rad))


def _band(channel: Channel, beam: RestoringBeam | None) -> OutputBand:
    return OutputBand(
        channel.band.low_hz,
        channel.band.high_hz,
        channel.weight_sum,
        channel.count,
        channel.effective_count,
        channel.natural_weight_sum,
        beam,
    )


def dirty_images(settings: ImagerSettings, channels: Sequence[Channel], gridder: Gridder) -> Cube:
    """Return the dirty images (pol, chan, y, x)."""
    images = np.empty((len(settings.pol), len(channels), gridder.ny, gridder.nx), np.float32)
    for pol in range(len(settings.pol)):
        for chan, channel in enumerate(channels):
            gridder.dirty(channel, channel.vis[pol], EPSILON, images[pol, chan])
    return images


def psf_images(channels: Sequence[Channel], gridder: Gridder) -> Iterator[NDArray[np.float32]]:
    """Yield the full-size PSF of each channel in one reused array."""
    plane = np.empty((gridder.ny, gridder.nx), np.float32)
    for channel in channels:
        gridder.psf(channel, EPSILON, plane)
        yield plane


def clean_groups(
    settings: ImagerSettings,
    channels: Sequence[Channel],
    gridder: Gridder,
    central: NDArray[np.float32],
    beam: RestoringBeam | None,
    residual: Cube,
    hooks: Hooks,
) -> list[State]:
    """Clean the residual in place; return one state for all joined Stokes parameters, or one for each."""
    pols = range(len(settings.pol))
    groups = [pols] if settings.join_pols or len(pols) == 1 else [range(pol, pol + 1) for pol in pols]
    if settings.niter == 0:
        return [State(np.zeros_like(residual[group.start : group.stop])) for group in groups]
    if settings.local_rms and beam is not None:
        box = round(settings.local_rms_window * np.sqrt(beam.major_rad * beam.minor_rad) / settings.cell_rad)
        hooks = replace(hooks, local_factors=partial(local_factors, box=max(1, box)))
    psfs = make_psfs(channels, gridder, central, settings.tiles, settings.patch_radius, scales_of(settings, beam))
    cleanings = [
        MajorCycles(channels, gridder, settings, psfs, residual[group.start : group.stop], hooks, group)
        for group in groups
    ]
    return [one.run() for one in cleanings]


def scales_of(settings: ImagerSettings, beam: RestoringBeam | None) -> tuple[float, ...]:
    """Return the scales, pixels: from the settings, else up to 0.28 / the shortest uv distance."""
    if not settings.multiscale or beam is None:
        return (0.0,)
    if settings.scales:
        return tuple(sorted({0.0, *settings.scales}))
    return automatic_scales(np.sqrt(beam.major_rad * beam.minor_rad) / settings.cell_rad, settings.largest_scale)
