#!/usr/bin/env python3
"""Cost of running jobs locally, by Dask and by Slurm, compared with minimal tools.

benchmarks/executors.py [--jobs 200] [--repeat 3] [--only local,dask,slurm,xargs,submitit,sbatch] [--directory DIR]

Every row starts the same trivial jobs (/bin/true), two at a time, and waits for the last; start and end of the cluster
are in it. Medians; the repetitions of all rows alternate, so that other load affects all. CPU time of Slurm's processes
is not included. Slurm's rows need a Slurm that answers sinfo, submitit's the package of that name; impossible rows
are left out with a message.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.jobs import Job, Resources

CORES = 2
SUBMITIT = """
import sys, submitit
executor = submitit.AutoExecutor(folder=sys.argv[1], cluster="local")
executor.update_parameters(timeout_min=10)
true = submitit.helpers.CommandFunction(["/bin/true"], verbose=False)
jobs = [executor.submit(true) for _ in range(int(sys.argv[2]))]
for job in jobs:
    job.result()
"""


@dataclass(frozen=True)
class Cost:
    """Resource usage of one repetition, of this process and all its children."""

    wall_s: float
    cpu_s: float


def jobs_in(directory: Path, count: int) -> list[Job]:
    """Return empty jobs."""
    logs = directory / "logs"
    return [Job(f"true/{n:04}", ("/bin/true",), directory, logs / f"{n:04}.log", memory_gb=0.1) for n in range(count)]


def run_local(directory: Path, count: int) -> None:
    """Our executor on this machine."""
    from lofarpipe.executors.local.executor import LocalExecutor

    check([result.ok for result in LocalExecutor(Resources(CORES, 4.0)).run(jobs_in(directory, count))])


def run_dask(directory: Path, count: int) -> None:
    """Our executor on one Dask worker, including its start and end."""
    from lofarpipe.executors.dask.cluster import DaskOptions
    from lofarpipe.executors.dask.executor import DaskExecutor

    executor = DaskExecutor(DaskOptions("local", nodes=1, cores=CORES, memory_gb=4.0), directory / "orders")
    try:
        check([result.ok for result in executor.run(jobs_in(directory, count))])
    finally:
        executor.close()


def run_slurm(directory: Path, count: int) -> None:
    """Our executor with job arrays of Slurm."""
    from lofarpipe.executors.slurm.client import SlurmOptions
    from lofarpipe.executors.slurm.executor import SlurmExecutor

    executor = SlurmExecutor(SlurmOptions(), directory / "orders")
    check([result.ok for result in executor.run(jobs_in(directory, count))])


def run_xargs(directory: Path, count: int) -> None:
    """A shell loop, without a directory."""
    del directory
    numbers = "\n".join(map(str, range(count)))
    subprocess.run(["xargs", "-P", str(CORES), "-n", "1", "/bin/true"], input=numbers, text=True, check=True)


def run_submitit(directory: Path, count: int) -> None:
    """One process of Python for each job, files between."""
    subprocess.run([sys.executable, "-c", SUBMITIT, str(directory), str(count)], check=True, capture_output=True)


def run_sbatch(directory: Path, count: int) -> None:
    """An array of Slurm's, without anything around it; waited for by looking at the queue."""
    script = directory / "array.sh"
    script.write_text("#!/bin/sh\n/bin/true\n")
    command = ["sbatch", "--parsable", f"--array=0-{count - 1}%{CORES}", "--output=/dev/null", str(script)]
    array = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    while subprocess.run(["squeue", "-h", "-j", array], capture_output=True, text=True, check=False).stdout.strip():
        time.sleep(0.1)


def check(successes: list[bool]) -> None:
    """Exit if a job failed, as the measurement is invalid."""
    if not all(successes):
        raise SystemExit(f"{successes.count(False)} of {len(successes)} jobs failed")


def slurm_answers() -> str:
    """Return why Slurm cannot be used; "" if it can."""
    if shutil.which("sinfo") is None:
        return "there is no sinfo here"
    answer = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, check=False)
    return answer.stderr.strip()


def missing(package: str) -> str:
    """Return why a package cannot be used; "" if it can."""
    return "" if importlib.util.find_spec(package) else f"there is no package {package} here"


ROWS: dict[str, tuple[Callable[[Path, int], None], Callable[[], str]]] = {
    "xargs": (run_xargs, lambda: ""),
    "local": (run_local, lambda: ""),
    "dask": (run_dask, lambda: missing("distributed")),
    "slurm": (run_slurm, slurm_answers),
    "submitit": (run_submitit, lambda: missing("submitit")),
    "sbatch": (run_sbatch, slurm_answers),
}


def measured(run: Callable[[Path, int], None], parent: Path, count: int) -> Cost:
    """Run one row once in a fresh directory."""
    directory = Path(tempfile.mkdtemp(dir=parent))
    before, began = sum(os.times()[:4]), time.perf_counter()
    run(directory, count)
    return Cost(time.perf_counter() - began, sum(os.times()[:4]) - before)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", default=",".join(ROWS))
    parser.add_argument("--directory", type=Path, help="where nodes of a cluster can read; default: a temporary one")
    options = parser.parse_args()
    absent = {name: why for name in options.only.split(",") if (why := ROWS[name][1]())}
    names = [name for name in options.only.split(",") if name not in absent]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(dir=options.directory) as parent:
        for _ in range(options.repeat):
            for name in names:
                costs[name].append(measured(ROWS[name][0], Path(parent), options.jobs))
    print_table(costs, options.jobs)
    print(*(f"{name}: left out: {why}" for name, why in absent.items()), sep="\n")
    return 0


def print_table(costs: dict[str, list[Cost]], jobs: int) -> None:
    """Print the medians, and their ratio to xargs."""
    medians = {
        name: Cost(statistics.median(c.wall_s for c in of), statistics.median(c.cpu_s for c in of))
        for name, of in costs.items()
    }
    floor = medians.get("xargs", Cost(float("nan"), float("nan")))
    print(f"{jobs} jobs        wall s   CPU s   ms/job    x xargs (wall)")
    for name, cost in medians.items():
        ms = cost.wall_s / jobs * 1000
        print(f"{name:12} {cost.wall_s:10.2f} {cost.cpu_s:7.2f} {ms:8.1f} {cost.wall_s / floor.wall_s:11.1f}")


if __name__ == "__main__":
    sys.exit(main())
