"""Station beams from EveryBeam, on a grid around the field: the only module that touches EveryBeam."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.beam.applied import NONE, UNSTATED, read_applied_beam
from lofarpipe.imaging.ms.messages import add_advice
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]

SPEED_OF_LIGHT_M_S = 299_792_458.0
# Nodes of the grid per wavelength / m. The power beam of a station of D m varies over no less than wavelength / D:
# 5 nodes in that for the widest stations of the array, 81 m (LBA) and 57 m (HBA), more for all others. Quintic
# splines between the nodes are then good to 1e-4 of the peak. Source: measured, tests/imaging/beam/test_station.py.
NODES_PER_WAVELENGTH_OVER_M_LBA, NODES_PER_WAVELENGTH_OVER_M_HBA = 400.0, 300.0
LOWEST_HBA_HZ = 100e6
LEAST_NODES, MOST_NODES = 16, 96
WHOLE_BEAM = "none"  # EveryBeam's mode without normalisation
WIDEST_HALF_WIDTH = 0.7  # direction cosine; beyond, grid corners leave the sphere


class BeamError(PipelineError):
    """A beam cannot be computed for this set, field or image."""


@dataclass(frozen=True)
class BeamGrid:
    """A square grid of ``nodes`` x ``nodes`` directions around a centre, in the SIN projection.

    ``node_l`` and ``node_m`` are the distances between nodes in direction cosines. Node order is that of FITS pixels:
    first axis m, ascending; second axis l, descending (east is left). The centre is node ``nodes // 2``.
    """

    ra_rad: float
    dec_rad: float
    nodes: int
    node_l: float
    node_m: float

    @property
    def columns_l(self) -> Floats:
        """The direction cosine l of every column, falling; shape (nodes,)."""
        return np.asarray(-self.node_l * (np.arange(self.nodes) - self.nodes // 2), np.float64)

    @property
    def rows_m(self) -> Floats:
        """The direction cosine m of every row, rising; shape (nodes,)."""
        return np.asarray(self.node_m * (np.arange(self.nodes) - self.nodes // 2), np.float64)


def make_grid(centre_rad: tuple[float, float], half_l: float, half_m: float, frequency_hz: float) -> BeamGrid:
    """Return a grid over +-``half_l``, +-``half_m`` (direction cosines), sampled for the frequency.

    Raises
    ------
    BeamError
        If a corner of the grid would leave the celestial sphere.
    """
    widest = max(half_l, half_m)
    if not 0 < widest < WIDEST_HALF_WIDTH:
        raise BeamError(
            f"beam grid: the image reaches {widest:.3f} (sine of the offset) from its centre; "
            f"expected more than 0 and less than {WIDEST_HALF_WIDTH}; make a smaller image"
        )
    density = NODES_PER_WAVELENGTH_OVER_M_HBA if frequency_hz >= LOWEST_HBA_HZ else NODES_PER_WAVELENGTH_OVER_M_LBA
    node_count = 2 * widest * density * frequency_hz / SPEED_OF_LIGHT_M_S
    nodes = 2 * int(np.clip(np.ceil(node_count / 2) + 1, LEAST_NODES // 2, MOST_NODES // 2))
    # The last node lies nodes / 2 - 1 steps from the centre: EveryBeam's centre is node nodes / 2 of an even number.
    return BeamGrid(*centre_rad, nodes, half_l / (nodes // 2 - 1), half_m / (nodes // 2 - 1))


def find_coefficients() -> Path | None:
    """Return the directory of coefficient files in EveryBeam's Python package, or None.

    The path compiled into the package is that of its build machine.
    """
    spec = importlib.util.find_spec("everybeam")
    origin = Path(spec.origin) if spec and spec.origin else None
    places = [Path(sys.prefix), *(origin.parents if origin else ())]
    directories = (place / "share" / "everybeam" for place in places)
    return next((path for path in directories if (path / "HamakerHBACoeff.h5").is_file()), None)


def _everybeam() -> Any:
    """Set EveryBeam's coefficient directory in the environment, and import it."""
    if "EVERYBEAM_DATADIR" not in os.environ:
        coefficients = find_coefficients()
        if coefficients is not None:
            os.environ["EVERYBEAM_DATADIR"] = str(coefficients)
    try:
        import everybeam
    except ImportError as err:
        raise BeamError(f"everybeam: cannot be imported: {err}; install the Python package everybeam") from err
    return everybeam


