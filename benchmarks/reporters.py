#!/usr/bin/env python3
"""Cost of reporters: their CPU time relative to that of a run of trivial jobs.

benchmarks/reporters.py [--jobs 1000 3000] [--scripts 1000 2000] [--repeat 3] [--directory DIR]

Two kinds of jobs: /bin/true, the least that a job can be, and a Python script that does nothing, the least that a step
of a pipeline is. The run has a pseudo-terminal as its standard output: it is shown live if it lasts long enough. The
CPU seconds of the reporters, of their threads, processes and imports are counted within the run itself: they are far
below the noise between two runs. What the counting costs is taken off: each time, nothing is counted as well. From two
sizes follow what they cost for each job, what they cost in any run, and so their part of a run of 1,000 jobs.
Everything is compiled before, as it is where the pipeline is installed. Each reporter alone is counted in runs of their
own: to count takes time as well, and changes what is in the caches of the processor.
"""

from __future__ import annotations

import argparse
import builtins
import importlib
import json
import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from short_jobs import write_pipeline

LIMIT = 0.01  # of the run
OF_A_RUN_OF = 1000  # jobs
TOGETHER = "Stream"
PAGE = "PageWriter"  # [report] html = False leaves it out
IMPORTS, MAKING, STATE, THREAD = "imports", "making them", "RunState", "thread of LiveTerminal"
ONCE = ("run_started", "run_ended")  # single events, which also wait for processes
Work = Callable[..., Any]
KINDS = {"/bin/true": ("/bin/true", ""), "python3 -c pass": (sys.executable, "run.argument.flags = [-c, pass]\n")}
ENGINE = (  # but for its reporters
    *("cli", "executors.factory", "executors.local.executor", "engine.job_builder", "engine.recipe"),
    *("pipeline.load", "state.journal", "state.uptodate"),
)


