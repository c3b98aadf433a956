"""Which WSClean this is: its version, what it was built with, and the options that it knows."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.programs.find import quiet_environment

ANSWER_TIMEOUT_S = 60
# Gridders, and the flag that chose each of them before -gridder existed (3.2); w-stacking was the default then.
OLD_FLAGS = {"idg": "use-idg", "wgridder": "use-wgridder", "direct-ft": "direct-ft", "wstacking": ""}
NEW_GRIDDERS = (*OLD_FLAGS, "tuned-wgridder")
GRIDDER_FLAGS = frozenset(flag for flag in OLD_FLAGS.values() if flag)

_VERSION = re.compile(r"WSClean version (\d+(?:\.\d+)*)")
_PART = re.compile(r"^\s*(EveryBeam|IDG|WGridder)\b(?!.*\bnot\b).*\bavailable", re.MULTILINE)
_HELP_LINE = re.compile(r"^-.*", re.MULTILINE)
_METAVARIABLE = re.compile(r"<[^>]*>|\[[^\]]*\]")
_OPTION = re.compile(rf"(?:^|(?<=[\s(]))-([A-Za-z][\w-]*)((?:\s+(?:{_METAVARIABLE.pattern}))*)")
# Options that take a value of which the help does not tell. Source: WSClean 3.1, every option tried.
VALUE_NOT_IN_HELP = (
    *("beam-model", "beam-mode", "beam-normalisation-mode"),
    *("local-rms-window", "local-rms-method", "multiscale-scale-bias"),
)


@dataclass(frozen=True)
class WSCleanBuild:
    """One WSClean program: ``version`` as (3, 1, 0), and ``options`` without their dash, as ``--help`` lists them.

    ``value_counts`` says how many values each of them takes; a flag takes 0.
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
        known = NEW_GRIDDERS if self.has_gridder_option else tuple(OLD_FLAGS)
        missing = {"idg": not self.has_idg, "wgridder": not self.has_wgridder, "tuned-wgridder": not self.has_wgridder}
        return tuple(gridder for gridder in known if not missing.get(gridder))


def describe_build(path: str | Path) -> WSCleanBuild:
    """Return what ``--version`` and ``--help`` of a WSClean program say; asked once for each state of the file.

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
def _describe(path: Path, changed_ns: int) -> WSCleanBuild:  # noqa: ARG001 - a program that was replaced is asked again
    return parse_build(path, *(_answer(path, question) for question in ("--version", "--help")))


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
        said = (version_text if not version else help_text).strip().split("\n")[0][:200]
        raise PipelineError(f"{path}: not a WSClean: it answers '{said}' where version and options are expected")
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
    """Return the options named at the start of a line, also those joined by 'and', 'or' or '/', and their values."""
    listed = (option for line in _HELP_LINE.findall(help_text) for option in _OPTION.findall(line))
    options = {name: len(_METAVARIABLE.findall(values)) for name, values in listed}
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
