"""Options of full-Stokes imaging, parsed from parset texts; all errors are reported together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lofarpipe.errors import nearest
from lofarpipe.imaging.ms.names import AUTO
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import split_list

NONE = "none"
LOWEST_ROBUST, HIGHEST_ROBUST = -2.0, 2.0  # uniform and natural. Source: D. Briggs, PhD thesis, 1995
LARGEST_SCALE = 4  # inverse fraction of the image's width
CHANNELS = "channels"
BY_PLAN = 0  # imsize and cell_arcsec: auto
SIGMA = "sigma"
NOT_IN_LISTS = ",[]*?'\""
JANSKY = {"": 1.0, "Jy": 1.0, "mJy": 1e-3, "uJy": 1e-6}


@dataclass(frozen=True)
class StokesOptions:
    """Imaging options of pipelines/meerkat.parset, documented there."""

    vis: str
    outdir: str
    data_column: str = AUTO
    field: str = AUTO
    mfs_robust: tuple[float, ...] = (-0.5, 0.4)
    channel_robust: tuple[float, ...] = (0.0,)
    frequency_range_mhz: tuple[float, float] = (886.0, 1680.0)
    channel_width_mhz: float = 2.5078  # negative: number of channels of the set
    channels: str = "all"
    mfs_range_mhz: tuple[float, float] = (886.0, 1380.0)
    mfs_minuv_lambda: float = 300.0
    channel_minuv_lambda: float = 0.0
    imsize: int = 6144
    cell_arcsec: float = 1.5
    niter: int = 100000
    mgain: float = 0.8
    threshold_mfs_jy: str = AUTO
    threshold_channel_jy: str = AUTO
    multiscale_scales: tuple[int, ...] = (0, 3, 10, 30, 80, 120)
    mfs_channels_out: int = 8
    common_beam_arcsec: str = "18"
    cube_format: str = "plain"
    channels_per_job: str = AUTO
    jobs_at_once: int = 32
    stage_data: bool = True
    write_merged_set: bool = False
    overwrite: bool = False

    @property
    def scales(self) -> tuple[int, ...]:
        """The scales that fit into the image."""
        return tuple(scale for scale in self.multiscale_scales if scale <= self.imsize / LARGEST_SCALE)

    @property
    def scales_left_out(self) -> tuple[int, ...]:
        """Those that do not."""
        return tuple(scale for scale in self.multiscale_scales if scale > self.imsize / LARGEST_SCALE)


def read_stokes_options(texts: Mapping[str, str]) -> tuple[StokesOptions | None, list[str]]:
    """Return the options (None on a parse error), and one line per problem.

    Options missing from ``texts`` get their defaults, except the required ``vis`` and ``outdir``.
    """
    names = {one.name for one in fields(StokesOptions)}
    findings = [f"{name}: no such option{nearest(name, names)}" for name in texts if name not in names]
    values: dict[str, Any] = {}
    for name in names & set(texts):
        try:
            values[name] = READERS.get(name, str)(texts[name].strip())
        except ValueError as err:
            findings.append(f"{name}: is '{texts[name]}'; {err}")
    findings += [f"{name}: {NEEDED[name]}" for name in NEEDED if not texts.get(name, "").strip()]
    if findings:
        return None, sorted(findings)
    values["vis"] = str(Path(values["vis"].rstrip("/") or "/").expanduser().absolute())
    values["outdir"] = str(Path(values["outdir"]).expanduser().absolute())
    options = StokesOptions(**values)
    return options, _contradictions(options)


NEEDED = {
    "vis": "is not set; name the calibrated measurement set, .ms or .mms",
    "outdir": "is not set; name the directory that the products go to",
}


def _contradictions(options: StokesOptions) -> list[str]:
    findings = []
    if odd := sorted(set(options.vis) & set(NOT_IN_LISTS)):
        findings.append(f"vis: {options.vis}: {' '.join(odd)} cannot be in a list of files; rename it, or name a link")
    for name in ("frequency_range_mhz", "mfs_range_mhz"):
        low, high = getattr(options, name)
        if not 0 < low < high < math.inf:
            findings.append(f"{name}: is {low:g}~{high:g}; a lowest and a higher edge in MHz are needed")
    for name in ("mfs_robust", "channel_robust"):
        values = getattr(options, name)
        if len(set(values)) < len(values):
            findings.append(f"{name}: names a value twice: {list(values)}; each makes an image of its own")
    if not options.mfs_robust and not options.channel_robust:
        findings.append("mfs_robust: is [], and so is channel_robust: there is nothing to image; give a value to one")
    if options.imsize % 2:
        findings.append(f"imsize: is {options.imsize}; an even number of pixels is needed")
    return findings


# ------------------------------------------------------------------------------------------------ readers of texts
def _number(low: float, high: float = float("inf"), above: bool = False) -> Callable[[str], float]:
    def read(text: str) -> float:
        limit = f"a number {'above' if above else 'of at least'} {low:g}" + (
            f", at most {high:g}" if high < 1e30 else ""
        )
        try:
            value = float(text)
        except ValueError as err:
            raise ValueError(f"{limit} is needed") from err
        if not low <= value <= high or (above and value == low):
            raise ValueError(f"{limit} is needed")
        return value

    return read


def _integer(low: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < low:
            raise ValueError(f"a whole number of at least {low} is needed")
        return int(text)

    return read


def _robusts(text: str) -> tuple[float, ...]:
    read = _number(LOWEST_ROBUST, HIGHEST_ROBUST)
    try:
        return tuple(read(word) for word in split_list(text) if word)
    except ValueError as err:
        raise ValueError(f"a list of numbers from {LOWEST_ROBUST:g} to {HIGHEST_ROBUST:g} is needed") from err


def _width(text: str) -> float:
    """Return a width in MHz, or the negative number of the set's channels."""
    number, unit = text.removesuffix(CHANNELS), text.endswith(CHANNELS)
    try:
        return -float(_integer(1)(number.strip())) if unit else _number(1e-6, 1e5)(number)
    except ValueError as err:
        raise ValueError("a width in MHz above 0, or a number of channels such as '12 channels', is needed") from err


