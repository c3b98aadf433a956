"""Whether a source that Python 3 compiles was written for Python 2. Imported only for those that look like it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec

from lofarpipe.support.python2.imports import STANDS_FOR

NAMES = {"basestring", "cmp", "long", "raw_input", "reduce", "reload", "unichr", "unicode", "xrange"}
CALLED = {"apply", "buffer", "coerce", "execfile", "file"}  # words that mean nothing unless they are called
METHODS = {"has_key", "iteritems", "iterkeys", "itervalues"}
ATTRIBUTES = {
    "itertools": {"ifilter", "ifilterfalse", "imap", "izip", "izip_longest"},
    "os": {"getcwdu"},
    "string": {"atof", "atoi", "join", "letters", "lower", "lowercase", "maketrans", "replace", "split", "upper"},
    "sys": {"maxint"},
}
#: Modules that nobody has, unless there is one of that name; what is left out was there with Python 3 for a while.
MODULES = STANDS_FOR.keys() - {"exceptions", "pyfits", "pywcs", "sets"}
#: Classes of that kind were copied from plugin to plugin, with methods that nobody calls.
COPIED = {"DataMap", "DataProduct"}
#: Whoever imports these writes for both; data frames had methods of those names with Python 3.
BRIDGES = {"builtins", "future", "pandas", "past", "six"}
VERSION = re.compile("py_?[23]|version|hasattr", re.IGNORECASE)
ONLY_PYTHON3 = (ast.AnnAssign, ast.AsyncFunctionDef, ast.Await, ast.JoinedStr, ast.MatMult, ast.Nonlocal, ast.YieldFrom)


def is_of_python2(tree: ast.Module) -> bool:
    """Return whether a source needs Python 2, in plain sight: what it tries, or asks a version for, does not count."""
    nodes = [*ast.walk(tree)]
    if any(_is_of_python3(node) for node in nodes) or _prints_as_python3(nodes):
        return False
    bound = {name for node in nodes for name in _bound(node)}
    modules = {name for node in nodes for name in _imported_as(node)} - bound
    return any(_needs_python2(node, bound, modules) for node in _unconditional(tree))


def _is_of_python3(node: ast.AST) -> bool:
    if isinstance(node, ast.arguments):
        return bool(node.kwonlyargs or any(a.annotation for a in (*node.posonlyargs, *node.args)))
    if isinstance(node, ast.FunctionDef):
        return node.returns is not None
    if isinstance(node, ast.Raise):
        return node.cause is not None
    return isinstance(node, ONLY_PYTHON3) or any(name.partition(".")[0] in BRIDGES for name in _imported(node))


def _prints_as_python3(nodes: Iterable[ast.AST]) -> bool:
    """Return whether print has arguments that the statement of Python 2 had not, and is no function by request."""
    calls = (node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    prints = (call for call in calls if call.func.id == "print")  # type: ignore[attr-defined]
    if not any(call.keywords or any(isinstance(value, ast.Starred) for value in call.args) for call in prints):
        return False
    asked = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "__future__")
    return not any(alias.name == "print_function" for node in asked for alias in node.names)


def _needs_python2(node: ast.AST, bound: set[str], modules: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in NAMES - bound - modules
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in CALLED - bound - modules
    if isinstance(node, ast.keyword):
        return node.arg == "cmp"
    if isinstance(node, ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        return node.attr in METHODS - bound or (owner in modules and node.attr in ATTRIBUTES.get(owner, ()))
    return any(name in MODULES and find_spec(name) is None for name in _imported(node))


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


def _imported_as(node: ast.AST) -> list[str]:
    return [alias.asname or alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []


def _bound(node: ast.AST) -> list[str]:
    """Return the names that a node gives a meaning in the source itself, other than by importing them."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return [node.arg] if isinstance(node, ast.arg) else []


def _unconditional(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that are no part of a ``try`` with handlers, a question for the version, or a copied class."""
    if isinstance(node, ast.Try) and node.handlers:
        return
    if isinstance(node, ast.If | ast.IfExp) and VERSION.search(ast.unparse(node.test)):
        return
    if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in COPIED for b in node.bases):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _unconditional(child)
