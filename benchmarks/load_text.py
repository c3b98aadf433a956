#!/usr/bin/env python3
"""How fast parsets and mapfiles are read: size, entries, seconds and memory of each kind.

benchmarks/load_text.py [--only parset,map,multimap] [--repeat 3] [--directory DIR]

Each line is the median of its repetitions; writing the file does not count, reading it from disk does. CPU seconds,
which depend on the load of the machine far less than the time on the clock does. The memory is the most that there was
at a time, of objects that Python made, per byte of the file; it is measured once more, for measuring takes time.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.support.data_map import DataMap, MultiDataMap
from lofarpipe.support.parset import Parset

MEGABYTE = 1e6
FILES_PER_PRODUCT = 10
MS = "/data/scratch/pipeline/L628614_SB{:07d}_uv.dppp.MS"


@dataclass(frozen=True)
class Case:
    """One file to read."""

    kind: str
    what: str
    pieces: Callable[[], Iterator[str]]  # the text of the file
    load: Callable[[Path], Sized]


def short_lines(keys: int) -> Iterator[str]:
    """Yield a parset of ordinary lines, some 100 characters each."""
    for number in range(keys):
        key = f"step{number // 20:05d}.argument.key{number % 20:02d}"
        yield f"{key} = [{MS.format(number)}, {number}]  # 10\n"


def quoted_lines(keys: int) -> Iterator[str]:
    """Yield a parset with quotes and comments in every line."""
    for number in range(keys):
        key = f"step{number // 20:05d}.argument.key{number % 20:02d}"
        yield f"{key} = ['{MS.format(number)}', \"a=b#c\"]  ## what it is\n"


def long_lines(lines: int, names: int) -> Iterator[str]:
    """Yield a parset of few lines, each a list of many names."""
    for line in range(lines):
        yield f"step{line}.argument.msin = [{','.join(MS.format(number) for number in range(names))}]\n"


def products(number: int) -> Iterator[str]:
    """Yield a mapfile of measurement sets, as it is written."""
    yield "["
    yield ", ".join(f"{{'host': 'node{n % 50:03d}', 'file': '{MS.format(n)}', 'skip': False}}" for n in range(number))
    yield "]"


def lists(number: int) -> Iterator[str]:
    """Yield a mapfile whose entries have several files each."""
    yield "["
    for first in range(number):
        names = ", ".join(f"'{MS.format(first + n)}'" for n in range(FILES_PER_PRODUCT))
        flags = ", ".join(["False"] * FILES_PER_PRODUCT)
        comma = ", " if first else ""
        yield f"{comma}{{'host': 'n1',  'skip': False, 'file': \"[{names}]\", 'file_skip' : [{flags}]}}"
    yield "]"


CASES = (
    Case("parset", "10^5 short lines", lambda: short_lines(10**5), Parset.read),
    Case("parset", "10^6 short lines", lambda: short_lines(10**6), Parset.read),
    Case("parset", "10^6 lines with quotes and comments", lambda: quoted_lines(10**6), Parset.read),
    Case("parset", "10 lines of 10 MB", lambda: long_lines(10, 200_000), Parset.read),
    Case("map", "10^5 products", lambda: products(10**5), DataMap.load),
    Case("map", "10^6 products", lambda: products(10**6), DataMap.load),
    Case("multimap", "10^5 products of 10 files", lambda: lists(10**5), MultiDataMap.load),
)


def measure(case: Case, directory: Path, repeat: int) -> str:
    """Return the line of one case."""
    path = directory / "text"
    with path.open("w") as stream:
        stream.writelines(case.pieces())
    costs_s = []
    for _ in range(repeat):
        begin_s = time.process_time()
        loaded = case.load(path)
        costs_s.append(time.process_time() - begin_s)
        entries = len(loaded)
        del loaded
    size_mb = path.stat().st_size / MEGABYTE
    memory = peak_bytes(case, path) / path.stat().st_size
    what = f"{case.kind}: {case.what}"
    return f"{what:45} {size_mb:6.1f} MB {entries:8d} entries {statistics.median(costs_s):6.2f} s {memory:5.1f} B/B"


def peak_bytes(case: Case, path: Path) -> int:
    """Return the peak memory of reading a file."""
    tracemalloc.start()
    try:
        case.load(path)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """Write, read and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="parset,map,multimap", help="kinds to measure")
    parser.add_argument("--repeat", type=int, default=3, help="how often each is read")
    parser.add_argument("--directory", type=Path, help="where the files go for the time being")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        for case in CASES:
            if case.kind in options.only.split(","):
                print(measure(case, Path(directory), options.repeat), flush=True)


if __name__ == "__main__":
    main()
