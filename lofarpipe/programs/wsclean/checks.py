"""Refusals of WSClean, found before the first job: unknown options, values out of range, missing gridders."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import islice

from lofarpipe.errors import WARNING, Suggestions
from lofarpipe.programs.wsclean.build import BEAM_FLAGS, GRIDDER_FLAGS, WSCleanBuild, gridder_findings, run_briefly
from lofarpipe.programs.wsclean.options import (
    BOOLEANS,
    MAKES_NO_IMAGE,
    OTHER_BEAMS,
    Options,
    combination_findings,
    flag_name,
    number,
    option_words,
    polarization_names,
    remove_flags,
    settle_flags,
    unknown_polarizations,
    value_findings,
    words,
)
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import split_list

MOST_REFUSALS = 8  # attempts, as WSClean reports one problem at a time


@dataclass(frozen=True)
class Range:
    """The range of an option's numbers, limits included unless ``above`` is set."""

    lowest: float
    highest: float = float("inf")
    above: bool = False
    integer: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value is in the range."""
        low = value > self.lowest if self.above else value >= self.lowest
        return low and value <= self.highest and (not self.integer or value == int(value))

    def __str__(self) -> str:
        noun = "an integer" if self.integer else "a number"
        high = f" and <= {self.highest:g}" if self.highest < float("inf") else ""
        return f"{noun} {'>' if self.above else '>='} {self.lowest:g}{high}"


# Options with values that WSClean 3.1 does not check, or only after reading the sets.
RANGES = {
    "scale": Range(0, above=True),
    "padding": Range(1),
    "niter": Range(0, integer=True),
    "nmiter": Range(0, integer=True),
    "channels-out": Range(1, integer=True),
    "gain": Range(0, 1, above=True),
    "mgain": Range(0, 1, above=True),
    "threshold": Range(0),
    "auto-mask": Range(0, above=True),
    "auto-threshold": Range(0, above=True),
    "local-rms-window": Range(0, above=True),
    "weighting-rank-filter": Range(0),
    "minuv-l": Range(0),
    "maxuv-l": Range(0, above=True),
    "j": Range(1, integer=True),
    "mem": Range(0, 100, above=True),
    "abs-mem": Range(0, above=True),
    "beam-aterm-update": Range(0, above=True),
    "wgridder-accuracy": Range(0, 1, above=True),
}


def check_arguments(
    keywords: Mapping[str, str], positionals: Sequence[str], build: WSCleanBuild, gpus: int
) -> list[str]:
    """Return everything in the arguments of a job that this build would refuse, or take and do wrong.

    The caller leaves out unknown values. The others are also passed to WSClean itself
    (``-dry-run``), which reads its arguments and ends; no measurement set is opened.
    """
    booleans = {name for name, text in keywords.items() if text in BOOLEANS}
    keywords, positionals = settle_flags(keywords, positionals, build.value_counts)
    wrong_values = value_findings(keywords, positionals, build.value_counts)
    options = option_words(keywords, positionals)
    unknown = _unknown_options(options, build)
    suggested = Suggestions()
    findings = [f"-{name}: {build.name} has no such option{suggested.nearest(name, build.options)}" for name in unknown]
    findings += gridder_findings(options, build, gpus)
    findings += _beam_findings(options, build)
    out_of_range = _range_findings({name: values for name, values in options.items() if name not in booleans})
    texts = {"size": _size_finding(options), "pol": unknown_polarizations(options)}
    wrong = {**wrong_values, **out_of_range, **{name: text for name, text in texts.items() if text}}
    findings += [*wrong.values(), *_uv_findings(options, wrong)]
    findings += combination_findings(options)
    settled = {*unknown, *wrong, "gridder", "idg-mode", *BEAM_FLAGS}
    return findings + _dry_run_findings(keywords, positionals, build, settled)


def _unknown_options(options: Options, build: WSCleanBuild) -> list[str]:
    """Return the options that neither ``--help`` nor the program knows; some old spellings are not in ``--help``."""
    suspects = [name for name in options if name not in {*build.options, "gridder", "idg-mode", *GRIDDER_FLAGS}]
    return [name for name in suspects if _is_unknown(name, build)]


def has_option(name: str, build: WSCleanBuild) -> bool:
    """Return whether a build has the option ``-name``, or this package translates it."""
    return not _unknown_options({name: ()}, build)


def _is_unknown(name: str, build: WSCleanBuild) -> bool:
    if "dry-run" not in build.options or not flag_name(f"-{name}"):
        return True
    code, output = run_briefly(build.path, ["-dry-run", f"-{name}"])
    return f"Unknown parameter: {name}" in output or bool(code and not output.strip())


def _beam_findings(options: Options, build: WSCleanBuild) -> list[str]:
    findings = []
    if "grid-with-beam" in options and not (build.has_idg and build.has_everybeam):
        findings.append(
            f"-grid-with-beam: {build.name} was built without "
            f"{'EveryBeam' if build.has_idg else 'IDG'}; remove it, and the beam is made by make_primary_beam"
        )
    if "apply-primary-beam" in options and not build.has_everybeam:
        findings.append(
            f"-apply-primary-beam: {build.name} was built without EveryBeam; remove it, and the beam is made by "
            "make_primary_beam"
        )
    return findings


def _range_findings(options: Options) -> dict[str, str]:
    """Return option -> finding for each missing or out-of-range number."""
    findings = {}
    for name, allowed in RANGES.items():
        if name in options:
            text = "".join(options[name][:1])
            value = number(text)
            if value is None or not allowed.holds(value):
                findings[name] = f"-{name} is '{text}'; {allowed} is needed"
    return findings


def _size_finding(options: Options) -> str:
    """Return the problem of the image size, or ""."""
    size = options.get("size", ["1", "1"])[:2]
    if len(size) == 2 and all(text.isdecimal() and int(text) > 0 for text in size):
        return ""
    return f"-size is '{' '.join(size)}'; width and height in pixels are needed, such as 3000 3000"


def _uv_findings(options: Options, settled: Container[str]) -> list[str]:
    limits = [number("".join(options.get(name, ())[:1])) for name in ("minuv-l", "maxuv-l")]
    if None in limits or "minuv-l" in settled or "maxuv-l" in settled:
        return []
    low, high = (limit or 0.0 for limit in limits)
    if low < high:
        return []
    return [f"-minuv-l is {low:g} and -maxuv-l {high:g} wavelengths; the first must be smaller"]


def _dry_run_findings(
    keywords: Mapping[str, str], positionals: Sequence[str], build: WSCleanBuild, settled: set[str]
) -> list[str]:
    """Return the program's own refusals; each refused option is removed for the next attempt."""
    if "dry-run" not in build.options:
        return []
    remaining = {key: value for key, value in keywords.items() if key not in {*settled, *GRIDDER_FLAGS}}
    flags = remove_flags(positionals, settled - set(BEAM_FLAGS), {*GRIDDER_FLAGS, *BEAM_FLAGS})
    findings: list[str] = []
    for _ in range(MOST_REFUSALS):
        refusal = _refusal(remaining, flags, build)
        if not refusal:
            return findings
        culprits = _culprits(refusal, remaining, flags, build)
        findings.append("".join(f"-{key} {remaining[key]}: " for key in culprits) + f"{build.name} refuses: {refusal}")
        if not culprits:
            return findings
        remaining = {key: value for key, value in remaining.items() if key not in culprits}
    return findings


