#!/usr/bin/env python3
"""Cost of the runner: start-up, a job, the decisions, and a whole image, compared with the same commands by hand.

benchmarks/overhead.py [--only start,jobs,decisions,image] [--repeat 5] [--image-repeat 1] [--directory DIR]

CPU seconds are user + system, of a command and all its children; they depend on the load of the machine far less than
the time on the clock does. Each figure is the median of its repetitions, which alternate with those they are compared
with.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from short_jobs import write_pipeline

from lofarpipe.programs.find import job_environment

REPOSITORY = Path(__file__).resolve().parents[1]
RUNNER = Path(sys.executable).parent / "genericpipeline.py"
JOBS = 200
SUBBANDS = 244  # of a LOFAR observation with one beam
SUBBAND_WIDTH_HZ = 195312.5
MAX_HELP_CPU_S = 0.25
MAX_JOB_CPU_S = 0.030
MAX_DECISIONS_CPU_S = 10.0
MAX_IMAGE_RATIO = 1.03


@dataclass(frozen=True)
class Cost:
    """Resource usage of a command."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Row:
    """One line of the table; ``limit`` None: for information."""

    what: str
    value: float
    unit: str
    limit: float | None = None

    def text(self) -> str:
        """Return the line."""
        verdict = (
            "" if self.limit is None else f"limit {self.limit:g}: {'ok' if self.value <= self.limit else 'MISSED'}"
        )
        return f"  {self.what:68} {self.value:9.3f} {self.unit:9} {verdict}".rstrip()


