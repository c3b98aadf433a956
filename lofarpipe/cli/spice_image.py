"""Images and cubes of the beams of one ASKAP observation, each beam from its measurement set."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lofarpipe.cli.spice.words import PREFIX, SpiceFrontEnd, add_options

if TYPE_CHECKING:
    from lofarpipe.pipeline.preflight import Translation


class SpiceImage(SpiceFrontEnd):
    """The command line of spice_image."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of spice_image."""
        add_options(parser)

    def translate(self, options: argparse.Namespace) -> Translation:
        """Return the command line as a parset."""
        from lofarpipe.cli.spice.translation import ImagingRequest, spice_translation, typed_settings

        request = ImagingRequest("spice_image", typed_settings(options, PREFIX), job_dir=options.job_dir or "")
        return spice_translation(request, options)


FRONT_END = SpiceImage()
