"""The spectral index that a user gives for the sources of an image: a number, or the name of a FITS map of it."""

from __future__ import annotations

from pathlib import Path

DEFAULT_INDEX = -0.7  # of synchrotron sources, as most are at these frequencies
STEEPEST_INDEX = 5.0


def index_findings(text: str) -> list[str]:
    """Return what is wrong with a spectral index that a user gives: a number, or the name of a FITS image."""
    try:
        number = float(text)
    except ValueError:
        return _map_findings(Path(text))
    if abs(number) <= STEEPEST_INDEX:
        return []
    return [f"is {text}; a number from {-STEEPEST_INDEX:g} to {STEEPEST_INDEX:g} is needed"]


def _map_findings(path: Path) -> list[str]:
    if not path.is_file():
        return [f"is '{path}', which is neither a number nor a file; give an index such as -0.7, or a FITS map of it"]
    if not path.is_absolute():
        return [f"{path} is relative, and jobs work elsewhere; write {path.absolute()}"]
    with path.open("rb") as opened:
        if opened.read(9) != b"SIMPLE  =":
            return [f"{path} is no FITS file; give an index such as -0.7, or a FITS map of it"]
    return []
