"""A recipe step's control keys, references resolved and values typed.

Source: spec/lofarpipe.md, section 4.3.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.errors import PipelineError, nearest, with_article
from lofarpipe.pipeline.control_keys import (
    CONTROL_KEYS,
    LENIENT_DEFAULTS,
    Value,
    cut_at_colons,
    list_items,
    read_value,
)
from lofarpipe.pipeline.references import Results, references, resolve
from lofarpipe.pipeline.steps import Step
from lofarpipe.support.parset import Parset
from lofarpipe.support.utilities import is_file


@dataclass(frozen=True)
class Control:
    """The control keys of one step, resolved and typed: parset over derived over task over default."""

    values: Mapping[str, Value]
    asked_program: str = ""  # the known program that may be asked, and whose arguments are completed

    def text(self, key: str) -> str:
        """Return a text key."""
        return str(self.values[key])

    def items(self, key: str) -> list[str]:
        """Return a list key."""
        value = self.values[key]
        return list(value) if isinstance(value, list) else []

    def flag(self, key: str) -> bool:
        """Return a True or False key."""
        return bool(self.values[key])

    def number(self, key: str) -> int:
        """Return an integer key."""
        value = self.values[key]
        return value if isinstance(value, int) else 0

    @property
    def memory_gb(self) -> float:
        """Memory asked for each job, 10^9 bytes; 0 for an equal share."""
        return self._real("memory_gb")

    @property
    def disk_gb(self) -> float:
        """Disk that each job's outputs take, 10^9 bytes; 0 where the step does not say."""
        return self._real("disk_gb")

    def _real(self, key: str) -> float:
        value = self.values[key]
        return float(value) if isinstance(value, (int, float)) else 0.0

    @property
    def environment(self) -> dict[str, str]:
        """Variables that the step sets for its jobs."""
        value = self.values["environment"]
        return dict(value) if isinstance(value, dict) else {}

    @property
    def batch(self) -> dict[str, str]:
        """What the jobs ask of a queue, as ``Job.batch`` has it."""
        wanted = {key: self.text(key) for key in ("walltime", "partition", "account")}
        wanted["options"] = shlex.join(self.items("batch_options"))
        return {key: text for key, text in wanted.items() if text}


def resolved_control(step: Step, results: Results, lenient: bool = False) -> tuple[Control, dict[str, str]]:
    """Return the control keys and the keyword arguments (without flags) of a step, references resolved.

    Raises
    ------
    PipelineError
        If a reference cannot be resolved, a control key is not known, or has no value of its type.
    """
    _refuse_unknown(step)
    arguments = {key: resolve(text, results, step.where(f"argument.{key}")) for key, text in step.arguments.items()}
    texts = {key: resolve(text, results, step.where(f"control.{key}")) for key, text in step.control.items()}
    derived = _derived(step, arguments, results)
    values: dict[str, Value] = {}
    for key, known in CONTROL_KEYS.items():
        default = LENIENT_DEFAULTS.get(key, known.default) if lenient else known.default
        text = texts.get(key, None if key in derived else step.task.get(key))
        values[key] = derived.get(key, default) if text is None else _value(step, key, text, known.kind)
    arguments.pop("flags", None)
    control = Control(values, str(values["program"]) if step.asked_program(lenient) else "")
    if lenient:
        values["environment"] = cut_at_colons(control.environment)
    return control, _from_parset(step, texts, arguments)


def _refuse_unknown(step: Step) -> None:
    for key in step.given:
        if key not in CONTROL_KEYS:
            what = f"no such control key for {with_article(step.type)} step{nearest(key, CONTROL_KEYS)}"
            raise PipelineError(f"{step.where(f'control.{key}')}: {what}")


def _from_parset(step: Step, texts: Mapping[str, str], arguments: dict[str, str]) -> dict[str, str]:
    """Return the keyword arguments; a file named by ``control.parset`` replaces those of the argument block.

    A file that could be read when the step was built was merged into the arguments, and is not named any more.
    """
    name = texts.get("parset") or ("" if step.arguments else step.task.get("parset", ""))
    if not name:
        return arguments
    if not is_file(name):
        raise PipelineError(
            f"{step.where('control.parset')} is '{name}', which is no file; an existing parset is needed"
        )
    given = Parset.read(Path(name))
    return {key: given[key] for key in given}


def _value(step: Step, key: str, text: str, kind: str) -> Value:
    try:
        return read_value(text, kind)
    except ValueError as err:
        raise PipelineError(f"{step.where(f'control.{key}')} is '{text}'; {err}") from None


def _derived(step: Step, arguments: Mapping[str, str], results: Results) -> dict[str, Value]:
    """Return the control keys that the argument block implies: every mapfile it refers to is an input."""
    if not step.arguments:
        return {}
    mapfiles = [
        str(results[name][key])
        for argument, text in step.arguments.items()
        for name, key in references(text)
        if "mapfile" in key and "mapfile" not in argument
    ]
    derived: dict[str, Value] = {"mapfiles_in": mapfiles, "inputkeys": list(mapfiles)}
    derived["arguments"] = list_items(arguments.get("flags", ""))
    if any("outputkey" in text for text in arguments.values()):
        derived["outputkey"] = "outputkey"
    return derived


def input_maps(step: Step, control: Control) -> tuple[list[str], list[str]]:
    """Return input mapfiles and the words that stand for their files, in order.

    Raises
    ------
    PipelineError
        If there is no input map, or the words are not as many.
    """
    first, key = control.text("mapfile_in"), control.text("inputkey")
    mapfiles = ([first] if first else []) + control.items("mapfiles_in")
    if not mapfiles:
        raise PipelineError(f"step '{step.name}': it has no input map; set control.mapfile_in")
    tokens = control.items("inputkeys")
    if key and key not in tokens:
        tokens.insert(0, key)
    if not control.flag("skip_infile") and len(mapfiles) != len(tokens):
        raise PipelineError(
            f"step '{step.name}': {len(mapfiles)} input maps ({', '.join(mapfiles) or 'none'}) but {len(tokens)} input"
            f" keys ({', '.join(tokens) or 'none'}); one key for each map is needed"
        )
    return mapfiles, tokens


def plugin_call(step: Step, results: Results, lenient: bool = False) -> tuple[list[str], dict[str, object]]:
    """Return positional and keyword arguments of a plugin: all control keys as text, ``environment`` as a dictionary.

    Source: spec/lofarpipe.md, section 7.1.
    """
    keywords: dict[str, object] = {
        key: resolve(step.control[key], results, step.where(f"control.{key}")) for key in sorted(step.control)
    }
    if "environment" in keywords:
        variables = _value(step, "environment", str(keywords["environment"]), "environment")
        keywords["environment"] = cut_at_colons(variables) if lenient and isinstance(variables, dict) else variables
    return [resolve(text, results, step.where("control.cmdline")) for text in step.positionals], keywords


def loop_count(step: Step) -> int:
    """Return how often the body of a loop runs at most.

    Raises
    ------
    PipelineError
        If ``control.loopcount`` is missing, or is no number.
    """
    if "loopcount" not in step.control:
        raise PipelineError(f"{step.where('control.loopcount')}: a loop needs the number of its iterations")
    count = _value(step, "loopcount", step.control["loopcount"], "int")
    return count if isinstance(count, int) else 0


def is_true(value: object) -> bool:
    """Return whether what a step gave as ``break`` means yes; it may have gone through text."""
    return bool(value) and str(value) not in ("False", "None", "0")
