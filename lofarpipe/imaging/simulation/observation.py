"""A whole simulated observation: measurement sets, sky model and truth in one directory."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.beam.formula import station_fwhm_deg, station_kind
from lofarpipe.imaging.simulation import measurement_sets
from lofarpipe.imaging.simulation.measurement_sets import predict_argv
from lofarpipe.imaging.simulation.settings import ObservationSettings
from lofarpipe.imaging.simulation.sky import (
    TRUTH_FILE,
    Source,
    Truth,
    draw_sources,
    read_truth,
    skymodel_text,
    write_truth,
)
from lofarpipe.imaging.simulation.stations import Station, load_stations

SKYMODEL_FILE = "sky.skymodel"
UNFINISHED = ".unfinished"

RunPrograms = Callable[[Sequence[Sequence[str]]], None]
"""Runs commands, several at a time if it likes; raises if one fails."""


def simulate(
    directory: Path,
    settings: ObservationSettings,
    dp3: str,
    run: RunPrograms,
    beam: bool = True,
    sources: Sequence[Source] = (),
) -> Truth:
    """Make an observation in ``directory``: sets, ``sky.skymodel``, and last of all ``truth.json``.

    ``dp3`` is the path of DP3, which ``run`` starts. The sources are drawn from the seed unless they are given.
    A directory that holds an observation of the same settings already is left as it is. Everything appears under its
    name only when it is complete.

    Raises
    ------
    PipelineError
        If the directory holds another observation, or has lost some of its sets; if so many sources do not fit.
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
    names = _make_sets(unfinished, settings, stations, dp3, run, beam)
    _publish(unfinished, directory, [*names, SKYMODEL_FILE])
    sets = tuple(str((directory / name).resolve()) for name in names)
    truth = Truth(settings, sources, sets, beam, measurement_sets.station_sefds_jy(settings, stations))
    write_truth(finished, truth)
    return truth


def _existing(path: Path, settings: ObservationSettings, beam: bool) -> Truth:
    """Return the truth of an observation that is there, if it is the one that was asked for."""
    truth = read_truth(path)
    if (truth.settings, truth.beam) != (settings, beam):
        raise PipelineError(f"{path}: another observation is there; remove it, or simulate into another directory")
    lost = [name for name in truth.sets if not Path(name).is_dir()]
    if lost:
        raise PipelineError(f"{path}: {len(lost)} of its sets are not there, such as {lost[0]}; remove {path.parent}")
    return truth


def _draw(settings: ObservationSettings, stations: Sequence[Station]) -> tuple[Source, ...]:
    """Return sources drawn from the seed, spread over the field that the stations see."""
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
    dp3: str,
    run: RunPrograms,
    beam: bool,
) -> list[str]:
    """Make all sets: empty, then with the sky, then with noise, which the beam correction must not scale."""
    planned = measurement_sets.plan_sets(settings, stations)
    paths = measurement_sets.create_sets(planned, directory)
    run([predict_argv(dp3, path, directory / SKYMODEL_FILE, beam) for path in paths])
    if settings.noise_scale > 0:
        for path, one in zip(paths, planned, strict=True):
            measurement_sets.add_noise(path, one)
    return [path.name for path in paths]


def _publish(unfinished: Path, directory: Path, names: Sequence[str]) -> None:
    """Move what is complete to its place; a leftover of an interrupted move is replaced."""
    for name in names:
        target = directory / name
        if target.is_dir():
            shutil.rmtree(target)
        (unfinished / name).replace(target)
    unfinished.rmdir()
