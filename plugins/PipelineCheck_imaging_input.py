"""Early check of an imaging pipeline: its measurement sets, its output directories, and the room on disk."""

import contextlib
import math
import os
import resource
import shutil
import tempfile
from pathlib import Path

from lofarpipe.errors import WARNING, PipelineError
from lofarpipe.imaging.beam.spectral import index_findings
from lofarpipe.imaging.ms.names import abridge, expand_inputs, invalid_name_findings, long_names, missing_comma_findings
from lofarpipe.imaging.plan.checks import ProtectedFiles, overwritten_findings
from lofarpipe.imaging.plan.plan import channel_findings
from lofarpipe.programs.dp3 import SELECTIONS
from lofarpipe.programs.wsclean.checks import delivered_image_findings, imaging_arguments
from lofarpipe.programs.wsclean.options import FILES, OVER_THE_IMAGE
from lofarpipe.support.utilities import exists, is_file

GB = 1e9  # decimal
AVERAGING_STEPS = ("average", "dpppconcat", "average_dpppconcat")
SMALLEST_CELL_DEG = 1e-6
AVERAGED = "the averaged sets"
GRID_BYTES = 8  # of a complex number of the gridder's plane, the least memory of an image per pixel
# Open in DP3 6.6 for each set, raw or compressed by Dysco: 31 or 32, counted in /proc with 1 to 244 sets; and others.
FILES_OF_A_SET, OTHER_FILES = 32, 100
OUTPUTS_OF_USER = ("image_rootname", "images_metadata_file")
DIRECTORIES_OF_SITE = ("working_directory", "job_directory")
NO_INPUT = (
    "at least one measurement set is needed; set it in the field parset, or with -s 'data_input_filenames=[a.MS]'"
)


def check(options, site):
    """Return one line per problem found before the first job; warnings are marked.

    Parameters
    ----------
    options : mapping
        The user options of the pipeline as text; missing ones are not checked. And the
        arguments of its steps, by names such as ``clean.argument.niter``.
    site : mapping
        ``working_directory``, ``job_directory``, ``cores``, ``memory_gb`` and ``gpus`` as text; ``method``: where jobs
        run. On other machines than this one the scratch directory is theirs, and is not looked at. ``told``: the names
        of those directories whose being wrong was told already.
    """
    if site.get("method", "local") != "local":
        options = {name: value for name, value in options.items() if name != "local_scratch_dir"}
    findings = (
        _option_findings(options)
        + delivered_image_findings(options)
        + _selection_findings(options)
        + _reference_findings(options)
        + _sip_findings(options)
    )
    outputs = _output_findings(options, site)
    findings += outputs
    findings += _quote_findings(site.get("working_directory", ""))
    scratch = options.get("local_scratch_dir")
    unwritable = _write_findings("local_scratch_dir", Path(scratch), is_directory=True) if scratch else []
    surveys, set_findings = _check_inputs(options)
    sets = [survey.metadata for survey in surveys]
    if surveys and not set_findings:
        set_findings += _field_findings(surveys, options)
    findings += unwritable + set_findings + _overwritten(options, site)
    unwritable += [line for line in [*_named_directories(site), *outputs] if line.startswith("working_directory")]
    if sets and not set_findings:
        findings += channel_findings(sets, _number(options, "channels_out", 0.0))
    if sets and not set_findings and not unwritable:
        findings += _room_findings(surveys, options, site)
    if sets and not set_findings:
        findings += _scale_warnings(surveys, options) + _cell_warnings(surveys, options)
    if sets and not set_findings and site.get("method", "local") == "local":
        findings += _memory_findings(sets, options, site) + _open_file_findings(sets)
    if sets and not [line for line in findings if not line.startswith(WARNING)]:
        findings += _plan_findings(sets, options)
    if sets and not [line for line in findings if not line.startswith(WARNING)]:
        findings += _mask_findings(sets, options) + _beam_warnings(surveys, options)
    return findings


def _number(options, name, default=math.nan):
    """Return the number of an option; ``default`` if it is absent or not a number (reported by its domain)."""
    try:
        return float(options.get(name, default))
    except ValueError:
        return default


