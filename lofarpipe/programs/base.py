"""What the runner knows of a program: its arguments are completed and checked, and its log is read.

A step names it in ``control.program``; the task types of the known programs do so themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lofarpipe.jobs import Resources
from lofarpipe.programs.argv import OutputArgument
from lofarpipe.support.disk import Need

Keywords = dict[str, str]


class Program(Protocol):
    """What the runner knows of one program.

    Attributes
    ----------
    name: as people write it.
    home: the address of its manual.
    output_key: the argument that names its output.
    scratch_option: the option that names a directory for temporary files; "" if there is none.
    is_run: whether ``check`` and ``accepts`` run it.
    reads_parset: whether it reads a file of ``key=value`` that is its first argument.
    """

    name: str
    home: str
    output_key: str
    scratch_option: str
    is_run: bool
    reads_parset: bool

    def version(self, executable: Path) -> str:
        """Return the version of an installed program; a step runs again when it changes."""
        ...

    def check(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], machine: Resources
    ) -> list[str]:
        """Return what is wrong with the arguments, as far as they are known before the first job."""
        ...

    def missing_files(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[tuple[str, str]]:
        """Return (name, finding) for each file that the arguments name as an input and that is not there."""
        ...

    def accepts(self, executable: Path, name: str) -> bool:
        """Return whether the program has an argument of this name."""
        ...

    def complete(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], given: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return keywords and flags as this build of the program wants them for ``given``, and notices."""
        ...

    def complaint(self, log_text: str) -> str | None:
        """Return what the log says went wrong, also where the exit code is 0; None if nothing."""
        ...

    def asks_for(self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str]) -> tuple[int, int]:
        """Return the cores and the graphics processors for which the arguments ask; 0 where they do not."""
        ...

    def output(self, argv: Sequence[str], workdir: Path) -> OutputArgument | None:
        """Return the argument that names what a command makes; None if it makes nothing new, or reads it too."""
        ...

    def products(self, argv: Sequence[str], workdir: Path) -> list[str]:
        """Return the absolute paths of what a command may write, by the program's documented names."""
        ...

    def in_place(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return the paths of the inputs that a job changes, as they are in the arguments."""
        ...

    def harmed_inputs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return those of ``in_place`` of which half a change, or a change made twice, would do harm."""
        ...

    def needs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[Need]:
        """Return the space that a job takes, as far as it is known before it runs."""
        ...


def decimal_count(text: str) -> int:
    """Return the number that a text is, or 0 where it is none."""
    return int(text) if text.isdecimal() else 0
