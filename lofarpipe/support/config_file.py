"""Files of options: pipeline.cfg, and TOML with the line of each table and key.

Every lookup returns a value, and all problems are reported together.
"""

from __future__ import annotations

import configparser
import dataclasses
import math
import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lofarpipe.errors import CheckFailed, Finding, PipelineError, nearest
from lofarpipe.support.parset_text import Entry
from lofarpipe.support.patterns import lazy_pattern

T = TypeVar("T")
LaidOver = Mapping[str, Mapping[str, Entry]]  # section -> key -> overriding value and its source
NOTHING: LaidOver = {}
BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
NEEDED = {
    "int": "an integer is needed",
    "float": "a number is needed",
    "bool": "yes or no is needed",
    "tuple[str, ...]": "words with all quotes closed are needed",
}
N = TypeVar("N", int, float)
SAFE_NAME = lazy_pattern(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")  # of a run, which names its directories
SAFE_NAMES = "letters, digits, _ . + - are allowed, at most 100, the first a letter or digit"
COMMAND_LINE = "command line"
LONGEST_LINE = 60  # characters shown of a line
DEFINE = "define it in [DEFAULT], or write %% for %"
DEFAULT = "DEFAULT"
_A_NUMBER: Mapping[type, str] = {int: "an integer", float: "a number"}


def read_section(
    kind: type[T], path: Path, name: str, section: Mapping[str, str], laid_over: LaidOver = NOTHING
) -> tuple[T | None, list[Finding]]:
    """Return the options of a section, or None if invalid, and its problems.

    Parameters
    ----------
    kind: a frozen dataclass; its fields are the keys, their types one of those of ``NEEDED`` or text. It may have two
        methods: ``faults`` returns what is needed instead of single values, by key; ``problems`` what is wrong with
        the values together.
    path, name: the file, and the section in it.
    laid_over: values that do not come from the file, section by section.
    """
    values, findings = _read_values(kind, path, name, section, laid_over)
    missing = [
        Finding(where(path, name, "", laid_over), f"{key} is not set, and has to be")
        for key in _needed(kind)
        if key not in values and not section.get(key, "").strip()
    ]
    if findings or missing:
        return None, findings + missing
    options = kind(**values)
    problems: list[str] = getattr(options, "problems", list)()
    return options, [Finding(where(path, name, "", laid_over), problem) for problem in problems]


def check_values(kind: type[T], path: Path, name: str, section: Mapping[str, str]) -> list[Finding]:
    """Return the problems of keys and values in an unused section, which may be incomplete."""
    return _read_values(kind, path, name, section, NOTHING)[1]


def _read_values(
    kind: type[T], path: Path, name: str, section: Mapping[str, str], laid_over: LaidOver
) -> tuple[dict[str, Any], list[Finding]]:
    """Return the valid values of a section, and a finding for each invalid key or value."""
    types = {item.name: str(item.type) for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    findings = unknown_keys(path, name, section, types, laid_over)
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for key, text in section.items():
        if key in types and text.strip():
            try:
                values[key] = read_text(text.strip(), types[key])
            except ValueError as err:
                wrong[key] = str(err)
    if all(key in values for key in _needed(kind)):
        wrong |= getattr(kind(**values), "faults", dict)()
    places = {key: where(path, name, key, laid_over) for key in wrong}
    return values, findings + [
        Finding(places[key], f"{key} is '{section[key]}'; {text}") for key, text in wrong.items()
    ]


def _needed(kind: type[T]) -> list[str]:
    """Return the required keys."""
    fields: Iterable[dataclasses.Field[Any]] = dataclasses.fields(kind)  # type: ignore[arg-type]
    return [item.name for item in fields if item.default is dataclasses.MISSING]


def unknown_keys(
    path: Path, name: str, section: Mapping[str, str], valid_keys: Collection[str], laid_over: LaidOver = NOTHING
) -> list[Finding]:
    """Return a finding for each unused key of a section."""
    return [
        Finding(where(path, name, key, laid_over), f"[{name}] has no key '{key}'{nearest(key, valid_keys)}")
        for key in section
        if key not in valid_keys
    ]


def read_text(text: str, kind: str) -> object:
    """Return a value of a type by its name; numbers must not be negative.

    Raises
    ------
    ValueError
        If the text is not such a value; the message names valid ones.
    """
    if kind == "str":
        return text
    try:
        if kind == "bool":
            return BOOLEANS[text.lower()]
        if kind == "tuple[str, ...]":
            return tuple(_words(text))
        number = int(text) if kind == "int" else float(text)
    except (KeyError, ValueError) as err:
        raise ValueError(NEEDED[kind]) from err
    if not 0 <= number < float("inf"):
        raise ValueError("it cannot be negative, or without end")
    return number


def _words(text: str) -> list[str]:
    """Return the items of ``[a, b]``, or words as a shell splits them."""
    if text.startswith("[") and text.endswith("]"):
        return [item.strip() for item in text[1:-1].split(",") if item.strip()]
    return shlex.split(text)


def where(path: Path, name: str, key: str = "", laid_over: LaidOver = NOTHING) -> str:
    """Return ``file:line`` of a key, or of its section if the key is missing."""
    if entry := laid_over.get(name, {}).get(key):
        return entry.where
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        return f"{path}: [{name}]"
    place, is_inside = 0, False
    for number, line in enumerate(lines, start=1):
        if line.startswith("["):
            is_inside = line.strip() == f"[{name}]"
            place = number if is_inside else place
        elif is_inside and key and line.replace(":", "=").partition("=")[0].strip().lower() == key:
            place = number
    return f"{path}:{place}" if place else f"{path}: [{name}]"


def new_parser(defaults: Mapping[str, str]) -> configparser.ConfigParser:
    """Return a non-strict parser: existing task files define sections twice, and the later options win."""
    return configparser.ConfigParser(defaults=defaults, strict=False)


def read_into(parser: configparser.ConfigParser, path: Path) -> None:
    """Read a file.

    Raises
    ------
    CheckFailed
        If it cannot be read or parsed; with every line that is neither a section nor ``key = value``.
    """
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"), source=str(path))
    except OSError as err:
        raise CheckFailed([Finding(str(path), f"cannot be read: {err.strerror}; correct its name or mode")]) from err
    except UnicodeDecodeError as err:
        raise CheckFailed([Finding(str(path), "is not UTF-8 text; save it as UTF-8")]) from err
    except configparser.MissingSectionHeaderError as err:
        problem = f"{_odd_line(err.line)}, above all sections; begin with a line such as [DEFAULT]"
        raise CheckFailed([Finding(f"{path}:{err.lineno}", problem)]) from err
    except configparser.ParsingError as err:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        raise CheckFailed(
            Finding(f"{path}:{number}", f"{_odd_line(lines[number - 1])}; correct it, or make it a comment with #")
            for number, _ in err.errors
        ) from err


def _odd_line(line: str) -> str:
    text = line.strip()
    shown_text = f"'{text[:LONGEST_LINE]}{'...' if len(text) > LONGEST_LINE else ''}'"
    return f"{shown_text} is no {'[section]' if text.startswith('[') else 'key = value'}"


def reference_problem(err: configparser.Error) -> str:
    """Return why a value with a reference has no meaning, and the remedy."""
    match err:
        case configparser.InterpolationMissingOptionError():
            return f"{err.option} refers to %({err.reference})s, which is not set; {DEFINE}"
        case configparser.InterpolationDepthError():
            return f"{err.option} refers to itself; write out its value"
        case configparser.InterpolationError():
            return f"{err.option} has a % that begins no reference such as %(cwd)s; {DEFINE}"
    return one_line(err)


def one_line(err: Exception) -> str:
    """Return an exception's message as one line."""
    return " ".join(str(err).split())


class ConfigFile:
    """A configuration file with the settings of the command line on top.

    Parameters
    ----------
    path: the file.
    variables: names for references, beside its own keys.
    typed: keys of [DEFAULT] set on the command line -> option name, value.
    laid_over: keys of any section set by a front end.

    Attributes
    ----------
    findings: problems of the values read so far.

    Raises
    ------
    PipelineError
        If the file cannot be read.
    """

    def __init__(
        self,
        path: Path,
        variables: Mapping[str, str],
        typed: Mapping[str, tuple[str, str]],
        laid_over: LaidOver = NOTHING,
    ) -> None:
        self.path = path
        self.findings: list[Finding] = []
        self._typed = typed
        self._laid_over = laid_over
        self._parser = new_parser(variables)
        read_into(self._parser, path)
        self._parser.read_dict(
            {
                name: {key: entry.value.replace("%", "%%") for key, entry in section.items()}
                for name, section in laid_over.items()
            }
        )
        for key, (_, value) in typed.items():
            self._parser[DEFAULT][key] = value.replace("%", "%%")
        self._broken: set[tuple[str, str]] = set()  # keys of [DEFAULT] with their texts: every section has them as well

    def sections(self) -> dict[str, dict[str, str]]:
        """Return every section but [DEFAULT]."""
        return {name: self.items(name) for name in self._parser.sections()}

    def items(self, section: str) -> dict[str, str]:
        """Return the keys of a section and of [DEFAULT], without values that have unresolved references."""
        values = {}
        for key, text in self._parser.items(section, raw=True):
            try:
                values[key] = self._parser.get(section, key)
            except configparser.Error as err:
                if (key, text) not in self._broken:
                    self.add(section, key, f"[{section}] {reference_problem(err)}")
                self._broken |= {(key, text)} if section == DEFAULT else set()
        return values

    def add(self, section: str, key: str, problem: str) -> None:
        """Note a problem of a key."""
        self.findings.append(Finding(self._where(section, key), problem))

    def _where(self, section: str, key: str) -> str:
        is_typed = section == DEFAULT and key in self._typed
        return COMMAND_LINE if is_typed else where(self.path, section, key, self._laid_over)

    def directory(self, key: str) -> Path:
        """Return a directory required in [DEFAULT]; if it is unset or missing, report that and use the current one."""
        text = self.items(DEFAULT).get(key, "")
        if not text:
            if not any(broken == key for broken, _ in self._broken):
                problem = f"[DEFAULT] has no {key}; set it to the directory below which runs work, such as %(cwd)s"
                self.add(DEFAULT, key, problem)
            self._parser[DEFAULT][key] = "."  # others may refer to it, and are no mistake
            return Path.cwd()
        directory = Path(text).expanduser().absolute()
        if not directory.is_dir():
            option, _ = self._typed.get(key, (key, ""))
            self.add(DEFAULT, key, f"{option} is {directory}, which is no directory; create it, or set another one")
        return directory

    def number(self, section: str, values: Mapping[str, str], key: str, kind: type[N], zero: str = "no limit") -> N:
        """Return a number of a section, 0 if unset or invalid; ``zero`` is the meaning of 0."""
        text = values.get(key, "") or "0"
        try:
            number = kind(text)
        except ValueError:
            self.add(section, key, f"{key} is '{text}'; {_A_NUMBER[kind]} is needed, 0 for {zero}")
            return kind(0)
        if not 0 <= number < math.inf:
            self.add(section, key, f"{key} is {text}; it cannot be negative, or without end (0: {zero})")
            return kind(0)
        return number

    def flag(self, key: str, values: Mapping[str, str]) -> bool:
        """Return a flag of any section; False if unset or invalid."""
        text = values.get(key, "").strip() or "False"
        if text not in ("True", "False"):
            place = next((name for name in self._parser.sections() if self._is_own(name, key)), DEFAULT)
            self.add(place, key, f"{key} is '{text}'; True or False is needed")
        return text == "True"

    def _is_own(self, section: str, key: str) -> bool:
        """Whether a section overrides values of [DEFAULT]."""
        default = self._parser.defaults().get(key)
        return self._parser.get(section, key, raw=True, fallback=default) != default


UNQUOTED = ("Invalid value", "Expected newline or end of document")  # tomllib's messages for an unquoted value
_HEADER = lazy_pattern(r"\s*\[\[?\s*(?P<name>[^\[\]]+?)\s*\]\]?\s*(#.*)?")
_KEY = lazy_pattern(r"\s*(?P<key>[\w.\"' -]+?)\s*=")
_NEEDS_QUOTES = lazy_pattern(r"[,\[\](){}\"'\s]")


class TomlFile:
    """The tables of a TOML file, with their lines.

    Attributes
    ----------
    document: the tables, as ``tomllib`` gives them.

    Raises
    ------
    PipelineError
        If the file cannot be read, or is no TOML.
    """

    def __init__(self, path: Path, text: str | None = None) -> None:
        import tomllib  # pipeline.cfg is read without it

        self.path = path
        try:
            text = path.read_text(encoding="utf-8-sig") if text is None else text
            self.document: Mapping[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as err:
            problem, _, place = str(err).partition(" (at ")
            line = re.match(r"line (\d+)", place)
            where = f"{path}:{line[1]}" if line else str(path)
            hint = "; a text stands in quotes, true and false are in lower case" if problem.startswith(UNQUOTED) else ""
            raise PipelineError(f"{where}: not TOML: {problem[:1].lower()}{problem[1:]}{hint}") from err
        except (OSError, UnicodeDecodeError) as err:
            reason = err.strerror if isinstance(err, OSError) else "it is not UTF-8 text"
            raise PipelineError(f"{path}: cannot be read: {reason}") from err
        self._lines = _lines(text)

    def line(self, table: str, key: str = "", number: int = 0) -> int:
        """Return the line of a key, or of its table's header; 0 if it is not known, as within ``{ ... }``.

        ``number`` counts tables of one name, ``[[table]]``, from 0; the keys before all tables are in table "".
        """
        places = self._lines.get((table, number), {})
        return places.get(key, places.get("", 0))

    def where(self, table: str, key: str = "", number: int = 0) -> str:
        """Return ``file:line`` of a key, or the file alone."""
        line = self.line(table, key, number)
        return f"{self.path}:{line}" if line else str(self.path)


def _lines(text: str) -> dict[tuple[str, int], dict[str, int]]:
    """Return (header, number of earlier ones of that name) -> key -> line; the key "" is the header itself."""
    current: dict[str, int] = {}
    line_numbers: dict[tuple[str, int], dict[str, int]] = {("", 0): current}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            name = re.sub(r"[\"'\s]", "", header["name"])
            place = sum(earlier_name == name for earlier_name, _ in line_numbers)
            current = line_numbers.setdefault((name, place), {"": number})
        elif key := _KEY.match(line):
            current.setdefault(re.sub(r"[\"'\s]", "", key["key"]), number)
    return line_numbers


def parset_value(value: object) -> str:
    """Return a value of TOML as a parset has it.

    Raises
    ------
    ValueError
        If a parset value cannot have this type; the message names valid ones.
    """
    if isinstance(value, list):
        return f"[{', '.join(_quoted(parset_value(item)) for item in value)}]"
    if isinstance(value, str | bool | int | float):
        return str(value)
    raise ValueError(f"is {value}; text, a number, true, false, or a list of these is needed")


def _quoted(text: str) -> str:
    """Return an element of a list, quoted if it would be split or trimmed."""
    if not _NEEDS_QUOTES.search(text):
        return text
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"