def _option_findings(options):
    """Return contradictions between options."""
    findings = []
    stretch = _number(options, "axis_stretch", 1.0)
    if options.get("gridder") == "idg" and stretch != 1.0:
        findings.append(
            f"axis_stretch: is {stretch:g} with gridder = idg, which makes square images only; set axis_stretch = 1.0, "
            "or gridder = wgridder"
        )
    shortest, longest = _shortest(options), _number(options, "maxlambda_highres")
    if shortest >= longest:
        findings.append(
            f"maxlambda_highres: is {longest:g} wavelengths, and the shortest baseline used is {shortest:g}; it must "
            "be larger"
        )
    cellsize_deg = _number(options, "cellsize_highres_deg")
    if 0 < cellsize_deg < SMALLEST_CELL_DEG:
        findings.append(
            f"cellsize_highres_deg: is {cellsize_deg:g} deg; at least {SMALLEST_CELL_DEG:g} is possible, in degrees"
        )
    if cellsize_deg > 0 and shortest > 0 and cellsize_deg >= math.degrees(1 / (2 * shortest)):
        findings.append(
            f"cellsize_highres_deg: is {cellsize_deg:g} deg, wider than half the fringe of the shortest baseline used "
            f"({shortest:g} wavelengths, {math.degrees(1 / (2 * shortest)):.3g} deg), so that nothing could be imaged; "
            "make it smaller: it is in degrees"
        )
    threshold, mask = _number(options, "auto_threshold"), _number(options, "auto_mask")
    if threshold >= mask:
        findings.append(
            f"auto_threshold: is {threshold:g}, {'above' if threshold > mask else 'the same as'} auto_mask, {mask:g}; "
            "cleaning would end before there is a mask; make it smaller"
        )
    findings += [f"spectral_index: {line}" for line in index_findings(options.get("spectral_index", "0"))]
    if 0 < _number(options, "max_rise") < 1:
        findings.append(
            f"max_rise: is {options['max_rise']}; below 1 every deconvolution would be ended at its start; set 1 or "
            "more, or 0 for never"
        )
    if options.get("data_column") == "":
        findings.append("data_column: is empty; name the column that holds the calibrated visibilities, such as DATA")
    return findings


def _selection_findings(options):
    """Return findings for DP3 steps on part of the data only, as other numbers are of all data."""
    keys = [f"{step}.argument.{key}" for step in AVERAGING_STEPS for key in SELECTIONS]
    return [
        f"{key}: exposure, noise and metadata are those of all data of the sets; make sets of that part with DP3 "
        "before, and image these"
        for key in keys
        if key in options
    ]


def _sip_findings(options):
    """Return whether each delivered image has its identifier in the archive; at the end it would be too late."""
    from lofarpipe.support.parset import split_list

    if options.get("sip_file", "none") == "none":
        return []
    identifiers = [text for text in split_list(options.get("sip_product_identifiers", "")) if text]
    images = max(1, len(expand_outputs(options.get("image_output_filenames", ""))))
    if not identifiers or len(identifiers) == images:  # missing options are reported by the step itself
        return []
    return [
        f"sip_product_identifiers: has {len(identifiers)}, and image_output_filenames delivers {images}; give one for "
        "each image, in the same order"
    ]


def _reference_findings(options):
    """Return the reason that the image cannot be compared with the user's reference, before hours of work."""
    from importlib.util import find_spec

    from lofarpipe.imaging.quality.reference import AUTO, INSTALL_LSMTOOL, NONE

    name = options.get("reference_skymodel", AUTO)
    if name in (AUTO, NONE):
        return []
    if not Path(name).is_absolute():
        return [f"reference_skymodel: {name} is relative, and jobs work elsewhere; write {Path(name).absolute()}"]
    if not is_file(name):
        return [f"reference_skymodel: there is no file {name}; name a sky model, or set it to auto or none"]
    if not name.endswith(".json") and find_spec("lsmtool") is None:
        return [f"reference_skymodel: LSMTool, which reads {name}, is missing; {INSTALL_LSMTOOL}, or set it to none"]
    return []


def _shortest(options):
    return _number(options, "minlambda_highres", _number(options, "minlambda"))


