"""The options of the ASKAP pipeline, read from its parset: command line, YAML and Python function share this table."""

from __future__ import annotations

import functools
import os
import re

from lofarpipe.cli.arguments import HERE
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

PIPELINE = "askap.parset"
NONE, OR_NONE = "none", " or none"
#: Where shipped parsets are, in an installed package and in a checkout; ``lofarpipe.config`` is too slow for --help.
FOLDERS = (f"{HERE}/../share/pipelines", f"{HERE}/../../pipelines")
POSITIONALS = ("msdir", "datadir")
#: One documented definition. The parset machinery is too slow for --help.
_OPTION = lazy_pattern(
    r"^! *(?P<name>\w+) *= *(?P<default>.*?) *## *\{(?P<domain>[^}]*)\} *(?P<meaning>.*?) *$", re.MULTILINE
)
_KEY = lazy_pattern(r"^(?P<key>\w+\.[\w.-]+) *= *(?P<value>.*?)(?: +#.*)?$", re.MULTILINE)
#: The plugin that finds the beams, and the prefix of references to its outputs.
FINDER = "find_beams"
GIVEN = f"{FINDER}.output."
_PLACEHOLDER = lazy_pattern(r"\{\{ (\w+) \}\}")
LARGEST_WHOLE = 10**15  # larger numbers with an exponent are not exact
_TRUTHS = {"true": "True", "false": "False", "yes": "True", "no": "False", "on": "True", "off": "False"}


@dataclass(frozen=True)
class SpiceOption:
    """One option: its default as the parset writes it, and its domain (see ``lofarpipe.pipeline.options``)."""

    name: str
    default: str
    domain: str
    meaning: str

    @property
    def is_flag(self) -> bool:
        """Whether it is on or off."""
        return self.domain == "True | False"

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words; () if others are allowed too."""
        words = self.domain.removesuffix(OR_NONE).split("|") if "|" in self.domain else []
        return tuple(word for text in words if (word := text.strip()) != NONE)

    @property
    def is_list(self) -> bool:
        """Whether it is a list of numbers, written with commas."""
        return "," in self.default

    @property
    def kind(self) -> str:
        """The first word of the domain: number, integer, list, path, text; choice for words."""
        return "choice" if "|" in self.domain else self.domain.split(maxsplit=1)[0]

    def text(self, value: object) -> str:
        """Return a value as the parset writes it.

        Parameters
        ----------
        value: words of a command line, or a value of a YAML file or a Python caller.

        Raises
        ------
        ValueError
            If it is not in the domain; the message names the domain.
        """
        from lofarpipe.pipeline.options import check_value

        text = self._flag(value) if self.is_flag else self._scalar(value)
        if text == NONE and self.default != NONE and self.kind != "text":
            raise ValueError(f"{self._needed()} is needed")
        check_value(text, self.domain)
        return text

    def _scalar(self, value: object) -> str:
        if self.kind in ("number", "integer"):
            return self._number(value)
        if self.is_list:
            return _numbers_text(value)
        if not isinstance(value, str | os.PathLike):
            raise ValueError(f"{self._needed()} is needed{'; write it in quotes' if isinstance(value, int) else ''}")
        text = os.fspath(value)
        if not text or any(mark in text for mark in "\n\r\0"):
            raise ValueError(f"{self._needed()} of one line is needed")
        return text

    def _flag(self, value: object) -> str:
        word = str(value).lower() if isinstance(value, bool | str) else ""
        if word not in _TRUTHS:
            raise ValueError("true or false is needed")
        return _TRUTHS[word]

    def _number(self, value: object) -> str:
        if isinstance(value, str) and value == NONE and self.domain.endswith(OR_NONE):
            return NONE
        try:
            return number_text(value, is_whole=self.kind == "integer")
        except ValueError:
            raise ValueError(f"{self._needed()} is needed") from None

    def _needed(self) -> str:
        domain = self.domain.removesuffix(OR_NONE)
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        return f"{'an' if domain[:1] in 'aeiou' else 'a'} {domain}"


#: Options of spice_process beyond those of the pipeline.
PROCESS_OPTIONS = (
    SpiceOption("imager_only", "False", "True | False", "make images and cubes, and nothing else; needed"),
    SpiceOption("imager_dask_config", NONE, "path or none", "YAML file of the cluster that runs the jobs"),
)


def number_text(value: object, is_whole: bool) -> str:
    """Return a number as all programs read it: ``5e5``, ``500_000`` and ``0x10`` are whole numbers too.

    Raises
    ------
    ValueError
        If it is not a finite number, or not an integer where one is needed.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(value)
    text = str(value).strip()
    try:
        number: int | float = int(text)
    except ValueError:
        number = int(text, 16) if text.lower().startswith("0x") else float(text)
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError(value)
    if is_whole and (number != int(number) or abs(number) >= LARGEST_WHOLE):
        raise ValueError(value)
    return str(int(number)) if number == int(number) and abs(number) < LARGEST_WHOLE else repr(number)


def _numbers_text(value: object) -> str:
    """Return a list or comma-separated text of numbers as comma-separated text."""
    values = value.strip("[] ").split(",") if isinstance(value, str) else value
    try:
        numbers = [
            number_text(one, is_whole=False) for one in (values if isinstance(values, list | tuple) else [values])
        ]
    except ValueError:
        raise ValueError("numbers are needed, such as 0,4,8") from None
    return ",".join(numbers)


@functools.cache
def spice_options() -> dict[str, SpiceOption]:
    """Return the options of the pipeline by name, in its order."""
    return {match["name"]: SpiceOption(**match.groupdict()) for match in _OPTION.finditer(_text())}


@functools.cache
def operations() -> dict[str, dict[str, dict[str, str]]]:
    """Return step -> option -> the keys that use it for this step, with their values.

    An option can be set for one step alone by setting these keys. A step also uses values that the finder of the beams
    gets for it alone, such as thresholds that become squares.
    """
    options_by_step: dict[str, dict[str, dict[str, str]]] = {}
    table, keys = spice_options(), {match["key"]: match["value"] for match in _KEY.finditer(_text())}
    users: dict[str, set[str]] = {}
    for key, value in keys.items():
        if value.startswith(GIVEN):
            users.setdefault(value.removeprefix(GIVEN), set()).add(key.partition(".")[0])
    for key, value in keys.items():
        step, source = key.partition(".")[0], f"{FINDER}.control.{value.removeprefix(GIVEN)}"
        if keys.get(f"{step}.control.kind") == "plugin":
            continue
        if value.startswith(GIVEN) and len(users[value.removeprefix(GIVEN)]) == 1:
            key, value = source, keys.get(source, "")
        for name in _PLACEHOLDER.findall(value):
            if name in table:
                options_by_step.setdefault(step, {}).setdefault(name, {})[key] = value
    return options_by_step


@functools.cache
def _text() -> str:
    path = next(place for folder in FOLDERS if os.path.isfile(place := f"{folder}/{PIPELINE}"))  # noqa: PTH113
    with open(path, encoding="utf-8") as stream:  # noqa: PTH123 - the start must not pay for pathlib
        return stream.read()
