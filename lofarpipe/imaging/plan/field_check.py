"""Whether the options of an image fit the measurement sets: their baselines, and the size of the sky."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lofarpipe.imaging.beam.formula import SPEED_OF_LIGHT_M_S
from lofarpipe.imaging.beam.station import WIDEST_HALF_WIDTH
from lofarpipe.imaging.ms.survey import SetSurvey
from lofarpipe.imaging.plan.averaging import AveragingWish, least_image_side


def uv_range_finding(surveys: Sequence[SetSurvey], minlambda: float, maxlambda: float) -> str:
    """Return why no baseline of the sets is within the uv range, wavelengths; "" if one is, or none was seen."""
    used = [survey for survey in surveys if survey.usability.longest_m > 0]
    if not used:
        return ""
    longest = max(_lambdas(survey)[1] for survey in used)
    shortest = min(_lambdas(survey)[0] for survey in used)
    if longest < minlambda:
        return (
            f"minlambda_highres: is {minlambda:g} wavelengths, the longest baseline of the sets is {longest:.4g}: "
            "nothing could be imaged; make it smaller"
        )
    if shortest > maxlambda:
        return (
            f"maxlambda_highres: is {maxlambda:g} wavelengths, the shortest baseline of the sets is {shortest:.4g}: "
            "nothing could be imaged; make it larger"
        )
    return ""


def _lambdas(survey: SetSurvey) -> tuple[float, float]:
    """Return the shortest and the longest baseline that can be used, in wavelengths."""
    frequencies_hz, used = survey.metadata.frequencies_hz, survey.usability
    return (
        used.shortest_m * float(frequencies_hz.min()) / SPEED_OF_LIGHT_M_S,
        used.longest_m * float(frequencies_hz.max()) / SPEED_OF_LIGHT_M_S,
    )


def size_finding(surveys: Sequence[SetSurvey], wish: AveragingWish, cellsize_deg: float) -> str:
    """Return why the image is wider than can be projected and have its beam; "" if it is not.

    Raises
    ------
    ValueError
        If the stations have no diameter.
    """
    width_deg = least_image_side([survey.metadata for survey in surveys], wish, cellsize_deg) * cellsize_deg
    widest_deg = math.degrees(2 * WIDEST_HALF_WIDTH)
    if width_deg < widest_deg:
        return ""
    return (
        f"fieldsize_highres: with {wish.fieldsize_highres:g} times the width of the beam the image is about "
        f"{width_deg:.3g} deg wide, and less than {widest_deg:.0f} deg of the sky can be imaged at once; make it "
        "smaller, or set station_diameter_m if the ANTENNA table has wrong diameters"
    )
