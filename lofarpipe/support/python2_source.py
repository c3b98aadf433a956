"""Python 2 source as code that Python 3 runs. Imported only when a source does not compile."""

from __future__ import annotations

import ast
import functools
import importlib.util
import re
from difflib import SequenceMatcher
from types import CodeType
from typing import Any

# In Python 2 a tab goes on to the next multiple of 8; Python 3 refuses tabs mixed with blanks. Only indentation counts.
INDENTATION = re.compile(r"^[ \t]*\t[ \t]*", re.MULTILINE)
# A plugin is no package, so what it imports is never relative.
UNWANTED_FIXERS = {"fissix.fixes.fix_import"}


def compile_python2(source: bytes, path: str, refused: SyntaxError) -> CodeType:
    """Return Python 2 source as code; its line numbers are those of the source.

    Parameters
    ----------
    refused
        Why Python 3 does not compile it.

    Raises
    ------
    SyntaxError
        If it is no Python 2 either; it says both reasons.
    """
    try:
        text = importlib.util.decode_source(source)
    except UnicodeDecodeError as err:
        raise _hopeless(refused, f"{err}; no coding is declared") from err
    except SyntaxError as err:  # a coding that there is not
        raise _hopeless(refused, str(err)) from err
    translated = _translated(text, path, refused)
    tree = _parsed(translated, path, _original_lines(text.splitlines(), translated.splitlines()))
    return compile(tree, path, "exec", dont_inherit=True)


def _translated(text: str, path: str, refused: SyntaxError) -> str:
    """Return the source as Python 3. What calls print as a function is tried as such after all else."""
    from fissix.pgen2.parse import ParseError
    from fissix.pgen2.tokenize import TokenError

    indented = INDENTATION.sub(lambda found: found.group().expandtabs(8), text)
    reasons = []
    for print_is_function in (False, True):
        try:
            return str(_translator(print_is_function).refactor_string(indented + "\n", path))
        except (ParseError, TokenError, SyntaxError) as err:
            reasons.append(err)
    raise _hopeless(refused, _reason(reasons[0])) from reasons[0]


def _hopeless(refused: SyntaxError, reason: str) -> SyntaxError:
    """Return the error of a source that is neither."""
    return SyntaxError(f"{refused.msg}; and as Python 2: {reason}", *refused.args[1:])


@functools.cache
def _translator(print_is_function: bool) -> Any:
    from fissix.pgen2 import driver, pgen

    # Making the grammar takes 10 ms; the library would keep it as a pickle in HOME, which must then be writable.
    driver.load_grammar = pgen.generate_grammar
    from fissix.refactor import RefactoringTool, get_fixers_from_package

    fixers = sorted(set(get_fixers_from_package("fissix.fixes")) - UNWANTED_FIXERS)
    return RefactoringTool(fixers, {"print_function": print_is_function})


def _reason(err: Exception) -> str:
    """Return a reason of the translator with its line: it keeps the place in one of three ways."""
    if isinstance(err, SyntaxError):
        return f"line {err.lineno}: {err.msg}"
    if hasattr(err, "context"):
        return f"line {err.context[1][0]}: {err.msg} at {err.value!r}"  # type: ignore[attr-defined]
    message, (line, _) = err.args
    return f"line {line}: {message}"


def _original_lines(before: list[str], after: list[str]) -> list[int]:
    """Return for each line of the translation the number of the line that it came from, counted from 1."""
    matcher = SequenceMatcher(None, before, after, autojunk=False)
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
        node.end_col_offset = node.col_offset  # columns of the translation point at nothing in the original
    return tree
