"""Regular expressions of modules, compiled at first use: a run uses a few of the hundred that it loads."""

from __future__ import annotations

import re
from typing import Any, cast


class _Pattern:
    """A regular expression whose attributes are those of its ``re.Pattern``, which its first use makes."""

    def __init__(self, text: str, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, value)  # the next use finds it without this function
        return value


def lazy_pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Return a regular expression that is compiled at first use.

    ``re`` keeps 512 compiled ones: another attribute of the same pattern does not compile it again.
    """
    return cast("re.Pattern[str]", _Pattern(text, flags))
