"""Predicted outputs of a step: its maps, written as in a run with the predictable results of its jobs.

Results of a script are unknown before it runs, unless it is a planning script: it declares in ``DRY_RUN_WRITES``
the arguments that name every file it writes, and is called with overlay paths for them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.recipe import RecipePlan
from lofarpipe.engine.step_jobs import Outputs, job_entry, script_warnings
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.jobs import Job, result_of
from lofarpipe.pipeline.options import is_sip_requested
from lofarpipe.pipeline.plugins import declared
from lofarpipe.programs.find import PYTHON_PLUGIN
from lofarpipe.state.events import JobDone
from lofarpipe.state.fingerprints import named_files, texts
from lofarpipe.state.uptodate import FilesOnDisk
from lofarpipe.state.work import Work
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

if TYPE_CHECKING:  # imported on demand: most runs have no such step
    from lofarpipe.engine.feedback_step import FeedbackPlan


@dataclass
class PendingOutputs:
    """Paths named by pending jobs, with their steps.

    Parameters
    ----------
    workdir: working directory of the jobs, the likely place of outputs without a name in the arguments.
    """

    workdir: Path
    _steps: dict[str, str] = field(default_factory=dict)  # path -> step

    def add(self, step: str, paths: Iterable[str]) -> None:
        """Record the paths named by the jobs of a step."""
        self._steps |= dict.fromkeys(paths, step)

    def may_include(self, paths: Iterable[str]) -> bool:
        """Whether pending jobs may write one of the paths."""
        return not self._steps.keys().isdisjoint(paths)

    def writer(self, folder: str) -> str:
        """Return a step whose pending jobs may add files to a directory; "" if there is none.

        A named file that exists counts as an input, not as a new output.
        """
        if self._steps and _is_below(folder, str(self.workdir)):
            return next(iter(self._steps.values()))
        for path, step in self._steps.items():
            if _is_below(folder, path) or (_is_below(path, folder) and not os.path.lexists(path)):
                return step
        return ""


def named_by_job(value: object, workdir: Path) -> list[str]:
    """Return the paths named in a job's texts; a text that is a file itself, perhaps with spaces, is not split."""
    names: list[str] = []
    for text in texts(value):
        is_file = text.startswith("/") and os.path.lexists(text)
        names += [text] if is_file else sorted(named_files(text, workdir))
    return names


def _is_below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


Thing = TypeVar("Thing")

ENDS = r"\s,\[\]'\"="  # delimiters of file names in a text
NAMES_WITHIN = {"filename", "newname", "outmapname"}  # plugin arguments: names relative to a directory argument
PLACEHOLDER = lazy_pattern(r"<[\w+-]+:[^<>:/]+:\d+>")


def placeholder(step: str, key: str, place: int) -> str:
    """Return a placeholder for a job's future value; without dots and slashes, so that file names stay whole."""
    return f"<{step}:{key}:{place:03d}>"


