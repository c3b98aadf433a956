"""Early check of the ASKAP pipeline: options, measurement sets, folders, WSClean and its container."""

import contextlib
import os
import tempfile
from decimal import Decimal, InvalidOperation
from pathlib import Path

from lofarpipe.errors import WARNING, PipelineError
from lofarpipe.executors.local.process import expanded_directory
from lofarpipe.imaging.plan.beams import TABLE, BeamOptions, ChannelGrid, beam_sets, image_roots, read_beams
from lofarpipe.programs.container import container_for, launcher

STEPS = ("image_i", "image_polarisation")
NOT_GIVEN = ("none", "False")
GIVEN = "find_beams.output."  # prefix of references to the first step's outputs
OTHER_NAMES = {"gridder"}  # spelled differently by some versions of the program
FOLDERS = ("datadir", "temp_dir_wsclean", "temp_dir_images")
#: Options without effect if another one is off, with their neutral values.
DEPENDENT = {
    "local_rms_window": ("local_rms", "none"),
    "multiscale_scale_bias": ("multiscale", "none"),
    "multiscale_scales": ("multiscale", "0,2,4,8,16,32,64,128"),
}


def check(options, site):
    """Return one line per problem found before the first job; warnings are marked.

    Parameters
    ----------
    options : mapping
        The user options of the pipeline as text, and the arguments of its steps; without invalid ones.
    site : mapping
        ``method``: the executor. Temporary folders of other machines are not checked.
    """
    findings = [
        *_option_findings(options),
        *_idle_options(options),
        *_folder_findings(options, site),
        *_set_findings(options),
    ]
    findings = list(dict.fromkeys(findings))
    # An image may have to be pulled: not for a run that does not begin.
    return findings if any(not text.startswith(WARNING) for text in findings) else findings + _wsclean(options)


def _option_findings(options):
    if "pols" in options:
        try:
            BeamOptions.read(options)
        except PipelineError as err:
            yield str(err)
    mask, threshold = _decimal(options, "auto_mask"), _decimal(options, "auto_threshold")
    if mask is not None and threshold is not None and mask <= threshold:
        advice = "WSClean needs a mask above the threshold; make it larger"
        yield f"auto_mask: is {mask}, and auto_threshold is {threshold}; {advice}"
    elif mask is not None and threshold is not None and (second := _second_run(options)).get("pols"):
        squares = second["auto_mask"], second["auto_threshold"]
        if Decimal(squares[0]) <= Decimal(squares[1]):
            advice = f"their squares, in hundredths, are {squares[0]} and {squares[1]}; set them further apart"
            yield f"auto_mask: is {mask}, and auto_threshold is {threshold}; {advice}"
    try:
        scales = [float(text) for text in options.get("multiscale_scales", "0").split(",")]
        wrong = any(not 0 <= scale < float("inf") for scale in scales)
    except ValueError:
        wrong = True
    if wrong:
        yield f"multiscale_scales: is '{options['multiscale_scales']}'; numbers >= 0 joined by commas are needed"


def _idle_options(options):
    """Yield a warning for each option set, but not used by any run of WSClean."""
    for name, (switch, silent) in DEPENDENT.items():
        if options.get(switch) == "False" and (value := options.get(name, silent)) != silent:
            yield f"{WARNING}{name}: is {value}, and has no effect without {switch}; set {switch} as well"
    is_squared = _second_run(options).get("multiscale") == "False"
    if is_squared and options["multiscale"] == "True" and "I" not in options["pols"].upper():
        reason = "all channels of pols are joined by their squares, and it is not for these"
        yield f"{WARNING}multiscale: is True, and has no effect: {reason}; leave it out"


def _second_run(options):
    """Return the options of the second run of WSClean; empty if one is invalid or missing."""
    try:
        return BeamOptions.read(options).second_run_options()
    except (PipelineError, KeyError, ValueError):
        return {}


def _decimal(options, name):
    try:
        return Decimal(options[name])
    except (KeyError, InvalidOperation):
        return None


