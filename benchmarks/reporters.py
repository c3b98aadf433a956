#!/usr/bin/env python3
"""What it costs that a run is shown and recorded: CPU of each reporter over that of a run of trivial jobs.

benchmarks/reporters.py [--jobs 1000 3000] [--repeat 3] [--directory DIR]

The run has a pseudo-terminal as its standard output, so that it is shown live. Each reporter's CPU seconds, those of
its threads and processes included, are counted within the run itself: they are far below the noise between two runs.
What the counting costs is taken off: one reporter more is counted that does nothing.
From two sizes follow what a reporter costs for each job, and what it costs whatever the number of jobs. Everything is
compiled before, as it is where the pipeline is installed. For information the same runs are done without reporters.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 0.01  # of the run
NOTHING = "Reporter"  # it does nothing
PAGE = "PageWriter"  # [report] html = False leaves it out
PARSET = """\
pipeline.steps = [list, run]
list.control.kind = plugin
list.control.type = createMapfile
list.control.method = mapfile_from_folder
list.control.folder = {files}
list.control.mapfile_dir = input.output.mapfile_dir
list.control.filename = list.mapfile
run.control.type = executable_args
run.control.executable = /bin/true
run.control.mapfile_in = list.output.mapfile
run.control.inputkey = file
run.control.max_per_node = 2
"""


def cpu_s(who: int) -> float:
    """Return the user and system time of this process, or of its children, s."""
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class Timed:
    """Passes everything on to a reporter, and counts what that costs."""

    def __init__(self, reporter: object, costs: dict[str, float]) -> None:
        self._reporter = reporter
        self._costs = costs

    def __getattr__(self, name: str) -> Callable[..., object]:
        method = getattr(self._reporter, name)

        def call(*arguments: object, **keywords: object) -> object:
            children = cpu_s(resource.RUSAGE_CHILDREN)
            began = time.thread_time()  # the last thing before, and the first one after: asking costs time too
            try:
                return method(*arguments, **keywords)
            finally:
                spent = time.thread_time() - began
                self._costs[type(self._reporter).__name__] += spent + cpu_s(resource.RUSAGE_CHILDREN) - children

        return call


def run(folder: Path, is_shown: bool) -> int:
    """Run the pipeline in this process, and write what it cost."""
    from lofarpipe import cli, report
    from lofarpipe.report import live

    costs: dict[str, float] = defaultdict(float)
    refresh, begin = live.LiveTerminal._refresh, report.Reporters.__init__

    def counted(terminal: live.LiveTerminal) -> None:
        began = time.thread_time()  # the thread's own clock
        refresh(terminal)
        costs["thread of LiveTerminal"] += time.thread_time() - began

    def counting(reporter: report.Reporter) -> object:
        return reporter if isinstance(reporter, report.Reporters) else Timed(reporter, costs)

    live.LiveTerminal._refresh = counted
    live.START_S = 0.0  # else a run of a few seconds has no pictures, and a longer one has

    def begun(self: report.Reporters, reporters: Sequence[report.Reporter]) -> None:
        is_outer = any(isinstance(reporter, report.Reporters) for reporter in reporters)
        nothing = [report.Reporter()] if is_outer else []
        begin(self, [counting(reporter) for reporter in (*reporters, *nothing)] if is_shown else [])

    report.Reporters.__init__ = begun
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
    def median(cls, measured: Sequence[Costs]) -> Costs:
        """Return the median of each."""
        names = sorted({name for one in measured for name in one.of})
        of = {name: statistics.median(one.of.get(name, 0.0) for one in measured) for name in names}
        return cls(statistics.median(one.total for one in measured), of)


def measure(jobs: int, is_shown: bool, directory: str | None, compiled: str) -> Costs:
    """Return the CPU seconds of a run in a fresh folder, and those of its reporters.

    ``compiled`` is where Python keeps the modules that it has compiled.
    """
    with tempfile.TemporaryDirectory(dir=directory) as name:
        folder = Path(name)
        (folder / "files").mkdir()
        for number in range(jobs):
            (folder / "files" / f"{number:04d}").touch()
        (folder / "trivial.parset").write_text(PARSET.format(files=folder / "files"))
        ours, theirs = pty.openpty()
        argv = [sys.executable, __file__, "--run", "on" if is_shown else "off", "--directory", name]
        environment = {**os.environ, "TERM": "xterm", "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        with subprocess.Popen(argv, stdout=theirs, stderr=subprocess.DEVNULL, env=environment) as process:
            os.close(theirs)
            drain(ours)
        if process.returncode:
            sys.exit(f"the run ended with {process.returncode}")
        found = json.loads((folder / "costs.json").read_text())
        counting = found["costs"].pop(NOTHING, 0.0)
        of = {name: cost - (0.0 if "thread" in name else counting) for name, cost in found["costs"].items()}
        return Costs(found["total"], of)


def drain(terminal: int) -> None:
    """Read what is written to a terminal until nobody has it open."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(terminal)


