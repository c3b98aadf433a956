"""Programs that the runner knows: their arguments are completed and checked, and their logs are read.

A step says ``control.program = wsclean``; the task types dp3 and wsclean do so themselves.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from lofarpipe.jobs import Resources
from lofarpipe.programs.argv import OutputArgument
from lofarpipe.support.disk import Need

Keywords = dict[str, str]


class KnownProgram(Protocol):
    """What the runner knows of one program.

    Attributes
    ----------
    name: as people write it.
    scratch_option: the option that names a directory for temporary files; "" if there is none.
    is_run: whether ``check`` and ``accepts`` run it.
    reads_parset: whether it reads a file of ``key=value`` that is its first argument.
    """

    name: str
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

    def needs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[Need]:
        """Return the space that a job takes, as far as it is known before it runs."""
        ...


class WSClean:
    """WSClean: gridder and spelling by build, cores and memory by job."""

    name = "WSClean"
    scratch_option = "temp-dir"
    is_run = True
    reads_parset = False

    def version(self, executable: Path) -> str:
        """Return what ``--version`` says."""
        from lofarpipe.programs.wsclean import program as wsclean

        return ".".join(map(str, wsclean.describe(executable).version))

    def check(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], machine: Resources
    ) -> list[str]:
        """Return every refusal of this build that can be foreseen."""
        from lofarpipe.programs.wsclean import program as wsclean

        return wsclean.check(dict(keywords), list(flags), wsclean.describe(executable), machine.gpus)

    def missing_files(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[tuple[str, str]]:
        """Return masks, solutions and the like that are not there."""
        from lofarpipe.programs.wsclean import arguments as wsclean_arguments
        from lofarpipe.programs.wsclean import options as wsclean_options

        return wsclean_options.missing_files(wsclean_arguments.given_options(keywords, flags), workdir)

    def accepts(self, executable: Path, name: str) -> bool:
        """Return whether this build has the option ``-name``."""
        from lofarpipe.programs.wsclean import program as wsclean

        return wsclean.has_option(name, wsclean.describe(executable))

    def complete(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], given: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return the arguments with the gridder chosen, ``-j`` and ``-abs-mem``."""
        from lofarpipe.programs.wsclean import program as wsclean

        build = wsclean.describe(executable)
        return wsclean.adapt(dict(keywords), list(flags), build, given.cores, given.memory_gb, given.gpus)

    def complaint(self, log_text: str) -> str | None:
        """Return the known reason for which WSClean ended."""
        from lofarpipe.programs.wsclean import program as wsclean

        return wsclean.find_refusal(log_text)

    def asks_for(self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str]) -> tuple[int, int]:
        """Return ``-j``, and one graphics processor for IDG on one."""
        from lofarpipe.programs.wsclean import arguments as wsclean_arguments
        from lofarpipe.programs.wsclean import output as wsclean_output
        from lofarpipe.programs.wsclean import program as wsclean

        options = wsclean_arguments.given_options(keywords, flags)
        gpus = wsclean_output.gpu_count(options)
        if gpus and not wsclean.uses_idg(options, wsclean.describe(executable)):
            gpus = 0
        return _count("".join(options.get("j", ())[:1])), gpus

    def output(self, argv: Sequence[str], workdir: Path) -> OutputArgument | None:
        """Return the value of ``-name``."""
        from lofarpipe.programs.wsclean import output as wsclean_output

        return wsclean_output.output_argument(argv, workdir)

    def products(self, argv: Sequence[str], workdir: Path) -> list[str]:
        """Return the images, and the source lists."""
        from lofarpipe.programs.wsclean import products as wsclean_products

        return [str(workdir / product.path) for product in wsclean_products.command_products(argv)]

    def in_place(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return the measurement sets whose model or weights are written."""
        from lofarpipe.programs.wsclean import output as wsclean_output

        return wsclean_output.changed_inputs(keywords, flags, workdir)

    def needs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[Need]:
        """Return the space for images, and for the reordered visibilities."""
        from lofarpipe.programs.wsclean import arguments as wsclean_arguments
        from lofarpipe.programs.wsclean import output as wsclean_output

        options = wsclean_arguments.given_options(keywords, flags)
        images = workdir / "".join(options.get("name", ["wsclean"])[:1])
        needs = [(images.parent, wsclean_output.image_bytes(keywords, flags), "the images", False)]
        for scratch in options.get("temp-dir", ())[:1]:
            size = wsclean_output.reordered_bytes(keywords, flags, workdir)
            needs.append((workdir / scratch, size, "the reordered visibilities", True))
        return [Need(place, size, what, given_back) for place, size, what, given_back in needs if size]


class DP3:
    """DP3: number of threads by job; keywords that it did not use are an error."""

    name = "DP3"
    scratch_option = ""
    is_run = False
    reads_parset = True

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
        from lofarpipe.programs import dp3

        return dp3.check(dict(keywords))

    def missing_files(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[tuple[str, str]]:
        """Return none: which keywords name files depends on the steps."""
        return []

    def accepts(self, executable: Path, name: str) -> bool:
        """Return True: which names DP3 uses depends on its steps, and it says so itself before it starts."""
        return True

    def complete(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], given: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return the arguments with ``numthreads``, and the check of unused keywords switched on."""
        from lofarpipe.programs import dp3

        return dp3.adapt(dict(keywords), given.cores), list(flags), []

    def complaint(self, log_text: str) -> str | None:
        """Return the keywords that DP3 did not use."""
        from lofarpipe.programs import dp3

        unused = dp3.unused_keywords(log_text)
        if not unused:
            return None
        return f"DP3 does not know these keywords: {', '.join(unused)}; correct or remove them"

    def asks_for(self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str]) -> tuple[int, int]:
        """Return ``numthreads``."""
        return _count(keywords.get("numthreads", "")), 0

    def output(self, argv: Sequence[str], workdir: Path) -> OutputArgument | None:
        """Return ``msout``."""
        from lofarpipe.programs import dp3 as dp3_output

        return dp3_output.output_argument(argv, workdir)

    def products(self, argv: Sequence[str], workdir: Path) -> list[str]:
        """Return the measurement set that is not an input."""
        from lofarpipe.programs import dp3 as dp3_output

        output = dp3_output.named_output(argv, workdir)
        return [str(workdir / output.name)] if output else []

    def in_place(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return the input sets where there is no new one."""
        from lofarpipe.programs import dp3 as dp3_output

        return dp3_output.changed_inputs(keywords, workdir)

    def needs(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path) -> list[Need]:
        """Return the space for the new measurement set."""
        from lofarpipe.programs import dp3 as dp3_output

        output = dp3_output.output_argument(["DP3", *(f"{key}={value}" for key, value in keywords.items())], workdir)
        size = dp3_output.output_bytes(keywords, workdir) if output else None
        return [Need((workdir / output.name).parent, size, "the measurement set")] if output and size else []


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0


KNOWN_PROGRAMS: dict[str, KnownProgram] = {"wsclean": WSClean(), "dp3": DP3()}
