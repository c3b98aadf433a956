"""Help for writing a TOML file: a commented template, and a JSON schema for editors; both from the table of keys."""

from __future__ import annotations

import json

from lofarpipe.cli.imgpipe.groups import DEFAULT_OUT_DIR
from lofarpipe.cli.imgpipe.settings import (
    CALPIPE,
    CATEGORY_KEYS,
    DEFAULT_SETTINGS,
    RESOURCES,
    SECTIONS,
    WSCLEAN,
    WSCLEAN_DEFAULTS,
    Key,
    as_toml,
)

JSON_TYPES = {"text": "string", "integer": "integer", "boolean": "boolean", "number": "number"}
EXAMPLES = {"max_time": 86400, "slurm_options": "--qos=high"}  # of keys without a default
#: Options of WSClean with a default, a position or a meaning specific to imgpipe.
WSCLEAN_KEYS = {
    "name": "beginning of the names of images, after out-dir; it may have directories in it",
    "out-dir": "tokens: $ms_in$ $ms_basename$ $name$ $obs_id$ $sw$",
    "channels-out": "'all', 'every N', or a number",
    "pol": "polarisations",
    "weight": "weighting of the visibilities",
    "data-column": "column of the sets",
}
WSCLEAN_HELP = """\
# Options of WSClean, without their dash: text and numbers become "-key value", true "-key" alone, false nothing,
# a list one word for each element. No shell sees them. See: wsclean --help
"""
#: Values without a default: WSClean needs a size and a scale, and most users want to clean.
WSCLEAN_EXAMPLES = {"size": 1024, "scale": "1arcmin", "niter": 1000, "auto-threshold": 3.0, "channels-out": "all"}
CHANNELS_OUT: dict[str, object] = {
    "anyOf": [
        {"type": "integer", "exclusiveMinimum": 0},
        {"type": "string", "pattern": r"^\s*(all|every\s*0*[1-9]\d*|0*[1-9]\d*)\s*$"},
        {"const": False},
    ]
}


def template() -> str:
    """Return a TOML file with every key, its default and its meaning; defaults are commented out."""
    lines = [f"#{DEFAULT_SETTINGS} = 'base.toml'  # a file below this one", ""]
    for section, keys in SECTIONS.items():
        if section != WSCLEAN:
            lines += [f"[{section}]", *map(_template_line, keys), ""]
        if section == "worker":
            lines += [f"#[worker.{RESOURCES}.heavy]  # of a job, where nodes is slurm"]
            lines += [*map(_template_line, CATEGORY_KEYS), ""]
    values = {"name": WSCLEAN_DEFAULTS["name"], "out-dir": DEFAULT_OUT_DIR, **WSCLEAN_EXAMPLES}
    lines += [f"{WSCLEAN_HELP}[{WSCLEAN}]", *(_option_line(key, value) for key, value in values.items())]
    lines += [f"#{_option_line(key, value)}" for key, value in WSCLEAN_DEFAULTS.items() if key not in values]
    return "\n".join([*lines, ""])


def _template_line(key: Key) -> str:
    example = EXAMPLES[key.name] if key.default is None else key.default
    return f"#{key.name} = {as_toml(example)}  # {key.meaning}"


def _option_line(key: str, value: object) -> str:
    meaning = f"  # {WSCLEAN_KEYS[key]}" if key in WSCLEAN_KEYS else ""
    return f"{key} = {as_toml(value)}{meaning}"


def schema() -> str:
    """Return the JSON schema of the TOML file, for editors that complete and check it."""
    properties = {section: _section_schema(keys) for section, keys in SECTIONS.items() if section != WSCLEAN}
    category = _section_schema(CATEGORY_KEYS)
    worker = properties["worker"]["properties"]
    worker[RESOURCES] = {"type": "object", "additionalProperties": category}  # type: ignore[index]
    worker |= {key: {"description": "of calpipe; no effect here"} for key in sorted(CALPIPE)}  # type: ignore[operator]
    scalar = {"type": ["string", "number"]}
    option: dict[str, object] = {
        "anyOf": [{"type": "boolean"}, scalar, {"type": "array", "items": scalar, "minItems": 1}]
    }
    text: dict[str, object] = {"type": "string"}
    kinds: dict[str, dict[str, object]] = {"name": text, "out-dir": text, "channels-out": CHANNELS_OUT}
    defaults = {**WSCLEAN_DEFAULTS, "out-dir": DEFAULT_OUT_DIR}
    properties[WSCLEAN] = {
        "type": "object",
        "properties": {
            key: {
                **kinds.get(key, option),
                "description": meaning,
                **({"default": defaults[key]} if key in defaults else {}),
            }
            for key, meaning in WSCLEAN_KEYS.items()
        },
        "additionalProperties": option,
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "imgpipe",
        "type": "object",
        "properties": {DEFAULT_SETTINGS: {"type": "string"}, **properties},
        "additionalProperties": False,
    }
    return json.dumps(document, indent=2) + "\n"


def _section_schema(keys: tuple[Key, ...]) -> dict[str, object]:
    return {"type": "object", "properties": {key.name: _key_schema(key) for key in keys}, "additionalProperties": False}


def _key_schema(key: Key) -> dict[str, object]:
    key_schema: dict[str, object] = {"type": JSON_TYPES[key.kind], "description": key.meaning}
    if key.default is not None:
        key_schema["default"] = key.default
    if key.above is not None:
        key_schema["exclusiveMinimum"] = key.above
    return key_schema
