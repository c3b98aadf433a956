"""The settings of the imager, made of the options of lofar-clean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import radians
from typing import Any

from lofarpipe.imaging.imager.settings import KINDS, ImagerSettings, Weighting
from lofarpipe.programs.lofar_clean.options import DEFAULT_NAME, angle_deg, option_number, polarizations
from lofarpipe.support.dataclass import dataclass

MAJORS_WITHOUT_LIMIT = 20
GB = 1e9


@dataclass(frozen=True)
class GivenValues:
    """The values of the given options, or their defaults."""

    words_by_option: Mapping[str, Sequence[str]]

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a number."""
        return option_number(self.words_by_option, name, default)

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        return "".join(self.words_by_option.get(name, [default])[:1])

    def angle_rad(self, name: str, unit: str) -> float:
        """Return an angle, rad; plain numbers are in ``unit``."""
        return radians(angle_deg(self.text(name, "0"), unit) or 0.0)


def make_settings(words_by_option: Mapping[str, Sequence[str]], sets: Sequence[str]) -> ImagerSettings:
    """Return the settings from valid options."""
    values = GivenValues(words_by_option)
    number, text = values.number, values.text
    width, height = (int(word) for word in words_by_option["size"][:2])
    return ImagerSettings(
        name=text("name", DEFAULT_NAME),
        sets=tuple(sets),
        column=text("data-column"),
        field_id=int(number("field")),
        size=(width, height),
        cell_rad=values.angle_rad("scale", "deg"),
        channels_out=int(number("channels-out", 1)),
        pol=polarizations(text("pol", "I")),
        join_pols="join-polarizations" in words_by_option,
        weighting=_weighting(words_by_option.get("weight", ["uniform"])),
        padding=number("padding", ImagerSettings.padding),
        rank_filter=number("weighting-rank-filter", ImagerSettings.rank_filter),
        rank_filter_size=int(number("weighting-rank-filter-size", ImagerSettings.rank_filter_size)),
        min_uv_lambda=number("minuv-l"),
        max_uv_lambda=number("maxuv-l"),
        taper_gaussian_rad=values.angle_rad("taper-gaussian", "asec"),
        taper_tukey_lambda=number("taper-tukey"),
        taper_inner_tukey_lambda=number("taper-inner-tukey"),
        taper_edge_lambda=number("taper-edge"),
        taper_edge_tukey_lambda=number("taper-edge-tukey"),
        averaging_loss=number("averaging-loss", ImagerSettings.averaging_loss),
        average_channels="average-channels" in words_by_option,
        station_beams_jy=number("station-beams"),
        threads=int(number("j")) or _all_cores(),
        memory_bytes=_memory_bytes(number("abs-mem"), number("mem")),
        scratch=text("temp-dir"),
        products=tuple(kind for kind in KINDS if kind != "dirty" or "no-dirty" not in words_by_option),
        save_model_data="update-model-required" in words_by_option,
        component_list="save-source-list" in words_by_option,
        **_cleaning(values),
    )


def _cleaning(values: GivenValues) -> dict[str, Any]:
    """Return the settings of the cleaning."""
    words_by_option, number, text = values.words_by_option, values.number, values.text
    return {
        "niter": int(number("niter")),
        "gain": number("gain", ImagerSettings.gain),
        "mgain": number("mgain", ImagerSettings.mgain),
        "majors": int(number("nmiter", ImagerSettings.majors)) or MAJORS_WITHOUT_LIMIT,
        "auto_mask": number("auto-mask"),
        "auto_threshold": number("auto-threshold"),
        "threshold_jy": number("threshold"),
        "local_rms": bool({"local-rms", "local-rms-window"} & words_by_option.keys()),
        "local_rms_window": number("local-rms-window", ImagerSettings.local_rms_window),
        "fits_mask": text("fits-mask"),
        "multiscale": "multiscale" in words_by_option,
        "scales": tuple(float(part) for part in text("multiscale-scales").split(",") if part),
        "fit_spectral_terms": int(number("fit-spectral-pol")),
    }


def _weighting(words: Sequence[str]) -> Weighting:
    mode = words[0].lower()
    if mode == "briggs":
        return "briggs", float(" ".join(words[1:2]))
    return "natural" if mode == "natural" else "uniform"


def _all_cores() -> int:
    return len(os.sched_getaffinity(0))


def _memory_bytes(limit_gb: float, percentage: float) -> int:
    """Return the memory limit; 0: none."""
    if limit_gb:
        return int(limit_gb * GB)
    return int(percentage / 100 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if percentage else 0
