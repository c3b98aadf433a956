"""Calls ``main`` of a script as one job: ``python -m lofarpipe.engine.script_job spec.json``.

``spec.json`` holds ``script``, ``args`` (list), ``kwargs`` (object) and ``result``: the output file, JSON with the
result of ``main``, every value as text. Source: doc/spec/lofarpipe.md, sections 7.2 and 7.3.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.python2.imports import write_numbers_plainly

# One process per product, so imports cost each time. typing, traceback and lofarpipe.errors,
# which imports dataclasses, would double the cost.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "main"  # module name of the script; code guarded by __main__ does not run
NOTE = "### "  # prefix of the runner's own lines in a job's log; see executors/jobs.py


class ScriptError(Exception):
    """A script cannot be called, or reports a failure."""


def main(argv: list[str]) -> int:
    """Run the script described in ``argv[1]``; return 0, or 1 with the reason as the last line of stderr."""
    if len(argv) != 2:
        return _failed("usage: python -m lofarpipe.engine.script_job spec.json")
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # for following the log
    try:
        return run(read_spec(Path(argv[1])))
    except ScriptError as err:
        return _failed(str(err))


def run(spec: Mapping[str, Any]) -> int:
    """Call the script and write its result; return 0, or 1 if the script raised something.

    ``sys.exit`` in the script ends the process with that status and without a result.

    Raises
    ------
    ScriptError
        If the script cannot be called, reports a failure, or returned an invalid result.
    """
    script, result = spec["script"], Path(spec["result"])
    result.unlink(missing_ok=True)  # from an earlier attempt
    try:
        returned = load_main(script)(*spec["args"], **spec["kwargs"])
    except ScriptError:
        raise
    except Exception as err:
        return _failed(_error_line(err, script))
    write_result(result, returned_texts(returned, script))
    return 0


def read_spec(path: Path) -> dict[str, Any]:
    """Return the contents of a spec file.

    Raises
    ------
    ScriptError
        If the file cannot be read, or a key is missing.
    """
    try:
        spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ScriptError(f"{path}: not a readable job description: {err}") from err
    missing = {"script", "args", "kwargs", "result"} - set(spec)
    if missing:
        raise ScriptError(f"{path}: job description without {', '.join(sorted(missing))}")
    return spec


def load_main(script: str) -> Callable[..., object]:
    """Return the function ``main`` of a script; its name need not end in ``.py``.

    A script of the Python 2 era is translated, with a line in the log. The script's directory is not added to
    the search path for modules.

    Raises
    ------
    ScriptError
        If the file or its function ``main`` is missing. Exceptions of the script pass through.
    """
    if not Path(script).is_file():
        raise ScriptError(f"{script}: no such script")
    python2.install()
    try:
        function = getattr(python2.load_module(NAME, script), NAME, None)
    finally:
        for notice in python2.take_notices():
            print(f"{NOTE}{notice}")
    if not callable(function):
        raise ScriptError(f"{script}: it has no function 'main', which a pythonplugin step calls")
    return function  # type: ignore[no-any-return]


def returned_texts(returned: object, script: str) -> dict[str, str]:
    """Return the result of ``main`` as text by key; empty for None, 0 and other false values.

    Raises
    ------
    ScriptError
        If the result is anything else: scripts return 1 on failure.
    """
    if not returned:
        return {}
    if isinstance(returned, Mapping):
        write_numbers_plainly()
        return {str(key): str(value) for key, value in returned.items()}
    raise ScriptError(f"{script}: main returned {returned!r}; only a dictionary, None or 0 say that it succeeded")


def write_result(path: Path, result: Mapping[str, str]) -> None:
    """Write the result file atomically."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(result, indent=1), encoding="utf-8")
    part.replace(path)


def _error_line(err: Exception, script: str) -> str:
    """Return an error as one line with its place; the traceback goes to stderr unless the error is meant for users."""
    errors = sys.modules.get("lofarpipe.errors")
    if errors is not None and isinstance(err, errors.PipelineError):
        return str(err)
    import traceback

    traceback.print_exc()
    line = python2.line_of(err, script)
    where = f"{script}:{line}" if line else script
    return f"{where}: {type(err).__name__}: {' '.join(str(err).split())}"


def _failed(reason: str) -> int:
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
