"""The options of lofar-clean: one table for the command line, its help, the checks and the page in doc/.

Names, values and units are WSClean's, so that one list of arguments starts either. Each option of WSClean is in one of
three groups: used, without effect here (with a notice), or refused, because the image would be
different. Source: the help of WSClean 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lofarpipe import __version__

PROGRAM = "lofar-clean"
VERSION = f"{PROGRAM} {__version__}"
PACKAGES = ("ducc0", "numba")
INSTALL = "pip install 'genericpipeline[imager]'"
DRY_RUN = "dry-run"
DEFAULT_NAME = "wsclean"  # of the images
WSCLEAN = "https://wsclean.readthedocs.io"
STOKES = ("I", "Q", "U", "V")
GRIDDERS = ("wgridder", "tuned-wgridder", "auto")
#: Unit of an angle -> degrees.
ANGLE_UNITS = {"deg": 1.0, "amin": 1 / 60, "asec": 1 / 3600, "masec": 1e-3 / 3600, "rad": 57.29577951308232}


class ImagerOption(NamedTuple):
    """One option: its values, their domain, and its meaning.

    Attributes
    ----------
    kind: flag, integer, number, angle, choice, text, path or list.
    values: how many words it takes.
    metavar: stands for them in the help.
    lowest, highest: limits of a number.
    is_above: whether the lowest is excluded.
    unit: unit of an angle without one.
    choices: the allowed words.
    """

    name: str
    kind: str
    metavar: str
    meaning: str
    values: int = 1
    lowest: float = 0.0
    highest: float = float("inf")
    is_above: bool = False
    unit: str = "deg"
    choices: tuple[str, ...] = ()


class OptionGroup(NamedTuple):
    """Options that stand together in the help."""

    title: str
    options: tuple[ImagerOption, ...]


def _flag(name: str, meaning: str) -> ImagerOption:
    return ImagerOption(name, "flag", "", meaning, 0)


def _positive(name: str, metavar: str, meaning: str, kind: str = "number", **more: Any) -> ImagerOption:
    return ImagerOption(name, kind, metavar, meaning, is_above=True, **more)


WEIGHT_MEANING = "natural, uniform or briggs <robustness>. Default: uniform. One grid for all channels."
LOSS_MEANING = "Loss of a source at the image's edge by averaging in time; 0: none. Default: 0.01."
CHANNELS_MEANING = "Average in frequency too, by the same loss; for sets with few flagged channels."
STATIONS_MEANING = "Predict sources above this apparent flux with the beams of LOFAR's stations. Default: none."
RANK_MEANING = "Limit of a cell's weight, times the mean of the cells around it; below 1: none. Default: 3."
RANK_SIZE_MEANING = "Side of the square of these cells. Default: 16."
LAMBDA = "<lambda>"
SIGMA = "<sigma>"
NOISE = "in units of the noise."
GROUPS = (
    OptionGroup(
        "general",
        (
            _flag("version", "Print the version and exit."),
            _flag("help", "Print this help and exit."),
            _flag(DRY_RUN, "Check the command line and the packages, and exit."),
            ImagerOption("j", "integer", "<threads>", "Number of threads. Default: all cores.", lowest=1),
            _positive("mem", "<percentage>", "Memory that may be used, of that of the machine.", highest=100),
            _positive("abs-mem", "<GB>", "Memory that may be used, 10^9 bytes."),
            ImagerOption(
                "temp-dir", "path", "<directory>", "Directory of temporary files. Default: that of the images."
            ),
            _flag("update-model-required", "Write the model into MODEL_DATA of the sets. Default: it is not written."),
            _flag("no-update-model-required", "Do not write the model into the sets."),
            _flag("no-dirty", "Do not save the dirty images."),
            _flag("quiet", "Print nothing but errors."),
        ),
    ),
    OptionGroup(
        "weighting",
        (
            ImagerOption("weight", "choice", "<mode>", WEIGHT_MEANING, choices=("natural", "uniform", "briggs")),
            ImagerOption("weighting-rank-filter", "number", "<level>", RANK_MEANING),
            ImagerOption("weighting-rank-filter-size", "integer", "<cells>", RANK_SIZE_MEANING, lowest=1, highest=1000),
            _flag("mf-weighting", "Weights as of one image of all channels, as they always are here."),
            _positive("taper-gaussian", "<beamsize>", "Taper that widens the beam to this.", "angle", unit="asec"),
            ImagerOption("taper-tukey", "number", LAMBDA, "Width of a Tukey transition at the long baselines."),
            ImagerOption("taper-inner-tukey", "number", LAMBDA, "Width of a Tukey transition at the short baselines."),
            ImagerOption("taper-edge", "number", LAMBDA, "Width of a margin of the uv grid without visibilities."),
            ImagerOption("taper-edge-tukey", "number", LAMBDA, "Width of a Tukey transition inside that margin."),
        ),
    ),
    OptionGroup(
        "inversion",
        (
            ImagerOption("name", "path", "<image-prefix>", "Prefix of the names of the images. Default: wsclean."),
            ImagerOption(
                "size", "integer", "<width> <height>", "Size of the images, pixels.", 2, lowest=16, highest=100_000
            ),
            _positive("scale", "<pixel-scale>", "Size of a pixel, such as 20asec; a plain number is degrees.", "angle"),
            ImagerOption("padding", "number", "<factor>", "Decides the cells of the weights. Default: 1.2.", lowest=1),
            ImagerOption("channels-out", "integer", "<count>", "Number of output channels. Default: 1.", lowest=1),
            ImagerOption(
                "gridder", "choice", "<name>", "wgridder, the only one; auto means the same.", choices=GRIDDERS
            ),
            _flag("use-wgridder", "The same as -gridder wgridder."),
            _flag("make-psf", "Save the PSF, as is always done."),
        ),
    ),
    OptionGroup(
        "data selection",
        (
            ImagerOption("pol", "text", "<list>", "Stokes parameters, of I, Q, U and V. Default: I."),
            ImagerOption("field", "integer", "<id>", "Field to image. Default: 0."),
            ImagerOption("data-column", "text", "<name>", "Default: CORRECTED_DATA where all sets have it, else DATA."),
            ImagerOption("minuv-l", "number", LAMBDA, "Shortest uv distance, wavelengths."),
            _positive("maxuv-l", LAMBDA, "Longest uv distance, wavelengths."),
        ),
    ),
    OptionGroup(
        "deconvolution",
        (
            ImagerOption("niter", "integer", "<count>", "Components at most. Default: 0, dirty images only."),
            ImagerOption("nmiter", "integer", "<count>", "Major cycles at most; 0 means 20. Default: 8."),
            ImagerOption("threshold", "number", "<Jy>", "Clean down to this. Default: 0."),
            _positive("auto-threshold", SIGMA, f"Clean down to this, {NOISE}"),
            _positive("auto-mask", SIGMA, f"Make a mask of the pixels above this, {NOISE}"),
            _flag("local-rms", "Thresholds follow the noise of the surroundings."),
            _positive("local-rms-window", "<beams>", "Size of these surroundings. Default: 25."),
            _positive("gain", "<gain>", "Part of a peak that one component has. Default: 0.1.", highest=1),
            _flag("join-channels", "Find peaks in all channels together; needed where there are several."),
            _flag("join-polarizations", "Find peaks in sqrt(I^2 + Q^2 + U^2 + V^2)."),
            _flag("multiscale", "Clean with Gaussians of several sizes as well as points."),
            ImagerOption(
                "multiscale-scales", "list", "<list>", "Their full widths, pixels; 0: points. Default: automatic."
            ),
            ImagerOption(
                "fit-spectral-pol", "integer", "<terms>", "Components follow a polynomial in frequency.", lowest=1
            ),
            ImagerOption("fits-mask", "path", "<file>", "FITS image of the size of these, not 0 where may be cleaned."),
            _flag("save-source-list", "Save the components as a sky model, <image-prefix>-sources.txt."),
        ),
    ),
    OptionGroup(
        "of this imager alone",
        (
            ImagerOption("averaging-loss", "number", "<part>", LOSS_MEANING, highest=0.5),
            _flag("average-channels", CHANNELS_MEANING),
            _positive("station-beams", "<Jy>", STATIONS_MEANING),
        ),
    ),
)

OPTIONS: dict[str, ImagerOption] = {option.name: option for group in GROUPS for option in group.options}
OTHER_SPELLINGS = {
    "channelsout": "channels-out",
    "joinchannels": "join-channels",
    "joinpolarizations": "join-polarizations",
    "absmem": "abs-mem",
    "datacolumn": "data-column",
}

_READS_ONCE = "the sets are read once, and kept in memory or in one file"
_ACCURACY = "the accuracy follows from the noise"
_SCALES = "the scale with the largest peak is next, and needs no such number"
#: Options of WSClean without a meaning here: name -> number of values, why.
IGNORED: dict[str, tuple[int, str]] = {
    "mgain": (1, "a major cycle goes as deep as the patches of the PSF are right"),
    **dict.fromkeys(("reorder", "no-reorder"), (0, _READS_ONCE)),
    "parallel-reordering": (1, _READS_ONCE),
    "parallel-gridding": (1, "channels are gridded one after the other, by all threads"),
    "parallel-deconvolution": (1, "the minor cycle works on the pixels above its threshold, and needs no parts"),
    "deconvolution-threads": (1, "-j is for all parts"),
    "wgridder-accuracy": (1, _ACCURACY),
    **dict.fromkeys(("nwlayers", "nwlayers-factor"), (1, _ACCURACY)),
    "nwlayers-for-size": (2, _ACCURACY),
    **dict.fromkeys(("small-inversion", "no-small-inversion"), (0, "images are gridded as coarsely as holds all")),
    "baseline-averaging": (1, "baselines are always averaged, by -averaging-loss"),
    "local-rms-method": (1, "the local noise is the median of the absolute deviations"),
    "multiscale-scale-bias": (1, _SCALES),
    "multiscale-gain": (1, "-gain is for all scales"),
    "multiscale-shape": (1, "scales are Gaussians"),
    "multiscale-convolution-padding": (1, "scales are kept on coarse grids"),
    "no-multiscale-fast-subminor": (0, "there is one minor cycle"),
    "no-fast-subminor": (0, "there is one minor cycle"),
    **dict.fromkeys(("fit-beam", "elliptical-beam"), (0, "is always so")),
    "beam-fitting-size": (1, "the main lobe of the PSF above 0.3 is fitted"),
    "negative": (0, "is always so"),
    "no-work-on-master": (0, "there is no MPI"),
    **dict.fromkeys(("verbose", "v", "log-time"), (0, "there is one kind of log")),
}  # fmt: skip

_BEAM = "the primary beam is made afterwards (make_primary_beam)"
_IDG = "there is no IDG, and there are no a-terms"
_FACETS = "there are no facets"
_PART = "make sets of that part with DP3, and image these"
_WEIGHTS = "weights are those of the sets, on one grid"
_KERNEL = "the kernel is ducc0's"
_ALGORITHM = "there is one minor cycle, of points and Gaussians"
_EARLIER = "nothing of an earlier run is read"
_NOT_MADE = "it is not made"
_GIVEN_BEAM = "the restoring beam is fitted to the PSF"
_COMPONENTS = "components may have either sign, anywhere but at the edge"
#: Refused options of WSClean, incompatible or not implemented: name -> number of values, reason.
REFUSED: dict[str, tuple[int, str]] = {
    **dict.fromkeys(("use-idg", "grid-with-beam", "save-aterms"), (0, _IDG)),
    **dict.fromkeys(("idg-mode", "aterm-config", "beam-aterm-update", "aterm-kernel-size"), (1, _IDG)),
    **dict.fromkeys(("apply-primary-beam", "reuse-primary-beam", "save-psf-pb"), (0, _BEAM)),
    "use-differential-lofar-beam": (0, _BEAM),
    **dict.fromkeys(("primary-beam-limit", "mwa-path", "pb-grid-size", "beam-model", "beam-mode"), (1, _BEAM)),
    "beam-normalisation-mode": (1, _BEAM),
    "apply-facet-beam": (0, _FACETS),
    "apply-facet-solutions": (2, _FACETS),
    **dict.fromkeys(("facet-beam-update", "facet-regions"), (1, _FACETS)),
    "direct-ft": (0, "the w-gridder is right to the accuracy that the noise asks for"),
    **dict.fromkeys(("grid-mode", "kernel-size", "oversampling"), (1, _KERNEL)),
    "shift": (2, "the phase centre is that of the sets; move it with DP3 before"),
    **dict.fromkeys(("continue", "subtract-model"), (0, _EARLIER)),
    **dict.fromkeys(("reuse-psf", "reuse-dirty"), (1, _EARLIER)),
    "predict": (0, "images of an earlier run are not predicted; -update-model-required does it for a new one"),
    **dict.fromkeys(("restore", "restore-list"), (3, _EARLIER)),
    "make-psf-only": (0, "images are made as well; leave out -niter"),
    "interval": (2, _PART),
    **dict.fromkeys(("intervals-out", "intervalsout"), (1, _PART)),
    **dict.fromkeys(("even-timesteps", "odd-timesteps"), (0, _PART)),
    "channel-range": (2, _PART),
    **dict.fromkeys(("spws", "maxw", "maxuvw-m", "minuvw-m"), (1, _PART)),
    **dict.fromkeys(("gap-channel-division",), (0, "channels have equal numbers of frequencies")),
    "channel-division-frequencies": (1, "channels have equal numbers of frequencies"),
    **dict.fromkeys(("no-mf-weighting", "use-weights-as-taper", "store-imaging-weights"), (0, _WEIGHTS)),
    "no-normalize-for-weighting": (0, _WEIGHTS),
    **dict.fromkeys(("super-weight", "visibility-weighting-mode"), (1, _WEIGHTS)),
    **dict.fromkeys(("save-first-residual", "save-weights", "save-uv"), (0, _NOT_MADE)),
    **dict.fromkeys(("simulate-noise", "simulate-baseline-noise"), (1, "the image would be of other visibilities")),
    **dict.fromkeys(("iuwt", "iuwt-snr-test", "no-iuwt-snr-test"), (0, _ALGORITHM)),
    **dict.fromkeys(("moresane-ext", "moresane-arg", "moresane-sl", "python-deconvolution"), (1, _ALGORITHM)),
    "multiscale-max-scales": (1, "give -multiscale-scales instead"),
    "link-polarizations": (1, "-join-polarizations is the one joint search"),
    "squared-channel-joining": (0, "peaks are found in the weighted mean of the channels"),
    "spectral-correction": (2, "channels are weighted by their noise alone"),
    "fit-spectral-log-pol": (1, "spectra are polynomials; use -fit-spectral-pol"),
    **dict.fromkeys(("force-spectrum", "deconvolution-channels"), (1, "spectra are fitted, or free")),
    **dict.fromkeys(("casa-mask", "horizon-mask"), (1, "use -fits-mask")),
    "clean-border": (1, _COMPONENTS),
    **dict.fromkeys(("no-negative", "stop-negative"), (0, _COMPONENTS)),
    "beam-size": (1, _GIVEN_BEAM),
    "beam-shape": (3, _GIVEN_BEAM),
    **dict.fromkeys(("no-fit-beam", "theoretic-beam", "circular-beam"), (0, _GIVEN_BEAM)),
}  # fmt: skip


def missing_imager_packages() -> list[str]:
    """Return the missing packages of the imager."""
    from importlib.util import find_spec

    return [name for name in PACKAGES if find_spec(name) is None]


def value_counts() -> dict[str, int]:
    """Return how many values each option takes."""
    own_counts = {option.name: option.values for option in OPTIONS.values()}
    others = {name: count for name, (count, _) in (IGNORED | REFUSED).items()}
    return own_counts | others | {old: own_counts[new] for old, new in OTHER_SPELLINGS.items()}


def help_text(version: str) -> str:
    """Return the text of -help."""
    lines = [
        version,
        "Makes cleaned images of measurement sets, with the options and the file names of WSClean.",
        "",
        "Syntax: lofar-clean [options] <set> [<set> ...]",
    ]
    for group in GROUPS:
        lines += ["", f"  ** {group.title.upper()} **"]
        for option in group.options:
            lines += [f"-{option.name} {option.metavar}".rstrip(), f"   {option.meaning}"]
    lines += ["", "Accepted, and without a meaning here:", *_wrapped(IGNORED)]
    lines += ["", f"Refused; WSClean ({WSCLEAN}) has them:", *_wrapped(REFUSED)]
    return "\n".join(lines)


def table_rows() -> list[str]:
    """Return the options as rows of the table in doc/imager.md."""
    return [
        f"| `-{one.name}` | {f'`{one.metavar}`' if one.metavar else ''} | {one.meaning} |" for one in OPTIONS.values()
    ]


def answer(words: Sequence[str]) -> bool:
    """Print help or version if requested by the first word; return whether it was."""
    first = words[0].lstrip("-") if words and words[0].startswith("-") else ""
    if first not in ("help", "h", "version") and words:
        return False
    print(VERSION if first == "version" else help_text(VERSION))
    return True


WIDTH = 118


def _wrapped(names: Mapping[str, object]) -> list[str]:
    lines = [" "]
    for name in sorted(names):
        if len(lines[-1]) + len(name) + 2 > WIDTH:
            lines.append(" ")
        lines[-1] += f" -{name}"
    return lines


def option_findings(words_by_option: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the problems of options (option -> words); each text begins with the option."""
    findings = []
    for typed, words in words_by_option.items():
        name = OTHER_SPELLINGS.get(typed, typed)
        if name in REFUSED:
            findings.append(_refusal(name, REFUSED[name][1]))
        elif name in OPTIONS:
            findings += _value_findings(OPTIONS[name], words)
        elif name not in IGNORED:
            from lofarpipe.errors import nearest

            findings.append(f"-{typed}: no such option{nearest(typed, [*OPTIONS, *IGNORED, *REFUSED])}")
    return findings + (
        []
        if findings
        else _combination_findings({OTHER_SPELLINGS.get(name, name): words for name, words in words_by_option.items()})
    )


