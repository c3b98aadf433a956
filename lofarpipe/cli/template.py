"""A field parset to start from: the base pipeline, and each of its options with value and meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from lofarpipe.config import parset_directories
from lofarpipe.pipeline.load import Pipeline
from lofarpipe.pipeline.options import Option, headings

INPUT = "data_input_filenames"
EMPTY = "[]"
ABOUT = """\
# A field: every option of {base} with its value. Where yours differs, take the first # off
# the line and change the value; then run it:  genericpipeline.py run <this file>
pipeline.base = {base}
"""


def field_template(pipeline: Pipeline, assignments: Sequence[str]) -> str:
    """Return a field parset on top of a pipeline; options that keep their value are comments.

    ``assignments`` (``key=value``) are written as they are. Without one of the input, it is the sets in the current
    directory, where there are some.
    """
    assigned_values = dict(_key_value(text) for text in assignments)
    is_shipped = pipeline.path.parent in [folder.resolve() for folder in parset_directories()]
    lines = [ABOUT.format(base=pipeline.path.name if is_shipped else pipeline.path)]
    definitions = pipeline.composed.definitions()
    for heading, group in headings(pipeline.options):
        lines += [f"# ---- {heading}"] if heading else []
        lines += [_line(one, definitions[one.name].value, one.name in assigned_values) for one in group]
        lines.append("")
    others = assigned_values.keys() - definitions.keys()
    lines += [f"{key} = {value}" for key, value in assigned_values.items() if key in others]
    return "\n".join(lines).rstrip("\n") + "\n"


def _key_value(text: str) -> tuple[str, str]:
    key, _, value = (part.strip() for part in text.partition("="))
    return key, value


def _line(option: Option, value: str, is_given: bool) -> str:
    """Return the line of an option; commented out unless it is set or is the (required) input."""
    if option.name == INPUT and not is_given:
        value, is_given = (_sets_here() if value == EMPTY else value), True
    return f"{'' if is_given else '#'}! {option.name} = {value}".ljust(44) + f"  # {{{option.domain}}} {option.meaning}"


def _sets_here() -> str:
    """Return patterns of the measurement sets in the current directory, as a list."""
    endings = sorted(set(_endings(Path.cwd())))
    return f"[{', '.join(f'{Path.cwd()}/*{ending}' for ending in endings)}]"


def _endings(folder: Path) -> Iterator[str]:
    return (path.suffix for path in folder.glob("*.[mM][sS]") if path.is_dir())
