"""Input and output files of a run, by the names in its parset and its journal."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lofarpipe.config import CHECKSUM_LIMIT_GB, Settings, find_file, parset_directories, share_directory
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.state.fingerprints import named_paths
from lofarpipe.state.work import Work
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Entry, Parset, unquote
from lofarpipe.support.parset_text import expand_environment
from lofarpipe.support.patterns import lazy_pattern

HEADER = "# Everything that this run was told: base, field, ready steps and command line in one file.\n"


def self_contained(composed: Parset) -> tuple[str, list[str]]:
    """Return a composed parset as text, and the keys that cannot be written as text.

    ``{{ }}`` stay, so that options stay options. References to the environment in definitions are resolved.
    Sub-pipelines are named by their whole paths. A value that has both kinds of quotes, ``=`` and ``#`` cannot be
    written; such keys are returned with file and line.
    """
    definitions = {entry.key for entry in composed.definitions().values()}
    resolved = re.compile(r"pipeline\.base|[^.]*\.use")
    entries = [entry for entry in composed.entries() if not resolved.fullmatch(entry.key)]
    lines = {entry: _line(entry, _value(entry, composed, entry.key in definitions)) for entry in entries}
    lost = [f"{entry.where}: {entry.key}" for entry, line in lines.items() if not line]
    return HEADER + "".join(lines.values()), lost


def field_text(parset: Parset, assignments: Sequence[str]) -> str:
    """Return a parset on a base as text, with the settings of the command line: ``key=value``."""
    lines = [_line(entry, entry.value) for entry in parset.entries()]
    pairs = [assignment.partition("=") for assignment in assignments]
    lines += [f"{'' if '.' in key else '! '}{key.strip()} = {value.strip()}\n" for key, _, value in pairs]
    return "".join(lines)


def _value(entry: Entry, composed: Parset, is_definition: bool) -> str:
    if is_definition:
        return expand_environment(entry.value)
    step, _, rest = entry.key.partition(".")
    if rest == "control.type" and composed.get(f"{step}.control.kind") == "pipeline":
        return _sub_pipeline(entry)
    return entry.value


def _sub_pipeline(entry: Entry) -> str:
    try:
        return str(find_file(unquote(entry.value), [Path(entry.file).parent, *parset_directories()], "sub-pipeline"))
    except PipelineError:  # a reference, resolved by the run only
        return entry.value


def _line(entry: Entry, value: str) -> str:
    """Return a ``key = value`` line, quoted if the value has ``=`` or ``#``; empty if impossible."""
    comment = f"  ## {entry.comment}" if entry.comment else ""
    for spelling in (value, f'"{value}"', f"'{value}'"):
        line = f"{entry.key} = {spelling}{comment}\n"
        if _parses_to(line, entry.key, {value, spelling}):
            return line
    return ""


def _parses_to(line: str, key: str, values: set[str]) -> bool:
    try:
        again = list(Parset.parse(line).entries())
    except PipelineError:
        return False
    return [entry.key for entry in again] == [key] and again[0].value in values


Facts = dict[str, Any]
COMMAND_LINE = "command line"
BUILT_IN = "built in"
OTHER_NAMES = {"task_file": "task_files"}  # option of the command line -> key of the configuration
_SECTION = lazy_pattern(r"\[(?P<name>[^]]+)\]")
_KEY = lazy_pattern(r"(?P<key>[^\s#;=:\[][^=:]*?)\s*[=:]")


def configuration_facts(settings: Settings, overrides: Mapping[str, str]) -> Facts:
    """Return the configuration: file, text, and every value with its source.

    Parameters
    ----------
    overrides: settings of the command line, by the names of its options.
    """
    text = settings.config_file.read_text(encoding="utf-8")
    typed = {OTHER_NAMES.get(name, name) for name in overrides}
    values = []
    for (section, key), line in lines_of(text).items():
        section_values = settings.inputs if section == "DEFAULT" else settings.sections.get(section, {})
        source = COMMAND_LINE if key in typed else f"{settings.config_file}:{line}"
        values.append({"section": section, "key": key, "value": section_values.get(key, ""), "source": source})
    values += [
        {"section": section, "key": key, "value": str(value), "source": COMMAND_LINE if key in typed else BUILT_IN}
        for section, key, value in _defaults(settings)
        if not any((one["section"], one["key"]) == (section, key) for one in values)
    ]
    return {"file": str(settings.config_file), "text": text, "values": values}


