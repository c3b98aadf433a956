"""The choice of the imager: WSClean, or lofar-clean if WSClean is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.fits_header import read_header

AUTO, OWN, WSCLEAN = "auto", "own", "wsclean"
KEY = "imager"  # of steps
NONE = ("", "none")
CHOICES = (AUTO, OWN, WSCLEAN)
#: Choice -> program.
PROGRAMS = {OWN: "lofar_clean", WSCLEAN: "wsclean"}


@dataclass(frozen=True)
class ChosenImager:
    """An imager: the program, its file, and the reason for the choice."""

    program: str
    executable: str
    reason: str
    is_fallback: bool = False  # WSClean was looked for, and is not installed

    @property
    def text(self) -> str:
        """Name and version, as a plan has them."""
        from lofarpipe.programs.find import find

        known_program = KNOWN_PROGRAMS[self.program]
        return f"{known_program.name} {known_program.version(find(self.executable))}".strip()


def choose_imager(choice: str, executable: str = "") -> ChosenImager:
    """Return the imager that ``auto``, ``own`` or ``wsclean`` stands for on this machine.

    Parameters
    ----------
    executable: of WSClean, where a step names it; a name or a path.

    Raises
    ------
    PipelineError
        If ``wanted`` is not one of the three.
    """
    if choice not in CHOICES:
        raise PipelineError(f"is '{choice}'; one of {', '.join(CHOICES)} is needed{nearest(choice, CHOICES)}")
    default = KNOWN_PROGRAMS[PROGRAMS[WSCLEAN]].task["executable"]
    wsclean = executable or default
    if choice == OWN:
        return _own_imager("as asked for")
    if choice == WSCLEAN:
        return ChosenImager(PROGRAMS[WSCLEAN], wsclean, "as asked for")
    if wsclean != default:  # a substitute would hide the misspelling
        return ChosenImager(PROGRAMS[WSCLEAN], wsclean, "the step names it")
    if _is_installed(wsclean):
        return ChosenImager(PROGRAMS[WSCLEAN], wsclean, "it is installed")
    own_imager = _own_imager("WSClean is not installed", is_fallback=True)
    return (
        own_imager
        if _is_installed(own_imager.executable)
        else ChosenImager(PROGRAMS[WSCLEAN], wsclean, "neither is installed")
    )


def imager_keys(control: Mapping[str, str]) -> dict[str, str]:
    """Return the control keys that ``control.imager`` of a step changes: program and executable.

    Parameters
    ----------
    control: all control keys of the step. In a container, or under mpirun, ``auto`` is WSClean.

    Raises
    ------
    PipelineError
        If the value is invalid, or the step runs no imager.
    """
    choice, program = control[KEY], control.get("program", "")
    if program not in PROGRAMS.values():
        raise PipelineError(f"is '{choice}', and the step runs no imager; remove it, or set control.type = {WSCLEAN}")
    elsewhere = control.get("container", "") not in NONE or control.get("mpi") == "True"
    if choice == AUTO and elsewhere:
        return {}
    chosen = choose_imager(choice, control.get("executable", "") if program == PROGRAMS[WSCLEAN] else "")
    return {} if chosen.program == program else {"program": chosen.program, "executable": chosen.executable}


def imager_of(image: Path) -> str:
    """Return the imager's file name from an image's header, by default WSClean."""
    try:
        with image.open("rb") as stream:
            origin = read_header(stream).text("ORIGIN") or ""
    except (OSError, ValueError):
        origin = ""
    own_name = KNOWN_PROGRAMS[PROGRAMS[OWN]].task["executable"]
    return own_name if origin.startswith(own_name) else KNOWN_PROGRAMS[PROGRAMS[WSCLEAN]].task["executable"]


def is_fallback(control: Mapping[str, str]) -> bool:
    """Return whether a step would have taken WSClean if it were installed."""
    return control.get(KEY) == AUTO and control.get("program") == PROGRAMS[OWN]


def fallback_text() -> str:
    """Return the notice of that."""
    program = KNOWN_PROGRAMS[PROGRAMS[OWN]]
    install = KNOWN_PROGRAMS[PROGRAMS[WSCLEAN]].install
    return f"auto takes {program.name} of this package: WSClean is not installed; {install}"


def _own_imager(reason: str, is_fallback: bool = False) -> ChosenImager:
    return ChosenImager(PROGRAMS[OWN], KNOWN_PROGRAMS[PROGRAMS[OWN]].task["executable"], reason, is_fallback)


def _is_installed(executable: str) -> bool:
    from lofarpipe.programs.find import find

    try:
        find(executable)
    except PipelineError:
        return False
    return True
