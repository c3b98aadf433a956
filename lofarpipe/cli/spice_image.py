"""Images and cubes of the beams of one ASKAP observation, each beam from its measurement set."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lofarpipe.cli.spice.words import PREFIX, add_options

if TYPE_CHECKING:
    from lofarpipe.pipeline.preflight import Translation
    from lofarpipe.state.run_state import RunState


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of spice_image."""
    add_options(parser)


def translate(options: argparse.Namespace) -> Translation:
    """Return the command line as a parset."""
    from lofarpipe.cli.spice.translation import Request, translated, typed_settings

    request = Request("spice_image", typed_settings(options, PREFIX), job_dir=options.job_dir or "")
    return translated(request, options)


def summarise(options: argparse.Namespace, state: RunState) -> int:
    """Print the table of the beams; return the exit status."""
    from lofarpipe.cli.spice.summary import write_summary
    from lofarpipe.cli.spice.translation import polarisations

    return write_summary(state, options.quiet, polarisations(options))
