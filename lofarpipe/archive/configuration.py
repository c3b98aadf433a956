"""What the site's configuration says, value by value, each with the place that set it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lofarpipe.config import CHECKSUM_LIMIT_GB, Settings

Facts = dict[str, Any]
COMMAND_LINE = "command line"
BUILT_IN = "built in"
OTHER_NAMES = {"task_file": "task_files"}  # option of the command line -> key of the configuration
_SECTION = re.compile(r"\[(?P<name>[^]]+)\]")
_KEY = re.compile(r"(?P<key>[^\s#;=:\[][^=:]*?)\s*[=:]")


def configuration_facts(settings: Settings, overrides: Mapping[str, str]) -> Facts:
    """Return the configuration: its file, the text of it, and every value with its source.

    Parameters
    ----------
    overrides: what the command line set, by the names of its options.
    """
    text = settings.config_file.read_text(encoding="utf-8")
    typed = {OTHER_NAMES.get(name, name) for name in overrides}
    values = []
    for (section, key), line in lines_of(text).items():
        known = settings.inputs if section == "DEFAULT" else settings.sections.get(section, {})
        source = COMMAND_LINE if key in typed else f"{settings.config_file}:{line}"
        values.append({"section": section, "key": key, "value": known.get(key, ""), "source": source})
    values += [
        {"section": section, "key": key, "value": str(value), "source": COMMAND_LINE if key in typed else BUILT_IN}
        for section, key, value in _defaults(settings)
        if not any((one["section"], one["key"]) == (section, key) for one in values)
    ]
    return {"file": str(settings.config_file), "text": text, "values": values}


def _defaults(settings: Settings) -> list[tuple[str, str, object]]:
    """Return section, key and value in force of what a configuration may leave out."""
    return [
        ("remote", "max_per_node", settings.max_per_node),
        ("remote", "cores", settings.cores),
        ("remote", "memory_gb", settings.memory_gb),
        ("report", "checksum_limit_gb", CHECKSUM_LIMIT_GB),
    ]


def lines_of(text: str) -> dict[tuple[str, str], int]:
    """Return (section, key) -> line of a configuration's text; of a key that is there twice the last counts."""
    found: dict[tuple[str, str], int] = {}
    section = "DEFAULT"
    for number, line in enumerate(text.splitlines(), start=1):
        if match := _SECTION.match(line):
            section = match["name"]
        elif match := _KEY.match(line):
            found[section, match["key"].strip().lower()] = number
    return found
