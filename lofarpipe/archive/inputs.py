"""Which files a run read, and which it made: by what its parset and its journal name."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.errors import PipelineError
from lofarpipe.installation import share_directory
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.state.fingerprints import named_paths
from lofarpipe.state.history import History
from lofarpipe.support.data_map import DataMap

MAP_ENDINGS = ("mapfile", "datamap")
OWN_FILES = (
    *("commands.txt", "journal.", "run.json", "report.html", "jobs/", "logs/", "mapfiles/", "parsets/", "repeat/"),
    "crate/",
)
ABSENT, FILE, TABLE = 0, 1, 2
_PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class RunFiles:
    """Tells inputs, products and the runner's own files apart.

    A product is what a step wrote, and what a plugin lists that was made during a run. Everything else that is
    named and is there is an input, but for programs and what was installed with them.
    """

    pipeline: Pipeline
    settings: Settings
    programs: frozenset[str]  # their paths
    began_s: float  # when the first run in this job directory began, s since 1970 UTC
    pauses: Sequence[tuple[float, float]] = ()  # between runs, from the end of one to the start of the next

    def inputs(self, history: History, before: Iterable[str] = ()) -> list[str]:
        """Return the inputs: those of ``before``, an earlier record, and all that parset and steps name."""
        named = [*self._named_in_parset(), *(path for path in sorted(history.files) if path not in history.written)]
        installed = f"{share_directory()}/"
        known = dict.fromkeys(before)
        new = [
            path
            for path in dict.fromkeys(named)
            if path not in known and not path.startswith(installed) and self._may_be_input(path)
        ]
        return _outermost([*known, *new])

    def products(
        self, history: History, inputs: Iterable[str], done: Collection[str], earlier: Collection[str]
    ) -> list[str]:
        """Return the products that are there; an input that a step changed is one too.

        Parameters
        ----------
        done: the steps that the run did, or found done.
        earlier: what steps wrote in earlier runs alone.
        """
        known = set(inputs)
        outputs = [outputs for step, outputs in history.plugins.items() if step in done]
        listed = (path for path in _listed(outputs) if path not in known and not self._is_older(path))
        named = dict.fromkeys([*(path for path in sorted(history.written) if path not in earlier), *listed])
        return _outermost([path for path in named if not self._is_own(path)])

    def _named_in_parset(self) -> Iterator[str]:
        """Yield every path in the values of the parset; patterns give what is there."""
        here = Path.cwd()
        values = [entry.value for entry in self.pipeline.parset.entries()]
        for path in sorted(named_paths(values, here)):
            yield from sorted(glob.glob(path)) if _PATTERN.intersection(path) else [path]  # noqa: PTH207 - as plugins do

    def _may_be_input(self, path: str) -> bool:
        return path not in self.programs and not self._is_own(path) and self._is_older(path)

    def _is_older(self, path: str) -> bool:
        """Whether something was there before the run, or came between runs: times of change cannot be copied along."""
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) and os.path.isdir(path):  # noqa: PTH112 - of very many paths
                status = os.lstat(f"{path}/table.dat")
            return status.st_ctime < self.began_s or any(a < status.st_ctime < b for a, b in self.pauses)
        except (OSError, ValueError):  # it is not there, or no path at all
            return False

    def _is_own(self, path: str) -> bool:
        """Whether a file is the runner's: log, map, journal ..."""
        if path.endswith(MAP_ENDINGS) or path == str(self.settings.log_file):
            return True
        return path.startswith(self._own_files)

    @cached_property
    def _own_files(self) -> tuple[str, ...]:
        return tuple(f"{self.settings.job_directory}/{name}" for name in OWN_FILES)


def _listed(plugin_outputs: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield what is in the maps that plugins made."""
    for outputs in plugin_outputs:
        for path in outputs.values():
            if str(path).endswith(MAP_ENDINGS):
                yield from _files_of_map(str(path))


def _kind(path: str) -> int:
    """Return whether there is a file or a casacore table, ABSENT for neither; it is asked for very many paths."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except (OSError, ValueError):  # it is not there, or no path at all
        return ABSENT
    if stat.S_ISREG(mode):
        return FILE
    return TABLE if stat.S_ISDIR(mode) and os.path.isfile(f"{path}/table.dat") else ABSENT  # noqa: PTH113


def _files_of_map(path: str) -> Iterator[str]:
    try:
        products = DataMap.load(path)
    except (PipelineError, OSError):  # it is gone, or is no map
        return
    for product in products:
        file = product.file
        if isinstance(file, str) and file.startswith("/"):
            yield file


def _outermost(paths: Iterable[str]) -> list[str]:
    """Return the files and tables that are there, without the files inside of a table."""
    kinds = {path: kind for path in dict.fromkeys(paths) if (kind := _kind(path))}
    tables = {path for path, kind in kinds.items() if kind == TABLE}
    if not tables:
        return list(kinds)
    return [path for path in kinds if not any(str(folder) in tables for folder in Path(path).parents)]
