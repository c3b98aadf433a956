"""Translate Python 2 source to code for Python 3. Imported only for such sources.

Syntax is translated; operations of the same syntax and another meaning, such as ``/`` between whole numbers, calls
``builtins``.
"""

from __future__ import annotations

import ast
import copy
import functools
import importlib.util
import re
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from importlib.util import find_spec
from types import CodeType
from typing import Any

from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.python2.imports import STANDS_FOR

# In Python 2 a tab goes on to the next multiple of 8; Python 3 refuses tabs mixed with blanks. Only indentation counts.
INDENTATION = lazy_pattern(r"^[ \t]*\t[ \t]*", re.MULTILINE)
# A plugin is not a package, so its imports are never relative. Modules are found by ``python2_imports``; builtins that
# gave lists are provided: a translation to ``list(map(...))`` would lose the special cases of None and text.
UNWANTED = "filter import imports imports2 execfile intern itertools itertools_imports map reduce reload types urllib"
UNWANTED_FIXERS = {f"fissix.fixes.fix_{name}" for name in f"{UNWANTED} xrange zip".split()}
TRUE_DIVISION = re.compile(rb"^from\s+__future__\s+import\b[^\n(;]*(\([^)]*)?\bdivision\b", re.MULTILINE)
NAMES = {"basestring", "cmp", "long", "raw_input", "reduce", "reload", "unichr", "unicode", "xrange"}
CALLED = {"apply", "buffer", "coerce", "execfile", "file"}  # names that count only if called
METHODS = {"has_key", "iteritems", "iterkeys", "itervalues"}
ATTRIBUTES = {
    "itertools": {"ifilter", "ifilterfalse", "imap", "izip", "izip_longest"},
    "os": {"getcwdu"},
    "string": {"atof", "atoi", "join", "letters", "lower", "lowercase", "maketrans", "replace", "split", "upper"},
    "sys": {"maxint"},
}
#: Modules of Python 2 only; those left out also existed with Python 3 for a while.
MODULES = STANDS_FOR.keys() - {"exceptions", "pyfits", "pywcs", "sets"}
#: Such classes were copied from plugin to plugin, with unused methods.
COPIED = {"DataMap", "DataProduct"}
#: Sources with these imports support both; data frames had methods of these names with Python 3.
BRIDGES = {"builtins", "future", "pandas", "past", "six"}
VERSION = lazy_pattern("py_?[23]|version|hasattr", re.IGNORECASE)
ONLY_PYTHON3 = (ast.AnnAssign, ast.AsyncFunctionDef, ast.Await, ast.JoinedStr, ast.MatMult, ast.Nonlocal, ast.YieldFrom)


def floors(source: bytes) -> bool:
    """Return whether ``/`` between whole numbers gives a whole number in a source of Python 2."""
    return TRUE_DIVISION.search(source) is None


def compile_python2(source: bytes, path: str, refused: SyntaxError | None = None) -> CodeType:
    """Compile Python 2 source, with the source's line numbers.

    Parameters
    ----------
    refused
        Why Python 3 does not compile it; None if it does.

    Raises
    ------
    SyntaxError
        If it is no Python 2 either; with both reasons.
    """
    refused = refused or SyntaxError("it looks like Python 2", (path, 1, None, None))
    try:
        text = importlib.util.decode_source(source)
    except UnicodeDecodeError as err:
        raise _translation_error(refused, f"{err}; no coding is declared") from err
    except SyntaxError as err:  # an unknown encoding
        raise _translation_error(refused, str(err)) from err
    translated = _translated(text, path, refused)
    tree = _parsed(translated, path, _original_lines(text.splitlines(), translated.splitlines()))
    tree = ast.fix_missing_locations(_AsItWas(floors(source)).visit(tree))
    return compile(tree, path, "exec", dont_inherit=True)


def _translated(text: str, path: str, refused: SyntaxError) -> str:
    """Return the source as Python 3. Print as a function is tried last."""
    from fissix.pgen2.parse import ParseError
    from fissix.pgen2.tokenize import TokenError

    indented = INDENTATION.sub(lambda match: match.group().expandtabs(8), text)
    reasons = []
    for print_is_function in (False, True):
        try:
            return str(_translator(print_is_function).refactor_string(indented + "\n", path))
        except (ParseError, TokenError, SyntaxError) as err:
            reasons.append(err)
    raise _translation_error(refused, _reason(reasons[0])) from reasons[0]


def _translation_error(refused: SyntaxError, reason: str) -> SyntaxError:
    """Return the error for a source of neither version."""
    return SyntaxError(f"{refused.msg}; and as Python 2: {reason}", *refused.args[1:])


@functools.cache
def _translator(print_is_function: bool) -> Any:
    from fissix.pgen2 import driver, pgen

    # Making the grammar takes 10 ms; the library would cache it as a pickle in HOME, which may not be writable.
    driver.load_grammar = pgen.generate_grammar
    from fissix.refactor import RefactoringTool, get_fixers_from_package

    fixers = sorted(set(get_fixers_from_package("fissix.fixes")) - UNWANTED_FIXERS)
    return RefactoringTool(fixers, {"print_function": print_is_function})


