"""The Python function of the imager: its arguments as options, a run of the engine, its failures as one exception."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.cli import work
from lofarpipe.cli.arguments import read_words
from lofarpipe.cli.spice.config import OptionSetting
from lofarpipe.cli.spice.summary import failures
from lofarpipe.cli.spice.table import spice_options
from lofarpipe.cli.spice.translation import ImagingRequest, polarisations, spice_translation
from lofarpipe.errors import PipelineError, UsageError
from lofarpipe.jobs import Executor
from lofarpipe.pipeline.preflight import Translation
from lofarpipe.state.run_state import RunState

CALLER = "caller"  # in the place of a file
#: Arguments named differently from their options.
RENAMED = {"out_dir": "datadir", "cutoff": "psf_cutoff", "parallel_deconvolution": "parallel"}
WSCLEAN = "wsclean_path"


class ImagingFailed(PipelineError):  # noqa: N818 - named after the event
    """Images or cubes could not be made; ``failures`` holds one line per failure."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.failures = tuple(lines)
        super().__init__("\n".join(self.failures))


def image_beams(arguments: Mapping[str, object], executor: Executor | None) -> None:
    """Run the imager with the arguments of ``main``, on ``executor`` if given; the caller closes it.

    Raises
    ------
    UsageError
        If a value is not in the domain of its option; all of them are named.
    CheckFailed, PipelineError
        If the checks find something, or the run cannot go on.
    ImagingFailed
        If something failed; with every failure.
    """
    request = ImagingRequest("spice_image", settings_of(arguments))
    lines: list[str] = []

    def translate(options: argparse.Namespace) -> Translation:
        return spice_translation(request, options)

    def collect(options: argparse.Namespace, state: RunState) -> int:
        lines.extend(failures(state, polarisations(options)))
        return int(bool(lines))

    folders = [str(Path(request.settings[name].text).absolute()) for name in ("msdir", "datadir")]
    options = read_words(["spice_image", *folders])
    options.translate, options.summarise, options.executor = translate, collect, executor
    try:
        status = work(options)
    except PipelineError as err:
        if lines:
            raise ImagingFailed(lines) from err
        raise
    if status:
        raise ImagingFailed(lines)


def settings_of(arguments: Mapping[str, object]) -> dict[str, OptionSetting]:
    """Return the options set by arguments of ``main``, without those equal to the pipeline's default.

    Raises
    ------
    UsageError
        If a value is not in the domain of its option; all of them are named.
    """
    values = {RENAMED.get(name, name): value for name, value in arguments.items()}
    where = values.pop(WSCLEAN, None)
    is_hosted = isinstance(where, str) and "://" in where
    values["hosted_wsclean" if is_hosted else "local_wsclean"] = where
    table, settings, problems = spice_options(), {}, []
    for name, value in values.items():
        if value is None:
            continue
        try:
            text = table[name].text(value.item() if hasattr(value, "item") else value)  # a number of numpy
        except ValueError as err:
            problems.append(f"{name} is {value!r}; {err}")
            continue
        if not table[name].default or text != table[name].text(table[name].default):
            settings[name] = OptionSetting(text, CALLER)
    if problems:
        raise UsageError("\n".join(problems))
    return settings
