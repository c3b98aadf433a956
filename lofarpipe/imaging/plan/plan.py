"""The imaging plan: image sizes, averaging and output channels, with reasons and predicted losses."""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from lofarpipe.errors import counted, list_names
from lofarpipe.imaging.beam.width import FieldBeam, block_times_s, field_beam
from lofarpipe.imaging.ms.copy import FLAG_CATEGORY, copy_first_slots, copy_reasons
from lofarpipe.imaging.ms.grouping import concat_groups, frequency_groups, set_disagreements, time_blocks
from lofarpipe.imaging.ms.measurement_set import SetMetadata, elevation_rad
from lofarpipe.imaging.ms.survey import SetSurvey, survey_set
from lofarpipe.imaging.ms.uv_sample import imaging_sample, read_samples
from lofarpipe.imaging.plan import historical
from lofarpipe.imaging.plan.losses import AveragingStep, LossAt, LossPredictor, Steps, choose_steps
from lofarpipe.imaging.plan.options import PlanError, PlanOptions
from lofarpipe.imaging.plan.sizes import FieldAngles, FieldWidth, ImageSizes, coarse_cells, field_angles, image_sizes
from lofarpipe.imaging.plan.smearing import AveragingLimits
from lofarpipe.imaging.weighting.weights import ImageWeighting
from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    from lofarpipe.imaging.ms.measurement_set import SetMetadata


# Over 6 % in frequency a Gaussian beam changes by 4 % on either side at half power, and by 9 % at 0.75 FWHM.
MAX_RELATIVE_WIDTH = 0.06
MIN_CHANNELS_OUT = 2


def count_channels_out(lowest_hz: float, highest_hz: float, averaged_channels: int) -> int:
    """Return the number of output channels between two band edges, monotonic in the bandwidth.

    One per started 6 % in frequency, so that the primary beam and source spectra change little within a channel; at
    least 2, and at most the number of channels after averaging.

    Raises
    ------
    ValueError
        If the edges are not positive and rising, or there is no channel.
    """
    if not 0 < lowest_hz < highest_hz or averaged_channels < 1:
        raise ValueError(
            f"{averaged_channels} channels from {lowest_hz / 1e6} to {highest_hz / 1e6} MHz; "
            "rising frequencies and one channel are needed"
        )
    count = math.ceil(math.log(highest_hz / lowest_hz) / MAX_RELATIVE_WIDTH - 1e-9)
    return min(max(count, MIN_CHANNELS_OUT), averaged_channels)


def channel_findings(sets: Sequence[SetMetadata], channels_out: float) -> list[str]:
    """Return a finding if more output channels are requested than the sets have."""
    channels = len({hz for one in sets for hz in one.frequencies_hz})
    if channels_out <= channels:
        return []
    return [
        f"channels_out: is {channels_out:g}, the sets have {channels} channels; set it to {channels} at most, or to 0"
    ]


ELEVATION_TIMES = 9


