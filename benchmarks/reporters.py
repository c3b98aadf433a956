#!/usr/bin/env python3
"""What it costs that a run is shown and recorded: CPU of each reporter over that of a run of trivial jobs.

benchmarks/reporters.py [--jobs 1000] [--repeat 3] [--directory DIR]

The run has a pseudo-terminal as its standard output, so that it is shown live. Each reporter's CPU seconds, those of
its threads and processes included, are counted within the run itself: they are far below the noise between two runs.
For information the same run is done without reporters, in turns.
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
from collections.abc import Callable
from pathlib import Path

LIMIT = 0.01  # of the run
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
    report.Reporters.__init__ = lambda self, reporters: begin(
        self, [counting(reporter) for reporter in reporters] if is_shown else []
    )
    os.chdir(folder)  # of this process alone
    status = cli.main(["trivial.parset"])
    total = cpu_s(resource.RUSAGE_SELF) + cpu_s(resource.RUSAGE_CHILDREN)
    (folder / "costs.json").write_text(json.dumps({"total": total, "costs": costs}))
    return status


def measure(jobs: int, is_shown: bool, directory: str | None) -> dict[str, object]:
    """Return the CPU seconds of a run in a fresh folder, and those of its reporters."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        folder = Path(name)
        (folder / "files").mkdir()
        for number in range(jobs):
            (folder / "files" / f"{number:04d}").touch()
        (folder / "trivial.parset").write_text(PARSET.format(files=folder / "files"))
        ours, theirs = pty.openpty()
        argv = [sys.executable, __file__, "--run", "on" if is_shown else "off", "--directory", name]
        environment = {**os.environ, "TERM": "xterm"}
        with subprocess.Popen(argv, stdout=theirs, stderr=subprocess.DEVNULL, env=environment) as process:
            os.close(theirs)
            drain(ours)
        if process.returncode:
            sys.exit(f"the run ended with {process.returncode}")
        return json.loads((folder / "costs.json").read_text())


def drain(terminal: int) -> None:
    """Read what is written to a terminal until nobody has it open."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(terminal)


def main() -> int:
    """Measure, print a table, and return 1 if the limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--directory", help="where the runs are; default: the system's place for temporary files")
    parser.add_argument("--run", choices=("on", "off"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        return run(Path(options.directory), options.run == "on")
    pairs = [
        [measure(options.jobs, shown, options.directory) for shown in (True, False)] for _ in range(options.repeat)
    ]
    shown, hidden = zip(*pairs, strict=True)
    total = statistics.median(one["total"] for one in shown)
    names = sorted({name for one in shown for name in one["costs"]})
    costs = {name: statistics.median(one["costs"].get(name, 0.0) for one in shown) for name in names}
    print(f"{options.jobs} jobs: {total:.2f} CPU s; median of {options.repeat}")
    for name, cost in sorted(costs.items(), key=lambda pair: -pair[1]):
        print(f"  {name:28} {1000 * cost:8.1f} ms  {cost / total:7.2%}")
    ratio = sum(costs.values()) / total
    terminal = sum(cost for name, cost in costs.items() if "Terminal" in name) / total
    print(f"  all reporters over the run   {ratio:7.2%}")
    print(
        f"  the terminal over the run    {terminal:7.2%}, limit {LIMIT:.0%}: {'ok' if terminal < LIMIT else 'MISSED'}"
    )
    print(f"  the run with over without    {total / statistics.median(one['total'] for one in hidden):7.3f} (noisy)")
    return int(terminal >= LIMIT)


if __name__ == "__main__":
    sys.exit(main())