def _defaults(settings: Settings) -> list[tuple[str, str, object]]:
    """Return section, key and value in force of the optional keys of a configuration."""
    return [
        ("remote", "max_per_node", settings.max_per_node),
        ("remote", "cores", settings.cores),
        ("remote", "memory_gb", settings.memory_gb),
        ("report", "checksum_limit_gb", CHECKSUM_LIMIT_GB),
    ]


def lines_of(text: str) -> dict[tuple[str, str], int]:
    """Return (section, key) -> line in a configuration's text; the last one of duplicate keys."""
    line_numbers: dict[tuple[str, str], int] = {}
    section = "DEFAULT"
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _SECTION.match(line):
            section = match["name"]
        elif match := _KEY.match(line):
            line_numbers[section, match["key"].strip().lower()] = number
    return line_numbers


MAP_ENDINGS = ("mapfile", "datamap")
OWN_FILES = (
    *("commands.txt", "journal.", "run.json", "report.html", "jobs/", "logs/", "mapfiles/", "parsets/", "repeat/"),
    "crate/",
)
ABSENT, FILE, TABLE = 0, 1, 2
_PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class RunFiles:
    """Distinguishes inputs, products and the runner's own files.

    A product is a file that a step wrote, or one made during a run that a plugin lists. Every other existing file that
    is named is an input, but for programs and files installed with them.
    """

    pipeline: Pipeline
    settings: Settings
    programs: frozenset[str]  # their paths
    began_s: float  # when the first run in this job directory began, s since 1970 UTC
    pauses: Sequence[tuple[float, float]] = ()  # between runs, from the end of one to the start of the next

    def inputs(self, work: Work, recorded_inputs: Iterable[str] = ()) -> list[str]:
        """Return the inputs named in ``recorded_inputs`` (of an earlier record), the parset and the steps."""
        candidates = [*self._named_in_parset(), *(path for path in sorted(work.files) if path not in work.written)]
        installed = f"{share_directory()}/"
        earlier_inputs = dict.fromkeys(recorded_inputs)
        new = [
            path
            for path in dict.fromkeys(candidates)
            if path not in earlier_inputs and not path.startswith(installed) and self._may_be_input(path)
        ]
        return _outermost([*earlier_inputs, *new])

    def products(self, work: Work, inputs: Iterable[str], done: Collection[str], earlier: Collection[str]) -> list[str]:
        """Return the existing products, including inputs changed by a step.

        Parameters
        ----------
        done: steps finished by this run or an earlier one.
        earlier: files that steps wrote only in earlier runs.
        """
        input_paths = set(inputs)
        outputs = [outputs for step, outputs in work.plugins.items() if step in done]
        map_entries = (path for path in _map_files(outputs) if path not in input_paths and not self._is_older(path))
        candidates = dict.fromkeys([*(path for path in sorted(work.written) if path not in earlier), *map_entries])
        return _outermost([path for path in candidates if not self._is_own(path)])

    def _named_in_parset(self) -> Iterator[str]:
        """Yield every path in the values of the parset; patterns are expanded."""
        directory = Path.cwd()
        values = [entry.value for entry in self.pipeline.parset.entries()]
        for path in sorted(named_paths(values, directory)):
            yield from sorted(glob.glob(path)) if _PATTERN.intersection(path) else [path]  # noqa: PTH207 - as plugins do

    def _may_be_input(self, path: str) -> bool:
        return path not in self.programs and not self._is_own(path) and self._is_older(path)

    def _is_older(self, path: str) -> bool:
        """Whether a file is older than the run or appeared between runs; uses ctime, which copies do not preserve."""
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


def _map_files(plugin_outputs: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """Yield the entries of maps that plugins made."""
    for outputs in plugin_outputs:
        for path in outputs.values():
            if str(path).endswith(MAP_ENDINGS):
                yield from _files_of_map(str(path))


def _kind(path: str) -> int:
    """Return the kind of a path: file, casacore table, or ABSENT; called for very many paths."""
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
    """Return the existing files and tables, without the files inside tables."""
    kinds = {path: kind for path in dict.fromkeys(paths) if (kind := _kind(path))}
    tables = {path for path, kind in kinds.items() if kind == TABLE}
    if not tables:
        return list(kinds)
    return [path for path in kinds if not any(str(folder) in tables for folder in Path(path).parents)]
