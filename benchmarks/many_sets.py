#!/usr/bin/env python3
"""Cost of the number of measurement sets before the first program: the check, the plan, the runner.

benchmarks/many_sets.py [--sets 61 244 2440] [--directory DIR]

Tiny sets, 244 subbands at one time or more: only their number counts. CPU time and memory of `--check`, of the step
do_magic, and of the runner up to there, each in a process of its own. Ends with 1 where a set costs more than 1.5 times
what it costs in the run of 244: that would grow faster than their number.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from made_sets import make_many_sets  # noqa: E402 - tests make the same sets

SUBBANDS = 244
MOST_GROWTH = 1.5
OPTIONS = ("-s", "cellsize_highres_deg=0.02", "-s", "maxlambda_highres=1500")
STEPS = "pipeline.steps=[create_ms_map, combine_mapfile, do_magic, do_magic_maps]"


@dataclass(frozen=True)
class Cost:
    """CPU time (s) and the largest memory (MB) of a process."""

    cpu_s: float
    memory_mb: float


@dataclass(frozen=True)
class Row:
    """Cost of a number of sets."""

    sets: int
    check: Cost
    plan: Cost
    runner: Cost

    @property
    def per_set_s(self) -> float:
        """CPU time of all three per set, including a share of the start of three processes."""
        return (self.check.cpu_s + self.plan.cpu_s + self.runner.cpu_s) / self.sets

    def __str__(self) -> str:
        costs = (f"{cost.cpu_s:7.2f} s {cost.memory_mb:6.0f} MB" for cost in (self.check, self.plan, self.runner))
        return f"{self.sets:6d}   {'   '.join(costs)}   {1000 * self.per_set_s:6.1f} ms"


def measure(directory: Path, sets: int) -> Row:
    """Make sets, check them, and run the pipeline up to the plan."""
    nblocks = max(1, round(sets / SUBBANDS))
    made = make_many_sets(directory / str(sets), sets // nblocks, nblocks)
    words = ["image.parset", "-s", f"data_input_filenames=[{made[0].parent}/*.MS]", *OPTIONS]
    check = run(directory, ["--check", *words])
    whole = run(directory, [*words, "-s", STEPS, "-j", f"run{sets}"])
    done = [json.loads(line) for line in (directory / f"run{sets}" / "journal.jsonl").read_text().splitlines()]
    (job,) = [event for event in done if event["event"] == "job_done"]
    plan = Cost(float(job["cpu_s"]), float(job["max_rss_mb"]))
    return Row(len(made), check, plan, Cost(whole.cpu_s - plan.cpu_s, whole.memory_mb))


def run(directory: Path, words: Sequence[str]) -> Cost:
    """Run the command line; return its resource usage, including child processes.

    Raises
    ------
    RuntimeError
        If it fails; with its error output.
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-m", "lofarpipe.cli", *words],
        cwd=directory,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    said = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(said.decode(errors="replace")[-2000:])
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


def growth(rows: Sequence[Row]) -> float:
    """Return the cost of a set in the largest run, relative to the run of one whole observation."""
    usual = min(rows, key=lambda row: abs(row.sets - SUBBANDS))
    return max(rows, key=lambda row: row.sets).per_set_s / usual.per_set_s


def main() -> int:
    """Print the table; return 1 if the cost grows faster than the number of sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, nargs="+", default=[61, SUBBANDS, 10 * SUBBANDS])
    parser.add_argument("--directory", type=Path, help="for sets and runs; by default a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        directory = (arguments.directory or Path(temporary)).absolute()
        print(f"{'sets':>6s}   {'check':>19s}   {'do_magic':>19s}   {'runner':>19s}   {'a set':>9s}")
        rows = []
        for number in arguments.sets:
            (directory / str(number)).mkdir(parents=True)
            rows.append(measure(directory, number))
            print(rows[-1], flush=True)
    print(f"a set costs {growth(rows):.2f} times as much in the largest run as in that of {SUBBANDS}")
    return int(growth(rows) > MOST_GROWTH)


if __name__ == "__main__":
    sys.exit(main())
