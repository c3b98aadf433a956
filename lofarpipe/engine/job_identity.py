"""What one job of a recipe step is made of, what it writes, and which of its inputs it changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.recipe import Prepared, timeless
from lofarpipe.programs.known import KNOWN_PROGRAMS
from lofarpipe.support.data_map import DataProduct
from lofarpipe.support.utilities import files_of

# With these WSClean goes on with what is in the measurement set; else it writes the same again.
WSCLEAN_GOES_ON = ("-continue", "-subtract-model")


def job_identity(prepared: Prepared, planned: PlannedJob) -> dict[str, object]:
    """Return what decides whether a job that was done need not run again."""
    place = planned.place
    step = prepared.fingerprint_of
    inputs = [data_map.data[place] for data_map in prepared.maps if place < len(data_map.data)]
    output = prepared.outputs.data[place]
    identity = {
        "executable": step["executable"],
        "environment": step["environment"],
        "arguments": planned.arguments,
        "inputs": [(product.host, product.file, product.skip) for product in inputs],
        "output": (output.host, output.file),
    }
    return timeless(identity, prepared.builder.settings)


def outputs_of(prepared: Prepared, planned: PlannedJob) -> list[str]:
    """Return the paths that the maps of a step give to the outputs of a job, but for those that are its inputs."""
    maps = [prepared.outputs, *prepared.saved.values()]
    names = [name for data_map in maps for name in _files(data_map.data[planned.place : planned.place + 1])]
    return [name for name in dict.fromkeys(names) if name not in set(_inputs(prepared, planned))]


def changed_inputs(prepared: Prepared, planned: PlannedJob) -> list[str]:
    """Return the inputs of a job of which half a change, or a change made twice, would do harm.

    For a known program its arguments say so; for another one the control key ``inplace`` does. What WSClean writes into
    a measurement set, the model, it writes anew when it is run again, unless it is told to go on with the one there.
    """
    control = prepared.control
    positionals, keywords = planned.arguments
    program = control.text("program")
    if not program:
        return list(_inputs(prepared, planned)) if control.flag("inplace") else []
    if program == "wsclean" and not any(flag in positionals for flag in WSCLEAN_GOES_ON):
        return []
    workdir = planned.job.workdir
    paths = KNOWN_PROGRAMS[program].in_place(keywords, positionals, workdir)
    return [str(workdir / name) for path in paths for name in files_of(path)]


def _inputs(prepared: Prepared, planned: PlannedJob) -> Iterator[str]:
    for data_map in prepared.maps:
        yield from _files(data_map.data[planned.place : planned.place + 1])


def _files(products: Iterable[DataProduct]) -> Iterator[str]:
    for product in products:
        yield from (name for name in files_of(product.file) if Path(name).is_absolute())