class Overlay(FilesOnDisk):
    """An overlay of the disk: ``<root>/a/b`` replaces ``/a/b``; other files are read from the disk.

    Parameters
    ----------
    root: an empty directory; its name must not occur in any other text.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._names: set[str] = set()  # names of the overlay's files in a run
        self._uncertain: set[str] = set()  # files with placeholders in their content
        self._marks: dict[str, tuple[int, int]] = {}
        self._folders: set[str] = set()
        self._name_pattern = re.compile("(?!)")

    def read_path(self, path: str) -> str:
        """Return the path for reading a file."""
        return f"{self._root}{path}" if path in self._names else path

    def write_path(self, path: str) -> str:
        """Return the path for writing a file, and read it from there from now on."""
        name = self.to_run_names(_absolute(path))
        self._add(name)
        return self._overlay_path(name)

    def places(self, writes: Iterable[str], arguments: Mapping[str, object]) -> dict[str, str]:
        """Return overlay paths for a plugin's output arguments: directories or files.

        Raises
        ------
        PipelineError
            If a related file name leads out of the overlay.
        """
        for key in NAMES_WITHIN & arguments.keys():
            path = Path(str(arguments[key]))
            if path.is_absolute() or ".." in path.parts:
                raise PipelineError(f"{key} is {path}, and a dry run writes below the directory that is given alone")
        return {key: self.place(key, str(arguments[key])) for key in writes if arguments.get(key)}

    def place(self, argument: str, path: str) -> str:
        """Return the possible targets of a plugin argument that names a directory or an output file."""
        name = self.to_run_names(_absolute(path))
        overlay_path = self._overlay_path(name)
        if argument.endswith("_dir"):
            Path(overlay_path).mkdir(exist_ok=True)
        elif name not in self._names and Path(name).is_file():  # modified in place
            shutil.copyfile(name, overlay_path)
            self._add(name)
        return overlay_path

    def to_overlay_names(self, text: str) -> str:
        """Replace file names in a text by overlay paths."""
        if "/" not in text or not self._names:
            return text
        if _absolute(text) in self._names:
            return f"{self._root}{_absolute(text)}"
        return self._name_pattern.sub(lambda match: self.read_path(match[0]), text)

    def to_run_names(self, value: Thing) -> Thing:
        """Replace overlay paths by the file names of a run, in all texts of a value."""
        return _strip_root(value, self._root)

    def collect_files(self) -> None:
        """Collect the files written by a plugin, and restore the file names of a run in their content."""
        for path in self._files():
            status = path.stat()
            if self._marks.get(str(path)) == (status.st_mtime_ns, status.st_size):
                continue
            content, root = path.read_bytes(), self._root.encode()
            if root in content:
                content = content.replace(root, b"")
                path.write_bytes(content)
            status = path.stat()
            self._marks[str(path)] = (status.st_mtime_ns, status.st_size)
            name = str(path).removeprefix(self._root)
            self._add(name)
            is_uncertain = PLACEHOLDER.search(content.decode(errors="replace")) is not None
            (self._uncertain.add if is_uncertain else self._uncertain.discard)(name)

    def uncertain_paths(self, text: str) -> list[str]:
        """Return the overlay paths in a text whose files contain placeholders."""
        return [name for name in sorted(self._uncertain) if _is_in(f"{self._root}{name}", text)]

    def has_folder(self, path: str) -> bool:
        """Whether the overlay has only some of the files of a directory."""
        return _absolute(path) in self._folders

    def _files(self) -> Iterator[Path]:
        for folder, _, names in os.walk(self._root):
            yield from (Path(folder, name) for name in names)

    def _overlay_path(self, name: str) -> str:
        overlay_path = f"{self._root}{name}"
        Path(overlay_path).parent.mkdir(parents=True, exist_ok=True)
        return overlay_path

    def _add(self, name: str) -> None:
        self._names.add(name)
        folder = name.rpartition("/")[0]
        if folder not in self._folders:
            self._folders.add(folder)
            folders = "|".join(map(re.escape, sorted(self._folders, key=len, reverse=True)))
            self._name_pattern = re.compile(rf"(?<![^{ENDS}:])(?:{folders})/[^{ENDS}]+")


def _absolute(path: str) -> str:
    plain = "//" not in path and "/." not in path and path.startswith("/") and not path.endswith("/")
    return path if plain else os.path.normpath(Path(path).absolute())


def _is_in(name: str, text: str) -> bool:
    return name == text or re.search(rf"{re.escape(name)}(?![^{ENDS}])", text) is not None


def _strip_root(item: Thing, root: str) -> Thing:
    """Return a value with ``root`` removed from every text in it."""
    if isinstance(item, str):
        return item.replace(root, "")  # type: ignore[return-value]
    if isinstance(item, Path):
        return Path(str(item).replace(root, ""))  # type: ignore[return-value]
    if isinstance(item, Mapping):
        return {_strip_root(key, root): _strip_root(value, root) for key, value in item.items()}  # type: ignore[return-value]
    if isinstance(item, list | tuple):
        return type(item)(_strip_root(part, root) for part in item)
    return item


Values = Mapping[str, str]

NOT_MEASURED = ("job_duration", "monitor_stats")  # results without a value for a job that did not run


@dataclass(frozen=True)
class Prediction:
    """Predicted results of the jobs of a step.

    Attributes
    ----------
    values: job name -> results.
    comments: basis of the prediction, for the user.
    is_complete: whether the jobs return nothing else.
    may_break: whether the jobs may end their loop.
    """

    values: Mapping[str, Values]
    comments: Sequence[str] = ()
    is_complete: bool = True
    may_break: bool = False


@dataclass(frozen=True)
class Predictor:
    """Predicts results of jobs.

    Parameters
    ----------
    directory: for inputs and extra files of planning scripts.
    """

    overlay: Overlay
    work: Work
    directory: Path

    def predict(
        self, prepared: RecipePlan, entry: str, finished_jobs: Mapping[str, JobDone], pending: Sequence[PlannedJob]
    ) -> Prediction:
        """Return the predicted results of the jobs of a step.

        Raises
        ------
        PipelineError
            If a planning script fails.
        """
        entries = {planned.job.name: job_entry(entry, planned.job) for planned in prepared.jobs}
        values: dict[str, Values] = {
            name: _returned(finished_jobs[job]) for name, job in entries.items() if job in finished_jobs
        }
        if prepared.control.text("nodescript") != PYTHON_PLUGIN:
            return Prediction({planned.job.name: {} for planned in prepared.jobs})
        if not self.plans(pending):
            return self._script_results(prepared, values, pending, entries)
        planned, warnings = self._plan(pending)
        comment = f"{script_of(pending[0]).name} only plans: it was called, and nothing that it wrote is kept"
        return Prediction(values | planned, [comment, *warnings])

    def plans(self, pending: Sequence[PlannedJob]) -> bool:
        """Whether the only result of the jobs is ``break``."""
        return bool(pending) and _writes(pending[0]) is not None

    def _script_results(
        self, prepared: RecipePlan, values: dict[str, Values], pending: Sequence[PlannedJob], entries: Mapping[str, str]
    ) -> Prediction:
        """Return the previous results of a script's jobs, else placeholders for its declared outputs."""
        keys = declared(script_of(pending[0]), "OUTPUTS") if pending else ()
        comments, is_new = [], False
        for planned in pending:
            name = planned.job.name
            last = self.work.last_job(entries[name])
            if last is not None:
                values[name] = _returned(last)
                comments = ["its result is assumed to be that of the last run"]
            else:
                is_new = True
                expected_keys = [key for key in keys or () if key != "break"]
                values[name] = {key: placeholder(prepared.name, key, planned.place) for key in expected_keys}
        may_break = is_new and (keys is None or "break" in keys)
        return Prediction(values, comments, not is_new or keys is not None, may_break)

    def _plan(self, pending: Sequence[PlannedJob]) -> tuple[dict[str, Values], list[str]]:
        """Run the jobs of a planning script; return their results and warnings."""
        jobs = [self._job(planned) for planned in pending]
        results = LocalExecutor().run(jobs)
        for result in results:
            if not result.ok:
                last_lines = "; ".join(self.overlay.to_run_names(result.tail(1)))
                raise PipelineError(f"its outputs are unknown: {result.name}, which only plans, failed: {last_lines}")
        self.overlay.collect_files()
        warnings = [f"warning: {line}" for result in results for line in script_warnings(result)]
        return {job.name: self.overlay.to_run_names(_read(_result_of(job))) for job in jobs}, self.overlay.to_run_names(
            warnings
        )

    def _job(self, planned: PlannedJob) -> Job:
        """Return a job that writes into the overlay only, and write its job description."""
        directory = self.directory / planned.job.name
        directory.mkdir(parents=True, exist_ok=True)
        call = call_of(planned)
        places = self.overlay.places(_writes(planned) or (), call["kwargs"])
        spec = directory / "spec.json"
        job = Job(
            name=planned.job.name,
            argv=(*planned.job.argv[:-1], str(spec)),
            workdir=directory,
            log=directory / "log",
            env=planned.job.env,
        )
        call |= {"kwargs": {**call["kwargs"], **places}, "result": str(_result_of(job))}
        spec.write_text(json.dumps(call), encoding="utf-8")
        return job

    def maps(self, prepared: RecipePlan, prediction: Prediction) -> Outputs:
        """Write the maps of a step from its job results, and return its outputs."""
        jobs = [
            self._write_result_file(prepared, planned, prediction.values[planned.job.name]) for planned in prepared.jobs
        ]
        saved = {Path(self.overlay.write_path(str(path))): data_map for path, data_map in prepared.saved.items()}
        directory = Path(self.overlay.place("mapfile_dir", str(prepared.mapfile_dir)))
        finished_plan = replace(prepared, jobs=jobs, saved=saved, mapfile_dir=directory)
        results = [replace(result_of(p.job, 0), outputs=tuple(prepared.known_products(p))) for p in jobs]
        outputs = finished_plan.finish(results, {})
        self.overlay.collect_files()
        return self.overlay.to_run_names(outputs)

    def _write_result_file(self, prepared: RecipePlan, planned: PlannedJob, values: Values) -> PlannedJob:
        """Write predicted results of a job, and return the job; durations are unknown, even of a program."""
        unknown = {key: placeholder(prepared.name, key, planned.place) for key in NOT_MEASURED}
        result = self.directory / f"{planned.job.name.replace('/', '-')}.json"
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(json.dumps({**unknown, **values}), encoding="utf-8")
        return replace(planned, result=result)


