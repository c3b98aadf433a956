"""Elliptical beams of images, and the smallest common beam of an observation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass

Matrix = NDArray[np.float64]

ARCSEC_PER_DEG = 3600.0
#: FWHM^2 of a Gaussian over its variance.
FWHM2_PER_VARIANCE = 8 * math.log(2)
STEPS_PER_ARCSEC, STEPS_PER_DEG = 10, 100
STEP_TOLERANCE = 1e-9  # of a step: a common beam on a step is not raised to the next
# Tolerance of `fits_into`, relative to the beam's area: covers double precision, and the conversion of degrees in
# headers to arcseconds.
FIT_TOLERANCE = 1e-10
# Source: racs-tools 4.5.0, defaults of its common beam; the second tolerance is tried if radio_beam fails at the first.
TOLERANCES, EPSILON, SAMPLES = (1e-4, 1e-5), 5e-4, 200
# Channels above this ratio do not count for the smallest round beam. Source: doc/spec/cubes.md, section 2
LARGEST_OF_MEDIAN = 1.5


class CommonBeamError(PipelineError):
    """No common beam exists, or an image's beam does not fit into it."""


@dataclass(frozen=True)
class Beam:
    """A Gaussian beam: full widths at half maximum in arcsec, position angle in degrees, north through east."""

    major_arcsec: float
    minor_arcsec: float
    angle_deg: float = 0.0

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> Beam | None:
        """Return the beam of a FITS header; None if BMAJ or BMIN is missing, 0 or not a number."""
        axes_deg: list[Any] = [header.get(key) for key in ("BMAJ", "BMIN")]
        if not all(isinstance(axis, int | float) and math.isfinite(axis) and axis > 0 for axis in axes_deg):
            return None
        major_deg, minor_deg = axes_deg
        angle_deg = header.get("BPA", 0.0)
        is_number = isinstance(angle_deg, int | float) and math.isfinite(angle_deg)
        return cls(_arcsec(major_deg), _arcsec(minor_deg), float(angle_deg) if is_number else 0.0)

    @property
    def cards(self) -> dict[str, float]:
        """The keywords of a FITS header, degrees."""
        major_deg, minor_deg = self.major_arcsec / ARCSEC_PER_DEG, self.minor_arcsec / ARCSEC_PER_DEG
        return {"BMAJ": major_deg, "BMIN": minor_deg, "BPA": self.angle_deg}

    @property
    def area_arcsec2(self) -> float:
        """Product of both axes, proportional to the solid angle."""
        return self.major_arcsec * self.minor_arcsec

    @property
    def covariance(self) -> Matrix:
        """FWHM^2 along (north, east), arcsec^2, shape (2, 2)."""
        angle = math.radians(self.angle_deg)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        return np.asarray(turn @ np.diag([self.major_arcsec**2, self.minor_arcsec**2]) @ turn.T)

    def fits_into(self, other: Beam) -> bool:
        """Whether an image with this beam can be convolved to the other: the difference has no negative eigenvalue."""
        smallest = float(np.linalg.eigvalsh(other.covariance - self.covariance)[0])
        return smallest >= -FIT_TOLERANCE * max(self.major_arcsec, other.major_arcsec) ** 2

    def __str__(self) -> str:
        return f"{self.major_arcsec:.4g} x {self.minor_arcsec:.4g} arcsec at {self.angle_deg:.4g} deg"


def _arcsec(degrees: float) -> float:
    """Convert degrees to arcsec, rounding off the error of the division by 3600 in a header."""
    return round(float(degrees) * ARCSEC_PER_DEG, 9)


def is_usable(beam: Beam | None, cutoff_arcsec: float | None = None) -> bool:
    """Whether a beam exists and its major axis does not exceed the cutoff, so that it counts for the common beam."""
    return beam is not None and (cutoff_arcsec is None or beam.major_arcsec <= cutoff_arcsec)


