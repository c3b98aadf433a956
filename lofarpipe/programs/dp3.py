"""DP3: arguments fitted to the machine, their checks, and the reading of its log."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.errors import PipelineError, Suggestions, list_names, nearest
from lofarpipe.jobs import Resources
from lofarpipe.programs.argv import OutputArgument
from lofarpipe.programs.base import Detector, Keywords, Limit, LineReader, Program, Progress, decimal_count
from lofarpipe.programs.identity import installed_package
from lofarpipe.programs.logs import COUNT
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import Need
from lofarpipe.support.parset import split_list, unquote
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import files_of

if TYPE_CHECKING:
    from lofarpipe.imaging.ms.measurement_set import SetMetadata
    from lofarpipe.imaging.ms.messages import Messages


MSIN, MSOUT = ("msin", "msin.name"), ("msout", "msout.name")
IN_PLACE = ("", ".")
OVERWRITES = tuple(f"msout.overwrite={word}" for word in ("true", "t", "1", "yes"))
AVERAGING = frozenset({"average", "averager", "avg", "squash"})
# Steps that leave the numbers of rows and channels as they are.
KEEPING = frozenset({"aoflagger", "aoflag", "applybeam", "applycal", "count", "counter", "ddecal", "gaincal"})


KEEPING |= {"h5parmpredict", "interpolate", "madflag", "madflagger", "null", "phaseshift", "phaseshifter", "predict"}


KEEPING |= {"preflag", "preflagger", "scaledata", "setbeam", "uvwflag", "uvwflagger"}


# As the last step these take the place of the one that writes msout. DP3 6.6 does so with out and null (tried).
LAST_STEPS = frozenset({"explode", "msout", "null", "out", "output", "split"})
#: Keys of msin that select times and channels, and all that select data.
SELECTIONS = tuple(
    f"msin.{key}" for key in ("starttime", "endtime", "starttimeslot", "ntimes", "startchan", "nchan", "band")
)
SELECTING = (*SELECTIONS, "msin.baseline")
# Bytes per row beyond its visibilities: UVW, antennas, times. Source: sets of 111,600 rows and 8 or 32 channels that
# DP3 6.6 wrote; the difference of their sizes gives those per visibility, below.
ROW_BYTES = 45
DATA_BITS, WEIGHT_BITS = 10, 12  # of Dysco, where the parset does not say
UNITS_HZ = {"": 1.0, "hz": 1.0, "khz": 1e3, "mhz": 1e6, "ghz": 1e9}


def output_argument(argv: Sequence[str], workdir: Path) -> OutputArgument | None:
    """Return the argument for a new measurement set.

    None if there is none, if it is one of the inputs, or if the set is there and ``msout.overwrite`` is not True: DP3
    refuses that itself.
    """
    output = named_output(argv, workdir)
    overwrites = any(text.lower() in OVERWRITES for text in argv)
    return None if output and os.path.lexists(workdir / output.name) and not overwrites else output


def named_output(argv: Sequence[str], workdir: Path) -> OutputArgument | None:
    """Return the argument for a measurement set other than the inputs, or None."""
    keywords = dict(text.split("=", 1) for text in argv[1:] if "=" in text)
    places = [index for index, text in enumerate(argv) if text.partition("=")[0] in MSOUT]
    if len(places) != 1 or _is_input(keywords, workdir):
        return None
    key, _, text = argv[places[0]].partition("=")
    may_write_nothing = not LAST_STEPS.isdisjoint(_kinds(keywords)[-1:])
    return OutputArgument(places[0], f"{key}=", unquote(text.strip()).rstrip("/"), None if may_write_nothing else "")


def changed_inputs(keywords: Mapping[str, str], workdir: Path = Path()) -> list[str]:
    """Return the measurement sets changed in place: the inputs, if the output is empty, ``.`` or one of them."""
    if not set(MSOUT) & set(keywords) or not _is_input(keywords, workdir) or _only_reads(keywords):
        return []
    return _inputs(keywords)


def _inputs(keywords: Mapping[str, str]) -> list[str]:
    text = next((keywords[key] for key in MSIN if key in keywords), "")
    return [unquote(name) for name in files_of(text)]


def _is_input(keywords: Mapping[str, str], workdir: Path) -> bool:
    name = unquote(next((keywords[key] for key in MSOUT if key in keywords), "").strip())
    if name in IN_PLACE:
        return True
    return os.path.realpath(workdir / name) in {os.path.realpath(workdir / path) for path in _inputs(keywords)}


def _only_reads(keywords: Mapping[str, str]) -> bool:
    kinds = _kinds(keywords)
    return bool(kinds) and (kinds[-1] == "null" or set(kinds) <= READS_ONLY)


def _kinds(keywords: Mapping[str, str]) -> list[str]:
    return [keywords.get(f"{name}.type", name).lower() for name in step_names(keywords)]


def output_bytes(keywords: Mapping[str, str], workdir: Path) -> float | None:
    """Return the size of the new measurement set; None if it cannot be predicted.

    It is unpredictable if a step or a key selects data, or the inputs cannot be read.
    """
    unknown = set(_kinds(keywords)) - AVERAGING - KEEPING
    if unknown or any(key in keywords for key in SELECTING):
        return None
    from lofarpipe.imaging.ms.measurement_set import read_metadata
    from lofarpipe.imaging.ms.tables import MeasurementSetError
    from lofarpipe.programs.disk_space import present_volume

    paths = [str(workdir / name) for name in _inputs(keywords)]
    volume = present_volume(paths)
    if volume is None:
        return None
    try:
        first = read_metadata(paths[0])
    except MeasurementSetError:
        return None
    times, channels = _averaged(keywords, first)
    correlations = len(first.correlations)
    rows = volume.rows / len(paths) / times  # the sets are concatenated in frequency
    return volume.visibilities / times / channels * _visibility_bytes(keywords, correlations) + rows * ROW_BYTES


def _averaged(keywords: Mapping[str, str], first: SetMetadata) -> tuple[float, float]:
    """Return the averaging factors in time and frequency."""
    steps = zip(step_names(keywords), _kinds(keywords), strict=True)
    names = [name for name, kind in steps if kind in AVERAGING]
    times = channels = 1.0
    for name in names:
        seconds = _number(keywords.get(f"{name}.timeresolution", ""), {"": 1.0, "s": 1.0})
        width_hz = _number(keywords.get(f"{name}.freqresolution", ""), UNITS_HZ)
        by_time = _number(keywords.get(f"{name}.timestep", ""), {"": 1.0})
        by_channel = _number(keywords.get(f"{name}.freqstep", ""), {"": 1.0})
        times *= max(1.0, round(seconds / (first.timestep_s * times)) if seconds else by_time)
        channels *= max(1.0, round(width_hz / (first.channel_width_hz * channels)) if width_hz else by_channel)
    return min(times, first.ntimes), channels


def _number(text: str, units: Mapping[str, float]) -> float:
    """Return the number at the start of a value with a unit; 0 without one."""
    text = unquote(text.strip()).lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    try:
        return float(digits) * units[text[len(digits) :].strip()]
    except (ValueError, KeyError):
        return 0.0


def _visibility_bytes(keywords: Mapping[str, str], correlations: int) -> float:
    """Return the bytes of one channel of one row: visibilities, weights and flags."""
    manager = next((keywords[key] for key in _manager_keys("") if key in keywords), "")
    is_dysco = manager.strip().lower() == "dysco"
    data_bits = _bits(keywords, "databitrate", DATA_BITS) if is_dysco else 0
    weight_bits = _bits(keywords, "weightbitrate", WEIGHT_BITS) if is_dysco else 0
    data = 2 * correlations * (data_bits or 32) / 8
    weights = weight_bits / 8 if weight_bits else 4 * correlations  # Dysco has one weight for all correlations
    return data + weights + correlations / 8


def _manager_keys(key: str) -> list[str]:
    return [f"msout.storagemanager.{key}"] if key else ["msout.storagemanager", "msout.storagemanager.name"]


def _bits(keywords: Mapping[str, str], key: str, default: int) -> int:
    text = next((keywords[name] for name in _manager_keys(key) if name in keywords), str(default))
    return int(text) if text.strip().isdecimal() else default


# Parset keys outside of steps; DP3 6.6 reports any other as not used (tried one by one).
GLOBAL_KEYS = frozenset({"checkparset", "msin", "msout", "numthreads", "steps", "verbosity"})
GLOBAL_KEYS |= {"showcounts", "showprogress", "showtimings"}
# Keys for several input sets only; with one set DP3 reports them as not used (tried).
MANY_SETS_KEYS = frozenset({"msin.orderms", "msin.missingdata"})
# Steps that compute a beam themselves, and hold it for this long, s. Measured with DP3 6.6 against EveryBeam: the flux
# of a source at 2 deg is 2.3 % too low with 30 s, 46 % with 600 s, as if it had moved by half an interval; 0 is right.
BEAM_INTERVAL = "beam_interval"
READS_ONLY = frozenset({"count", "counter", "null"})

_UNUSED = lazy_pattern(r"\*\*\* WARNING: the following parset keywords were not used \*\*\*\n((?: .*\n?)*)")
_UNUSED_NAME = lazy_pattern(r"^ +- (\S+)", re.MULTILINE)


def adapt_keywords(keywords: Mapping[str, str], cores: int) -> dict[str, str]:
    """Return keywords with ``numthreads`` for the job's cores, and ``checkparset``, unless they are set.

    With ``checkparset`` DP3 ends with 1 before the first visibility is read if it did not use a keyword, but after it
    has made an empty output set; without it DP3 only warns. It wants a number.
    Keys for several input sets are left out for a single one.
    """
    dropped = MANY_SETS_KEYS if _reads_one_set(keywords) else frozenset()
    used_keywords = {key: value for key, value in keywords.items() if key not in dropped}
    return {"numthreads": str(cores), "checkparset": "1", **used_keywords}


def _reads_one_set(keywords: Mapping[str, str]) -> bool:
    """Whether ``msin`` is a single set, however it is written; a pattern may be many."""
    text = keywords.get("msin", keywords.get("msin.name", ""))
    return len(files_of(text)) == 1 and not set("*?") & set(text)


def check_keywords(keywords: Mapping[str, str]) -> list[str]:
    """Return the arguments that would give wrong results, harm the input, or not be used."""
    steps = step_names(keywords)
    findings = [f"{key}: {problem}" for key, problem in _unplaced(keywords, steps)]
    findings += [f"{key}: {problem}" for key, problem in _beam_intervals(keywords)]
    return findings + _output_findings(keywords, steps)


def step_names(keywords: Mapping[str, str]) -> list[str]:
    """Return the names in ``steps``, without their blanks and quotes."""
    text = keywords.get("steps", "").strip()
    items = split_list(text) if text.startswith("[") else [text]
    return [unquote(name.strip()) for name in items if name.strip()]


def _unplaced(keywords: Mapping[str, str], steps: list[str]) -> list[tuple[str, str]]:
    """Return the keys that belong neither to DP3 itself nor to a step in ``steps``."""
    if "steps" not in keywords:  # it may come from a parset file
        return []
    inner = [name for key in keywords if key.endswith(".steps") for name in split_list(keywords[key])]
    prefixes, suggested = {*GLOBAL_KEYS, *steps, *inner}, Suggestions()
    unplaced = [key for key in keywords if key.split(".")[0] not in prefixes]
    problem = f"DP3 would not use it, for its steps are [{list_names(steps)}]; correct or remove it"
    return [(key, problem + suggested.nearest(key.split(".")[0], prefixes)) for key in unplaced]


def _beam_intervals(keywords: Mapping[str, str]) -> list[tuple[str, str]]:
    interval_keys = [key for key in keywords if key.split(".")[-1].replace("_", "") == BEAM_INTERVAL.replace("_", "")]
    problem = (
        "is {!r}; with an interval DP3 evaluates the beam in the wrong direction (a gradient of flux over the field); "
        "set it to 0"
    )
    return [(key, problem.format(keywords[key])) for key in interval_keys if not _is_zero(keywords[key])]


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _output_findings(keywords: Mapping[str, str], steps: list[str]) -> list[str]:
    """Return whether this call would write into its input."""
    msout = keywords.get("msout", keywords.get("msout.name"))
    if msout is None or msout.strip() not in ("", '""', "''"):
        return []
    kinds = [keywords.get(f"{name}.type", name) for name in steps]
    if steps and (kinds[-1] == "null" or set(kinds) <= READS_ONLY):
        return []
    return [
        "msout: is empty, so DP3 would write into its input; name an output, or end steps with null to write nothing, "
        "or set msout to '.' to change the input on purpose"
    ]


def unused_keywords(log_text: str) -> list[str]:
    """Return the keywords that DP3 reports as not used, in the order of the log, each once."""
    names = [name for block in _UNUSED.findall(log_text) for name in _UNUSED_NAME.findall(block)]
    return list(dict.fromkeys(names))


# ---- strategies of AOFlagger, which opens the file of exactly this name

STRATEGIES = ("/usr/share/aoflagger/strategies", "/usr/local/share/aoflagger/strategies")  # of Debian's packages


def find_strategy(name: str) -> str:
    """Return the path of a strategy: a file, or a name among those shipped with DP3 or AOFlagger.

    Raises
    ------
    PipelineError
        If it does not exist; the message lists the strategies shipped with DP3.
    """
    if "/" in name:
        if not Path(name).is_file():
            raise PipelineError(f"strategy: there is no file {name}; name one, or one that comes with DP3")
        return str(Path(name).absolute())
    strategies = {path.name: path for place in _strategy_places() for path in sorted(place.glob("*.lua"), reverse=True)}
    if name not in strategies:
        names = list_names(sorted(strategies)) or "none"
        raise PipelineError(f"strategy: there is no {name} with DP3, which has: {names}{nearest(name, strategies)}")
    return str(strategies[name])


def _strategy_places() -> list[Path]:
    import importlib.util

    spec = importlib.util.find_spec("dp3")
    packages = Path(spec.origin).parents[1] if spec and spec.origin else Path()
    return [*map(Path, STRATEGIES), *packages.glob("[dD][pP]3.libs/aoflagger/strategies")]


# ---- a command of its own


def predict_argv(dp3: str, ms: Path, skymodel: Path, beam: bool) -> tuple[str, ...]:
    """Return the command that replaces DATA by the visibilities of a sky model.

    With ``beam``, sources are seen through each station's beam, and the data are then corrected for the beam at the
    phase centre, as those of the target pipeline are; keywords of DATA that DP3 writes show it.
    ``beam_interval`` keeps DP3's default of 0: other values give wrong beams. Weights stay as they are.
    """
    argv = [dp3, f"msin={ms}", "msout=.", "numthreads=1", f"predict.sourcedb={skymodel}"]
    if not beam:
        return (*argv, "steps=[predict]")
    correction = ["applybeam.invert=True", "applybeam.updateweights=False"]
    return (*argv, "steps=[predict,applybeam]", "predict.usebeammodel=True", *correction)


# ---- the log; each rule was seen with DP3 6.6

_MAX_ITER = lazy_pattern(rf"^  max iter: +({COUNT})\b")
_ITERATIONS_TAKEN = lazy_pattern(r"^Iterations taken: \[([0-9, ]+)\]")
_CONVERGED = lazy_pattern(
    rf"^ *Converged: ({COUNT}), stalled: ({COUNT}), non converged: ({COUNT}), failed: ({COUNT})\b"
)
_TIME = lazy_pattern(r"^Total DP3 time\s+([\d.]+) real")
_STEP_TIME = lazy_pattern(r"^ {2,4}([0-9]+\.?[0-9]*)% \(\s*[\d.]+ m?s\) (\S.*)$")
MESSAGES: Messages = (
    (r"Could not create step of type", "correct the type of the step; https://dp3.readthedocs.io lists them"),
    (r"is not an integer value|Illegal unit string", "correct that value in the parset"),
    (r"Key \S+ unknown", "the step needs this key: add it"),
    (r"nr of channels must divide integrally", "choose a step in frequency that divides the number of channels"),
    (r"startchan \d+ exceeds|Band \S+ not found", "the set has fewer: correct the selection of msin"),
    (
        r"DyscoStMan is flushed before at least two",
        "Dysco cannot hold a single time slot: write without it, or with databitrate = 0 and weightbitrate = 0",
    ),
    (r"Unknown storage manager", "set msout.storagemanager to dysco, or remove it"),
    (r"containing format string could not be opened", "there is no such sky model: correct its name (sourcedb)"),
    (r"Couldn't find patch", "the sky model has no patch of this name: correct sources or directions"),
)


@dataclass
class Solutions:
    """The solutions counted at the end of DP3, which exits with 0 even if none converged."""

    min_converged: float  # smallest share of converged solutions, 0..1
    max_stalled: float  # share of stalled or failed solutions at which the job is aborted, 0..1; 0: any
    max_iterations: list[int] = field(default_factory=list)  # of the steps that solve, in their order

    def read(self, line: str) -> str | None:
        """Return the reason in a line to abort."""
        if match := _MAX_ITER.match(line):
            self.max_iterations.append(int(match[1]))
            return None
        if match := _CONVERGED.match(line):
            return self._counted(*map(int, match.groups()))
        match = _ITERATIONS_TAKEN.match(line)
        if match is None or not self.max_iterations:
            return None
        # DDECal counts one iteration more than the maximum without convergence.
        limit = self.max_iterations.pop(0)
        iterations = [int(number) for number in re.findall(COUNT, match[1])]
        return self._convergence_problem(sum(number <= limit for number in iterations), len(iterations))

    def _counted(self, converged: int, stalled: int, not_converged: int, failed: int) -> str | None:
        if self.max_iterations:
            self.max_iterations.pop(0)
        total = converged + stalled + not_converged + failed
        if total and 0 < self.max_stalled <= (stalled + failed) / total:
            return (
                f"of {total} solutions of DP3 {stalled} stalled and {failed} failed: max_stalled = "
                f"{self.max_stalled:g} of them; look at the visibilities and the model"
            )
        return self._convergence_problem(converged, total)

    def _convergence_problem(self, converged: int, total: int) -> str | None:
        if not total or converged / total >= self.min_converged:
            return None
        return (
            f"{converged} of {total} solutions of DP3 converged, less than min_converged = "
            f"{self.min_converged:g} of them; use more data for each, or accept fewer"
        )


@dataclass
class Timing:
    """Progress of DP3, and its slowest step; inner parts of a step are indented further."""

    largest_percent: float = 0.0

    def read(self, line: str, progress: Progress) -> Progress | None:
        """Return the progress of DP3 after a line; None for other lines."""
        if line.startswith("Finishing processing"):
            return replace(progress, text="finishing", fraction=1.0, is_final=False)
        if match := _TIME.match(line):
            self.largest_percent = 0.0
            return replace(progress, text=f"done in {match[1]} s", fraction=1.0, is_final=True)
        match = _STEP_TIME.match(line)
        if match is None or not progress.is_final:
            return None
        percent = float(match[1])
        if percent <= self.largest_percent:
            return progress
        self.largest_percent = percent
        return replace(progress, text=f"{progress.text.partition(',')[0]}, {percent:.0f}% in {match[2].strip()}")


class DP3(Program):
    """DP3: number of threads by job; unused keywords are an error."""

    name = "DP3"
    home = "https://dp3.readthedocs.io"
    executables = ("NDPPP", "DPPP", "DP3", "DP3.py")  # it was renamed twice; the package on PyPI has the last
    install = "pip install dp3"
    task = {"executable": "DP3", "args_format": "lofar", "outputkey": "msout"}
    limits = {
        "min_converged": Limit(0.0, "share of DP3's solutions that has to converge, 0 to 1", 1.0),
        "max_stalled": Limit(
            1.0, "share of GainCal's solutions that stalled or failed at which the job has failed; 0: any", 1.0
        ),
    }
    messages = MESSAGES
    output_key = "msout"
    reads_parset = True

    def version(self, executable: Path) -> str:
        """Return the version of DP3's package, or "" if not installed by pip.

        The program itself is not asked: that takes a second. Where it is no package its file changes with its version.
        """
        package = installed_package(executable) if executable.suffix == ".py" else None
        return package[0] if package else ""

    def check(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], machine: Resources
    ) -> list[str]:
        """Return the arguments that would give wrong results or harm the input."""
        return check_keywords(dict(keywords))

    def complete(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], share: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return the arguments with ``numthreads``, and the check of unused keywords switched on."""
        return adapt_keywords(dict(keywords), share.cores), list(flags), []

    def detector(self, limits: Mapping[str, float]) -> Detector:
        """Return a counter of the solutions that did not converge."""
        return Solutions(limits["min_converged"], limits["max_stalled"]).read

    def line_reader(self) -> LineReader:
        """Return a search for the slowest step."""
        return Timing().read

    def complaint(self, log_text: str) -> str | None:
        """Return the keywords that DP3 did not use."""
        unused = unused_keywords(log_text)
        if not unused:
            return None
        return f"DP3 does not know these keywords: {', '.join(unused)}; correct or remove them"

    def requested_resources(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str]
    ) -> tuple[int, int]:
        """Return ``numthreads``."""
        return decimal_count(keywords.get("numthreads", "")), 0

    def output(self, argv: Sequence[str], workdir: Path) -> OutputArgument | None:
        """Return ``msout``."""
        return output_argument(argv, workdir)

    def products(self, argv: Sequence[str], workdir: Path) -> list[str]:
        """Return the argument for the new measurement set."""
        output = named_output(argv, workdir)
        return [str(workdir / output.name)] if output else []

    def in_place(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return the input sets if no new one is written."""
        return changed_inputs(keywords, workdir)

    def needs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[Need]:
        """Return the space for the new measurement set."""
        output = output_argument(["DP3", *(f"{key}={value}" for key, value in keywords.items())], workdir)
        size = output_bytes(keywords, workdir) if output else None
        return [Need((workdir / output.name).parent, size, "the measurement set")] if output and size else []


PROGRAM = DP3()