def _folder_findings(options, site):
    """Yield findings for directories that cannot be written, without creating any."""
    for name in FOLDERS:
        folder = options.get(name, "none")
        if folder == "none" or (name != "datadir" and site.get("method", "local") != "local"):
            continue
        place = expanded_directory(folder)
        if "$" in place:
            yield f"{name}: is {folder}, and there is no such variable here; set it, or name another folder"
            continue
        path = Path(place).absolute()
        if inside := [one for one in (path, *path.parents) if (one / TABLE).is_file()]:
            yield f"{name}: {path} is in the measurement set {inside[0]}; name a folder beside it"
            continue
        existing = next(one for one in (path, *path.parents) if os.path.lexists(one))
        try:
            with tempfile.TemporaryFile(dir=existing):
                pass
        except OSError as err:
            yield f"{name}: {path} cannot be written ({existing}: {err.strerror}); name another, or change its mode"


def _set_findings(options):
    if not {"msdir", "ms_glob_pattern", "num_beams"} <= options.keys():
        return
    sets, problems = beam_sets(options["msdir"], options["ms_glob_pattern"], options["num_beams"])
    yield from problems
    if not sets:
        return
    from lofarpipe.imaging.ms.fix_ms import findings

    column, is_skipped = options.get("data_column", "CORRECTED_DATA"), options.get("skip_fix_ms") == "True"
    for path in sets:
        yield from map(str, findings(str(path), column, skip=is_skipped))
    beams, unreadable = read_beams(sets)
    yield from unreadable
    yield from image_roots(beams, options.get("datadir", "."))[1]
    nchan = int(options.get("nchan", 1))
    for path, beam in beams.items():
        if nchan > beam.channels:
            yield f"nchan: is {nchan}, and {path} has {beam.channels} channels; make it smaller"
    yield from _grid_findings(sets, options)


def _grid_findings(sets, options):
    """Yield findings for sets with a channel layout different from the first."""
    if options.get("channel_grid") != "True" or int(options.get("nchan", 1)) < 2:
        return
    grids = {}
    for path in sets:
        with contextlib.suppress(PipelineError):  # it is among the findings
            grids.setdefault(ChannelGrid.read(str(path), int(options["nchan"])), path)
    for path in list(grids.values())[1:]:
        first = next(iter(grids.values()))
        yield f"channel_grid: {path} has other channels than {first}; image them by themselves, or leave it out"


def _wsclean(options):
    """Return findings for a WSClean that is unusable or lacks options, and a notice of a forced choice."""
    if not {"local_wsclean", "hosted_wsclean", "mpi"} <= options.keys():
        return []
    from lofarpipe.programs.wsclean.build import describe_build

    where = "hosted_wsclean" if options["local_wsclean"] == "none" else "local_wsclean"
    try:
        container, notice = container_for(options["local_wsclean"], options["hosted_wsclean"], "wsclean")
        build = describe_build(launcher(container, "wsclean", "wsclean-mp" if options["mpi"] == "True" else ""))
    except PipelineError as err:
        return [f"{where}: {err}"]
    findings = [f"{WARNING}{where}: {notice}"] if notice else []
    name = f"WSClean {'.'.join(map(str, build.version))}"
    gridder = options.get("gridder", "none")
    if gridder not in ("none", *build.gridders):
        findings.append(f"gridder: is {gridder}, which {name} does not have; it has {', '.join(build.gridders)}")
    missing = sorted(_set_options(options) - build.options - OTHER_NAMES)
    return findings + [
        f"{where}: {name} has no option -{option}; take another WSClean, or leave it out" for option in missing
    ]


def _set_options(options):
    """Return the options of WSClean that any of its runs is given."""
    names, second = set(), _second_run(options)
    for step in STEPS:
        start = f"{step}.argument."
        texts = {key.removeprefix(start): text for key, text in options.items() if key.startswith(start)}
        flags = texts.pop("flags", "").strip("[] ").split(",")
        texts_by_key = {key: second.get(text.removeprefix(GIVEN), text) for key, text in texts.items()}
        names |= {key for key, text in texts_by_key.items() if text not in NOT_GIVEN}
        names |= {flag.strip().lstrip("-") for flag in flags if flag.strip().startswith("-")}
    return names
