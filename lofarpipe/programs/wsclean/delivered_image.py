"""The image that an imaging pipeline delivers: what WSClean's options would do to it that its numbers do not say.

Every option of WSClean is in one of the classes below (tests/programs/wsclean/test_delivered_image.py). Another step
that runs WSClean may have any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lofarpipe.errors import WARNING
from lofarpipe.programs.wsclean.arguments import given_options, number
from lofarpipe.programs.wsclean.options import MAKES_NO_IMAGE, OTHER_BEAMS, polarization_names
from lofarpipe.support.parset import split_list

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
OF_THE_PLAN = frozenset({"size", "channels-out"})  # values of maps, which the step itself looks at
# Source: 3.1 by hand on 256 x 256 pixels in parts of 32, 64 and 128: fluxes 0.80 to 1.13 of those without parts.
LEAST_SUBIMAGE = 1000  # pixels
WITH_WORD = {"weight": "briggs "}  # before the value of the pipeline's option

_SETS_BEFORE = (
    "exposure, noise and metadata are those of all data of the sets; make sets of that part with DP3, and image"
)
_UV_RANGE = "the plan and the noise know of minlambda_highres and maxlambda_highres only; set these"
_FRESH = "the averaged sets have DATA only, and nothing of an earlier run is read; remove it"
_LOG = "faults and progress are read from WSClean's log; remove it"
_NO_SKY = "the image would be of other visibilities than those of the sets; remove it"
# Option -> why the image would not be that of the sets as its numbers have it, and what to do.
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
# They change what visibilities weigh; the expected noise is that of Briggs' weights.
WEIGHTING = frozenset(
    ("taper-gaussian", "taper-tukey", "taper-inner-tukey", "taper-edge", "taper-edge-tukey", "super-weight")
) | {"visibility-weighting-mode", "use-weights-as-taper", "no-mf-weighting"}
# Those that are looked at below, or by the step itself.
CHECKED = frozenset({"pol", "intervals-out", "intervalsout", "no-fit-beam", "parallel-deconvolution", "fits-mask"})
# They make neither other data nor other numbers: how it is computed and cleaned, and what is written beside the image.
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

Options = Mapping[str, Sequence[str]]


def delivered_image_findings(options: Mapping[str, str]) -> list[str]:
    """Return why no image of Stokes I with a beam, that its numbers are of, would come of a pipeline; and warnings.

    ``options`` are those of the user, and the arguments of steps as ``<step>.argument.<key>``. The image is that of
    the step which is given ``image_rootname`` as a name; where none is, it is asked for.
    """
    root, ending = options.get("image_rootname", ""), f".argument.{NAME}"
    named = {key.removesuffix(ending): text for key, text in options.items() if key.endswith(ending)}
    steps = [step for step, text in named.items() if text == root] or (list(named) if root else [])
    return [_located(step, line) for step in steps for line in _problems(step, options)]


def imaging_arguments(options: Mapping[str, str]) -> dict[str, list[str]]:
    """Return option -> words of the step that makes the delivered image; empty where there is none."""
    root, ending = options.get("image_rootname", ""), f".argument.{NAME}"
    steps = [key.removesuffix(ending) for key, text in options.items() if key.endswith(ending) and text == root]
    return given_options(*_arguments(steps[0], options)) if steps else {}


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
    given = given_options(keywords, flags)
    yield from _contradictions(given, given_options({}, flags), options)
    names = polarization_names(given)
    if "I" not in names or not set(names) <= set("IQUV"):
        what = "the primary beam, the numbers and the metadata are of Stokes I; set I, or add others to it as in IQUV"
        yield f"pol: is {','.join(names)}, and {what}"
    for name in sorted(set(REFUSED) & set(given)):
        yield f"{name}: {REFUSED[name]}"
    intervals = "".join((given.get("intervals-out") or given.get("intervalsout") or ())[:1])
    if (number(intervals) or 1) > 1:
        yield f"intervals-out: is {intervals}, and one image is delivered; set 1"
    if "no-fit-beam" in given and OTHER_BEAMS & set(given) == {"no-fit-beam"}:
        yield "no-fit-beam: leaves the image without a restoring beam; remove it, or add theoretic-beam"
    side = number("".join(given.get("parallel-deconvolution", ())[:1]))
    if side is not None and 0 < side < LEAST_SUBIMAGE:
        yield (
            f"{WARNING}parallel-deconvolution: is {side:g}; WSClean cleans parts of so few pixels less deep: fluxes "
            f"are up to 20 % low where the image is larger; set {LEAST_SUBIMAGE} or more, or remove it"
        )
    for name in sorted(WEIGHTING & set(given)):
        yield f"{WARNING}{name}: changes what the visibilities weigh; the expected noise is that without it"


def _contradictions(given: Options, in_flags: Options, options: Mapping[str, str]) -> Iterator[str]:
    """Yield the options that the pipeline has one for, where they are other than that."""
    for name, own in OF_THE_PIPELINE.items():
        if own not in options or name not in given:
            continue
        text = " ".join(given[name])
        is_same = text == WITH_WORD.get(name, "") + options[own] or name in OF_THE_PLAN
        if name in in_flags or not is_same:
            value = f"is '{text}'" if text else "is given"
            yield f"{name}: {value}, and other steps go by the option {own}; set {own}"
