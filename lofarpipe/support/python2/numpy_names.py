"""The names that numpy had before 1.24 and 2.0, which plugins and scripts use."""

from __future__ import annotations

from typing import Any

# Source: numpy's release notes, 1.24 ("Expired deprecations") and its migration guide to 2.0.
NUMPY_TYPES = {"bool": bool, "complex": complex, "float": float, "int": int, "object": object, "str": str}
NUMPY_NAMES = {
    "Inf": "inf",
    "Infinity": "inf",
    "NAN": "nan",
    "NaN": "nan",
    "PINF": "inf",
    "alltrue": "all",
    "cfloat": "complex128",
    "complex_": "complex128",
    "cumproduct": "cumprod",
    "float_": "float64",
    "infty": "inf",
    "longfloat": "longdouble",
    "mat": "asmatrix",
    "product": "prod",
    "rank": "ndim",
    "round_": "round",
    "row_stack": "vstack",
    "singlecomplex": "complex64",
    "sometrue": "any",
    "string_": "bytes_",
    "trapz": "trapezoid",
    "unicode_": "str_",
}
# What ``from numpy import *`` did not give before 2.0: they would hide the builtins.
HIDING = {"abs", "bool", "max", "min", "pow", "round"}


def numpy_names() -> dict[str, Any]:
    """Return what the names that are gone stood for."""
    import numpy

    present = {name: getattr(numpy, now) for name, now in NUMPY_NAMES.items() if hasattr(numpy, now)}
    return {
        **NUMPY_TYPES,
        **present,
        "__all__": sorted({*numpy.__all__, *present} - HIDING),
        "NINF": -numpy.inf,
        "asfarray": lambda values, dtype=float: numpy.asarray(values, dtype),
        "asscalar": lambda value: value.item(),
        "in1d": lambda *args, **options: numpy.isin(numpy.ravel(args[0]), *args[1:], **options),
        "msort": lambda values: numpy.sort(values, axis=0),
    }
