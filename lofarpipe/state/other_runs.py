"""Work of other runs, from their journals; read on demand, never written."""

from __future__ import annotations

import glob
import json
from collections.abc import Collection, Iterator
from dataclasses import field
from pathlib import Path

from lofarpipe.state.events import JOURNAL, JobDone, read_events
from lofarpipe.state.fingerprints import is_same
from lofarpipe.support.dataclass import dataclass


@dataclass
class OtherRuns:
    """The runs in the job directories matching a pattern.

    Parameters
    ----------
    pattern: glob of job directories; "" for none.
    directory: job directory of this run.
    """

    pattern: str
    directory: Path
    _texts: dict[Path, bytes] = field(default_factory=dict)

    def successful_jobs(self, marks: Collection[str]) -> Iterator[tuple[str, JobDone]]:
        """Yield (run, end event) of the successful jobs with these fingerprints."""
        for path in self._journals():
            for end in self._end_events(path, marks):
                if end.problem is None and end.fingerprint in marks:
                    yield path.parent.name, end

    def explains(self, path: str, former_stamp: str, now: str) -> bool:
        """Whether the state of a file is fully explained by successive jobs of these runs."""
        steps = [
            (end.former[path], end.written.get(path))
            for journal in [*self._journals(), self.directory / JOURNAL]
            for end in self._end_events(journal, [json.dumps(path)[1:-1]])
            if path in end.former
        ]
        reached = {former_stamp}
        while more := {to for start, to in steps if to and to not in reached and _is_in(start, reached)}:
            reached |= more
        return _is_in(now, reached)

    def _journals(self) -> list[Path]:
        if not self.pattern:
            return []
        paths = map(Path, sorted(glob.glob(f"{self.pattern}/{JOURNAL}")))  # noqa: PTH207 - of an absolute pattern
        return [path for path in paths if path.parent != self.directory]

    def _end_events(self, path: Path, words: Collection[str]) -> list[JobDone]:
        """Return the end events in a journal that contains one of some words, a quick test."""
        if path not in self._texts:
            try:
                self._texts[path] = path.read_bytes()
            except OSError:  # deleted, or not readable
                self._texts[path] = b""
        text = self._texts[path]
        if not any(word.encode(errors="surrogateescape") in text for word in words):
            return []
        return [event for event in read_events(text)[0] if isinstance(event, JobDone)]


def _is_in(mark: str | None, marks: Collection[str]) -> bool:
    return any(is_same(mark, one) for one in marks)
