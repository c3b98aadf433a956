"""Fluxes of primary calibrators on the scale of Perley & Butler 2017, and sky models of calibrators."""

from __future__ import annotations

import functools
import json
import math
import re
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError, list_names, nearest
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

Floats = NDArray[np.float64]

# Calibrator names by position, B1950 or J2000.
POSITION_NAME = lazy_pattern(r"[BJ]?\d{4}[+-]\d{2,4}[A-Za-z]?")
REFERENCE_HZ = 1e9


class FluxScaleError(PipelineError):
    """A source is not in the flux scale."""


@dataclass(frozen=True)
class PrimaryCalibrator:
    """A source of the flux scale.

    Attributes
    ----------
    coefficients: a_k of log10(S / Jy) = sum of a_k x^k, x = log10(f / GHz).
    range_ghz: the valid frequencies.
    j2000: right ascension and declination in the notation of sky models.
    polarisation: linearly polarised fraction and position angle, degrees; zeros if unknown.
    """

    name: str
    coefficients: tuple[float, ...]
    range_ghz: tuple[float, float]
    j2000: tuple[str, str]
    note: str = ""
    extended: bool = False
    polarisation: tuple[float, float] = (0.0, 0.0)

    def flux_jy(self, frequency_hz: float | Floats) -> Floats:
        """Return the flux, Jy.

        Source: doc/spec/calibration.md, section 1.
        """
        x = np.log10(np.asarray(frequency_hz, float) / 1e9)
        return np.asarray(10 ** sum(a * x**k for k, a in enumerate(self.coefficients)))

    def warnings(self, low_hz: float, high_hz: float) -> list[str]:
        """Return warnings about the calibrator between two frequencies."""
        lines = []
        low, high = self.range_ghz
        if low_hz < low * 1e9 or high_hz > high * 1e9:
            lines.append(
                f"flux calibrator {self.name}: the scale is valid from {low:g} to {high:g} GHz, the data are at "
                f"{low_hz / 1e9:.4g} to {high_hz / 1e9:.4g} GHz; choose another calibrator"
            )
        if self.extended:
            lines.append(
                f"flux calibrator {self.name}: the source is extended, the model a point of its total flux; long "
                "baselines will be wrong: choose a compact calibrator"
            )
        if self.note:
            lines.append(f"flux calibrator {self.name}: {self.note}")
        return lines

    def sky_model(self, q_fraction: float = 0.0, u_fraction: float = 0.0) -> str:
        """Return a DP3 sky model of the source: the coefficients as a logarithmic spectral index at 1 GHz.

        Source: DP3's sky model format; doc/spec/calibration.md, section 1.
        """
        jy, terms = 10 ** self.coefficients[0], ",".join(f"{a:g}" for a in self.coefficients[1:])
        stokes = ", ".join(f"{jy * share:.8g}" for share in (1.0, q_fraction, u_fraction, 0.0))
        return f"{SKY_MODEL_HEAD}{_word(self.name)}, POINT, {', '.join(self.j2000)}, {stokes}, 1e9, [{terms}], true\n"


SKY_MODEL_HEAD = "FORMAT = Name, Type, Ra, Dec, I, Q, U, V, ReferenceFrequency, SpectralIndex, LogarithmicSI\n"


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def unit_source(name: str, right_ascension_rad: float, declination_rad: float) -> str:
    """Return a DP3 sky model of a 1 Jy point, for a calibrator of unknown flux."""
    hours = math.degrees(right_ascension_rad) % 360 / 15
    place = f"{_sexagesimal(hours, ':')}, {'-' if declination_rad < 0 else '+'}"
    place += _sexagesimal(abs(math.degrees(declination_rad)), ".")
    return f"{SKY_MODEL_HEAD}{_word(name)}, POINT, {place}, 1, 0, 0, 0, 1e9, [0], true\n"


def _sexagesimal(value: float, separator: str) -> str:
    seconds = round(value * 3600, 6)
    minutes = int(seconds // 60)
    return separator.join([f"{minutes // 60:02d}", f"{minutes % 60:02d}", f"{seconds - 60 * minutes:09.6f}"])


@functools.cache
def flux_scale() -> tuple[str, str, dict[str, PrimaryCalibrator]]:
    """Return the name of the standard, its reference, and its sources by lower-case name and alias."""
    text = resources.files("lofarpipe.imaging.calibration").joinpath("flux_scale.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    sources: dict[str, PrimaryCalibrator] = {}
    for name, entry in table["sources"].items():
        aliases = entry.pop("aliases", [])
        fields: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in entry.items()}
        calibrator = PrimaryCalibrator(name, **fields)
        sources |= {key.lower(): calibrator for key in (name, *aliases)}
    return table["standard"], table["reference"], sources


def is_primary(name: str) -> bool:
    """Whether a source is in the flux scale."""
    return name.strip().lower() in flux_scale()[2]


def primary_calibrator(name: str) -> PrimaryCalibrator:
    """Return a source of the flux scale by name or alias, case-insensitive.

    Raises
    ------
    FluxScaleError
        If the name is unknown; the message lists the known sources.
    """
    standard, _, sources = flux_scale()
    source = sources.get(name.strip().lower())
    if source is None:
        source_names = list(dict.fromkeys(source.name for source in sources.values()))
        raise FluxScaleError(
            f"flux calibrator '{name}': is not in the scale {standard}, which has "
            f"{list_names(source_names)}{nearest(name, source_names)}"
        )
    return source


def is_position_name(name: str) -> bool:
    """Whether a name is a position, such as 1733-130 or J1733-1304, as usual for phase calibrators."""
    return POSITION_NAME.fullmatch(name) is not None


def polarised_stokes(fraction: float, angle_deg: float, parallactic_rad: float) -> tuple[float, float]:
    """Return apparent Q/I and U/I of a source for linear feeds on an alt-azimuth mount.

    XX is scaled by 1 + Q/I = 1 + p cos 2(psi - chi).

    Source: doc/spec/calibration.md, section 3.
    """
    turned = 2 * (math.radians(angle_deg) - parallactic_rad)
    return fraction * math.cos(turned), fraction * math.sin(turned)