def _load(ms_path: str, column: str, mode: str) -> Any:
    """Return EveryBeam's telescope of a set; ``mode`` names the normalisation."""
    everybeam = _everybeam()
    normalisation = getattr(everybeam, mode)
    try:
        return everybeam.load_telescope(ms_path, data_column=column, beam_normalisation_mode=normalisation)
    except (RuntimeError, ValueError) as err:
        raise BeamError(f"{ms_path}: EveryBeam cannot load its station beams: {add_advice(str(err))}") from err


class StationBeams:
    """Beams of all stations of one measurement set, as seen by calibrated visibilities.

    The beam already corrected according to the keywords of DP3's applybeam is divided out. Without keywords,
    calibration is assumed to have corrected the full beam at the field centre, so the beam is 1 there; with "None", the
    whole beam remains. ``normalisation`` overrides the keywords.
    """

    def __init__(self, ms_path: str, normalisation: str = "") -> None:
        self.ms_path = ms_path
        self.applied = read_applied_beam(ms_path)
        self._telescope = _load(ms_path, self.applied.column, normalisation or self._normalisation())
        self.stations = int(self._telescope.nr_stations)

    def _normalisation(self) -> str:
        """Return EveryBeam's keyword for the uncorrected part of the beam."""
        return {NONE: WHOLE_BEAM, UNSTATED: "full"}.get(self.applied.mode, "pre_applied")

    def jones(self, grid: BeamGrid, time_s: float, frequency_hz: float) -> NDArray[np.complex64]:
        """Return the Jones matrices of all stations, shape (station, node m, node l, 2, 2); time MJD UTC, seconds."""
        settings = _everybeam().GridSettings()
        settings.width = settings.height = grid.nodes
        settings.ra, settings.dec = grid.ra_rad, grid.dec_rad
        settings.dl, settings.dm = grid.node_l, grid.node_m
        settings.l_shift = settings.m_shift = 0.0
        response: NDArray[np.complex64] = self._telescope.gridded_response(settings, time_s, frequency_hz)
        return np.nan_to_num(response)  # no response below the horizon

    def power(self, grid: BeamGrid, time_s: float, frequency_hz: float, pair_weights: Floats) -> Floats:
        """Return the array's power beam for unpolarised emission in Stokes I, shape (node m, node l).

        ``pair_weights`` (station, station) are the weights of the baselines, each pair given once or twice; they need
        not be normalised, and the beam is that of their mean.

        Raises
        ------
        BeamError
            If the weights do not match this set's stations, or are all zero.

        Source: mean over pairs of Tr(J_p J_q^H) / 2, the response of (XX + YY) / 2 to an unpolarised source.
        """
        if pair_weights.shape != (self.stations, self.stations) or not pair_weights.sum() > 0:
            raise BeamError(
                f"{self.ms_path}: pair weights have shape {pair_weights.shape} and sum {pair_weights.sum():g}; "
                f"expected ({self.stations}, {self.stations}) and a positive sum"
            )
        weights = (pair_weights + pair_weights.T) / (2 * pair_weights.sum())
        jones = self.jones(grid, time_s, frequency_hz).reshape(self.stations, -1)
        summed = weights.astype(np.complex64) @ jones
        power = 0.5 * (jones.conj() * summed).real.sum(axis=0, dtype=np.float64)
        return np.asarray(power.reshape(grid.nodes, grid.nodes, 4).sum(axis=-1))


def equal_pair_weights(stations: int) -> Floats:
    """Return unit weights for every pair of different stations, counted once, shape (station, station)."""
    if stations < 2:
        raise BeamError(f"beam: {stations} station; an interferometer needs at least 2")
    return np.triu(np.ones((stations, stations)), k=1)
