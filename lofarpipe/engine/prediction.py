"""What a step would give if it ran: its maps are written as a run writes them, with what its jobs are sure to return.

The values that a script returns are not known before it runs, unless it is one that plans: it declares in
``DRY_RUN_WRITES`` the arguments that name all that it writes, and is called with other places there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lofarpipe.engine.feedback_step import FeedbackPlan
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.overlay import Shadow, placeholder
from lofarpipe.engine.recipe import RecipePlan
from lofarpipe.engine.step_jobs import Outputs, job_entry, script_warnings
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.jobs import Job, result_of
from lofarpipe.pipeline import sip_options as sip_values
from lofarpipe.pipeline.plugins import declared
from lofarpipe.programs.find import PYTHON_PLUGIN
from lofarpipe.state.events import JobDone
from lofarpipe.state.work import Work

Values = Mapping[str, str]

NOT_MEASURED = ("job_duration", "monitor_stats")  # of a job that did not run


@dataclass(frozen=True)
class Supposed:
    """What is supposed of the jobs of a step.

    Attributes
    ----------
    values: what each job returns, by name of the job.
    comments: how that is known.
    is_complete: whether they return nothing else.
    may_break: whether they may end the loop that they are in.
    """

    values: Mapping[str, Values]
    comments: Sequence[str] = ()
    is_complete: bool = True
    may_break: bool = False


@dataclass(frozen=True)
class Supposer:
    """Finds out what jobs would return.

    Parameters
    ----------
    directory: for what scripts that plan are given, and leave beside what they are told to write.
    """

    shadow: Shadow
    work: Work
    directory: Path

    def suppose(
        self, prepared: RecipePlan, entry: str, kept: Mapping[str, JobDone], pending: Sequence[PlannedJob]
    ) -> Supposed:
        """Return what the jobs of a step return.

        Raises
        ------
        PipelineError
            If a script that plans fails.
        """
        entries = {planned.job.name: job_entry(entry, planned.job) for planned in prepared.jobs}
        values: dict[str, Values] = {name: _returned(kept[job]) for name, job in entries.items() if job in kept}
        if prepared.control.text("nodescript") != PYTHON_PLUGIN:
            return Supposed({planned.job.name: {} for planned in prepared.jobs})
        if not self.plans(pending):
            return self._guessed(prepared, values, pending, entries)
        planned, warnings = self._plan(pending)
        comment = f"{script_of(pending[0]).name} only plans: it was called, and nothing that it wrote is kept"
        return Supposed(values | planned, [comment, *warnings])

    def plans(self, pending: Sequence[PlannedJob]) -> bool:
        """Whether jobs only decide how to go on."""
        return bool(pending) and _writes(pending[0]) is not None

    def _guessed(
        self, prepared: RecipePlan, values: dict[str, Values], pending: Sequence[PlannedJob], entries: Mapping[str, str]
    ) -> Supposed:
        """Return what the jobs of a script returned the last time, else placeholders for what it declares."""
        keys = declared(script_of(pending[0]), "OUTPUTS") if pending else ()
        comments, is_new = [], False
        for planned in pending:
            name = planned.job.name
            last = self.work.last_job(entries[name])
            if last is not None:
                values[name] = _returned(last)
                comments = ["what it returns is taken to be what it returned the last time"]
            else:
                is_new = True
                known = [key for key in keys or () if key != "break"]
                values[name] = {key: placeholder(prepared.name, key, planned.place) for key in known}
        may_break = is_new and (keys is None or "break" in keys)
        return Supposed(values, comments, not is_new or keys is not None, may_break)

    def _plan(self, pending: Sequence[PlannedJob]) -> tuple[dict[str, Values], list[str]]:
        """Run the jobs of a script that plans; return what they returned, and what they warned of."""
        jobs = [self._job(planned) for planned in pending]
        results = LocalExecutor().run(jobs)
        for result in results:
            if not result.ok:
                why = "; ".join(self.shadow.back(result.tail(1)))
                raise PipelineError(f"what it gives is not known: {result.name}, which only plans, failed: {why}")
        self.shadow.settle()
        warnings = [f"warning: {line}" for result in results for line in script_warnings(result)]
        return {job.name: self.shadow.back(_read(_result_of(job))) for job in jobs}, self.shadow.back(warnings)

    def _job(self, planned: PlannedJob) -> Job:
        """Return a job that writes nothing but below other places; its description is written."""
        directory = self.directory / planned.job.name
        directory.mkdir(parents=True, exist_ok=True)
        call = call_of(planned)
        places = self.shadow.places(_writes(planned) or (), call["kwargs"])
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

    def maps(self, prepared: RecipePlan, supposed: Supposed) -> Outputs:
        """Write the maps of a step with what its jobs return, and return its outputs."""
        jobs = [self._ended(prepared, planned, supposed.values[planned.job.name]) for planned in prepared.jobs]
        saved = {Path(self.shadow.made(str(path))): data_map for path, data_map in prepared.saved.items()}
        directory = Path(self.shadow.place("mapfile_dir", str(prepared.mapfile_dir)))
        ended = replace(prepared, jobs=jobs, saved=saved, mapfile_dir=directory)
        results = [replace(result_of(p.job, 0), outputs=tuple(prepared.known_products(p))) for p in jobs]
        outputs = ended.finish(results, {})
        self.shadow.settle()
        return self.shadow.back(outputs)

    def _ended(self, prepared: RecipePlan, planned: PlannedJob, values: Values) -> PlannedJob:
        """Return a job with a file of what it returned; of a program, too, how long it took is not known."""
        unknown = {key: placeholder(prepared.name, key, planned.place) for key in NOT_MEASURED}
        result = self.directory / f"{planned.job.name.replace('/', '-')}.json"
        result.parent.mkdir(parents=True, exist_ok=True)
        result.write_text(json.dumps({**unknown, **values}), encoding="utf-8")
        return replace(planned, result=result)


def call_of(planned: PlannedJob) -> dict[str, Any]:
    """Return how the job of a script calls it: ``script``, ``args``, ``kwargs``; empty for other jobs."""
    text = planned.files.get(Path(planned.job.argv[-1]), "")
    return dict(json.loads(text)) if planned.result is not None else {}


def script_of(planned: PlannedJob) -> Path:
    """Return the script that a job calls."""
    return Path(call_of(planned)["script"])


def feedback_outputs(prepared: FeedbackPlan) -> Outputs:
    """Return what a feedback step would give; its map stays as it is."""
    outputs: Outputs = {"mapfile": prepared.values["mapfile_in"], "metadata_file": str(prepared.metadata_file)}
    if sip_values.is_wanted(prepared.values):
        outputs["sip_file"] = str(Path(str(prepared.values["sip_file"])).absolute())
    return outputs


def _writes(planned: PlannedJob) -> tuple[str, ...] | None:
    """Return the arguments that name all that a job writes; None if it may do more."""
    return declared(script_of(planned), "DRY_RUN_WRITES") if "script" in call_of(planned) else None


def _returned(end: JobDone) -> dict[str, str]:
    return dict(json.loads(end.returned or "{}"))


def _read(path: Path) -> dict[str, str]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _result_of(job: Job) -> Path:
    return job.workdir / "result.json"