def _output_findings(options, site):
    """Return findings for unwritable places, without those below an already reported directory of the site."""
    of_site = {name: Path(site[name], "file") for name in DIRECTORIES_OF_SITE if site.get(name)}
    wrong = {name: _write_findings(name, path) for name, path in of_site.items()}
    unwritable = {of_site[name].parent.absolute() for name, lines in wrong.items() if lines}
    own_outputs = [pair for pair in _outputs(options) if unwritable.isdisjoint(pair[1].absolute().parents)]
    findings = [line for name, path in own_outputs for line in _write_findings(name, path)]
    return findings + [line for name, lines in wrong.items() if name not in _named_directories(site) for line in lines]


def _named_directories(site):
    return site.get("told", "").split()


def _outputs(options):
    """Yield (option, path) for each output path in the options."""
    for name in OUTPUTS_OF_USER:
        if options.get(name) and ".output." not in options[name]:
            yield name, Path(options[name])
    for path in expand_outputs(options.get("image_output_filenames", "")):
        yield "image_output_filenames", path


def expand_outputs(list_text):
    """Return the paths in a list text."""
    from lofarpipe.support.parset import split_list

    return [Path(name) for name in split_list(list_text) if name]


def _write_findings(name, path, is_directory=False):
    """Return the reason that a file cannot be created there; the test leaves no file."""
    if str(path).startswith("~"):
        return [f"{name}: ~ is not replaced in {path}; write {os.path.expanduser(path)}"]  # noqa: PTH111 - of nobody
    path = Path(path).absolute()
    directory = path if is_directory else path.parent
    existing = _existing(directory)
    try:
        if is_directory and not path.is_dir():
            return [f"{name}: {path} is no directory; name one that exists"]
        if not is_directory and path.is_dir():
            return [f"{name}: {path} is a directory; the name of a file is needed"]
        with tempfile.TemporaryFile(dir=existing):
            return []
    except OSError as err:
        return [f"{name}: {directory} cannot be written ({existing}: {err.strerror}); name another, or change its mode"]


def _quote_findings(directory):
    """Return a finding for a directory that DP3 cannot write to. Source: tried with DP3 6.6."""
    if _is_no_text(directory):
        return [f"working_directory: DP3 cannot write to {directory!a}, whose name is not UTF-8; use another name"]
    return [
        f"working_directory: DP3 cannot write to {directory}, for it takes {sign} off a name; use another name"
        for sign in "'\""
        if sign in directory
    ]


def _is_no_text(name):
    """Whether a name has bytes that are not UTF-8."""
    try:
        name.encode()
        return False
    except UnicodeEncodeError:
        return True


def _existing(directory):
    """Return the directory, or its nearest existing parent."""
    return next(path for path in (directory, *directory.parents) if os.path.lexists(path))


def _check_inputs(options):
    """Return surveys of the measurement sets, and their problems."""
    if "data_input_filenames" not in options:
        return [], []
    text = options["data_input_filenames"]
    try:
        paths = expand_inputs(text, Path.cwd())
    except PipelineError as err:
        return [], [f"data_input_filenames: {err}"]
    if text and text[0] != "[" and "," in text and not exists(text):
        return [], [f"data_input_filenames: is '{abridge(text)}'; several sets are a list: [{abridge(text)}]"]
    if not paths:
        return [], [f"data_input_filenames: is '{abridge(text)}'; {NO_INPUT}"]
    if no_paths := missing_comma_findings(paths) + invalid_name_findings(paths):
        return [], no_paths
    from lofarpipe.imaging.ms.inputs import check_sets

    diameter_m = _number(options, "station_diameter_m", 0.0)
    surveys, findings = check_sets(paths, options.get("data_column", ""), diameter_m, options.get("field", "auto"))
    return surveys, findings + long_names(paths)


def _scale_warnings(surveys, options):
    """Return warnings about the column to image."""
    from lofarpipe.imaging.ms.inputs import summarise_findings
    from lofarpipe.imaging.quality.plausibility import set_warnings

    return [f"{WARNING}{line}" for line in summarise_findings(set_warnings(surveys, options.get("data_column", "")))]


