"""The installed WSClean: its version, its libraries, and its options."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.plan.fft_size import SMALLEST_IDG_SIDE
from lofarpipe.programs.container import is_launcher
from lofarpipe.programs.find import quiet_environment
from lofarpipe.programs.logs import explained
from lofarpipe.programs.wsclean.log import MESSAGES
from lofarpipe.programs.wsclean.options import Options, flag_name, number
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

ANSWER_TIMEOUT_S = 60
QUESTIONS = ("-version", "-help")  # tried after the forms with two dashes, which container engines read themselves
# Gridders, and their flags before -gridder (3.2); w-stacking was the default then.
OLD_FLAGS = {"idg": "use-idg", "wgridder": "use-wgridder", "direct-ft": "direct-ft", "wstacking": ""}
NEW_GRIDDERS = (*OLD_FLAGS, "tuned-wgridder")
GRIDDER_FLAGS = frozenset(flag for flag in OLD_FLAGS.values() if flag)

_VERSION = lazy_pattern(r"WSClean version (\d+(?:\.\d+)*)")
_PART = lazy_pattern(r"^\s*(EveryBeam|IDG|WGridder)\b(?!.*\bnot\b).*\bavailable", re.MULTILINE)
_HELP_LINE = lazy_pattern(r"^-.*", re.MULTILINE)
_METAVARIABLE = lazy_pattern(r"<[^>]*>|\[[^\]]*\]")
_OPTION = lazy_pattern(rf"(?:^|(?<=[\s(]))-([A-Za-z][\w-]*)((?:\s+(?:{_METAVARIABLE.pattern}))*)")
# Options with a value that the help does not mention. Source: WSClean 3.1, every option tried.
VALUE_NOT_IN_HELP = (
    *("beam-model", "beam-mode", "beam-normalisation-mode"),
    *("local-rms-window", "local-rms-method", "multiscale-scale-bias"),
)


@dataclass(frozen=True)
class WSCleanBuild:
    """One WSClean program: ``version`` as (3, 1, 0), and ``options`` without their dash, as ``--help`` lists them.

    ``value_counts`` is option -> number of values; 0 for a flag.
    """

    path: Path
    version: tuple[int, ...]
    has_idg: bool
    has_everybeam: bool
    has_wgridder: bool
    options: frozenset[str]
    value_counts: Mapping[str, int]

    @property
    def name(self) -> str:
        """Path and version, as a message names the program."""
        return f"{self.path} (WSClean {'.'.join(map(str, self.version))})"

    @property
    def has_gridder_option(self) -> bool:
        """Whether the gridder is chosen by ``-gridder``, as in 3.2 and later, and not by ``-use-idg``."""
        return "gridder" in self.options

    @property
    def gridders(self) -> tuple[str, ...]:
        """The gridders that this build has, by their names of 3.2 and later."""
        names = NEW_GRIDDERS if self.has_gridder_option else tuple(OLD_FLAGS)
        missing = {"idg": not self.has_idg, "wgridder": not self.has_wgridder, "tuned-wgridder": not self.has_wgridder}
        return tuple(gridder for gridder in names if not missing.get(gridder))


def describe_build(path: str | Path) -> WSCleanBuild:
    """Return the output of ``--version`` and ``--help`` of a WSClean program; run once for each state of the file.

    Raises
    ------
    PipelineError
        If the program cannot be started, fails, or does not answer as WSClean does.
    """
    try:
        changed_ns = Path(path).stat().st_mtime_ns
    except OSError as err:
        raise PipelineError(f"{path}: cannot be run: {err.strerror}; install WSClean, or correct the path") from err
    return _describe(Path(path), changed_ns)


@functools.cache
def _describe(path: Path, changed_ns: int) -> WSCleanBuild:  # noqa: ARG001 - a replaced program is queried again
    with contextlib.suppress(PipelineError):
        if not is_launcher(path):
            return parse_build(path, *(_answer(path, f"-{question}") for question in QUESTIONS))
    return parse_build(path, *(_answer(path, question) for question in QUESTIONS))


def parse_build(path: Path, version_text: str, help_text: str) -> WSCleanBuild:
    """Return the build that printed these texts.

    Raises
    ------
    PipelineError
        If the first is not WSClean's, or the second lists no options.
    """
    version = _VERSION.search(version_text)
    value_counts = _parse_options(help_text)
    if not version or not value_counts:
        answer = (version_text if not version else help_text).strip().split("\n")[0][:200]
        raise PipelineError(f"{path}: not a WSClean: it answers '{answer}' where version and options are expected")
    parts = set(_PART.findall(version_text))
    return WSCleanBuild(
        path=path,
        version=tuple(map(int, version[1].split("."))),
        has_idg="IDG" in parts,
        has_everybeam="EveryBeam" in parts,
        has_wgridder="WGridder" in parts,
        options=frozenset(value_counts),
        value_counts=value_counts,
    )


def _parse_options(help_text: str) -> dict[str, int]:
    """Return the options at the start of a line, joined by 'and', 'or' or '/', and their values."""
    pairs = (option for line in _HELP_LINE.findall(help_text) for option in _OPTION.findall(line))
    options = {name: len(_METAVARIABLE.findall(values)) for name, values in pairs}
    return options | {name: 1 for name in VALUE_NOT_IN_HELP if name in options}


def _answer(path: Path, question: str) -> str:
    code, output = run_briefly(path, [question])
    if code:
        last = output.strip().split("\n")[-1][:300]
        raise PipelineError(f"{path} {question}: exited with {code}: '{last}'; repair the installation of WSClean")
    return output


def run_briefly(path: Path, arguments: Sequence[str]) -> tuple[int, str]:
    """Run WSClean with arguments that make it end at once, and return exit code and output.

    Raises
    ------
    PipelineError
        If it cannot be started, or has not ended after a minute.
    """
    try:
        done = subprocess.run(
            [path, *arguments],
            env=quiet_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=ANSWER_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise PipelineError(f"{path} {' '.join(arguments)}: no answer: {err}; repair WSClean, or name another") from err
    return done.returncode, done.stdout.decode(errors="replace")


AUTO = "auto"
IDG_MODES = ("cpu", "hybrid")
BEAM_FLAGS = ("grid-with-beam", "use-differential-lofar-beam")
_STOKES_I = ({"I"}, {"I", "Q", "U", "V"})


def requested_gridder(options: Options) -> str:
    """Return the gridder requested by ``gridder`` or a flag such as ``-use-idg``; "" without either."""
    if "gridder" in options:
        return options["gridder"][0].lower() if options["gridder"] else ""
    flags = [gridder for gridder, flag in OLD_FLAGS.items() if flag and flag in options]
    return flags[0] if flags else ""


def resolve_gridder(requested: str, build: WSCleanBuild) -> str:
    """Return a build's gridder for a request: for ``auto`` IDG if available, else wgridder.

    A build without either is left to w-stacking. Any other request is returned as it is.
    """
    if requested != AUTO:
        return requested
    return next(gridder for gridder in ("idg", "wgridder", "wstacking") if gridder in build.gridders)


def choose_gridder(options: Options, build: WSCleanBuild, beam_obstacle: str = "") -> tuple[str, list[str]]:
    """Return the gridder for a job, and a notice where ``auto`` could not take IDG.

    ``beam_obstacle`` is the reason that EveryBeam cannot make beams for IDG; without beams wgridder is faster.
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
    """Return the options that IDG refuses, each with the remedy.

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
    """Return why the requested gridder is not available, each with the remedy."""
    requested = requested_gridder(options)
    choices = (AUTO, *NEW_GRIDDERS)
    if "gridder" in options and requested not in choices:
        return [f"gridder is '{requested}'; one of {', '.join(choices)} is needed"]
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
    """Return IDG's flags for the beam correction, if the build has EveryBeam and they are not set."""
    if not build.has_everybeam or "aterm-config" in keywords:
        return []
    present = {*keywords, *map(flag_name, positionals)}
    if "aterm-config" in present:
        return []
    return [f"-{flag}" for flag in BEAM_FLAGS if flag in build.options and flag not in present]


