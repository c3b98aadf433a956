"""The full-Stokes imaging plan of one measurement set: channels, batches and joined channels, with reasons."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lofarpipe.errors import counted
from lofarpipe.imaging.ms.band import BandSet, count_visibilities, empty_reason, sampled_uv
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.imaging.plan.channels import (
    OutputBatch,
    OutputChannel,
    channel_label,
    chosen_channels,
    divide_band,
    divide_into_batches,
    frequency_range,
    joined_channel_edges,
)
from lofarpipe.imaging.plan.fft_size import image_size
from lofarpipe.imaging.plan.stokes_options import BY_PLAN, NONE, StokesOptions
from lofarpipe.imaging.weighting.weights import ImageWeighting, briggs_weights, rms_baseline_lambda
from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]
LIGHT_M_S = 299792458.0
MOST_CHANNELS = 100_000
BEAM_MARGIN = 1.5  # the smallest beam is an estimate
MOST_CELLS = 2000  # along an axis of the uv plane, for the beam
PADDING = 1.2  # default of the image
# Across the smallest beam, and what a plan takes. Source: doc/spec/meerkat.md, section 2
FEWEST_PIXELS, MOST_PIXELS, PLANNED_PIXELS = 3.0, 8.0, 5.0
WIDTH_TOLERANCE = 1e-3
FIELD_FWHM = 1.6  # width of a planned image in primary beams, which there have 17 % left: exp(-4 ln 2 0.8^2)
# FWHM x rms baseline of the Gaussian with the curvature of the point-spread function: exp(-4 ln 2 x^2 / FWHM^2) and
# 1 - pi^2 b^2 x^2 along each axis.
FWHM_RMS = 2 * math.sqrt(math.log(2)) / math.pi


@dataclass(frozen=True)
class StokesPlan:
    """Planned settings of one set; ``counts`` are sampled usable visibilities per window and channel."""

    options: StokesOptions
    band: BandSet
    channels: tuple[OutputChannel, ...]
    batches: tuple[OutputBatch, ...]
    joined_edges_hz: tuple[float, ...]
    mfs_channels: tuple[int, int]  # among the distinct frequencies in rising order, end exclusive
    beam_arcsec: float  # estimate of the smallest beam
    warnings: tuple[str, ...] = field(default=())
    wish: StokesOptions | None = None  # options before size and cell were chosen

    @property
    def products(self) -> Path:
        """The directory of the products."""
        return Path(self.options.outdir) / self.band.base

    @property
    def label_count(self) -> int:
        """The highest channel number of the plan, which sets the number of digits in names."""
        return self.channels[-1].index if self.channels else 0


def frequencies_by_window(band: BandSet) -> dict[int, Floats]:
    """Return the centres of the channels of each spectral window."""
    return {window.number: window.frequencies_hz for window in band.windows}


def plan_images(options: StokesOptions, band: BandSet) -> tuple[StokesPlan | None, list[str]]:
    """Return the plan (None if nothing can be imaged), and one line per problem."""
    frequencies, counts = frequencies_by_window(band), count_visibilities(band)
    sampled = {window.number: count.usable for window, count in zip(band.windows, counts, strict=True)}
    unweighted = {window.number: count.unweighted for window, count in zip(band.windows, counts, strict=True)}
    if not any(count.usable.any() for count in counts) and (reason := empty_reason(band)):
        return None, [f"vis: {band.path}: {reason}, so there is nothing to image; look at its flags and calibration"]
    if not (np.hypot(*sampled_uv(band)) > 0).any():
        return None, [
            f"vis: {band.path}: UVW is 0 in every row of a sample; compute it anew, as chgcentre or fixvis does"
        ]
    wish = options
    try:
        options = _convert_width(options, band)
    except ValueError as err:
        return None, [f"channel_width_mhz: {band.path}: {err}"]
    every = divide_band(frequencies, *options.frequency_range_mhz, options.channel_width_mhz)
    try:
        channels = chosen_channels(every, options.channels)
    except ValueError as err:
        return None, [f"channels: {str(err).removeprefix('channels ')}"]
    findings = _band_findings(options, band, channels) or _empty_findings(options, band, channels, sampled)
    try:
        options = sized(options, band) if not findings else options
    except ValueError as err:
        findings.append(f"imsize: cannot be auto: {band.path}: {err}")
    findings += _weight_findings(options, band, unweighted)
    edges_hz, mfs_range = _joined(options, frequencies, sampled)
    if options.write_merged_set:
        findings += _merge_findings(band)
    if findings:
        return None, findings
    batches = _batches(options, channels) if options.channel_robust else []
    beam_arcsec = smallest_beam_arcsec(options, band)
    if finding := _common_beam_finding(options, beam_arcsec):
        return None, [finding]
    warnings = [*_beam_warnings(options, beam_arcsec), *_scale_warnings(options), *_set_warnings(options, band)]
    warnings += [*_flag_warnings(channels, sampled), *_width_warnings(options, band)]
    warnings += _weight_warnings(options, band, channels, unweighted)
    plan = StokesPlan(
        options, band, tuple(channels), tuple(batches), tuple(edges_hz), mfs_range, beam_arcsec, tuple(warnings), wish
    )
    return plan, []


def _convert_width(options: StokesOptions, band: BandSet) -> StokesOptions:
    """Convert a channel width given in channels of the set to MHz.

    Raises
    ------
    ValueError
        If windows have channels of different widths, or the range has too many channels.
    """
    if options.channel_width_mhz > 0:
        low_mhz, high_mhz = options.frequency_range_mhz
        if (number := (high_mhz - low_mhz) / options.channel_width_mhz) > MOST_CHANNELS:
            raise ValueError(
                f"is {options.channel_width_mhz:g} MHz, of which frequency_range_mhz has {number:.0f}; at most "
                f"{MOST_CHANNELS} channels are planned: set wider ones, or a smaller range"
            )
        return options
    widths_hz = {round(window.width_hz) for window in band.windows}
    if len(widths_hz) > 1:
        named = ", ".join(f"{width / 1e6:g}" for width in sorted(widths_hz))
        raise ValueError(f"its windows have channels of {named} MHz; give a width in MHz")
    width_mhz = -options.channel_width_mhz * band.windows[0].width_hz / 1e6
    return _convert_width(replace(options, channel_width_mhz=width_mhz), band)


def _band_findings(options: StokesOptions, band: BandSet, channels: list[OutputChannel]) -> list[str]:
    low, high = (f"{hz / 1e6:.3f}" for hz in band_edges_hz(band))
    findings = []
    if options.channel_robust and all(channel.reason for channel in channels):
        chosen = "" if options.channels == "all" else f" and channels {options.channels}"
        findings.append(
            f"frequency_range_mhz: {band.path} has no channel in it{chosen}; it covers {low}~{high} MHz, with "
            f"{len(band.windows)} windows; set a range that overlaps with that"
        )
    low_hz, high_hz = (1e6 * mhz for mhz in options.mfs_range_mhz)
    if options.mfs_robust and not any(
        ((w.frequencies_hz >= low_hz) & (w.frequencies_hz < high_hz)).any() for w in band.windows
    ):
        findings.append(f"mfs_range_mhz: {band.path} has no channel in it; it covers {low}~{high} MHz")
    return findings


def _empty_findings(
    options: StokesOptions, band: BandSet, channels: list[OutputChannel], sampled: Mapping[int, NDArray[np.int64]]
) -> list[str]:
    """Return findings about ranges without usable visibilities; all are read only if a sample has none."""
    ranges = {"mfs_range_mhz": tuple(1e6 * mhz for mhz in options.mfs_range_mhz)} if options.mfs_robust else {}
    if options.channel_robust:
        ranges["frequency_range_mhz"] = (channels[0].low_hz, channels[-1].high_hz)
    return [
        f"{name}: {band.path}: from {low_hz / 1e6:g} to {high_hz / 1e6:g} MHz {reason}; set a range that has data"
        for name, (low_hz, high_hz) in ranges.items()
        if not any(
            sampled[window.number][(window.frequencies_hz >= low_hz) & (window.frequencies_hz < high_hz)].any()
            for window in band.windows
        )
        and (reason := empty_reason(band, low_hz, high_hz))
    ]


def _weight_findings(options: StokesOptions, band: BandSet, unweighted: Mapping[int, NDArray[np.int64]]) -> list[str]:
    """Return a finding if images of the band would be NaN: of one weight that is not finite."""
    low_hz, high_hz = (1e6 * mhz for mhz in options.mfs_range_mhz)
    hz = np.concatenate([window.frequencies_hz[unweighted[window.number] > 0] for window in band.windows])
    inside_mhz = np.sort(hz[(hz >= low_hz) & (hz < high_hz)]) / 1e6
    if not options.mfs_robust or not inside_mhz.size:
        return []
    channels = f"{counted(inside_mhz.size, 'channel')} from {inside_mhz[0]:g} to {inside_mhz[-1]:g} MHz"
    return [
        f"vis: {band.path}: {channels} with unflagged visibilities whose weight is NaN or infinite: one makes the "
        "image of the band NaN; flag these, set mfs_range_mhz without them, or mfs_robust = []"
    ]


def band_edges_hz(band: BandSet) -> tuple[float, float]:
    """Return the lower edge of the lowest and the upper edge of the highest channel, Hz."""
    lows = [float(window.frequencies_hz.min()) - window.width_hz / 2 for window in band.windows]
    highs = [float(window.frequencies_hz.max()) + window.width_hz / 2 for window in band.windows]
    return min(lows), max(highs)


def _merge_findings(band: BandSet) -> list[str]:
    """Return a finding if windows overlap and cannot be merged."""
    spans = sorted(
        (float(w.frequencies_hz.min()) - w.width_hz / 2, float(w.frequencies_hz.max()) + w.width_hz / 2, w.number)
        for w in band.windows
    )
    return [
        f"write_merged_set: windows {lower[2]} and {upper[2]} of {band.path} overlap in frequency and cannot be one "
        "window; set it to False: images need no merged set"
        for lower, upper in pairwise(spans)
        if upper[0] < lower[1] - 1
    ]


def _joined(
    options: StokesOptions, frequencies: Mapping[int, Floats], sampled: Mapping[int, NDArray[np.int64]]
) -> tuple[list[float], tuple[int, int]]:
    """Return the edges of the joined channels, and their index range in the distinct frequencies."""
    low_hz, high_hz = (1e6 * mhz for mhz in options.mfs_range_mhz)
    with_data = np.unique(np.concatenate([hz[sampled[window] > 0] for window, hz in frequencies.items()]))
    edges_hz = joined_channel_edges(with_data, low_hz, high_hz, options.mfs_channels_out)
    whole_band = OutputChannel(1, round(low_hz), round(high_hz))
    try:
        return edges_hz, frequency_range(whole_band, frequencies.values())
    except IndexError:
        return edges_hz, (0, 0)


def _batches(options: StokesOptions, channels: list[OutputChannel]) -> list[OutputBatch]:
    size = 0 if options.channels_per_job == AUTO else int(options.channels_per_job)
    return divide_into_batches(channels, options.jobs_at_once, size)


def imaged_edges_hz(options: StokesOptions, band: BandSet) -> tuple[float, float]:
    """Return the lowest and the highest imaged frequency, Hz."""
    lowest, highest = band_edges_hz(band)
    ranges = [options.frequency_range_mhz] * bool(options.channel_robust)
    ranges += [options.mfs_range_mhz] * bool(options.mfs_robust)
    return max(lowest, 1e6 * min(low for low, _ in ranges)), min(highest, 1e6 * max(high for _, high in ranges))


def primary_beam_deg(options: StokesOptions, band: BandSet) -> float:
    """Return the FWHM of the primary beam at the lowest frequency, degrees.

    Raises
    ------
    ValueError
        If the set lacks dish diameters.
    """
    from lofarpipe.imaging.beam.width import DEFAULT_ALPHA, station_fwhm_deg  # lazy: loads LOFAR modules

    return station_fwhm_deg(imaged_edges_hz(options, band)[0], band.dish_m, DEFAULT_ALPHA)


def sized(options: StokesOptions, band: BandSet) -> StokesOptions:
    """Choose image size and cell where they are ``auto``.

    The beam of Briggs weights depends on the width of the image in angle, not on its cells.

    Raises
    ------
    ValueError
        If the size is ``auto`` and the set lacks dish diameters.
    """
    cell_arcsec, size = options.cell_arcsec, options.imsize
    field_deg = 0.0 if size else FIELD_FWHM * primary_beam_deg(options, band)
    if cell_arcsec == BY_PLAN:
        u_m, v_m = sampled_uv(band)
        shortest_rad = LIGHT_M_S / imaged_edges_hz(options, band)[1] / max(1.0, float(np.hypot(u_m, v_m).max()))
        trial_arcsec = math.degrees(shortest_rad) * 3600 / PLANNED_PIXELS
        trial = replace(options, cell_arcsec=trial_arcsec, imsize=size or image_size(field_deg, trial_arcsec / 3600))
        cell_arcsec = float(f"{smallest_beam_arcsec(trial, band) / PLANNED_PIXELS:.2g}")
    return replace(options, cell_arcsec=cell_arcsec, imsize=size or image_size(field_deg, cell_arcsec / 3600, 32))


def smallest_beam_arcsec(options: StokesOptions, band: BandSet) -> float:
    """Estimate the FWHM of the smallest beam: at the highest frequency and the lowest robust value."""
    u_m, v_m = sampled_uv(band)
    wavelength_m = LIGHT_M_S / imaged_edges_hz(options, band)[1]
    u, v = u_m / wavelength_m, v_m / wavelength_m
    robust = min((*options.mfs_robust, *options.channel_robust))
    cell_rad = math.radians(options.cell_arcsec / 3600)
    finer = max(1, math.ceil(2 * cell_rad * float(np.hypot(u, v).max())))  # so that all baselines are on the grid
    side = (finer * options.imsize, finer * options.imsize)
    weighting = ImageWeighting(side, cell_rad / finer, robust, PADDING)
    coarsening = math.ceil(PADDING * side[0] / MOST_CELLS)  # the rows are a sample
    weights = briggs_weights(u, v, np.ones_like(u), weighting, coarsening)
    return math.degrees(FWHM_RMS / rms_baseline_lambda(u, v, weights)) * 3600


def _common_beam_finding(options: StokesOptions, beam_arcsec: float) -> str:
    """Return a finding if no image can reach the common beam: its cube would be refused after all imaging."""
    common = options.common_beam_arcsec
    if common in (AUTO, NONE) or float(common) * BEAM_MARGIN > beam_arcsec:
        return ""
    return (
        f"common_beam_arcsec: is {common}, and the smallest beam has about {beam_arcsec:.3g} arcsec, so that every "
        "smoothed plane would be blank; set more, auto, or none"
    )


def _beam_warnings(options: StokesOptions, beam_arcsec: float) -> list[str]:
    pixels = beam_arcsec / options.cell_arcsec
    if FEWEST_PIXELS <= pixels <= MOST_PIXELS:
        return []
    return [
        f"cell_arcsec: is {options.cell_arcsec:g}, and the smallest beam has about {beam_arcsec:.3g} arcsec, "
        f"{pixels:.1f} pixels; {FEWEST_PIXELS:g} to {MOST_PIXELS:g} are good: set about {beam_arcsec / 5:.2g}"
    ]


def _scale_warnings(options: StokesOptions) -> list[str]:
    if not options.scales_left_out:
        return []
    scales = ", ".join(map(str, options.scales_left_out))
    return [f"multiscale_scales: {scales} pixels are left out: above a quarter of the image, {options.imsize} pixels"]


def _set_warnings(options: StokesOptions, band: BandSet) -> list[str]:
    warnings = []
    if options.data_column == AUTO:
        warnings.append(f"data_column: {band.data_column} of {band.path} is imaged")
    if band.nfields > 1 and options.stage_data:
        warnings.append(
            f"field: {band.path} has {band.nfields} fields, of which '{band.field_name}' is imaged; channels are read "
            "from the set itself, since a set of several fields cannot be staged"
        )
    if "ALT-AZ" in band.mounts and band.parallactic != "corrected":
        warnings.append(
            f"vis: {band.path}: mount ALT-AZ, and whether the parallactic angle was corrected is {band.parallactic} in "
            "its HISTORY; Q and U are right only if the calibration was applied with parang=True, or the data were "
            "rotated before"
        )
    if any(angle % 360 for angle in band.receptor_angles_deg):
        warnings.append(
            f"vis: {band.path}: FEED.RECEPTOR_ANGLE is {list(band.receptor_angles_deg)} deg; images are of the "
            "correlations as they are: these must be of receptors along north and east"
        )
    return warnings


def _width_warnings(options: StokesOptions, band: BandSet) -> list[str]:
    """Return a note if output channels are narrower than the set's, so that many are blank."""
    widest_mhz = max(window.width_hz for window in band.windows) / 1e6
    if not options.channel_robust or options.channel_width_mhz >= widest_mhz * (1 - WIDTH_TOLERANCE):
        return []
    return [
        f"channel_width_mhz: is {options.channel_width_mhz:g}, and channels of {band.path} are up to {widest_mhz:g} "
        "MHz wide: output channels between their centres are blank"
    ]


