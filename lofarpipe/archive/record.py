"""run.json: the options, inputs, steps and products of a run.

It is written when a run begins, and again when it ends, however it does. doc/run.schema.json describes it.
"""

from __future__ import annotations

import argparse
import functools
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lofarpipe.archive.checksums import FULL, describe_files
from lofarpipe.archive.inputs import RunFiles, configuration_facts, self_contained
from lofarpipe.archive.software import host_facts, package_facts, program_facts, runner_facts
from lofarpipe.config import Settings, checksum_limit_bytes
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.pipeline.options import Option
from lofarpipe.state.events import Event, RunEnded, RunStarted
from lofarpipe.state.run_state import DONE, JobState, RunState, StepState
from lofarpipe.state.work import Work
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import uncollected, write_atomically


def utc_text(seconds: float | None) -> str | None:
    """Format a time, s since 1970 UTC, as ``yyyy-mm-ddThh:mm:ss.sssZ``; None for None."""
    if seconds is None:
        return None
    second, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{_second_text(second)}.{milliseconds:03d}Z"


@functools.lru_cache(maxsize=16)
def _second_text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def record_of_run(state: RunState, settings: Settings) -> Facts:
    """Return the run as a whole; ``number`` counts the runs in this job directory from 1."""
    return {
        "job": settings.job_name,
        "job_directory": str(settings.job_directory),
        "working_directory": str(settings.job_workdir),
        "state": state.state,
        "number": state.run,
        "started": utc_text(state.started_s),
        "ended": utc_text(state.ended_s),
        "problem": state.problem,
        "signal": state.signal,
        "argv": [str(word) for word in state.facts.get("argv") or ()],
        "executor": str(state.facts.get("executor") or ""),
        "pid": state.facts.get("pid"),
        "cores": state.facts.get("cores"),
        "memory_gb": state.facts.get("memory_gb"),
        "gpus": state.facts.get("gpus"),
    }


def _step(step: StepState) -> Facts:
    return {
        "name": step.name,
        "type": step.type,
        "state": step.state,
        "jobs": step.total,
        "done": step.done,
        "failed": step.failed,
        "started": utc_text(step.started_s),
        "ended": utc_text(step.ended_s),
        "duration_s": None if step.duration_s is None else round(step.duration_s, 3),
        "problem": step.problem,
    }


#: Attributes of a job's state that are copied to run.json.
JOB_KEYS = (
    *("state", "label", "node", "log", "cores", "memory_gb", "gpus"),
    *("duration_s", "cpu_s", "max_rss_mb", "exit_code", "problem"),
)


def _job(step: str, job: JobState) -> Facts:
    same = {key: getattr(job, key) for key in JOB_KEYS}
    return {"name": job.name, "step": step, "started": utc_text(job.start_s), **same}


Facts = dict[str, Any]

SCHEMA_VERSION = 1
# Made once, not per job; without the costly check for circular references, which facts do not have.
_as_json = json.JSONEncoder(allow_nan=False, check_circular=False).encode
FILE_NAME = "run.json"
#: The names of the command line's options that change the configuration.
OVERRIDES = (
    *("config", "job_name", "task_file", "runtime_directory", "working_directory", "start_time", "lenient"),
    *("cores", "memory_gb"),
)


@dataclass(frozen=True)
class Command:
    """The command line."""

    parset: str
    assignments: tuple[str, ...]  # of --set
    overrides: Mapping[str, str]  # other options with an effect on the run
    directory: Path  # where; names in the parset are relative to it

    @classmethod
    def of(cls, options: argparse.Namespace) -> Command:
        """Return the command line as JSON types."""
        values = {name: getattr(options, name, None) for name in OVERRIDES}
        overrides = {name: str(value) for name, value in values.items() if value not in (None, False)}
        return cls(options.parset, tuple(options.set), overrides, Path.cwd())