def _culprits(refusal: str, keywords: Mapping[str, str], flags: Sequence[str], build: WSCleanBuild) -> list[str]:
    """Return the option in a refusal, else the first option whose removal changes the answer."""
    matches = [key for key in keywords if re.search(rf"-{re.escape(key)}(?![\w-])", refusal)]
    if matches:
        return matches[:1]
    others = ({k: v for k, v in keywords.items() if k != key} for key in keywords)
    changing = (key for key, rest in zip(keywords, others, strict=True) if _refusal(rest, flags, build) != refusal)
    return list(islice(changing, 1))


def _refusal(keywords: Mapping[str, str], flags: Sequence[str], build: WSCleanBuild) -> str:
    """Return the program's refusal of these arguments; empty if it takes them."""
    arguments = [part for key, value in keywords.items() for part in (f"-{key}", *(words(key, value) or [""]))]
    files = ["none.ms"] if not flags or flag_name(flags[-1]) else []
    code, output = run_briefly(build.path, ["-dry-run", *arguments, *flags, *files])
    messages = re.findall(r"^\+? ?>>> ?(.*)$", output, re.MULTILINE)
    return " ".join(messages) if code else ""


NAME = "name"
# Options that other steps are given the value of, too: the pipeline's option for each.
OF_THE_PIPELINE = {
    NAME: "image_rootname",
    "size": "fieldsize_highres",
    "scale": "cellsize_highres_deg",
    "padding": "image_padding",
    "weight": "robust",
    "minuv-l": "minlambda_highres",
    "maxuv-l": "maxlambda_highres",
    "niter": "niter",
    **dict.fromkeys(("channels-out", "channelsout"), "channels_out"),
    **dict.fromkeys(("gridder", "use-idg", "use-wgridder", "direct-ft"), "gridder"),
    "field": "field",
    "data-column": "data_column",
}
OF_THE_PLAN = frozenset({"size", "channels-out"})  # values from maps, checked by the step
# Source: 3.1 by hand on 256 x 256 pixels in parts of 32, 64 and 128: fluxes 0.80 to 1.13 times those without parts.
LEAST_SUBIMAGE = 1000  # pixels
WITH_WORD = {"weight": "briggs "}  # before the value of the pipeline's option
_SETS_BEFORE = (
    "exposure, noise and metadata are those of all data of the sets; make sets of that part with DP3, and image"
)
_UV_RANGE = "the plan and the noise know of minlambda_highres and maxlambda_highres only; set these"
_FRESH = "the averaged sets have DATA only, and nothing of an earlier run is read; remove it"
_LOG = "faults and progress are read from WSClean's log; remove it"
_NO_SKY = "the image would be of other visibilities than those of the sets; remove it"
# Option -> reason that the image would contradict its recorded numbers, and remedy.
REFUSED = {
    **dict.fromkeys(("interval", "even-timesteps", "odd-timesteps", "channel-range", "spws"), f"{_SETS_BEFORE} these"),
    **dict.fromkeys(("minuvw-m", "maxuvw-m", "maxw"), _UV_RANGE),
    "baseline-averaging": "the plan has averaged as far as max_peak_smearing allows; remove it, or raise that",
    "shift": "the beam and the size are planned for the phase centre of the sets; move that with DP3 before",
    **dict.fromkeys(("continue", "subtract-model", "reuse-psf", "reuse-dirty", "reuse-primary-beam"), _FRESH),
    **dict.fromkeys(("simulate-noise", "simulate-baseline-noise"), _NO_SKY),
    "no-normalize-for-weighting": "the peak of the PSF would not be 1, nor the image in Jy/beam; remove it",
    **dict.fromkeys(("quiet", "log-time"), _LOG),
    **dict.fromkeys((*MAKES_NO_IMAGE, "dry-run", "version"), "makes no image; remove it"),
}
# Options that change the weights; the expected noise assumes Briggs' weights.
WEIGHTING = frozenset(
    ("taper-gaussian", "taper-tukey", "taper-inner-tukey", "taper-edge", "taper-edge-tukey", "super-weight")
) | {"visibility-weighting-mode", "use-weights-as-taper", "no-mf-weighting"}
# Options checked below, or by the step.
CHECKED = frozenset({"pol", "intervals-out", "intervalsout", "no-fit-beam", "parallel-deconvolution", "fits-mask"})
# Options without effect on data and numbers: computation, cleaning, extra output files.
ALLOWED = frozenset(
    (
        *("j", "mem", "abs-mem", "parallel-gridding", "parallel-reordering", "no-work-on-master", "verbose", "v"),
        *("reorder", "no-reorder", "temp-dir", "update-model-required", "no-update-model-required"),
        *("no-dirty", "save-first-residual", "save-weights", "save-uv", "save-psf-pb", "save-aterms"),
        *("save-source-list", "store-imaging-weights", "make-psf"),
        *("apply-primary-beam", "use-differential-lofar-beam", "primary-beam-limit", "mwa-path", "pb-grid-size"),
        *("beam-model", "beam-mode", "beam-normalisation-mode", "aterm-config", "grid-with-beam"),
        *("beam-aterm-update", "aterm-kernel-size", "apply-facet-solutions", "apply-facet-beam"),
        *("facet-beam-update", "facet-regions", "idg-mode", "wgridder-accuracy"),
        *("mf-weighting", "weighting-rank-filter", "weighting-rank-filter-size"),
        *("gap-channel-division", "channel-division-frequencies", "nwlayers", "nwlayers-factor", "nwlayers-for-size"),
        *("small-inversion", "no-small-inversion", "grid-mode", "kernel-size", "oversampling"),
        *("nmiter", "threshold", "auto-threshold", "auto-mask", "gain", "mgain"),
        *("local-rms", "local-rms-window", "local-rms-method", "join-polarizations", "link-polarizations"),
        *("join-channels", "spectral-correction", "no-fast-subminor", "multiscale", "multiscale-scale-bias"),
        *("multiscale-max-scales", "multiscale-scales", "multiscale-shape", "multiscale-gain"),
        *("multiscale-convolution-padding", "no-multiscale-fast-subminor", "python-deconvolution"),
        *("iuwt", "iuwt-snr-test", "no-iuwt-snr-test", "moresane-ext", "moresane-arg", "moresane-sl"),
        *("clean-border", "casa-mask", "horizon-mask", "no-negative", "negative", "stop-negative"),
        *("fit-spectral-pol", "fit-spectral-log-pol", "force-spectrum", "deconvolution-channels"),
        *("squared-channel-joining", "deconvolution-threads"),
        *("beam-size", "beam-shape", "fit-beam", "beam-fitting-size", "theoretic-beam", "circular-beam"),
        "elliptical-beam",
    )
)


