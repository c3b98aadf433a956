"""Feedback steps: one job describes each product; then the metadata file for the archive is written.

Source: doc/spec/lofarpipe.md, sections 9.2 and 14.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from lofarpipe import __version__
from lofarpipe.archive.feedback import feedback_parset
from lofarpipe.archive.sip import write_sips
from lofarpipe.config import Settings
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.errors import PipelineError, nearest
from lofarpipe.jobs import Job, JobResult, Resources
from lofarpipe.pipeline.control import FEEDBACK_KEYS, Value, defaults, read_value
from lofarpipe.pipeline.options import is_sip_requested, sip_problems
from lofarpipe.pipeline.steps import Results, Step, resolve
from lofarpipe.programs.find import job_environment
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically


@dataclass(frozen=True)
class FeedbackPlan:
    """A feedback step ready to run."""

    step: Step
    values: Mapping[str, Value]
    products: DataMap
    jobs: Sequence[PlannedJob]
    job_directory: Path
    pipeline: str  # name of the pipeline
    build: Callable[[int, int], PlannedJob]  # (map index, job number) -> job
    repeatable: bool = False
    retries: int = 0
    warns_of_disk: bool = False

    @property
    def metadata_file(self) -> Path:
        """The path of the metadata file."""
        return Path(str(self.values["metadata_file"])).absolute()

    @property
    def identity(self) -> dict[str, object]:
        """Identity of the step; a finished step with an equal identity is not run again."""
        return {
            "program": ("genericpipeline", __version__, ""),
            "version": __version__,
            "products": [planned.arguments for planned in self.jobs],
            "values": self.values,
        }

    @property
    def skips_failed(self) -> bool:
        """Whether unreadable products stay skipped in the next run."""
        return self.error_tolerance

    @property
    def error_tolerance(self) -> bool:
        """Whether the step tolerates products that cannot be described."""
        return bool(self.values["error_tolerance"])

    def retry_job(self, planned: PlannedJob, problem: str) -> None:
        """Return None: there is no fallback for an unreadable file."""

    def numbered(self, numbers: Mapping[int, int]) -> FeedbackPlan:
        """Return a copy with renumbered jobs; ``numbers`` is keyed by map index."""
        return replace(self, jobs=[self.build(p.place, numbers.get(p.place, p.place)) for p in self.jobs])

    def job_identity(self, planned: PlannedJob) -> dict[str, object]:
        """Return the identity of a job; a finished job with an equal identity is not run again."""
        return {**self.identity, "products": planned.arguments}

    def label_of(self, planned: PlannedJob) -> str:
        """Return the subject of a job for messages."""
        return planned.job.label

    def complete(self, planned: PlannedJob, result: JobResult) -> str | None:
        """Return None: a job leaves nothing to complete."""
        return None

    def failure_of(self, result: JobResult) -> str | None:
        """Return why a job failed, or None."""
        return None if result.ok else result.reason()

    def nothing(self, planned: PlannedJob) -> Sequence[str]:
        """Return an empty sequence: products are only read."""
        return ()

    outputs_of = changed_inputs = products_of = nothing

    def finish(self, _: Sequence[JobResult], failed: Mapping[str, str]) -> dict[str, object]:
        """Write the metadata file of the readable products, skip the others, and return the outputs."""
        if failed and len(failed) == len(self.jobs):
            return {}  # no product was readable; the caller reports why
        described = []
        for planned in self.jobs:
            if planned.job.name in failed or planned.result is None:
                self.products.data[planned.place].skip = True
            else:
                described.append(json.loads(planned.result.read_text(encoding="utf-8")))
        mapfile = str(self.values["mapfile_in"])
        self.products.save(mapfile)
        prefix = str(self.values["parset_prefix"])
        text = feedback_parset(str(self.values["product_type"]), "" if prefix == "none" else prefix, described)
        self.metadata_file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.metadata_file, text)
        outputs: dict[str, object] = {"mapfile": mapfile, "metadata_file": str(self.metadata_file)}
        if is_sip_requested(self.values):
            outputs["sip_file"] = write_sips(self.values, described, self.job_directory, self.pipeline)[0]
        return outputs


def prepare_feedback(step: Step, results: Results, settings: Settings, machine: Resources) -> FeedbackPlan:
    """Plan the step, one job for each unskipped product; nothing is run or written.

    Raises
    ------
    PipelineError
        If a key has a value of the wrong type, or the map cannot be loaded.
    """
    values = defaults(FEEDBACK_KEYS)
    for key, text in step.control.items():
        where = step.where(f"control.{key}")
        if key not in FEEDBACK_KEYS:
            raise PipelineError(f"{where}: no such control key for a feedback step{nearest(key, FEEDBACK_KEYS)}")
        try:
            values[key] = read_value(resolve(text, results, where), FEEDBACK_KEYS[key].kind)
        except ValueError as err:
            raise PipelineError(f"{where} is '{text}'; {err}") from None
    if wrong := sip_problems(values):
        raise PipelineError("\n".join(f"step '{step.name}': {message}" for message in wrong))
    products = DataMap.load(str(values["mapfile_in"]))
    build = partial(_job, step, products, values, settings, machine)
    jobs = [build(place, place) for place, product in enumerate(products.data) if not product.skip]
    pipeline = Path(str(results.get("input", {}).get("parset", settings.job_name))).stem
    return FeedbackPlan(step, values, products, jobs, settings.job_directory, pipeline, build)


def _job(
    step: Step,
    products: DataMap,
    values: Mapping[str, Value],
    settings: Settings,
    machine: Resources,
    place: int,
    number: int,
) -> PlannedJob:
    product = products.data[place].file
    directory = settings.job_directory / "jobs" / step.name
    spec, result = directory / f"{number:03d}.json", directory / f"{number:03d}.result.json"
    call = {"product": product, "product_type": values["product_type"], "result": str(result)}
    job = Job(
        name=f"{step.name}/{number:03d}",
        argv=(sys.executable, "-P", "-m", "lofarpipe.archive.feedback_job", str(spec)),
        workdir=settings.job_workdir,
        log=settings.job_directory / "logs" / step.name / f"{number:03d}.log",
        cores=1,
        memory_gb=machine.memory_gb / machine.cores,
        env=job_environment(),
        max_per_node=int(str(values["max_per_node"])) or settings.max_per_node,
        label=product,
    )
    return PlannedJob(job, place, ([product], {}), (), {spec: json.dumps(call, indent=1)}, result)