def _refusal(name: str, reason: str) -> str:
    return f"-{name}: {reason}; remove it, or use WSClean ({WSCLEAN})"


def notices(words_by_option: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a notice for each option without effect, with the reason."""
    return [f"-{name} has no effect: {IGNORED[name][1]}" for name in words_by_option if name in IGNORED]


def _value_findings(option: ImagerOption, words: Sequence[str]) -> list[str]:
    if option.kind == "flag":
        return []
    if len(words) < option.values or not all(words[: option.values]):
        return [f"-{option.name}: takes {option.metavar}, and has '{' '.join(words)}'"]
    expectation = _expectation(option)
    if all(_is_value(option, word) for word in words[: option.values]) and _is_weight(option, words):
        return []
    return [f"-{option.name} is '{' '.join(words[: option.values])}'; {expectation} is needed"]


def _is_weight(option: ImagerOption, words: Sequence[str]) -> bool:
    """Whether Briggs' weighting has a robustness."""
    return option.name != "weight" or words[0].lower() != "briggs" or _number(" ".join(words[1:2])) is not None


def _is_value(option: ImagerOption, word: str) -> bool:
    if option.name == "pol":
        return bool(polarizations(word))
    if option.kind == "choice":
        return word.lower() in option.choices
    if option.kind in ("text", "path"):
        return bool(word)
    if option.kind == "list":
        numbers = [_number(part) for part in word.split(",")]
        return all(number is not None and number >= 0 for number in numbers)
    number = angle_deg(word, option.unit) if option.kind == "angle" else _number(word)
    if number is None or (option.kind == "integer" and number != int(number)):
        return False
    low = number > option.lowest if option.is_above else number >= option.lowest
    return low and number <= option.highest


def _expectation(option: ImagerOption) -> str:
    if option.name == "weight":
        return "natural, uniform or briggs with a number such as 'briggs 0'"
    if option.name == "pol":
        return "some of I, Q, U and V, such as I or IQUV (others: use WSClean),"
    if option.kind == "choice":
        return f"one of {', '.join(option.choices)} (others: use WSClean)"
    if option.kind == "list":
        return "numbers >= 0 joined by commas"
    noun = {"integer": "an integer", "angle": "an angle such as 7.5asec or 0.002"}.get(option.kind, "a number")
    high = f" and <= {option.highest:g}" if option.highest < float("inf") else ""
    return f"{noun} {'>' if option.is_above else '>='} {option.lowest:g}{high}"


def _combination_findings(words_by_option: Mapping[str, Sequence[str]]) -> list[str]:
    """Return findings for options that need or contradict others."""
    findings = [
        f"-{name} is missing; give {OPTIONS[name].metavar}" for name in ("size", "scale") if name not in words_by_option
    ]
    channels = int(option_number(words_by_option, "channels-out", 1))
    if channels > 1 and "join-channels" not in words_by_option:
        advice = f"add -join-channels, or use WSClean ({WSCLEAN})"
        findings.append(f"-channels-out is {channels}: all are cleaned together here; {advice}")
    low, high = option_number(words_by_option, "minuv-l"), option_number(words_by_option, "maxuv-l")
    if high and low >= high:
        findings.append(f"-minuv-l is {low:g} and -maxuv-l {high:g} wavelengths; the first must be smaller")
    if {"save-source-list", "multiscale"} <= words_by_option.keys():
        findings.append(
            f"-save-source-list: the list has points only; remove it, or -multiscale, or use WSClean ({WSCLEAN})"
        )
    if "station-beams" in words_by_option and polarizations("".join(words_by_option.get("pol", ["I"])[:1])) != ("I",):
        findings.append("-station-beams is for Stokes I alone; remove it, or give -pol I")
    threshold, mask = option_number(words_by_option, "auto-threshold"), option_number(words_by_option, "auto-mask")
    if mask and threshold >= mask:
        findings.append(f"-auto-threshold is {threshold:g}, and -auto-mask {mask:g}; the first must be smaller")
    if {"update-model-required", "no-update-model-required"} <= words_by_option.keys():
        findings.append("-update-model-required: -no-update-model-required is there as well; remove one")
    return findings


def polarizations(text: str) -> tuple[str, ...]:
    """Return the Stokes parameters in a text such as ``IQUV`` or ``i,q``; () for an invalid text."""
    names = tuple(dict.fromkeys(text.upper().replace(",", "").replace(" ", "")))
    return tuple(name for name in STOKES if name in names) if set(names) <= set(STOKES) else ()


def option_number(words_by_option: Mapping[str, Sequence[str]], name: str, default: float = 0.0) -> float:
    """Return the number of an option; ``default`` if unset."""
    number = _number("".join(words_by_option.get(name, ())[:1]))
    return default if number is None else number


def angle_deg(text: str, unit: str = "deg") -> float | None:
    """Return an angle such as ``7.5asec`` in degrees; plain numbers are in ``unit``; None for other texts."""
    letters = text.lstrip("+-.0123456789")
    if letters[:1] in ("e", "E") and letters[1:2] in "+-0123456789":  # an exponent
        letters = letters[1:].lstrip("+-0123456789")
    factor = ANGLE_UNITS.get(letters.replace("arc", "a") or unit)
    number = _number(text.removesuffix(letters) if letters else text)
    return None if factor is None or number is None else number * factor


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
