"""One DP3 pass that averages and concatenates, against one pass per subband and one more: CPU, disk, and every bit.

Usage: fuse_average_concat.py [--sets 'DIR/*.MS'] [--repeats 3] [--freqstep 4] [--timestep 2]

Without --sets an observation is simulated first. The ways run in turn, one thread; medians over the repeats are
printed, with the smallest and the largest ratio. Dysco with databitrate 0 keeps visibilities as they are and rounds
weights to 12 bits, so separate passes round them twice, unless the averaged sets keep all bits of their weights
("separate exact"). Exits with 1 if any column differs from that, or any but the weights from "separate".
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from casacore.tables import table

from lofarpipe.programs.dp3 import adapt_keywords
from lofarpipe.programs.find import find, job_environment

REPOSITORY = Path(__file__).resolve().parents[1]
SIMULATION = ["--nsubbands", "6", "--nstations", "38", "--slots-per-block", "120", "--nblocks", "1", "--no-beam"]
COLUMNS = ("TIME", "ANTENNA1", "ANTENNA2", "UVW", "INTERVAL", "EXPOSURE", "FLAG", "FLAG_ROW", "DATA", "WEIGHT_SPECTRUM")


@dataclass(frozen=True)
class Cost:
    """Cost of one method: CPU and wall seconds, and bytes on disk."""

    cpu_s: float
    wall_s: float
    disk_bytes: int


def call(sets: Sequence[Path], result: Path, steps: Mapping[str, str]) -> Path:
    """Run DP3 as the steps of the pipeline do, and return its result; the log is shown if it fails."""
    keywords = {
        "msin": f"[{','.join(map(str, sets))}]",
        "msin.orderms": "True",
        "msout": str(result),
        "msout.overwrite": "True",
        "msout.storagemanager": "Dysco",
        "msout.storagemanager.databitrate": "0",
        **steps,
    }
    arguments = [f"{key}={value}" for key, value in adapt_keywords(keywords, cores=1).items()]
    environment = {**os.environ, **job_environment()}
    done = subprocess.run([find("DP3"), *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nDP3 exited with {done.returncode}: {' '.join(arguments)}")
    return result


def average_then_concat_exactly(sets: Sequence[Path], folder: Path, average: Mapping[str, str]) -> Path:
    """Average each set, then concatenate; weights are compressed the second time only."""
    return average_then_concat(sets, folder, {**average, "msout.storagemanager.weightbitrate": "0"})


def average_then_concat(sets: Sequence[Path], folder: Path, average: Mapping[str, str]) -> Path:
    """Average each set, then concatenate; weights are compressed to 12 bits both times."""
    averaged = [call([one], folder / f"{one.stem}.avg.MS", average) for one in sets]
    return call(averaged, folder / "all.MS", {"steps": "[]"})


def in_one_pass(sets: Sequence[Path], folder: Path, average: Mapping[str, str]) -> Path:
    """Average all sets into one."""
    return call(sets, folder / "all.MS", average)


FUSED = "one pass"
WAYS = {"separate": average_then_concat, "separate exact": average_then_concat_exactly, FUSED: in_one_pass}


def measure(way: str, sets: Sequence[Path], folder: Path, average: Mapping[str, str]) -> tuple[Cost, Path]:
    """Return the cost and the result of a method."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    before, start_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    result = WAYS[way](sets, folder, average)
    after, wall_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - start_s
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu_s, wall_s, sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())), result


def differing_columns(one: Path, other: Path) -> list[str]:
    """Return the columns with any difference between two sets; channel frequencies count as a column."""
    with table(str(one), ack=False) as left, table(str(other), ack=False) as right:
        differing = [name for name in COLUMNS if left.getcol(name).tobytes() != right.getcol(name).tobytes()]
    windows = [table(f"{path}/SPECTRAL_WINDOW", ack=False).getcol("CHAN_FREQ") for path in (one, other)]
    return differing + ([] if np.array_equal(*windows) else ["CHAN_FREQ"])


def weight_difference(one: Path, other: Path) -> float:
    """Return the largest difference of two weights, as a part of the largest weight."""
    with table(str(one), ack=False) as left, table(str(other), ack=False) as right:
        weights = [np.asarray(main.getcol("WEIGHT_SPECTRUM"), float) for main in (left, right)]
    return float(np.abs(weights[0] - weights[1]).max() / weights[0].max())


def compare(results: Mapping[str, Path]) -> int:
    """Print differences between one pass and the others; return 1 for an unexpected one."""
    wrong = False
    for way in sorted(set(results) - {FUSED}):
        differing = differing_columns(results[FUSED], results[way])
        size = f"; weights by up to {weight_difference(results[FUSED], results[way]):.1e} of the largest"
        print(f"{FUSED} against {way}: {', '.join(differing) + size if differing else 'every bit is the same'}")
        wrong |= bool(set(differing) - ({"WEIGHT_SPECTRUM"} if way == "separate" else set()))
    return 1 if wrong else 0


def simulate(folder: Path) -> list[Path]:
    """Make an observation of six subbands."""
    script = REPOSITORY / "scripts" / "simulate_observation.py"
    environment = {**os.environ, **job_environment()}
    subprocess.run(
        [sys.executable, script, folder, *SIMULATION], env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return sorted(folder.rglob("*.MS"))


def describe_sets(sets: Sequence[Path]) -> str:
    """Return the amount of data."""
    with table(str(sets[0]), ack=False) as first:
        rows, shape = first.nrows(), first.getcell("DATA", 0).shape
    return f"{len(sets)} sets of {rows} rows x {shape[0]} channels x {shape[1]} correlations"


def report(costs: dict[str, list[Cost]]) -> None:
    """Print medians, and the ratios of runs that followed each other."""
    for way, runs in costs.items():
        cpu_s, wall_s = (statistics.median(getattr(run, name) for run in runs) for name in ("cpu_s", "wall_s"))
        print(f"{way:15s} {cpu_s:7.2f} CPU s {wall_s:7.2f} wall s {runs[0].disk_bytes / 1e6:8.1f} MB written")
    for way in sorted(set(WAYS) - {FUSED}):
        ratios = sorted(one.cpu_s / other.cpu_s for one, other in zip(costs[FUSED], costs[way], strict=True))
        print(f"{FUSED} / {way}, CPU: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def parse_arguments() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", type=Path, default=[])
    for name, default in (("--repeats", 3), ("--freqstep", 4), ("--timestep", 2)):
        parser.add_argument(name, type=int, default=default)
    return parser.parse_args()


def main() -> int:
    """Measure both ways in turn, print the comparison, and return 1 if the results differ."""
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="fuse_average_concat_") as name:
        folder = Path(name)
        sets = arguments.sets or simulate(folder / "simulated")
        print(describe_sets(sets))
        average = {"steps": "[avg]", "avg.type": "average"}
        average |= {"avg.freqstep": str(arguments.freqstep), "avg.timestep": str(arguments.timestep)}
        costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
        results = {}
        for _ in range(arguments.repeats):
            for way in WAYS:
                place = folder / way.replace(" ", "_")
                cost, results[way] = measure(way, sets, place, average)
                costs[way].append(cost)
        report(costs)
        return compare(results)


if __name__ == "__main__":
    sys.exit(main())
