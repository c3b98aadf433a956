"""Suggestions for invalid words on a command line: the flag, sub-command or option probably meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from lofarpipe.config import parset_directories
from lofarpipe.errors import PipelineError, nearest
from lofarpipe.pipeline.compose import compose
from lofarpipe.pipeline.hints import described, suggest_options
from lofarpipe.pipeline.load import find_parset, is_set
from lofarpipe.support.parset import Parset, split_list
from lofarpipe.support.patterns import lazy_pattern

SET = "; one parset is run; its options are set with -s, such as -s 'data_input_filenames=[a.MS, b.MS]'"
CLOSE = 0.8  # difflib ratio above which a name is suggested for another
_LONG = lazy_pattern(r"--?(?P<name>[A-Za-z][\w-]*)(?:=(?P<value>.*))?", re.DOTALL)
_ASSIGNMENT = lazy_pattern(r"(?P<name>[A-Za-z]\w+)=(?P<value>.*)", re.DOTALL)


def advice(words: Sequence[str], flags: Iterable[str], further: Sequence[str], commands: Iterable[str]) -> str:
    """Return advice on a command line of which the words ``further`` were not understood."""
    flags = list(flags)
    sets = [word for word in further if is_set(word)]
    if sets:
        set_list = f"[{sets[0]}{', ...' if len(sets) > 1 else ''}]"
        return f"; measurement sets are an option of the pipeline: -s 'data_input_filenames={set_list}'"
    if option_hint := _as_option(words, flags):
        return option_hint
    if further[:1] == ["="]:
        return "; an assignment is one word, without blanks or in quotes: -s 'robust = 0'"
    odd = next((word for word in further if word.startswith("-")), "")
    if odd:
        return nearest(odd.partition("=")[0], flags)
    first = next((word for word in words if not word.startswith("-")), "")
    if "." not in first:
        return _first_word_hint(first, commands) or SET
    return SET


def misread(flag: str, value: str, words: Sequence[str]) -> str:
    """Return why a word such as ``-scale`` is not -s with the value ``cale``; "" if it may be.

    Names of options, or of arguments of a step, are meant as such, unless the value is an assignment to an option.
    """
    parset = named_parset(words)
    name, rest = flag[1:], flag[2:]
    if parset is None or (value and rest in parset.definitions()):
        return ""
    if suggest_options(name, parset, list(parset.definitions())):
        return f"; options are set with -s {name}=..."
    steps = (key.partition(".argument.") for key in parset if ".argument." in key)
    if step := next((s for s, _, key in steps if name == key or flag in _flags(parset, f"{s}.argument.{key}")), ""):
        return f"; it is an argument of a step; these are set as -s {step}.argument.<name>=<value>"
    return f"; it reads as -s {rest}{value}, and no option is called '{rest}'" if value else ""


def _flags(parset: Parset, key: str) -> list[str]:
    return split_list(parset[key]) if key.endswith(".flags") else []


def _first_word_hint(word: str, commands: Iterable[str]) -> str:
    """Suggest the parset or sub-command meant by the first word."""
    try:
        return f"; did you mean {find_parset(f'{word}.parset').name!r}?"
    except PipelineError:
        return nearest(word, commands)


def _as_option(words: Sequence[str], flags: Sequence[str]) -> str:
    """Suggest the ``-s`` form of a pipeline option written as a flag, or without ``-s``."""
    parset = named_parset(words)
    if parset is None:
        return ""
    names = list(parset.definitions())
    for place, word in enumerate(words):
        is_flag = word.startswith("-")
        match = (_LONG if is_flag else _ASSIGNMENT).fullmatch(word)
        previous_word = words[place - 1] if place else ""
        if match is None or word.partition("=")[0] in flags or previous_word in ("-s", "--set"):
            continue
        value = match["value"] if match["value"] is not None else _value(words[place + 1 :])
        if hint := _assignment_hint(match["name"], value, parset, names):
            return hint
    return ""


def _assignment_hint(word: str, value: str, parset: Parset, names: Sequence[str]) -> str:
    """Suggest the ``-s`` form of the option nearest to a word; with the value if the name is exact."""
    candidates = suggest_options(word, parset, names) or get_close_matches(
        word.replace("-", "_"), names, n=1, cutoff=CLOSE
    )
    if not candidates:
        return ""
    is_same = candidates[0] == word.replace("-", "_")
    setting = f"-s {_quoted(f'{candidates[0]}={value}')}" if is_same else f"-s {candidates[0]}=..."
    return f"; an option of the pipeline is set with -s: {setting}{'' if is_same else described(candidates[0], parset)}"


def _value(next_words: Sequence[str]) -> str:
    """Return the value behind a flag."""
    values = [word for word in next_words[:1] if not word.startswith("-") or word[1:2].isdigit()]
    return values[0] if values else "VALUE"


def _quoted(text: str) -> str:
    return text if re.fullmatch(r"[\w=.,/+-]+", text) else f"'{text}'"


def named_parset(words: Sequence[str]) -> Parset | None:
    """Return the parset named on the command line; None without a readable one."""
    for word in words:
        if not word.startswith("-") and "=" not in word:
            try:
                path = find_parset(word)
                return compose(
                    path, (), parset_directories(), [folder / "steps" for folder in parset_directories()]
                ).parset
            except PipelineError:
                continue
    return None