def plan_field(paths: Sequence[str], options: PlanOptions, copies_dir: str = "copies") -> ImagingPlan:
    """Make the plan for joint imaging of measurement sets.

    ``copies_dir`` is the directory for copies of sets that DP3 cannot read or would average incorrectly.

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
    surveys = [survey_set(path, options.data_column, options.field, every_row=True) for path in paths]
    weights = {one.path: (one.usability.low_weight, one.usability.highest_weight) for one in surveys}
    observation = group_observation([one.metadata for one in surveys], plan_copies(surveys, copies_dir), weights)
    mean_elevation_rad = _mean_elevation_rad(observation)
    try:
        return make_plan(observation, _beam(observation, options), options, mean_elevation_rad)
    except ValueError as err:
        raise PlanError(f"{paths[0]}: no plan can be made: {err}") from err


def plan_copies(surveys: Sequence[SetSurvey], copies_dir: str) -> dict[str, PlannedCopy]:
    """Return the copies for DP3, by path of the original set, with unique names."""
    copies: dict[str, PlannedCopy] = {}
    for survey in surveys:
        reasons = copy_reasons(survey)
        if reasons:
            names_in_use = {copy.path for copy in copies.values()}
            table = table_name(survey.metadata.name)
            names = (f"{copies_dir}/{f'{number}_' if number else ''}{table}" for number in range(len(copies) + 1))
            name = next(name for name in names if name not in names_in_use)
            copies[survey.path] = PlannedCopy(name, tuple(reasons))
    return copies


def table_name(name: str) -> str:
    """Return a file name that other programs recognise as a measurement set."""
    return name if name.lower().endswith(".ms") else f"{name}.ms"


def _mean_elevation_rad(observation: Observation) -> float:
    """Return the mean elevation of the field, which must stay above the horizon."""
    lowest = [block[0] for block in observation.blocks]
    elevations = elevation_rad(lowest[0], block_times_s(lowest, ELEVATION_TIMES))
    if elevations.min() <= 0:
        raise PlanError(
            f"{lowest[0].path}: the field is not up all the time: its elevation falls to "
            f"{np.degrees(elevations.min()):.1f} deg; check the phase centre, or leave those times out"
        )
    return float(elevations.mean())


def _beam(observation: Observation, options: PlanOptions) -> FieldBeam:
    """Return the beam at the lowest channel, or the formula's width under the historical rules."""
    diameter_m = options.station_diameter_m or None
    if options.averaging == "historical":
        return FieldBeam(0.0, 0.0, "formula", "not used by the historical rules")
    lowest = [block[0] for block in observation.blocks]
    if lowest[0].nfields == 1 and FLAG_CATEGORY in lowest[0].columns:
        return field_beam(lowest, observation.lowest_channel_hz, diameter_m)
    with tempfile.TemporaryDirectory() as directory:  # EveryBeam needs one row in FIELD, and that column
        copy_first_slots(lowest[0], f"{directory}/slots.MS")
        first = replace(lowest[0], path=f"{directory}/slots.MS")
        return field_beam([first, *lowest[1:]], observation.lowest_channel_hz, diameter_m)


DYSCO_WEIGHT_BITS = (12, 16)  # bits: default and maximum of Dysco
WEIGHT_STEPS = 40  # minimum steps of rounding for a low weight
LEAST_PIXELS_PER_BEAM = 3.0  # across its FWHM
WIDE_CHANNEL = 2 * MAX_RELATIVE_WIDTH  # of an output channel, ln(highest / lowest frequency)


@dataclass(frozen=True)
class PlannedCopy:
    """A corrected copy of a set for DP3: path and changes."""

    path: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Observation:
    """The sets of an observation by subband (ascending frequency), time block, and DP3 group.

    ``lowest_hz`` and ``highest_hz`` are the outer edges of the band. By path of a set: ``copies``, the corrected copy
    for averaging, and ``weights``, its low and its highest weight.
    """

    groups: list[list[SetMetadata]]
    blocks: list[list[SetMetadata]]
    concat_groups: list[list[SetMetadata]]
    lowest_hz: float
    highest_hz: float
    copies: Mapping[str, PlannedCopy]
    weights: Mapping[str, tuple[float, float]]

    @property
    def sets(self) -> list[SetMetadata]:
        """All sets, subband by subband."""
        return [one for group in self.groups for one in group]

    @property
    def first(self) -> SetMetadata:
        """The first set of the lowest subband."""
        return self.groups[0][0]

    @property
    def lowest_channel_hz(self) -> float:
        """The centre of the lowest channel."""
        return self.lowest_hz + self.first.channel_width_hz / 2


