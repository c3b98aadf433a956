"""The checks of a whole pipeline, which it names in ``pipeline.check``: plugins ``PipelineCheck_<name>.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lofarpipe.config import Settings
from lofarpipe.errors import WARNING, Finding, PipelineError
from lofarpipe.jobs import Resources
from lofarpipe.pipeline.plugins import CHECK_PREFIX, call, find_plugin
from lofarpipe.pipeline.references import references, resolve
from lofarpipe.support.parset import split_list


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
    known = {"input": settings.inputs, **settings.sections}
    resolved = {name: _resolved(text, known) for name, text in options.items()}
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
    """Return the directories of the run below one that is not there, as was told with the settings."""
    below = {
        "working_directory": (settings.working_directory, settings.job_workdir),
        "job_directory": (settings.runtime_directory, settings.job_directory),
    }
    return [name for name, (above, path) in below.items() if above in path.parents and not above.is_dir()]


def _resolved(text: str, known: Mapping[str, Mapping[str, str]]) -> str:
    if all(name in known and key in known[name] for name, key in references(text)):
        return resolve(text, known, "option")
    return text


def _finding(message: str, name: str) -> Finding:
    """Return a line of a check as a finding; one that is marked so is a warning."""
    is_warning, text = message.startswith(WARNING), message.removeprefix(WARNING)
    where, colon, what = text.partition(": ")
    return Finding(where, what, is_warning) if colon else Finding(name, text, is_warning)
