"""Which gridder WSClean is to use: what was asked for, what the build has, and what IDG refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lofarpipe.imaging.plan.fft_size import SMALLEST_IDG_SIDE
from lofarpipe.programs.wsclean.arguments import flag_name, number
from lofarpipe.programs.wsclean.build import NEW_GRIDDERS, OLD_FLAGS, WSCleanBuild

AUTO = "auto"
IDG_MODES = ("cpu", "hybrid")
BEAM_FLAGS = ("grid-with-beam", "use-differential-lofar-beam")
_STOKES_I = ({"I"}, {"I", "Q", "U", "V"})

Options = Mapping[str, Sequence[str]]


def requested_gridder(options: Options) -> str:
    """Return the gridder asked for by ``gridder``, or by a flag such as ``-use-idg``; empty if by neither."""
    if "gridder" in options:
        return options["gridder"][0].lower() if options["gridder"] else ""
    flags = [gridder for gridder, flag in OLD_FLAGS.items() if flag and flag in options]
    return flags[0] if flags else ""


def resolve_gridder(requested: str, build: WSCleanBuild) -> str:
    """Return the gridder that a build uses for a request: for ``auto`` IDG where it is there, else wgridder.

    A build without either is left to w-stacking. Any other request is returned as it is.
    """
    if requested != AUTO:
        return requested
    return next(gridder for gridder in ("idg", "wgridder", "wstacking") if gridder in build.gridders)


def choose_gridder(options: Options, build: WSCleanBuild, beam_obstacle: str = "") -> tuple[str, list[str]]:
    """Return the gridder for a job, and a notice where ``auto`` could not take IDG.

    ``beam_obstacle`` says why EveryBeam could not make the beams for IDG, without which wgridder is faster.
    """
    requested = requested_gridder(options)
    gridder = resolve_gridder(requested, build)
    if requested != AUTO:
        return gridder, []
    obstacles = idg_conflicts(options) if gridder == "idg" else []
    obstacles += [beam_obstacle] if gridder == "idg" and beam_obstacle else []
    if not build.has_idg:
        obstacles = [f"{build.name} was built without IDG"]
    if not obstacles:
        return gridder, []
    instead = "wgridder" if build.has_wgridder else "wstacking"
    return instead, [f"gridder = auto takes {instead}, without the beam: {'; '.join(obstacles)}"]


def idg_conflicts(options: Options) -> list[str]:
    """Return what IDG refuses among the options, each with what to change.

    Source: messages of WSClean 3.1 with IDG and EveryBeam, each option tried.
    """
    conflicts = [
        _rectangle(options.get("size", ())),
        _few_pixels(options.get("size", ())),
        _polarisations(options),
        _parallel(options.get("parallel-gridding", ())),
    ]
    if "apply-primary-beam" in options:
        conflicts.append("IDG refuses -apply-primary-beam; use -grid-with-beam")
    if "baseline-averaging" in options:
        conflicts.append("IDG refuses -baseline-averaging; remove it")
    return [conflict for conflict in conflicts if conflict]


def _rectangle(size: Sequence[str]) -> str:
    if len(size) < 2 or number(size[0]) == number(size[1]) or None in (number(size[0]), number(size[1])):
        return ""
    return f"IDG makes square images only, and size is {size[0]} x {size[1]}; set axis_stretch = 1.0"


def _few_pixels(size: Sequence[str]) -> str:
    sides = [side for side in map(number, size[:2]) if side]
    if not sides or min(sides) >= SMALLEST_IDG_SIDE:
        return ""
    text = " x ".join(size[:2])
    return f"IDG loses flux in images of less than {SMALLEST_IDG_SIDE} pixels, and size is {text}; make it larger"


def _polarisations(options: Options) -> str:
    text = "".join(options.get("pol", ["I"])[:1]).upper().replace(",", "")
    if set(text) in _STOKES_I:
        return ""
    return f"IDG makes Stokes I or all of IQUV, and pol is {text}; set pol to I or IQUV"


def _parallel(count: Sequence[str]) -> str:
    if not count or (number(count[0]) or 0) <= 1:
        return ""
    return f"IDG refuses -parallel-gridding {count[0]}; remove it"


def gridder_findings(options: Options, build: WSCleanBuild, gpus: int) -> list[str]:
    """Return why the gridder that was asked for cannot be had, each with what to change."""
    requested = requested_gridder(options)
    known = (AUTO, *NEW_GRIDDERS)
    if "gridder" in options and requested not in known:
        return [f"gridder is '{requested}'; one of {', '.join(known)} is needed"]
    findings = [] if requested in ("", AUTO, *build.gridders) else [_missing(requested, build)]
    if requested == "idg":
        findings += idg_conflicts(options)
    return findings + _mode_findings(options, build, gpus)


def _missing(requested: str, build: WSCleanBuild) -> str:
    advice = f"set gridder = {'wgridder' if build.has_wgridder else 'wstacking'}, or auto"
    if requested == "idg":
        advice += ", or install a WSClean that was built with IDG"
    return f"gridder is '{requested}', which {build.name} does not have (it has {', '.join(build.gridders)}); {advice}"


def _mode_findings(options: Options, build: WSCleanBuild, gpus: int) -> list[str]:
    if "idg-mode" not in options:
        return []
    mode = "".join(options["idg-mode"][:1])
    if mode not in IDG_MODES:
        return [f"idg-mode is '{mode}'; one of {', '.join(IDG_MODES)} is needed; set idg_mode = cpu"]
    if mode == "hybrid" and gpus == 0 and uses_idg(options, build):
        return ["idg-mode is 'hybrid', and this machine has no CUDA device; set idg_mode = cpu"]
    return []


def uses_idg(options: Options, build: WSCleanBuild) -> bool:
    """Return whether a build makes the image with IDG."""
    return build.has_idg and choose_gridder(options, build)[0] == "idg"


def gridder_flags(gridder: str, build: WSCleanBuild) -> tuple[dict[str, str], list[str]]:
    """Return the keywords and flags that choose a gridder in a build's own spelling."""
    if not gridder:
        return {}, []
    if build.has_gridder_option:
        return {"gridder": gridder}, []
    flag = OLD_FLAGS[gridder]
    return {}, [f"-{flag}"] if flag else []


def beam_flags(positionals: Sequence[str], keywords: Mapping[str, str], build: WSCleanBuild) -> list[str]:
    """Return the flags with which IDG corrects for the beam, where EveryBeam is in and they are not given already."""
    if not build.has_everybeam or "aterm-config" in keywords:
        return []
    present = {*keywords, *map(flag_name, positionals)}
    if "aterm-config" in present:
        return []
    return [f"-{flag}" for flag in BEAM_FLAGS if flag in build.options and flag not in present]