def _flag_warnings(channels: list[OutputChannel], sampled: Mapping[int, NDArray[np.int64]]) -> list[str]:
    blank = [
        str(channel.index)
        for channel in channels
        if channel.members and not any(sampled[window][number] for window, number in channel.members)
    ]
    if not blank:
        return []
    return [
        f"channels {', '.join(blank)} have no usable visibility in a sample (flagged, NaN, 0, or without weight); "
        "likely blank. Zeros that are not flagged make images of the band too faint: flag them"
    ]


def _weight_warnings(
    options: StokesOptions, band: BandSet, channels: list[OutputChannel], unweighted: Mapping[int, NDArray[np.int64]]
) -> list[str]:
    """Return a note about channels with weights that are not finite."""
    indices = [
        str(channel.index)
        for channel in channels
        if any(unweighted[window][number] for window, number in channel.members)
    ]
    if not indices or not options.channel_robust:
        return []
    staged = options.stage_data and band.nfields == 1
    outcome = "are flagged in the staged copy" if staged else "make these channels blank (reason: failed); flag them"
    return [
        f"vis: channels {', '.join(indices)}: unflagged visibilities with a weight that is NaN or infinite {outcome}"
    ]


# ------------------------------------------------------------------------------------------------ as plain values
def stokes_plan_as_dict(plan: StokesPlan) -> dict[str, Any]:
    """Return the plan as plain values for JSON: quantities with reasons, and the input of the jobs."""
    options, band = plan.options, plan.band
    return {
        "summary": stokes_plan_summary(plan),
        "warnings": list(plan.warnings),
        "quantities": {name: asdict(one) for name, one in _quantities(plan).items()},
        "options": {**asdict(options), "scales": list(options.scales)},
        "set": {
            "path": band.path,
            "base": band.base,
            "data_column": band.data_column,
            "field_id": band.field_id,
            "nfields": band.nfields,
            "field": band.field_name,
            "telescope": band.telescope,
            "correlations": list(band.correlations),
            "stamp": set_stamp(band.path),
            "windows": [
                {
                    "window": window.number,
                    "description": window.description,
                    "rows": window.rows,
                    "frequencies_hz": window.frequencies_hz.tolist(),
                }
                for window in band.windows
            ],
        },
        "products": str(plan.products),
        "channels": [
            {**asdict(channel), "label": channel_label(channel.index, plan.label_count)} for channel in plan.channels
        ],
        "batches": [[channel.index for channel in batch.channels] for batch in plan.batches],
        "channel_width_hz": round(1e6 * options.channel_width_mhz),
        "mfs": {"channel_range": list(plan.mfs_channels), "edges_hz": list(plan.joined_edges_hz)},
    }


