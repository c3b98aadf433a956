"""Measurement sets of a simulated observation: made without sky, and given thermal noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import casacore.tables
import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.simulation import main_table
from lofarpipe.imaging.simulation import tables as lofar_tables
from lofarpipe.imaging.simulation import tables as subtables
from lofarpipe.imaging.simulation.settings import ObservationSettings
from lofarpipe.imaging.simulation.stations import Station, station_uvw_m
from lofarpipe.imaging.simulation.tables import SetLayout
from lofarpipe.imaging.weighting.noise import station_sefd_jy


def predict_argv(dp3: str, ms: Path, skymodel: Path, beam: bool) -> tuple[str, ...]:
    """Return the command that replaces DATA by the visibilities of a sky model.

    With ``beam``, sources are seen through each station's beam, and the data are then corrected for the beam at the
    phase centre, as those of the target pipeline are; the set says so in keywords of DATA that DP3 writes.
    ``beam_interval`` keeps DP3's default of 0: other values give wrong beams. Weights stay as they are.
    """
    argv = [dp3, f"msin={ms}", "msout=.", "numthreads=1", f"predict.sourcedb={skymodel}"]
    if not beam:
        return (*argv, "steps=[predict]")
    correction = ["applybeam.invert=True", "applybeam.updateweights=False"]
    return (*argv, "steps=[predict,applybeam]", "predict.usebeammodel=True", *correction)


@dataclass(frozen=True, eq=False)
class PlannedSet:
    """A set before it is written: its layout, which time block and subband, its sample times (UTC, MJD seconds)."""

    name: str
    layout: SetLayout
    block: int
    index: int  # of the subband, from 0
    times_s: NDArray[np.float64]


def plan_sets(settings: ObservationSettings, stations: Sequence[Station]) -> list[PlannedSet]:
    """Return all sets of an observation, block by block, rising in frequency."""
    subbands = list(zip(settings.subband_numbers(), settings.subband_frequencies_hz(), strict=True))
    planned = []
    for block, times_s in enumerate(settings.block_times_s()):
        start_s, end_s = times_s[0] - settings.timestep_s / 2, times_s[-1] + settings.timestep_s / 2
        for index, (number, frequency_hz) in enumerate(subbands):
            layout = SetLayout(settings, stations, frequency_hz, number, float(start_s), float(end_s))
            planned.append(
                PlannedSet(f"SIM{settings.seed:03d}_T{block}_SB{number:03d}.MS", layout, block, index, times_s)
            )
    return planned


def create_sets(planned: Sequence[PlannedSet], directory: Path) -> list[Path]:
    """Write the sets, with weights, flags and u, v, w, but nothing in DATA; returns their paths."""
    paths = []
    uvw_m: dict[int, NDArray[np.float64]] = {}
    for one in planned:
        if one.block not in uvw_m:  # all subbands of a block have the same times
            uvw_m[one.block] = _block_uvw_m(one)
        paths.append(directory / one.name)
        _create_set(str(paths[-1]), one, uvw_m[one.block])
    return paths


def _block_uvw_m(planned: PlannedSet) -> NDArray[np.float64]:
    """Return u, v, w per station of one time block, shape (time, station, 3), metres."""
    positions_m = np.array([station.position_m for station in planned.layout.stations])
    return station_uvw_m(planned.times_s, positions_m, positions_m[0], planned.layout.settings.phase_centre_rad)


def _create_set(path: str, planned: PlannedSet, uvw_m: NDArray[np.float64]) -> None:
    """Write one set."""
    layout, settings = planned.layout, planned.layout.settings
    table = main_table.create_main_table(path, settings.nchannels)
    try:
        main_table.write_rows(table, planned.times_s, settings.timestep_s, len(layout.stations))
        main_table.write_uvw(table, uvw_m)
        weights = sefd_rms_jy(layout) ** -2
        main_table.write_visibilities(table, len(planned.times_s), settings.nchannels, weights, flagged_rows(planned))
    finally:
        table.close()
    _write_subtables(path, layout)


def _write_subtables(path: str, layout: SetLayout) -> None:
    """Write all subtables of a set."""
    subtables.write_antenna(path, layout)
    subtables.write_feed(path, layout)
    subtables.write_field(path, layout)
    subtables.write_polarization(path)
    subtables.write_data_description(path)
    subtables.write_spectral_window(path, layout)
    lofar_tables.write_observation(path, layout)
    lofar_tables.write_station(path, layout)
    lofar_tables.write_antenna_field(path, layout)
    lofar_tables.write_element_failure(path)


def station_sefds_jy(settings: ObservationSettings, stations: Sequence[Station]) -> Mapping[str, tuple[float, ...]]:
    """Return the system equivalent flux density of one polarisation, Jy: per station, one for each subband."""
    frequencies_hz = settings.subband_frequencies_hz()
    return {
        station.name: tuple(station_sefd_jy(station.name, hz, settings.antenna_set) for hz in frequencies_hz)
        for station in stations
    }


def sefd_rms_jy(layout: SetLayout) -> NDArray[np.float64]:
    """Return the noise per baseline of one channel, sample and correlation, real or imaginary part, Jy.

    sqrt(SEFD_p SEFD_q / (2 channel width * time step)). Source: Thompson, Moran & Swenson 2017, eq. 6.50.
    """
    settings = layout.settings
    sefd_jy = np.array(
        [station_sefd_jy(station.name, layout.frequency_hz, settings.antenna_set) for station in layout.stations]
    )
    first, second = main_table.baselines(len(sefd_jy))
    noise_jy: NDArray[np.float64] = np.sqrt(
        sefd_jy[first] * sefd_jy[second] / (2 * settings.channel_width_hz * settings.timestep_s)
    )
    return noise_jy


def flagged_rows(planned: PlannedSet) -> NDArray[np.bool_]:
    """Return which rows are flagged, shape (slot, baseline): autocorrelations, and now and then a station."""
    settings, nstations = planned.layout.settings, len(planned.layout.stations)
    random = np.random.default_rng([settings.seed, 1, planned.block, planned.index])
    away = random.random((len(planned.times_s), nstations)) < settings.flagged_fraction
    first, second = main_table.baselines(nstations)
    flagged: NDArray[np.bool_] = away[:, first] | away[:, second] | (first == second)
    return flagged


def add_noise(path: Path, planned: PlannedSet) -> None:
    """Add thermal noise to DATA of a set, the same for the same seed, block and subband."""
    settings = planned.layout.settings
    scale_jy = (sefd_rms_jy(planned.layout) * settings.noise_scale).astype(np.float32)[:, None, None, None]
    random = np.random.default_rng([settings.seed, 2, planned.block, planned.index])
    shape = (len(scale_jy), settings.nchannels, main_table.NCORRELATIONS, 2)  # 2: real and imaginary
    with casacore.tables.table(str(path), readonly=False, ack=False) as table:
        for slot in range(len(planned.times_s)):
            rows = (slot * len(scale_jy), len(scale_jy))
            noise_jy = random.standard_normal(shape, dtype=np.float32) * scale_jy
            table.putcol("DATA", table.getcol("DATA", *rows) + noise_jy.view(np.complex64)[..., 0], *rows)
