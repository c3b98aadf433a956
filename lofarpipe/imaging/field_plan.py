"""From the names of measurement sets to the imaging plan of their field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lofarpipe.imaging.beam import FieldBeam, block_times_s, field_beam
from lofarpipe.imaging.measurement_set import elevation_rad, read_metadata
from lofarpipe.imaging.plan import ImagingPlan, Observation, make_plan, observe
from lofarpipe.imaging.plan_options import PlanError, PlanOptions

ELEVATION_TIMES = 9


def plan_field(paths: Sequence[str], options: PlanOptions) -> ImagingPlan:
    """Return the plan for imaging these measurement sets together.

    Raises
    ------
    PlanError
        If there is no set, one is given twice, or they cannot be imaged together.
    MeasurementSetError, BeamError
        If a set cannot be read, or has no usable beam.
    ValueError
        If a size, the uv range, the diameter of a station or the elevation of the field is impossible.
    """
    repeated = sorted({path for path in paths if list(paths).count(path) > 1})
    if repeated:
        raise PlanError(f"{repeated[0]}: given twice; give each measurement set once")
    sets = [read_metadata(path) for path in paths]
    observation = observe(sets)
    lowest = [block[0] for block in observation.blocks]
    elevations = elevation_rad(lowest[0], block_times_s(lowest, ELEVATION_TIMES))
    return make_plan(sets, _beam(observation, options), options, float(np.mean(elevations)))


def _beam(observation: Observation, options: PlanOptions) -> FieldBeam:
    """Return the beam at the lowest channel; a formula's width where the historical rules are asked for."""
    diameter_m = options.station_diameter_m or None
    if options.averaging == "historical":
        return FieldBeam(0.0, 0.0, "formula", "not used by the historical rules")
    lowest = [block[0] for block in observation.blocks]
    return field_beam(lowest, observation.lowest_channel_hz, diameter_m)
