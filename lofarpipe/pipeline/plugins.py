"""Plugins: in-process steps (``PipelineStep_<type>.py``) and early checks (``PipelineCheck_<name>.py``)."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import inspect
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lofarpipe.config import Settings
from lofarpipe.errors import WARNING, Finding, PipelineError, Suggestions, nearest
from lofarpipe.executors.local.signals import ENDING
from lofarpipe.jobs import Interrupted, Resources
from lofarpipe.pipeline.steps import references, resolve
from lofarpipe.support.parset import split_list
from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.python2.loader import line_of
from lofarpipe.support.utilities import is_file

STEP_PREFIX = "PipelineStep_"
CHECK_PREFIX = "PipelineCheck_"


def find_plugin(prefix: str, name: str, directories: Sequence[Path]) -> Path:
    """Find the file of a plugin, in the first directory that has it; make all directories importable for plugins.

    Raises
    ------
    PipelineError
        If there is no such plugin; the message names the most similar one.
    """
    for directory in directories:
        python2.import_from(directory)
    for directory in directories:
        path = directory / f"{prefix}{name}.py"
        if is_file(path):
            return path
    plugin_names = {
        path.stem.removeprefix(prefix) for directory in directories for path in directory.glob(f"{prefix}*.py")
    }
    places = ", ".join(map(str, directories))
    raise PipelineError(
        f"there is no plugin '{name}'{nearest(name, plugin_names)}; looked for {prefix}{name}.py in {places}"
    )


def load(path: Path, function: str) -> ModuleType:
    """Load the plugin module in ``path``, which must define ``function``.

    Python 2 code is translated, with a notice in ``python2.take_notices``. A module is loaded once, and again
    only after a change of the file; it can import modules in its directory.

    Raises
    ------
    PipelineError
        If it cannot be imported, or lacks the function; the message names file, line and reason.
    """
    python2.install()
    python2.import_from(path.parent)
    try:
        module = python2.load_module(path.stem, path)
    except (Exception, SystemExit) as err:
        raise PipelineError(f"{path}:{line_of(err, path)}: the plugin cannot be loaded: {describe(err)}") from err
    if not callable(getattr(module, function, None)):
        raise PipelineError(f"{path}: the plugin has no function {function}; define {function}(...)")
    return module


def describe(err: BaseException) -> str:
    """Describe an exception in one line, with its type unless it is the runner's own."""
    text = str(err) or "no message"
    return text if isinstance(err, PipelineError) else f"{type(err).__name__}: {text}"


def run_plugin(
    path: Path, positionals: Sequence[str], keywords: Mapping[str, object], function: str = "plugin_main"
) -> object:
    """Call a plugin's main function, and return its result: a dictionary of outputs; any other value means none.

    Raises
    ------
    PipelineError
        If the plugin fails; the message names file and line.
    """
    return call(path, function, list(positionals), **keywords)


def call(path: Path, function: str, *positionals: object, **keywords: object) -> Any:
    """Call a function of a plugin, and return its result.

    Raises
    ------
    PipelineError
        If it fails; the message names file and line.
    """
    called: Callable[..., Any] = getattr(load(path, function), function)
    try:
        with _ending_children(), _restored_signals():
            return called(*positionals, **keywords)
    except (PipelineError, KeyboardInterrupt, SystemExit, Interrupted):
        raise
    except BaseException as err:
        raise PipelineError(f"{path}:{line_of(err, path)}: the plugin failed: {describe(err)}") from err


@contextlib.contextmanager
def _ending_children() -> Iterator[None]:
    """Exit processes forked in the block at its end, so that they do not continue the run."""
    parent_pid, status = os.getpid(), 0
    try:
        yield
    except BaseException as err:
        if os.getpid() == parent_pid:
            raise
        code = err.code if isinstance(err, SystemExit) else 1
        status = code if isinstance(code, int) else int(code is not None)
        if not isinstance(err, SystemExit):
            traceback.print_exc()
    finally:
        if os.getpid() != parent_pid:
            sys.stdout.flush()
            os._exit(status)


