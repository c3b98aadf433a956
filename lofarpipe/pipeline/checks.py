"""Checks of the steps before the first job; all findings are returned together."""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from pathlib import Path

from lofarpipe.config import Settings, share_directory
from lofarpipe.errors import Finding, PipelineError, Suggestions, list_names, misspelt, with_article
from lofarpipe.executors.factory import method_of
from lofarpipe.jobs import Resources
from lofarpipe.pipeline.control import (
    FEEDBACK_KEYS,
    REMOVAL_KEYS,
    ControlKey,
    control_keys,
    expected_range,
    list_items,
    loop_count,
    read_value,
)
from lofarpipe.pipeline.hints import step_hint
from lofarpipe.pipeline.options import is_sip_requested, sip_problems
from lofarpipe.pipeline.plugins import (
    STEP_PREFIX,
    call,
    check_call,
    check_script_call,
    declared_outputs,
    describe,
    find_plugin,
    load,
    missing_packages,
)
from lofarpipe.pipeline.steps import (
    BLOCK_PARTS,
    BROKEN,
    EDGE,
    KINDS,
    Results,
    Step,
    drop_marked_references,
    references,
    resolve,
)
from lofarpipe.programs.argv import FORMATS
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.container import step_executable
from lofarpipe.programs.find import NODESCRIPTS, PYTHON_PLUGIN
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Parset

PRODUCT_TYPES = ("SkyImage", "Correlated", "InstrumentModel")
#: Outputs of every recipe step, whatever its program.
RECIPE_OUTPUTS = (
    "mapfile",
    "returncode.mapfile",
    "job_duration.mapfile",
    "monitor_stats.mapfile",
    "ok.mapfile",
    "break",
)


@dataclass(frozen=True)
class Outputs:
    """Outputs of a step known before it runs."""

    names: frozenset[str]
    complete: bool  # False: other outputs are possible


def check_blocks(parset: Parset, blocks: Iterable[str], reserved: Iterable[str]) -> list[Finding]:
    """Return findings for keys of no step, or of no part of a step's block."""
    blocks, findings, suggested = set(blocks), [], Suggestions()
    complete = {key.partition(".")[0] for key in parset if _defines_step(key)}
    for key in parset:
        entry = parset.entry(key)
        where = entry.where
        block, _, rest = key.partition(".")
        part = rest.partition(".")[0]
        if key.startswith("!") or block in reserved:
            continue
        if block not in blocks and block not in complete:
            hint = _as_definition(parset, key) or suggested.hint(functools.partial(step_hint, block, parset, blocks))
            findings.append(Finding(where, f"{key}: there is no step '{block}'{hint}"))
        elif part not in BLOCK_PARTS:
            as_argument = f"; an argument of its program is {block}.argument.{rest}"
            hint = suggested.nearest(part, BLOCK_PARTS) or as_argument
            findings.append(Finding(where, f"{key}: a step has no part '{part}'{hint}"))
    return findings


def _as_definition(parset: Parset, key: str) -> str:
    """Return the syntax to set an option, if the key is the name of one."""
    return f"; to set this option, write ! {key} = {parset.entry(key).value}" if key in parset.definitions() else ""


def check_placeholders(parset: Parset, blocks: Iterable[str], bad_values: Sequence[str] = ()) -> list[Finding]:
    """Return a finding for every unresolved ``{{ x }}`` in the steps that run.

    ``bad_values`` are invalid option values: names built from one, as ``{{ a_{{ b }} }}``, are not reported again.
    """
    findings = []
    active_blocks = set(blocks) | {"pipeline"}
    definitions, suggested = parset.definitions(), Suggestions()
    for key in parset:
        for name in parset.placeholders(key) if key.partition(".")[0] in active_blocks else []:
            if any(value in name for value in bad_values):
                continue
            entry = parset.entry(key)
            hint = "; define it above where it is used" if name in definitions else suggested.nearest(name, definitions)
            findings.append(Finding(entry.where, f"{key}: '{{{{ {name} }}}}' is not defined{hint}"))
    return findings


