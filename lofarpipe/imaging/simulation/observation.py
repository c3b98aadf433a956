"""A simulated observation: measurement sets, sky model and truth in one directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import casacore.tables
import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.beam.width import station_fwhm_deg, station_kind
from lofarpipe.imaging.ms.uvw import station_uvw_m
from lofarpipe.imaging.simulation.sky import (
    TRUTH_FILE,
    Source,
    Truth,
    draw_sources,
    read_truth,
    skymodel_text,
    write_truth,
)
from lofarpipe.imaging.simulation.stations import ObservationSettings, Station, load_stations
from lofarpipe.imaging.simulation.tables import SetLayout, array, fill_row, write_subtables
from lofarpipe.imaging.weighting.noise import station_sefd_jy
from lofarpipe.support.dataclass import dataclass

SKYMODEL_FILE = "sky.skymodel"
UNFINISHED = ".unfinished"

RunPrograms = Callable[[Sequence[Sequence[str]]], None]
"""Runs commands, possibly in parallel; raises if one fails."""
Prediction = Callable[[Path, Path, bool], Sequence[str]]
"""Returns the command that predicts a sky model into DATA of a set, with or without the beam."""

NCORRELATIONS = 4
TILE_CELLS = 131072  # visibilities in a tile: about 1 MB of DATA, read by one disk access
INCREMENTAL_COLUMNS = (
    *("FLAG_ROW", "WEIGHT", "SIGMA", "ARRAY_ID", "DATA_DESC_ID", "EXPOSURE", "FEED1", "FEED2", "FIELD_ID"),
    *("INTERVAL", "OBSERVATION_ID", "PROCESSOR_ID", "SCAN_NUMBER", "STATE_ID", "TIME", "TIME_CENTROID"),
)
CONSTANT_IDS = {
    **dict.fromkeys(("DATA_DESC_ID", "FEED1", "FEED2", "FIELD_ID", "ARRAY_ID", "OBSERVATION_ID", "SCAN_NUMBER"), 0),
    **dict.fromkeys(("PROCESSOR_ID", "STATE_ID"), -1),  # -1: those subtables are empty
}


def create_main_table(path: str, nchannels: int) -> Any:
    """Create a MeasurementSet with empty subtables at ``path``, and return it open for writing."""
    described = casacore.tables.required_ms_desc()
    described.update(casacore.tables.maketabdesc([_visibility_column("DATA", "complex", nchannels)]))
    described.update(casacore.tables.maketabdesc([_visibility_column("WEIGHT_SPECTRUM", "float", nchannels)]))
    fixed = {"UVW": [3], "FLAG": [nchannels, NCORRELATIONS], "WEIGHT": [NCORRELATIONS], "SIGMA": [NCORRELATIONS]}
    for column, shape in fixed.items():
        described[column].update(shape=shape, ndim=len(shape), option=5)  # 5: direct, of fixed shape
    managers = {f"*{number}": manager for number, manager in enumerate(_storage_managers(nchannels), 1)}
    table = casacore.tables.default_ms(path, described, managers)
    # casacore's default frame is ITRF; u, v, w are in the frame of the phase centre.
    table.putcolkeyword("UVW", "MEASINFO", {"type": "uvw", "Ref": "J2000"})
    return table


def _visibility_column(name: str, value_type: str, nchannels: int) -> Any:
    """Return a column of (nchannels, 4) single-precision values."""
    column = array(name, 0j if value_type == "complex" else 0.0, [nchannels, NCORRELATIONS])
    column["desc"].update(valueType=value_type, option=5)
    return column


def _storage_managers(nchannels: int) -> list[dict[str, Any]]:
    """Return the storage managers: large columns tiled, constant ones incremental, as in LOFAR's sets."""
    rows = max(1, TILE_CELLS // (nchannels * NCORRELATIONS))
    visibility = [NCORRELATIONS, nchannels]
    tiles = {"DATA": [*visibility, rows], "FLAG": [*visibility, rows * 8], "WEIGHT_SPECTRUM": [*visibility, rows * 2]}
    managers: list[tuple[str, str, list[str], dict[str, Any]]] = [
        ("TiledColumnStMan", f"Tiled{column}", [column], {"DEFAULTTILESHAPE": np.array(tile, np.int32)})
        for column, tile in [*tiles.items(), ("UVW", [3, 16384])]
    ]
    managers.append(("IncrementalStMan", "ISM", list(INCREMENTAL_COLUMNS), {}))
    managers.append(("StandardStMan", "SSM", ["ANTENNA1", "ANTENNA2"], {"BUCKETSIZE": 131072}))
    keys = ("TYPE", "NAME", "COLUMNS", "SPEC")
    return [{**dict(zip(keys, manager, strict=True)), "SEQNR": 0} for manager in managers]


def baselines(nstations: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return antenna1 and antenna2 of all baselines, autocorrelations included, antenna1 <= antenna2."""
    first, second = np.triu_indices(nstations)
    return first.astype(np.int32), second.astype(np.int32)


def write_rows(table: Any, times_s: NDArray[np.float64], timestep_s: float, nstations: int) -> None:
    """Add the rows of all times and baselines, and fill the columns independent of sky and noise."""
    first, second = baselines(nstations)
    table.addrows(len(first) * len(times_s))
    # The incremental storage manager repeats a value: one cell suffices for a run of rows.
    for column, value in CONSTANT_IDS.items():
        table.putcell(column, 0, value)
    unit = np.ones(NCORRELATIONS, np.float32)
    fill_row(table, 0, EXPOSURE=timestep_s, INTERVAL=timestep_s, FLAG_ROW=False, WEIGHT=unit, SIGMA=unit)
    for column in ("TIME", "TIME_CENTROID"):
        for slot, time_s in enumerate(times_s):
            table.putcell(column, slot * len(first), time_s)
    table.putcol("ANTENNA1", np.tile(first, len(times_s)))
    table.putcol("ANTENNA2", np.tile(second, len(times_s)))


def write_uvw(table: Any, station_uvw_m: NDArray[np.float64]) -> None:
    """Write UVW in metres from u, v, w per station, shape (time, station, 3): antenna2 minus antenna1."""
    first, second = baselines(station_uvw_m.shape[1])
    table.putcol("UVW", (station_uvw_m[:, second] - station_uvw_m[:, first]).reshape(-1, 3))


def write_visibilities(
    table: Any, nslots: int, nchannels: int, weights: NDArray[np.float64], flagged: NDArray[np.bool_]
) -> None:
    """Write DATA 0, WEIGHT_SPECTRUM and FLAG, a slot at a time.

    ``weights`` (baseline,) in 1/Jy^2 per channel and correlation; ``flagged`` (slot, baseline).
    """
    nbaselines = len(weights)
    shape = (nbaselines, nchannels, NCORRELATIONS)
    spectrum = np.broadcast_to(weights.astype(np.float32)[:, None, None], shape).copy()
    empty = np.zeros(shape, np.complex64)
    for slot in range(nslots):
        rows = (slot * nbaselines, nbaselines)
        table.putcol("DATA", empty, *rows)
        table.putcol("WEIGHT_SPECTRUM", spectrum, *rows)
        table.putcol("FLAG", np.broadcast_to(flagged[slot][:, None, None], shape).copy(), *rows)


@dataclass(frozen=True, eq=False)
class PlannedSet:
    """A set to write: layout, time block, subband, and sample times (UTC, MJD seconds)."""

    name: str
    layout: SetLayout
    block: int
    index: int  # subband index, from 0
    times_s: NDArray[np.float64]


def plan_sets(settings: ObservationSettings, stations: Sequence[Station]) -> list[PlannedSet]:
    """Return all sets of an observation, by block and ascending frequency."""
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
    """Write the sets with weights, flags and u, v, w, but DATA 0; return their paths."""
    paths = []
    uvw_m: dict[int, NDArray[np.float64]] = {}
    for one in planned:
        if one.block not in uvw_m:  # all subbands of a block have the same times
            positions_m = np.array([station.position_m for station in one.layout.stations])
            centre_rad = one.layout.settings.phase_centre_rad
            uvw_m[one.block] = station_uvw_m(one.times_s, positions_m, positions_m[0], centre_rad)
        paths.append(directory / one.name)
        _create_set(str(paths[-1]), one, uvw_m[one.block])
    return paths


def _create_set(path: str, planned: PlannedSet, uvw_m: NDArray[np.float64]) -> None:
    """Write one set."""
    layout, settings = planned.layout, planned.layout.settings
    table = create_main_table(path, settings.nchannels)
    try:
        write_rows(table, planned.times_s, settings.timestep_s, len(layout.stations))
        write_uvw(table, uvw_m)
        weights = sefd_rms_jy(layout) ** -2
        write_visibilities(table, len(planned.times_s), settings.nchannels, weights, flagged_rows(planned))
    finally:
        table.close()
    write_subtables(path, layout)


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
    first, second = baselines(len(sefd_jy))
    noise_jy: NDArray[np.float64] = np.sqrt(
        sefd_jy[first] * sefd_jy[second] / (2 * settings.channel_width_hz * settings.timestep_s)
    )
    return noise_jy


def flagged_rows(planned: PlannedSet) -> NDArray[np.bool_]:
    """Return row flags, shape (slot, baseline): autocorrelations, and random stations and times."""
    settings, nstations = planned.layout.settings, len(planned.layout.stations)
    random = np.random.default_rng([settings.seed, 1, planned.block, planned.index])
    is_missing = random.random((len(planned.times_s), nstations)) < settings.flagged_fraction
    first, second = baselines(nstations)
    flagged: NDArray[np.bool_] = is_missing[:, first] | is_missing[:, second] | (first == second)
    return flagged


def add_noise(path: Path, planned: PlannedSet) -> None:
    """Add thermal noise to DATA of a set, reproducible by seed, block and subband."""
    settings = planned.layout.settings
    scale_jy = (sefd_rms_jy(planned.layout) * settings.noise_scale).astype(np.float32)[:, None, None, None]
    random = np.random.default_rng([settings.seed, 2, planned.block, planned.index])
    shape = (len(scale_jy), settings.nchannels, NCORRELATIONS, 2)  # 2: real and imaginary
    with casacore.tables.table(str(path), readonly=False, ack=False) as table:
        for slot in range(len(planned.times_s)):
            rows = (slot * len(scale_jy), len(scale_jy))
            noise_jy = random.standard_normal(shape, dtype=np.float32) * scale_jy
            table.putcol("DATA", table.getcol("DATA", *rows) + noise_jy.view(np.complex64)[..., 0], *rows)


def simulate(
    directory: Path,
    settings: ObservationSettings,
    prediction: Prediction,
    run: RunPrograms,
    beam: bool = True,
    sources: Sequence[Source] = (),
) -> Truth:
    """Simulate an observation into ``directory``: sets, ``sky.skymodel``, and finally ``truth.json``.

    ``run`` executes the commands of ``prediction``. Sources are drawn from the seed by default. An existing observation
    with the same settings is kept. Files appear only when complete.

    Raises
    ------
    PipelineError
        If the directory holds another observation, or lacks some of its sets, or if the sources do not fit.
    """
    finished = directory / TRUTH_FILE
    if finished.exists():
        return _existing(finished, settings, beam)
    unfinished = directory / UNFINISHED
    shutil.rmtree(unfinished, ignore_errors=True)
    stations = load_stations(settings.nstations, settings.antenna_set)
    sources = tuple(sources) or _draw(settings, stations)
    unfinished.mkdir(parents=True)
    (unfinished / SKYMODEL_FILE).write_text(skymodel_text(sources))
    names = _make_sets(unfinished, settings, stations, prediction, run, beam)
    _publish(unfinished, directory, [*names, SKYMODEL_FILE])
    sets = tuple(str((directory / name).resolve()) for name in names)
    truth = Truth(settings, sources, sets, beam, station_sefds_jy(settings, stations))
    write_truth(finished, truth)
    return truth


def _existing(path: Path, settings: ObservationSettings, beam: bool) -> Truth:
    """Return the truth of an existing observation with the same settings."""
    truth = read_truth(path)
    if (truth.settings, truth.beam) != (settings, beam):
        raise PipelineError(f"{path}: another observation is there; remove it, or simulate into another directory")
    lost = [name for name in truth.sets if not Path(name).is_dir()]
    if lost:
        raise PipelineError(f"{path}: {len(lost)} of its sets are not there, such as {lost[0]}; remove {path.parent}")
    return truth


def _draw(settings: ObservationSettings, stations: Sequence[Station]) -> tuple[Source, ...]:
    """Draw sources from the seed, spread over the stations' field of view."""
    centre_deg = (settings.right_ascension_deg, settings.declination_deg)
    try:
        return tuple(draw_sources(settings.seed, settings.nsources, centre_deg, field_width_deg(settings, stations)))
    except ValueError as err:
        raise PipelineError(f"simulation: {err}") from err


def field_width_deg(settings: ObservationSettings, stations: Sequence[Station]) -> float:
    """Return the half-power width of the mean station's beam at the lowest frequency and the zenith, degrees."""
    frequency_hz = settings.subband_frequencies_hz()[0]
    kinds = [station_kind("LOFAR", settings.antenna_set, frequency_hz, station.diameter_m) for station in stations]
    return sum(station_fwhm_deg(frequency_hz, kind.diameter_m, kind.alpha) for kind in kinds) / len(kinds)


def _make_sets(
    directory: Path,
    settings: ObservationSettings,
    stations: Sequence[Station],
    prediction: Prediction,
    run: RunPrograms,
    beam: bool,
) -> list[str]:
    """Write all sets: empty, then the sky, then noise, which the beam correction must not scale."""
    planned = plan_sets(settings, stations)
    paths = create_sets(planned, directory)
    run([prediction(path, directory / SKYMODEL_FILE, beam) for path in paths])
    if settings.noise_scale > 0:
        for path, one in zip(paths, planned, strict=True):
            add_noise(path, one)
    return [path.name for path in paths]


def _publish(unfinished: Path, directory: Path, names: Sequence[str]) -> None:
    """Move a complete set to its final path, replacing remains of an interrupted move."""
    for name in names:
        target = directory / name
        if target.is_dir():
            shutil.rmtree(target)
        (unfinished / name).replace(target)
    unfinished.rmdir()
