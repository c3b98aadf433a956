"""The decorator of compiled kernels: numba's, with machine code kept on disk where there is a place for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Return a function that numba compiles at its first call; a later process reads the code from numba's cache.

    The cache is NUMBA_CACHE_DIR, or ``__pycache__`` beside the module, or the user's cache directory: the first of
    them that can be written to. Without any the function is compiled in each process.
    """
    return _compiled(function, fastmath=False)


def compiled_finite(function: Function) -> Function:
    """Return the same as `compiled`, for finite numbers only: sums may be reordered, and NaN is not recognised."""
    return _compiled(function, fastmath=True)


def _compiled(function: Function, fastmath: bool) -> Function:
    kernel: Any  # numba has types in its later versions only
    try:
        kernel = numba.njit(cache=True, fastmath=fastmath, nogil=True)(function)
    except RuntimeError:  # numba: no locator available
        kernel = numba.njit(fastmath=fastmath, nogil=True)(function)
    return cast("Function", kernel)
