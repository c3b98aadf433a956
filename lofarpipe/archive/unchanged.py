"""Whether inputs and programs are still what they were when a run was recorded."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lofarpipe.archive.checksums import describe_files
from lofarpipe.archive.software import NAMES, program_checksum, runner_facts, version_of
from lofarpipe.errors import PipelineError
from lofarpipe.programs.find import find

Facts = dict[str, Any]

SHOWN = 5


def check_inputs(inputs: Sequence[Facts]) -> None:
    """Compare the inputs with their record; where size and time have not changed, nothing is read.

    Raises
    ------
    PipelineError
        If some are gone or have changed; it names the first ones.
    """
    known = {entry["path"]: entry for entry in inputs}
    methods = {path: entry["checksum"]["method"] for path, entry in known.items()}
    now = {entry["path"]: entry for entry in describe_files(known, 0, known, methods)}
    changes = {path: _change(entry, now.get(path)) for path, entry in known.items()}
    if wrong := [f"{path} {change}" for path, change in changes.items() if change]:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise PipelineError(
            f"{len(wrong)} of {len(inputs)} inputs are not what they were: {'; '.join(wrong[:SHOWN])}{more}; "
            "put them back, or repeat with --anyway"
        )


def _change(before: Facts, now: Facts | None) -> str:
    """Return what became of an input; empty if it is the same."""
    if now is None:
        return "is not there"
    if now["bytes"] != before["bytes"]:
        return f"has {now['bytes']} bytes instead of {before['bytes']}"
    return "" if now["checksum"] == before["checksum"] else "has another content"


def changed_software(software: Facts) -> list[str]:
    """Return what is not as it was when the run was recorded, as sentences that name both versions."""
    return [*_runner(software["runner"]), *_programs(software["programs"]), *_packages(software["packages"])]


def _runner(before: Facts) -> list[str]:
    now = runner_facts()
    if now["version"] != before["version"]:
        return [f"genericpipeline is {now['version']} now, and was {before['version']}"]
    if now["commit"] != before["commit"]:
        return [f"genericpipeline is of commit {now['commit']} now, and was of {before['commit']}"]
    if now["has_changes"] or before["has_changes"]:
        return ["genericpipeline has, or had, changes that are in no commit"]
    return []


def _programs(programs: Sequence[Facts]) -> list[str]:
    found = []
    for program in programs:
        path = _path(program)
        if path is None:
            found.append(f"{program['name']} was {program['path']}, which is not there")
        elif program["version"] is not None:
            now = version_of(path, NAMES.get(program["name"], ""))
            if now != program["version"]:
                found.append(f"{program['name']} is {now} now ({path}), and was {program['version']}")
        elif program.get("sha256") not in (None, program_checksum(path)):
            found.append(f"{program['name']} ({path}) is not the file that it was")
    return found


def _path(program: Facts) -> Path | None:
    """Return where a program is now: a known one is looked up again, as the run does."""
    try:
        return find(program["name"] if program["name"] == "DP3" else Path(program["path"]).name)
    except PipelineError:
        return Path(program["path"]) if Path(program["path"]).is_file() else None


def _packages(packages: Sequence[Facts]) -> list[str]:
    found = []
    for package in packages:
        try:
            now = importlib.metadata.version(package["name"])
        except importlib.metadata.PackageNotFoundError:
            now = "not installed"
        if now != package["version"]:
            found.append(f"{package['name']} is {now} now, and was {package['version']}")
    return found