def cpu_s(who: int) -> float:
    """Return the user and system time of this process, or of its children, s."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class Inside(threading.local):
    """Depth of counted functions in a thread."""

    depth = 0


INSIDE = Inside()


def counted(work: Work, costs: dict[str, float], name: str, is_once: bool = False) -> Work:
    """Return a function that does some work, and counts the CPU time of its thread; of one event also of processes."""

    def call(*arguments: object, **keywords: object) -> object:
        INSIDE.depth += 1
        before = cpu_s(resource.RUSAGE_CHILDREN) if is_once else 0.0
        began = time.thread_time()  # directly before and after, as reading the clock takes time too
        try:
            return work(*arguments, **keywords)
        finally:
            ended = time.thread_time()
            nothing()
            cost = ended - began - (time.thread_time() - ended)
            costs[name] += cost  # without a call in between, as other threads add to it too
            INSIDE.depth -= 1
            if is_once:
                costs[name] += cpu_s(resource.RUSAGE_CHILDREN) - before

    return call


def nothing(*arguments: object, **keywords: object) -> None:
    """Measure the time of a call, and the time of reading the clock."""


def count_events(kind: type, costs: dict[str, float], events: Sequence[str]) -> None:
    """Count the time of a reporter class in its event methods."""
    for event in events:
        if hasattr(kind, event):
            setattr(
                kind, event, counted(getattr(kind, event), costs, kind.__name__, event in (*ONCE, "_report_run_end"))
            )


def count_imports(costs: dict[str, float]) -> None:
    """Count imports of the reporters outside of event methods."""
    load = builtins.__import__
    count = counted(load, costs, IMPORTS)

    def import_counted(name: str, *arguments: object, **keywords: object) -> object:
        is_ours = name.startswith(("lofarpipe.report", "lofarpipe.archive")) or name == "lofarpipe"
        return (count if is_ours and not INSIDE.depth else load)(name, *arguments, **keywords)

    builtins.__import__ = import_counted  # type: ignore[assignment]


def count_reporters(costs: dict[str, float], each_alone: bool) -> None:
    """Have the reporters of the next run counted: together, with the page apart, or each alone."""
    from lofarpipe import cli
    from lofarpipe.archive.record import RunRecord
    from lofarpipe.report import live, pipeline_log
    from lofarpipe.report.html.writer import PageWriter
    from lofarpipe.state.events import KINDS
    from lofarpipe.state.journal import Debounce, Stream
    from lofarpipe.state.run_state import RunState

    told = [*KINDS, "jobs_done"]
    if each_alone:
        for kind in (pipeline_log.ClassicLog, live.LiveTerminal, PageWriter, RunRecord, pipeline_log.Statistics):
            count_events(kind, costs, told)
    else:
        count_events(PageWriter, costs, ONCE)
        count_events(Stream, costs, ("_report", "_report_end", "_report_run_end"))
        Debounce._run = counted(Debounce._run, costs, TOGETHER)  # type: ignore[method-assign]
    cli.make_reporters = counted(cli.make_reporters, costs, MAKING)
    RunState.apply = counted(RunState.apply, costs, STATE)  # type: ignore[method-assign]
    live.LiveTerminal._refresh = counted(live.LiveTerminal._refresh, costs, THREAD)  # type: ignore[method-assign]


def run(folder: Path, each_alone: bool) -> int:
    """Run the pipeline in this process, and write the costs."""
    costs: dict[str, float] = defaultdict(float)
    for name in ENGINE:
        importlib.import_module(f"lofarpipe.{name}")
    count_imports(costs)
    from lofarpipe import cli

    count_reporters(costs, each_alone)
    os.chdir(folder)  # of this process alone
    status = cli.main(["trivial.parset"])
    total = cpu_s(resource.RUSAGE_SELF) + cpu_s(resource.RUSAGE_CHILDREN)
    (folder / "costs.json").write_text(json.dumps({"total": total, "costs": costs}))
    return status


@dataclass(frozen=True)
class Costs:
    """CPU seconds of a run: in total, and of each reporter."""

    total: float
    of: dict[str, float]

    @classmethod
    def found(cls, total: float, costs: dict[str, float]) -> Costs:
        """Return the times counted, with the page separate."""
        of = dict(costs)
        if TOGETHER in of:
            of[TOGETHER] -= of[PAGE]
        return cls(total, of)

    @classmethod
    def median(cls, measured: Sequence[Costs]) -> Costs:
        """Return the median of each."""
        names = sorted({name for one in measured for name in one.of})
        of = {name: statistics.median(one.of.get(name, 0.0) for one in measured) for name in names}
        return cls(statistics.median(one.total for one in measured), of)

    @property
    def page(self) -> float:
        """Cost of the page."""
        return self.of.get(PAGE, 0.0)

    @property
    def told(self) -> float:
        """Cost of everything else."""
        return sum(self.of.values()) - self.page


@dataclass(frozen=True)
class Case:
    """Measured runs."""

    kind: str
    jobs: int
    each_alone: bool = False

    def measure(self, directory: str | None, compiled: str) -> Costs:
        """Return the CPU seconds of a run in a fresh folder, and those of its reporters.

        ``compiled`` is where Python keeps the modules that it has compiled.
        """
        with tempfile.TemporaryDirectory(dir=directory) as name:
            folder = Path(name)
            self._prepare(folder)
            ours, theirs = pty.openpty()
            argv = [sys.executable, __file__, "--run", "alone" if self.each_alone else "together", "--directory", name]
            environment = {**os.environ, "TERM": "xterm", "PYTHONPYCACHEPREFIX": compiled}
            environment.pop("PYTHONDONTWRITEBYTECODE", None)
            with subprocess.Popen(argv, stdout=theirs, stderr=subprocess.DEVNULL, env=environment) as process:
                os.close(theirs)
                drain(ours)
            if process.returncode:
                sys.exit(f"the run ended with {process.returncode}")
            found = json.loads((folder / "costs.json").read_text())
            return Costs.found(found["total"], found["costs"])

    def _prepare(self, folder: Path) -> None:
        """Write the parset, and one file for each job."""
        write_pipeline(folder / "trivial.parset", self.jobs, *KINDS[self.kind])


def drain(terminal: int) -> None:
    """Read a terminal until its other end is closed."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # Linux's error when the other end is closed
        pass
    os.close(terminal)


