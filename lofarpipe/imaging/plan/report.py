"""The imaging plan as a readable report (value, unit, source and reason of each number) and as mapfiles.

The mapfiles have their historical names and units.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from lofarpipe.imaging.plan import historical
from lofarpipe.imaging.plan.fft_size import format_size
from lofarpipe.imaging.plan.losses import AveragingStep, LossAt
from lofarpipe.imaging.plan.plan import ImagingPlan
from lofarpipe.imaging.plan.smearing import PeakLoss
from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.dataclass import dataclass


@dataclass(frozen=True)
class Quantity:
    """One number (or word) of the plan, with its unit, its source, and its reason."""

    name: str
    value: float | int | str
    unit: str
    source: str
    reason: str


def plan_quantities(plan: ImagingPlan) -> Iterator[Quantity]:
    """Yield all quantities of the plan, in order of derivation."""
    yield from _observation(plan)
    yield from _field(plan)
    yield from _uv_coverage(plan)
    yield from _smearing_limits(plan)
    yield from _averaging(plan)
    yield from _channels(plan)


def _observation(plan: ImagingPlan) -> Iterator[Quantity]:
    """Yield the quantities of the sets' metadata."""
    observation, first = plan.observation, plan.observation.first
    yield Quantity("sets", sum(len(block) for block in observation.blocks), "", "input", "distinct measurement sets")
    yield Quantity(
        "subbands", len(observation.groups), "", "SPECTRAL_WINDOW.CHAN_FREQ", "distinct middles of the channels"
    )
    yield Quantity(
        "time_blocks", len(observation.blocks), "", "main table, TIME", "sets that overlap in time are one block"
    )
    apart = "sets with the same times and baselines, and no gap, are averaged into one; any other alone"
    yield Quantity("averaged_sets", len(observation.concat_groups), "", "main table, TIME, ANTENNA1, ANTENNA2", apart)
    copied = "sets that DP3 would not read, or average wrongly: see warnings"
    yield Quantity("copied_sets", len(observation.copies), "", "survey of all sets", copied)
    band = "SPECTRAL_WINDOW.CHAN_FREQ, CHAN_WIDTH"
    yield Quantity("lowest_frequency_hz", observation.lowest_hz, "Hz", band, "lower edge of the lowest channel")
    yield Quantity("highest_frequency_hz", observation.highest_hz, "Hz", band, "upper edge of the highest channel")
    yield Quantity("input_channel_width_hz", first.channel_width_hz, "Hz", band, "the same for all sets")
    yield Quantity("input_timestep_s", first.timestep_s, "s", "main table, INTERVAL", "the same for all sets")


def _field(plan: ImagingPlan) -> Iterator[Quantity]:
    """Yield the beam, and the image that covers it."""
    options, size = plan.options, plan.sizes[0].high
    is_historical = options.averaging == "historical"
    source = "1.1 * 3e8 / frequency / diameter / sin(mean elevation)" if is_historical else plan.beam.detail
    at = f"half-power width of the power beam at {plan.width.frequency_hz / 1e6:.3f} MHz, the widest of the band"
    yield Quantity("beam_fwhm_x_deg", round(plan.width.x_deg, 5), "deg", source, f"{at}, along right ascension")
    yield Quantity("beam_fwhm_y_deg", round(plan.width.y_deg, 5), "deg", source, f"{at}, along declination")
    yield Quantity("beam_source", "formula" if is_historical else plan.beam.source, "", source, "how it was found")
    yield Quantity("cellsize_deg", options.cellsize_highres_deg, "deg", "option cellsize_highres_deg", "as asked for")
    rule = f"fieldsize_highres {options.fieldsize_highres:g} * FWHM / cell"
    shape = (
        "square, as IDG needs it" if options.wants_square and not is_historical else "width and height by themselves"
    )
    reason = f"{rule}, up to an even number with factors 2, 3, 5, 7 only; {shape}"
    yield Quantity("image_size", format_size(size), "pixels", "beam and options", reason)
    angles = plan.angles
    middle = "middle of the farther edge of the image"
    yield Quantity(
        "image_edge_deg", _deg(angles.edge_rad), "deg", "image_size", f"from the phase centre to the {middle}"
    )
    yield Quantity(
        "image_corner_deg", _deg(angles.corner_rad), "deg", "image_size", "from the phase centre to a corner"
    )


