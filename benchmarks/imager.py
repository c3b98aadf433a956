#!/usr/bin/env python3
"""A benchmark of imagers: simulated sets with known truth, equal quality measures, and costs.

benchmarks/imager.py make SET.MS [--sky pts|ext|real] [--small] [--seed 1] [--blocks 3] ...
benchmarks/imager.py compare SET.MS [--out DIR] [--imager 'COMMAND {name} {ms} {npix} ...']
benchmarks/imager.py evaluate SET.MS NAME...

`make` writes the set and its truth: 62 stations, three blocks of 75 slots of 8 s over 6 hours, 20 channels from 120
to 168 MHz, thermal noise; `--small` is 40 stations, 15 slots and 1024 pixels. `compare` runs WSClean and the imagers
one after the other with all products, prints seconds, memory and quality of each, and ends with 1 where a limit is
exceeded. Without `--imager` that is the project's own, with WSClean's options. `--reuse-wsclean` takes WSClean's images
and costs from the last run in the same `--out`: while one tunes, not as a result.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))

IMAGES = {"pts": (2880, 7.5, 5000.0), "ext": (2880, 7.5, 5000.0), "real": (4096, 5.3, 7000.0)}  # pixels, arcsec, max uv
SMALL_IMAGE = (1024, 21.0, 1800.0)
SMALL_OBSERVATION = {"stations": 40, "slots": 15}
MOST_CPU = {"pts": 0.2, "ext": 0.1, "real": 0.25}  # of WSClean's
MOST_MEMORY = 1.5
POLL_S = 0.05


def shared_options(truth: Any, name: Path, channels: int, threads: int) -> list[str]:
    """Return the options that WSClean and the project's imager have in common."""
    weighting = ["-weight", "briggs", "0", "-minuv-l", truth.min_uv, "-maxuv-l", truth.max_uv, "-padding", "1.2"]
    cleaning = ["-niter", "1000000", "-mgain", "0.8", "-auto-threshold", "3", "-auto-mask", "5"]
    cleaning += ["-multiscale"] if truth.kind == "ext" else []
    size = ["-size", truth.pixels, truth.pixels, "-scale", f"{truth.cell_arcsec}asec", "-pol", "I"]
    joined = ["-channels-out", channels, "-join-channels"]
    return [str(word) for word in ("-j", threads, "-name", name, *size, *weighting, *joined, *cleaning)]


def wsclean_argv(truth: Any, name: Path, ms: Path, options: argparse.Namespace) -> list[str]:
    """Return the command of WSClean, as the pipeline runs it."""
    own = ["-abs-mem", str(options.memory), "-temp-dir", str(name.parent), "-use-wgridder", "-reorder"]
    shared = shared_options(truth, name, options.channels, options.threads)
    return ["wsclean", *shared, *own, "-no-update-model-required", *shlex.split(options.wsclean), str(ms)]


def imager_argv(command: str, truth: Any, name: Path, ms: Path, options: argparse.Namespace) -> list[str]:
    """Return the command of an imager; without a template the project's own, with the options of WSClean."""
    if not command:
        program = Path(sys.executable).with_name("lofar-clean")
        return [str(program), *shared_options(truth, name, options.channels, options.threads), str(ms)]
    words = {"npix": truth.pixels, "cell": truth.cell_arcsec, "maxuv": truth.max_uv, "minuv": truth.min_uv}
    words |= {"name": name, "ms": ms, "channels": options.channels, "threads": options.threads}
    return shlex.split(command.format_map(words))


def run(argv: Sequence[str], log: Path) -> dict[str, float]:
    """Return CPU seconds, wall seconds and peak memory (MB, VmHWM) of a whole process, its output in ``log``."""
    start, peak_kb = time.monotonic(), 0
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=environment)
    while True:
        peak_kb = max(peak_kb, peak_memory_kb(process.pid))
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        time.sleep(POLL_S)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = "\n".join(log.read_text().splitlines()[-8:])
        raise SystemExit(f"{argv[0]} ended with {process.returncode}; last lines of {log}:\n{last}")
    return {
        "CPU seconds": usage.ru_utime + usage.ru_stime,
        "wall seconds": time.monotonic() - start,
        "memory, MB": (peak_kb or usage.ru_maxrss) / 1024,  # of a process that ended before the first look
    }