@dataclass(frozen=True)
class Line:
    """Linear fit to runs of two sizes: CPU seconds per job, and per run."""

    sizes: Sequence[int]
    costs: Sequence[float]

    @property
    def per_job(self) -> float:
        """Cost of one more job."""
        return (self.costs[1] - self.costs[0]) / (self.sizes[1] - self.sizes[0])

    def at(self, jobs: int) -> float:
        """Return the cost of a run of a number of jobs."""
        return self.costs[0] + self.per_job * (jobs - self.sizes[0])

    def text(self, name: str) -> str:
        """Return a row of the table."""
        few, many = (f"{1e3 * cost:8.0f} ms" for cost in self.costs)
        return f"  {name:24}{few}{many}{1e6 * self.per_job:9.0f} us{1e3 * max(0.0, self.at(0)):9.0f} ms"


def verdict(kind: str, sizes: Sequence[int], runs: Sequence[Sequence[Costs]]) -> tuple[list[str], bool]:
    """Return the lines for a kind of jobs, and whether the limit is kept, page included.

    ``runs`` are all of the one size, and all of the other.
    """
    medians = [Costs.median(measured) for measured in runs]
    total, told, page = (Line(sizes, [getattr(one, name) for one in medians]) for name in ("total", "told", "page"))
    least, most = min(one.total for one in runs[1]), max(one.total for one in runs[1])
    parts = {"all but the page": told.at(OF_A_RUN_OF), "with the page": told.at(OF_A_RUN_OF) + page.at(OF_A_RUN_OF)}
    shares = {name: part / total.at(OF_A_RUN_OF) for name, part in parts.items()}
    return [
        f"{kind}: {sizes[0]} and {sizes[1]} jobs",
        f"  {'':24}{sizes[0]:>11}{sizes[1]:>11}     per job        fixed",
        *(line.text(name) for name, line in (("the run", total), ("all but the page", told), ("the page", page))),
        *(
            f"  of a run of {OF_A_RUN_OF} jobs, {name}: {share:.2%}, limit {LIMIT:.0%}: "
            f"{'ok' if share < LIMIT else 'MISSED'}"
            for name, share in shares.items()
        ),
        f"  noise: the runs of {sizes[1]} jobs took {least:.2f} to {most:.2f} s",
    ], shares["with the page"] < LIMIT


def each_alone(sizes: Sequence[int], runs: Sequence[Sequence[Costs]]) -> list[str]:
    """Return the lines of each reporter, the most costly first."""
    few, many = (Costs.median(measured) for measured in runs)
    lines = {name: Line(sizes, (few.of.get(name, 0.0), cost)) for name, cost in many.of.items()}
    ordered = sorted(lines.items(), key=lambda pair: -pair[1].per_job)
    return ["each counted alone:", *(line.text(name) for name, line in ordered)]


def main() -> int:
    """Measure, print tables, and return 1 if the limit is missed by the scripts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, sizes in (("--jobs", (1000, 3000)), ("--scripts", (1000, 2000))):
        parser.add_argument(name, type=int, nargs=2, default=sizes, help="two numbers, the smaller one first")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--directory", help="where the runs are; default: the system's place for temporary files")
    parser.add_argument("--run", choices=("alone", "together"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return run(Path(options.directory), options.run == "alone")
    sizes = dict(zip(KINDS, (options.jobs, options.scripts), strict=True))
    cases = [Case(kind, jobs) for kind in KINDS for jobs in sizes[kind]]
    cases += [Case(next(iter(KINDS)), jobs, each_alone=True) for jobs in options.jobs]
    with tempfile.TemporaryDirectory(dir=options.directory) as compiled:
        Case(next(iter(KINDS)), 1).measure(options.directory, compiled)  # compiles the imported modules
        turns = [[case.measure(options.directory, compiled) for case in cases] for _ in range(options.repeat)]
    runs = list(zip(*turns, strict=True))
    print(f"CPU, median of {options.repeat}")
    kept = []
    for place, kind in enumerate(KINDS):
        lines, is_kept = verdict(kind, sizes[kind], runs[2 * place : 2 * place + 2])
        kept.append(is_kept)
        print("\n".join(lines))
    print("\n".join(each_alone(options.jobs, runs[-2:])))
    return 0 if kept[-1] else 1


if __name__ == "__main__":
    sys.exit(main())