@dataclass(frozen=True)
class Decision:
    """A number of the plan, with source and reason."""

    value: Any
    unit: str
    source: str
    reason: str


def _quantities(plan: StokesPlan) -> dict[str, Decision]:
    options, band = plan.options, plan.band
    ok = [channel for channel in plan.channels if not channel.reason]
    per_job = "channels_per_job" if options.channels_per_job != AUTO else "as many batches as jobs run at a time"
    staged = options.stage_data and band.nfields == 1
    return {
        "data_column": Decision(band.data_column, "", "main table", f"data_column = {options.data_column}"),
        "field": Decision(band.field_name, "", "FIELD", f"field = {options.field}"),
        "windows": Decision(len(band.windows), "", "SPECTRAL_WINDOW", "read as they are: no merged set is needed"),
        "feeds": Decision(band.feeds, "", "POLARIZATION, FEED", f"correlations {' '.join(band.correlations)}"),
        "receptor_angles": Decision(list(band.receptor_angles_deg), "deg", "FEED", "the correlations are not rotated"),
        "parallactic_angle": Decision(band.parallactic, "", "HISTORY, parang", f"mounts: {', '.join(band.mounts)}"),
        "channels": Decision(
            len(plan.channels), "", "frequency_range_mhz, channel_width_mhz", f"{len(ok)} have input channels"
        ),
        "batches": Decision(len(plan.batches), "", per_job, "the set is read once by each batch"),
        "set_readings": Decision(
            sum(len(batch.ranges()) for batch in plan.batches) if staged else None,
            "windows",
            "batches",
            "each window of a batch is staged once" if staged else "nothing is staged: every image reads the set",
        ),
        "mfs_channels_out": Decision(
            len(plan.joined_edges_hz) + 1,
            "",
            "mfs_channels_out",
            "equal widths; those without data are joined to others",
        ),
        "beam": Decision(
            round(plan.beam_arcsec, 2), "arcsec", "uvw of a sample", "smallest: highest frequency, lowest robust value"
        ),
        "scales": Decision(list(options.scales), "pixels", "multiscale_scales", "at most a quarter of the image"),
        **_sizes(plan),
    }


