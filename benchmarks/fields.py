#!/usr/bin/env python3
"""Cost of a table of many fields: time and memory until the first field runs, and files per field.

benchmarks/fields.py [--fields 200]

The start is measured with the image pipeline, whose parset is read once per field, and interrupted when the first
field has begun. Files are counted after a run of two fields of a pipeline that copies one file.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COMMAND = [sys.executable, "-P", "-m", "lofarpipe.cli"]
CONFIG = "[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n"
COPY = """\
! files = [none]   ## {list} what is copied
pipeline.steps = [list, copy]
list.control.kind = plugin
list.control.type = addListMapfile
list.control.hosts = [localhost]
list.control.files = {{ files }}
list.control.mapfile_dir = input.output.mapfile_dir
list.control.filename = list.mapfile
copy.control.type = executable_args
copy.control.executable = /bin/cp
copy.control.mapfile_in = list.output.mapfile
copy.control.inputkey = infile
copy.control.outputkey = outfile
copy.argument.flags = [infile, outfile]
"""
LIMIT_S = 600.0
LIMIT_MB_A_FIELD = 1.0  # of the parent, beyond one field's share
LIMIT_CPU_S_A_FIELD = 0.1


def environment() -> dict[str, str]:
    """Return the environment to run this repository."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}


def start(here: Path, fields: int) -> tuple[float, float, float]:
    """Return seconds, CPU seconds and MB until the first field of the image pipeline runs."""
    rows = "".join(f"F{number:04d},/data/F{number:04d}/*.MS\n" for number in range(fields))
    (here / "fields.csv").write_text(f"field,data_input_filenames\n{rows}")
    began_s = time.monotonic()
    process = subprocess.Popen(
        [*COMMAND, "image.parset", "--fields", "fields.csv", "--at-once", "1", "-c", "pipeline.cfg"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=here,
        env=environment(),
        text=True,
    )
    said = process.stdout or ()
    line = next((line for line in said if ": started; " in line), "")
    took_s = time.monotonic() - began_s
    if not line:
        sys.exit("the table did not start")
    status = Path(f"/proc/{process.pid}/status").read_text()
    peak_mb = next(int(text.split()[1]) for text in status.splitlines() if text.startswith("VmHWM")) / 1024
    times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    return took_s, cpu_s, peak_mb


def files_of_a_field(here: Path) -> tuple[int, int]:
    """Return the number of files of a field with one small job, and of shared files."""
    (here / "copy.parset").write_text(COPY)
    (here / "a").write_text("a\n")
    (here / "two.csv").write_text(f"field,files\none,[{here}/a]\ntwo,[{here}/a]\n")
    argv = [*COMMAND, "copy.parset", "--fields", "two.csv", "-c", "pipeline.cfg", "-q"]
    subprocess.run(argv, cwd=here, env=environment(), check=True, timeout=LIMIT_S)
    inside = sum(path.is_file() for path in (here / "one").rglob("*"))
    beside = sum((here / name).is_file() for name in ("fields.json", "fields.html"))
    return inside, beside


def main(fields: int) -> int:
    """Print the figures; return 1 if memory or time grow faster than they may."""
    with tempfile.TemporaryDirectory(prefix="fields-") as name:
        here = Path(name)
        (here / "pipeline.cfg").write_text(CONFIG.format(here=here))
        few, many = start(here, 1), start(here, fields)
        inside, beside = files_of_a_field(here)
    print("fields   until the first runs   CPU        peak memory of the table's process")
    for number, (took_s, cpu_s, peak_mb) in ((1, few), (fields, many)):
        print(f"{number:6d}   {took_s:8.1f} s             {cpu_s:6.2f} s   {peak_mb:6.0f} MB")
    print(f"files of a field with one job: {inside}; beside all fields: {beside}")
    cpu_s, memory_mb = ((many[place] - few[place]) / max(1, fields - 1) for place in (1, 2))
    print(f"for each field: {1e3 * cpu_s:.0f} CPU ms, {memory_mb:.2f} MB")
    return int(cpu_s > LIMIT_CPU_S_A_FIELD or memory_mb > LIMIT_MB_A_FIELD)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=int, default=200, help="fields in the table; default: %(default)s")
    sys.exit(main(parser.parse_args().fields))