def delivered_image_findings(options: Mapping[str, str]) -> list[str]:
    """Return why no image of Stokes I with a beam, that its numbers are of, would come of a pipeline; and warnings.

    ``options`` are those of the user, and the arguments of steps as ``<step>.argument.<key>``. The image is that of
    the step whose ``name`` is ``image_rootname``; without such a step all imaging steps are checked.
    """
    root, ending = options.get("image_rootname", ""), f".argument.{NAME}"
    root_names = {key.removesuffix(ending): text for key, text in options.items() if key.endswith(ending)}
    steps = [step for step, text in root_names.items() if text == root] or (list(root_names) if root else [])
    return [_located(step, line) for step in steps for line in _problems(step, options)]


def imaging_arguments(options: Mapping[str, str]) -> dict[str, list[str]]:
    """Return option -> words of the step of the delivered image; empty without one."""
    root, ending = options.get("image_rootname", ""), f".argument.{NAME}"
    steps = [key.removesuffix(ending) for key, text in options.items() if key.endswith(ending) and text == root]
    return option_words(*_arguments(steps[0], options)) if steps else {}


def _located(step: str, line: str) -> str:
    is_warning, text = line.startswith(WARNING), line.removeprefix(WARNING)
    return f"{WARNING if is_warning else ''}{step}.argument.{text}"