def check_steps(
    steps: Sequence[Step],
    settings: Settings,
    machine: Resources,
    plugin_path: Sequence[Path],
    known_results: Results,
    suspect_keys: Container[str] = (),
) -> list[Finding]:
    """Return all findings on the steps: keys, values, programs, plugins, references.

    ``known_results`` are the possible references before any step has run.
    ``suspect_keys`` are keys of the parset with values already reported as wrong; they are not checked again.
    """
    checker = StepChecker(settings, machine, plugin_path, known_results, suspect_keys)
    for step in steps:
        checker.check(step)
    return [finding for finding in checker.findings if EDGE not in finding.what]


class StepChecker:
    """Checks the steps in order, with the outputs of earlier ones."""

    def __init__(
        self,
        settings: Settings,
        machine: Resources,
        plugin_path: Sequence[Path],
        known_results: Results,
        suspect_keys: Container[str] = (),
    ) -> None:
        self.findings: list[Finding] = []
        self._suggested = Suggestions()
        self._suspect_keys = suspect_keys
        self._settings = settings
        self._machine = machine
        self._plugin_path = plugin_path
        self._known_results = known_results
        self._outputs = {name: Outputs(frozenset(values), True) for name, values in known_results.items()}
        self._optional: set[str] = set()
        self._earlier: list[str] = []  # values of earlier steps, with names of the files that they write

    def check(self, step: Step) -> None:
        """Add the findings on a step, and record its outputs."""
        if step.kind == BROKEN:
            self._outputs[step.name] = Outputs(frozenset(), False)
            return
        self._check_references(step)
        if step.is_optional:
            self._optional.add(step.name)
        if step.kind not in KINDS:
            self._add_finding(
                step, "control.kind", f"is '{step.kind}'; one of {', '.join(KINDS)} is needed", step.kind, KINDS
            )
            self._outputs[step.name] = Outputs(frozenset(), False)
            return
        try:
            self._outputs[step.name] = getattr(self, f"_check_{step.kind}")(step)
        except PipelineError as err:
            self._fail(step, str(err))
        except Exception as err:
            if not self._settings.lenient:
                raise
            self._fail(step, f"cannot be checked: {describe(err)}")
        self._earlier += [*step.control.values(), *step.arguments.values()]

    def _fail(self, step: Step, problem: str) -> None:
        """Mark a step as unchecked, with unknown outputs."""
        self.findings.append(Finding(f"step '{step.name}'", problem))
        self._outputs[step.name] = Outputs(frozenset(), False)

    def _add_finding(self, step: Step, key: str, problem: str, name: str = "", candidates: Iterable[str] = ()) -> None:
        hint = self._suggested.nearest(name, candidates) if name else ""
        self.findings.append(Finding(step.where(key), problem + hint))

    # ---- references

    def _check_references(self, step: Step) -> None:
        values = {f"control.{key}": text for key, text in step.control.items()}
        values |= {f"argument.{key}": text for key, text in step.arguments.items()}
        for key, text in values.items():
            for name, output in references(drop_marked_references(text)):
                self._check_reference(step, key, name, output)

    def _check_reference(self, step: Step, key: str, name: str, output: str) -> None:
        if name not in self._outputs:
            step_names = list_names(self._outputs)
            self._add_finding(
                step,
                key,
                f"'{name}.output.{output}': no step '{name}' runs before (known: {step_names})",
                name,
                self._outputs,
            )
            return
        if name in self._optional and not step.is_optional:
            remedy = f"set {step.name}.control.optional = True as well, or {name}.control.optional = False"
            self._add_finding(
                step, key, f"'{name}.output.{output}': step '{name}' is optional and may give nothing; {remedy}"
            )
        outputs = self._outputs[name]
        if output in outputs.names or (not outputs.complete and output.endswith(".mapfile")):
            return
        if outputs.complete or outputs.names:
            hint = self._suggested.nearest(output, outputs.names)
            problem = f"step '{name}' has no output '{output}'{hint}; it gives: {list_names(sorted(outputs.names))}"
            self._add_finding(step, key, problem)

    # ---- recipes

    def _check_recipe(self, step: Step) -> Outputs:
        recipe = self._settings.tasks.recipe(step.type)  # already interpolated while building the step
        if recipe != "executable_args":
            self._add_finding(
                step, "control.type", f"task type '{step.type}' needs the recipe '{recipe}', which does not exist here"
            )
        texts = step.given
        self._check_control(step, control_keys(texts, texts.get("program", "")))
        nodescript = texts.get("nodescript", "executable_args")
        if nodescript not in NODESCRIPTS:
            self._add_finding(
                step, "control.nodescript", f"is '{nodescript}'; one of {', '.join(NODESCRIPTS)} is needed"
            )
        if texts.get("args_format", "gnu") not in FORMATS:
            args_format = texts["args_format"]
            self._add_finding(
                step,
                "control.args_format",
                f"is '{args_format}'; one of {', '.join(FORMATS)} is needed",
                args_format,
                FORMATS,
            )
        executable = self._check_executable(step)
        if executable is not None:
            self._check_call(step, executable, nodescript, texts.get("program", ""))
        return self._recipe_outputs(step, executable, nodescript)

    def _check_control(self, step: Step, keys: Mapping[str, ControlKey]) -> None:
        for key, text in step.given.items():
            if key not in keys:
                problem = f"no such control key for {with_article(step.type or step.kind)} step"
                self._add_finding(step, f"control.{key}", problem, key, keys)
            elif not references(text) or key in REMOVAL_KEYS.values():
                self._check_value(step, key, text, keys[key])

    def _check_value(self, step: Step, key: str, text: str, control_key: ControlKey) -> None:
        try:
            value = read_value(text, control_key.kind)
            needed = expected_range(key, control_key, value) or self._beyond_machine(step, key, value)
        except ValueError as err:
            needed = str(err)
        if needed:
            self._add_finding(step, f"control.{key}", f"is '{text}'; {needed}")

    def _beyond_machine(self, step: Step, key: str, value: object) -> str:
        """Return the available amount of a resource if a job requests more; else ""."""
        if step.given.get("partition") and method_of(self._settings) != "local":
            return ""  # its nodes may be larger than the known ones
        capacity = {"memory_gb": self._machine.memory_gb, "gpus": self._machine.gpus}
        if key in capacity and isinstance(value, int | float) and value > capacity[key]:
            return f"jobs have {capacity[key]:.3g} at most; ask for less, or run on a larger one"
        return ""

    def _check_executable(self, step: Step) -> Path | None:
        texts = step.given
        if any(references(texts.get(key, "")) for key in ("executable", "container")):
            return None
        try:
            return step_executable(texts, self._settings)
        except PipelineError as err:
            self._add_finding(step, "control.executable", str(err))
            return None

    def _is_suspect(self, step: Step, key: str) -> bool:
        """Whether the value of a key was already reported, so that its consequences are not."""
        return f"{step.block}.{key}" in self._suspect_keys

    def _check_call(self, step: Step, executable: Path, nodescript: str, program: str) -> None:
        keywords = {key: text for key, text in step.arguments.items() if key != "flags"}
        flags = list_items(step.arguments.get("flags", ""))
        known_program = KNOWN_PROGRAMS.get(program)
        if program and known_program is None:
            self._add_finding(step, "control.program", f"'{program}' is not known", program, KNOWN_PROGRAMS)
        elif known_program is not None and (
            program == step.checking_program(self._settings.lenient) or not known_program.is_run
        ):
            tokens = {*list_items(step.control.get("inputkeys", "")), step.control.get("inputkey") or "inputkey"}
            literal = {
                key: text
                for key, text in keywords.items()
                if text not in tokens and not references(text) and not self._is_suspect(step, f"argument.{key}")
            }
            for message in known_program.check(executable, literal, flags, self._machine):
                self.findings.append(Finding(_place_of(step, message), message))
            for name, message in known_program.missing_files(literal, flags, self._settings.job_workdir):
                if name not in tokens and not references(name) and not any(name in text for text in self._earlier):
                    self.findings.append(Finding(f"step '{step.name}'", message))
            words = set() if self._is_suspect(step, "argument.flags") else self._unmatched_placeholders(step, keywords)
            for word in sorted(words):
                if not known_program.accepts(executable, word):
                    problem = f"the input key '{word}' stands in no argument and no flag, and is no option of {program}"
                    remedy = (
                        "; where an argument was set by hand, take its key and map out of inputkeys and mapfiles_in"
                    )
                    self.findings.append(Finding(f"step '{step.name}'", problem + remedy))
        if nodescript == PYTHON_PLUGIN:
            self._check_script(
                step, executable, len(flags), set(keywords) | self._unmatched_placeholders(step, keywords)
            )

    def _check_script(self, step: Step, script: Path, positionals: int, keywords: set[str]) -> None:
        problems = [f"{script.name}: {message}" for message in check_script_call(script, positionals, keywords)]
        for package, remedy in missing_packages(script).items():
            problems.append(f"{script.name} needs the Python package {package}, which is not installed; {remedy}")
        self.findings += [Finding(f"step '{step.name}'", message) for message in problems]

    def _unmatched_placeholders(self, step: Step, keywords: Mapping[str, str]) -> set[str]:
        """Return the file placeholders that match nothing, and so become arguments themselves."""
        flags = list_items(step.arguments.get("flags", ""))
        words = [step.control.get("inputkey", ""), *list_items(step.control.get("inputkeys", ""))]
        added = {w for w in words if w and w not in flags and w not in keywords.values() and not references(w)}
        return added if keywords else set()

    def _recipe_outputs(self, step: Step, executable: Path | None, nodescript: str) -> Outputs:
        suffixes = list_items(step.given.get("outputsuffixes", ""))
        names = {*RECIPE_OUTPUTS, *(f"{step.name}{suffix}.mapfile" for suffix in suffixes)}
        if step.given.get("list_products") == "True":
            names.add("products.mapfile")
            if not step.given.get("program"):
                problem = (
                    "of an unknown program it is not known what it writes; set control.program, or remove this key"
                )
                self._add_finding(step, "control.list_products", problem)
        if nodescript != PYTHON_PLUGIN:
            return Outputs(frozenset(names), True)
        declared = declared_outputs(executable) if executable else None
        return Outputs(frozenset(names | {f"{key}.mapfile" for key in declared or ()}), declared is not None)

    # ---- plugins and feedback

    def _check_plugin(self, step: Step) -> Outputs:
        try:
            path = find_plugin(STEP_PREFIX, step.type, self._plugin_path)
            module = load(path, "plugin_main")
        except PipelineError as err:
            self._add_finding(step, "control.type", str(err))
            return Outputs(frozenset(), False)
        keywords = set(step.control) | ({"parset"} if step.arguments else set())
        for message in check_call(module.plugin_main, keywords, skip=1):
            self.findings.append(Finding(f"step '{step.name}'", f"plugin {step.type}: {message}"))
        literal = self._known_values(step)
        if hasattr(module, "plugin_check"):
            for message in call(path, "plugin_check", list(step.positionals), **literal):
                self.findings.append(Finding(f"step '{step.name}'", message))
        if hasattr(module, "plugin_outputs"):
            return Outputs(frozenset(call(path, "plugin_outputs", **step.control)), True)
        declared = declared_outputs(path)
        return Outputs(frozenset(declared or ()), declared is not None)

    def _known_values(self, step: Step) -> dict[str, str]:
        """Return the control values known before the run and not already reported as wrong."""
        results = self._known_results
        return {
            key: resolve(text, results, step.where(f"control.{key}"))
            for key, text in step.control.items()
            if all(name in results and output in results[name] for name, output in references(text))
            and not self._is_suspect(step, f"control.{key}")
        }

    # ---- loops and sub-pipelines

    def _check_loop(self, step: Step) -> Outputs:
        """Check a loop: its body may refer to the counter, and to later body steps of the previous iteration."""
        try:
            loop_count(step)
        except PipelineError as err:
            where, _, problem = str(err).partition(": ")
            self.findings.append(Finding(where, problem))
        outputs = Outputs(frozenset({"counter", "break"}), True)
        self._outputs[step.name] = outputs
        for inner in step.body:
            self.check(inner)
        return outputs

    def _check_pipeline(self, step: Step) -> Outputs:
        name = Path(step.type).stem
        self._outputs[name] = Outputs(frozenset({"parset", "mapfile"}), True)
        self._outputs[step.name] = Outputs(frozenset(), False)
        for inner in step.body:
            self.check(inner)
        return Outputs(frozenset(), False)

    def _check_feedback(self, step: Step) -> Outputs:
        self._check_control(step, FEEDBACK_KEYS)
        for key in ("mapfile_in", "metadata_file"):
            if not step.control.get(key):
                self._add_finding(step, f"control.{key}", f"is missing; {FEEDBACK_KEYS[key].meaning} is needed")
        product_type = step.control.get("product_type", "SkyImage")
        if product_type not in PRODUCT_TYPES:
            problem = f"is '{product_type}'; one of {', '.join(PRODUCT_TYPES)} is needed"
            self._add_finding(step, "control.product_type", problem, product_type, PRODUCT_TYPES)
        for message in sip_problems(step.control):
            key, _, problem = message.partition(": ")
            self._add_finding(step, f"control.{key}", problem)
        output_names = {"mapfile", "metadata_file"} | ({"sip_file"} if is_sip_requested(step.control) else set())
        return Outputs(frozenset(output_names), True)