@contextlib.contextmanager
def _restored_signals() -> Iterator[None]:
    """Restore the handlers of the ending signals after the block; pending signals are delivered then."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: handler for number in ENDING if (handler := signal.getsignal(number)) is not None}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def check_call(function: Callable[..., Any], keywords: Iterable[str], skip: int) -> list[str]:
    """Return the problems of a call of ``function`` with these keyword arguments: unknown and missing names.

    Parameters
    ----------
    skip
        Number of parameters given by position.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        skip = 0
    keyword_parameters = [p for p in parameters[skip:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = {p.name for p in keyword_parameters if p.default is p.empty}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return compare_names(set(keywords), {p.name for p in keyword_parameters}, required, open_ended)


def compare_names(names: set[str], accepted: set[str], required: set[str], open_ended: bool) -> list[str]:
    """Return one sentence for each unknown or missing name."""
    unknown = [] if open_ended else sorted(names - accepted)
    suggested = Suggestions()
    messages = [f"it has no argument '{name}'{suggested.nearest(name, accepted)}" for name in unknown]
    return messages + [f"it needs the argument '{name}'" for name in sorted(required - names)]


def check_script_call(path: Path, positionals: int, keywords: Iterable[str]) -> list[str]:
    """Return the problems of a call of a script's ``main``; the script is parsed, not run.

    Syntax errors, and a ``main`` not defined at the top level, are left to the job.
    """
    arguments = _main_arguments(path)
    if arguments is None:
        return []
    names = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    keyword_only = [argument.arg for argument in arguments.kwonlyargs]
    required = set(names[: len(names) - len(arguments.defaults)]) - set(names[:positionals])
    required |= {n for n, default in zip(keyword_only, arguments.kw_defaults, strict=True) if default is None}
    messages = []
    if positionals > len(names) and arguments.vararg is None:
        messages.append(f"it takes {len(names)} positional arguments, {positionals} are given in flags")
    accepted = set(names[positionals:]) | set(keyword_only)
    return messages + compare_names(set(keywords), accepted, required, arguments.kwarg is not None)


def _main_arguments(path: Path) -> ast.arguments | None:
    for node in _module_body(path):
        if isinstance(node, ast.FunctionDef) and node.name == "main":
            return node.args
    return None


def declared_outputs(path: Path) -> tuple[str, ...] | None:
    """Return the names in the module-level literal ``OUTPUTS`` of a script or plugin; None if undeclared."""
    return declared(path, "OUTPUTS")


def declared(path: Path, literal: str) -> tuple[str, ...] | None:
    """Return the names in a module-level literal of a script or plugin, without running it; None if undefined."""
    value = _literal(path, literal)
    return tuple(map(str, value)) if isinstance(value, list | tuple | set | dict) else None


def missing_packages(path: Path) -> dict[str, str]:
    """Return missing Python package -> remedy, from the literal ``NEEDS`` of a script."""
    needs = _literal(path, "NEEDS")
    return {
        str(name): str(remedy)
        for name, remedy in (needs.items() if isinstance(needs, dict) else ())
        if importlib.util.find_spec(str(name)) is None
    }


def _literal(path: Path, name: str) -> object:
    """Return a module-level literal of a script or plugin, without running it; None if undefined."""
    for node in _module_body(path):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            try:
                return ast.literal_eval(node.value)  # type: ignore[attr-defined]
            except ValueError:
                return None
    return None


def _module_body(path: Path) -> list[ast.stmt]:
    try:
        return _parsed(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []


@functools.lru_cache(maxsize=32)
def _parsed(source: bytes) -> list[ast.stmt]:
    return ast.parse(source).body


def pipeline_checks(
    names: Iterable[str],
    options: Mapping[str, str],
    settings: Settings,
    machine: Resources,
    plugin_path: Sequence[Path],
    files: Sequence[Path] = (),
) -> list[Finding]:
    """Return findings and warnings of the checks in ``pipeline.check``.

    ``options`` are the user's options by name, and step arguments as ``<step>.argument.<key>``.
    ``files`` are the files of the pipeline.
    """
    known_results = {"input": settings.inputs, **settings.sections}
    resolved = {name: _resolved(text, known_results) for name, text in options.items()}
    site = {
        "working_directory": str(settings.job_workdir),
        "job_directory": str(settings.job_directory),
        "told": " ".join(_reported_directories(settings)),
        "files": "\n".join(
            map(str, [*files, settings.config_file, *split_list(settings.inputs.get("task_files", "[]"))])
        ),
        "cores": str(machine.cores),
        "memory_gb": str(machine.memory_gb),
        "gpus": str(machine.gpus),
        "method": settings.sections.get("remote", {}).get("method", "local"),
    }
    findings = []
    for name in names:
        try:
            messages = call(find_plugin(CHECK_PREFIX, name, plugin_path), "check", resolved, site)
        except PipelineError as err:
            findings.append(Finding("pipeline.check", str(err)))
            continue
        findings += [_finding(message, name) for message in messages]
    return findings


def _reported_directories(settings: Settings) -> list[str]:
    """Return the run's directories below a missing one, already reported with the settings."""
    below = {
        "working_directory": (settings.working_directory, settings.job_workdir),
        "job_directory": (settings.runtime_directory, settings.job_directory),
    }
    return [name for name, (above, path) in below.items() if above in path.parents and not above.is_dir()]


def _resolved(text: str, known_results: Mapping[str, Mapping[str, str]]) -> str:
    if all(name in known_results and key in known_results[name] for name, key in references(text)):
        return resolve(text, known_results, "option")
    return text


def _finding(message: str, name: str) -> Finding:
    """Convert a line of a check to a finding; marked lines are warnings."""
    is_warning, text = message.startswith(WARNING), message.removeprefix(WARNING)
    where, colon, problem = text.partition(": ")
    return Finding(where, problem, is_warning) if colon else Finding(name, text, is_warning)
