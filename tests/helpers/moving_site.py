"""A pipeline with pretended jobs, so that hundreds of runs take seconds; the expected jobs are computed twice."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from copy_pipeline import CONFIG, copy_step, gather_step, journalled, list_step
from idle_executor import IdleExecutor
from journal_events import emit, state_of
from lofarpipe.config import Overrides, Settings, load_settings
from lofarpipe.engine.dry_run import preview
from lofarpipe.engine.kinds import Scope
from lofarpipe.engine.run import Run
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import DoneCallback, Job, JobResult, JobStart, StartCallback
from lofarpipe.pipeline.load import load_pipeline
from lofarpipe.state.journal import Journal, Stream, read_state
from lofarpipe.state.run_state import RunState

STEPS = """\
pipeline.steps = [list, copy, again, gather, join]
join.control.type = executable_args
join.control.executable = /bin/true
join.control.mapfile_in = gather.output.mapfile
join.control.inputkey = files
join.argument.flags = [files, {here}/joined.txt]
"""
# Instead of the second copy the first one is changed in place.
MARKED = (
    "pipeline.steps=[list, copy, mark, gather, join]",
    "mark.control.type=executable_args",
    "mark.control.executable=/bin/echo",
    "mark.control.mapfile_in=copy.output.mapfile",
    "mark.control.inputkey=infile",
    "mark.control.inplace=True",
    "mark.control.error_tolerance=False",
    "mark.argument.flags=[infile]",
    "gather.control.mapfile_in=mark.output.mapfile",
)
PARSET = STEPS + gather_step("again") + list_step("[]") + copy_step("copy", "list") + copy_step("again", "copy")
# The files that came in are.
MARKED_INPUTS = (*MARKED, "pipeline.steps=[list, mark, gather, join]", "mark.control.mapfile_in=list.output.mapfile")


class Killed(BaseException):
    """The engine is no more."""


@dataclass
class Pretended(IdleExecutor):
    """Imitates jobs; ``started`` are ``<step>-<product>``, for the last step ``join``.

    Parameters
    ----------
    failing: names of failing jobs.
    kill_at: the number of jobs after which the engine dies, when the next has done half of its work.
    """

    failing: frozenset[str] = frozenset()
    kill_at: int = -1
    way: str = "half"  # else ``idle``: it dies before the job did anything; ``untold``: before it noted that it began
    started: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        assert on_done is not None
        assert on_start is not None
        results = []
        for job in jobs:
            self.started.append(called(job.argv))
            self.names.append(job.name)
            self.is_last = len(self.started) == self.kill_at + 1
            if not (self.is_last and self.way == "untold"):
                on_start(JobStart(job.name, "node042", 0, 1e9))
            job.log.parent.mkdir(parents=True, exist_ok=True)
            job.log.write_text(called(job.argv))
            code = self._work(job)
            results.append(JobResult(job.name, code, 1e9, 1.0, 1.0, 1.0, job.log, job.argv, label=job.label))
            on_done(results[-1])
        return results

    def _work(self, job: Job) -> int:
        if self.is_last and self.way == "idle":
            raise Killed
        if self.started[-1] in self.failing and not self.is_last:
            return 1
        write(job.argv, is_half=self.is_last)
        if self.is_last:
            raise Killed
        return 0


def called(argv: Sequence[str]) -> str:
    """Return which job a command is."""
    if argv[0] == "/bin/true":
        return "join"
    step = "mark" if argv[0] == "/bin/echo" else argv[-1].rpartition(".")[2]
    return f"{step}-{product_of(argv[1])}"


def product_of(path: str) -> str:
    """Return the product that a file is of; those of the other directory are capital letters."""
    name = Path(path).name.partition(".")[0]
    return name.upper() if "/other/" in path else name


def write(argv: Sequence[str], is_half: bool) -> None:
    """Write the output of a command, or half of it."""
    if argv[0] == "/bin/echo":
        with Path(argv[1]).open("a") as file:
            file.write("half" if is_half else "marked\n")
        return
    names = argv[1].strip("[]").split(",")
    text = "".join(Path(name.strip()).read_text() for name in names)
    Path(argv[2]).write_text("half" if is_half else text)


class MovingSite:
    """A directory with the pipeline in it, and products that come, go and change."""

    def __init__(self, here: Path, *assignments: str) -> None:
        self.here = here
        self.assignments = assignments
        (here / "in/other").mkdir(parents=True)
        (here / "pipeline.cfg").write_text(CONFIG.format(here=here))
        (here / "run.parset").write_text(PARSET.format(here=here))
        self.settings: Settings = load_settings(here / "run.parset", Overrides(config=str(here / "pipeline.cfg")))
        self.settings.job_directory.mkdir()
        self._changes = 0

    @property
    def job(self) -> Path:
        return self.settings.job_directory

    def change(self, *products: str) -> None:
        """Give products a content that they never had."""
        for product in products:
            self._changes += 1
            self.input(product).write_text(f"{product}{self._changes}\n")

    def input(self, product: str) -> Path:
        return self.here / f"in/{'other/' if product.isupper() else ''}{product.lower()}.txt"

    def output(self, product: str, step: str) -> Path:
        return self.job / f"{product.lower()}.{step}"

    def run(self, products: str, executor: Pretended | None = None) -> list[str]:
        """Run with these products, and return which jobs were started, in their order.

        Raises
        ------
        PipelineError, Killed
            As the run does.
        """
        executor = executor or Pretended()
        with Journal(self.job / "journal.jsonl") as journal:
            run = Run(Scope(self._pipeline(products), self.settings, executor, Stream(journal)))  # type: ignore[arg-type]
            emit(journal, "run_started", job="run", steps=["list", "copy", "again", "mark", "gather", "join"])
            run.execute()
        return executor.started

    def dry_run(self, products: str) -> list[str]:
        """Return the jobs whose commands a dry run prints; their names are ``named``, the rest is ``told``."""
        state = read_state(self.job / "journal.jsonl")
        with tempfile.TemporaryDirectory() as directory:
            args = (self._pipeline(products), self.settings, Pretended(), state, Path(directory))
            lines = preview(*args).lines  # type: ignore[arg-type]
        self.told = [line for line in lines if line.startswith("#")]
        commands = [line.partition(": ") for line in lines if not line.startswith("#")]
        self.named = [name for name, _, _ in commands]
        return [called(command.split(" ", 2)) for _, _, command in commands]

    def _pipeline(self, products: str):  # type: ignore[no-untyped-def]
        files = ", ".join(str(self.input(product)) for product in products)
        return load_pipeline(
            self.here / "run.parset", self.settings, [*self.assignments, f"list.control.files=[{files}]"]
        )

    @property
    def state(self) -> RunState:
        """The picture that the journal gives."""
        return state_of(journalled(self.job))

    def joined(self) -> str:
        return (self.here / "joined.txt").read_text()

    def numbers(self, step: str) -> dict[str, str]:
        """Return number -> product of the jobs of a step that are shown."""
        jobs = self.state.steps[step].jobs.values()
        return {job.name.rpartition("/")[2]: product_of(job.label) for job in jobs}


@contextmanager
def temporary_site(*assignments: str) -> Iterator[MovingSite]:
    directory = Path(tempfile.mkdtemp(prefix="moving-"))
    try:
        yield MovingSite(directory, *assignments)
    finally:
        shutil.rmtree(directory)


@dataclass
class Expected:
    """The expected jobs, by simple means: the last product of each job, and its inputs."""

    site: MovingSite
    copies: dict[str, tuple[str, int]] = field(default_factory=dict)  # product -> content that was copied, when
    agains: dict[str, tuple[int, int]] = field(default_factory=dict)  # product -> which copy was copied, when
    joined: object = None
    _clock: int = 0

    def now(self) -> int:
        self._clock += 1
        return self._clock

    def run(self, products: str, failing: frozenset[str] = frozenset(), kill_at: int = -1) -> list[str]:
        """Return the started jobs in order, and note the finished ones."""
        started: list[str] = []
        for step in ("copy", "again"):
            failed = False
            for product in products:
                if self._is_good(step, product):
                    continue
                started.append(f"{step}-{product}")
                (self.copies if step == "copy" else self.agains).pop(product, None)
                if len(started) == kill_at + 1:
                    return started
                if started[-1] in failing:
                    failed = True
                    continue
                self._note(step, product)
            if failed:
                return started
        wanted = [(product, self.agains[product][1]) for product in products]
        if self.joined != wanted:
            started.append("join")
            is_done = len(started) != kill_at + 1 and "join" not in failing
            self.joined = wanted if is_done else None
        return started

    def _is_good(self, step: str, product: str) -> bool:
        if not self.site.output(product, step).exists():
            return False
        if step == "copy":
            return self.copies.get(product, ("", 0))[0] == self.site.input(product).read_text()
        return self.agains.get(product, (-1, 0))[0] == self.copies[product][1]

    def _note(self, step: str, product: str) -> None:
        if step == "copy":
            self.copies[product] = (self.site.input(product).read_text(), self.now())
        else:
            self.agains[product] = (self.copies[product][1], self.now())

    def copied(self) -> Expected:
        """Return the same, for a question."""
        return Expected(self.site, dict(self.copies), dict(self.agains), self.joined, self._clock)


__all__ = [
    "MARKED",
    "MARKED_INPUTS",
    "Expected",
    "Killed",
    "MovingSite",
    "PipelineError",
    "Pretended",
    "temporary_site",
]
