"""References for an image: the truth of a simulation, or a user's sky model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.sky import TRUTH_FILE, read_truth
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]

AUTO, NONE = "auto", "none"
INSTALL_LSMTOOL = "pip install 'genericpipeline[lsmtool]'"


@dataclass(frozen=True, eq=False)
class Reference:
    """Sources of a reference, (n,): J2000 positions in degrees, integrated Stokes I in Jy at one frequency."""

    path: str
    kind: str  # in words
    names: Sequence[str]
    right_ascension_deg: Floats
    declination_deg: Floats
    flux_jy: Floats
    is_point: NDArray[np.bool_]


def find_reference(choice: str, sets: Sequence[str]) -> Path | None:
    """Return the reference file: ``choice``, or with ``auto`` the truth beside simulated sets.

    None with ``none``, or if ``auto`` finds no valid truth file.
    """
    if choice == NONE or (choice == AUTO and not sets):
        return None
    if choice != AUTO:
        return Path(choice)
    beside = Path(sets[0]).parent / TRUTH_FILE
    try:
        read_truth(beside)
    except PipelineError:
        return None
    return beside


def read_reference(path: Path, frequency_hz: float | Floats) -> Reference:
    """Read the sources of a file, with flux densities at one frequency, or at one per source.

    A ``.json`` file is the truth of a simulation, any other a sky model in a format of LSMTool: makesourcedb, DP3,
    PyBDSF.

    Raises
    ------
    PipelineError
        If the file cannot be read, has no sources, or LSMTool is needed and not installed.
    """
    reference = _from_truth(path, frequency_hz) if path.suffix == ".json" else _from_model(path, frequency_hz)
    if not len(reference.flux_jy):
        raise PipelineError(f"{path}: has no sources to compare with; name another reference_skymodel, or none")
    return reference


def _from_truth(path: Path, frequency_hz: float | Floats) -> Reference:
    sources = read_truth(path).sources
    each_hz = np.broadcast_to(frequency_hz, len(sources)).tolist()
    return Reference(
        path=str(path),
        kind="the simulation's truth",
        names=[source.name for source in sources],
        right_ascension_deg=np.array([source.right_ascension_deg for source in sources]),
        declination_deg=np.array([source.declination_deg for source in sources]),
        flux_jy=np.array([source.flux_at_jy(hz) for source, hz in zip(sources, each_hz, strict=True)]),
        is_point=np.ones(len(sources), bool),
    )


def _from_model(path: Path, frequency_hz: float | Floats) -> Reference:
    if not path.is_file():
        raise PipelineError(f"{path}: no such sky model; correct reference_skymodel, or set it to none")
    try:
        import lsmtool
    except ImportError as err:
        raise PipelineError(
            f"LSMTool, which reads sky models, cannot be imported ({err}); {INSTALL_LSMTOOL}, or set "
            "reference_skymodel = none"
        ) from err
    logging.getLogger("LSMTool").setLevel(logging.WARNING)  # keep LSMTool's messages out of the step's log
    try:
        model = lsmtool.load(str(path))
    # LSMTool and its table readers raise arbitrary exceptions.
    except Exception as err:
        raise PipelineError(f"{path}: LSMTool cannot read it as a sky model: {' '.join(str(err).split())}") from err
    columns = {name: np.asarray(model.getColValues(name)) for name in model.getColNames()}
    return Reference(
        path=str(path),
        kind="a sky model",
        names=[str(name) for name in columns["Name"]],
        right_ascension_deg=columns["Ra"].astype(float),
        declination_deg=columns["Dec"].astype(float),
        flux_jy=fluxes_jy(columns, frequency_hz),
        is_point=columns["Type"] == "POINT",
    )


def fluxes_jy(columns: dict[str, NDArray[Any]], frequency_hz: float | Floats) -> Floats:
    """Return the flux densities of a sky model's sources at a frequency, Jy.

    With x the frequency over the reference frequency: I x^(c0 + c1 log10 x + ...) for logarithmic indices, which is the
    default, and I + c0 (x - 1) + c1 (x - 1)^2 + ... for others. Without reference frequency or index, a source's flux
    is unchanged.

    Source: DP3, "Sky model format", SpectralIndex and LogarithmicSI.
    """
    flux_jy = columns["I"].astype(float)
    if "SpectralIndex" not in columns or "ReferenceFrequency" not in columns:
        return flux_jy
    reference_hz = columns["ReferenceFrequency"].astype(float)
    terms = np.nan_to_num(columns["SpectralIndex"].astype(float)).reshape(len(flux_jy), -1)
    x = np.divide(frequency_hz, reference_hz, out=np.ones_like(reference_hz), where=reference_hz > 0)
    powers = np.arange(terms.shape[1])
    logarithmic = flux_jy * x ** (terms * np.log10(x)[:, np.newaxis] ** powers).sum(axis=1)
    linear = flux_jy + (terms * (x - 1)[:, np.newaxis] ** (powers + 1)).sum(axis=1)
    is_logarithmic = np.ones(len(flux_jy), bool)
    if "LogarithmicSI" in columns:
        is_logarithmic = np.char.lower(columns["LogarithmicSI"].astype(str)) != "false"
    return np.asarray(np.where(is_logarithmic, logarithmic, linear))