def _sizes(plan: StokesPlan) -> dict[str, Decision]:
    options, wish = plan.options, plan.wish or plan.options
    pixels = plan.beam_arcsec / options.cell_arcsec
    cell, size = f"cell_arcsec = {options.cell_arcsec:g}", f"imsize = {options.imsize}"
    width = f"{options.imsize * options.cell_arcsec / 3600:.3g} deg"
    try:
        fwhm_deg = primary_beam_deg(options, plan.band)
        width += f", {options.imsize * options.cell_arcsec / 3600 / fwhm_deg:.2g} primary beams of {fwhm_deg:.3g} deg"
        width += f" at {imaged_edges_hz(options, plan.band)[0] / 1e6:.0f} MHz"
    except ValueError:  # unknown dish diameters
        pass
    return {
        "cell": Decision(
            options.cell_arcsec,
            "arcsec",
            "cell_arcsec = auto" if wish.cell_arcsec == BY_PLAN else cell,
            f"{pixels:.1f} pixels across the smallest beam; {FEWEST_PIXELS:g} to {MOST_PIXELS:g} are good",
        ),
        "imsize": Decision(
            options.imsize, "pixels", "imsize = auto" if wish.imsize == BY_PLAN else size, f"{width} wide"
        ),
    }


def stokes_plan_summary(plan: StokesPlan) -> list[str]:
    """Return the plan in a few sentences."""
    options, band = plan.options, plan.band
    none = [str(channel.index) for channel in plan.channels if channel.reason]
    return [
        f"{band.base}: {band.data_column}, field {band.field_name}, {len(band.windows)} windows, {band.feeds} feeds.",
        f"Multi-frequency images at robust {', '.join(map(str, options.mfs_robust)) or 'none'}, "
        f"{len(plan.joined_edges_hz) + 1} joined channels.",
        f"{len(plan.channels)} channels of {options.channel_width_mhz:g} MHz in {len(plan.batches)} batches"
        + (f"; without data: {', '.join(none)}." if none else "."),
    ]


def set_stamp(path: str) -> str:
    """Return a fingerprint of a set: the newest modification time of its table files, without locks."""
    newest = 0
    for directory, _, names in os.walk(path):
        for name in names:
            if not name.endswith("lock"):
                newest = max(newest, Path(directory, name).stat().st_mtime_ns)
    return str(newest)
