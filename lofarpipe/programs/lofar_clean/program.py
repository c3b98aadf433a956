"""lofar-clean, the imager of this package, as a step runs it: in the place of WSClean, with the same arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe import __version__
from lofarpipe.jobs import Resources
from lofarpipe.programs.base import Keywords
from lofarpipe.programs.lofar_clean import options as table
from lofarpipe.programs.logs import explained
from lofarpipe.programs.wsclean.options import option_words, remove_flags, settle_flags, value_findings
from lofarpipe.programs.wsclean.outputs import input_sets
from lofarpipe.programs.wsclean.program import SMALLEST_MEMORY_GB, WSClean

#: Options of WSClean without effect here that pipelines always set: left out without a notice.
SILENT = frozenset({"reorder", "no-reorder", "fit-beam", "no-update-model-required"})
AUTOMATIC = {"gridder": "auto"}  # values that leave the choice to the imager
#: Options of IDG, which are also passed to a WSClean without IDG, and ignored.
OF_IDG = frozenset({"idg-mode"})
MEMORY_SHARE = 0.95  # fraction of the job's memory: libraries and code take the rest


class LofarClean(WSClean):
    """The imager of this package. Names of images, log lines, needs and divergence are as of WSClean."""

    name = table.PROGRAM
    home = ""
    executables = (table.PROGRAM,)
    install = table.INSTALL
    mpi_executable = ""
    task = {"executable": table.PROGRAM, "args_format": "wsclean"}
    messages = ()

    def version(self, executable: Path) -> str:
        """Return the version of this package, which the command belongs to."""
        return __version__

    def check(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], machine: Resources
    ) -> list[str]:
        """Return findings for refused options and invalid values."""
        counts = table.value_counts()
        keywords, flags = settle_flags(keywords, flags, counts)
        counted = {name: text for name, text in keywords.items() if table.OTHER_SPELLINGS.get(name, name) in counts}
        wrong = value_findings(counted, flags, counts)
        options = self._set_options(keywords, flags)
        rest = {name: words for name, words in options.items() if name not in wrong}
        # Size and scale may come from maps, whose values are known in the job only.
        unknown = {"size": ["100", "100"], "scale": ["1asec"]}
        return [*wrong.values(), *table.option_findings(unknown | rest), *_missing()]

    def accepts(self, executable: Path, name: str) -> bool:
        """Return whether the option is known, and not refused."""
        return name in table.OPTIONS or name in table.IGNORED or name in table.OTHER_SPELLINGS

    def complete(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], share: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return the arguments without options that have no effect, and with ``-j`` and ``-abs-mem``."""
        counts = table.value_counts()
        valued, rest = settle_flags(keywords, flags, counts)
        options = self._set_options(valued, rest)
        aside = [name for name in (*valued, *options) if name in table.IGNORED or name in OF_IDG]
        single = [name for name in aside if not counts.get(name)]
        used_keywords = {name: text for name, text in valued.items() if name not in aside}
        used_keywords = {name: text for name, text in used_keywords.items() if AUTOMATIC.get(name) != text}
        if used_keywords.get("channels-out") == "1" or first_channels(options) == 1:
            single += ["join-channels"]
            used_keywords.pop("fit-spectral-pol", None)
        remarks = [text for text in table.notices(options) if text[1:].split()[0] not in SILENT]
        flags = remove_flags(rest, set(aside) - set(single), single)
        return used_keywords | self._share_of(options, share), flags, remarks

    def allotted(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str], share: Resources
    ) -> tuple[Keywords, list[str], list[str]]:
        """Return the arguments as they are, with ``-j`` and ``-abs-mem``."""
        valued, rest = settle_flags(keywords, flags, table.value_counts())
        return {**valued, **self._share_of(option_words(valued, rest), share)}, rest, []

    def in_place(self, keywords: Mapping[str, str], flags: Sequence[str], workdir: Path = Path()) -> list[str]:
        """Return the measurement sets to receive model data, on request only."""
        return input_sets(flags, workdir) if "update-model-required" in option_words(keywords, flags) else []

    def retry_arguments(self, argv: Sequence[str], problem: str, limits: Mapping[str, float]) -> list[str] | None:
        """Return None: sources outside the image cause no divergence here."""
        return None

    def complaint(self, log_text: str) -> str | None:
        """Return the final error message."""
        messages = [line for line in log_text.splitlines() if line.startswith(f"{self.name}: ")]
        return (
            f"{self.name} says: {messages[-1].partition(': ')[2]}"
            if messages
            else explained(self.name, log_text) or None
        )

    def requested_resources(
        self, executable: Path, keywords: Mapping[str, str], flags: Sequence[str]
    ) -> tuple[int, int]:
        """Return ``-j``; it uses no graphics processor."""
        return int(table.option_number(option_words(keywords, flags), "j")), 0

    def most_gpus(self, keywords: Mapping[str, str]) -> int:
        """Return 0: it uses no graphics processor."""
        return 0

    @staticmethod
    def _set_options(keywords: Mapping[str, str], flags: Sequence[str]) -> dict[str, list[str]]:
        """Return option -> words, without options of IDG and choices left to the imager."""
        options = {
            table.OTHER_SPELLINGS.get(name, name): words for name, words in option_words(keywords, flags).items()
        }
        return {name: words for name, words in options.items() if name not in OF_IDG}

    @staticmethod
    def _share_of(options: Mapping[str, Sequence[str]], available: Resources) -> dict[str, str]:
        share = {} if "j" in options else {"j": str(available.cores)}
        if available.memory_gb is not None and not {"mem", "abs-mem"} & set(options):
            share["abs-mem"] = f"{max(MEMORY_SHARE * available.memory_gb, SMALLEST_MEMORY_GB):.2f}"
        return share


def first_channels(options: Mapping[str, Sequence[str]]) -> int:
    """Return the number of output channels."""
    return int(table.option_number(options, "channels-out", 1))


def _missing() -> list[str]:
    names = table.missing_imager_packages()
    return [f"{table.PROGRAM}: {' and '.join(names)} is not installed; {table.INSTALL}"] if names else []


PROGRAM = LofarClean()
