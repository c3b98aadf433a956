"""Freed memory that stays in the process: the second array costs no page faults."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from lofarpipe.support import heap

FAULTS = """
import resource, sys
import numpy as np
from lofarpipe.support.heap import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else None
def faults_of_an_array():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(16 * 1024 * 1024, np.float32)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults_of_an_array()
print(kept, faults_of_an_array())
"""


def second_array(mode: str) -> tuple[str, int]:
    """Return the answer of the function, and the page faults of the second array of 64 MB in a process."""
    argv = [sys.executable, "-c", FAULTS, mode]
    answer, faults = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    return answer, int(faults)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library has no mallopt")
def test_second_array_costs_no_page_faults():
    assert second_array("keep")[0] == "True"
    assert second_array("keep")[1] < 10
    assert second_array("plain")[1] > 20  # 64 MB are 16384 pages, or 32 huge ones


TRIM = """
import re
import numpy as np
from lofarpipe.support.heap import keep_freed_memory, release_freed_memory

def resident_mb():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
keep_freed_memory()
np.ones(16 * 1024 * 1024, np.float32)
kept = resident_mb()
print(release_freed_memory(), kept - resident_mb())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library has no malloc_trim")
def test_release_gives_freed_memory_back():
    argv = [sys.executable, "-c", TRIM]
    answer, released_mb = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert answer == "True"
    assert float(released_mb) > 50  # of 64


def test_release_without_the_function_does_nothing(monkeypatch):
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: Library())
    assert not heap.release_freed_memory()


class Library:
    """A C library that records calls, with the answer of each function."""

    def __init__(self, **answers: int):
        self.calls: list[tuple[object, ...]] = []
        for name, answer in answers.items():
            setattr(self, name, self.function(name, answer))

    def function(self, name: str, answer: int) -> object:
        def call(*arguments: object) -> int:
            self.calls.append((name, *arguments))
            return answer

        return call


@pytest.mark.parametrize("answers", [{}, {"mallopt": 0}])
def test_library_without_the_parameters_changes_nothing(monkeypatch, answers):
    library = Library(**answers, malloc=4096)
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: library)
    assert not heap.keep_freed_memory()
    assert ("malloc", heap.HUGE_PAGES_BYTES) not in library.calls


def test_limited_address_space_has_no_huge_pages(monkeypatch):
    library = Library(mallopt=1, malloc=0, madvise=0, free=0)
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: library)
    assert heap.keep_freed_memory()
    assert library.calls[-1] == ("malloc", heap.HUGE_PAGES_BYTES)


def test_whole_pages_of_the_block_are_huge(monkeypatch):
    library = Library(mallopt=1, malloc=10 * heap.PAGE_BYTES + 16, madvise=0, free=0)
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: library)
    assert heap.keep_freed_memory()
    advice = next(call for call in library.calls if call[0] == "madvise")
    assert advice[1:3] == (11 * heap.PAGE_BYTES, heap.HUGE_PAGES_BYTES - heap.PAGE_BYTES)
    assert library.calls[-1] == ("free", 10 * heap.PAGE_BYTES + 16)