def _arguments(step: str, options: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the keywords and the flags of a step."""
    start = f"{step}.argument."
    keywords = {key.removeprefix(start): text for key, text in options.items() if key.startswith(start)}
    return keywords, split_list(keywords.pop("flags", ""))


def _problems(step: str, options: Mapping[str, str]) -> Iterator[str]:
    keywords, flags = _arguments(step, options)
    set_options = option_words(keywords, flags)
    yield from _contradictions(set_options, option_words({}, flags), options)
    names = polarization_names(set_options)
    if "I" not in names or not set(names) <= set("IQUV"):
        remedy = "the primary beam, the numbers and the metadata are of Stokes I; set I, or add others to it as in IQUV"
        yield f"pol: is {','.join(names)}, and {remedy}"
    for name in sorted(set(REFUSED) & set(set_options)):
        yield f"{name}: {REFUSED[name]}"
    intervals = "".join((set_options.get("intervals-out") or set_options.get("intervalsout") or ())[:1])
    if (number(intervals) or 1) > 1:
        yield f"intervals-out: is {intervals}, and one image is delivered; set 1"
    if "no-fit-beam" in set_options and OTHER_BEAMS & set(set_options) == {"no-fit-beam"}:
        yield "no-fit-beam: leaves the image without a restoring beam; remove it, or add theoretic-beam"
    side = number("".join(set_options.get("parallel-deconvolution", ())[:1]))
    if side is not None and 0 < side < LEAST_SUBIMAGE:
        yield (
            f"{WARNING}parallel-deconvolution: is {side:g}; WSClean cleans parts of so few pixels less deep: fluxes "
            f"are up to 20 % low where the image is larger; set {LEAST_SUBIMAGE} or more, or remove it"
        )
    for name in sorted(WEIGHTING & set(set_options)):
        yield f"{WARNING}{name}: changes what the visibilities weigh; the expected noise is that without it"


def _contradictions(set_options: Options, in_flags: Options, options: Mapping[str, str]) -> Iterator[str]:
    """Yield the options that differ from the corresponding pipeline option."""
    for name, pipeline_option in OF_THE_PIPELINE.items():
        if pipeline_option not in options or name not in set_options:
            continue
        text = " ".join(set_options[name])
        is_same = text == WITH_WORD.get(name, "") + options[pipeline_option] or name in OF_THE_PLAN
        if name in in_flags or not is_same:
            value = f"is '{text}'" if text else "is given"
            yield f"{name}: {value}, and other steps go by the option {pipeline_option}; set {pipeline_option}"
