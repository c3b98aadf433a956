#!/usr/bin/env python3
"""Make the primary beam of WSClean's images, and the images corrected for it, from the measurement sets imaged."""

from __future__ import annotations

import argparse
import sys

# The keys of the result: names of the MFS image, of the corrected one, of its beam and of the map of the frequency at
# which its fluxes were measured (FITS); how the beam was made: everybeam, formula or wsclean; and all of its files.
OUTPUTS = ("image", "image_pb", "beam", "effective_frequency", "beam_source", "products")


def main(
    ms_input: str | list[str],
    image_root: str,
    robust: str | float = 0.0,
    minuv_lambda: str | float = 80.0,
    maxuv_lambda: str | float = 7000.0,
    padding: str | float = 1.4,
    station_diameter_m: str | float = "0",
    spectral_index: str | float = "-0.7",
    products: str | list[str] = "",
) -> dict[str, str]:
    """Write beams and corrected images beside WSClean's images; return the names of the MFS ones by ``OUTPUTS``.

    Parameters
    ----------
    ms_input
        All measurement sets imaged by WSClean: a list, its text, the name of a mapfile, or one set.
    image_root
        WSClean's ``-name``.
    robust, minuv_lambda, maxuv_lambda, padding
        WSClean's ``-weight briggs``, ``-minuv-l``, ``-maxuv-l``, ``-padding``.
    station_diameter_m
        For sets without a beam model and with a wrong ANTENNA.DISH_DIAMETER; 0 for the value in the sets.
    spectral_index
        Spectral index of the sources, for fluxes at the frequency in the header: a number, or a FITS map.
    products
        The files written by WSClean, in the forms of the sets; default: by the command in the image's header.

    Raises
    ------
    PipelineError
        If an option, a set or an image is invalid; the message names it, and the remedy.
    """
    from lofarpipe.errors import PipelineError
    from lofarpipe.imaging.ms.measurement_set import read_metadata
    from lofarpipe.imaging.ms.names import named_sets
    from lofarpipe.imaging.scripts import as_number
    from lofarpipe.programs.wsclean.beam_images import BeamRequest, write_beam_images
    from lofarpipe.programs.wsclean.beams import products_by_header
    from lofarpipe.programs.wsclean.outputs import read_products
    from lofarpipe.support.utilities import list_text

    lowest, highest = as_number("minuv_lambda", minuv_lambda, 0), as_number("maxuv_lambda", maxuv_lambda, 0, 1e9)
    diameter_m = as_number("station_diameter_m", station_diameter_m, 0) or None
    sets = [read_metadata(path) for path in named_sets(ms_input)]
    if not sets:
        raise PipelineError(f"make_primary_beam: ms_input is {ms_input!r}, which names no measurement set")
    weighting = (as_number("robust", robust, -10), as_number("padding", padding, 1), lowest, highest)
    request = BeamRequest(sets, *weighting, diameter_m, str(spectral_index))
    files = read_products(image_root, named_sets(products)) if products else products_by_header(image_root)
    try:
        written = write_beam_images(image_root, files, request)
    except ValueError as err:
        raise PipelineError(f"{sets[0].path}: {err}; set station_diameter_m if the sets do not say it") from err
    for warning in written.warnings:
        print(f"WARNING: {warning}")
    print(f"{written.beam}: {written.detail}")
    names = (written.image, written.image_pb, written.beam, written.effective_frequency, written.source)
    return dict(zip(OUTPUTS, [*map(str, names), list_text(list(map(str, written.products)))], strict=True))


def _command_line(arguments: list[str]) -> int:
    """Run from a command line."""
    from lofarpipe.imaging.scripts import exit_code

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image_root", help="WSClean's -name")
    parser.add_argument("sets", nargs="+", help="the measurement sets that WSClean imaged")
    for option, default in (("robust", "0"), ("minuv-lambda", "80"), ("maxuv-lambda", "7000"), ("padding", "1.4")):
        parser.add_argument(f"--{option}", default=default, help="as WSClean got it (%(default)s)")
    parser.add_argument("--station-diameter-m", default="0", help="replaces the diameter in the sets; 0: keep it")
    parser.add_argument("--spectral-index", default="-0.7", help="of the sources: a number, or a map (%(default)s)")
    given = vars(parser.parse_args(arguments))
    return exit_code(lambda: main(given.pop("sets"), given.pop("image_root"), **given))


if __name__ == "__main__":
    sys.exit(_command_line(sys.argv[1:]))
