"""What a DP3 job writes: the name of its output, the sets that it changes, and the size of the new one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.programs.argv import OutputArgument
from lofarpipe.programs.dp3 import READS_ONLY, step_names
from lofarpipe.support.parset import unquote
from lofarpipe.support.utilities import files_of

if TYPE_CHECKING:
    from lofarpipe.programs.disk_space import PresentVolume

MSIN, MSOUT = ("msin", "msin.name"), ("msout", "msout.name")
IN_PLACE = ("", ".")
OVERWRITES = tuple(f"msout.overwrite={word}" for word in ("true", "t", "1", "yes"))
AVERAGING = frozenset({"average", "averager", "avg", "squash"})
# Steps that leave the numbers of rows and channels as they are.
KEEPING = frozenset({"aoflagger", "aoflag", "applybeam", "applycal", "count", "counter", "ddecal", "gaincal"})
KEEPING |= {"h5parmpredict", "interpolate", "madflag", "madflagger", "null", "phaseshift", "phaseshifter", "predict"}
KEEPING |= {"preflag", "preflagger", "scaledata", "setbeam", "uvwflag", "uvwflagger"}
# As the last step these take the place of the one that writes msout. DP3 6.6 does so with out and null (tried).
LAST_STEPS = frozenset({"explode", "msout", "null", "out", "output", "split"})
SELECTING = ("band", "baseline", "endtime", "nchan", "ntimes", "startchan", "starttime", "starttimeslot")
# Bytes per row beyond its visibilities: UVW, antennas, times. Source: sets of 111,600 rows and 8 or 32 channels that
# DP3 6.6 wrote; the difference of their sizes gives those per visibility, below.
ROW_BYTES = 45
DATA_BITS, WEIGHT_BITS = 10, 12  # of Dysco, where the parset does not say
UNITS_HZ = {"": 1.0, "hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}


def output_argument(argv: Sequence[str], workdir: Path) -> OutputArgument | None:
    """Return the argument that names a new measurement set.

    None if there is none, if it is one of the inputs, or if the set is there and ``msout.overwrite`` is not True: DP3
    refuses that itself.
    """
    output = named_output(argv, workdir)
    overwrites = any(text.lower() in OVERWRITES for text in argv)
    return None if output and os.path.lexists(workdir / output.name) and not overwrites else output


def named_output(argv: Sequence[str], workdir: Path) -> OutputArgument | None:
    """Return the argument that names a measurement set other than the inputs; None if there is none."""
    keywords = dict(text.split("=", 1) for text in argv[1:] if "=" in text)
    given = [index for index, text in enumerate(argv) if text.partition("=")[0] in MSOUT]
    if len(given) != 1 or _is_input(keywords, workdir):
        return None
    key, _, text = argv[given[0]].partition("=")
    may_write_nothing = not LAST_STEPS.isdisjoint(_kinds(keywords)[-1:])
    return OutputArgument(given[0], f"{key}=", unquote(text.strip()).rstrip("/"), None if may_write_nothing else "")


def changed_inputs(keywords: Mapping[str, str], workdir: Path = Path()) -> list[str]:
    """Return the measurement sets that a call changes: its inputs, where the output is empty, ``.`` or one of them."""
    if not set(MSOUT) & set(keywords) or not _is_input(keywords, workdir) or _only_reads(keywords):
        return []
    return _inputs(keywords)


def _inputs(keywords: Mapping[str, str]) -> list[str]:
    text = next((keywords[key] for key in MSIN if key in keywords), "")
    return [unquote(name) for name in files_of(text)]


def _is_input(keywords: Mapping[str, str], workdir: Path) -> bool:
    name = unquote(next((keywords[key] for key in MSOUT if key in keywords), "").strip())
    if name in IN_PLACE:
        return True
    return os.path.realpath(workdir / name) in {os.path.realpath(workdir / path) for path in _inputs(keywords)}


def _only_reads(keywords: Mapping[str, str]) -> bool:
    kinds = _kinds(keywords)
    return bool(kinds) and (kinds[-1] == "null" or set(kinds) <= READS_ONLY)


def _kinds(keywords: Mapping[str, str]) -> list[str]:
    return [keywords.get(f"{name}.type", name).lower() for name in step_names(keywords)]


def output_bytes(keywords: Mapping[str, str], workdir: Path) -> float | None:
    """Return the size of the new measurement set; None where it cannot be known before it is made.

    That is where a step or a key selects data, or where the inputs cannot be read.
    """
    unknown = set(_kinds(keywords)) - AVERAGING - KEEPING
    if unknown or any(f"msin.{key}" in keywords for key in SELECTING):
        return None
    from lofarpipe.programs.disk_space import present_volume

    paths = [str(workdir / name) for name in _inputs(keywords)]
    volume = present_volume(paths)
    if volume is None:
        return None
    times, channels = _averaged(keywords, volume)
    correlations = len(volume.like.correlations)
    rows = volume.rows / len(paths) / times  # the sets become one in frequency
    return volume.visibilities / times / channels * _visibility_bytes(keywords, correlations) + rows * ROW_BYTES


def _averaged(keywords: Mapping[str, str], volume: PresentVolume) -> tuple[float, float]:
    """Return how many time slots, and how many channels, become one."""
    steps = zip(step_names(keywords), _kinds(keywords), strict=True)
    names = [name for name, kind in steps if kind in AVERAGING]
    times = channels = 1.0
    for name in names:
        seconds = _number(keywords.get(f"{name}.timeresolution", ""), {"": 1.0, "s": 1.0})
        width_hz = _number(keywords.get(f"{name}.freqresolution", ""), UNITS_HZ)
        by_time = _number(keywords.get(f"{name}.timestep", ""), {"": 1.0})
        by_channel = _number(keywords.get(f"{name}.freqstep", ""), {"": 1.0})
        times *= max(1.0, round(seconds / (volume.like.timestep_s * times)) if seconds else by_time)
        channels *= max(1.0, round(width_hz / (volume.like.channel_width_hz * channels)) if width_hz else by_channel)
    return min(times, volume.like.ntimes), channels


def _number(text: str, units: Mapping[str, float]) -> float:
    """Return a number with its unit; 0 where there is none."""
    text = unquote(text.strip()).lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    try:
        return float(digits) * units[text[len(digits) :].strip()]
    except (ValueError, KeyError):
        return 0.0


def _visibility_bytes(keywords: Mapping[str, str], correlations: int) -> float:
    """Return what one channel of one row takes: visibilities, weights and flags."""
    manager = next((keywords[key] for key in _manager_keys("") if key in keywords), "")
    is_dysco = manager.strip().lower() == "dysco"
    data_bits = _bits(keywords, "databitrate", DATA_BITS) if is_dysco else 0
    weight_bits = _bits(keywords, "weightbitrate", WEIGHT_BITS) if is_dysco else 0
    data = 2 * correlations * (data_bits or 32) / 8
    weights = weight_bits / 8 if weight_bits else 4 * correlations  # Dysco has one for all correlations
    return data + weights + correlations / 8


def _manager_keys(key: str) -> list[str]:
    return [f"msout.storagemanager.{key}"] if key else ["msout.storagemanager", "msout.storagemanager.name"]


def _bits(keywords: Mapping[str, str], key: str, default: int) -> int:
    text = next((keywords[name] for name in _manager_keys(key) if name in keywords), str(default))
    return int(text) if text.strip().isdecimal() else default
