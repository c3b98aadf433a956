"""The TOML file of imgpipe: keys and their domains, base files, and the place of each value."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from lofarpipe.errors import Finding, PipelineError, nearest
from lofarpipe.support.config_file import TomlFile
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.host_list import expand_hosts
from lofarpipe.support.patterns import lazy_pattern

DEFAULT_SETTINGS = "default_settings"
WSCLEAN = "wsclean"
RESOURCES = "resources"
RECORDS = ".runs"  # ending of the directory of the records of all runs of a configuration

#: TOML's name of each type, and the Python types of its values. A boolean is no number here.
TYPES: Mapping[str, tuple[type, ...]] = {"text": (str,), "integer": (int,), "boolean": (bool,), "number": (int, float)}


@dataclass(frozen=True)
class Key:
    """One key of ``[worker]`` or ``[data_handler]``, also for the template, the JSON schema and the manual."""

    name: str
    kind: str  # of TYPES
    default: object
    meaning: str
    above: int | None = None  # numbers have to be larger

    def problem(self, value: object) -> str | None:
        """Return the problem of a value, or None."""
        types = TYPES[self.kind]
        is_right = isinstance(value, types) and isinstance(value, bool) == (bool in types)
        if not is_right:
            article = "an" if self.kind == "integer" else "a" if self.kind != "text" else ""
            return f"is {as_toml(value)}; it must be {article} {self.kind}".replace("  ", " ")
        if self.above is not None and not self.above < value < float("inf"):  # type: ignore[operator]
            return f"is {as_toml(value)}; it must {'not be negative' if self.above < 0 else 'be positive'}"
        return None


WORKER = (
    Key("nodes", "text", "localhost", "hosts: localhost, names with ranges such as node[100-105], or slurm"),
    Key("max_concurrent", "integer", 4, "jobs at the same time on one host", above=0),
    Key("wsclean", "text", "", "WSClean's program; default: the one on PATH after env_file"),
    Key("env_file", "text", "", "shell file that is sourced before each job, on its host"),
    Key("dry_run", "boolean", False, "check everything, print every command, run nothing"),
    Key("debug", "boolean", False, "print each command when its job starts"),
    Key("run_on_file_host", "boolean", False, "run each job on the host that its set's path names"),
    Key("run_on_file_host_pattern", "text", "", "regular expression for a set's path; its first group is the host"),
    Key("provenance", "boolean", True, "write command, versions, host and observation into the FITS headers of images"),
    Key("max_time", "number", None, "seconds that a job may take", above=0),
    Key("slurm_options", "text", None, "options for sbatch, where nodes is slurm"),
    Key(
        "slurm_nodes",
        "integer",
        0,
        "jobs in the queue at a time: max_concurrent for each of so many nodes; 0: for one",
        above=-1,
    ),
)
DATA_HANDLER = (
    Key("config_file", "text", "", "TOML file of observations; arguments are then patterns of observations"),
    Key("data_level", "text", "L2", "level of the data to image"),
)
SECTIONS: Mapping[str, tuple[Key, ...]] = {"worker": WORKER, "data_handler": DATA_HANDLER, WSCLEAN: ()}
#: Keys for calpipe in the same file; ignored here.
CALPIPE = frozenset({"numthreads", "use_state_file", "state_dir", "force"})
CATEGORY_KEYS = (
    Key("cpus", "integer", 12, "cores of a job", above=0),
    Key("mem", "text", "40GB", "memory of a job"),
)
#: WSClean options by default; the file may override them.
WSCLEAN_DEFAULTS: Mapping[str, object] = {
    "name": "img",
    "pol": "I",
    "weight": "briggs 0",
    "data-column": "CORRECTED_DATA",
}


@dataclass(frozen=True)
class Setting:
    """A value of a file, and its position."""

    value: object
    file: str
    line: int = 0  # 0: not known
    key: str = ""  # with its section

    @property
    def where(self) -> str:
        """Where it stands, for messages: ``img.toml:7: wsclean.niter``."""
        return f"{self.file}{f':{self.line}' if self.line else ''}: {self.key}"


@dataclass(frozen=True)
class ImgpipeSettings:
    """The settings of the TOML files, with defaults.

    Attributes
    ----------
    path: the configuration as it was named on the command line.
    files: the file and its bases, the lowest base first.
    entries: section -> key -> value with its place, of the files only; WSClean's options in their order.
    """

    path: Path
    files: Sequence[Path]
    entries: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)

    def __getitem__(self, key: str) -> object:
        """Return the value of a key of ``[worker]`` or ``[data_handler]``, or its default."""
        section, setting_key = next((name, one) for name, keys in SECTIONS.items() for one in keys if one.name == key)
        entry = self.entries.get(section, {}).get(key)
        return setting_key.default if entry is None else entry.value

    def where(self, key: str, section: str = "worker") -> str:
        """Return where a key stands, or would stand."""
        entry = self.entries.get(section, {}).get(key)
        return Setting(None, str(self.path), 0, f"{section}.{key}").where if entry is None else entry.where

    def wsclean(self) -> dict[str, Setting]:
        """Return WSClean's options with their values, the defaults first."""
        path = str(self.path)
        defaults = {key: Setting(value, path, 0, f"{WSCLEAN}.{key}") for key, value in WSCLEAN_DEFAULTS.items()}
        return {**defaults, **self.entries.get(WSCLEAN, {})}

    def resources(self) -> dict[str, object]:
        """Return cores and memory of an imaging job in the queue."""
        entry = self.entries.get("worker", {}).get(RESOURCES)
        heavy = entry.value.get("heavy", {}) if entry and isinstance(entry.value, dict) else {}
        return {key.name: heavy.get(key.name, key.default) for key in CATEGORY_KEYS}

    def file(self, text: str) -> Path:
        """Resolve a file name: beside the configuration, else in the current directory."""
        path = Path(text).expanduser()
        beside = self.path.parent / path
        return beside if path.is_absolute() or beside.exists() else path


