"""Python 2 names of modules. Imported when a plugin or script imports one of these modules, or numpy."""

from __future__ import annotations

import collections
import errno
import inspect
import itertools
import math
import os
import string
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import ModuleType
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
# Excluded from ``from numpy import *`` before 2.0, as they hide builtins.
HIDING = {"abs", "bool", "max", "min", "pow", "round"}
# Text methods that were also functions.
TEXT_FUNCTIONS = (
    "capitalize center count expandtabs find index ljust lower lstrip replace rfind rindex rjust rstrip split strip"
    " swapcase upper"
)
TYPES = {
    "BooleanType": bool,
    "ComplexType": complex,
    "DictType": dict,
    "DictionaryType": dict,
    "FloatType": float,
    "IntType": int,
    "ListType": list,
    "LongType": int,
    "NoneType": type(None),
    "ObjectType": object,
    "StringType": str,
    "StringTypes": (str,),
    "TupleType": tuple,
    "TypeType": type,
    "UnicodeType": str,
}


def numpy_names() -> dict[str, Any]:
    """Return the values of removed names."""
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


class Facade(ModuleType):
    """Modules with further names in front; assignments go to the first of the modules."""

    def __init__(self, name: str, modules: Sequence[ModuleType], names: Mapping[str, object], first: bool) -> None:
        super().__init__(name)
        vars(self).update(_modules=modules, _names=names, _first=first)

    def __getattr__(self, name: str) -> Any:
        """Return the attribute of the modules under a name, or its substitute."""
        if name == "__all__":
            public = {public_name for module in self._modules for public_name in _public(module)}
            return self._names.get(name) or sorted({*self._names, *public})
        if self._first and name in self._names:
            return self._names[name]
        for module in self._modules:
            if hasattr(module, name):
                return getattr(module, name)
        if name in self._names:
            return self._names[name]
        return getattr(self._modules[0], name)  # its own error

    def __setattr__(self, name: str, value: object) -> None:
        """Assign to the module itself, so that everybody sees it."""
        setattr(self._modules[0], name, value)

    def __dir__(self) -> list[str]:
        """Return all names."""
        return sorted({*self._names, *(name for module in self._modules for name in dir(module))})


def _public(module: ModuleType) -> list[str]:
    """Return the names for ``from module import *``."""
    return list(getattr(module, "__all__", None) or (name for name in dir(module) if not name.startswith("_")))


def names_of(module: str) -> dict[str, Any]:
    """Return the removed names of a module; empty if it lost none."""
    return NAMES.get(module, dict)()


def _string() -> dict[str, Any]:
    functions = {name: getattr(str, name) for name in TEXT_FUNCTIONS.split()}
    return functions | {
        "atof": float,
        "atoi": int,
        "atol": int,
        "join": _join,
        "joinfields": _join,
        "letters": string.ascii_letters,
        "lowercase": string.ascii_lowercase,
        "maketrans": str.maketrans,
        "splitfields": str.split,
        "uppercase": string.ascii_uppercase,
        "zfill": lambda text, width: str(text).zfill(width),
    }


def _join(words: Iterable[str], separator: str = " ") -> str:
    return separator.join(words)


def _itertools() -> dict[str, Any]:
    return {
        "ifilter": filter,
        "ifilterfalse": itertools.filterfalse,
        "imap": map,
        "izip": zip,
        "izip_longest": itertools.zip_longest,
    }


def _math() -> dict[str, Any]:
    return {"ceil": lambda number: _as_float(math.ceil, number), "floor": lambda number: _as_float(math.floor, number)}


def _as_float(function: Callable[[float], int], number: float) -> float:
    """Return an integer as the float of Python 2, so that a division by it is not integer division."""
    return float(function(number)) if math.isfinite(number) else float(number)


def _os() -> dict[str, Any]:
    return {
        "errno": errno,
        "getcwdu": os.getcwd,
        "path": Facade("os.path", [os.path], _path(), first=True),
        "popen2": lambda command: _pipes(command, None)[:2],
        "popen3": lambda command: _pipes(command, subprocess.PIPE),
        "popen4": lambda command: _pipes(command, subprocess.STDOUT)[:2],
    }


