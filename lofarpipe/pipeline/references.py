"""References to the outputs of other steps: ``<step>.output.<key>`` inside a value."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lofarpipe.errors import PipelineError, nearest

# Looked for where a name begins, and nowhere within one: a long word would take the square of its length.
REFERENCE = re.compile(r"(?<![\w+-])([\w+-]++)\.output\.([\w+.-]++)")

#: Stands around a reference that is replaced before what surrounds it is put together: no character of a name.
EDGE = "\u2063"

Results = dict[str, dict[str, object]]


def references(text: str) -> list[tuple[str, str]]:
    """Return (step, key) of every reference in ``text``, left to right."""
    return REFERENCE.findall(text)


def edged(text: str) -> str:
    """Return ``text`` with edges around its references, so that what is put beside them is no part of them."""
    return REFERENCE.sub(lambda match: f"{EDGE}{match[0]}{EDGE}", text)


def without_edged(text: str) -> str:
    """Return ``text`` without its edged references: they are told of where they are written."""
    return re.sub(f"{EDGE}[^{EDGE}]*{EDGE}", EDGE, text)


def resolve(text: str, results: Mapping[str, Mapping[str, object]], where: str) -> str:
    """Return ``text`` with every reference replaced by the value that the step gave.

    Raises
    ------
    PipelineError
        If there is no such step or output; the message names those that exist.
    """

    def value(match: re.Match[str]) -> str:
        step, key = match.groups()
        if step not in results:
            raise PipelineError(f"{where}: '{match[0]}': no step '{step}' has run{nearest(step, results)}")
        if key not in results[step]:
            known = ", ".join(sorted(results[step])) or "nothing"
            raise PipelineError(
                f"{where}: step '{step}' has no output '{key}'{nearest(key, results[step])}; it gives: {known}"
            )
        return str(results[step][key])

    # A function as replacement: backslashes in a value stay what they are.
    return REFERENCE.sub(value, text)


def resolve_known(text: str, results: Mapping[str, Mapping[str, object]]) -> str:
    """Return ``text`` with those references replaced that ``results`` has; the others stay."""

    def value(match: re.Match[str]) -> str:
        step, key = match.groups()
        return str(results[step][key]) if key in results.get(step, {}) else match[0]

    return REFERENCE.sub(value, text)
