"""Checks before the first job: feasibility of the plan, and conflicts of products with other files."""

from __future__ import annotations

import math
import os
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.beam.station import SPEED_OF_LIGHT_M_S, WIDEST_HALF_WIDTH
from lofarpipe.imaging.ms.measurement_set import SetMetadata, sample_visibilities
from lofarpipe.imaging.ms.survey import SetSurvey
from lofarpipe.imaging.plan.losses import AveragingWish, least_image_side
from lofarpipe.imaging.plan.options import parse_options
from lofarpipe.imaging.plan.plan import plan_field
from lofarpipe.imaging.plan.sizes import coarse_cells
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import split_list
from lofarpipe.support.utilities import exists, is_file


def uv_range_finding(surveys: Sequence[SetSurvey], minlambda: float, maxlambda: float) -> str:
    """Return why no baseline is within the uv range, wavelengths; "" if one is, or none was sampled."""
    usable_sets = [survey for survey in surveys if survey.usability.longest_m > 0]
    if not usable_sets:
        return ""
    longest = max(_lambdas(survey)[1] for survey in usable_sets)
    shortest = min(_lambdas(survey)[0] for survey in usable_sets)
    if longest < minlambda:
        return (
            f"minlambda_highres: is {minlambda:g} wavelengths, the longest baseline of the sets is {longest:.4g}: "
            "nothing could be imaged; make it smaller"
        )
    if shortest > maxlambda:
        return (
            f"maxlambda_highres: is {maxlambda:g} wavelengths, the shortest baseline of the sets is {shortest:.4g}: "
            "nothing could be imaged; make it larger"
        )
    return ""


def _lambdas(survey: SetSurvey) -> tuple[float, float]:
    """Return the shortest and the longest usable baseline, in wavelengths."""
    frequencies_hz, usable = survey.metadata.frequencies_hz, survey.usability
    return (
        usable.shortest_m * float(frequencies_hz.min()) / SPEED_OF_LIGHT_M_S,
        usable.longest_m * float(frequencies_hz.max()) / SPEED_OF_LIGHT_M_S,
    )


def cell_warning(surveys: Sequence[SetSurvey], cellsize_deg: float, maxlambda: float) -> str:
    """Return a finding if pixels are too wide for the imaged baselines, up to ``maxlambda``; otherwise ""."""
    longest = max((_lambdas(survey)[1] for survey in surveys), default=0.0)
    return coarse_cells(cellsize_deg, min(longest, maxlambda)) if min(longest, maxlambda) > 0 else ""


def size_finding(surveys: Sequence[SetSurvey], wish: AveragingWish, cellsize_deg: float) -> str:
    """Return why the image is too wide for the projection and its beam; "" if it fits.

    Raises
    ------
    ValueError
        If the stations have no diameter.
    """
    width_deg = least_image_side([survey.metadata for survey in surveys], wish, cellsize_deg) * cellsize_deg
    widest_deg = math.degrees(2 * WIDEST_HALF_WIDTH)
    if width_deg < widest_deg:
        return ""
    return (
        f"fieldsize_highres: with {wish.fieldsize_highres:g} times the width of the beam the image is about "
        f"{width_deg:.3g} deg wide, and less than {widest_deg:.0f} deg of the sky can be imaged at once; make it "
        "smaller, or set station_diameter_m if the ANTENNA table has wrong diameters"
    )


WIDE_RAD = 0.3  # half diagonal; the beam may be a few times wider than at the zenith
SAMPLED_ROWS = 2000
FEW_BASELINES = 0.02  # of the rows, within the uv range
OUTSIDE_UV_RANGE = "no unflagged visibility"


def plan_findings(sets: Sequence[SetMetadata], wish: AveragingWish, texts: Mapping[str, str]) -> list[str]:
    """Return why sets cannot be planned.

    The plan is made only for images nearly as wide as the sky, or with few baselines in the uv range, as it takes half
    a second or more. ``texts`` are the arguments of do_magic.
    """
    if not (_is_wide(sets, wish, texts) or _has_few_baselines(sets[0], wish)):
        return []
    try:
        plan_field([one.path for one in sets], parse_options(texts))
    except (PipelineError, ValueError) as err:
        name = "maxlambda_highres" if str(err).startswith(OUTSIDE_UV_RANGE) else "fieldsize_highres"
        return [f"{name}: {err}"]
    return []


def mask_findings(sets: Sequence[SetMetadata], texts: Mapping[str, str], masks: Mapping[str, str]) -> list[str]:
    """Return findings about FITS masks, by option, whose size differs from the image's.

    Makes the plan for the size; a failure to plan is reported elsewhere.
    """
    sizes = {name: _fits_size(path) for name, path in masks.items()}
    try:
        size = plan_field([one.path for one in sets], parse_options(texts)).sizes[0].high if sizes else ()
    except (PipelineError, ValueError):
        return []
    expectation = f"the image will have {_pixels(size)} pixels"
    wrong = [(name, f"has {_pixels(has)}" if has else "is no FITS image") for name, has in sizes.items() if has != size]
    return [f"{name}: {masks[name]} {problem}, and {expectation}; make one of that size" for name, problem in wrong]


