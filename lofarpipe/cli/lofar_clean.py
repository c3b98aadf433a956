"""lofar-clean: cleaned images of measurement sets, by the imager of this package; the options are WSClean's."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from lofarpipe.programs.lofar_clean.options import (
    INSTALL,
    OTHER_SPELLINGS,
    PROGRAM,
    VERSION,
    angle_deg,
    answer,
    findings,
    first_number,
    missing_packages,
    notices,
    polarizations,
    value_counts,
)

if TYPE_CHECKING:
    from lofarpipe.imaging.imager.settings import ImagerSettings, Weighting

DEFAULT_NAME = "wsclean"
MAJORS_WITHOUT_LIMIT = 20
GB = 1e9


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    from lofarpipe.cli import guarded, open_closed_streams

    open_closed_streams()
    words = sys.argv[1:] if arguments is None else list(arguments)
    return guarded(lambda: run(words), debug=bool(os.environ.get("LOFAR_CLEAN_DEBUG")), program=PROGRAM)


def run(words: Sequence[str]) -> int:
    """Print what is asked for, or make the images.

    Raises
    ------
    UsageError
        If the command line is wrong; with everything that is.
    PipelineError
        If the images cannot be made.
    """
    from lofarpipe.errors import PipelineError, UsageError

    given, sets = read_words(words)
    if "help" in given or "version" in given:
        return int(not answer(["-help" if "help" in given else "-version"]))
    wrong = findings(given)
    wrong += [] if sets else ["no measurement set is named; give one or more behind the options"]
    wrong += [f"{path}: there is no such measurement set" for path in sets if not os.path.isdir(path)]  # noqa: PTH112
    if wrong:
        raise UsageError("\n".join(wrong))
    if missing := missing_packages():
        raise PipelineError(f"{' and '.join(missing)}: not installed; {INSTALL}, or use another imager")
    if "dry-run" in given:
        return 0
    say = (lambda _: None) if "quiet" in given else print_line
    for line in (VERSION, *notices(given)):
        say(line)
    make_images(make_settings(given, sets), say, shlex.join([PROGRAM, *words]))
    return 0


def make_images(settings: ImagerSettings, say: Callable[[str], None], command: str) -> None:
    """Make the images; ``say`` gets the lines of the log."""
    from lofarpipe.imaging.imager.major_cycle import Hooks
    from lofarpipe.imaging.imager.run import image

    image(settings, Hooks(notice=say), [command])


def print_line(line: str) -> None:
    """Print a line at once: whoever watches the log reads it."""
    print(line, flush=True)


def read_words(words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return option -> its values, and the measurement sets behind the options.

    Raises
    ------
    UsageError
        If an option is not known, stands behind a set, or lacks values.
    """
    from lofarpipe.errors import UsageError, nearest

    counts, given, place = value_counts(), dict[str, list[str]](), 0
    while place < len(words) and words[place].startswith("-"):
        typed = words[place].removeprefix("-").removeprefix("-")
        if typed not in counts:
            raise UsageError(f"-{typed}: no such option{nearest(typed, counts)}; see {PROGRAM} -help")
        count = counts[typed] + (
            typed == "weight" and [word.lower() for word in words[place + 1 : place + 2]] == ["briggs"]
        )
        values = list(words[place + 1 : place + 1 + count])
        given[OTHER_SPELLINGS.get(typed, typed)] = values
        place += 1 + count
    sets = list(words[place:])
    late = next((word for word in sets if word.startswith("-")), "")
    if late:
        raise UsageError(f"{late}: stands behind the measurement set {sets[0]}; put it before")
    return given, sets


def make_settings(given: Mapping[str, Sequence[str]], sets: Sequence[str]) -> ImagerSettings:
    """Return the settings of options that were found right."""
    from math import radians

    from lofarpipe.imaging.imager.settings import KINDS, ImagerSettings

    def number(name: str, default: float = 0.0) -> float:
        return first_number(given, name, default)

    def text(name: str, default: str = "") -> str:
        return "".join(given.get(name, [default])[:1])

    def angle_rad(name: str, unit: str) -> float:
        return radians(angle_deg(text(name, "0"), unit) or 0.0)

    width, height = (int(word) for word in given["size"][:2])
    majors = int(number("nmiter", ImagerSettings.majors)) or MAJORS_WITHOUT_LIMIT
    return ImagerSettings(
        name=text("name", DEFAULT_NAME),
        sets=tuple(sets),
        column=text("data-column"),
        field_id=int(number("field")),
        size=(width, height),
        cell_rad=angle_rad("scale", "deg"),
        channels_out=int(number("channels-out", 1)),
        pol=polarizations(text("pol", "I")),
        join_pols="join-polarizations" in given,
        weighting=_weighting(given.get("weight", ["uniform"])),
        padding=number("padding", ImagerSettings.padding),
        min_uv_lambda=number("minuv-l"),
        max_uv_lambda=number("maxuv-l"),
        taper_gaussian_rad=angle_rad("taper-gaussian", "asec"),
        taper_tukey_lambda=number("taper-tukey"),
        taper_inner_tukey_lambda=number("taper-inner-tukey"),
        taper_edge_lambda=number("taper-edge"),
        taper_edge_tukey_lambda=number("taper-edge-tukey"),
        niter=int(number("niter")),
        gain=number("gain", ImagerSettings.gain),
        mgain=number("mgain", ImagerSettings.mgain),
        majors=majors,
        auto_mask=number("auto-mask"),
        auto_threshold=number("auto-threshold"),
        threshold_jy=number("threshold"),
        local_rms=bool({"local-rms", "local-rms-window"} & given.keys()),
        local_rms_window=number("local-rms-window", ImagerSettings.local_rms_window),
        fits_mask=text("fits-mask"),
        multiscale="multiscale" in given,
        scales=tuple(float(part) for part in text("multiscale-scales").split(",") if part),
        fit_spectral_terms=int(number("fit-spectral-pol")),
        averaging_loss=number("averaging-loss", ImagerSettings.averaging_loss),
        threads=int(number("j")) or _all_cores(),
        memory_bytes=_memory_bytes(number("abs-mem"), number("mem")),
        scratch=text("temp-dir"),
        products=tuple(kind for kind in KINDS if kind != "dirty" or "no-dirty" not in given),
        save_model_data="update-model-required" in given,
        component_list="save-source-list" in given,
    )


def _weighting(words: Sequence[str]) -> Weighting:
    mode = words[0].lower()
    if mode == "briggs":
        return "briggs", float(" ".join(words[1:2]))
    return "natural" if mode == "natural" else "uniform"


def _all_cores() -> int:
    return len(os.sched_getaffinity(0))


def _memory_bytes(limit_gb: float, percentage: float) -> int:
    """Return the memory that may be used; 0: no limit."""
    if limit_gb:
        return int(limit_gb * GB)
    return int(percentage / 100 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) if percentage else 0
