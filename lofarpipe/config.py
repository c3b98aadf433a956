"""pipeline.cfg, tasks.cfg and the command line -> frozen settings."""

from __future__ import annotations

import configparser
import datetime
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.executors.site_options import where
from lofarpipe.installation import find_file, share_directory
from lofarpipe.support.parset import split_list

N = TypeVar("N", int, float)

#: Options that tasks.cfg may use for itself; they are not control keys of a step.
NOT_CONTROL_KEYS = ("recipe",)
LOST_RETRIES = "2"


@dataclass(frozen=True)
class Settings:
    """What the site and the command line say, read once at the start of a run."""

    config_file: Path
    job_name: str
    start_time: str
    runtime_directory: Path
    working_directory: Path  # jobs work in <working_directory>/<job_name>
    job_directory: Path
    recipe_directories: tuple[Path, ...]
    max_per_node: int  # 0: as many as cores and memory allow
    cores: int  # 0: all there are
    memory_gb: float  # 0: all there is
    lost_retries: int  # how often a job that was lost with its node is run again
    log_file: Path
    statistics_file: Path
    lenient: bool  # findings of the check are warnings
    inputs: Mapping[str, str]  # what input.output.<key> resolves to
    sections: Mapping[str, Mapping[str, str]]  # the same, section by section
    tasks: Tasks = field(repr=False)
    defaults: Mapping[str, str] = field(default_factory=dict, repr=False)  # [DEFAULT], which every section has as well

    @property
    def job_workdir(self) -> Path:
        """Where jobs run, and where their outputs go."""
        return self.working_directory / self.job_name

    @property
    def mapfile_dir(self) -> Path:
        """Where mapfiles are written."""
        return self.job_directory / "mapfiles"

    @property
    def parset_dir(self) -> Path:
        """Where the resolved argument block of each step is written."""
        return self.job_directory / "parsets"

    def search_path(self, kind: str) -> list[Path]:
        """Return the directories that may hold ``kind`` ("plugins", "scripts", "steps"), the site's first."""
        return [directory / kind for directory in (*self.recipe_directories, share_directory())]


class Tasks:
    """Task definitions: a section's options are defaults for control keys; later files override earlier ones."""

    def __init__(self, parser: configparser.ConfigParser, variables: Mapping[str, str]) -> None:
        self._parser = parser
        self._variables = variables

    def __iter__(self) -> Iterator[str]:
        return iter(self._parser.sections())

    def control_keys(self, task: str) -> dict[str, str]:
        """Return the control keys that the task ``task`` sets.

        Raises
        ------
        PipelineError
            If there is no such task, or one of its values cannot be interpolated.
        """
        if not self._parser.has_section(task):
            known = ", ".join(sorted(self._parser.sections()))
            raise PipelineError(f"'{task}' is no task type{nearest(task, self._parser.sections())} (known: {known})")
        try:
            options = dict(self._parser.items(task))
        except configparser.Error as err:
            raise PipelineError(f"task type '{task}': {_one_line(err)}") from err
        return {k: v for k, v in options.items() if k not in self._variables and k not in NOT_CONTROL_KEYS}

    def recipe(self, task: str) -> str:
        """Return the recipe that runs the task: ``executable_args`` for every generic step.

        Raises
        ------
        PipelineError
            If it cannot be interpolated.
        """
        try:
            return self._parser.get(task, "recipe", fallback="executable_args")
        except configparser.Error as err:
            raise PipelineError(f"task type '{task}': {_one_line(err)}") from err


@dataclass(frozen=True)
class Overrides:
    """What the command line says about the configuration."""

    config: str | None = None
    job_name: str | None = None
    task_files: str | None = None
    runtime_directory: str | None = None
    working_directory: str | None = None
    start_time: str | None = None
    lenient: bool = False
    cores: int | None = None
    memory_gb: float | None = None


def load_settings(parset: Path, overrides: Overrides) -> Settings:
    """Return the settings for one run of ``parset``.

    Raises
    ------
    PipelineError
        If a configuration file is missing or malformed, or a directory that it names does not exist.
    """
    config_file = find_config(overrides.config)
    job_name = overrides.job_name or parset.stem
    parser = _parser(
        {
            "job_name": job_name,
            "start_time": overrides.start_time or datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "cwd": str(Path.cwd()).replace("%", "%%"),
            "share": str(share_directory()).replace("%", "%%"),
        }
    )
    _read(parser, config_file)
    for key, value in (
        ("runtime_directory", overrides.runtime_directory),
        ("working_directory", overrides.working_directory),
        ("task_files", overrides.task_files),
    ):
        if value is not None:
            parser["DEFAULT"][key] = value.replace("%", "%%")
    for key, number in (("cores", overrides.cores), ("memory_gb", overrides.memory_gb)):
        if number is not None:
            if not 0 <= number < math.inf:
                option = f"--{key.replace('_', '-')}"
                raise PipelineError(f"{option} is {number:g}; a number of 0 (all there is) or more is needed")
            parser.read_dict({"remote": {key: str(number)}})
    return _settings(parser, config_file, overrides.lenient)


