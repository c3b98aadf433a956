"""The array's power beam in each output channel, for spectral fits.

An apparent spectrum is the true one times the power beam, which narrows with frequency, so that a low-order polynomial
does not fit it. With the beam of each channel in the fit, the polynomial describes the true spectrum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.beam.primary_beam import beam_cube, resample
from lofarpipe.imaging.imager.bands import BandRange
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.weighting.pairs import ChannelRange as Edges
from lofarpipe.imaging.weighting.weights import ImageWeighting

Floats = NDArray[np.float64]

CELLS = 64  # per axis of the coarse grid for spectral fits
NATURAL_ROBUSTNESS, UNIFORM_ROBUSTNESS = 2.0, -2.0


def power_beams(settings: ImagerSettings, bands: Sequence[BandRange]) -> Floats | None:
    """Return the array's power beam (chan, row, column) on a coarse grid over the image.

    None if a set has no LOFAR station beam: apparent spectra are then fitted.

    Raises
    ------
    BeamError
        If the beams cannot be computed.
    """
    sets = [read_metadata(path, str(settings.field_id)) for path in settings.sets]
    if not all(one.has_lofar_beam for one in sets):
        return None
    columns_l, rows_m = _cell_centres(settings)
    reach = max(np.abs(columns_l)), max(np.abs(rows_m))
    edges = [Edges(band.low_hz, band.high_hz) for band in bands]
    cube = beam_cube(sets, edges, _weighting(settings), sets[0].phase_centre_rad, (float(reach[0]), float(reach[1])))
    beams = np.ones((len(bands), len(rows_m), len(columns_l)))
    for number, (parts, powers) in enumerate(zip(cube.parts, cube.powers, strict=True)):
        if parts:
            mean = np.average(powers, axis=0, weights=[part.weight for part in parts])
            for rows, block in resample(cube.grid, mean, columns_l, rows_m):
                beams[number, rows] = block
    return beams


def _weighting(settings: ImagerSettings) -> ImageWeighting:
    if isinstance(settings.weighting, tuple):
        robust = settings.weighting[1]
    else:
        robust = NATURAL_ROBUSTNESS if settings.weighting == "natural" else UNIFORM_ROBUSTNESS
    longest = settings.max_uv_lambda or math.inf
    return ImageWeighting(settings.size, settings.cell_rad, robust, settings.padding, settings.min_uv_lambda, longest)


def _cell_centres(settings: ImagerSettings) -> tuple[Floats, Floats]:
    """Return the direction cosines l of the coarse grid's columns and m of its rows."""
    width, height = settings.size
    x, y = ((np.arange(min(CELLS, side)) + 0.5) * side / min(CELLS, side) - 0.5 for side in (width, height))
    return -(x - width // 2) * settings.cell_rad, (y - height // 2) * settings.cell_rad
