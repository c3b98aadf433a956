"""Whether a field can be planned, found out before the first job where a quick look makes one doubt it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.beam.station import SPEED_OF_LIGHT_M_S, WIDEST_HALF_WIDTH
from lofarpipe.imaging.ms.measurement_set import SetMetadata, sample_visibilities
from lofarpipe.imaging.ms.survey import SetSurvey
from lofarpipe.imaging.plan.losses import AveragingWish, least_image_side
from lofarpipe.imaging.plan.options import parse_options
from lofarpipe.imaging.plan.plan import plan_field


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


WIDE_RAD = 0.3  # half a diagonal; the beam may be a few times wider than at the zenith
SAMPLED_ROWS = 2000
FEW_BASELINES = 0.02  # of the rows, within the uv range
OUTSIDE_UV_RANGE = "no unflagged visibility"


def plan_findings(sets: Sequence[SetMetadata], wish: AveragingWish, texts: Mapping[str, str]) -> list[str]:
    """Return why there can be no plan for sets.

    It is made only for images that are nearly as wide as the sky, or where few baselines are in the uv range: it takes
    half a second and more. ``texts`` are what do_magic is given.
    """
    if not (_is_wide(sets, wish, texts) or _has_few_baselines(sets[0], wish)):
        return []
    try:
        plan_field([one.path for one in sets], parse_options(texts))
    except (PipelineError, ValueError) as err:
        name = "maxlambda_highres" if str(err).startswith(OUTSIDE_UV_RANGE) else "fieldsize_highres"
        return [f"{name}: {err}"]
    return []


def mask_findings(sets: Sequence[SetMetadata], texts: Mapping[str, str], masks: Mapping[str, str]) -> list[str]:
    """Return which of the FITS files that lie over the image, by the option that names each, is not of its size.

    The plan is made for it. Where there is none, that is found elsewhere.
    """
    sizes = {name: _fits_size(path) for name, path in masks.items()}
    try:
        size = plan_field([one.path for one in sets], parse_options(texts)).sizes[0].high if sizes else ()
    except (PipelineError, ValueError):
        return []
    wanted = f"the image will have {_pixels(size)} pixels"
    wrong = [(name, f"has {_pixels(has)}" if has else "is no FITS image") for name, has in sizes.items() if has != size]
    return [f"{name}: {masks[name]} {what}, and {wanted}; make one of that size" for name, what in wrong]


def _pixels(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _fits_size(path: str) -> tuple[int, ...]:
    """Return width and height of an image; nothing where it is none."""
    from astropy.io import fits

    try:
        header = fits.getheader(path)
        return int(header["NAXIS1"]), int(header["NAXIS2"])
    except (OSError, KeyError):
        return ()


def _is_wide(sets: Sequence[SetMetadata], wish: AveragingWish, texts: Mapping[str, str]) -> bool:
    half_width_rad = math.radians(least_image_side(sets, wish, 1.0)) / 2
    return half_width_rad * math.hypot(1.0, float(texts.get("y_axis_stretch", 1.0))) > WIDE_RAD


def _has_few_baselines(one: SetMetadata, wish: AveragingWish) -> bool:
    uvw_m = sample_visibilities(one.path, SAMPLED_ROWS).uvw_m
    lengths = np.hypot(uvw_m[:, 0], uvw_m[:, 1]) * float(np.mean(one.frequencies_hz)) / SPEED_OF_LIGHT_M_S
    return float(np.mean((lengths >= wish.minlambda) & (lengths <= wish.maxlambda))) < FEW_BASELINES
