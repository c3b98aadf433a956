"""Freed memory that stays in the process, for programs that allocate and free large arrays all the time.

The C library returns large blocks to the system when they are freed; the next ones are cleared page by page. In a run
of the imager that is a tenth of the CPU time. Source: mallopt(3), madvise(2), and "Experiments for speed" in
doc/imager.md.
"""

from __future__ import annotations

import ctypes
import mmap

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # parameters of mallopt
HUGE_PAGES_BYTES = 1 << 30  # address space of the heap in huge pages; it becomes memory when it is used
PAGE_BYTES = mmap.PAGESIZE


def keep_freed_memory() -> bool:
    """Keep freed memory for later allocations; return False if the C library cannot, as without glibc.

    For a program at its start: it concerns the whole process.
    """
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        return False
    if not (library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, -1)):
        return False
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    block = library.malloc(HUGE_PAGES_BYTES)
    if block:  # not where the address space is limited
        first = -(-block // PAGE_BYTES) * PAGE_BYTES
        library.madvise(first, HUGE_PAGES_BYTES - PAGE_BYTES, getattr(mmap, "MADV_HUGEPAGE", 14))
        library.free(block)
    return True


def release_freed_memory() -> bool:
    """Give freed memory back to the system once, after a part of a program that needs much; False without glibc."""
    library = ctypes.CDLL(None)
    return bool(hasattr(library, "malloc_trim") and library.malloc_trim(0))
