"""Regular expressions compiled at first use: a run loads a hundred and uses a few."""

from __future__ import annotations

import re
from typing import Any, cast


class _Pattern:
    """A regular expression with the attributes of ``re.Pattern``, compiled at first use."""

    def __init__(self, text: str, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, value)  # the next use finds it without this function
        return value


def lazy_pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return a regular expression, to be compiled at first use.

    ``re`` caches 512 compiled patterns, so further attributes do not compile it again.
    """
    return cast("re.Pattern[str]", _Pattern(text, flags))
