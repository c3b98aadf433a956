"""From the names of measurement sets to the imaging plan of their field."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lofarpipe.imaging.beam.width import FieldBeam, block_times_s, field_beam
from lofarpipe.imaging.ms.copy import copy_slot, why_copied
from lofarpipe.imaging.ms.measurement_set import elevation_rad
from lofarpipe.imaging.ms.survey import SetSurvey, survey_set
from lofarpipe.imaging.plan.options import PlanError, PlanOptions
from lofarpipe.imaging.plan.plan import ImagingPlan, Observation, PlannedCopy, make_plan, observe

ELEVATION_TIMES = 9


def plan_field(paths: Sequence[str], options: PlanOptions, copies_dir: str = "copies") -> ImagingPlan:
    """Return the plan for imaging these measurement sets together.

    ``copies_dir`` is where copies will be of those that DP3 cannot read as they are, or would average wrongly.

    Raises
    ------
    PlanError
        If there is no set, one is given twice, they cannot be imaged together, the field is below the horizon, or a
        size, the uv range or the diameter of a station is impossible.
    MeasurementSetError, BeamError
        If a set cannot be read, or has no usable beam.
    """
    repeated = [path for path, times in Counter(str(Path(path).resolve()) for path in paths).items() if times > 1]
    if repeated:
        raise PlanError(f"{repeated[0]}: given twice; give each measurement set once")
    surveys = [survey_set(path, options.data_column, options.field) for path in paths]
    sets, copies = [one.metadata for one in surveys], plan_copies(surveys, copies_dir)
    observation = observe(sets, copies)
    mean_elevation_rad = _mean_elevation_rad(observation)
    try:
        return make_plan(sets, _beam(observation, options), options, mean_elevation_rad, copies)
    except ValueError as err:
        raise PlanError(f"{sets[0].path}: no plan can be made: {err}") from err


def plan_copies(surveys: Sequence[SetSurvey], copies_dir: str) -> dict[str, PlannedCopy]:
    """Return the copies that DP3 is to be given, by the path of the set; each has a name of its own."""
    copies: dict[str, PlannedCopy] = {}
    for survey in surveys:
        reasons = why_copied(survey)
        if reasons:
            taken = {copy.path for copy in copies.values()}
            name = next(
                name
                for number in range(len(copies) + 1)
                if (name := f"{copies_dir}/{f'{number}_' if number else ''}{survey.metadata.name}") not in taken
            )
            copies[survey.path] = PlannedCopy(name, tuple(reasons))
    return copies


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
    if lowest[0].nfields == 1:
        return field_beam(lowest, observation.lowest_channel_hz, diameter_m)
    with tempfile.TemporaryDirectory() as directory:  # EveryBeam reads sets with one row in FIELD only
        copy_slot(lowest[0], f"{directory}/slot.MS")
        first = replace(lowest[0], path=f"{directory}/slot.MS")
        return field_beam([first, *lowest[1:]], observation.lowest_channel_hz, diameter_m)