def call_of(planned: PlannedJob) -> dict[str, Any]:
    """Return the call of a script job: ``script``, ``args``, ``kwargs``; empty for other jobs."""
    text = planned.files.get(Path(planned.job.argv[-1]), "")
    return dict(json.loads(text)) if planned.result is not None else {}


def script_of(planned: PlannedJob) -> Path:
    """Return the script of a job."""
    return Path(call_of(planned)["script"])


def feedback_outputs(prepared: FeedbackPlan) -> Outputs:
    """Return the predicted outputs of a feedback step; its map is unchanged."""
    outputs: Outputs = {"mapfile": prepared.values["mapfile_in"], "metadata_file": str(prepared.metadata_file)}
    if is_sip_requested(prepared.values):
        outputs["sip_file"] = str(Path(str(prepared.values["sip_file"])).absolute())
    return outputs


def _writes(planned: PlannedJob) -> tuple[str, ...] | None:
    """Return the arguments that name every output of a job; None if it may write other files."""
    return declared(script_of(planned), "DRY_RUN_WRITES") if "script" in call_of(planned) else None


def _returned(end: JobDone) -> dict[str, str]:
    return dict(json.loads(end.returned or "{}"))


def _read(path: Path) -> dict[str, str]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _result_of(job: Job) -> Path:
    return job.workdir / "result.json"