@dataclass(frozen=True)
class ImagingPlan:
    """The planned settings of an observation, and their predicted losses."""

    observation: Observation
    options: PlanOptions
    beam: FieldBeam
    width: FieldWidth  # beam width at the lowest frequency, the basis of the sizes
    sizes: list[ImageSizes]  # one per subband
    angles: FieldAngles
    limits: AveragingLimits
    steps: Steps
    predictor: LossPredictor
    losses: dict[str, LossAt]
    nbands: int
    channels_out: int

    @property
    def freqstep_hz(self) -> float:
        """The channel width after averaging."""
        return self.steps.frequency.step * self.observation.first.channel_width_hz

    @property
    def timestep_s(self) -> float:
        """The time slot after averaging."""
        return self.steps.time.step * self.observation.first.timestep_s

    @property
    def averaged_channels(self) -> int:
        """The number of channels of all subbands together, after averaging."""
        nchan = sum(len(group[0].frequencies_hz) for group in self.observation.groups)
        return nchan // self.steps.frequency.step

    @property
    def weight_bits(self) -> list[tuple[int, str]]:
        """The bits per weight in each averaged set, with reasons."""
        return [
            weight_bits(group, self.timestep_s, self.observation.weights) for group in self.observation.concat_groups
        ]

    @property
    def warnings(self) -> list[str]:
        """Notes for users of the image."""
        return plan_warnings(self)