def measure(argv: Sequence[str | Path], cwd: Path | None = None) -> Cost:
    """Run a command and return its cost; end with its last lines if it fails."""
    environment = {**os.environ, **job_environment(), "OMP_NUM_THREADS": str(os.cpu_count())}
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [str(word) for word in argv],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            last = output.read().decode(errors="replace").splitlines()[-15:]
            sys.exit("\n".join([f"{shlex.join(map(str, argv))[:300]} exited with {process.returncode}:", *last]))
    return Cost(usage.ru_utime + usage.ru_stime, time.monotonic() - began)


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of CPU and wall-clock time, each for itself."""
    return Cost(statistics.median(c.cpu_s for c in costs), statistics.median(c.wall_s for c in costs))


def start_up(_: Path, repeat: int) -> list[Row]:
    """Return the cost of ``--help``."""
    help_, python = [], []
    for _i in range(repeat):
        help_.append(measure([RUNNER, "--help"]))
        python.append(measure([sys.executable, "-c", "pass"]))
    return [
        Row("genericpipeline.py --help", median(help_).cpu_s, "CPU s", MAX_HELP_CPU_S),
        Row("  an empty Python program", median(python).cpu_s, "CPU s"),
    ]


def per_job(directory: Path, repeat: int) -> list[Row]:
    """Return the cost of a step of 200 /bin/true jobs, compared with ``xargs -P2``."""
    parset = directory / "true.parset"
    write_pipeline(parset, JOBS)
    names = directory / "names"
    names.write_text("".join(f"{number}\n" for number in range(JOBS)))
    ours, xargs, nothing = [], [], []
    for _ in range(repeat):
        shutil.rmtree(directory / "true", ignore_errors=True)
        ours.append(measure(pipeline_command(parset, directory)))
        nothing.append(measure(pipeline_command(parset, directory)))  # all is done: reading, checking, no jobs
        xargs.append(measure(["xargs", "-a", names, "-P2", "-n1", "/bin/true"]))
    run, idle, floor = median(ours), median(nothing), median(xargs)
    return [
        Row(
            f"a job of /bin/true over xargs -P2 ({JOBS}), start-up included",
            (run.cpu_s - floor.cpu_s) / JOBS * 1e3,
            "CPU ms",
            MAX_JOB_CPU_S * 1e3,
        ),
        Row("  the same without start-up and checks", (run.cpu_s - idle.cpu_s - floor.cpu_s) / JOBS * 1e3, "CPU ms"),
        Row("  xargs itself", floor.cpu_s / JOBS * 1e3, "CPU ms"),
        Row("  on the clock, ours", run.wall_s / JOBS * 1e3, "ms"),
        Row("  on the clock, xargs", floor.wall_s / JOBS * 1e3, "ms"),
        Row("  reading and checking a pipeline of which all is done", idle.cpu_s, "CPU s"),
    ]


def pipeline_command(parset: Path, directory: Path, *more: str) -> list[str | Path]:
    """Return the command that runs ``parset`` below ``directory``."""
    return [RUNNER, parset, "-c", "pipeline.cfg", "-q", "-r", directory, "-w", directory, *more]


def decisions(directory: Path, repeat: int) -> list[Row]:
    """Return the cost of do_magic for the subbands of a whole observation."""
    observation = directory / "one_subband"
    simulate(observation, "--nsubbands", "1", "--nblocks", "1", "--nsources", "1", "--no-beam")
    (source,) = observation.glob("*.MS")
    sets = [shifted(source, directory / "subbands" / f"SB{n:03}.MS", n * SUBBAND_WIDTH_HZ) for n in range(SUBBANDS)]
    command = [sys.executable, REPOSITORY / "scripts" / "do_magic.py", *sets, "--mapfile-dir", directory / "maps"]
    cost = median([measure(command) for _ in range(repeat)])
    return [
        Row(f"do_magic on {SUBBANDS} subbands", cost.cpu_s, "CPU s", MAX_DECISIONS_CPU_S),
        Row("  on the clock", cost.wall_s, "s"),
    ]


def simulate(observation: Path, *options: str) -> None:
    """Simulate an observation, unless it exists."""
    if not (observation / "truth.json").is_file():
        measure([sys.executable, REPOSITORY / "scripts" / "simulate_observation.py", observation, *options])


def shifted(source: Path, target: Path, shift_hz: float) -> Path:
    """Return a copy of a set at another frequency, with links except for the small spectral window."""
    from casacore.tables import table

    if target.exists():
        return target
    target.mkdir(parents=True)
    for part in source.iterdir():
        if part.name == "SPECTRAL_WINDOW":
            shutil.copytree(part, target / part.name)
        else:
            (target / part.name).symlink_to(part)
    with table(str(target / "SPECTRAL_WINDOW"), readonly=False, ack=False) as window:
        for column in ("REF_FREQUENCY", "CHAN_FREQ"):
            window.putcol(column, window.getcol(column) + shift_hz)
    return target


def whole_image(directory: Path, repeat: int) -> list[Row]:
    """Return the cost of a whole image, compared with its DP3 and WSClean commands by hand."""
    observation = directory / "observation"
    simulate(observation)
    names = f"data_input_filenames=[{observation}/*.MS]"
    command = pipeline_command(REPOSITORY / "demo.parset", directory, "-j", "field", "-s", names)
    ours, typed, programs, scripts = [], [], [], []
    for _ in range(repeat):
        shutil.rmtree(directory / "field", ignore_errors=True)
        ours.append(measure(command))
        inside, around = logged_cpu_s(directory / "field")
        programs.append(inside)
        scripts.append(around)
        typed.append(by_hand(directory / "field", directory / "hand"))
    total, hand = median(ours), median(typed)
    inside_s, scripts_s = statistics.median(programs), statistics.median(scripts)
    engine_s = total.cpu_s - inside_s - scripts_s
    return [
        Row("DP3 and WSClean typed by hand", hand.cpu_s, "CPU s"),
        Row("  the same commands as jobs of the pipeline", inside_s, "CPU s"),
        Row("  the runner itself", engine_s, "CPU s"),
        Row("  deciding, beam, quality, plots, metadata", scripts_s, "CPU s"),
        Row(
            "the runner and the same commands, over by hand",
            (inside_s + engine_s) / hand.cpu_s,
            "CPU ratio",
            MAX_IMAGE_RATIO,
        ),
        Row("  with everything else that the pipeline makes", total.cpu_s / hand.cpu_s, "CPU ratio"),
        Row("  on the clock, everything, over by hand", total.wall_s / hand.wall_s, "ratio"),
        Row("  on the clock, by hand", hand.wall_s, "s"),
    ]


def commands(job_directory: Path) -> list[tuple[str, list[str]]]:
    """Return (job, argv) of every command of the pipeline."""
    lines = (job_directory / "commands.txt").read_text().splitlines()
    return [(job, shlex.split(text)) for job, _, text in (line.partition(": ") for line in lines)]


def is_external(argv: Sequence[str]) -> bool:
    """Whether a user would have typed this command: DP3 or WSClean."""
    return Path(argv[0]).name in {"DP3", "DP3.py", "DPPP", "wsclean"}


def logged_cpu_s(job_directory: Path) -> tuple[float, float]:
    """Return the CPU seconds of DP3 and WSClean, and of all other jobs, as the logs of the jobs tell them."""
    spent = {True: 0.0, False: 0.0}
    for job, argv in commands(job_directory):
        log = (job_directory / "logs" / f"{job}.log").read_text(errors="replace")
        spent[is_external(argv)] += float(re.findall(r"^### .*; CPU ([\d.]+) s", log, re.MULTILINE)[-1])
    return spent[True], spent[False]


def by_hand(job_directory: Path, hand: Path) -> Cost:
    """Run the pipeline's DP3 and WSClean commands in another directory, one after the other, and return their cost."""
    shutil.rmtree(hand, ignore_errors=True)
    shutil.copytree(
        job_directory, hand, ignore=shutil.ignore_patterns("*.MS", "*.fits", "*.average*", "*.dpppconcat*", "logs")
    )
    spent = [Cost(0.0, 0.0)]
    for _, argv in commands(job_directory):
        if is_external(argv):
            here = [word.replace(str(job_directory), str(hand)) for word in argv]
            if "-temp-dir" in here:
                Path(here[here.index("-temp-dir") + 1]).mkdir(parents=True, exist_ok=True)
            spent.append(measure(here, hand))
    return Cost(sum(cost.cpu_s for cost in spent), sum(cost.wall_s for cost in spent))


PARTS: dict[str, Callable[[Path, int], list[Row]]] = {
    "start": start_up,
    "jobs": per_job,
    "decisions": decisions,
    "image": whole_image,
}


def main() -> int:
    """Run the requested measurements and print the table; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas (%(default)s)")
    parser.add_argument("--repeat", type=int, default=5, help="repetitions of the small parts (%(default)s)")
    parser.add_argument("--image-repeat", type=int, default=1, help="repetitions of the image (%(default)s)")
    parser.add_argument("--directory", type=Path, help="work here, and leave everything there")
    options = parser.parse_args()
    kept = options.directory and options.directory.absolute()
    work = Path(tempfile.mkdtemp(prefix="overhead-")) if kept is None else kept
    missed = False
    try:
        for name in options.only.split(","):
            part = work / name
            part.mkdir(parents=True, exist_ok=True)
            print(f"{name}: load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores", flush=True)
            rows = PARTS[name](part, options.image_repeat if name == "image" else options.repeat)
            print("\n".join(row.text() for row in rows), flush=True)
            missed |= any(row.limit is not None and row.value > row.limit for row in rows)
    finally:
        if kept is None:
            shutil.rmtree(work)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
