#!/usr/bin/env python3
"""Compares the fluxes and positions in an image with a reference: writes comparison.json."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.beam.spectral import DEFAULT_INDEX, read_index
from lofarpipe.imaging.quality.comparison import Expected, compare_fluxes, read_expected, write_comparison
from lofarpipe.imaging.quality.reference import AUTO, find_reference, read_reference
from lofarpipe.imaging.quality.sky_image import SkyImage, read_sky_image
from lofarpipe.imaging.scripts import exit_code
from lofarpipe.support.utilities import files_of

OUTPUTS = ("comparison",)


def main(
    image: str,
    image_pb: str,
    quality_file: str,
    comparison_file: str,
    reference_skymodel: str = AUTO,
    ms_recorded: str = "",
    effective_frequency: str = "",
    spectral_index: str = str(DEFAULT_INDEX),
) -> dict[str, str]:
    """Write ``comparison_file``, or remove it without a reference; returns its name as ``comparison``.

    ``image`` has flat noise, ``image_pb`` is the same corrected for the primary beam, ``quality_file`` has its noise.
    ``reference_skymodel`` is a sky model, the truth.json of a simulation, ``auto`` for the file beside the sets of
    ``ms_recorded``, or ``none``. ``effective_frequency`` is the map of each source's frequency of measurement,
    and ``spectral_index`` the index for the conversion of its flux to the frequency of the image.
    """
    reference = find_reference(reference_skymodel, files_of(ms_recorded))
    compared = None
    if reference is not None:
        flat, corrected = read_sky_image(image), read_sky_image(image_pb)
        known = _expected(reference, corrected, effective_frequency, spectral_index)
        compared = compare_fluxes(corrected, flat, known.reference, _rms_jy(Path(quality_file)), known.effective_hz)
    write_comparison(Path(comparison_file), compared)
    return {"comparison": comparison_file}


def _rms_jy(quality_file: Path) -> float:
    try:
        return float(json.loads(quality_file.read_text(encoding="utf-8"))["rms"]["value"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise PipelineError(f"{quality_file}: has no noise of the image ({err}); measure the image first") from err


def _expected(reference: Path, corrected: SkyImage, effective_frequency: str, spectral_index: str) -> Expected:
    """Return the part of the reference within the image."""
    if not effective_frequency:
        return Expected(read_reference(reference, corrected.frequency_hz))
    index = read_index(spectral_index, corrected.celestial, (corrected.plane.shape[0], corrected.plane.shape[1]))
    return read_expected(reference, corrected, read_sky_image(effective_frequency), index)


def command_line(argv: list[str]) -> int:
    """Run from a shell; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", help="flat-noise image")
    parser.add_argument("image_pb", help="image corrected for the primary beam; without one, the same file")
    parser.add_argument("quality_file", help="quality.json of the image")
    parser.add_argument("comparison_file", help="JSON file to write")
    parser.add_argument("reference_skymodel", help="sky model, or truth.json of a simulation")
    keywords = vars(parser.parse_args(argv))
    return exit_code(lambda: print(main(**keywords)["comparison"]))


if __name__ == "__main__":
    sys.exit(command_line(sys.argv[1:]))