def group_observation(
    sets: Sequence[SetMetadata],
    copies: Mapping[str, PlannedCopy] = MappingProxyType({}),
    weights: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> Observation:
    """Check that sets can be imaged together, and return them grouped.

    For ``copies`` and ``weights`` see `Observation`.

    Raises
    ------
    PlanError
        If there is no set, or the sets disagree in phase centre, channels, time step or antennas.
    MeasurementSetError
        If two sets cover the same time and frequency.
    """
    if not sets:
        raise PlanError("no measurement sets were given; at least one is needed")
    problems = set_disagreements(sets)
    if problems:
        raise PlanError("\n".join(problems))
    half_width_hz, blocks = sets[0].channel_width_hz / 2, time_blocks(sets)
    return Observation(
        groups=frequency_groups(sets),
        blocks=blocks,
        concat_groups=concat_groups(blocks, copies),
        lowest_hz=min(float(one.frequencies_hz.min()) for one in sets) - half_width_hz,
        highest_hz=max(float(one.frequencies_hz.max()) for one in sets) + half_width_hz,
        copies=copies,
        weights=weights,
    )


def make_plan(
    observation: Observation, beam: FieldBeam, options: PlanOptions, mean_elevation_rad: float = math.pi / 2
) -> ImagingPlan:
    """Make the plan for joint imaging of all sets of an observation.

    ``beam`` is at the lowest channel. ``mean_elevation_rad`` is only used by the historical rules. A sample of
    uvw, weights and flags is read from some of the sets.

    Raises
    ------
    PlanError
        If more output channels are requested than available, or the image is wider than the sky.
    MeasurementSetError
        If nothing unflagged is found.
    ValueError
        If a size, the uv range or the diameter of a station is impossible.
    """
    width = _field_width(observation, beam, options, mean_elevation_rad)
    sizes = [image_sizes(width.at(_size_frequency_hz(group[0], options)), options) for group in observation.groups]
    angles = field_angles(sizes[0].high, options.cellsize_highres_deg, width)
    weighting = ImageWeighting(
        sizes[0].high,
        math.radians(options.cellsize_highres_deg),
        options.robust,
        options.image_padding,
        options.minuv_lambda,
        options.maxuv_lambda,
    )
    sample = imaging_sample(read_samples(observation.sets, data_column=options.data_column), weighting)
    predictor = LossPredictor(sample, observation.first, observation.lowest_channel_hz)
    steps = _steps(observation, predictor, angles, options)
    nbands = historical.count_bands(len(observation.groups))
    return ImagingPlan(
        observation=observation,
        options=options,
        beam=beam,
        width=width,
        sizes=sizes,
        angles=angles,
        limits=predictor.limits(angles.edge_rad, options),
        steps=steps,
        predictor=predictor,
        losses=predictor.losses(angles, steps.frequency.step, steps.time.step),
        nbands=nbands,
        channels_out=_channels_out(observation, steps, options),
    )


def _size_frequency_hz(metadata: SetMetadata, options: PlanOptions) -> float:
    """Return the frequency for a subband's image size: its lowest channel (historical: reference frequency)."""
    return metadata.ref_frequency_hz if options.averaging == "historical" else float(metadata.frequencies_hz.min())


def _field_width(
    observation: Observation, beam: FieldBeam, options: PlanOptions, mean_elevation_rad: float
) -> FieldWidth:
    """Return the beam width at the lowest frequency, measured or by the historical rule."""
    first = observation.first
    if options.averaging != "historical":
        return FieldWidth(beam.fwhm_x_deg, beam.fwhm_y_deg, observation.lowest_channel_hz)
    diameter_m = options.station_diameter_m or first.diameter_m
    fwhm_deg = historical.beam_fwhm_deg(first.ref_frequency_hz, diameter_m, mean_elevation_rad)
    return FieldWidth(fwhm_deg, fwhm_deg, first.ref_frequency_hz)


def _steps(observation: Observation, predictor: LossPredictor, angles: FieldAngles, options: PlanOptions) -> Steps:
    """Return the averaging steps, from the smearing limits or by the historical rule."""
    first = observation.first
    # A single subband keeps two channels: an image needs at least two output channels.
    least_channels = math.ceil((options.channels_out or MIN_CHANNELS_OUT) / len(observation.groups))
    if options.averaging != "historical":
        ntimes = min(one.ntimes for block in observation.blocks for one in block)
        return choose_steps(predictor, angles.edge_rad, ntimes, options, least_channels)
    freqstep = historical.freqstep(len(first.frequencies_hz), first.channel_width_hz, least_channels)
    timestep = historical.timestep(first.timestep_s)
    return Steps(
        AveragingStep(freqstep, "divisor of the channels nearest to 0.2 MHz"),
        AveragingStep(timestep, "number of slots nearest to 16 s"),
    )


def _channels_out(observation: Observation, steps: Steps, options: PlanOptions) -> int:
    """Return the number of output channels, at most the channels after averaging.

    Raises
    ------
    PlanError
        If more are requested.
    """
    averaged = sum(len(group[0].frequencies_hz) for group in observation.groups) // steps.frequency.step
    if options.channels_out > averaged:
        raise PlanError(
            f"channels_out: is {options.channels_out}, and {averaged} channels are left after averaging; set it to "
            f"{averaged} at most, or to 0"
        )
    if options.channels_out:
        return options.channels_out
    if options.averaging == "historical":
        return min(historical.historical_channels_out(len(observation.groups)), averaged)
    return count_channels_out(observation.lowest_hz, observation.highest_hz, averaged)


def weight_bits(
    group: Sequence[SetMetadata], timestep_s: float, weights: Mapping[str, tuple[float, float]]
) -> tuple[int, str]:
    """Return the bits per weight for a DP3 group (0: full float), and the reason.

    Source: DP3 6.6 with Dysco aborts on weights of a single slot, and rounds weights of a slot to multiples of 1/4095
    or 1/65535 of the highest. Tested with subbands of 30 to 10,000 times the weight.
    """
    times, ranges = group[0].times, [weights[one.path] for one in group if one.path in weights]
    if math.ceil(times.grid_slots * times.step_s / timestep_s - 1e-3) <= 1:
        return 0, "one time slot, whose weights Dysco cannot hold"
    low, highest = (
        min((low for low, _ in ranges if low > 0), default=1.0),
        max((high for _, high in ranges), default=1.0),
    )
    spread = f"the highest weight is {highest / low:.3g} times the low ones"
    for bits in DYSCO_WEIGHT_BITS:
        if highest / low * WEIGHT_STEPS <= 2**bits:
            return bits, f"{spread}; rounding changes these by 1.3 % at most"
    return 0, f"{spread}, which Dysco would round to 0"


def plan_warnings(plan: ImagingPlan) -> list[str]:
    """Return notes for users of the image, one sentence each."""
    options, edge = plan.options, plan.losses["image_edge"]
    warnings = []
    for step, text in ((plan.steps.frequency, "channels"), (plan.steps.time, "time slots")):
        if step.too_coarse:
            warnings.append(
                f"{text} of the input are wider than the smearing limit, so they are not averaged: {step.reason}; a "
                f"source at the image's edge has already lost {edge.unaveraged.total:.2%} of its peak (predicted)"
            )
    if not warnings and edge.averaged.worst_angle > options.max_peak_smearing:
        warnings.append(
            f"a source at the image's edge loses up to {edge.averaged.worst_angle:.2%} of its peak, more than the "
            f"{options.max_peak_smearing:.2%} of max_peak_smearing"
        )
    warnings += _cell_warnings(plan) + _set_warnings(plan.observation) + _width_warnings(plan)
    if plan.beam.source != "everybeam":
        warnings.append(f"the width of the beam is by formula, not measured: {plan.beam.detail}")
    if options.y_axis_stretch != 1.0 and options.gridder == "idg":
        warnings.append("IDG makes square images only: y_axis_stretch was not applied")
    if options.y_axis_stretch != 1.0 and options.gridder == "auto":
        warnings.append("y_axis_stretch makes the image rectangular, which IDG refuses: use another gridder")
    if options.averaging == "historical":
        warnings.append("sizes and averaging by the historical rules, which do not look at smearing")
    return warnings


def _set_warnings(observation: Observation) -> list[str]:
    """Return notes on sets averaged from a copy, and on sets averaged alone."""
    alike: dict[str, list[tuple[str, str]]] = {}  # merge reasons that differ only in numbers
    for path, copy in observation.copies.items():
        reason = "; ".join(copy.reasons)
        alike.setdefault(re.sub(r"[\d.]+", "", reason), []).append((Path(path).name, reason))
    warnings = [
        f"{list_names((name for name, _ in sets), 3)}: a copy is averaged in place of the set: {sets[0][1]}"
        for sets in alike.values()
    ]
    averaged, blocks = len(observation.concat_groups), len(observation.blocks)
    if averaged > blocks:
        warnings.append(
            f"{averaged} averaged sets are made of {counted(blocks, 'time block')}: those with other times or "
            "baselines, or with a gap in time, are averaged alone"
        )
    return warnings


def _width_warnings(plan: ImagingPlan) -> list[str]:
    """Return a note if the user's output channels are too wide for IDG's single beam per channel.

    Measured with WSClean 3.1: one channel of 130 to 160 MHz is up to 3 % too bright where the beam is 0.3, and 6 % at
    0.13 (tests/pipelines/test_idg_pipeline.py).
    """
    observation = plan.observation
    width = math.log(observation.highest_hz / observation.lowest_hz) / plan.channels_out
    if width <= WIDE_CHANNEL or plan.options.channels_out == 0 or plan.options.gridder == "wgridder":
        return []
    return [
        f"channels_out = {plan.channels_out} makes output channels {width:.0%} wide, for each of which IDG takes one "
        "beam: where WSClean has it, fluxes far from the centre are several per cent too high; set channels_out = 0"
    ]


def _cell_warnings(plan: ImagingPlan) -> list[str]:
    """Return a note if pixels are too wide for the fringes, or (if set by the user) for the beam.

    The longest baseline needs two pixels per fringe. The restoring beam has the peak curvature of the dirty beam, given
    by the weighted rms baseline b: FWHM = 2 sqrt(ln 2) / (pi b).
    """
    cellsize_deg, lengths = plan.options.cellsize_highres_deg, plan.predictor.baselines
    if coarse := coarse_cells(cellsize_deg, max(plan.predictor.sample.longest_lambda, lengths.max_lambda)):
        return [coarse]
    cell = f"cellsize_highres_deg is {cellsize_deg:g} deg ({cellsize_deg * 3600:.3g} arcsec)"
    beam_deg = math.degrees(2 * math.sqrt(math.log(2)) / (math.pi * lengths.rms_briggs_lambda))
    if cellsize_deg == PlanOptions.cellsize_highres_deg or beam_deg >= LEAST_PIXELS_PER_BEAM * cellsize_deg:
        return []
    wide = f"a beam of about {beam_deg:.3g} deg is {beam_deg / cellsize_deg:.1f} pixels wide"
    return [f"{cell}: {wide}, and cleaning wants at least {LEAST_PIXELS_PER_BEAM:g}; make it smaller"]