def peak_memory_kb(pid: int) -> int:
    """Return the peak memory of a process, or 0 after its end."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def excesses(kind: str, reference: Mapping[str, Any], measures: Mapping[str, Any], cpu: bool = True) -> list[str]:
    """Return one line per exceeded limit of cost or quality."""
    from yardstick_measures import worse_measures

    lines = []
    for key, most in (("CPU seconds", MOST_CPU[kind]), ("memory, MB", MOST_MEMORY)):
        ratio = measures[key] / reference[key]
        if cpu and ratio > most:
            lines.append(f"{key}: {ratio:.3f} of WSClean's exceeds {most}")
    return lines + worse_measures(reference, measures)


def compare(options: argparse.Namespace) -> int:
    """Run WSClean and the imagers one after the other; print the table; return 1 if a limit is exceeded."""
    from yardstick_measures import channel_weights, measure
    from yardstick_set import Truth, truth_path

    ms, out = options.ms.resolve(), options.out.resolve()
    truth = Truth.load(truth_path(ms))
    out.mkdir(parents=True, exist_ok=True)
    commands = {"wsclean": wsclean_argv(truth, out / "wsclean", ms, options)}
    costs = {}
    if options.reuse_wsclean:
        costs["wsclean"] = json.loads((out / "wsclean.json").read_text())
    for number, command in enumerate(options.imager or [""], 1):
        commands[f"imager{number}"] = imager_argv(command, truth, out / f"imager{number}", ms, options)
    for label, argv in commands.items():
        if label not in costs:
            runs = [run(argv, out / f"{label}.log") for _ in range(1 if label == "wsclean" else options.repeats)]
            costs[label] = min(runs, key=lambda one: one["CPU seconds"])  # numba may compile in the first
    (out / "wsclean.json").write_text(json.dumps(costs["wsclean"]))
    weights = channel_weights(out / "wsclean", truth)
    measured = {label: cost | measure(out / label, truth, weights) for label, cost in costs.items()}
    print_table(measured)
    (out / "table.json").write_text(json.dumps(measured, indent=1))
    lines = []
    for label in list(commands)[1:]:
        found = excesses(truth.kind, measured["wsclean"], measured[label], not options.quality_only)
        lines += [f"{label}: {line}" for line in found]
        ratio = measured[label]["CPU seconds"] / measured["wsclean"]["CPU seconds"]
        print(f"{label}: {ratio:.3f} of WSClean's CPU seconds")
    print("\n".join(lines) or "all limits held")
    return 1 if lines else 0


def print_table(measured: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a row for each measure, a column for each imager."""
    rows = list(dict.fromkeys(key for column in measured.values() for key in column))
    width = max(map(len, rows))
    print(" " * width, *(f"{label:>24}" for label in measured))
    for row in rows:
        cells = (column.get(row, "") for column in measured.values())
        words = (f"{cell:.4g}" if isinstance(cell, float) and abs(cell) < 1e4 else str(cell) for cell in cells)
        print(f"{row:{width}}", *(f"{word:>24}" for word in words))


def make(options: argparse.Namespace) -> int:
    """Write a set and its truth."""
    from yardstick_set import Observation, make_yardstick

    chosen = {key: value for key in OBSERVATION_OPTIONS if (value := getattr(options, key)) is not None}
    observation = Observation(**(SMALL_OBSERVATION if options.small else {}) | chosen)
    image = SMALL_IMAGE if options.small else IMAGES[options.sky]
    start = time.monotonic()
    truth = make_yardstick(options.ms, options.sky, observation, image)
    print(f"{options.ms}: {len(truth.sources)} sources, {time.monotonic() - start:.0f} s")
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Print the measures of existing images."""
    from yardstick_measures import channel_weights, measure
    from yardstick_set import Truth, truth_path

    truth = Truth.load(truth_path(options.ms))
    weights = [channel_weights(options.weights or name, truth) for name in options.name]
    print_table({n.name: measure(n, truth, weight) for n, weight in zip(options.name, weights, strict=True)})
    return 0


OBSERVATION_OPTIONS = {"seed": int, "stations": int, "blocks": int, "slots": int, "noise": float}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    commands = parser.add_subparsers(required=True)
    maker = commands.add_parser("make", help="write a set and its truth")
    maker.set_defaults(run=make)
    maker.add_argument("ms", type=Path)
    maker.add_argument("--sky", choices=list(IMAGES), default="pts")
    maker.add_argument("--small", action="store_true", help="40 stations, 15 slots, 1024 pixels")
    for key, kind in OBSERVATION_OPTIONS.items():
        maker.add_argument(f"--{key}", type=kind)
    comparer = commands.add_parser("compare", help="run WSClean and other imagers")
    comparer.set_defaults(run=compare)
    comparer.add_argument("ms", type=Path)
    comparer.add_argument(
        "--imager", action="append", help="{name} {ms} {npix} {cell} {maxuv} {minuv} {channels} {threads}"
    )
    comparer.add_argument("--out", type=Path, default=Path("yardstick"))
    comparer.add_argument("--wsclean", default="", help="more options for WSClean")
    comparer.add_argument("--reuse-wsclean", action="store_true", help="WSClean's images and costs of an earlier run")
    comparer.add_argument("--quality-only", action="store_true", help="no limits of CPU and memory")
    for key, default in (("channels", 5), ("threads", 2), ("memory", 8), ("repeats", 1)):
        comparer.add_argument(f"--{key}", type=int, default=default)
    evaluator = commands.add_parser("evaluate", help="print the measures of images")
    evaluator.set_defaults(run=evaluate)
    evaluator.add_argument("ms", type=Path)
    evaluator.add_argument("name", type=Path, nargs="+", help="images are NAME-MFS-image.fits and so on")
    evaluator.add_argument("--weights", type=Path, help="the name whose channel images have the weights")
    options = parser.parse_args(argv)
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