def find_config(typed: str | None) -> Path:
    """Return the configuration file: as typed (or shipped), else ./pipeline.cfg, ~/.pipeline.cfg, the shipped one."""
    shipped = share_directory() / "cfg"
    if typed is not None:
        return find_file(typed, [shipped], "configuration file")
    for path in (Path("pipeline.cfg"), Path("~/.pipeline.cfg").expanduser()):
        if path.is_file():
            return path.resolve()
    return find_file("pipeline.cfg", [shipped], "configuration file")


def _parser(defaults: Mapping[str, str]) -> configparser.ConfigParser:
    # Not strict: task files in the field define a section twice, and the later options are to win.
    return configparser.ConfigParser(defaults=defaults, strict=False)


def _read(parser: configparser.ConfigParser, path: Path) -> None:
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, UnicodeDecodeError, configparser.Error) as err:
        raise PipelineError(f"{path}: not a readable configuration file: {_one_line(err)}") from err


def _one_line(err: Exception) -> str:
    return " ".join(str(err).split())


def _settings(parser: configparser.ConfigParser, path: Path, lenient: bool) -> Settings:
    defaults = _items(parser, "DEFAULT", path)
    runtime = _directory(defaults, "runtime_directory", path)
    working = _directory(defaults, "working_directory", path)
    sections = {name: _items(parser, name, path) for name in parser.sections()}
    everything = {key: value for section in sections.values() for key, value in section.items()}
    remote = sections.get("remote", defaults)
    job_name = defaults["job_name"]
    job_directory = Path(sections.get("layout", {}).get("job_directory", str(runtime / job_name))).absolute()
    log = sections.get("logging", {}).get(
        "log_file", str(job_directory / "logs" / defaults["start_time"] / "pipeline.log")
    )
    inputs = {**defaults, **everything, "job_directory": str(job_directory), "log_file": log}
    inputs |= {"mapfile_dir": str(job_directory / "mapfiles"), "parset_dir": str(job_directory / "parsets")}
    inputs |= {"runtime_directory": str(runtime), "working_directory": str(working)}
    return Settings(
        config_file=path,
        job_name=job_name,
        start_time=defaults["start_time"],
        runtime_directory=runtime,
        working_directory=working,
        job_directory=job_directory,
        recipe_directories=tuple(
            Path(item).absolute() for item in split_list(defaults.get("recipe_directories", "[]"))
        ),
        max_per_node=_number(remote, "max_per_node", path, int),
        cores=_number(remote, "cores", path, int),
        memory_gb=_number(remote, "memory_gb", path, float),
        lost_retries=_number({"lost_retries": LOST_RETRIES, **remote}, "lost_retries", path, int),
        log_file=Path(log).absolute(),
        statistics_file=Path(
            sections.get("logging", {}).get("xml_stat_file", str(Path(log).with_name("statistics.xml")))
        ).absolute(),
        lenient=_flag({**defaults, **everything}, "lenient", path) or lenient,
        inputs=inputs,
        sections=sections,
        tasks=_tasks(defaults, path),
        defaults=defaults,
    )


def _items(parser: configparser.ConfigParser, section: str, path: Path) -> dict[str, str]:
    try:
        return dict(parser.items(section))
    except configparser.Error as err:
        raise PipelineError(f"{path}: [{section}]: {_one_line(err)}") from err


def _directory(defaults: Mapping[str, str], key: str, path: Path) -> Path:
    if key not in defaults:
        raise PipelineError(f"{path}: [DEFAULT] has no {key}; set it to the directory below which runs work")
    directory = Path(defaults[key]).expanduser().absolute()
    if not directory.is_dir():
        raise PipelineError(f"{path}: {key} is {directory}, which is no directory; create it, or set another one")
    return directory


def _number(section: Mapping[str, str], key: str, path: Path, kind: type[N]) -> N:
    text = section.get(key, "") or "0"
    zero = "never" if key == "lost_retries" else "no limit"
    try:
        number = kind(text)
    except ValueError:
        raise PipelineError(
            f"{where(path, 'remote', key)}: {key} is '{text}'; a number is needed, 0 for {zero}"
        ) from None
    if not 0 <= number < math.inf:
        place = where(path, "remote", key)
        raise PipelineError(f"{place}: {key} is {text}; it cannot be negative, or without end (0: {zero})")
    return number


def _flag(section: Mapping[str, str], key: str, path: Path) -> bool:
    text = section.get(key, "").strip() or "False"
    if text not in ("True", "False"):
        raise PipelineError(f"{path}: {key} is '{text}'; True or False is needed")
    return text == "True"


def _tasks(defaults: Mapping[str, str], path: Path) -> Tasks:
    parser = _parser({key: value.replace("%", "%%") for key, value in defaults.items()})
    named = split_list(defaults.get("task_files", "[]"))
    shipped = share_directory() / "cfg" / "tasks.cfg"
    for name in (str(shipped), *named):
        task_file = Path(name).expanduser()
        if not task_file.is_file():
            raise PipelineError(f"{path}: task file {name} does not exist; correct task_files")
        _read(parser, task_file)
    return Tasks(parser, defaults)
