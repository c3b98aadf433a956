"""YAML files with the line of each key, and with numbers as they were written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lofarpipe.errors import UsageError

MISSING = "PyYAML is not installed; run: pip install 'genericpipeline[askap]'"
DEEPEST = 20  # levels; an alias of a list within itself has no end
_TAG = "tag:yaml.org,2002:"


class Number(str):
    """A word that YAML takes for a number or a date, as it was written: ``24:00:00`` is no number of seconds here."""

    __slots__ = ()


class YamlFile:
    """The mapping of a YAML file, with the lines of its keys.

    Attributes
    ----------
    document: key -> text, Number, bool, None, list, or nested mapping.

    Raises
    ------
    UsageError
        If the file cannot be read, is no YAML, or no mapping; if PyYAML is not installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[tuple[str, ...], int] = {}
        try:
            self.text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as err:
            reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8 text"
            raise UsageError(f"{path}: cannot be read: {reason}") from err
        node = _composed(path, self.text)
        document = {} if node is None else self._value(node, ())
        if document is None:
            document = {}
        if not isinstance(document, dict):
            raise UsageError(f"{path}:{node.start_mark.line + 1}: keys and values are needed, such as 'nchan: 36'")
        self.document: Mapping[str, Any] = document

    def where(self, *keys: str) -> str:
        """Return ``file:line`` of a key; of a key within others these come first."""
        line = self._lines.get(keys, 0)
        return f"{self.path}:{line}" if line else str(self.path)

    def line(self, *keys: str) -> int:
        """Return the line of a key, 0 if missing."""
        return self._lines.get(keys, 0)

    def _value(self, node: Any, keys: tuple[str, ...]) -> object:
        place = f"{self.path}:{node.start_mark.line + 1}"
        if len(keys) > DEEPEST:
            raise UsageError(f"{place}: more than {DEEPEST} levels within each other")
        kind = node.tag.removeprefix(_TAG)
        if node.id == "mapping":
            return self._mapping(node, keys)
        if node.id == "sequence":
            return [self._value(item, (*keys, str(index))) for index, item in enumerate(node.value)]
        if kind == "null":
            return None
        if kind == "bool":
            return node.value.lower() in ("true", "yes", "on")
        return str(node.value) if kind == "str" else Number(node.value)

    def _mapping(self, node: Any, keys: tuple[str, ...]) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key_node.id != "scalar":
                raise UsageError(f"{self.path}:{line}: a key is a word, and this is none")
            if key in mapping:
                raise UsageError(f"{self.path}:{line}: {key} occurs twice; line {self._lines[*keys, key]} has it too")
            self._lines[*keys, key] = line
            mapping[key] = self._value(value_node, (*keys, key))
        return mapping


def _composed(path: Path, text: str) -> Any:
    """Return the node of a YAML text; None if empty."""
    try:
        import yaml
    except ImportError as err:
        raise UsageError(MISSING) from err
    try:
        return yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(err, "problem", None) or " ".join(str(err).split())
        raise UsageError(f"{where}: not YAML: {problem}") from err
