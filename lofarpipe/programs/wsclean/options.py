"""WSClean's options by its help: flags and values, lists of numbers, files, required combinations."""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lofarpipe.programs.argv import PATHS
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import files_of

# Keyword values of flags: set, or not set.
BOOLEANS = {"True": True, "true": True, "False": False, "false": False}
NOT_GIVEN = "none"  # keywords with this value are left out
_FLAG = lazy_pattern(r"--?([A-Za-z][\w-]*)")
_NUMBER = lazy_pattern(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def flag_name(argument: str) -> str:
    """Return an option's name, without dashes; "" for a value or a file."""
    match = _FLAG.fullmatch(argument)
    return match[1] if match else ""


def words(key: str, value: str) -> list[str]:
    """Return the words of a keyword's value: one per list element, a single one for a path."""
    if key in PATHS:
        return [value] if value else []
    is_list = value.startswith("[") and value.endswith("]")
    return [part for text in (files_of(value) if is_list else [value]) for part in text.split()]


def active_keywords(keywords: Mapping[str, str]) -> dict[str, str]:
    """Return the keywords, without those of value none."""
    return {key: value for key, value in keywords.items() if value != NOT_GIVEN}


def option_words(keywords: Mapping[str, str], positionals: Sequence[str]) -> dict[str, list[str]]:
    """Return option -> the words after it; those of the last flag may be measurement sets.

    A keyword with the value True has no words; a keyword of False is dropped, also from the positionals.
    """
    keywords = active_keywords(keywords)
    options = {key: words(key, value) for key, value in keywords.items() if value not in BOOLEANS}
    options |= {key: [] for key, value in keywords.items() if BOOLEANS.get(value)}
    current: list[str] = []
    for argument in positionals:
        name = flag_name(argument)
        if name:
            current = options[name] = []
        else:
            current.append(argument)
    return {name: values for name, values in options.items() if BOOLEANS.get(keywords.get(name, ""), True)}


def remove_flags(positionals: Iterable[str], valued: Iterable[str], single: Iterable[str]) -> list[str]:
    """Return the positionals without the flags ``single``, and without the flags ``valued`` and the word after each."""
    valued, single = set(valued), set(single)
    remaining: list[str] = []
    skip_next = False
    for argument in positionals:
        if skip_next:
            skip_next = False
        elif flag_name(argument) in valued:
            skip_next = True
        elif flag_name(argument) not in single:
            remaining.append(argument)
    return remaining


def number(text: str) -> float | None:
    """Return the number at the start of a word such as ``7.5asec``, or None."""
    match = _NUMBER.match(text)
    return float(match[0]) if match else None


POLARISATIONS = ("XX", "XY", "YX", "YY", "RR", "RL", "LR", "LL", "I", "Q", "U", "V")
WEIGHTS = {"natural": 1, "uniform": 1, "briggs": 2}  # -weight, and how many words it is
NUMBER_LISTS = ("multiscale-scales", "channel-division-frequencies")
# Option -> how many of its words name a file or directory that WSClean reads.
FILES = {
    **dict.fromkeys(("fits-mask", "casa-mask", "aterm-config", "facet-regions", "force-spectrum", "mwa-path"), 1),
    **dict.fromkeys(("simulate-baseline-noise", "python-deconvolution", "apply-facet-solutions", "moresane-ext"), 1),
    **dict.fromkeys(("restore", "restore-list"), 2),
}
OVER_THE_IMAGE = ("fits-mask", "force-spectrum")  # FITS files as large as the image
# Options for the name prefix of input images -> pattern of the suffixes.
PREFIXES = {"reuse-psf": "*-psf.fits", "reuse-dirty": "*-dirty.fits"}
SPECTRAL_FITS = frozenset({"fit-spectral-pol", "fit-spectral-log-pol"})
JOINT_POLARIZATIONS = frozenset({"join-polarizations", "joinpolarizations", "link-polarizations"})
JOINED_CHANNELS = frozenset({"join-channels", "joinchannels"})
LOCAL_RMS = frozenset({"local-rms", "local-rms-window", "local-rms-method"})  # each one switches local rms on
DEFAULT_PADDING = 1.2
SMALLEST_GRID = 40  # pixels, padded
MAKES_NO_IMAGE = frozenset({"predict", "restore", "restore-list", "make-psf-only"})
OTHER_BEAMS = frozenset({"beam-size", "beam-shape", "theoretic-beam", "no-fit-beam"})  # not fitted to the PSF

Options = Mapping[str, Sequence[str]]
ValueCounts = Mapping[str, int]  # option -> number of values by WSClean's help; 0 for a flag


def settle_flags(
    keywords: Mapping[str, str], positionals: Sequence[str], value_counts: ValueCounts
) -> tuple[dict[str, str], list[str]]:
    """Return the keywords with values, and the positionals with True flags and without False ones.

    An option not in the help counts as a flag if its text is True or False.
    """
    keywords = active_keywords(keywords)
    flags = {name: BOOLEANS[text] for name, text in keywords.items() if text in BOOLEANS and not value_counts.get(name)}
    valued = {name: text for name, text in keywords.items() if name not in flags}
    off = [name if not is_on else opposite(name) for name, is_on in flags.items()]
    rest = remove_flags(positionals, [], off)
    return valued, [*(f"-{name}" for name, is_on in flags.items() if is_on), *rest]


def opposite(name: str) -> str:
    """Return the opposite of a flag, whether or not WSClean has it."""
    return name.removeprefix("no-") if name.startswith("no-") else f"no-{name}"


def value_findings(
    keywords: Mapping[str, str], positionals: Sequence[str], value_counts: ValueCounts
) -> dict[str, str]:
    """Return option -> finding for flags with a value, and options with too few or too many values."""
    findings = {name: _count_finding(name, words(name, text), value_counts) for name, text in keywords.items()}
    in_flags = option_words({}, positionals)
    for place, (name, following) in enumerate(in_flags.items()):
        needed = _needed(name, following, value_counts)
        is_last = place == len(in_flags) - 1  # its values are followed by measurement sets
        findings[name] = _count_finding(name, following[:needed] if is_last else following, value_counts)
    lists = [name for name in NUMBER_LISTS if keywords.get(name) and not findings[name]]
    findings |= {name: _list_finding(name, keywords[name]) for name in lists}
    findings |= _stray_finding(positionals)
    return {name: finding for name, finding in findings.items() if finding}


def _needed(name: str, values: Sequence[str], value_counts: ValueCounts) -> int | None:
    """Return the number of an option's values; None if unknown."""
    if name == "weight" and values:
        return WEIGHTS.get(values[0].lower())
    return value_counts.get(name)


def _count_finding(name: str, values: Sequence[str], value_counts: ValueCounts) -> str:
    needed = _needed(name, values, value_counts)
    if needed is None:
        return ""
    text = " ".join(values)
    if needed == 0:
        return f"-{name} is '{text}', and it is a flag, which takes no value; set it to True or False" if values else ""
    if needed == 1 and text in BOOLEANS:
        return f"-{name} is '{text}', and it takes a value, not {text}; give the value, or remove it"
    if len(values) == needed:
        return ""
    has = f"has {len(values)}: '{text}'" if values else "has none"
    advice = f"; several in one are joined by commas: {','.join(values)}" if needed == 1 and len(values) > 1 else ""
    return f"-{name} takes {needed} value{'s' if needed > 1 else ''}, and {has}{advice}"


def _list_finding(name: str, text: str) -> str:
    parts = [number(part) for part in text.split(",")]
    if all(part is not None and math.isfinite(part) and part >= 0 for part in parts):
        return ""
    return f"-{name} is '{text}'; numbers >= 0 joined by commas are needed"


def _stray_finding(positionals: Sequence[str]) -> dict[str, str]:
    """Return the first flag after a non-option, where WSClean takes the rest for measurement sets."""
    names = list(map(flag_name, positionals))
    if not names or names[0] or not any(names):
        return {}
    first = next(name for name in names if name)
    return {
        first: f"-{first}: '{positionals[0]}' stands before it, and WSClean takes all behind that for sets; put it last"
    }


def combination_findings(options: Options) -> list[str]:
    """Return findings for options that require missing ones.

    Source: WSClean 3.1, which reports it after opening the measurement sets.
    """
    findings = []
    fits = sorted(SPECTRAL_FITS & set(options))
    if fits and not JOINED_CHANNELS & set(options):
        findings.append(f"-{fits[0]} fits joined channels only; add -join-channels")
    if "deconvolution-channels" in options and not fits:
        findings.append("-deconvolution-channels needs a spectral fit; add -fit-spectral-pol")
    if "save-source-list" in options and "niter" in options and not first_number(options, "niter"):
        findings.append("-save-source-list: niter is 0, and a list is made by cleaning; set niter, or remove it")
    threshold, mask = (first_number(options, name) for name in ("auto-threshold", "auto-mask"))
    if mask and threshold >= mask:
        findings.append(f"-auto-threshold is {threshold:g}, and -auto-mask {mask:g}; the first must be smaller")
    if "save-source-list" in options and JOINED_CHANNELS & set(options) and not fits:
        findings.append("-save-source-list of several channels needs a spectral fit; add -fit-spectral-pol")
    return findings + (_polarization_findings(options) if "pol" in options else [])


def _polarization_findings(options: Options) -> list[str]:
    findings = []
    names = polarization_names(options)
    joint = sorted(JOINT_POLARIZATIONS & set(options))
    if joint and len(names) == 1:
        findings.append(f"-{joint[0]}: pol is {names[0]}, one polarization; add others to pol, or remove it")
    linked = [name for name in _split(options.get("link-polarizations", ())[:1]) if name not in names]
    if linked and len(names) > 1:
        findings.append(f"-link-polarizations: {linked[0]} is not among pol, {','.join(names)}; add it there")
    if "save-source-list" in options and names != ["I"]:
        findings.append(f"-save-source-list: pol is {','.join(names)}, and the list is of Stokes I; set pol = I")
    return findings


def added_flags(options: Options, version: tuple[int, ...], with_idg: bool) -> tuple[list[str], list[str]]:
    """Return the flags that a build needs to avoid a failure or an image without a beam, with notices."""
    added = []
    cleans = bool(first_number(options, "niter"))
    wants_beam = "niter" in options or "fit-beam" in options
    if wants_beam and not cleans and not MAKES_NO_IMAGE & set(options) and not OTHER_BEAMS & set(options):
        added.append(("-make-psf", "niter is 0, so WSClean would make no PSF, and not know the beam"))
    is_joined = bool(JOINED_CHANNELS & set(options)) and first_number(options, "channels-out") != 1
    names = polarization_names(options)
    if cleans and len(names) > 1 and (is_joined or with_idg) and not JOINT_POLARIZATIONS & set(options):
        reason = "IDG" if with_idg else "joined channels"
        added.append(
            ("-join-polarizations", f"pol is {','.join(names)}, which WSClean with {reason} cleans jointly only")
        )
    # Source: 3.1, 48 sizes: with one side within 32 pixels, and the other gridded coarser, it is killed by a signal.
    size = [number(text) or 0.0 for text in options.get("size", ())[:2]]
    padding = first_number(options, "padding") or DEFAULT_PADDING
    if len(size) == 2 and min(size) * padding < SMALLEST_GRID and "small-inversion" not in options:
        added.append(("-no-small-inversion", "WSClean may crash where it grids images of so few pixels even coarser"))
    # Source: 3.1 with every kind of local rms, 11 of 11 ended by SIGABRT or SIGSEGV.
    if version == (3, 1, 0) and "multiscale" in options and LOCAL_RMS & set(options):
        added.append(("-no-multiscale-fast-subminor", "WSClean 3.1 crashes with -multiscale and -local-rms"))
    added = [(flag, cause) for flag, cause in added if flag[1:] not in options]
    return [flag for flag, _ in added], [f"{cause}: {flag} is added" for flag, cause in added]


def first_number(options: Options, name: str, default: float = 0.0) -> float:
    """Return the number of an option, or a default."""
    value = number("".join(options.get(name, ())[:1]))
    return default if value is None else value


def polarization_names(options: Options) -> list[str]:
    """Return the imaged polarizations, such as [I, Q, U, V]; the default is I."""
    return _split(options.get("pol", ())[:1]) or ["I"]


def unknown_polarizations(options: Options) -> str:
    """Return a finding for unknown polarizations; for a single one WSClean makes no image, and exits with 0.

    "" if all are known.
    """
    text = "".join(options.get("pol", ["I"])[:1])
    if text and not re.sub("|".join(POLARISATIONS), "", text.upper()).strip(", "):
        return ""
    return f"-pol is '{text}'; polarizations are needed, such as I, IQUV or XX,YY"


def _split(items: Iterable[str]) -> list[str]:
    """Return the names in a list such as ``IQUV``, ``xx,yy`` or ``XXYY``."""
    return re.findall("|".join(POLARISATIONS), "".join(items).upper())


def missing_files(options: Options, workdir: Path) -> list[tuple[str, str]]:
    """Return (name, finding) for each input file of the options that is missing from ``workdir``."""
    return [
        (name, f"-{option}: there is no {workdir / name}{pattern}; name one that exists, or remove it")
        for option, name, pattern in _named_files(options)
        if name not in BOOLEANS and not _exists(workdir / name, pattern)
    ]


def _named_files(options: Options) -> Iterator[tuple[str, str, str]]:
    """Yield (option, name, pattern of the name's suffix) for the input files of the options."""
    for option, count in FILES.items():
        for text in options.get(option, ())[:count]:
            names = text.split(",") if option == "apply-facet-solutions" else [text]
            yield from ((option, name, "") for name in names)
    for option, pattern in PREFIXES.items():
        yield from ((option, prefix, pattern) for prefix in options.get(option, ())[:1])


def _exists(path: Path, pattern: str) -> bool:
    """Whether a file exists, or one with a matching suffix."""
    return any(path.parent.glob(glob.escape(path.name) + pattern)) if pattern else path.exists()
