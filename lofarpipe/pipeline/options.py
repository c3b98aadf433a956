"""A pipeline's user options: value, source, meaning, and domain.

A pipeline documents each option where it defines it::

    ! cellsize_highres_deg = 0.00208   ## {number > 0} pixel size, degrees

The part in braces is the option's domain: ``number`` or ``integer`` with bounds (``> 0``, ``>= 0``, ``<= 1``,
``-2..2``), ``list``, ``path``, ``text``, or the allowed words, separated by ``|``; ``some of`` before the words
allows several, separated by commas. ``or none`` at the end also allows the word ``none``.

Some options are for the archive: facts about a sky image that only the user knows. They are required, never made
up. Source: the mandatory elements of LTA-SIP.xsd, versions 2.6.1 and 2.7.2.
"""

from __future__ import annotations

import math
import operator
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lofarpipe.errors import Finding, PipelineError, nearest
from lofarpipe.pipeline.control import list_items
from lofarpipe.pipeline.steps import references
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.parset import Entry, unquote
from lofarpipe.support.patterns import lazy_pattern

_COMMENT = lazy_pattern(r"\s*\{(?P<domain>[^}]*)\}\s*(?P<meaning>.*)", re.DOTALL)
_BOUND = lazy_pattern(r"(?P<op>>=|<=|>|<)\s*(?P<limit>[-+.\deE]+)|(?P<low>[-+]?[\d.]+)\.\.(?P<high>[-+]?[\d.]+)")
_HEADING = lazy_pattern(r"#[ \t]*-{3,}[ \t]*(?P<text>[^-\s].*?)[ \t]*-*[ \t]*")
ARCHIVE = "for the archive"  # heading of rarely needed options
_WITH_UNIT = lazy_pattern(r"(?P<number>\d+\.?\d*|\.\d+)[ \t]*(?P<unit>[A-Za-z\"']*)")
_ANGLES = {'arcsec asec arcseconds "': 1 / 3600, "arcmin amin arcminutes '": 1 / 60, "deg degrees": 1.0}
#: The value "none", and the suffix of a domain that allows it.
NONE, OR_NONE = "none", " or none"
SOME_OF = "some of "
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Option:
    """One user option of a pipeline."""

    name: str
    value: str
    domain: str
    meaning: str
    file: str
    line: int
    is_default: bool = True  # not set above the file that documents it
    documented: tuple[str, int] = ("", 0)  # file and line of its comment

    @property
    def where(self) -> str:
        """The source of the value, as shown to the user."""
        return f"{self.file}:{self.line}" if self.line else self.file


def read_options(definitions: Mapping[str, Entry], documented: Mapping[str, Entry]) -> list[Option]:
    """Return the options among ``definitions``: those documented in any file by a ``##`` comment.

    Parameters
    ----------
    definitions
        The definitions in force, by name.
    documented
        The lowest definition of each name with a comment, which gives domain and meaning.
    """
    return [_option(name, entry, documented[name]) for name, entry in definitions.items() if name in documented]


def _option(name: str, entry: Entry, documented: Entry) -> Option:
    match = _COMMENT.match(documented.comment)
    domain, meaning = (match["domain"], match["meaning"]) if match else ("text", documented.comment)
    place = (documented.file, documented.line)
    is_default = (entry.file, entry.line) == place
    text, domain, meaning = unquote(entry.value), domain.strip(), meaning.strip()
    return Option(name, text, domain, meaning, entry.file, entry.line, is_default, place)


def check_options(options: Iterable[Option]) -> list[Finding]:
    """Return a finding for every option with a value outside its domain."""
    findings = []
    for option in options:
        try:
            check_value(option.value, option.domain)
        except ValueError as err:
            problem = f"{option.name} is '{option.value}'; {err}{_odd_sign(option)}{_unit_hint(option)}"
            findings.append(Finding(option.where, problem))
    return findings


def _odd_sign(option: Option) -> str:
    """Return a hint on a look-alike Unicode character in a number or a word, or ""."""
    odd = next((sign for sign in option.value if not sign.isascii()), "")
    if not odd or option.domain.startswith(("list", "path")):
        return ""
    return f"; {odd!r} in it is U+{ord(odd):04X}, {unicodedata.name(odd, 'no letter').lower()}: type it anew"