def _uv_coverage(plan: ImagingPlan) -> Iterator[Quantity]:
    """Yield the quantities of the uv plane within the uv range."""
    options, lengths, sample = plan.options, plan.predictor.baselines, plan.predictor.sample
    source = f"measured: uvw, weights and flags of {sample.rows_read} rows"
    cut = f"between {options.minuv_lambda:g} and {options.maxuv_lambda:g} wavelengths"
    yield Quantity("flagged_fraction", round(sample.flagged_fraction, 5), "", source, "cross-correlations")
    yield Quantity("b_max_lambda", round(lengths.max_lambda, 1), "wavelengths", source, f"longest, {cut}")
    rms = f"weighted rms of the projected baselines {cut}"
    uniform = f"{rms}; uniform weights, conservative compared with Briggs 0"
    yield Quantity("b_rms_uniform_lambda", round(lengths.rms_uniform_lambda, 1), "wavelengths", source, uniform)
    briggs = f"{rms}; Briggs {options.robust:g}, density in cells of {sample.cell_factor} x those of the image"
    yield Quantity("b_rms_briggs_lambda", round(lengths.rms_briggs_lambda, 1), "wavelengths", source, briggs)
    yield Quantity(
        "b_turning_lambda",
        round(lengths.turning_lambda, 1),
        "wavelengths",
        source,
        "length that counts for time smearing of the fastest baseline; more than b_max where one is seen end-on",
    )


def _smearing_limits(plan: ImagingPlan) -> Iterator[Quantity]:
    """Yield the limits of averaging."""
    options = plan.options
    formula = {
        "peak": "dnu / nu = omega dt = sqrt(12 L1) / (pi theta b_rms), L1 = 1 - sqrt(1 - L)",
        "worst": "dnu / nu = X / (theta b_max), omega dt = X / (theta b_turning), sinc(X) = sqrt(1 - L)",
    }[options.smearing_criterion]
    loss = f"L = {options.max_peak_smearing:g} (max_peak_smearing) at the image's edge, half of it for each axis"
    if options.averaging == "historical":
        loss = f"for information, not applied: {loss}"
    yield Quantity("channel_width_limit_hz", round(plan.limits.channel_width_hz, 2), "Hz", formula, loss)
    yield Quantity("timestep_limit_s", round(plan.limits.timestep_s, 4), "s", formula, loss)


def _averaging(plan: ImagingPlan) -> Iterator[Quantity]:
    """Yield the settings of DP3."""
    for name, step, width, unit in (
        ("freqstep", plan.steps.frequency, plan.freqstep_hz, "Hz"),
        ("timestep", plan.steps.time, plan.timestep_s, "s"),
    ):
        yield _step(name, step)
        yield Quantity(f"{name}_{unit.lower()}", width, unit, f"{name} * input width", "input of the average step")
    bits = dict(sorted(plan.weight_bits))
    yield Quantity("weight_bits", ", ".join(map(str, bits)), "bits", "weights of the sets", "; ".join(bits.values()))


def _step(name: str, step: AveragingStep) -> Quantity:
    """Return one averaging step as a quantity."""
    unit = "channels" if name == "freqstep" else "time slots"
    return Quantity(name, step.step, unit, "smearing limit, layout of the sets", step.reason)


def _channels(plan: ImagingPlan) -> Iterator[Quantity]:
    """Yield the division of the band for cleaning."""
    bands = "one for every ten subbands; nothing uses it"
    yield Quantity("nbands", plan.nbands, "", "subbands", bands)
    rule = "one for every started 6 % in frequency, at least 2, at most the channels after averaging"
    if plan.options.averaging == "historical":
        rule = "by the historical rule from the number of subbands, at most the channels after averaging"
    if plan.options.channels_out:
        rule = "as many as channels_out asks for"
    yield Quantity("channels_out", plan.channels_out, "", "band edges", rule)
    yield Quantity(
        "averaged_channels", plan.averaged_channels, "", "input channels / freqstep", "all subbands together"
    )