class RunRecord:
    """Writes run.json into the job directory when the run begins and when it ends.

    Parameters
    ----------
    state: state of the run, updated by its events.
    complain: gets the reason when the record cannot be written or read; that ends no run.

    Raises
    ------
    PipelineError
        If the configuration has no sensible [report] checksum_limit_gb.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        settings: Settings,
        command: Command,
        state: RunState,
        complain: Callable[[str], None],
    ) -> None:
        self.path = settings.job_directory / FILE_NAME
        self._pipeline = pipeline
        self._settings = settings
        self._command = command
        self._state = state
        self._limit_bytes = checksum_limit_bytes(settings)
        self._text, self._lost = self_contained(pipeline.composed)
        self._complain = complain
        self._facts: Facts = {}
        self._quality: Any = None  # quality numbers of this run's image; None before the measurement
        self._earlier: list[Facts] = []  # products of an earlier run
        self._previous: Facts | None = None  # the record of the previous, finished run, until this run does something

    @property
    def facts(self) -> Facts:
        """The fixed facts of a run, with inputs, products and quality; {} before it begins."""
        return self._facts and {**self._facts, "quality": self._quality}

    def run_started(self, event: RunStarted) -> None:
        """Write the facts known before the first step; after a finished run, only once this run does something."""
        del event
        self._write_or_warn(self._begin)

    def step_started(self, event: Event) -> None:
        """Write the known facts: this run is no mere repetition."""
        del event
        if self._previous is not None and self._facts:
            self._previous = None
            self._write_or_warn(self._write)

    step_failed = files_removed = step_started

    def run_ended(self, event: RunEnded) -> None:
        """Write steps and products, if the run had begun."""
        del event
        if self._facts and not (self._state.is_repeat and self._stays()):
            self._write_or_warn(self._finish)

    def _stays(self) -> bool:
        """Whether the previous run's record still holds for this run; if so, take over its files."""
        record = self._previous
        if record is None or any(record.get(key) != self._facts[key] for key in ("options", "software")):
            return False
        if record.get("parset", {}).get("text") != self._text:
            return False
        self._quality = read_run_record(self._settings.job_directory / "quality.json", None)
        self._facts |= {key: record.get(key, []) for key in ("inputs", "products")}
        return bool(self._quality == record.get("quality"))

    def _write_or_warn(self, write: Callable[[], None]) -> None:
        try:
            with uncollected():
                write()
        except (OSError, PipelineError) as err:
            self._complain(f"{self.path}: this run is not recorded: {err}")

    def _begin(self) -> None:
        inputs, self._earlier = _earlier_files(self.path)
        self._facts = self._fixed_facts()
        entries = {entry["path"]: entry for entry in inputs}
        paths = self._files().inputs(self._state.work, entries)
        self._facts["inputs"] = _inputs(paths, entries, self._state.work, self._limit_bytes)
        self._facts["products"] = []
        record = read_run_record(self.path, {})
        is_done = isinstance(record, dict) and (record.get("run") or {}).get("state") == DONE
        self._previous = record if is_done and record.get("schema_version") == SCHEMA_VERSION else None
        if self._previous is None:
            self._write()

    def _finish(self) -> None:
        files = self._files()
        inputs = self._add_named_inputs(files)
        entries = {entry["path"]: entry for entry in self._earlier}
        state = self._state
        products = files.products(state.work, [entry["path"] for entry in inputs], state.current, state.earlier_files())
        self._facts["inputs"] = inputs
        self._facts["products"] = describe_files(products, self._limit_bytes, entries)
        self._write()

    def _add_named_inputs(self, files: RunFiles) -> list[Facts]:
        """Return the inputs: as they were at the start of the run, and those named by steps."""
        entries = {entry["path"]: entry for entry in self._facts["inputs"]}
        paths = files.inputs(self._state.work, entries)
        read = sum(entry["bytes"] for entry in entries.values() if entry["checksum"]["method"] == FULL)
        new = describe_files((path for path in paths if path not in entries), max(0, self._limit_bytes - read))
        return [*(entries[path] for path in paths if path in entries), *new]

    def _fixed_facts(self) -> Facts:
        """Return the fixed facts of a run."""
        settings, pipeline = self._settings, self._pipeline
        return {
            "schema_version": SCHEMA_VERSION,
            "command": {
                "parset": self._command.parset,
                "set": list(self._command.assignments),
                "overrides": dict(self._command.overrides),
                "directory": str(self._command.directory),
            },
            "parset": {
                "path": str(pipeline.path),
                "files": describe_files(map(str, pipeline.files), self._limit_bytes),
                "text": self._text,
                "lost": self._lost,
            },
            "options": [option_facts(option) for option in pipeline.options],
            "configuration": configuration_facts(settings, self._command.overrides),
            "software": {
                "runner": runner_facts(),
                "programs": program_facts(pipeline.steps, settings),
                "packages": package_facts(),
            },
            "host": host_facts(),
        }

    def _files(self) -> RunFiles:
        programs = frozenset(program["path"] for program in self._facts["software"]["programs"])
        first_s = self._state.first_s
        began_s = time.time() if first_s is None else first_s
        return RunFiles(self._pipeline, self._settings, programs, began_s, self._state.pauses)

    def _write(self) -> None:
        state = self._state
        path = self._settings.job_directory / "quality.json"
        self._quality = None if str(path) in state.earlier_files() else read_run_record(path, None)
        facts = {
            "schema_version": self._facts["schema_version"],
            "run": record_of_run(state, self._settings),
            **self._facts,
            "steps": [_step(step) for step in state.steps.values()],
            "jobs": [_job(step.name, job) for step in state.steps.values() for job in step.jobs.values()],
            "quality": self._quality,
            "warnings": list(state.warnings),
            "notices": list(state.notices),
            "removed": removed_facts(state),
        }
        write_atomically(self.path, as_text(facts))