def _unit_hint(option: Option) -> str:
    """Return a hint on the value without its unit; angles are converted to degrees. "" for other values."""
    match = _WITH_UNIT.fullmatch(option.value)
    if not match or not option.domain.startswith(("number", "integer")) or float(match["number"]) == 0:
        return ""
    if not option.name.endswith("_deg"):
        return f"; write it without '{match['unit']}'" if match["unit"] else ""
    unit = match["unit"].lower() or "arcsec"
    degrees = next((size for names, size in _ANGLES.items() if unit in names.split()), 0.0) * float(match["number"])
    return f"; {match['number']} {unit} are {degrees:.6g} degrees" if degrees else "; degrees are needed"


def check_value(value: str, domain: str) -> None:
    """Check that the text ``value`` is in ``domain``.

    Raises
    ------
    ValueError
        If it is not; the message is the expectation.
    PipelineError
        If the domain itself is invalid.
    """
    domain, is_optional = domain.removesuffix(OR_NONE), domain.endswith(OR_NONE)
    if is_optional and value == NONE:
        return
    word = domain.split(maxsplit=1)[0] if domain.strip() else "text"
    if domain.startswith(SOME_OF):
        _check_some(value, [choice.strip() for choice in domain.removeprefix(SOME_OF).split("|")])
    elif "|" in domain:
        _check_choice(value, [choice.strip() for choice in domain.split("|")])
    elif word in ("number", "integer"):
        _check_number(value, word, domain.removeprefix(word))
    elif word == "list":
        _check_list(value)
    elif word == "path":
        _check_path(value)
    elif word != "text":
        raise PipelineError(f"'{domain}' is no domain of an option; see doc/parset.md")


def _check_choice(value: str, choices: list[str]) -> None:
    if value not in choices:
        same = next((choice for choice in choices if choice.lower() == value.lower()), "")
        hint = f"; did you mean {same!r}?" if same else nearest(value, choices)
        raise ValueError(f"one of {', '.join(choices)} is needed{hint}")


def _check_some(value: str, choices: list[str]) -> None:
    words = [word.strip() for word in value.split(",")]
    odd = next((word for word in words if word not in choices), None)
    if odd is not None:
        raise ValueError(f"some of {', '.join(choices)} are needed, and not {odd!r}{nearest(odd, choices)}")


def _check_list(value: str) -> None:
    if value.startswith("[") != value.endswith("]"):
        raise ValueError("a list is needed, such as [a, b]; a bracket is missing")


def _check_path(value: str) -> None:
    if not value:
        raise ValueError("a path is needed")
    if value.startswith("~"):  # options are not expanded by a shell
        raise ValueError(f"~ is not replaced here; write {os.path.expanduser(value)}")  # noqa: PTH111 - it may be nobody's


def _check_number(value: str, word: str, bounds: str) -> None:
    expected = f"{'an' if word == 'integer' else 'a'} {word}{' ' + bounds.strip() if bounds.strip() else ''} is needed"
    if "_" in value:  # Python accepts 1_000 as a number, programs do not
        raise ValueError(expected)
    try:
        number = int(value) if word == "integer" else float(value)
    except ValueError:
        raise ValueError(expected) from None
    if not math.isfinite(number) or not all(holds(number) for holds in _bounds(bounds)):
        raise ValueError(expected)


def _bounds(text: str) -> list[Callable[[float], bool]]:
    checks: list[Callable[[float], bool]] = []
    for match in _BOUND.finditer(text):
        if match["op"]:
            checks.append(_comparison(_COMPARE[match["op"]], float(match["limit"])))
        else:
            checks.append(_comparison(operator.ge, float(match["low"])))
            checks.append(_comparison(operator.le, float(match["high"])))
    return checks


def _comparison(compare: Callable[[float, float], bool], limit: float) -> Callable[[float], bool]:
    return lambda number: compare(number, limit)


def options_table(options: Iterable[Option]) -> str:
    """Return the options as text under their headings: name = value, meaning, domain and source."""
    lines: list[str] = []
    for heading, group in headings(options):
        lines += [*([""] if lines else []), f"---- {heading}"] if heading else []
        for option in group:
            lines.append(f"{option.name} = {option.value}")
            lines.append(f"    {option.meaning} ({option.domain})")
            lines.append(f"    set in {option.where}")
    return "\n".join(lines)


