"""Control keys of a recipe step, with references resolved and values typed.

Source: doc/spec/lofarpipe.md, section 4.3.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from lofarpipe.errors import PipelineError, nearest, with_article
from lofarpipe.executors.remote.queue import walltime_problem
from lofarpipe.pipeline.steps import Results, Step, references, resolve
from lofarpipe.programs.argv import FORMATS
from lofarpipe.programs.base import KNOWN_PROGRAMS, Program
from lofarpipe.state.intermediates import IMAGES, PRODUCTS, pattern_problem
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Parset
from lofarpipe.support.utilities import is_file

Value = str | bool | int | float | list[str] | dict[str, str]


@dataclass(frozen=True)
class ControlKey:
    """One control key: the reader of its text, its default, its meaning."""

    kind: str  # str, bool, int, number, list, environment
    default: Value
    meaning: str
    highest: float = math.inf  # upper limit of a number; the lower one is 0


CONTROL_KEYS: dict[str, ControlKey] = {
    "executable": ControlKey("str", "", "the program, or the script of a pythonplugin"),
    "nodescript": ControlKey("str", "executable_args", "the type of job: executable_args or python_plugin"),
    "arguments": ControlKey("list", [], "positional arguments; wins over argument.flags"),
    "mapfile_in": ControlKey("str", "", "input mapfile, the first in order"),
    "mapfiles_in": ControlKey("list", [], "further input mapfiles"),
    "inputkey": ControlKey("str", "", "placeholder for the file of mapfile_in"),
    "inputkeys": ControlKey("list", [], "one word for each input mapfile, in the same order"),
    "outputkey": ControlKey("str", "", "placeholder for the output file"),
    "outputkeys": ControlKey("list", [], "accepted for old parsets; has no effect"),
    "mapfile_out": ControlKey("str", "", "existing mapfile with the names of the outputs"),
    "mapfiles_out": ControlKey("list", [], "like mapfile_out, several; the first names the outputs"),
    "mapfiles_as_string": ControlKey("list", [], "input mapfiles that are passed by name, not entry by entry"),
    "inplace": ControlKey("bool", False, "the outputs are the inputs"),
    "skip_infile": ControlKey("bool", False, "do not pass input files; still one job per entry"),
    "skip_outfile": ControlKey("bool", False, "accepted for old parsets; has no effect"),
    "outputsuffixes": ControlKey("list", [], "further output maps, one per suffix"),
    "output_ending": ControlKey("str", "", "ending of the names of outputs that the step names itself"),
    "parset": ControlKey("str", "", "parset file to pass to the program where parsetasfile is True"),
    "parsetasfile": ControlKey("bool", False, "write the keyword arguments to a file and pass its name"),
    "args_format": ControlKey("str", "gnu", f"how keyword arguments are written: {', '.join(FORMATS)}"),
    "args_format_argument": ControlKey("str", "", "accepted for old parsets; has no effect"),
    "args_format_option": ControlKey("str", "-", "accepted for old parsets; has no effect"),
    "args_format_longoption": ControlKey("str", "--", "accepted for old parsets; has no effect"),
    "args_format_option_argument": ControlKey("str", "=", "accepted for old parsets; has no effect"),
    "max_per_node": ControlKey("int", 0, "jobs of this step at the same time on one node; 0: as in pipeline.cfg"),
    "nthreads": ControlKey("int", 0, "OMP_NUM_THREADS of each job; 0: the cores that the job was given"),
    "environment": ControlKey("environment", {}, "variables for the jobs, as {NAME: value, OTHER: value}"),
    "stepname": ControlKey("str", "", "name for outputs and mapfiles; default: the name of the step"),
    "error_tolerance": ControlKey("bool", True, "go on while at least one job of the step succeeds"),
    "intermediate": ControlKey(
        "list",
        [],
        "ours: outputs that keep = products and images remove when no later step needs them: * for all, "
        "psf, dirty, model, residual for images of that kind, or paths with wildcards",
    ),
    "byproducts": ControlKey("list", [], "ours: in the same way, outputs that keep = images alone removes"),
    "optional": ControlKey(
        "bool",
        False,
        "ours: where the step fails, the run warns and goes on without it; steps that use its outputs are optional too",
    ),
    "program": ControlKey("str", "", "ours: name of a known program, such as dp3: check and complete its arguments"),
    "imager": ControlKey("str", "", "ours: of a step that runs an imager: auto, own or wsclean; auto prefers WSClean"),
    "cores": ControlKey("int", 0, "ours: cores for each job; 0: an equal share of the machine"),
    "memory_gb": ControlKey("number", 0.0, "ours: memory for each job, 10^9 bytes; 0: an equal share of the machine"),
    "queue_cores": ControlKey("int", 0, "ours: cores where jobs go to Slurm, at most those of a node; cores wins"),
    "queue_memory_gb": ControlKey(
        "number", 0.0, "ours: memory where jobs go to Slurm, 10^9 bytes, at most that of a node; memory_gb wins"
    ),
    "retries": ControlKey("int", 0, "ours: retries of a failed job; a job lost with its node is always retried"),
    "one_try": ControlKey(
        "bool", False, "ours: a job that failed is not run again, not after a crash either; the next run tries it"
    ),
    "repeatable": ControlKey("bool", False, "ours: an input that is changed in place may be changed twice"),
    "gpus": ControlKey("int", 0, "ours: graphics processors for each job; 0: one for WSClean with idg-mode hybrid"),
    "walltime": ControlKey("str", "", "ours: time limit of each job in a queue, such as 12:00:00 or 2-00:00:00"),
    "partition": ControlKey("str", "", "ours: partition for the jobs; default: as in pipeline.cfg"),
    "account": ControlKey("str", "", "ours: account that the jobs are charged to; default: as in pipeline.cfg"),
    "batch_options": ControlKey("list", [], "ours: further options of sbatch for the jobs"),
    "on_data_host": ControlKey("bool", False, "ours: run each job on the host that the mapfile gives its product"),
    "as_given": ControlKey(
        "bool", False, "ours: of a known program: take its arguments as they are, write its outputs where they go"
    ),
    "list_products": ControlKey(
        "bool", False, "ours: of a known program: also give the output products.mapfile, lists of each job's files"
    ),
    "header_mapfile": ControlKey(
        "str",
        "",
        "ours: of a known program: its images get command, versions, host and observation into their FITS headers, and "
        "the entry of this mapfile for each: a list of KEYWORD=value, odd letters as %2C",
    ),
    "stage_dir": ControlKey(
        "str", "", "ours: of a known program: where its outputs are written until they are complete; none: beside them"
    ),
    "rename": ControlKey(
        "list", [], "ours: of a known program: other names of its outputs: pattern=>name; nothing behind it drops one"
    ),
    "record": ControlKey(
        "bool", False, "ours: of a known program: write command, versions and log of each job into <output>.<step>.log"
    ),
    "container": ControlKey(
        "str", "", "ours: container in which the program runs: file, folder, or a reference such as docker://a/b; none"
    ),
    "mpi": ControlKey("bool", False, "ours: of a known program: mpirun and the version of the program for it"),
    "warn_of_disk": ControlKey("bool", False, "ours: warn where the disk is estimated to be too small, and go on"),
    "disk_gb": ControlKey("number", 0.0, "ours: disk for the outputs of each job, 10^9 bytes; 0: estimated"),
}
FEEDBACK_KEYS: dict[str, ControlKey] = {
    "mapfile_in": ControlKey("str", "", "map of the products that are described"),
    "metadata_file": ControlKey("str", "", "the file that is written"),
    "product_type": ControlKey("str", "SkyImage", "SkyImage, Correlated or InstrumentModel"),
    "parset_prefix": ControlKey("str", "", "prefix of every key; none for no prefix"),
    "max_per_node": ControlKey("int", 0, "products read at the same time; 0: as in pipeline.cfg"),
    "error_tolerance": ControlKey("bool", False, "go on while at least one product can be read"),
    "sip_file": ControlKey("str", "none", "XML description for the archive's ingest; none for no such file"),
    "sip_schema_version": ControlKey("str", "2.7.2", "version of its schema: 2.7.2 or 2.6.1"),
    "sip_project_code": ControlKey("str", "", "code of the project"),
    "sip_primary_investigator": ControlKey("str", "", "its primary investigator"),
    "sip_co_investigators": ControlKey("list", [], "its co-investigators"),
    "sip_contact_author": ControlKey("str", "", "its contact author"),
    "sip_project_description": ControlKey("str", "", "its description"),
    "sip_identifier_source": ControlKey("str", "", "system that gave the identifiers"),
    "sip_product_identifiers": ControlKey("list", [], "identifier of each product"),
    "sip_process_identifier": ControlKey("str", "", "identifier of the pipeline run"),
    "sip_observation_id": ControlKey("str", "", "identifier of the observation"),
    "sip_source_identifiers": ControlKey("list", [], "identifiers of the input sets"),
    "sip_strategy_name": ControlKey("str", "", "name of the processing strategy"),
    "sip_strategy_description": ControlKey("str", "", "its description"),
    "sip_storage_ticket": ControlKey("str", "none", "storage ticket; none for none"),
    "sip_plan_file": ControlKey("str", "", "plan.json with the averaging steps"),
    "sip_cleaned_image": ControlKey(
        "str", "", "image of WSClean whose header has the number of major cycles, or the mapfile of all its images"
    ),
}


def control_keys(names: Iterable[str], program: str) -> Mapping[str, ControlKey]:
    """Return the control keys of a recipe step, including the abort limits of its program.

    Limits of other programs are accepted without effect. ``names`` are the keys set in the step.
    """
    known_program = KNOWN_PROGRAMS.get(program)
    keys = {**CONTROL_KEYS, **_limits([known_program] if known_program else [])}
    return keys if set(names) <= set(keys) else {**keys, **_limits(KNOWN_PROGRAMS.values())}


def _limits(programs: Iterable[Program]) -> dict[str, ControlKey]:
    return {
        key: ControlKey("number", limit.default, f"ours: {limit.meaning}", limit.highest)
        for program in programs
        for key, limit in program.limits.items()
    }


_BOOLEANS = {"True": True, "False": False, "None": False, "": False}


def read_value(text: str, kind: str) -> Value:
    """Return the value of a control key of type ``kind`` from its text.

    Raises
    ------
    ValueError
        If the text is invalid; the message names valid values.
    """
    if kind == "bool":
        if text not in _BOOLEANS:
            raise ValueError("True or False is needed")
        return _BOOLEANS[text]
    if kind == "int":
        return _number(text, int, "an integer is needed")
    if kind == "number":
        number = _number(text or "0", float, "a number is needed")
        if not math.isfinite(number):
            raise ValueError("a number is needed")
        return number
    if kind == "list":
        return list_items(text)
    if kind == "environment":
        return read_environment(text)
    return text


#: Value of pipeline.keep -> control key of the outputs it removes, in addition to the preceding values'.
REMOVAL_KEYS = {PRODUCTS: "intermediate", IMAGES: "byproducts"}
#: Defaults of the original runner, used in lenient runs.
LENIENT_DEFAULTS: dict[str, Value] = {"nthreads": 8}


def expected_range(key: str, control_key: ControlKey, value: Value) -> str:
    """Return the expected range for an invalid value of the right type; "" for a valid one."""
    if key == "walltime":
        return walltime_problem(str(value))
    if key in REMOVAL_KEYS.values() and isinstance(value, list):
        return pattern_problem(value)
    if isinstance(value, int | float) and not 0 <= value <= control_key.highest:
        is_bounded = control_key.highest < math.inf
        return f"a number from 0 to {control_key.highest:g} is needed" if is_bounded else "it cannot be negative"
    return ""


def _number(text: str, kind: type[int] | type[float], expected: str) -> int | float:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(expected) from None


def list_items(text: str) -> list[str]:
    """Parse a control list: strip brackets and spaces at both ends, split at commas, drop empty items."""
    return [item.strip() for item in text.strip("[] ").split(",") if item.strip()]


def read_environment(text: str) -> dict[str, str]:
    """Parse variables ``{A: b, C: d}``; spaces are removed, values may contain colons.

    Raises
    ------
    ValueError
        If an item has no colon.
    """
    items = [item for item in text.replace(" ", "").strip("{}").split(",") if item]
    if not all(":" in item for item in items):
        raise ValueError("{NAME: value, OTHER: value} is needed")
    return {name: value for name, _, value in (item.partition(":") for item in items)}


def cut_at_colons(variables: Mapping[str, str]) -> dict[str, str]:
    """Cut values at their first colon, as the original runner does."""
    return {name: value.partition(":")[0] for name, value in variables.items()}


def defaults(keys: Mapping[str, ControlKey]) -> dict[str, Value]:
    """Return a deep copy of the defaults, as steps must not share values."""
    return {
        name: key.default.copy() if isinstance(key.default, (list, dict)) else key.default for name, key in keys.items()
    }


@dataclass(frozen=True)
class Control:
    """The control keys of one step, resolved and typed; priority: parset, derived, task, default."""

    values: Mapping[str, Value]
    checking_program: str = ""  # the known program that checks and completes the arguments; "" for none

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
        """Requested memory of each job, 10^9 bytes; 0: an equal share."""
        return self._real("memory_gb")

    @property
    def queue_memory_gb(self) -> float:
        """Default memory of each queued job, 10^9 bytes; 0: an equal share."""
        return self._real("queue_memory_gb")

    @property
    def disk_gb(self) -> float:
        """Disk space of each job's outputs, 10^9 bytes; 0 if not set."""
        return self._real("disk_gb")

    def _real(self, key: str) -> float:
        value = self.values[key]
        return float(value) if isinstance(value, (int, float)) else 0.0

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables set by the step for its jobs."""
        value = self.values["environment"]
        return dict(value) if isinstance(value, dict) else {}

    @property
    def batch(self) -> dict[str, str]:
        """Requests of the jobs to a queue, as in ``Job.batch``."""
        requests = {key: self.text(key) for key in ("walltime", "partition", "account")}
        requests["options"] = shlex.join(self.items("batch_options"))
        return {key: text for key, text in requests.items() if text}


def resolved_control(step: Step, results: Results, lenient: bool = False) -> tuple[Control, dict[str, str]]:
    """Return the control keys and the keyword arguments (without flags) of a step, references resolved.

    Raises
    ------
    PipelineError
        If a reference cannot be resolved, or a control key is unknown or has a value of the wrong type.
    """
    keys = _known_keys(step)
    arguments = {key: resolve(text, results, step.where(f"argument.{key}")) for key, text in step.arguments.items()}
    texts = {key: resolve(text, results, step.where(f"control.{key}")) for key, text in step.control.items()}
    derived = _derived(step, arguments, results)
    values: dict[str, Value] = {}
    for key, control_key in keys.items():
        default = LENIENT_DEFAULTS.get(key, control_key.default) if lenient else control_key.default
        text = texts.get(key, None if key in derived else step.task.get(key))
        values[key] = derived.get(key, default) if text is None else _value(step, key, text, control_key.kind)
    arguments.pop("flags", None)
    control = Control(values, str(values["program"]) if step.checking_program(lenient) else "")
    if lenient:
        values["environment"] = cut_at_colons(control.environment)
    return control, _from_parset(step, texts, arguments)


def _known_keys(step: Step) -> Mapping[str, ControlKey]:
    texts = step.given
    keys = control_keys(texts, texts.get("program", ""))
    for key in texts:
        if key not in keys:
            problem = f"no such control key for {with_article(step.type)} step{nearest(key, keys)}"
            raise PipelineError(f"{step.where(f'control.{key}')}: {problem}")
    return keys


def _from_parset(step: Step, texts: Mapping[str, str], arguments: dict[str, str]) -> dict[str, str]:
    """Return the keyword arguments, from the file in ``control.parset`` if set, else from the argument block.

    A file readable when the step was built is already merged into the arguments, and the key removed.
    """
    name = texts.get("parset") or ("" if step.arguments else step.task.get("parset", ""))
    if not name:
        return arguments
    if not is_file(name):
        raise PipelineError(
            f"{step.where('control.parset')} is '{name}', which is no file; an existing parset is needed"
        )
    parset = Parset.read(Path(name))
    return {key: parset[key] for key in parset}


def _value(step: Step, key: str, text: str, kind: str) -> Value:
    try:
        return read_value(text, kind)
    except ValueError as err:
        raise PipelineError(f"{step.where(f'control.{key}')} is '{text}'; {err}") from None


def _derived(step: Step, arguments: Mapping[str, str], results: Results) -> dict[str, Value]:
    """Return the control keys derived from the argument block: every mapfile in it is an input."""
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
    """Return the input mapfiles and the placeholders for their files, in order.

    Raises
    ------
    PipelineError
        If there is no input map, or the numbers differ.
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

    Source: doc/spec/lofarpipe.md, section 7.1.
    """
    keywords: dict[str, object] = {
        key: resolve(step.control[key], results, step.where(f"control.{key}")) for key in sorted(step.control)
    }
    if "environment" in keywords:
        variables = _value(step, "environment", str(keywords["environment"]), "environment")
        keywords["environment"] = cut_at_colons(variables) if lenient and isinstance(variables, dict) else variables
    return [resolve(text, results, step.where("control.cmdline")) for text in step.positionals], keywords


def loop_count(step: Step) -> int:
    """Return the maximum number of iterations of a loop.

    Raises
    ------
    PipelineError
        If ``control.loopcount`` is missing or not a number.
    """
    if "loopcount" not in step.control:
        raise PipelineError(f"{step.where('control.loopcount')}: a loop needs the number of its iterations")
    count = _value(step, "loopcount", step.control["loopcount"], "int")
    return count if isinstance(count, int) else 0


def is_true(value: object) -> bool:
    """Whether the output ``break`` of a step is true, perhaps as text."""
    return bool(value) and str(value) not in ("False", "None", "0")
