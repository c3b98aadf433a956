"""Options of the imaging plan: names, defaults and ranges."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.support.dataclass import dataclass

# Allowed range of each number.
RANGES: dict[str, tuple[float, float]] = {
    "cellsize_highres_deg": (1e-6, 1.0),
    "cellsize_lowres_deg": (1e-6, 1.0),
    "fieldsize_highres": (0.01, 20.0),
    "fieldsize_lowres": (0.01, 20.0),
    "image_padding": (1.0, 4.0),
    "y_axis_stretch": (0.1, 10.0),
    "minuv_lambda": (0.0, 1e7),
    "maxuv_lambda": (1.0, 1e9),
    "robust": (-5.0, 5.0),
    "max_peak_smearing": (1e-4, 0.5),
    "station_diameter_m": (0.0, 1000.0),
    "channels_out": (0, 100_000),
}
INTEGERS = frozenset({"channels_out"})
CHOICES: dict[str, tuple[str, ...]] = {
    "smearing_criterion": ("peak", "worst"),
    "averaging": ("physics", "historical"),
}


class PlanError(PipelineError):
    """No imaging plan is possible for these options or sets."""


@dataclass(frozen=True)
class PlanOptions:
    """Options of the imaging plan; angles in degrees, baselines in wavelengths, field sizes in units of the FWHM.

    ``gridder`` "idg" (or "auto", which may become IDG) asks for a square image. ``station_diameter_m`` above 0
    overrides ANTENNA.DISH_DIAMETER and the measured beam. ``channels_out`` 0 selects the number from the band.
    ``data_column`` holds the visibilities; non-finite ones count as flagged. ``field`` is the number or name of the
    field to image, for sets with several.
    """

    cellsize_highres_deg: float = 0.00208
    fieldsize_highres: float = 1.5
    image_padding: float = 1.0
    y_axis_stretch: float = 1.0
    cellsize_lowres_deg: float = 0.00694
    fieldsize_lowres: float = 6.5
    minuv_lambda: float = 80.0
    maxuv_lambda: float = 7000.0
    robust: float = 0.0
    max_peak_smearing: float = 0.05
    smearing_criterion: str = "peak"
    averaging: str = "physics"
    gridder: str = "auto"
    station_diameter_m: float = 0.0
    channels_out: int = 0
    data_column: str = ""
    field: str = AUTO

    @property
    def wants_square(self) -> bool:
        """Whether the image must be square, as IDG requires."""
        return self.gridder == "idg" or (self.gridder == "auto" and self.y_axis_stretch == 1.0)


def parse_options(texts: Mapping[str, object]) -> PlanOptions:
    """Parse options from texts of a parset or a command line.

    Raises
    ------
    PlanError
        If names are unknown, numbers are invalid or out of range, or words are not among the choices; one line each.
    """
    fields = {field.name: field for field in dataclasses.fields(PlanOptions)}
    problems: list[str] = []
    values: dict[str, float | str] = {}
    for name, value in texts.items():
        if name not in fields:
            problems.append(f"{name}: no such option of the imaging plan{nearest(name, list(fields))}")
            continue
        try:
            values[name] = _parse(name, str(value).strip())
        except ValueError as err:
            problems.append(f"{name}: {err}")
    if not problems and float(values.get("minuv_lambda", 80.0)) >= float(values.get("maxuv_lambda", 7000.0)):
        problems.append("minuv_lambda: must be smaller than maxuv_lambda")
    if problems:
        raise PlanError("\n".join(problems))
    return PlanOptions(**values)  # type: ignore[arg-type]  # each value was parsed by its own name


def _parse(name: str, text: str) -> float | str:
    """Parse one option, checked against its range or choices."""
    if name in RANGES:
        value = _parse_number(text, *RANGES[name])
        if name in INTEGERS and value != int(value):
            raise ValueError(f"{text} is not a whole number")
        return int(value) if name in INTEGERS else value
    if name in CHOICES and text not in CHOICES[name]:
        raise ValueError(f"'{text}' is not one of {', '.join(CHOICES[name])}")
    return text


def _parse_number(text: str, lowest: float, highest: float) -> float:
    """Return a number within a range."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"'{text}' is not a number") from None
    if not (math.isfinite(number) and lowest <= number <= highest):
        raise ValueError(f"{text} is out of range; from {lowest:g} to {highest:g} is possible")
    return number
