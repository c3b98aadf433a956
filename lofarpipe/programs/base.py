"""The interface of programs, the registry of known programs, and the names of their images.

A program's arguments are completed and checked, its log is read, its outputs are named. A step names it in
``control.program``; a step whose ``control.type`` is a known program does so itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe import programs
from lofarpipe.jobs import Resources
from lofarpipe.programs.argv import OutputArgument
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import Need
from lofarpipe.support.patterns import lazy_pattern

if TYPE_CHECKING:
    from lofarpipe.imaging.ms.messages import Messages


@dataclass(frozen=True)
class Progress:
    """How far a program is.

    Attributes
    ----------
    text: the current work, one printable line.
    fraction: completed part of that, 0..1; None: unknown.
    major_iteration: of the deconvolution, from 1.
    peak_jy: last reported peak of the residual image, Jy; negative for a hole.
    is_final: whether the text is the outcome; later lines of the log do not replace it.
    written_s: time of the last output, s since 1970 UTC; None: unknown.
    """

    text: str
    fraction: float | None = None
    major_iteration: int | None = None
    peak_jy: float | None = None
    is_final: bool = field(default=False, compare=False)
    written_s: float | None = field(default=None, compare=False)


Keywords = dict[str, str]
#: Takes a line of a log without its end; returns the reason to abort the job, or None.
Detector = Callable[[str], str | None]
#: Takes a line of a log and the progress so far; returns the new progress, or None for other lines.
LineReader = Callable[[str, Progress], Progress | None]


@dataclass(frozen=True)
class Limit:
    """A limit at which a job is aborted or has failed; a control key of the program's steps."""

    default: float
    meaning: str
    highest: float = math.inf


