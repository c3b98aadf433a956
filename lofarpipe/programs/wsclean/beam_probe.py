"""Whether a WSClean can make the station beams of a set: asked of the program itself, with a few rows of the set."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.programs.messages import explained
from lofarpipe.programs.wsclean.build import WSCleanBuild, run_briefly
from lofarpipe.programs.wsclean.log import MESSAGES

# Options that the beam depends on; they are handed on.
BEAM_OPTIONS = ("data-column", "mwa-path", "beam-model", "beam-mode", "beam-normalisation-mode")
MOST_ROWS = 10_000
PROBE: tuple[str, ...] = (
    "-size",
    "32",
    "32",
    "-scale",
    "60asec",
    "-niter",
    "0",
    "-no-update-model-required",
    "-no-reorder",
)
PROBE += ("-abs-mem", "1", "-j", "1")

_answers: dict[tuple[object, ...], str] = {}  # by program, set, when it was written, and options


def beam_obstacle(build: WSCleanBuild, sets: Sequence[str], options: Mapping[str, Sequence[str]]) -> str:
    """Return why a build with EveryBeam cannot make the beams of some sets; "" if it can, or if it is not known.

    Sets of LOFAR with their station tables are taken as known; of others the first one is tried. Such a set is not of
    a telescope for which this EveryBeam has a beam, or lacks what it needs for it.
    """
    unsure = [path for path in sets if Path(path).is_dir() and not (Path(path) / "LOFAR_ANTENNA_FIELD").is_dir()]
    if not build.has_everybeam or not unsure:
        return ""
    more = tuple(word for name in BEAM_OPTIONS if name in options for word in (f"-{name}", *options[name][:1]))
    written = (Path(unsure[0]) / "table.dat").stat().st_mtime_ns if (Path(unsure[0]) / "table.dat").exists() else 0
    path = os.path.realpath(unsure[0])
    question = (str(build.path), path, written, *more)
    if question not in _answers:
        _answers[question] = _probe(build, path, more)
    return _answers[question]


def _probe(build: WSCleanBuild, path: str, more: Sequence[str]) -> str:
    """Return what a build says to a few rows of a set."""
    idg = ["-gridder", "idg"] if build.has_gridder_option else ["-use-idg"]
    how = [*idg, "-grid-with-beam"] if build.has_idg else ["-apply-primary-beam"]
    with tempfile.TemporaryDirectory(prefix="beam_probe") as folder:
        piece = f"{folder}/piece.MS"
        _copy_first_slot(path, piece)
        code, said = run_briefly(build.path, [*how, *more, *PROBE, "-name", f"{folder}/probe", piece])
    if code == 0:
        return ""
    reason = (explained("WSClean", said, MESSAGES) or f"it exited with {code}").replace("\n", " ")
    return f"{build.name} cannot make the station beams of {Path(path).name}: {reason}"


def _copy_first_slot(path: str, target: str) -> None:
    """Copy the first time slot of a set."""
    import casacore.tables

    with casacore.tables.table(path, ack=False) as table:
        times = table.getcol("TIME", 0, min(table.nrows(), MOST_ROWS))
        rows = [row for row, time_s in enumerate(times) if time_s == times[0]]
        with table.selectrows(rows) as first, first.copy(target, deep=True):
            pass