def _pipes(command: str | list[str], errors: int | None) -> tuple[Any, Any, Any]:
    """Start a command, a text by the shell, and return its streams."""
    argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
    process = TextPopen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
    return process.stdin, process.stdout, process.stderr


def _path() -> dict[str, Any]:
    return {"walk": _walk}


def _walk(top: str, visit: Callable[[Any, str, list[str]], object], argument: object) -> None:
    """Call ``visit`` for each directory below ``top``; it may remove names from its list."""
    names = os.listdir(top)  # noqa: PTH208 - as text, as it was
    visit(argument, top, names)
    for name in names:
        path = os.path.join(top, name)  # noqa: PTH118 - as text, as it was
        if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
            _walk(path, visit, argument)


def _subprocess() -> dict[str, Any]:
    return {"Popen": TextPopen, "check_output": _check_output}


class TextPopen(subprocess.Popen[Any]):
    """A process whose pipes carry text by default, as in Python 2."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **_as_text(options))


def _check_output(*args: Any, **options: Any) -> Any:
    return subprocess.check_output(*args, **_as_text(options))


def _as_text(options: dict[str, Any]) -> dict[str, Any]:
    if options.keys() & {"text", "encoding", "errors", "universal_newlines"}:
        return options
    return {**options, "encoding": "utf-8", "errors": "surrogateescape"}


def _commands() -> dict[str, Any]:
    return {"getstatusoutput": _status_and_output}


def _status_and_output(command: str) -> tuple[int, str]:
    """Return the status as ``wait`` gives it: 256 for an exit with 1."""
    status, output = subprocess.getstatusoutput(command)  # noqa: S605 - the plugin's own
    return (status << 8 if status >= 0 else -status), output


def _configparser() -> dict[str, Any]:
    from configparser import ConfigParser, RawConfigParser

    parser, raw = _lenient(ConfigParser), _lenient(RawConfigParser)
    return {"ConfigParser": parser, "RawConfigParser": raw, "SafeConfigParser": parser}


def _lenient(base: Any) -> Any:
    """Return a parser that merges sections and ends values at `` ;``, as in Python 2."""

    class Parser(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{"strict": False, "inline_comment_prefixes": (";",), **options})

    Parser.__name__ = base.__name__
    return Parser


def _inspect() -> dict[str, Any]:
    fields = collections.namedtuple("fields", "args varargs keywords defaults")
    return {"getargspec": lambda function: fields(*inspect.getfullargspec(function)[:4])}


def _urllib() -> dict[str, Any]:
    from urllib import parse, request

    names = ("quote", "quote_plus", "unquote", "unquote_plus", "urlencode")
    return {name: getattr(parse, name) for name in names} | {
        name: getattr(request, name)
        for name in ("pathname2url", "url2pathname", "urlcleanup", "urlopen", "urlretrieve")
    }


NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "ConfigParser": _configparser,
    "UserDict": lambda: {"IterableUserDict": collections.UserDict},
    "collections": lambda: {name: getattr(collections.abc, name) for name in collections.abc.__all__},
    "commands": _commands,
    "exceptions": lambda: {"StandardError": Exception},
    "inspect": _inspect,
    "itertools": _itertools,
    "math": _math,
    "numpy": numpy_names,
    "os": _os,
    "os.path": _path,
    "sets": lambda: {"ImmutableSet": frozenset, "Set": set},
    "string": _string,
    "subprocess": _subprocess,
    "sys": lambda: {"exc_clear": lambda: None, "maxint": sys.maxsize, "setdefaultencoding": lambda _name: None},
    "time": lambda: {"clock": time.process_time},
    "types": lambda: {**TYPES, "ClassType": type, "InstanceType": object, "UnboundMethodType": types.FunctionType},
    "urllib": _urllib,
}
