"""The decorator of kernels."""

from __future__ import annotations

import pytest

pytest.importorskip("numba")

from lofarpipe.imaging.imager.kernels import compiled, compiled_finite


def test_kernel_works_without_cache_directory(monkeypatch):
    made = []

    def refuse_cache(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        made.append(options)
        return lambda function: function

    monkeypatch.setattr("lofarpipe.imaging.imager.kernels.numba.njit", refuse_cache)
    assert compiled(abs) is abs
    assert compiled_finite(abs) is abs
    assert [one["fastmath"] for one in made] == [False, True]
