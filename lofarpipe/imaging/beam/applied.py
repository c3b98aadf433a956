"""The station beam already corrected in the visibilities, as recorded by DP3 in column keywords."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from lofarpipe.imaging.ms.grouping import angle_between_rad
from lofarpipe.imaging.ms.tables import MeasurementSetError, opened_set
from lofarpipe.support.dataclass import dataclass

MODE_KEYWORD, DIRECTION_KEYWORD = "LOFAR_APPLIED_BEAM_MODE", "LOFAR_APPLIED_BEAM_DIR"
FULL, ARRAY_FACTOR, ELEMENT, NONE, UNSTATED = "Full", "ArrayFactor", "Element", "None", ""
# Values read by DP3 6.6, case-insensitive. Source: tests with its applybeam and msin.
MODES = {
    "full": FULL,
    "default": FULL,
    "arrayfactor": ARRAY_FACTOR,
    "array_factor": ARRAY_FACTOR,
    "element": ELEMENT,
    "none": NONE,
}
LARGEST_OFFSET_RAD = 5e-5  # ten arcseconds: tolerance of equal directions


@dataclass(frozen=True)
class AppliedBeam:
    """The beam corrected in a column: its mode, and the direction (J2000, radians) if recorded.

    ``mode`` is one of the constants above; ``UNSTATED`` without a keyword.
    """

    column: str
    mode: str
    direction_rad: tuple[float, float] | None = None

    def is_complete_at(self, centre_rad: tuple[float, float]) -> bool:
        """Whether the full beam was corrected there; a set without keyword is assumed to be calibrated.

        After a correction in another direction the beam is not 1 at the centre.
        """
        if self.mode != FULL or self.direction_rad is None:
            return self.mode in (FULL, UNSTATED)
        return angle_between_rad(self.direction_rad, centre_rad) < LARGEST_OFFSET_RAD

    @property
    def reference(self) -> str:
        """The reference of the beams of this set, in words."""
        return {
            FULL: "the full beam in the direction that the set names",
            ARRAY_FACTOR: "the array factor in the direction that the set names, the only part corrected for",
            ELEMENT: "the element beam in the direction that the set names, the only part corrected for",
            NONE: "nothing: the set says that it was not corrected for the beam",
            UNSTATED: "the full beam at the field centre (assumed: the set names none)",
        }[self.mode]

    def conflict(self, first: AppliedBeam, first_path: str) -> str:
        """Return why a set cannot be imaged together with the first one; "" if it can."""
        directions = (self.direction_rad, first.direction_rad)
        same = self.mode == first.mode and (directions[0] is None) == (directions[1] is None)
        if directions[0] is not None and directions[1] is not None:
            same = same and angle_between_rad(directions[0], directions[1]) < LARGEST_OFFSET_RAD
        if same:
            return ""
        return (
            f"{MODE_KEYWORD} is {self}, and {first} in {first_path}; sets of one image must be corrected for the same "
            "beam: apply DP3's applybeam to those that lack it, or image them apart"
        )

    def __str__(self) -> str:
        """The keyword's value, and the direction in degrees."""
        if self.direction_rad is None:
            return self.mode or "absent"
        right_ascension, declination = (math.degrees(angle) for angle in self.direction_rad)
        return f"{self.mode} at {right_ascension % 360:.4f}, {declination:.4f} deg"


def imaged_column(columns: Iterable[str]) -> str:
    """Return the column that WSClean images by default."""
    return "CORRECTED_DATA" if "CORRECTED_DATA" in columns else "DATA"


def read_applied_beam(path: str) -> AppliedBeam:
    """Return the beam corrected in the imaged column of a set.

    Raises
    ------
    MeasurementSetError
        If the set cannot be read, or DP3 does not know the keyword's value.
    """
    with opened_set(path) as table:
        return applied_beam_in(path, table, imaged_column(table.colnames()))


def applied_beam_in(path: str, table: Any, column: str) -> AppliedBeam:
    """Return the beam corrected in a column of an open set.

    Raises
    ------
    MeasurementSetError
        If DP3 does not know the keyword's value, or the direction of the correction is missing.
    """
    keywords = dict(table.getcolkeywords(column)) if column in table.colnames() else {}
    if MODE_KEYWORD not in keywords:
        return AppliedBeam(column, UNSTATED)
    text = str(keywords[MODE_KEYWORD]).strip()
    if text.lower() not in MODES:
        mode_names = ", ".join((FULL, ARRAY_FACTOR, ELEMENT, NONE))
        raise MeasurementSetError(
            f"{path}: {MODE_KEYWORD} of {column} is '{text}'; one of {mode_names} is needed; correct the keyword"
        )
    mode = MODES[text.lower()]
    if mode != NONE and DIRECTION_KEYWORD not in keywords:
        raise MeasurementSetError(
            f"{path}: {MODE_KEYWORD} of {column} is {text}, and it has no {DIRECTION_KEYWORD}, as EveryBeam needs; "
            f"add the direction of the correction, or set {MODE_KEYWORD} to {NONE} if there was no correction"
        )
    return AppliedBeam(column, mode, None if mode == NONE else _direction_rad(keywords.get(DIRECTION_KEYWORD)))


def _direction_rad(measure: Any) -> tuple[float, float] | None:
    """Convert a direction measure of any unit and frame to right ascension and declination, J2000.

    None if it is not a direction, or its frame needs a time and a place.
    """
    from casacore.measures import measures

    try:
        j2000 = measures().measure(measure, "J2000")
        return float(j2000["m0"]["value"]), float(j2000["m1"]["value"])
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError):
        return None
