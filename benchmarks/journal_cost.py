"""What planning, the journal and resuming cost for each job of a step, and whether the runner's memory stays flat.

Usage: python benchmarks/journal_cost.py [largest number of simulated jobs] [number of local jobs]

Simulated jobs are not run: an executor reports them as done. Their products do not exist, as on another machine.
"""

from __future__ import annotations

import dataclasses
import gc
import resource
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from lofarpipe.config import Overrides, Settings, load_settings
from lofarpipe.engine.kinds import Scope
from lofarpipe.engine.run import Run
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.executors.local.resources import detect_resources
from lofarpipe.jobs import DoneCallback, Executor, Job, JobResult, JobStart, Resources, StartCallback
from lofarpipe.pipeline.load import Pipeline, load_pipeline
from lofarpipe.state.events import JobDone
from lofarpipe.state.journal import Journal, Stream
from lofarpipe.support.data_map import DataMap, DataProduct

LARGEST, LOCAL_JOBS = 100_000, 5_000
CONFIG = "[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n"
PARSET = """\
pipeline.steps = [work]
work.control.type = executable_args
work.control.executable = /bin/true
work.control.mapfile_in = {here}/in.mapfile
work.control.inputkey = infile
work.control.outputkey = outfile
work.argument.flags = [infile, outfile, -v]
"""


class Simulated:
    """Reports every job as done at once."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def capacity(self, partition: str = "") -> Resources:  # noqa: ARG002 - a single machine
        """Return resources larger than any job."""
        return Resources(16, 64.0)

    def cancel(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing is kept."""

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        """Return that all jobs were done."""
        results = []
        for job in jobs:
            results.append(JobResult(job.name, 0, 1e9, 1.0, 1.0, 10.0, job.log, job.argv, job.host, job.label))
            if on_start is not None and on_done is not None:
                on_start(JobStart(job.name, "node042", 0, 1e9))
                on_done(results[-1])
        return results


class MemoryAt:
    """Notes the memory of this process after each part of the jobs."""

    def __init__(self, every: int) -> None:
        self.memory_mb: list[float] = []
        self._every = every
        self._done = 0

    def job_done(self, event: JobDone) -> None:
        """Count a job."""
        del event
        self._done += 1
        if self._done % self._every == 0:
            self.memory_mb.append(memory_mb())


@dataclasses.dataclass
class Site:
    """A pipeline of one step with a number of jobs, in its own directory."""

    here: Path
    jobs: int

    def __post_init__(self) -> None:
        self._list(range(self.jobs))
        (self.here / "pipeline.cfg").write_text(CONFIG.format(here=self.here))
        (self.here / "run.parset").write_text(PARSET.format(here=self.here))
        self.settings: Settings = load_settings(
            self.here / "run.parset", Overrides(config=str(self.here / "pipeline.cfg"))
        )
        self.settings.job_directory.mkdir()
        self.pipeline: Pipeline = load_pipeline(self.here / "run.parset", self.settings, [])

    def _list(self, numbers: Iterable[int]) -> None:
        products = [DataProduct("localhost", f"/data/L628614_SB{n:06d}.ms", False) for n in numbers]
        DataMap(products).save(str(self.here / "in.mapfile"))

    def put_one_in_front(self) -> None:
        """Insert a product before all others, which changes the index of each."""
        self._list([self.jobs, *range(self.jobs)])

    @property
    def journal(self) -> Path:
        """The journal."""
        return self.settings.job_directory / "journal.jsonl"

    def run(self, executor: Executor, *reporters: object) -> float:
        """Run, and return the CPU time of this process, s."""
        gc.collect()
        began = time.process_time()
        with Journal(self.journal) as journal:
            Run(Scope(self.pipeline, self.settings, executor, Stream(journal, reporters))).execute()
        return time.process_time() - began

    def forget_the_end(self, share: float) -> None:
        """Truncate the journal to that of a run killed after this fraction of the jobs."""
        lines = self.journal.read_bytes().splitlines(keepends=True)
        ends = [place for place, line in enumerate(lines) if b'"job_done"' in line]
        self.journal.write_bytes(b"".join(lines[: ends[int(share * len(ends)) - 1] + 1]))


def memory_mb() -> float:
    """Return the memory that this process has now, in 10^6 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def simulated(jobs: int) -> None:
    """Print the cost of a number of simulated jobs."""
    with tempfile.TemporaryDirectory() as here:
        site = Site(Path(here), jobs)
        first = site.run(Simulated())
        size = site.journal.stat().st_size
        done = site.run(Simulated())
        site.forget_the_end(0.5)
        half = site.run(Simulated())
        site.put_one_in_front()
        moved = site.run(Simulated())
    microseconds = [f"{1e6 * seconds / jobs:12.0f}" for seconds in (first, done, half, moved)]
    print(f"{jobs:8d} {' '.join(microseconds)} {size / jobs:12.0f}")


def local(jobs: int) -> None:
    """Print the cost of /bin/true jobs on this machine, and the runner's memory meanwhile."""
    with tempfile.TemporaryDirectory() as here:
        site = Site(Path(here), jobs)
        memory = MemoryAt(jobs // 5)
        took = site.run(LocalExecutor(Resources(detect_resources().cores, 1e3)), memory)
    print(f"{jobs} jobs of /bin/true here: {1e3 * took / jobs:.1f} ms of a processor for each, without their own")
    print("memory after each fifth of them, MB:", " ".join(f"{megabytes:.0f}" for megabytes in memory.memory_mb))


def main(arguments: Sequence[str]) -> None:
    """Measure, and print a table."""
    largest, local_jobs = [*map(int, arguments), *(LARGEST, LOCAL_JOBS)[len(arguments) :]]
    local(local_jobs)  # first, as memory of the others would hide its own
    print("\nmicroseconds of a processor for each job:")
    print(f"{'jobs':>8} {'first run':>12} {'all done':>12} {'half done':>12} {'one in front':>12} {'journal, B':>12}")
    jobs = 100
    while jobs <= largest:
        simulated(jobs)
        jobs *= 10


if __name__ == "__main__":
    main(sys.argv[1:])