# Options with an effect on the beam, to be passed on.
BEAM_OPTIONS = ("data-column", "mwa-path", "beam-model", "beam-mode", "beam-normalisation-mode")
MOST_ROWS = 100_000
PROBE: tuple[str, ...] = (
    "-size",
    "32",
    "32",
    "-scale",
    "60asec",
    "-niter",
    "0",
    "-no-update-model-required",
    "-no-reorder",
)


PROBE += ("-abs-mem", "1", "-j", "1")


_answers: dict[tuple[object, ...], str] = {}  # by program, set, when it was written, and options


def beam_obstacle(build: WSCleanBuild, sets: Sequence[str], options: Options) -> str:
    """Return why a build with EveryBeam cannot make the beams of some sets; "" if it can, or if it is not known.

    LOFAR sets with station tables are taken as known; of other sets the first is tried. A failing set is not of
    a telescope for which this EveryBeam has a beam, or lacks its data.
    """
    unsure = [path for path in sets if Path(path).is_dir() and not (Path(path) / "LOFAR_ANTENNA_FIELD").is_dir()]
    if not build.has_everybeam or not unsure:
        return ""
    more = tuple(word for name in BEAM_OPTIONS if name in options for word in (f"-{name}", *options[name][:1]))
    mtime_ns = (Path(unsure[0]) / "table.dat").stat().st_mtime_ns if (Path(unsure[0]) / "table.dat").exists() else 0
    path = os.path.realpath(unsure[0])
    question = (str(build.path), path, mtime_ns, *more)
    if question not in _answers:
        _answers[question] = _probe(build, path, more)
    return _answers[question]


def _probe(build: WSCleanBuild, path: str, more: Sequence[str]) -> str:
    """Return the answer of a build to a few rows of a set."""
    idg = ["-gridder", "idg"] if build.has_gridder_option else ["-use-idg"]
    how = [*idg, "-grid-with-beam"] if build.has_idg else ["-apply-primary-beam"]
    with tempfile.TemporaryDirectory(prefix="beam_probe") as folder:
        piece = f"{folder}/piece.MS"
        _copy_first_slots(path, piece)
        code, output = run_briefly(build.path, [*how, *more, *PROBE, "-name", f"{folder}/probe", piece])
    if code == 0:
        return ""
    reason = (explained("WSClean", output, MESSAGES) or f"it exited with {code}").replace("\n", " ")
    return f"{build.name} cannot make the station beams of {Path(path).name}: {reason}"


def _copy_first_slots(path: str, target: str) -> None:
    """Copy the first two time slots of a set; Dysco crashes when writing a single one."""
    import casacore.tables

    with casacore.tables.table(path, ack=False) as table:
        times = table.getcol("TIME", 0, min(table.nrows(), MOST_ROWS))
        first_times = sorted(set(times))[:2]
        rows = [row for row, time_s in enumerate(times) if time_s in first_times]
        with table.selectrows(rows) as first, first.copy(target, deep=True):
            pass
