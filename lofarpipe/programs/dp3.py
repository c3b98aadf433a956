"""DP3: arguments fitted to the machine, what would go wrong with them, and what its log says."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lofarpipe.errors import Suggestions, named
from lofarpipe.support.parset import split_list, unquote
from lofarpipe.support.utilities import files_of

# Keys of a parset that belong to no step; DP3 6.6 reports any other as not used (tried one by one).
GLOBAL_KEYS = frozenset({"checkparset", "msin", "msout", "numthreads", "steps", "verbosity"})
GLOBAL_KEYS |= {"showcounts", "showprogress", "showtimings"}
# Keys that DP3 uses with several input sets only; with one it reports them as not used (tried).
MANY_SETS_KEYS = frozenset({"msin.orderms", "msin.missingdata"})
# Steps that compute a beam themselves, and hold it for this long. Source: notes/real_tools.md, section 2.3.
BEAM_INTERVAL = "beam_interval"
READS_ONLY = frozenset({"count", "counter", "null"})

_UNUSED = re.compile(r"\*\*\* WARNING: the following parset keywords were not used \*\*\*\n((?: .*\n?)*)")
_UNUSED_NAME = re.compile(r"^ +- (\S+)", re.MULTILINE)


def adapt(keywords: Mapping[str, str], cores: int) -> dict[str, str]:
    """Return keywords with ``numthreads`` for what the job was given, and ``checkparset``, unless they are set.

    With ``checkparset`` DP3 ends with 1 before the first visibility is read if it did not use a keyword, but after it
    has made an empty output set; without it DP3 only warns. It wants a number.
    Keys that only matter for several input sets are left out where there is one.
    """
    dropped = MANY_SETS_KEYS if _reads_one_set(keywords) else frozenset()
    kept = {key: value for key, value in keywords.items() if key not in dropped}
    return {"numthreads": str(cores), "checkparset": "1", **kept}


def _reads_one_set(keywords: Mapping[str, str]) -> bool:
    """Whether ``msin`` is a single set, however it is written; a pattern may be many."""
    text = keywords.get("msin", keywords.get("msin.name", ""))
    return len(files_of(text)) == 1 and not set("*?") & set(text)


def check(keywords: Mapping[str, str]) -> list[str]:
    """Return what in the arguments would give wrong results, harm the input, or not be used."""
    steps = step_names(keywords)
    findings = [f"{key}: {what}" for key, what in _unplaced(keywords, steps)]
    findings += [f"{key}: {what}" for key, what in _beam_intervals(keywords)]
    return findings + _output_findings(keywords, steps)


def step_names(keywords: Mapping[str, str]) -> list[str]:
    """Return the names in ``steps``, without their blanks and quotes."""
    text = keywords.get("steps", "").strip()
    listed = split_list(text) if text.startswith("[") else [text]
    return [unquote(name.strip()) for name in listed if name.strip()]


def _unplaced(keywords: Mapping[str, str], steps: list[str]) -> list[tuple[str, str]]:
    """Return the keys that belong neither to DP3 itself nor to a step in ``steps``."""
    if "steps" not in keywords:  # it may come from a parset file
        return []
    inner = [name for key in keywords if key.endswith(".steps") for name in split_list(keywords[key])]
    known, suggested = {*GLOBAL_KEYS, *steps, *inner}, Suggestions()
    unplaced = [key for key in keywords if key.split(".")[0] not in known]
    what = f"DP3 would not use it, for its steps are [{named(steps)}]; correct or remove it"
    return [(key, what + suggested.nearest(key.split(".")[0], known)) for key in unplaced]


def _beam_intervals(keywords: Mapping[str, str]) -> list[tuple[str, str]]:
    found = [key for key in keywords if key.split(".")[-1].replace("_", "") == BEAM_INTERVAL.replace("_", "")]
    what = (
        "is {!r}; with an interval DP3 evaluates the beam in the wrong direction (a gradient of flux over the field); "
        "set it to 0"
    )
    return [(key, what.format(keywords[key])) for key in found if not _is_zero(keywords[key])]


def _is_zero(text: str) -> bool:
    try:
        return float(text) == 0
    except ValueError:
        return False


def _output_findings(keywords: Mapping[str, str], steps: list[str]) -> list[str]:
    """Return whether this call would write into its input."""
    msout = keywords.get("msout", keywords.get("msout.name"))
    if msout is None or msout.strip() not in ("", '""', "''"):
        return []
    kinds = [keywords.get(f"{name}.type", name) for name in steps]
    if steps and (kinds[-1] == "null" or set(kinds) <= READS_ONLY):
        return []
    return [
        "msout: is empty, so DP3 would write into its input; name an output, or end steps with null to write nothing, "
        "or set msout to '.' to change the input on purpose"
    ]


def unused_keywords(log_text: str) -> list[str]:
    """Return the keywords that DP3 reports as not used, in the order of the log, each once."""
    names = [name for block in _UNUSED.findall(log_text) for name in _UNUSED_NAME.findall(block)]
    return list(dict.fromkeys(names))
