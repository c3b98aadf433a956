"""Programs that the runner knows: their arguments are completed and checked, and their logs are read.

A step says ``control.program = wsclean``; the task types dp3 and wsclean do so themselves.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lofarpipe.executors.jobs import Resources

Keywords = dict[str, str]


class KnownProgram(Protocol):
    """What the runner knows of one program."""

    def version(self, executable: Path) -> str:
        """Return the version of an installed program; a step runs again when it changes."""
        ...

    def check(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], machine: Resources
    ) -> list[str]:
        """Return what is wrong with the arguments, as far as they are known before the first job."""
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


class WSClean:
    """WSClean: gridder and spelling by build, cores and memory by job."""

    def version(self, executable: Path) -> str:
        """Return what ``--version`` says."""
        from lofarpipe.imaging import wsclean

        return ".".join(map(str, wsclean.describe(executable).version))

    def check(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], machine: Resources
    ) -> list[str]:
        """Return every refusal of this build that can be foreseen."""
        from lofarpipe.imaging import wsclean

        return wsclean.check(dict(keywords), list(flags), wsclean.describe(executable), machine.gpus)

    def accepts(self, executable: Path, name: str) -> bool:
        """Return whether this build has the option ``-name``."""
        from lofarpipe.imaging import wsclean

        return wsclean.has_option(name, wsclean.describe(executable))

    def complete(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], given: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return the arguments with the gridder chosen, ``-j`` and ``-abs-mem``."""
        from lofarpipe.imaging import wsclean

        build = wsclean.describe(executable)
        return wsclean.adapt(dict(keywords), list(flags), build, given.cores, given.memory_gb, given.gpus)

    def complaint(self, log_text: str) -> str | None:
        """Return the known reason for which WSClean ended."""
        from lofarpipe.imaging import wsclean

        return wsclean.find_refusal(log_text)


class DP3:
    """DP3: number of threads by job; keywords that it did not use are an error."""

    def version(self, executable: Path) -> str:
        """Return the version of the installed package, or "" for a DP3 that pip did not install.

        The program itself is not asked: that takes a second. Where it is no package its file changes with its version.
        """
        if executable.suffix != ".py":
            return ""
        try:
            return importlib.metadata.version("dp3")
        except importlib.metadata.PackageNotFoundError:
            return ""

    def check(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], machine: Resources
    ) -> list[str]:
        """Return what would give wrong results or harm the input."""
        from lofarpipe.imaging import dp3

        return dp3.check(dict(keywords))

    def accepts(self, executable: Path, name: str) -> bool:
        """Return True: which names DP3 uses depends on its steps, and it says so itself before it starts."""
        return True

    def complete(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], given: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return the arguments with ``numthreads``, and the check of unused keywords switched on."""
        from lofarpipe.imaging import dp3

        return dp3.adapt(dict(keywords), given.cores), list(flags), []

    def complaint(self, log_text: str) -> str | None:
        """Return the keywords that DP3 did not use."""
        from lofarpipe.imaging import dp3

        unused = dp3.unused_keywords(log_text)
        if not unused:
            return None
        return f"DP3 does not know these keywords: {', '.join(unused)}; correct or remove them"


KNOWN_PROGRAMS: dict[str, KnownProgram] = {"wsclean": WSClean(), "dp3": DP3()}