def _place_of(step: Step, message: str) -> str:
    """Return the source line of the option at the start of a message, such as ``-niter is ...``; else the step."""
    option = re.match(r"-(-?[A-Za-z][\w-]*)", message)
    entry = step.entries.get(f"argument.{option[1]}") if option else None
    of_step = f"step '{step.name}'"
    if entry is None or not entry.line or Path(entry.file).is_relative_to(share_directory()):
        return of_step
    return f"{entry.file}:{entry.line}: {of_step}"


def check_unlisted(
    parset: Parset, blocks: Collection[str], defined_blocks: Collection[str], reserved: Container[str]
) -> tuple[list[Finding], list[Finding]]:
    """Return findings and a warning on steps defined but not listed, which do not run.

    A certain misspelling is a finding. Other steps may be disabled on purpose, as in parsets in the field;
    they are named in one line.

    Parameters
    ----------
    blocks: the listed steps.
    defined_blocks: the listed steps with a definition; the others are already reported.
    """
    described = {key.partition(".")[0]: parset.entry(key) for key in parset if _defines_step(key)}
    unlisted = [(name, entry) for name, entry in described.items() if name not in blocks and name not in reserved]
    suggestions = misspelt([name for name, _ in unlisted], sorted(blocks))
    findings = [
        Finding(entry.where, f"{name}: no list of steps names it; did you mean '{suggestions[name]}'?")
        for name, entry in unlisted
        if suggestions.get(name) in defined_blocks
    ]
    suggested = Suggestions()
    steps = parset.entry("pipeline.steps")
    off = []
    for name, entry in unlisted:
        if name not in suggestions:
            place = f"line {entry.line}" if entry.line and entry.file == steps.file else entry.where
            off.append(f"{name} ({place}{suggested.nearest(name, blocks)})")
    summary = f"these steps are described, and do not run, because no list of steps names them: {list_names(off)}"
    return findings, [Finding(steps.where, summary)] if off else []


def _defines_step(key: str) -> bool:
    """Whether a key defines its step."""
    return not key.startswith("!") and key.partition(".")[2] in ("control.type", "control.kind")