def read_imaging_settings(path: Path, assignments: Sequence[str] = ()) -> tuple[ImgpipeSettings, list[Finding]]:
    """Return the sound keys and values of a configuration, and findings about the others.

    Parameters
    ----------
    assignments: ``section.key=value`` of the command line, above the file.

    Raises
    ------
    PipelineError
        If the file or one of its bases cannot be read, or is not TOML.
    """
    entries: dict[str, dict[str, Setting]] = {}
    findings: list[Finding] = []
    layers = list(reversed(list(_layers(path))))
    files = [toml.path for toml in layers]
    for toml in layers:
        for section, table in toml.document.items():
            if section == DEFAULT_SETTINGS:
                continue
            where = toml.where(section) if isinstance(table, dict) else toml.where("", section)
            if section not in SECTIONS:
                if toml.path == path:  # a base may be shared with calpipe
                    is_case = section.lower() in SECTIONS
                    near = f"; did you mean '{section.lower()}'?" if is_case else nearest(section, SECTIONS)
                    findings.append(Finding(where, f"[{section}]: no such section{near}"))
            elif not isinstance(table, dict):
                findings.append(Finding(where, f"{section} is {as_toml(table)}; it must be a section, [{section}]"))
            else:
                entries[section] = _merged(entries.get(section, {}), _settings_of(toml, section, table))
    for text in assignments:
        section, table = parse_assignment(text)
        over = {key: Setting(value, "-s", 0, f"{section}.{key}") for key, value in table.items()}
        entries[section] = _merged(entries.get(section, {}), over)
    wrong: set[tuple[str, str]] = set()
    for (section, key), finding in _key_findings(ImgpipeSettings(path, files, entries)):
        wrong.add((section, key))
        findings.append(finding)
    sound = {
        section: {key: setting for key, setting in section_settings.items() if (section, key) not in wrong}
        for section, section_settings in entries.items()
    }
    return ImgpipeSettings(path, files, sound), findings


def is_assignment(text: str) -> bool:
    """Return whether ``section.key=value`` sets a key of the file, not of the pipeline made from it."""
    section, dot, _ = text.partition("=")[0].partition(".")
    return bool(dot) and "=" in text and section in SECTIONS


def parse_assignment(text: str) -> tuple[str, dict[str, object]]:
    """Return the section of ``section.key=value``, and its table; a value that is not TOML is text."""
    name, _, shown_value = text.partition("=")
    section, *keys = name.strip().split(".")
    try:
        value: object = tomllib.loads(f"value = {shown_value}")["value"]
    except tomllib.TOMLDecodeError:
        value = shown_value.strip()
    for key in reversed(keys[1:]):
        value = {key: value}
    return section, {keys[0]: value}


def _layers(path: Path) -> Iterator[TomlFile]:
    """Yield a configuration, its base, the base of that, and so on."""
    visited: list[Path] = []
    while True:
        toml = TomlFile(path)
        yield toml
        visited.append(path.resolve())
        if (base := toml.document.get(DEFAULT_SETTINGS)) is None:
            return
        where = f"{toml.where('', DEFAULT_SETTINGS)}: {DEFAULT_SETTINGS} = {as_toml(base)}"
        if not isinstance(base, str) or not base:
            raise PipelineError(f"{where}; it must name a file")
        path = path.parent / Path(base).expanduser()
        if path.resolve() in visited:
            raise PipelineError(f"{where}: these files name each other in a circle")
        if not path.is_file():
            raise PipelineError(f"{where}: there is no file {path}")


def _settings_of(toml: TomlFile, section: str, table: Mapping[str, object]) -> dict[str, Setting]:
    return {
        key: Setting(value, str(toml.path), toml.line(section, key), f"{section}.{key}") for key, value in table.items()
    }