def common_beam(beams: Iterable[Beam | None], cutoff_arcsec: float | None = None) -> Beam:
    """Return the smallest beam that encloses all usable ones: axes rounded up to 0.1 arcsec, angle to 0.01 deg.

    Raises
    ------
    CommonBeamError
        If no beam is usable, or no enclosing beam is found.

    Source: racs-tools 4.5.0 (beamcon_2D.get_common_beam), compared in tests/imaging/cubes/test_beams.py.
    """
    beams = list(beams)
    usable = list(dict.fromkeys(beam for beam in beams if beam is not None and is_usable(beam, cutoff_arcsec)))
    if not usable:
        raise CommonBeamError(_missing_beam_reason(beams, cutoff_arcsec))
    smallest = _enclosing(usable)
    common = Beam(
        _rounded_up(smallest.major_arcsec, STEPS_PER_ARCSEC),
        _rounded_up(smallest.minor_arcsec, STEPS_PER_ARCSEC),
        _rounded_up(smallest.angle_deg, STEPS_PER_DEG),
    )
    while not all(beam.fits_into(common) for beam in usable):  # rounding rotates it
        common = Beam(_next_step(common.major_arcsec), _next_step(common.minor_arcsec), common.angle_deg)
    return common


def _missing_beam_reason(beams: Sequence[Beam | None], cutoff_arcsec: float | None) -> str:
    """Return the reason of a missing common beam."""
    sizes_arcsec = [beam.major_arcsec for beam in beams if beam is not None]
    if not sizes_arcsec:
        return (
            f"common beam: none of {len(beams)} images has a beam (BMAJ is 0 or missing); all channels may be flagged"
        )
    return (
        f"common beam: the beams of all {len(sizes_arcsec)} images that have one are larger than the cutoff of "
        f"{cutoff_arcsec:g} arcsec (smallest: {min(sizes_arcsec):.4g} arcsec); raise the cutoff"
    )


def _enclosing(beams: Sequence[Beam]) -> Beam:
    """Return the smallest enclosing beam: the largest one if it encloses the others, else an ellipse by radio_beam."""
    largest = max(beams, key=lambda beam: beam.area_arcsec2)
    if all(beam.fits_into(largest) for beam in beams):
        return largest
    import astropy.units as u
    import radio_beam

    arrays = zip(*((beam.major_arcsec, beam.minor_arcsec, beam.angle_deg) for beam in beams), strict=True)
    major, minor, angle = (np.array(values) for values in arrays)
    ellipses = radio_beam.Beams(major * u.arcsec, minor * u.arcsec, angle * u.deg)
    reason = ""
    for tolerance in TOLERANCES:
        try:
            ellipse = ellipses.common_beam(tolerance=tolerance, epsilon=EPSILON, nsamps=SAMPLES)
        except (radio_beam.utils.BeamError, ValueError) as err:
            reason = str(err).splitlines()[0]
            continue
        axes_arcsec = (float(ellipse.major.to_value(u.arcsec)), float(ellipse.minor.to_value(u.arcsec)))
        return Beam(*axes_arcsec, float(ellipse.pa.to_value(u.deg)))
    raise CommonBeamError(
        f"common beam: none was found around {len(beams)} beams: {reason}; set a cutoff that leaves some out"
    )


def _rounded_up(value: float, steps: int) -> float:
    """Round a value up to a multiple of 1 / ``steps``."""
    return math.ceil(value * steps - STEP_TOLERANCE) / steps


def _next_step(axis_arcsec: float) -> float:
    return (round(axis_arcsec * STEPS_PER_ARCSEC) + 1) / STEPS_PER_ARCSEC


def smallest_round_beam(beams: Iterable[Beam | None]) -> Beam:
    """Return the smallest round beam, to 0.1 arcsec, of channels with beams up to 1.5 times the median.

    Raises
    ------
    CommonBeamError
        If no image has a beam.

    Source: doc/spec/cubes.md, section 2.
    """
    beams = list(beams)
    sizes_arcsec = np.array([beam.major_arcsec for beam in beams if beam is not None])
    if not sizes_arcsec.size:
        raise CommonBeamError(_missing_beam_reason(beams, None))
    reached = sizes_arcsec[sizes_arcsec <= LARGEST_OF_MEDIAN * np.median(sizes_arcsec)]
    diameter_arcsec = _rounded_up(float(reached.max()), STEPS_PER_ARCSEC)
    return Beam(diameter_arcsec, diameter_arcsec, 0.0)