def _scales(text: str) -> tuple[int, ...]:
    try:
        return tuple(_integer(0)(word) for word in split_list(text) if word)
    except ValueError as err:
        raise ValueError("a list of whole numbers of pixels is needed, or []") from err


def _range_mhz(text: str) -> tuple[float, float]:
    low, _, high = text.partition("~")
    try:
        return float(low), float(high)
    except ValueError as err:
        raise ValueError("two frequencies in MHz such as 886~1680 are needed") from err


def _truth(text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError("True or False is needed")
    return text == "True"


def _number_or(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text in words:
            return text
        try:
            return f"{_number(0, above=True)(text):g}"
        except ValueError as err:
            raise ValueError(f"{', '.join(words)}, or a number above 0, is needed") from err

    return read


def _parse_auto_or(read: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda text: BY_PLAN if text == AUTO else read(text)


def _threshold(text: str) -> str:
    """Return a clean threshold as ``auto``, a number of Jy, or ``<number> sigma``."""
    if text == AUTO:
        return text
    number, unit = re.fullmatch(r"([-+.\deE]*)\s*(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        value = _number(0, above=True)(number)
        return f"{value:g} {SIGMA}" if unit == SIGMA else f"{value * JANSKY[unit]:g}"
    except (ValueError, KeyError) as err:
        units = ", ".join(filter(None, JANSKY))
        raise ValueError(f"auto, or a number above 0 in {units} or {SIGMA}, is needed") from err


def _format(text: str) -> str:
    if text not in ("plain", "tiled"):
        raise ValueError("plain or tiled is needed")
    return text


def _count_or_auto(text: str) -> str:
    return text if text == AUTO else str(_integer(1)(text))


READERS: Mapping[str, Callable[[str], Any]] = {
    "mfs_robust": _robusts,
    "channel_robust": _robusts,
    "frequency_range_mhz": _range_mhz,
    "mfs_range_mhz": _range_mhz,
    "channel_width_mhz": _width,
    "mfs_minuv_lambda": _number(0),
    "channel_minuv_lambda": _number(0),
    "imsize": _parse_auto_or(_integer(32)),
    "cell_arcsec": _parse_auto_or(_number(0, 3600, above=True)),
    "niter": _integer(0),
    "mgain": _number(0, 1, above=True),
    "threshold_mfs_jy": _threshold,
    "threshold_channel_jy": _threshold,
    "multiscale_scales": _scales,
    "mfs_channels_out": _integer(1),
    "common_beam_arcsec": _number_or(AUTO, NONE),
    "cube_format": _format,
    "channels_per_job": _count_or_auto,
    "jobs_at_once": _integer(1),
    "stage_data": _truth,
    "write_merged_set": _truth,
    "overwrite": _truth,
}
