"""Help for writing a TOML file: a commented template, and a JSON schema for editors; both from the table of keys."""

from __future__ import annotations

import json

from lofarpipe.cli.imgpipe.settings import (
    CALPIPE,
    CATEGORY_KEYS,
    DEFAULT_SETTINGS,
    RESOURCES,
    SECTIONS,
    WSCLEAN,
    WSCLEAN_DEFAULTS,
    Key,
    shown,
)

JSON_TYPES = {"text": "string", "integer": "integer", "boolean": "boolean", "number": "number"}
WSCLEAN_HELP = """\
# Options of WSClean, without their dash: text and numbers become "-key value", true "-key" alone, false nothing,
# a list one word for each element. No shell sees them. See: wsclean --help
[wsclean]
name = 'img'
out-dir = '$ms_in$/images'  # tokens: $ms_in$ $ms_basename$ $name$ $obs_id$ $sw$
size = 1024
scale = '1arcmin'
niter = 1000
auto-threshold = 3.0
channels-out = 'all'  # or 'every N', or a number
"""


def template() -> str:
    """Return a TOML file with every key, its default and its meaning; defaults are commented out."""
    lines = [f"#{DEFAULT_SETTINGS} = 'base.toml'  # a file below this one", ""]
    for section, keys in SECTIONS.items():
        if section != WSCLEAN:
            lines += [f"[{section}]", *(_template_line(key) for key in keys), ""]
    lines += [f"#[worker.{RESOURCES}.heavy]  # of a job, where nodes is slurm", *map(_template_line, CATEGORY_KEYS), ""]
    defaults = (f"#{key} = {shown(value)}" for key, value in WSCLEAN_DEFAULTS.items() if key != "name")
    return "\n".join([*lines, WSCLEAN_HELP + "\n".join(defaults), ""])


def _template_line(key: Key) -> str:
    default = "''" if key.default is None and key.kind == "text" else "0" if key.default is None else shown(key.default)
    return f"#{key.name} = {default}  # {key.meaning}"


def schema() -> str:
    """Return the JSON schema of the TOML file, for editors that complete and check it."""
    properties = {section: _section_schema(keys) for section, keys in SECTIONS.items() if section != WSCLEAN}
    category = _section_schema(CATEGORY_KEYS)
    worker = properties["worker"]["properties"]
    worker[RESOURCES] = {"type": "object", "additionalProperties": category}  # type: ignore[index]
    worker |= {key: {} for key in sorted(CALPIPE)}  # type: ignore[operator]
    scalar = {"type": ["string", "number"]}
    properties[WSCLEAN] = {
        "type": "object",
        "additionalProperties": {
            "anyOf": [{"type": "boolean"}, scalar, {"type": "array", "items": scalar, "minItems": 1}]
        },
    }
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "imgpipe",
        "type": "object",
        "properties": {DEFAULT_SETTINGS: {"type": "string"}, **properties},
        "additionalProperties": False,
    }
    return json.dumps(whole, indent=2) + "\n"


def _section_schema(keys: tuple[Key, ...]) -> dict[str, object]:
    return {"type": "object", "properties": {key.name: _key_schema(key) for key in keys}, "additionalProperties": False}


def _key_schema(key: Key) -> dict[str, object]:
    found: dict[str, object] = {"type": JSON_TYPES[key.kind], "description": key.meaning}
    if key.default is not None:
        found["default"] = key.default
    if key.above is not None:
        found["exclusiveMinimum"] = key.above
    return found