def _merged(below: Mapping[str, Setting], above: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return the merged entries of one section: tables key by key, other values replaced."""
    merged = dict(below)
    for key, entry in above.items():
        value = entry.value
        if key in below and isinstance(value, dict) and isinstance(below[key].value, dict):
            value = _merged_tables(below[key].value, value)  # type: ignore[arg-type]
        merged[key] = replace(entry, value=value)
    return merged


def _merged_tables(below: Mapping[str, object], above: Mapping[str, object]) -> dict[str, object]:
    merged = dict(below)
    for key, value in above.items():
        base = below.get(key)
        merged[key] = _merged_tables(base, value) if isinstance(base, dict) and isinstance(value, dict) else value
    return merged


def _key_findings(settings: ImgpipeSettings) -> Iterator[tuple[tuple[str, str], Finding]]:
    """Yield (section, key) with its finding."""
    for section, keys in SECTIONS.items():
        keys_by_name = {key.name: key for key in keys}
        for name, entry in settings.entries.get(section, {}).items():
            if section == WSCLEAN or (section == "worker" and name in CALPIPE):
                continue
            place = section, name
            if section == "worker" and name == RESOURCES:
                yield from ((place, finding) for finding in _resource_findings(entry))
            elif name not in keys_by_name:
                yield place, Finding(entry.where, f"no such key{nearest(name, [*keys_by_name, RESOURCES])}")
            elif problem := keys_by_name[name].problem(entry.value):
                yield place, Finding(entry.where, problem)
    yield from ((("worker", "run_on_file_host"), finding) for finding in _pattern_findings(settings))
    try:
        shlex.split(str(settings["slurm_options"] or ""))
    except ValueError:
        yield ("worker", "slurm_options"), Finding(settings.where("slurm_options"), "its quotes are not balanced")
    if isinstance(nodes := settings["nodes"], str):
        try:
            expand_hosts(nodes)
        except PipelineError as err:
            yield ("worker", "nodes"), Finding(settings.where("nodes"), str(err))


def _resource_findings(entry: Setting) -> Iterator[Finding]:
    if not isinstance(entry.value, dict):
        yield Finding(entry.where, f"is {as_toml(entry.value)}; it must be a table such as {RESOURCES}.heavy")
        return
    keys_by_name = {key.name: key for key in CATEGORY_KEYS}
    for category, table in entry.value.items():
        for name, value in (table if isinstance(table, dict) else {"": table}).items():
            where = f"{entry.where}.{category}"
            if not isinstance(table, dict):
                yield Finding(where, f"is {as_toml(value)}; it must be a table with {' and '.join(keys_by_name)}")
            elif name not in keys_by_name:
                yield Finding(f"{where}.{name}", f"no such key{nearest(name, keys_by_name)}")
            elif problem := keys_by_name[name].problem(value):
                yield Finding(f"{where}.{name}", problem)
            elif name == "mem" and size_gb(str(value)) is None:
                yield Finding(f"{where}.{name}", f"is {as_toml(value)}; it must be a size such as '40GB'")


_MEMORY = lazy_pattern(r"\s*(?P<number>\d+(\.\d+)?)\s*(?P<unit>[kmgt]?)(i?b)?\s*", re.IGNORECASE)
_GB = {"": 1e-9, "k": 1e-6, "m": 1e-3, "g": 1.0, "t": 1e3}


def size_gb(text: str) -> float | None:
    """Return a size such as ``40GB`` in GB, or None if it is invalid or zero."""
    match = _MEMORY.fullmatch(text)
    size = float(match["number"]) * _GB[match["unit"].lower()] if match else 0.0
    return size or None


def _pattern_findings(settings: ImgpipeSettings) -> Iterator[Finding]:
    """Yield findings about the pattern for the host of a set."""
    pattern, where = settings["run_on_file_host_pattern"], settings.where("run_on_file_host_pattern")
    if not isinstance(pattern, str) or not pattern:
        if pattern == "" and settings["run_on_file_host"] is True:
            where = settings.where("run_on_file_host")
            yield Finding(where, r"needs run_on_file_host_pattern, such as '\/net/(node\d{3})'")
        return
    try:
        groups = re.compile(pattern).groups
    except re.error as err:
        yield Finding(where, f"{pattern!r} is no regular expression: {err}")
        return
    if not groups:
        yield Finding(where, f"{pattern!r} has no group; the host is the part in brackets, such as '/net/(node\\d+)'")


def as_toml(value: object) -> str:
    """Return a value as TOML would write it, as far as messages need that."""
    texts: Mapping[type, Callable[[object], str]] = {bool: lambda one: str(one).lower(), dict: lambda _: "a table"}
    if hasattr(value, "isoformat"):  # a date, a time
        return str(value)
    return texts.get(type(value), repr)(value)
