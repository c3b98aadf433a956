"""From a TOML value to the words of a WSClean option: by its type, and without a shell."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from lofarpipe.cli.imgpipe.settings import as_toml
from lofarpipe.programs.argv import PATHS as PATH_OPTIONS
from lofarpipe.support.patterns import lazy_pattern

#: Options with one path, which may contain spaces.
PATHS = PATH_OPTIONS | {"moresane-ext"}
#: Options whose values WSClean reads as one comma-separated word.
COMMA_JOINED = frozenset({"pol", "link-polarizations", "multiscale-scales", "field", "spws", "moresane-sl"})
COMMA_JOINED |= {"channel-division-frequencies"}
SIZE = "size"

TOKENS = ("ms_in", "ms_basename", "name", "obs_id", "sw")
# Before another variable, only known names are tokens: $SCRATCH$USER are two variables.
_REFERENCE = lazy_pattern(
    rf"\$(?P<token>{'|'.join(TOKENS)}|\w+(?!\$[A-Za-z_{{]))\$|\$\{{(?P<braced>\w+)\}}|\$(?P<plain>[A-Za-z_]\w*)"
)

Environment = Mapping[str, str]


def option_words(key: str, value: object, environment: Environment, directory: Path) -> list[str] | None:
    """Return the words after an option; None to leave the option out.

    Parameters
    ----------
    key: without its dash.
    value: as TOML has it: true is the flag alone, false leaves it out.
    environment: environment of the jobs, for ``$NAME`` and ``~``.
    directory: the start of relative paths.

    Raises
    ------
    ValueError
        If the value is invalid, with the reason.

    See doc/pipelines/imgpipe.md, From keys to arguments.
    """
    if value is False:
        return None
    if value is True:
        return []
    words = _list_words(key, value) if isinstance(value, list) else _scalar_words(key, value)
    words = [expanded(word, environment) for word in words]
    if key in PATHS:
        return [str(directory / word) for word in words]
    return words * 2 if key == SIZE and len(words) == 1 else words


def _scalar_words(key: str, value: object) -> list[str]:
    if isinstance(value, (int, float)):
        return [str(value)]
    if not isinstance(value, str):
        raise ValueError(f"is {as_toml(value)}; a text, a number, true, false or a list of these is needed")
    try:
        words = shlex.split(value)
    except ValueError as err:
        raise ValueError(f"is {value!r}: its quotes are not balanced") from err
    return [value] if key in PATHS and len(words) > 1 else words


def _list_words(key: str, values: list[object]) -> list[str]:
    if not values:
        raise ValueError("is an empty list; give its values, or false to leave the option out")
    wrong = [value for value in values if isinstance(value, bool) or not isinstance(value, (str, int, float))]
    if wrong:
        raise ValueError(f"has {as_toml(wrong[0])} in its list; texts and numbers are possible")
    words = list(map(str, values))
    return [",".join(words)] if key in COMMA_JOINED else words


def expanded(text: str, environment: Environment, tokens: Mapping[str, str | None] | None = None) -> str:
    """Return a text with tokens, variables and ``~`` replaced in one pass, so values are not expanded again.

    Parameters
    ----------
    tokens: name -> value, or None without a value here; None if tokens have no meaning.

    Raises
    ------
    ValueError
        If a token or a variable has no value.
    """

    def value(match: re.Match[str]) -> str:
        if match["token"]:
            return _token(match["token"], tokens)
        name = match["braced"] or match["plain"]
        if name not in environment:
            raise ValueError(f"is {text!r}: ${name} is not set in the environment of the jobs")
        return environment[name]

    home = ""
    if text == "~" or text.startswith("~/"):
        home, text = environment.get("HOME") or os.path.expanduser("~"), text[1:]  # noqa: PTH111 - of a bare name
    return home + _REFERENCE.sub(value, text)


def _token(name: str, tokens: Mapping[str, str | None] | None) -> str:
    token_names = ", ".join(f"${token}$" for token in TOKENS)
    if tokens is None:
        raise ValueError(f"has the token ${name}$; tokens are replaced in name and out-dir only")
    if name not in tokens:
        raise ValueError(f"has ${name}$, and there is no such token; there are {token_names}")
    if (token_value := tokens[name]) is None:
        has_none = f"has ${name}$, which has no value"
        if name == "obs_id":
            raise ValueError(
                f"{has_none} for sets that are named directly, or of several observations; of {token_names}"
            )
        raise ValueError(f"{has_none} without a data handler, [data_handler] config_file; of {token_names}")
    return token_value


_EVERY = lazy_pattern(r"every\s*(?P<count>\d+)")


def channels_out(value: object, channels: int) -> tuple[int, str]:
    """Return the number of output channels, and a notice where channels are left over.

    Parameters
    ----------
    value: of ``channels-out``: ``all``, ``every N``, or a number.
    channels: number of unique selected channels in the group's sets.

    Raises
    ------
    ValueError
        If the value is invalid, or leaves no channel.

    See doc/pipelines/imgpipe.md, Output channels.
    """
    text = str(value).strip()
    every = _EVERY.fullmatch(text)
    if text == "all":
        count, notice = channels, ""
    elif every and int(every["count"]):
        count, remainder = divmod(channels, int(every["count"]))
        notice = (
            f"'{text}': {channels} channels leave a remainder of {remainder}, which WSClean shares out"
            if remainder
            else ""
        )
        if not count:
            raise ValueError(f"is '{text}', and there are {channels} channels; take {channels} at most")
    elif isinstance(value, (int, str)) and not isinstance(value, bool) and text.isdecimal() and int(text):
        count, notice = int(text), ""
        if count > channels:
            raise ValueError(f"is {text}, and there are {channels} unique channels; take {channels} at most, or 'all'")
    else:
        raise ValueError(f"is {as_toml(value)}; 'all', 'every N' with N > 0, or a number > 0 is needed")
    if not count:
        raise ValueError(f"is '{text}', and the options select no channel")
    return count, notice
