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
    """Return the file of a plugin: the first directory that has it wins. Plugins can import from all of them then.

    Raises
    ------
    PipelineError
        If there is none; it names the nearest that exists.
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
    """Return the plugin module in ``path``, which must have a function called ``function``.

    It may be of the Python 2 era: ``python2.take_notices`` then says that it was translated. It is loaded once, again
    only when the file has changed, and can import what stands beside it.

    Raises
    ------
    PipelineError
        If it cannot be imported, or lacks the function; it names file, line and reason.
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
    """Return an exception in one line; its type stands in front unless it is ours."""
    text = str(err) or "no message"
    return text if isinstance(err, PipelineError) else f"{type(err).__name__}: {text}"


def run_plugin(
    path: Path, positionals: Sequence[str], keywords: Mapping[str, object], function: str = "plugin_main"
) -> object:
    """Return the result of a plugin's main function: a dictionary of outputs, or anything else for none.

    Raises
    ------
    PipelineError
        If the plugin fails; the message names file and line.
    """
    return call(path, function, list(positionals), **keywords)


def call(path: Path, function: str, *positionals: object, **keywords: object) -> Any:
    """Return the result of a function of a plugin.

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
    """End here each process that the block forked and that leaves it: to go on with the run is not its business."""
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
    """Give the signals that end a run their handlers again, if the block took them; one that waited arrives then."""
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
    """Return the problems of a call of ``function`` with these keyword arguments: unknown or missing names.

    Parameters
    ----------
    skip
        Number of parameters that are given by position.
    """
    parameters = list(inspect.signature(function).parameters.values())
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        skip = 0
    keyword_parameters = [p for p in parameters[skip:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    required = {p.name for p in keyword_parameters if p.default is p.empty}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
    return compare_names(set(keywords), {p.name for p in keyword_parameters}, required, open_ended)


def compare_names(names: set[str], accepted: set[str], required: set[str], open_ended: bool) -> list[str]:
    """Return one sentence for each name that is given but not known, or required but not given."""
    unknown = [] if open_ended else sorted(names - accepted)
    suggested = Suggestions()
    messages = [f"it has no argument '{name}'{suggested.nearest(name, accepted)}" for name in unknown]
    return messages + [f"it needs the argument '{name}'" for name in sorted(required - names)]


def check_script_call(path: Path, positionals: int, keywords: Iterable[str]) -> list[str]:
    """Return the problems of a call of the ``main`` of a script; the script is parsed, not run.

    A script that cannot be parsed, or has no ``main`` in plain sight, is left for its job to find out.
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
    """Return the names in the module-level literal ``OUTPUTS`` of a script or plugin; None if it declares none."""
    return declared(path, "OUTPUTS")


def declared(path: Path, literal: str) -> tuple[str, ...] | None:
    """Return the names in a module-level literal of a script or plugin, which is not run; None if it has none."""
    value = _literal(path, literal)
    return tuple(map(str, value)) if isinstance(value, list | tuple | set | dict) else None


def missing_packages(path: Path) -> dict[str, str]:
    """Return the Python packages in the literal ``NEEDS`` of a script that are not installed, each with its remedy."""
    needs = _literal(path, "NEEDS")
    return {
        str(name): str(remedy)
        for name, remedy in (needs.items() if isinstance(needs, dict) else ())
        if importlib.util.find_spec(str(name)) is None
    }


def _literal(path: Path, name: str) -> object:
    """Return a module-level literal of a script or plugin, which is not run; None if it has none."""
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
    """Return the findings, and warnings, of the checks that the pipeline names in ``pipeline.check``.

    ``options`` are the user's options by name, and the arguments of steps as ``<step>.argument.<key>``.
    ``files`` are those that it was read from.
    """
    known_results = {"input": settings.inputs, **settings.sections}
    resolved = {name: _resolved(text, known_results) for name, text in options.items()}
    site = {
        "working_directory": str(settings.job_workdir),
        "job_directory": str(settings.job_directory),
        "told": " ".join(_told_directories(settings)),
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


def _told_directories(settings: Settings) -> list[str]:
    """Return the directories of the run below one that is not there, as reported with the settings."""
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
    """Return a line of a check as a finding; one that is marked so is a warning."""
    is_warning, text = message.startswith(WARNING), message.removeprefix(WARNING)
    where, colon, problem = text.partition(": ")
    return Finding(where, problem, is_warning) if colon else Finding(name, text, is_warning)
