"""Reading and writing of solutions as H5parm files, in the layout of LoSoTo and DP3."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass

SOLSET = "sol000"
NAME_BYTES = 16  # of antenna names; DP3 does not find names in a column as wide as the longest one
DIRECTION = "POINTING"


class H5parmError(PipelineError):
    """A file of solutions cannot be read."""


@dataclass(frozen=True, eq=False)
class SolutionTable:
    """One soltab: ``values`` and ``weights`` over the ``axes`` in order; weight 0 means flagged."""

    name: str  # such as amplitude000
    axes: Mapping[str, Any]
    values: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def kind(self) -> str:
        """The quantity, such as amplitude, phase or clock."""
        return self.name.rstrip("0123456789")

    def arranged(self, *names: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values and weights with these axes in this order; other axes, of length 1, are dropped."""
        order = [*self.axes]
        squeezed = tuple(place for place, name in enumerate(order) if name not in names)
        remaining_axes = [name for name in order if name in names]
        places = [remaining_axes.index(name) for name in names]
        return tuple(np.squeeze(part, squeezed).transpose(places) for part in (self.values, self.weights))  # type: ignore[return-value]


def _h5py() -> ModuleType:
    try:
        import h5py
    except ImportError as err:
        raise H5parmError(
            f"h5py, which reads solutions and uvh5 files, cannot be imported ({err}); "
            "pip install 'genericpipeline[ata]'"
        ) from err
    return h5py  # type: ignore[no-any-return]


def write_h5parm(
    path: Path,
    tables: Sequence[SolutionTable],
    antennas: Mapping[str, Sequence[float]],
    direction_rad: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Write solution tables into a new file, which gets its name only when complete.

    ``antennas`` maps names to ITRF positions, m.
    """
    h5py = _h5py()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.incomplete")
    with h5py.File(unfinished, "w") as file:
        solset = file.create_group(SOLSET)
        solset.attrs["h5parm_version"] = np.bytes_("1.0")
        names = np.array([name.encode() for name in antennas], f"S{_width(antennas)}")
        antenna_table = np.zeros(len(names), [("name", names.dtype), ("position", "f4", 3)])
        antenna_table["name"], antenna_table["position"] = names, np.array([*antennas.values()], "f4").reshape(-1, 3)
        solset["antenna"] = antenna_table
        solset["source"] = np.array([(DIRECTION.encode(), direction_rad)], [("name", "S128"), ("dir", "f4", 2)])
        for table in tables:
            _write_table(solset, table)
    os.replace(unfinished, path)  # noqa: PTH105 - over an earlier one


def _width(names: Mapping[str, Any]) -> int:
    return max([NAME_BYTES, *(len(name.encode()) + 1 for name in names)])


def _write_table(solset: Any, table: SolutionTable) -> None:
    group = solset.create_group(table.name)
    group.attrs["TITLE"] = np.bytes_(table.kind)
    axes = np.bytes_(",".join(table.axes))
    for name, values in table.axes.items():
        is_text = name in ("ant", "pol", "dir")
        width = _width(dict.fromkeys(map(str, values))) if name == "ant" else 2 if name == "pol" else 128
        group[name] = np.array([str(v).encode() for v in values], f"S{width}") if is_text else np.asarray(values, float)
    for name, array in (("val", np.asarray(table.values, float)), ("weight", np.asarray(table.weights, "f4"))):
        group[name] = array
        group[name].attrs["AXES"] = axes


def read_h5parm(path: Path) -> dict[str, SolutionTable]:
    """Return the solution tables of a file by name.

    Raises
    ------
    H5parmError
        If the file is missing, or not an H5parm.
    """
    h5py = _h5py()
    try:
        with h5py.File(path) as file:
            solset = file[SOLSET]
            return {name: _read_table(name, group) for name, group in solset.items() if isinstance(group, h5py.Group)}
    except (OSError, KeyError) as err:
        raise H5parmError(f"{path}: cannot be read as an H5parm: {err}; solve again") from err


def _read_table(name: str, group: Any) -> SolutionTable:
    names = group["val"].attrs["AXES"]
    axes = {}
    for axis in (names.decode() if isinstance(names, bytes) else str(names)).split(","):
        values = group[axis][()]
        axes[axis] = [v.decode() if isinstance(v, bytes) else str(v) for v in values] if axis in TEXTS else values
    return SolutionTable(name, axes, group["val"][()], group["weight"][()].astype(float))


TEXTS = ("ant", "pol", "dir")


def complex_gains(tables: Mapping[str, SolutionTable]) -> tuple[NDArray[np.complex128], dict[str, Any]]:
    """Return gains (time, freq, ant, pol) from amplitude000 and phase000, NaN where flagged, and the axes."""
    amplitude, phase = tables["amplitude000"], tables["phase000"]
    (a, weights), (p, phase_weights) = (table.arranged("time", "freq", "ant", "pol") for table in (amplitude, phase))
    good = (weights > 0) & (phase_weights > 0) & np.isfinite(a) & np.isfinite(p) & (a > 0)
    gains = np.where(good, a * np.exp(1j * np.where(np.isfinite(p), p, 0)), np.nan)
    return gains, dict(amplitude.axes)


def gain_tables(
    gains: NDArray[np.complex128], axes: Mapping[str, Any], kinds: Sequence[str] = ("amplitude", "phase")
) -> list[SolutionTable]:
    """Return amplitude000 and phase000 of gains over ``axes``; NaN becomes amplitude 1, phase 0, weight 0."""
    good = np.isfinite(gains)
    filled = np.where(good, gains, 1)
    values = {"amplitude": np.abs(filled), "phase": np.angle(filled)}
    return [SolutionTable(f"{kind}000", axes, values[kind], good.astype(float)) for kind in kinds]