def _deg(angle_rad: float) -> float:
    """Return an angle in degrees, rounded for people."""
    return round(math.degrees(angle_rad), 5)


def _peak_loss(loss: PeakLoss) -> dict[str, float]:
    """Return the parts of a loss, rounded for people."""
    return {name: round(value, 6) for name, value in dataclasses.asdict(loss).items()}


def _loss_at(loss: LossAt) -> dict[str, Any]:
    """Return the prediction for one distance from the phase centre."""
    return {
        "distance_deg": _deg(loss.distance_rad),
        "averaged": _peak_loss(loss.averaged),
        "input": _peak_loss(loss.unaveraged),
        "added_by_averaging": round(loss.added, 6),
        "closed_form_total": round(loss.closed_form.total, 6),
        "worst_baseline": round(loss.worst_baseline, 6),
    }


EXPLANATION = (
    "Part of a source's peak that is lost, 0 to 1. 'averaged': everything lost by the channel width and time step that "
    "are imaged, including 'input', what the data had lost before; sums of sinc(delay) * sinc(fringe rate) over the "
    "data's uvw with the imaging weights, means over position angles ('worst_angle': the worst one). "
    "'added_by_averaging': what an image of the averaged data lacks of one of the input. 'closed_form_total': the same "
    "as 'averaged' for a Gaussian uv distribution. 'worst_baseline': loss of the longest baseline's visibilities."
)


def plan_summary(plan: ImagingPlan) -> list[str]:
    """Return the plan in a few sentences."""
    edge, half = plan.losses["image_edge"], plan.losses["half_fwhm"]
    width, height = plan.sizes[0].high
    arcsec = plan.options.cellsize_highres_deg * 3600
    return [
        f"Image {width} x {height} pixels of {arcsec:.3f} arcsec, {_deg(edge.distance_rad):.3f} deg to the edge.",
        f"Average {plan.steps.frequency.step} channels to {plan.freqstep_hz / 1e3:.3f} kHz "
        f"and {plan.steps.time.step} time slots to {plan.timestep_s:.3f} s.",
        f"A source loses {half.averaged.total:.2%} of its peak at half the FWHM and {edge.averaged.total:.2%} at the "
        f"image's edge; {edge.unaveraged.total:.2%} of that are in the input already.",
        f"Clean with {plan.channels_out} output channels.",
    ]


def plan_as_dict(plan: ImagingPlan, more: Sequence[Quantity] = ()) -> dict[str, Any]:
    """Return the plan as plain values for JSON, merged with ``more``."""
    quantities = {}
    for quantity in (*plan_quantities(plan), *more):
        fields = dataclasses.asdict(quantity)
        quantities[fields.pop("name")] = fields
    return {
        "summary": [*plan_summary(plan), *(f"{one.name.capitalize()}: {one.value}, {one.reason}." for one in more)],
        "warnings": plan.warnings,
        "quantities": quantities,
        "predicted_loss": {
            "explanation": EXPLANATION,
            **{place: _loss_at(loss) for place, loss in plan.losses.items()},
        },
        "options": dataclasses.asdict(plan.options),
        "sets": [[one.path for one in block] for block in plan.observation.blocks],
    }


def _as_text(value: Any, depth: int = 0) -> str:
    """Format JSON with flat dictionaries on one line, so that quantities read as a table."""
    pad = "  " * (depth + 1)
    if isinstance(value, dict) and depth < 3 and any(isinstance(one, dict | list) for one in value.values()):
        items = [f"{pad}{json.dumps(key)}: {_as_text(one, depth + 1)}" for key, one in value.items()]
        return "{\n" + ",\n".join(items) + "\n" + "  " * depth + "}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(pad + json.dumps(one) for one in value) + "\n" + "  " * depth + "]"
    return json.dumps(value)