def _pixels(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


def _fits_size(path: str) -> tuple[int, ...]:
    """Return width and height of an image; empty if the file is not an image."""
    from astropy.io import fits

    try:
        header = fits.getheader(path)
        return int(header["NAXIS1"]), int(header["NAXIS2"])
    except (OSError, KeyError):
        return ()


def _is_wide(sets: Sequence[SetMetadata], wish: AveragingWish, texts: Mapping[str, str]) -> bool:
    half_width_rad = math.radians(least_image_side(sets, wish, 1.0)) / 2
    return half_width_rad * math.hypot(1.0, float(texts.get("y_axis_stretch", 1.0))) > WIDE_RAD


def _has_few_baselines(one: SetMetadata, wish: AveragingWish) -> bool:
    uvw_m = sample_visibilities(one.path, SAMPLED_ROWS).uvw_m
    lengths = np.hypot(uvw_m[:, 0], uvw_m[:, 1]) * float(np.mean(one.frequencies_hz)) / SPEED_OF_LIGHT_M_S
    return float(np.mean((lengths >= wish.minlambda) & (lengths <= wish.maxlambda))) < FEW_BASELINES


IMAGES, ROOT = "image_output_filenames", "image_rootname"
# Options that name output files of the pipeline, and the first bytes of such files.
WRITTEN = {IMAGES: b"SIMPLE  =", "images_metadata_file": b"", "sip_file": b"<?xml"}
WHAT = {IMAGES: "FITS file", "images_metadata_file": "metadata of a former run", "sip_file": "XML document"}
READ_OPTIONS = frozenset({"reference_skymodel", "spectral_index"})
METADATA_KEY = "Output_SkyImage_"
OF_THE_RUN = frozenset({"journal.jsonl", "run.json", "report.html", "commands.txt", "plan.json"})


OF_THE_RUN |= {"quality.json", "comparison.json", "uv_coverage.png", "statistics.xml"}


FOLDERS_OF_THE_RUN = frozenset({"jobs", "logs", "mapfiles", "parsets", "copies"})
READ_BYTES = 65536


@dataclass(frozen=True)
class ProtectedFiles:
    """The files of a run: parsets and configuration, working directories, and imaged sets.

    ``arguments`` are step arguments that name input files.
    """

    parsets: Sequence[str] = ()
    directories: Sequence[str] = ()
    sets: Sequence[str] = ()
    arguments: Container[str] = ()


def overwritten_findings(options: Mapping[str, str], run: ProtectedFiles) -> list[str]:
    """Return one line per output file of the options that conflicts with another file.

    ``options`` are the user's options, and step arguments as ``<step>.argument.<key>``.
    """
    inputs = {os.path.realpath(text): name for name, text in options.items() if _is_read(name, run) and is_file(text)}
    protected = {os.path.realpath(path): "is a parset, or the configuration, of this run" for path in run.parsets}
    protected |= {path: f"is an input ({name})" for path, name in inputs.items()}
    findings, outputs = [], dict[str, str]()
    for name, path in _outputs(options):
        real = os.path.realpath(path)
        # Links are not resolved: an earlier run delivered one image as a copy and links to it.
        place = str(Path(path).parent.resolve() / Path(path).name)
        conflict = (
            protected.get(real)
            or outputs.get(place)
            or _role_in_run(real, options.get(ROOT, ""), run)
            or _overwrite_finding(name, path)
        )
        outputs.setdefault(place, f"is named by {name} already")
        findings += [f"{name}: {path} {conflict}; name another"] if conflict else []
    return findings + _below_root(options, inputs)


def _is_read(name: str, run: ProtectedFiles) -> bool:
    """Whether an option or a step argument names an input file."""
    return name in READ_OPTIONS or name.rpartition(".argument.")[2] in run.arguments


def _outputs(options: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in WRITTEN:
        text = options.get(name, "")
        for path in split_list(text) if name == IMAGES else [text]:
            if path and path != "none" and ".output." not in path:
                yield name, path


def _role_in_run(real: str, root: str, run: ProtectedFiles) -> str:
    """Return the role of a path in the run: a set, a file inside one, a product; otherwise ""."""
    for path in map(os.path.realpath, run.sets):
        if real == path or real.startswith(path + os.sep):
            return "is an input" if real == path else f"is within the input {path}"
    if root and real.startswith(os.path.realpath(root) + "-"):
        return f"is a product of this run, which begins with image_rootname ({root})"
    for directory in map(os.path.realpath, run.directories):
        first, _, rest = os.path.relpath(real, directory).partition(os.sep)
        if (first in OF_THE_RUN and not rest) or first in FOLDERS_OF_THE_RUN:
            return "is a product of this run"
    return ""


def _overwrite_finding(name: str, path: str) -> str:
    """Return a finding about an existing file not written by the pipeline; directories are reported elsewhere."""
    if not exists(path) or Path(path).is_dir():
        return ""
    is_ours = is_file(path) and _is_of_kind(Path(path), name)
    return "" if is_ours else f"is there, and is no {WHAT[name]}"


def _is_of_kind(path: Path, name: str) -> bool:
    try:
        with path.open("rb") as stream:
            content = stream.read(READ_BYTES)
    except OSError:
        return False
    if WRITTEN[name]:
        return content.startswith(WRITTEN[name])
    return METADATA_KEY.encode() in content


def _below_root(options: Mapping[str, str], inputs: Mapping[str, str]) -> list[str]:
    """Return findings about input files that WSClean's images may overwrite."""
    root = options.get(ROOT, "")
    below = [name for path, name in inputs.items() if root and path.startswith(os.path.realpath(root) + "-")]
    return [
        f"{name}: {options[name]} may be overwritten, for it begins with {ROOT}; copy it elsewhere" for name in below
    ]