def _reason(err: Exception) -> str:
    """Return the translator's message and line, which it stores in one of three ways."""
    if isinstance(err, SyntaxError):
        return f"line {err.lineno}: {err.msg}"
    if hasattr(err, "context"):
        return f"line {err.context[1][0]}: {err.msg} at {err.value!r}"  # type: ignore[attr-defined]
    message, (line, _) = err.args
    return f"line {line}: {message}"


def _original_lines(old_lines: list[str], new_lines: list[str]) -> list[int]:
    """Return the source line, counted from 1, of each line of the translation."""
    matcher = SequenceMatcher(None, old_lines, new_lines, autojunk=False)
    return [
        max(1, min(start + offset, max(start, end - 1)) + 1)
        for _, start, end, new_start, new_end in matcher.get_opcodes()
        for offset in range(new_end - new_start)
    ]


def _parsed(translated: str, path: str, lines: list[int]) -> ast.Module:
    """Return the syntax tree of a translation, placed on the lines of the original."""
    try:
        tree = ast.parse(translated, path)
    except SyntaxError as err:
        err.lineno = lines[min(err.lineno or 1, len(lines)) - 1]
        err.end_lineno = err.lineno
        raise
    nodes: list[Any] = [node for node in ast.walk(tree) if hasattr(node, "lineno")]
    for node in nodes:
        node.lineno = node.end_lineno = lines[node.lineno - 1]
        node.end_col_offset = node.col_offset  # columns of the translation mean nothing in the original
    return tree


class _AsItWas(ast.NodeTransformer):
    """Puts calls of ``builtins`` where the same text did something else."""

    def __init__(self, floors: bool) -> None:
        self.floors = floors

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Whole numbers are divided to whole numbers."""
        self.generic_visit(node)
        is_old = self.floors and isinstance(node.op, ast.Div)
        return _call("__divide__", node, node.left, node.right) if is_old else node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST | list[ast.stmt]:
        """``/=`` does so too; its target is looked up once, as before."""
        self.generic_visit(node)
        if not (self.floors and isinstance(node.op, ast.Div)):
            return node
        statements: list[ast.stmt] = []
        if not isinstance(node.target, ast.Name):
            statements.append(_assign("__held__", node.target.value, node))
            node.target.value = _name("__held__", node)
        if isinstance(node.target, ast.Subscript):
            statements.append(_assign("__place__", _position(node.target.slice), node))
            node.target.slice = _name("__place__", node)
        target = copy.deepcopy(node.target)
        target.ctx = ast.Load()
        changed = _call("__divide_into__", node, target, node.value)
        return [*statements, ast.copy_location(ast.Assign([node.target], changed), node)]

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Exceptions had a message."""
        self.generic_visit(node)
        is_read = node.attr == "message" and isinstance(node.ctx, ast.Load)
        return _call("__message_of__", node, node.value) if is_read else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Iterators had ``next()``."""
        self.generic_visit(node)
        is_next = isinstance(node.func, ast.Attribute) and node.func.attr == "next" and not (node.args or node.keywords)
        return _call("__next_of__", node, node.func.value) if is_next else node  # type: ignore[attr-defined]

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        """The exception keeps its name after its handler."""
        self.generic_visit(node)
        if node.name:
            node.body.insert(0, _assign(node.name, _name("__caught__", node), node))
            node.name = "__caught__"
        return node


def _name(name: str, place: ast.AST) -> ast.expr:
    return ast.copy_location(ast.Name(name, ast.Load()), place)


def _call(function: str, place: ast.AST, *arguments: ast.expr) -> ast.expr:
    return ast.copy_location(ast.Call(_name(function, place), [*arguments], []), place)


def _assign(name: str, value: ast.expr, place: ast.AST) -> ast.stmt:
    return ast.copy_location(ast.Assign([ast.Name(name, ast.Store())], value), place)


def _position(node: ast.expr) -> ast.expr:
    """Return the index in brackets as a value: ``1:2`` is no expression by itself."""
    if isinstance(node, ast.Tuple):
        return ast.copy_location(ast.Tuple([_position(part) for part in node.elts], ast.Load()), node)
    if not isinstance(node, ast.Slice):
        return node
    parts = (part or ast.Constant(None) for part in (node.lower, node.upper, node.step))
    return _call("__index__", node, *parts)


def is_of_python2(tree: ast.Module) -> bool:
    """Return whether a source plainly needs Python 2; code in ``try`` or below a test of the version does not count."""
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
    """Return whether print has keyword or starred arguments without the future import of print_function."""
    calls = (node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    prints = (call for call in calls if call.func.id == "print")  # type: ignore[attr-defined]
    if not any(call.keywords or any(isinstance(value, ast.Starred) for value in call.args) for call in prints):
        return False
    imports = (node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "__future__")
    return not any(alias.name == "print_function" for node in imports for alias in node.names)


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
    """Return the names defined by a node, other than by an import."""
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return [node.arg] if isinstance(node, ast.arg) else []


def _unconditional(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes outside of ``try`` with handlers, version checks and copied classes."""
    if isinstance(node, ast.Try) and node.handlers:
        return
    if isinstance(node, ast.If | ast.IfExp) and VERSION.search(ast.unparse(node.test)):
        return
    if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id in COPIED for b in node.bases):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _unconditional(child)
