"""Following a journal that another process, or another thread, writes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from lofarpipe.programs.base import Progress
from lofarpipe.programs.logs import ProgressReader
from lofarpipe.state.events import read_events
from lofarpipe.state.run_state import JobState, RunState

TAIL_BYTES = 65536  # of a log are read when it is looked at first


class JournalTail:
    """The picture of a run, brought up to date by ``look``.

    Attributes
    ----------
    state: what the journal said so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = RunState()
        self._offset = 0
        self._file = 0

    def look(self) -> RunState:
        """Read what was appended, and return the picture; a line that is not complete waits for the next time.

        Raises
        ------
        OSError
            If the journal cannot be read.
        """
        with self.path.open("rb") as stream:
            found = os.fstat(stream.fileno())
            if found.st_ino != self._file or found.st_size < self._offset:  # it was mended after a crash
                self._file, self._offset, self.state = found.st_ino, 0, RunState()
            stream.seek(self._offset)
            content = stream.read()
        complete = content[: content.rfind(b"\n") + 1]
        events, _ = read_events(complete)
        self._offset += len(complete)
        for event in events:
            self.state.apply(event)
        return self.state


class LogTails:
    """What running jobs do, as the ends of their logs tell."""

    def __init__(self) -> None:
        self._tails: dict[str, _LogTail] = {}

    def progress(self, jobs: list[JobState]) -> dict[str, Progress]:
        """Return what is known of each of these jobs by name; the others are forgotten."""
        self._tails = {job.name: self._tails.get(job.name) or _LogTail(Path(job.log)) for job in jobs if job.log}
        return {name: tail.look() for name, tail in self._tails.items()}


class _LogTail:
    """The end of one log."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._reader = ProgressReader()
        self._offset: int | None = None

    def look(self) -> Progress:
        try:
            with self._log.open("rb") as stream:
                found = os.fstat(stream.fileno())
                size = found.st_size
                start = size - TAIL_BYTES if self._offset is None else self._offset
                stream.seek(max(0, start if start <= size else 0, size - TAIL_BYTES))
                written = stream.read(2 * TAIL_BYTES)
                self._offset = stream.tell()
        except OSError:  # it is on another machine, or was removed
            return self._reader.progress
        return replace(self._reader.feed(written.decode(errors="replace")), written_s=found.st_mtime)