def _overwritten(options, site):
    """Return findings for files that outputs of the pipeline would overwrite."""
    sets = []
    with contextlib.suppress(PipelineError):  # said where the sets are looked at
        sets = expand_inputs(options.get("data_input_filenames", "[]"), Path.cwd())
    directories = [site[name] for name in DIRECTORIES_OF_SITE if site.get(name)]
    return overwritten_findings(options, ProtectedFiles(site.get("files", "").splitlines(), directories, sets, FILES))


def _field_findings(surveys, options):
    """Return options that do not fit the baselines of the sets, or exceed the sky."""
    from lofarpipe.imaging.plan.checks import size_finding, uv_range_finding

    cellsize_deg = _number(options, "cellsize_highres_deg")
    findings = [uv_range_finding(surveys, _shortest(options), _number(options, "maxlambda_highres"))]
    with contextlib.suppress(ValueError):  # said where the room on disk is looked at
        findings += [size_finding(surveys, _wish(options), cellsize_deg)] if cellsize_deg > 0 else []
    return [finding for finding in findings if finding]


def _cell_warnings(surveys, options):
    """Return a warning of pixels too wide for the baselines, as a coarse image may be intended."""
    from lofarpipe.imaging.plan.checks import cell_warning

    cellsize_deg, longest = _number(options, "cellsize_highres_deg"), _number(options, "maxlambda_highres", math.inf)
    warning = cell_warning(surveys, cellsize_deg, longest) if cellsize_deg > 0 else ""
    return [f"{WARNING}{warning}"] if warning else []


def _room_findings(surveys, options, site):
    """Return where copies of sets, the averaged sets, or WSClean's reordered visibilities, would not fit."""
    from lofarpipe.imaging.ms.copy import copy_reasons
    from lofarpipe.programs.disk_space import least_volume, table_bytes

    sets = [survey.metadata for survey in surveys]
    copied = sum(table_bytes(survey.path) for survey in surveys if copy_reasons(survey))
    try:
        volume = least_volume(sets, _wish(options))
    except (PipelineError, ValueError) as err:
        return [f"data_input_filenames: how much disk the image needs cannot be found out: {err}"]
    copies = 1 if options.get("fuse_average_concat") == "True" else 2
    size, content = (
        copied + copies * volume.averaged_bytes,
        "copies of sets and the averaged ones" if copied else AVERAGED,
    )
    needs = [("working_directory", site.get("working_directory"), size, content)]
    if options.get("local_scratch_dir") and not _has_own_imager(options):
        polarisations = 4 if options.get("gridder") == "idg" else 1  # IDG reads all correlations of Stokes I
        cleans = _number(options, "niter", 1) > 0 and _number(options, "mgain", 0.5) < 1
        size = volume.reordered_bytes(polarisations, cleans)
        needs.append(("local_scratch_dir", options["local_scratch_dir"], size, "WSClean's reordered visibilities"))
    return [line for need in needs for line in _too_small(*need)]


def _open_file_findings(sets):
    """Return whether DP3 may have all sets of a time block open at the same time, as it has; on this machine."""
    from lofarpipe.imaging.ms.grouping import time_blocks

    largest = max(len(block) for block in time_blocks(sets))
    needed, hard = largest * FILES_OF_A_SET + OTHER_FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or needed <= hard:
        return []
    return [
        f"data_input_filenames: DP3 has the {largest} sets of a time block open together, some {needed} files, and "
        f"this machine allows {hard} (ulimit -Hn); have nofile raised in /etc/security/limits.conf, or give at most "
        f"{(hard - OTHER_FILES) // FILES_OF_A_SET} sets of the same time"
    ]


def _memory_findings(sets, options, site):
    """Return whether the image is larger than the memory: its plane, padded, of complex numbers."""
    from lofarpipe.imaging.plan.losses import least_image_side

    memory_gb, cellsize_deg = _number(site, "memory_gb"), _number(options, "cellsize_highres_deg")
    if not (memory_gb > 0 and cellsize_deg > 0):
        return []
    try:
        side = least_image_side(sets, _wish(options), cellsize_deg)
    except ValueError:
        return []  # said where the room on disk is looked at
    needed_gb = (side * _number(options, "image_padding", 1.0)) ** 2 * GRID_BYTES / GB
    if needed_gb <= memory_gb:
        return []
    return [
        f"cellsize_highres_deg: with {cellsize_deg:g} deg and fieldsize_highres {options.get('fieldsize_highres')} the "
        f"image has about {side:.0f} pixels on a side, which take more than {needed_gb:.3g} GB of memory, and jobs "
        f"have {memory_gb:.3g}; make the pixels larger, or the field smaller"
    ]