class Program:
    """The runner's knowledge of one program. Attributes and methods not overridden mean unknown.

    Attributes
    ----------
    name: as people write it.
    home: the address of its manual.
    executables: historical names of the file, the oldest first; a lookup of one may return a later one.
    install: how it is installed.
    mpi_executable: the version for mpirun; "" without one.
    task: defaults of control keys for steps of this type: executable, args_format, outputkey.
    limits: control keys of its steps, for `detector`.
    messages: its complaints when it fails, with the remedies.
    output_key: the output argument.
    scratch_option: the option for the directory of temporary files; "" without one.
    is_run: whether ``check`` and ``accepts`` run it.
    reads_parset: whether the first argument is a file of ``key=value``.
    """

    name: str
    home: str = ""
    executables: tuple[str, ...] = ()
    install: str = ""
    mpi_executable: str = ""
    task: Mapping[str, str] = {}
    limits: Mapping[str, Limit] = {}
    messages: Messages = ()
    output_key: str = ""
    scratch_option: str = ""
    is_run: bool = False
    reads_parset: bool = False

    # ---- before the first job

    def version(self, executable: Path) -> str:
        """Return the version of an installed program; a step runs again when it changes, or the file does."""
        return ""

    def check(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], machine: Resources
    ) -> list[str]:
        """Return the problems of the arguments, as far as they are known before the first job."""
        return []

    def missing_files(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[tuple[str, str]]:
        """Return (name, finding) for each missing input file."""
        return []

    def accepts(self, executable: Path, name: str) -> bool:
        """Return whether the program has an argument of this name."""
        return True

    # ---- when a job is made

    def complete(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], share: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return keywords and flags as this build of the program wants them for the ``share`` of a job, and notices."""
        return dict(keywords), list(flags), []

    def allotted(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], share: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return keywords and flags as they are, with the job's share; for steps with ``as_given``."""
        return dict(keywords), list(flags), []

    def requested_resources(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str]
    ) -> tuple[int, int]:
        """Return the cores and graphics processors requested by the arguments; 0 if none."""
        return 0, 0

    def most_gpus(self, keywords: Mapping[str, str]) -> int:
        """Return the graphics processors that any build of the program may use with these arguments."""
        return 0

    def output(self, argv: Sequence[str], workdir: Path) -> OutputArgument | None:
        """Return the output argument of a command; None if the output is not new, or is also an input."""
        return None

    def products(self, argv: Sequence[str], workdir: Path) -> list[str]:
        """Return the absolute paths of a command's possible outputs, by the program's documented names."""
        return []

    def covers_all_times(self, argv: Sequence[str]) -> bool:
        """Return whether the output of a command covers all the time of its inputs."""
        return True

    def in_place(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return the inputs changed by a job, as in its arguments."""
        return []

    def harmed_inputs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return the paths of ``in_place`` to which a partial or repeated change would do harm."""
        return self.in_place(keywords, flags, workdir)

    def needs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[Need]:
        """Return the disk space of a job, as far as it is known before the run."""
        return []

    def subject(self, argv: Sequence[str]) -> str:
        """Return a short name of a command's product, for programs with several products per input; else ""."""
        return ""

    # ---- while it runs, and when it has ended

    def detector(self, limits: Mapping[str, float]) -> Detector | None:
        """Return the divergence check for one job's log; ``limits`` has values for all of `limits`."""
        return None

    def line_reader(self) -> LineReader | None:
        """Return the progress reader for one job's log."""
        return None

    def retry_arguments(self, argv: Sequence[str], problem: str, limits: Mapping[str, float]) -> list[str] | None:
        """Return changed arguments to retry a failed job once; None if a retry is useless."""
        return None

    def output_fault(self, paths: Iterable[Path]) -> str:
        """Return the problem of a job's output files; "" if none is known."""
        return ""

    def complaint(self, log_text: str) -> str | None:
        """Return the failure in a log, even with exit code 0; None without one."""
        return None

    def major_cycles(self, header: Mapping[str, object]) -> int | None:
        """Return the number of major cycles in an image's FITS header, or None."""
        return None


def decimal_count(text: str) -> int:
    """Return a text as a number, or 0 if it is not one."""
    return int(text) if text.isdecimal() else 0


@cache
def _load(name: str) -> Program | None:
    """Return the PROGRAM of a module of this package; None if either is missing."""
    path = f"{programs.__name__}.{name}"
    spec = importlib.util.find_spec(path) if name.isidentifier() else None
    if spec is None:
        return None
    module = importlib.import_module(f"{path}.program" if spec.submodule_search_locations else path)
    program: Program | None = getattr(module, "PROGRAM", None)
    return program


class Registry(Mapping[str, Program]):
    """Known programs by name; modules are imported at the first lookup."""

    def __getitem__(self, name: str) -> Program:
        program = _load(name)
        if program is None:
            raise KeyError(name)
        return program

    def __iter__(self) -> Iterator[str]:
        return (module.name for module in pkgutil.iter_modules(programs.__path__) if _load(module.name) is not None)

    def __len__(self) -> int:
        return len(list(iter(self)))


KNOWN_PROGRAMS = Registry()


def program_key(display_name: str) -> str:
    """Return the key of the program with this ``display_name``, or ""."""
    return next((key for key, program in KNOWN_PROGRAMS.items() if program.name == display_name), "")


def program_of(executable: str) -> Program | None:
    """Return the program with this current or former file name; None if unknown."""
    return next((program for program in KNOWN_PROGRAMS.values() if executable in program.executables), None)


# Image names follow WSClean; images of other imagers are renamed.
FLAT, CORRECTED, RESIDUAL = "-image.fits", "-image-pb.fits", "-residual.fits"
BEAM, EFFECTIVE_FREQUENCY = "-primary-beam.fits", "-effective-frequency.fits"
#: Between the root of the names and these: the whole band, where there are several channels.
MFS = "MFS"
_OF_THE_BAND = lazy_pattern(rf"-{MFS}(-I)?$")
# A channel or a time, or a polarisation beside I.
_OF_A_PART = lazy_pattern(r"-t?\d{4}(-|$)|-(Q|U|V|[XY]{2}i?|[RL]{2}i?)$")
_OF_A_CHANNEL = lazy_pattern(r"-\d{4}-[\w-]+\.fits$")
_FIRST = (f"-{MFS}{CORRECTED}", f"-{MFS}{FLAT}", CORRECTED, FLAT)


def wholeness(path: Path) -> int:
    """Return 2 for an image of the whole band, 0 for a part of it, 1 for others."""
    name = path.name.removesuffix(FLAT)
    return 2 if _OF_THE_BAND.search(name) else 0 if _OF_A_PART.search(name) else 1


def rank(path: str) -> int:
    """Return the sort key of a product: images first, channel products last."""
    if _OF_A_CHANNEL.search(path):
        return len(_FIRST) + 1
    return next((place for place, ending in enumerate(_FIRST) if path.endswith(ending)), len(_FIRST))


def cleaned(paths: Iterable[Path]) -> Path | None:
    """Return the image with the cleaning parameters in its header: a residual, else an image."""
    paths = list(paths)
    return next((path for ending in (RESIDUAL, FLAT) for path in paths if path.name.endswith(ending)), None)
