"""The cluster file of spice_process: names of Dask and dask-jobqueue, read as sections of pipeline.cfg."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path

from lofarpipe.cli.spice.config import OptionSetting, as_yaml
from lofarpipe.cli.spice.table import number_text
from lofarpipe.errors import UsageError, nearest
from lofarpipe.executors.remote.queue import walltime_problem
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.yaml_file import Number, YamlFile

DEFAULT_FILE = Path(__file__).with_name("cluster.yaml")
CLASS, KWARGS, ADAPT = "cluster_class", "cluster_kwargs", "adapt_kwargs"
LOCAL, SLURM, DASK = "local", "slurm", "dask"
_MEMORY = lazy_pattern(r"(?P<number>\d+(\.\d*)?([eE]\d+)?)\s*(?P<unit>[kMGTP]?)(?P<binary>i?)B?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def positive_number(value: object) -> str:
    """Return a number of cores, jobs or workers.

    Raises
    ------
    ValueError
        If it is none, or zero.
    """
    try:
        text = number_text(value, is_whole=True)
    except ValueError:
        text = "0"
    if int(text) < 1:
        raise ValueError("an integer > 0 is needed")
    return text


def job_memory(value: object) -> str:
    """Return a size such as ``60GB``, ``60 GiB`` or a number of bytes in 10^9 bytes.

    Raises
    ------
    ValueError
        If it is none, or zero.
    """
    match = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    size = 0.0
    if match:
        size = float(match["number"]) * (1024 if match["binary"] else 1000) ** _POWERS[match["unit"].lower()] / 1e9
    if not 1e-3 <= size < 1e9:
        raise ValueError("a size is needed, such as 60GB")
    return f"{size:.6g}"


def walltime(value: object) -> str:
    """Return a time limit as Slurm takes it: ``12:00:00``, ``1-12:00:00``.

    Raises
    ------
    ValueError
        If it is none.
    """
    text = value.strip() if isinstance(value, str) else ""
    if problem := walltime_problem(text) or ("" if text else "a time is needed, such as 12:00:00"):
        raise ValueError(problem)
    return text


def word(value: object) -> str:
    """Return a name.

    Raises
    ------
    ValueError
        If it is no text of one line.
    """
    if not isinstance(value, str) or not value.strip() or "\n" in value:
        raise ValueError("a text is needed")
    return value.strip()


def directives(value: object) -> str:
    """Return sbatch options, a list or one text, as words.

    Raises
    ------
    ValueError
        If they are no texts, or quotes are not closed.
    """
    texts = [text.strip().removeprefix("#SBATCH") for text in lines(value).splitlines()]
    return shlex.join(part for text in texts for part in shlex.split(text))


def lines(value: object) -> str:
    """Return shell lines, from a list or one text.

    Raises
    ------
    ValueError
        If they are no texts.
    """
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a list of texts is needed")
    return "\n".join(map(str, texts))


Reader = Callable[[object], str]
#: Key -> how its value is read, and the key of ours with its section; "": see ``Cluster``.
KWARGS_KEYS: Mapping[str, tuple[Reader, str]] = {
    "cores": (positive_number, "cores"),
    "memory": (job_memory, "memory_gb"),
    "walltime": (walltime, "slurm.walltime"),
    "account": (word, "slurm.account"),
    "project": (word, "slurm.account"),
    "queue": (word, "slurm.partition"),
    "name": (word, "slurm.name_prefix"),
    "job_extra_directives": (directives, "slurm.extra"),
    "job_extra": (directives, "slurm.extra"),
    "job_script_prologue": (lines, "slurm.prologue"),
    "env_extra": (lines, "slurm.prologue"),
    "log_directory": (word, "log_directory"),
    "local_directory": (word, "scratch"),
    "job_cpu": (positive_number, "cores"),
    "job_mem": (job_memory, "memory_gb"),
    "n_workers": (positive_number, "jobs"),
    "threads_per_worker": (positive_number, "cores"),
    "memory_limit": (job_memory, "memory_gb"),
}
ADAPT_KEYS: Mapping[str, tuple[Reader, str]] = {
    "maximum": (positive_number, "jobs"),
    "maximum_jobs": (positive_number, "jobs"),
}
#: Accepted without effect: the executors do not need these keys.
WITHOUT_EFFECT = {
    KWARGS: frozenset({"processes", "interface", "silence_logs", "worker_extra_args", "extra", "shebang"}),
    ADAPT: frozenset({"minimum", "minimum_jobs", "wait_count", "target_duration", "interval"}),
}


@dataclass
class Cluster:
    """Where the jobs of imaging run.

    Attributes
    ----------
    beams_at_once: concurrent runs of WSClean on one machine; 0: as many as cores and memory allow.
    sections: section of pipeline.cfg -> key -> value.
    cores, memory_gb: of each run of WSClean; None: not set.
    scratch: folder for temporary files on the node.
    notices: keys accepted without effect.
    """

    path: Path
    text: str
    beams_at_once: OptionSetting
    sections: dict[str, dict[str, OptionSetting]] = field(default_factory=dict)
    cores: OptionSetting | None = None
    memory_gb: OptionSetting | None = None
    scratch: OptionSetting | None = None
    log_directory: OptionSetting | None = None
    notices: list[str] = field(default_factory=list)


def read_cluster(path: Path) -> Cluster:
    """Return the settings of a cluster file.

    Raises
    ------
    UsageError
        If it is not YAML, or has unknown keys or values of the wrong type; the message lists all.
    """
    file = YamlFile(path)
    reader = _Reader(file)
    cluster = reader.cluster()
    if reader.problems:
        raise UsageError("\n".join(reader.problems))
    return cluster


class _Reader:
    """Reads one cluster file, and collects its problems."""

    def __init__(self, file: YamlFile) -> None:
        self.file = file
        self.problems: list[str] = []
        self.unused: list[str] = []

    def cluster(self) -> Cluster:
        """Return the settings of the file."""
        document = self.file.document
        for key in document:
            if key not in (CLASS, KWARGS, ADAPT):
                self._add_problem((key,), f"there is no key '{key}'{nearest(key, (CLASS, KWARGS, ADAPT))}")
        name = document.get(CLASS)
        method = _method(name)
        kwargs, adapt = (self._block(block) for block in (KWARGS, ADAPT))
        values = self._values(KWARGS, kwargs, KWARGS_KEYS, is_checked=method != DASK)
        values |= self._values(ADAPT, adapt, ADAPT_KEYS)
        method_setting = self._setting(method, (CLASS,))
        cluster = Cluster(
            self.file.path, self.file.text, self._setting("0", (CLASS,)), {"remote": {"method": method_setting}}
        )
        for key in ("cores", "memory_gb", "scratch", "log_directory"):
            setattr(cluster, key, values.pop(key, None))
        jobs = values.pop("jobs", None)
        if method == DASK:
            self._add_class(cluster, str(name), kwargs, jobs)
        elif method == LOCAL:
            cluster.beams_at_once = jobs or cluster.beams_at_once
            self.unused += [_dask_name(key, kwargs) for key in values]
        else:
            limit = {} if jobs is None else {"slurm.array_limit": jobs}
            for key, setting in {**limit, **values}.items():
                section, _, option = key.partition(".")
                cluster.sections.setdefault(section, {})[option] = setting
        if self.unused:
            cluster.notices.append(f"{self.file.path}: without effect here: {', '.join(dict.fromkeys(self.unused))}")
        return cluster

    def _block(self, key: str) -> Mapping[str, object]:
        value = self.file.document.get(key)
        if value is None or isinstance(value, dict):
            return value or {}
        self._add_problem((key,), f"{key} is {as_yaml(value)}; keys below it are needed")
        return {}

    def _values(
        self,
        block: str,
        entries: Mapping[str, object],
        readers: Mapping[str, tuple[Reader, str]],
        is_checked: bool = True,
    ) -> dict[str, OptionSetting]:
        """Return setting -> value of one block; keys of an unknown class are passed through."""
        settings: dict[str, OptionSetting] = {}
        for key, value in entries.items():
            if key in WITHOUT_EFFECT[block]:
                self.unused += [key] if is_checked else []
            elif key not in readers:
                if is_checked:
                    self._add_problem((block, key), f"{block} has no key '{key}'{nearest(key, readers)}")
            elif value is not None:
                read, ours = readers[key]
                try:
                    settings[ours] = self._setting(read(value), (block, key))
                except ValueError as err:
                    self._add_problem((block, key), f"{key} is {as_yaml(value)}; {err}")
        return settings

    def _add_class(self, cluster: Cluster, name: str, kwargs: Mapping[str, object], jobs: OptionSetting | None) -> None:
        """Use a cluster class, imported by its name, for the Dask workers."""
        module = name.rpartition(".")[0]
        if not module or not _is_installed(module):
            self._add_problem(
                (CLASS,), f"cluster_class is '{name}'; there is no module '{module}'; install it, or correct it"
            )
        is_of_queue = module.partition(".")[0] == "dask_jobqueue"
        arguments = {
            **{key: _plain(value) for key, value in kwargs.items()},
            **({"processes": 1, "nanny": False} if is_of_queue else {}),
        }
        section = {"launcher": "class", "cluster_class": name, "cluster_kwargs": json.dumps(arguments)}
        settings = {key: self._setting(text, (CLASS,)) for key, text in section.items()}
        more = {"nodes": jobs, "cores": cluster.cores, "memory_gb": cluster.memory_gb}
        cluster.sections["dask"] = settings | {key: setting for key, setting in more.items() if setting is not None}

    def _setting(self, text: str, keys: tuple[str, ...]) -> OptionSetting:
        return OptionSetting(text, str(self.file.path), self.file.line(*keys))

    def _add_problem(self, keys: tuple[str, ...], problem: str) -> None:
        self.problems.append(f"{self.file.where(*keys)}: {problem}")


def _method(name: object) -> str:
    """Return the executor equivalent to a Dask class."""
    if name is None:
        return LOCAL
    module, _, last = str(name).rpartition(".")
    if last == "LocalCluster" and module in ("distributed", "dask.distributed", "distributed.deploy.local"):
        return LOCAL
    return SLURM if last == "SLURMCluster" and module.startswith("dask_jobqueue") else DASK


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _dask_name(ours: str, entries: Mapping[str, object]) -> str:
    return next((key for key in entries if KWARGS_KEYS.get(key, (None, ""))[1] == ours), ours)


def _plain(value: object) -> object:
    """Return an argument of a class as JSON has it: numbers as numbers."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Number):
        with contextlib.suppress(ValueError):
            return json.loads(number_text(value, is_whole=False))
    return value


def expanded_folder(setting: OptionSetting) -> Path:
    """Return a folder of this machine, with ``$NAME`` and ``~`` replaced."""
    return Path(os.path.expanduser(os.path.expandvars(setting.text))).absolute()  # noqa: PTH111
