"""From the names of measurement sets to the imaging plan of their field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

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
        If there is no set, one is given twice, they cannot be imaged together, or the field is below the horizon.
    MeasurementSetError, BeamError
        If a set cannot be read, or has no usable beam.
    ValueError
        If a size, the uv range or the diameter of a station is impossible.
    """
    repeated = [path for path, times in Counter(str(Path(path).resolve()) for path in paths).items() if times > 1]
    if repeated:
        raise PlanError(f"{repeated[0]}: given twice; give each measurement set once")
    sets = [read_metadata(path) for path in paths]
    observation = observe(sets)
    mean_elevation_rad = _mean_elevation_rad(observation)
    return make_plan(sets, _beam(observation, options), options, mean_elevation_rad)


def _mean_elevation_rad(observation: Observation) -> float:
    """Return the mean elevation of the field over the time observed; it must be up all the time."""
    lowest = [block[0] for block in observation.blocks]
    elevations = elevation_rad(lowest[0], block_times_s(lowest, ELEVATION_TIMES))
    if elevations.min() <= 0:
        raise PlanError(
            f"{lowest[0].path}: the field is not up all the time: its elevation falls to "
            f"{np.degrees(elevations.min()):.1f} deg; check the phase centre, or leave those times out"
        )
    return float(elevations.mean())


def _beam(observation: Observation, options: PlanOptions) -> FieldBeam:
    """Return the beam at the lowest channel; a formula's width where the historical rules are asked for."""
    diameter_m = options.station_diameter_m or None
    if options.averaging == "historical":
        return FieldBeam(0.0, 0.0, "formula", "not used by the historical rules")
    lowest = [block[0] for block in observation.blocks]
    return field_beam(lowest, observation.lowest_channel_hz, diameter_m)