PLAN_OPTIONS = {  # of do_magic -> of the pipeline, where they are not the same
    "y_axis_stretch": "axis_stretch",
    "minuv_lambda": "minlambda_highres",
    "maxuv_lambda": "maxlambda_highres",
}
PLAN_OPTIONS |= {
    name: name
    for name in (
        *("cellsize_highres_deg", "fieldsize_highres", "image_padding", "robust", "station_diameter_m", "averaging"),
        *("max_peak_smearing", "smearing_criterion", "gridder"),
    )
}


def _plan_texts(options):
    return {name: options[option] for name, option in PLAN_OPTIONS.items() if option in options}


def _plan_findings(sets, options):
    from lofarpipe.imaging.plan.checks import plan_findings

    return plan_findings(sets, _wish(options), _plan_texts(options))


def _mask_findings(sets, options):
    """Return a finding for a mask of another size than the image; a missing mask is reported with the step."""
    arguments = imaging_arguments(options)
    masks = {name: "".join(arguments.get(name, ())) for name in OVER_THE_IMAGE}
    masks = {name: path for name, path in masks.items() if Path(path).is_absolute() and is_file(path)}
    if not masks:
        return []
    from lofarpipe.imaging.plan.checks import mask_findings

    more = {name: options[name] for name in ("data_column", "field") if name in options}
    return mask_findings(sets, _plan_texts(options) | more, masks)


def _beam_warnings(surveys, options):
    """Return, before anything is averaged, that WSClean cannot make the beams of these sets."""
    sets = [one.path for one in surveys if one.metadata.nfields == 1]
    unsure = [path for path in sets if not Path(path, "LOFAR_ANTENNA_FIELD").is_dir()]
    arguments = imaging_arguments(options)
    if not unsure or not arguments or _has_own_imager(options):
        return []
    from lofarpipe.programs.find import find
    from lofarpipe.programs.wsclean.program import beam_notices

    try:
        notices = beam_notices(arguments, unsure[:1], find("wsclean"), options.get("data_column", ""))
        return [f"{WARNING}gridder: {line}" for line in notices]
    except PipelineError:
        return []  # reported with the step


def _has_own_imager(options):
    """Whether the imager of this package makes the image: it has no beam, and sorts no visibilities on disk."""
    from lofarpipe.programs.imagers import OWN, PROGRAMS, choose_imager

    try:
        return choose_imager(options.get("imager", "wsclean")).program == PROGRAMS[OWN]
    except PipelineError:
        return False  # reported with the option


def _too_small(name, directory, needed_bytes, content):
    if not directory:
        return []
    free_bytes = shutil.disk_usage(_existing(Path(directory).absolute())).free
    if free_bytes >= needed_bytes:
        return []
    return [
        f"{name}: {directory} has {free_bytes / GB:.3g} GB free, and {content} take "
        f"at least {needed_bytes / GB:.3g} GB; "
        "make room, or name another directory"
    ]


def _wish(options):
    from lofarpipe.imaging.plan.losses import AveragingWish

    default = AveragingWish()
    return AveragingWish(
        fieldsize_highres=_number(options, "fieldsize_highres", default.fieldsize_highres),
        minlambda=_shortest(options) if _shortest(options) >= 0 else default.minlambda,
        maxlambda=_number(options, "maxlambda_highres", default.maxlambda),
        max_peak_smearing=_number(options, "max_peak_smearing", default.max_peak_smearing),
        smearing_criterion=options.get("smearing_criterion", default.smearing_criterion),
        averaging=options.get("averaging", default.averaging),
        station_diameter_m=_number(options, "station_diameter_m", default.station_diameter_m),
    )
