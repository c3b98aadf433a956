"""Decorators for numba kernels, cached on disk if a directory is writable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile a function with numba at its first call; later processes load it from numba's cache.

    The cache is the first writable one of NUMBA_CACHE_DIR, ``__pycache__`` beside the module, and the user's cache
    directory. Without any the function is compiled in each process.
    """
    return _compiled(function, fastmath=False)


def compiled_finite(function: Function) -> Function:
    """Compile as `compiled` with fastmath, for finite numbers only: sums may be reordered, and NaN tests fail."""
    return _compiled(function, fastmath=True)


def _compiled(function: Function, fastmath: bool) -> Function:
    kernel: Any  # only later versions of numba are typed
    try:
        kernel = numba.njit(cache=True, fastmath=fastmath, nogil=True)(function)
    except RuntimeError:  # numba: no locator available
        kernel = numba.njit(fastmath=fastmath, nogil=True)(function)
    return cast("Function", kernel)