def as_text(facts: Facts) -> str:
    """Return facts as JSON, one line per list item; ten times faster than indented JSON."""
    entries = []
    for key, value in facts.items():
        if isinstance(value, list) and value:
            # At once, and cut where objects meet: within a text a quote has a backslash before it.
            text = "[\n  " + _as_json(value)[1:-1].replace('}, {"', '},\n  {"') + "\n ]"
        else:
            text = _as_json(value)
        entries.append(f" {_as_json(key)}: {text}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def brief_record(state: RunState, settings: Settings, facts: Mapping[str, Any]) -> Facts:
    """Return the parts of run.json that change during a run; ``facts`` are the constant ones."""
    return {
        "job": settings.job_name,
        "run": record_of_run(state, settings),
        "is_repeat": state.is_repeat,
        "steps": [_step(step) for step in state.steps.values()],
        "products": facts.get("products", []),
        "quality": facts.get("quality"),
        "warnings": list(state.warnings),
        "report": str(settings.job_directory / "report.html"),
    }


def removed_facts(state: RunState) -> list[Facts]:
    """Return path and bytes of each output that went because no step needs it."""
    return [{"path": path, "bytes": size} for path, size in state.removed.items()]


def record_removed_files(path: Path, state: RunState) -> None:
    """Record removed outputs in run.json; a damaged file is left unchanged."""
    record = read_run_record(path, None)
    if not isinstance(record, dict) or not isinstance(products := record.get("products"), list):
        return
    remaining = [entry for entry in products if not (isinstance(entry, dict) and entry.get("path") in state.removed)]
    write_atomically(path, as_text({**record, "products": remaining, "removed": removed_facts(state)}))


def option_facts(option: Option) -> Facts:
    """Return the facts of an option: value, whether it is the default, source, meaning, domain."""
    places = {"source": "where"}
    keys = ("name", "value", "is_default", "source", "meaning", "domain")
    return {key: getattr(option, places.get(key, key)) for key in keys}


def _inputs(paths: list[str], entries: Mapping[str, Facts], work: Work, limit_bytes: int) -> list[Facts]:
    """Return the inputs as of before the run: inputs changed by a step keep their earlier entry."""
    changed = {path for path in paths if path in entries and path in work.written}
    fresh = {
        entry["path"]: entry for entry in describe_files((p for p in paths if p not in changed), limit_bytes, entries)
    }
    return [entries[path] if path in changed else fresh[path] for path in paths if path in changed or path in fresh]


def _earlier_files(path: Path) -> tuple[list[Facts], list[Facts]]:
    """Return inputs and products of an earlier record; empty if it is missing or of another version."""
    record = read_run_record(path, {})
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA_VERSION:
        return [], []
    return record.get("inputs", []), record.get("products", [])


def read_run_record(path: Path, default: Any) -> Any:
    """Return the content of a JSON file, null for NaN and infinity; ``default`` where it is absent or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
    except (OSError, ValueError):
        return default
