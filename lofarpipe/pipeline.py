"""A field parset -> a pipeline: its steps, its options, and everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.checks import check_blocks, check_placeholders, check_steps, pipeline_checks
from lofarpipe.composition import compose
from lofarpipe.config import Settings
from lofarpipe.errors import Finding, PipelineError, nearest
from lofarpipe.executors.jobs import Resources
from lofarpipe.installation import find_file, share_directory
from lofarpipe.options import Option, check_options, read_options
from lofarpipe.steps import Step, build_step, numbered, step_list, sublist_keys
from lofarpipe.support.parset import Parset

#: First parts of keys that are not steps: the pipeline's own, and what observatories put into the same file.
RESERVED = ("pipeline", "ObsSW", "prefix", "feedback_version")


@dataclass(frozen=True)
class Pipeline:
    """One pipeline as it will run."""

    path: Path
    parset: Parset  # every {{ }} replaced
    options: tuple[Option, ...]
    steps: tuple[Step, ...]
    plugin_path: tuple[Path, ...]
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]  # on the text: options, names, blocks


def find_parset(typed: str) -> Path:
    """Return the parset: as typed, else the shipped one of that name."""
    return find_file(typed, [share_directory()], "parset")


def load_pipeline(path: Path, settings: Settings, assignments: Sequence[str] = ()) -> Pipeline:
    """Return the pipeline in ``path`` with ``assignments`` (``key=value``) on top.

    Raises
    ------
    PipelineError
        If a file cannot be read or parsed, or there are no steps at all. What can be found beside that is in
        ``findings``.
    """
    composition = compose(path, assignments, share_directory(), settings.search_path("steps"))
    raw, parset = composition.parset, composition.parset.substituted()
    options = read_options(parset.definitions(), composition.documented)
    findings = composition.findings + check_options(options)
    names = numbered(step_list(parset))
    blocks = [block for _, block in names]
    findings += check_blocks(parset, {*blocks, *_sublisted(parset)}, RESERVED)
    findings += check_placeholders(parset, blocks)
    steps, broken = _steps(names, parset, settings)
    return Pipeline(
        path=path,
        parset=parset,
        options=tuple(options),
        steps=tuple(steps),
        plugin_path=_plugin_path(raw, parset, settings, composition.files),
        checks=tuple(parset.vector("pipeline.check")) if "pipeline.check" in parset else (),
        findings=tuple(findings + broken),
    )


def _sublisted(parset: Parset) -> set[str]:
    """Return the steps in any sub-list, also those that are not used: their blocks are no mistake."""
    return {name for key in sublist_keys(parset) for name in parset.vector(key)}


def _steps(names: Sequence[tuple[str, str]], parset: Parset, settings: Settings) -> tuple[list[Step], list[Finding]]:
    blocks = {key.partition(".")[0] for key in parset if not key.startswith("!")}
    steps, findings = [], []
    for name, block in names:
        if block not in blocks:
            entry = parset.entry("pipeline.steps")
            what = f"pipeline.steps: there is no step '{block}'{nearest(block, blocks)}"
            findings.append(Finding(f"{entry.file}:{entry.line}", what))
            continue
        try:
            steps.append(build_step(name, block, parset, settings.tasks))
        except PipelineError as err:
            where, _, what = str(err).partition(": ")
            findings.append(Finding(where, what))
    return steps, findings


def _plugin_path(raw: Parset, parset: Parset, settings: Settings, files: Sequence[Path]) -> tuple[Path, ...]:
    """Return where plugins are looked up: the site's, the shipped ones, then the pipeline's own."""
    directories = settings.search_path("plugins")
    if "pipeline.pluginpath" in raw:
        directories.append(Path(parset.string("pipeline.pluginpath")).absolute())
    return (*directories, *(file.parent / "plugins" for file in files))


def check_pipeline(pipeline: Pipeline, settings: Settings, machine: Resources) -> list[Finding]:
    """Return everything that is wrong, as far as it can be known before the first job."""
    findings = list(pipeline.findings)
    findings += check_steps(pipeline.steps, settings, machine, pipeline.plugin_path)
    options = {option.name: option.value for option in pipeline.options}
    bad = {finding.what.partition(" ")[0] for finding in check_options(pipeline.options)}
    sound = {name: value for name, value in options.items() if name not in bad}
    findings += pipeline_checks(pipeline.checks, sound, settings, machine, pipeline.plugin_path)
    return list(dict.fromkeys(findings))
