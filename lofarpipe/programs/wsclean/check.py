"""What WSClean would refuse, found before the first job: unknown options, values out of range, gridders not there."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from lofarpipe.errors import Suggestions
from lofarpipe.programs.wsclean.arguments import BOOLEANS, flag_name, given_options, number, without_flags, words
from lofarpipe.programs.wsclean.build import GRIDDER_FLAGS, WSCleanBuild, run_briefly
from lofarpipe.programs.wsclean.gridder import BEAM_FLAGS, gridder_findings
from lofarpipe.programs.wsclean.options import combination_findings, settle_flags, value_findings

MOST_REFUSALS = 8  # WSClean names one at a time; so often it is asked again


@dataclass(frozen=True)
class Range:
    """The numbers that an option takes, limits included unless ``above`` is set."""

    lowest: float
    highest: float = float("inf")
    above: bool = False
    integer: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value is one of them."""
        low = value > self.lowest if self.above else value >= self.lowest
        return low and value <= self.highest and (not self.integer or value == int(value))

    def __str__(self) -> str:
        noun = "an integer" if self.integer else "a number"
        high = f" and <= {self.highest:g}" if self.highest < float("inf") else ""
        return f"{noun} {'>' if self.above else '>='} {self.lowest:g}{high}"


# Options for which WSClean 3.1 takes any value, or complains only after the sets were read.
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

    Values that are not known yet are left out by the caller. What remains is also shown to WSClean itself
    (``-dry-run``), which reads its arguments and ends; no measurement set is opened.
    """
    booleans = {name for name, text in keywords.items() if text in BOOLEANS}
    keywords, positionals = settle_flags(keywords, positionals, build)
    wrong_values = value_findings(keywords, positionals, build)
    options = given_options(keywords, positionals)
    unknown = _unknown_options(options, build)
    suggested = Suggestions()
    findings = [f"-{name}: {build.name} has no such option{suggested.nearest(name, build.options)}" for name in unknown]
    findings += gridder_findings(options, build, gpus)
    findings += _beam_findings(options, build)
    out_of_range = _range_findings({name: given for name, given in options.items() if name not in booleans})
    wrong = {**wrong_values, **out_of_range, **({"size": size} if (size := _size_finding(options)) else {})}
    findings += [*wrong.values(), *_uv_findings(options, wrong)]
    findings += combination_findings(options)
    settled = {*unknown, *wrong, "gridder", "idg-mode", *BEAM_FLAGS}
    return findings + _dry_run_findings(keywords, positionals, build, settled)


def _unknown_options(options: Mapping[str, Sequence[str]], build: WSCleanBuild) -> list[str]:
    """Return the options that neither ``--help`` nor the program knows; some old spellings are not in ``--help``."""
    suspects = [name for name in options if name not in {*build.options, "gridder", "idg-mode", *GRIDDER_FLAGS}]
    return [name for name in suspects if _is_unknown(name, build)]


def has_option(name: str, build: WSCleanBuild) -> bool:
    """Return whether a build knows the option ``-name``, also one that only this package spells."""
    return not _unknown_options({name: ()}, build)


def _is_unknown(name: str, build: WSCleanBuild) -> bool:
    if "dry-run" not in build.options or not flag_name(f"-{name}"):
        return True
    return f"Unknown parameter: {name}" in run_briefly(build.path, ["-dry-run", f"-{name}"])[1]


def _beam_findings(options: Mapping[str, Sequence[str]], build: WSCleanBuild) -> list[str]:
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


def _range_findings(options: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return option -> finding for every number that is missing or out of range."""
    findings = {}
    for name, allowed in RANGES.items():
        if name in options:
            text = "".join(options[name][:1])
            value = number(text)
            if value is None or not allowed.holds(value):
                findings[name] = f"-{name} is '{text}'; {allowed} is needed"
    return findings


def _size_finding(options: Mapping[str, Sequence[str]]) -> str:
    """Return what is wrong with the image size; "" if nothing is."""
    size = options.get("size", ["1", "1"])[:2]
    if len(size) == 2 and all(text.isdecimal() and int(text) > 0 for text in size):
        return ""
    return f"-size is '{' '.join(size)}'; width and height in pixels are needed, such as 3000 3000"


def _uv_findings(options: Mapping[str, Sequence[str]], settled: Container[str]) -> list[str]:
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
    """Return what the program itself refuses; an option that it refuses is taken away, and it is asked again."""
    if "dry-run" not in build.options:
        return []
    left = {key: value for key, value in keywords.items() if key not in {*settled, *GRIDDER_FLAGS}}
    flags = without_flags(positionals, settled - set(BEAM_FLAGS), {*GRIDDER_FLAGS, *BEAM_FLAGS})
    findings: list[str] = []
    for _ in range(MOST_REFUSALS):
        said = _refusal(left, flags, build)
        if not said:
            return findings
        culprits = _culprits(said, left, flags, build)
        findings.append("".join(f"-{key} {left[key]}: " for key in culprits) + f"{build.name} refuses: {said}")
        if not culprits:
            return findings
        left = {key: value for key, value in left.items() if key not in culprits}
    return findings


def _culprits(said: str, keywords: Mapping[str, str], flags: Sequence[str], build: WSCleanBuild) -> list[str]:
    """Return the option that a refusal names, else the first without which the program says something else."""
    named = [key for key in keywords if re.search(rf"-{re.escape(key)}(?![\w-])", said)]
    if named:
        return named[:1]
    others = ({k: v for k, v in keywords.items() if k != key} for key in keywords)
    changing = (key for key, rest in zip(keywords, others, strict=True) if _refusal(rest, flags, build) != said)
    return list(islice(changing, 1))


def _refusal(keywords: Mapping[str, str], flags: Sequence[str], build: WSCleanBuild) -> str:
    """Return what the program says to these arguments; empty if it takes them."""
    arguments = [part for key, value in keywords.items() for part in (f"-{key}", *(words(key, value) or [""]))]
    files = ["none.ms"] if not flags or flag_name(flags[-1]) else []
    code, output = run_briefly(build.path, ["-dry-run", *arguments, *flags, *files])
    said = re.findall(r"^\+? ?>>> ?(.*)$", output, re.MULTILINE)
    return " ".join(said) if code else ""
