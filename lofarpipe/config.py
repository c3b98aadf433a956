"""pipeline.cfg, tasks.cfg and the command line -> frozen settings."""

from __future__ import annotations

import configparser
import datetime
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from lofarpipe.errors import CheckFailed, Finding, PipelineError, findings_of, nearest
from lofarpipe.support.config_file import (
    COMMAND_LINE,
    DEFAULT,
    SAFE_NAME,
    SAFE_NAMES,
    ConfigFile,
    new_parser,
    read_into,
    reference_problem,
    where,
)
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Entry, split_list
from lofarpipe.support.utilities import is_file

PACKAGE = Path(__file__).resolve().parent
#: Options that tasks.cfg may use for itself; they are not control keys of a step.
NOT_CONTROL_KEYS = ("recipe",)
OWN_TASKS = "dppp, dp3, executable_args, pythonplugin and wsclean"
LOST_RETRIES = "2"
PARSET = ".parset"  # how the names of pipelines and fields end
CHECKSUM_LIMIT_GB = 1.0


def share_directory() -> Path:
    """Return the directory that holds pipeline.parset, pipelines/, steps/, plugins/, scripts/ and cfg/.

    In an installed package that is lofarpipe/share; in a checkout it is the top of the checkout.
    """
    packaged = PACKAGE / "share"
    return packaged if packaged.is_dir() else PACKAGE.parent


def parset_directories() -> list[Path]:
    """Return the directories of shipped parsets, for LOFAR and for other instruments."""
    share = share_directory()
    return [share, share / "pipelines"]


def beside(files: Sequence[Path], kind: str) -> list[Path]:
    """Return the directories ``kind`` beside parsets, the last parset's first, without the shipped one."""
    shipped = parset_directories()
    return [path.parent / kind for path in reversed(files) if path.parent.resolve() not in shipped]


def find_file(name: str, directories: Iterable[Path], kind: str) -> Path:
    """Return the file ``name``: as typed, else in the first of ``directories`` with it.

    Raises
    ------
    PipelineError
        If the file does not exist; the message lists the directories searched.
    """
    # os.path, as pathlib raises errors for the home of an unknown user and for overlong names.
    looked = [Path(os.path.expanduser(name)), *(directory / name for directory in directories)]  # noqa: PTH111
    for path in looked:
        if is_file(path):
            return path.resolve()
    if os.path.isdir(looked[0]):  # noqa: PTH112
        raise PipelineError(f"{name}: is a directory, and no {kind}; name a file")
    folders = sorted({path.parent.resolve() for path in looked})
    names = {path.name for folder in folders if os.path.isdir(folder) for path in folder.iterdir()}  # noqa: PTH112
    hint = _file_hint(Path(name), names)
    raise PipelineError(f"{name}: no such {kind}{hint}; looked in {', '.join(map(str, folders))}")