def write_json(plan: ImagingPlan, path: Path, more: Sequence[Quantity] = ()) -> None:
    """Write the plan, merged with ``more``, as JSON; the file appears when complete."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(_as_text(plan_as_dict(plan, more)) + "\n")
    unfinished.replace(path)


# Key of the result -> suffix of the map's name.
MAP_SUFFIXES = {
    "groupmap": "",
    "single_mapfile": "_single",
    "high_size_mapfile": "_high_size",
    "low_size_mapfile": "_low_size",
    "high_padsize_mapfile": "_high_padded_size",
    "low_padsize_mapfile": "_low_padded_size",
    "deep_high_size_mapfile": "_deep_high_size",
    "deep_low_size_mapfile": "_deep_low_size",
    "deep_high_padsize_mapfile": "_deep_high_padded_size",
    "deep_low_padsize_mapfile": "_deep_low_padded_size",
    "nbands": "_nbands",
    "nchansout_clean1": "_nchansout_clean1",
    "freqstep": "_freqstep",
    "timestep": "_timestep",
    "nwavelengths_high_mapfile": "_nwavelengths_high",
    "nwavelengths_low_mapfile": "_nwavelengths_low",
    "timegroups": "_timegroups",
    "weightbits": "_weightbits",
    "copied_mapfile": "_copied",
    "copies_mapfile": "_copies",
}
COPY_MAPS = ("copied_mapfile", "copies_mapfile")  # maps in which sets without a copy are skipped


def _list_text(paths: Iterable[str]) -> str:
    """Format several sets as one entry of a map."""
    return "[" + ",".join(paths) + "]"


def map_payloads(plan: ImagingPlan) -> dict[str, list[str]]:
    """Return the entries of every map, by key of the result: paths, sizes in pixels, steps in Hz and s, counts.

    ``groupmap``: the sets of each subband; ``timegroups``: the DP3 groups of each time block, both in ascending
    frequency; ``weightbits`` has one entry per group. The sizes without ``deep`` have one entry per subband,
    ``freqstep`` and ``timestep`` one per set. A corrected copy replaces its set in all maps.
    """
    groups, options, observation = plan.observation.groups, plan.options, plan.observation
    copies = {path: copy.path for path, copy in observation.copies.items()}
    paths = {one.path: copies.get(one.path, one.path) for group in groups for one in group}
    nsets = sum(len(group) for group in groups)
    payloads = {
        "groupmap": [_list_text(paths[one.path] for one in group) for group in groups],
        "single_mapfile": [*paths.values()],
        "timegroups": [_list_text(paths[one.path] for one in group) for group in observation.concat_groups],
        "copied_mapfile": [*paths],
        "copies_mapfile": [*paths.values()],
        "weightbits": [str(bits) for bits, _ in plan.weight_bits],
        "freqstep": [repr(plan.freqstep_hz)] * nsets,
        "timestep": [repr(plan.timestep_s)] * nsets,
        "nbands": [str(plan.nbands)],
        "nchansout_clean1": [str(plan.channels_out)],
    }
    for name, cellsize_deg in (("high", options.cellsize_highres_deg), ("low", options.cellsize_lowres_deg)):
        length = historical.nwavelengths(cellsize_deg, plan.timestep_s)
        payloads[f"nwavelengths_{name}_mapfile"] = [str(length)]
    for key, attribute in (
        ("high_size", "high"),
        ("high_padsize", "high_padded"),
        ("low_size", "low"),
        ("low_padsize", "low_padded"),
    ):
        sizes = [format_size(getattr(size, attribute)) for size in plan.sizes]
        payloads[f"{key}_mapfile"] = sizes
        payloads[f"deep_{key}_mapfile"] = sizes[:1]
    return payloads


def write_maps(plan: ImagingPlan, stem: Path) -> dict[str, str]:
    """Write all maps, named ``stem`` plus suffix; return their names by key."""
    copies, singles = plan.observation.copies, [one.path for group in plan.observation.groups for one in group]
    mapfiles = {}
    for key, payload in map_payloads(plan).items():
        map_path = stem.with_name(stem.name + MAP_SUFFIXES[key])
        skips = (path not in copies for path in singles) if key in COPY_MAPS else repeat(False)
        DataMap([DataProduct("localhost", *entry) for entry in zip(payload, skips, strict=False)]).save(str(map_path))
        mapfiles[key] = str(map_path)
    return mapfiles
