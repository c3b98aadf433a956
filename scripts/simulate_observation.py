#!/usr/bin/env python3
"""Simulate a LOFAR HBA observation from nothing but a seed: sets, sky model, and the truth about them.

simulate_observation.py OUTDIR [--seed 1] [--nsubbands 6] ... ; every option has its default in --help.
"""

from __future__ import annotations

import os
import subprocess
import sys
import types
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import Field, fields
from functools import partial
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.stations import ObservationSettings
from lofarpipe.programs.find import find, job_environment
from lofarpipe.support.data_directories import set_data_directories
from lofarpipe.support.usage import Reader

OUTPUTS = ("truth", "skymodel", "sets")
LAST_LINES = 5

MEANINGS = {  # meanings of the settings, for --help
    "seed": "number that everything left to chance follows from: the same seed gives the same observation",
    "nstations": "station fields, 2 to 62, picked evenly from the core to the remote ones",
    "antenna_set": "HBA_DUAL_INNER (all stations alike) or HBA_DUAL (remote ones with all their tiles)",
    "nsubbands": "subbands, one set each per time block; of 195.3 kHz, spread evenly between the two frequencies",
    "lowest_frequency_hz": "centre of the first subband, Hz; above 100 MHz",
    "highest_frequency_hz": "centre of the last subband, Hz; below 200 MHz",
    "nchannels": "channels of a subband",
    "timestep_s": "length of a time slot, seconds",
    "slots_per_block": "time slots of a time block",
    "nblocks": "time blocks, spread evenly over the span",
    "span_s": "from the middle of the first time block to that of the last, seconds",
    "right_ascension_deg": "phase centre, J2000, degrees",
    "declination_deg": "phase centre, J2000, degrees",
    "transit_s": "middle of the observation, UTC as MJD in seconds; change it with the right ascension",
    "nsources": "point sources in the field; how bright and where follows from the seed",
    "noise_scale": "noise in units of the thermal noise of LOFAR; 0 for none",
    "flagged_fraction": "part of the visibilities that is flagged, 0 to below 1",
}


def run_programs(commands: Sequence[Sequence[str]]) -> None:
    """Run commands, as many at a time as this process may use cores.

    Raises
    ------
    PipelineError
        If one fails; the message has the last lines of its output.
    """
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(_run_program, commands))


def _run_program(argv: Sequence[str]) -> None:
    environment = os.environ | job_environment()
    finished = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        said = "\n".join((finished.stdout + finished.stderr).splitlines()[-LAST_LINES:])
        raise PipelineError(f"{' '.join(argv)}: exited with {finished.returncode}. Last lines:\n{said}")


def main(outdir: str, beam: str | bool = True, **settings: Any) -> Mapping[str, str]:
    """Make an observation in a directory; returns the paths of ``truth``, ``skymodel``, and ``sets`` as a list.

    ``settings`` are fields of ObservationSettings, numbers or text; others keep their defaults.

    Raises
    ------
    PipelineError
        If a setting is unknown or impossible, or a program fails.
    """
    from lofarpipe.imaging.simulation.observation import SKYMODEL_FILE, simulate
    from lofarpipe.imaging.simulation.sky import TRUTH_FILE
    from lofarpipe.programs.dp3 import predict_argv

    directory = Path(outdir)
    with_beam = str(beam).lower() not in {"false", "no", "0"}
    prediction = partial(predict_argv, str(find("DP3")))
    truth = simulate(directory, read_settings(settings), prediction, run_programs, with_beam)
    return {
        "truth": str((directory / TRUTH_FILE).resolve()),
        "skymodel": str((directory / SKYMODEL_FILE).resolve()),
        "sets": f"[{','.join(truth.sets)}]",
    }


def read_settings(given: Mapping[str, Any]) -> ObservationSettings:
    """Return settings from names and texts.

    Raises
    ------
    PipelineError
        If a name is unknown, or a value is not of its type or impossible.
    """
    types_of = {field.name: _type_of(field) for field in fields(ObservationSettings)}
    unknown = sorted(set(given) - set(types_of))
    if unknown:
        raise PipelineError(f"simulation: no setting {unknown[0]!r}; settings are: {', '.join(types_of)}")
    try:
        return ObservationSettings(**{name: types_of[name](value) for name, value in given.items()})
    except ValueError as err:
        raise PipelineError(f"simulation: {err}") from err


def _type_of(field: Field[Any]) -> type:
    """Return the type of a setting, from its default."""
    return type(field.default)


def read_arguments(argv: Sequence[str] | None = None, program: str | None = None) -> types.SimpleNamespace:
    """Return ``outdir``, ``beam`` and ``settings`` from the command line."""
    parser = Reader(program, description="Simulate a LOFAR HBA observation from nothing but a seed.")
    parser.add_argument("outdir", help="directory for sets, sky.skymodel and truth.json")
    parser.add_argument("--no-beam", dest="beam", action="store_false", help="stations that see all of it equally well")
    for field in fields(ObservationSettings):
        option, meaning = f"--{field.name.replace('_', '-')}", f"{MEANINGS[field.name]} (default: %(default)s)"
        parser.add_argument(option, type=_type_of(field), default=field.default, metavar="VALUE", help=meaning)
    given = vars(parser.parse_args(argv))
    return types.SimpleNamespace(outdir=given.pop("outdir"), beam=given.pop("beam"), settings=given)


def command_line(argv: Sequence[str] | None = None, program: str = "simulate_observation.py") -> int:
    """Run from a shell; returns the exit code."""
    arguments = read_arguments(argv, program)
    set_data_directories()
    try:
        made = main(arguments.outdir, arguments.beam, **arguments.settings)
    except PipelineError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    for output in OUTPUTS:
        print(f"{output}: {made[output]}")
    return 0


if __name__ == "__main__":
    sys.exit(command_line())