def _file_hint(typed: Path, names: Collection[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for a similar file name, compared without the extension."""
    if same := sorted(name for name in names if Path(name).stem == typed.name):
        return f"; did you mean {same[0]!r}?"
    alike = {name for name in names if typed.suffix and Path(name).suffix == typed.suffix}
    hint = nearest(typed.stem, [Path(name).stem for name in alike])
    return hint.replace("'?", f"{typed.suffix}'?") or nearest(typed.name, {*names} - alike)


@dataclass(frozen=True)
class Settings:
    """Settings of site and command line, read once at the start of a run."""

    config_file: Path
    job_name: str
    start_time: str
    runtime_directory: Path
    working_directory: Path  # jobs work in <working_directory>/<job_name>
    job_directory: Path
    recipe_directories: tuple[Path, ...]
    max_per_node: int  # 0: as many as cores and memory allow
    cores: int  # 0: all cores
    memory_gb: float  # 0: all memory
    lost_retries: int  # retries of a job lost with its node
    log_file: Path
    statistics_file: Path
    lenient: bool  # findings of the check are warnings
    inputs: Mapping[str, str]  # values of input.output.<key>
    sections: Mapping[str, Mapping[str, str]]  # the same, section by section
    tasks: Tasks = field(repr=False)
    defaults: Mapping[str, str] = field(default_factory=dict, repr=False)  # [DEFAULT], inherited by all sections
    laid_over: Mapping[str, Mapping[str, Entry]] = field(default_factory=dict)  # sections set by a front end

    def where(self, section: str, key: str = "") -> str:
        """Return the place of a key, or of its section: in the configuration, or in the file of a front end."""
        return where(self.config_file, section, key, self.laid_over)

    @property
    def job_workdir(self) -> Path:
        """Where jobs run, and where their outputs go; [layout] may name it."""
        return Path(self.sections.get("layout", {}).get("job_workdir") or self.working_directory / self.job_name)

    @property
    def mapfile_dir(self) -> Path:
        """Where mapfiles are written."""
        return self.job_directory / "mapfiles"

    @property
    def parset_dir(self) -> Path:
        """Where the resolved argument block of each step is written."""
        return self.job_directory / "parsets"

    def search_path(self, kind: str) -> list[Path]:
        """Return the directories of ``kind`` ("plugins", "scripts", "steps"), the site's first."""
        return [directory / kind for directory in (*self.recipe_directories, share_directory())]


class Tasks:
    """Task definitions: a section's options are defaults for control keys; later files override earlier ones."""

    def __init__(self, parser: configparser.ConfigParser, variables: Mapping[str, str]) -> None:
        self._parser = parser
        self._variables = variables

    def __iter__(self) -> Iterator[str]:
        return iter(self._parser.sections())

    def control_keys(self, task: str) -> dict[str, str]:
        """Return the control keys set by the task ``task``.

        Raises
        ------
        PipelineError
            If the task is unknown, or a value cannot be interpolated.
        """
        if not self._parser.has_section(task):
            task_names = ", ".join(sorted(self._parser.sections()))
            raise PipelineError(
                f"'{task}' is no task type{nearest(task, self._parser.sections())} (known: {task_names})"
            )
        try:
            options = dict(self._parser.items(task))
        except configparser.Error as err:
            raise PipelineError(f"task type '{task}': {reference_problem(err)}") from err
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
            raise PipelineError(f"task type '{task}': {reference_problem(err)}") from err


@dataclass(frozen=True)
class Overrides:
    """Settings of the command line that override the configuration."""

    config: str | None = None
    job_name: str | None = None
    task_files: str | None = None
    runtime_directory: str | None = None
    working_directory: str | None = None
    start_time: str | None = None
    lenient: bool = False
    cores: int | None = None
    memory_gb: float | None = None
    sections: Mapping[str, Mapping[str, Entry]] = field(
        default_factory=dict
    )  # of a front end; entries have their place


def load_settings(parset: Path, overrides: Overrides) -> Settings:
    """Return the settings for one run of ``parset``.

    Raises
    ------
    CheckFailed
        If the configuration has invalid values or missing directories; the message lists all.
    PipelineError
        If a configuration file is missing or malformed.
    """
    settings, findings = read_settings(parset, overrides)
    if findings:
        raise CheckFailed(findings)
    return settings


def job_directory_of(word: str, config: str | None = None) -> Path:
    """Return the job directory for a word: the directory itself, or the parset of a run.

    Parameters
    ----------
    config: the configuration of the parset's run; None for a run's default.

    Raises
    ------
    PipelineError
        If the parset is missing, or the configuration unreadable.
    """
    path = Path(word)
    if path.suffix != PARSET or path.is_dir():
        return path
    return load_settings(find_file(word, parset_directories(), "parset"), Overrides(config=config)).job_directory


def read_settings(parset: Path, overrides: Overrides) -> tuple[Settings, list[Finding]]:
    """Return the readable settings for one run of ``parset``, and all findings.

    Settings with findings differ from the request, and must not be run.

    Raises
    ------
    PipelineError
        If the configuration file is missing or malformed.
    """
    variables = {
        "job_name": overrides.job_name or parset.stem,
        "start_time": overrides.start_time or datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        "cwd": str(Path.cwd()).replace("%", "%%"),
        "share": str(share_directory()).replace("%", "%%"),
    }
    typed = {
        "runtime_directory": ("--runtime-directory", overrides.runtime_directory),
        "working_directory": ("--working-directory", overrides.working_directory),
        "task_files": ("--task-file", overrides.task_files),
    }
    typed_values = {key: (option, value) for key, (option, value) in typed.items() if value is not None}
    file = ConfigFile(find_config(overrides.config), variables, typed_values, overrides.sections)
    settings = _settings(file, overrides)
    name = overrides.job_name
    if name is not None and not settings.lenient and not SAFE_NAME.fullmatch(name):
        file.findings.append(Finding(COMMAND_LINE, f"--job-name is '{name}'; {SAFE_NAMES}"))
    return settings, file.findings


def shipped_config() -> Path:
    """Return the configuration file that comes with the pipelines."""
    return share_directory() / "cfg" / "pipeline.cfg"


def find_config(typed: str | None) -> Path:
    """Return the configuration file: as typed (or shipped), else ./pipeline.cfg, ~/.pipeline.cfg, the shipped one."""
    shipped = share_directory() / "cfg"
    if typed is not None:
        return find_file(typed, [shipped], "configuration file")
    for path in (Path("pipeline.cfg"), Path("~/.pipeline.cfg").expanduser()):
        if path.is_file():
            return path.resolve()
    return find_file("pipeline.cfg", [shipped], "configuration file")


def _settings(file: ConfigFile, overrides: Overrides) -> Settings:
    defaults = file.items(DEFAULT)
    runtime, working = file.directory("runtime_directory"), file.directory("working_directory")
    defaults |= file.items(DEFAULT)  # also inherited by every section, without a notice
    sections = file.sections()
    if typed := _typed_numbers(file, overrides):
        sections["remote"] = {**sections.get("remote", defaults), **typed}
    everything = {key: value for section in sections.values() for key, value in section.items()}
    remote = {"lost_retries": LOST_RETRIES, **sections.get("remote", defaults)}
    job_name = defaults["job_name"]
    job_directory = Path(sections.get("layout", {}).get("job_directory", str(runtime / job_name))).absolute()
    logging = sections.get("logging", {})
    log = logging.get("log_file", str(job_directory / "logs" / defaults["start_time"] / "pipeline.log"))
    inputs = {**defaults, **everything, "job_directory": str(job_directory), "log_file": log}
    inputs |= {"mapfile_dir": str(job_directory / "mapfiles"), "parset_dir": str(job_directory / "parsets")}
    inputs |= {"runtime_directory": str(runtime), "working_directory": str(working)}
    return Settings(
        config_file=file.path,
        job_name=job_name,
        start_time=defaults["start_time"],
        runtime_directory=runtime,
        working_directory=working,
        job_directory=job_directory,
        recipe_directories=tuple(
            Path(item).absolute() for item in split_list(defaults.get("recipe_directories", "[]"))
        ),
        max_per_node=file.number("remote", remote, "max_per_node", int),
        cores=file.number("remote", remote, "cores", int),
        memory_gb=file.number("remote", remote, "memory_gb", float),
        lost_retries=file.number("remote", remote, "lost_retries", int, zero="never"),
        log_file=Path(log).absolute(),
        statistics_file=Path(logging.get("xml_stat_file", str(Path(log).with_name("statistics.xml")))).absolute(),
        lenient=(lenient := file.flag("lenient", {**defaults, **everything}) or overrides.lenient),
        inputs=inputs,
        sections=sections,
        tasks=_tasks(file, defaults, lenient),
        defaults=defaults,
        laid_over=overrides.sections,
    )


def _typed_numbers(file: ConfigFile, overrides: Overrides) -> dict[str, str]:
    """Return the keys of [remote] set on the command line."""
    typed = {"cores": overrides.cores, "memory_gb": overrides.memory_gb}
    numbers = {key: number for key, number in typed.items() if number is not None}
    for key, number in numbers.items():
        if not 0 <= number < math.inf:
            problem = f"--{key.replace('_', '-')} is {number:g}; a number of 0 (all there is) or more is needed"
            file.findings.append(Finding(COMMAND_LINE, problem))
    return {key: str(number if 0 <= number < math.inf else 0) for key, number in numbers.items()}


def _tasks(file: ConfigFile, defaults: Mapping[str, str], lenient: bool) -> Tasks:
    """Return the shipped tasks and the site's.

    Task keys not set by the site are as shipped. Not so in a lenient run, if the site names the recipe: there
    the original had this task, and no other.
    """
    escaped = {key: value.replace("%", "%%") for key, value in defaults.items()}
    shipped, of_site = new_parser(escaped), new_parser(escaped)
    read_into(shipped, share_directory() / "cfg" / "tasks.cfg")
    for name in split_list(defaults.get("task_files", "[]")):
        task_file = Path(name).expanduser()
        if not task_file.is_file():
            problem = (
                f"task file {name} does not exist; correct task_files, or leave it out: {OWN_TASKS} are there anyway"
            )
            file.add(DEFAULT, "task_files", problem)
            continue
        try:
            read_into(of_site, task_file)
        except PipelineError as err:
            file.findings += findings_of(err)
    for section in of_site.sections():
        if lenient and "recipe" in of_site[section]:
            shipped.remove_section(section)
        shipped.read_dict({section: dict(of_site.items(section, raw=True))})
    return Tasks(shipped, defaults)


def checksum_limit_bytes(settings: Settings) -> int:
    """Return how many bytes of inputs, and of products, are read entirely for their checksums.

    Raises
    ------
    PipelineError
        If ``checksum_limit_gb`` in [report] is no number, or negative.
    """
    text = settings.sections.get("report", {}).get("checksum_limit_gb", str(CHECKSUM_LIMIT_GB))
    try:
        limit_gb = float(text)
    except ValueError:
        limit_gb = -1.0
    if not 0 <= limit_gb < 1e9:
        place = settings.where("report", "checksum_limit_gb")
        raise PipelineError(
            f"{place}: [report] checksum_limit_gb is '{text}'; a number of GB is needed, 0 to sample all"
        )
    return int(limit_gb * 1e9)
