"""Whether a field can be planned, found out before the first job where a quick look makes one doubt it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.beam.formula import SPEED_OF_LIGHT_M_S
from lofarpipe.imaging.ms.measurement_set import SetMetadata, sample_visibilities
from lofarpipe.imaging.plan.averaging import AveragingWish, least_image_side
from lofarpipe.imaging.plan.field_plan import plan_field
from lofarpipe.imaging.plan.options import parse_options

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


def _is_wide(sets: Sequence[SetMetadata], wish: AveragingWish, texts: Mapping[str, str]) -> bool:
    half_width_rad = math.radians(least_image_side(sets, wish, 1.0)) / 2
    return half_width_rad * math.hypot(1.0, float(texts.get("y_axis_stretch", 1.0))) > WIDE_RAD


def _has_few_baselines(one: SetMetadata, wish: AveragingWish) -> bool:
    uvw_m = sample_visibilities(one.path, SAMPLED_ROWS).uvw_m
    lengths = np.hypot(uvw_m[:, 0], uvw_m[:, 1]) * float(np.mean(one.frequencies_hz)) / SPEED_OF_LIGHT_M_S
    return float(np.mean((lengths >= wish.minlambda) & (lengths <= wish.maxlambda))) < FEW_BASELINES