def headings(options: Iterable[Option]) -> list[tuple[str, list[Option]]]:
    """Return the options by their headings, ``# ---- text``, in the parsets; those for the archive last."""
    places: dict[str, list[tuple[int, str]]] = {}
    groups: dict[str, list[Option]] = {}
    for option in options:
        file, line = option.documented
        places[file] = places[file] if file in places else _headings_of(file)
        above = [text for number, text in places[file] if number < line]
        groups.setdefault(above[-1] if above else "", []).append(option)
    return sorted(groups.items(), key=lambda group: group[0] == ARCHIVE)


def _headings_of(file: str) -> list[tuple[int, str]]:
    """Return the headings of a parset with their lines; none if unreadable, as with a front end's file."""
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    matches = ((number, _HEADING.fullmatch(line)) for number, line in enumerate(lines, start=1))
    return [(number, match["text"]) for number, match in matches if match]


NO_PREFIX = "none"  # value of parset_prefix for no prefix
NONE = NO_PREFIX  # value of an option for "not wanted"
SIP_SCHEMA_VERSIONS = ("2.7.2", "2.6.1")
INTEGER_IDENTIFIER_VERSIONS = ("2.7.2",)  # identifiers are integers; in earlier versions any text
#: Required values for a sip_file -> meaning.
SIP_REQUIRED = {
    "sip_project_code": "code of the project that owns the data",
    "sip_primary_investigator": "primary investigator of the project",
    "sip_contact_author": "contact author of the project",
    "sip_project_description": "description of the project",
    "sip_identifier_source": "system that gave the identifiers, such as MoM or SAS",
    "sip_product_identifiers": "identifier of each delivered image, in their order",
    "sip_process_identifier": "identifier of this pipeline run",
    "sip_observation_id": "identifier of the observation in the scheduling system",
    "sip_source_identifiers": "identifiers of the input measurement sets",
    "sip_strategy_name": "name of the processing strategy",
    "sip_strategy_description": "description of the processing strategy",
}
SIP_IDENTIFIERS = ("sip_product_identifiers", "sip_process_identifier", "sip_observation_id", "sip_source_identifiers")


def is_sip_requested(values: Mapping[str, object]) -> bool:
    """Whether a SIP is requested."""
    return str(values.get("sip_file", "")) not in ("", NONE)


def sip_problems(values: Mapping[str, object]) -> list[str]:
    """Return the problems of the values for a SIP; one of them lists all missing values.

    ``values`` are control values, texts or lists; a reference to the output of a step counts as given.
    """
    if not is_sip_requested(values):
        return []
    version = str(values.get("sip_schema_version", SIP_SCHEMA_VERSIONS[0]))
    problems = []
    if version not in SIP_SCHEMA_VERSIONS:
        problems.append(f"sip_schema_version: is '{version}'; one of {', '.join(SIP_SCHEMA_VERSIONS)} is needed")
    if str(values.get("product_type", "SkyImage")) != "SkyImage":
        problems.append(f"sip_file: product_type is '{values['product_type']}'; a SIP is written for SkyImage only")
    missing = [f"{name} ({meaning})" for name, meaning in SIP_REQUIRED.items() if not sip_items(values.get(name))]
    if missing:
        values_needed = f"{len(missing)} more value{'s' if len(missing) > 1 else ''}"
        problems.append(
            f"sip_file: the archive needs {values_needed}, which only you know: {', '.join(missing)}; set them, "
            "or sip_file = none"
        )
    return problems + (_bad_identifiers(values) if version in INTEGER_IDENTIFIER_VERSIONS else [])


def _bad_identifiers(values: Mapping[str, object]) -> list[str]:
    identifiers = [
        (name, text) for name in SIP_IDENTIFIERS for text in sip_items(values.get(name)) if not references(text)
    ]
    return [
        f"{name}: '{text}' is no identifier; a whole number is needed (any text with sip_schema_version = 2.6.1)"
        for name, text in identifiers
        if not (text.isascii() and text.isdigit())
    ]


def sip_items(value: object) -> Sequence[str]:
    """Return the items of a value: one text, the text of a list, or a list."""
    if isinstance(value, str):
        return list_items(value)
    return [str(item) for item in value] if isinstance(value, list) else []
