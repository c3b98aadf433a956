"""What jobs that did not run are going to write, as far as they name it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lofarpipe.state.fingerprints import named_files, texts


@dataclass
class Awaited:
    """The paths that such jobs name, and their steps.

    Parameters
    ----------
    workdir: where the jobs run; what they do not name is most likely written there.
    """

    workdir: Path
    _steps: dict[str, str] = field(default_factory=dict)  # path -> step

    def add(self, step: str, paths: Iterable[str]) -> None:
        """Keep the paths that the jobs of a step name."""
        self._steps |= dict.fromkeys(paths, step)

    def has_any(self, paths: Iterable[str]) -> bool:
        """Whether one of the paths may be written."""
        return not self._steps.keys().isdisjoint(paths)

    def writer(self, folder: str) -> str:
        """Return a step whose jobs may yet write something new into a directory; "" if there is none.

        A file that is there, and is named, is taken for an input: it does not change what there is to be found.
        """
        if self._steps and _is_below(folder, str(self.workdir)):
            return next(iter(self._steps.values()))
        for path, step in self._steps.items():
            if _is_below(folder, path) or (_is_below(path, folder) and not os.path.lexists(path)):
                return step
        return ""


def named_by_job(thing: object, workdir: Path) -> list[str]:
    """Return the paths that the texts of a job name; of a text that is a file, no piece counts: it may have blanks."""
    names: list[str] = []
    for text in texts(thing):
        is_file = text.startswith("/") and os.path.lexists(text)
        names += [text] if is_file else sorted(named_files(text, workdir))
    return names


def _is_below(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")