def table(sizes: Sequence[int], costs: Sequence[Costs], hidden: Sequence[Costs]) -> tuple[list[str], bool]:
    """Return what is printed, and whether the limit is kept: by what each job costs, the page left out."""
    (few, many), (small, large) = sizes, costs
    more = many - few
    engine = (large.total - small.total) / more  # per job, s
    per_job = {name: (large.of[name] - small.of.get(name, 0.0)) / more for name in large.of}
    fixed = {name: max(0.0, small.of.get(name, 0.0) - per_job[name] * few) for name in per_job}
    lines = [f"  {'':28}{few:>9}{many:>9}    per job      fixed"]
    for name, cost in sorted(per_job.items(), key=lambda pair: -pair[1]):
        measured = f"{1e3 * small.of.get(name, 0.0):6.0f} ms{1e3 * large.of[name]:6.0f} ms"
        lines.append(f"  {name:28}{measured}{1e6 * cost:8.0f} us{1e3 * fixed[name]:8.0f} ms")
    lines.append(f"  {'the run':28}{small.total:7.2f} s{large.total:7.2f} s{1e6 * engine:8.0f} us")
    page = per_job.get(PAGE, 0.0)
    told = sum(per_job.values()) - page
    verdict = "ok" if told < LIMIT * engine else "MISSED"
    lines += [
        f"  all but the page, per job: {told / engine:7.2%} of the run, limit {LIMIT:.0%}: {verdict}",
        f"  the page, per job: {page / engine:7.2%} of the run",
        f"  fixed: {1e3 * sum(fixed.values()):.0f} ms, of it {1e3 * fixed.get(PAGE, 0.0):.0f} ms for the page",
    ]
    ratios = ", ".join(f"{one.total / other.total:.3f}" for one, other in zip(costs, hidden, strict=True))
    lines.append(f"  the runs with over without: {ratios} (noisy)")
    return lines, told < LIMIT * engine


def main() -> int:
    """Measure, print a table, and return 1 if the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, nargs=2, default=(1000, 3000), help="two numbers, the smaller one first")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--directory", help="where the runs are; default: the system's place for temporary files")
    parser.add_argument("--run", choices=("on", "off"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return run(Path(options.directory), options.run == "on")
    cases = [(jobs, shown) for shown in (True, False) for jobs in options.jobs]
    with tempfile.TemporaryDirectory(dir=options.directory) as compiled:
        measure(1, True, options.directory, compiled)  # compiles what is imported
        turns = [[measure(*case, options.directory, compiled) for case in cases] for _ in range(options.repeat)]
    medians = [Costs.median(measured) for measured in zip(*turns, strict=True)]
    lines, is_kept = table(options.jobs, medians[:2], medians[2:])
    print(f"{options.jobs[0]} and {options.jobs[1]} jobs; CPU, median of {options.repeat}")
    print("\n".join(lines))
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
