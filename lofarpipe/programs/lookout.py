"""Reading the log of a job while it grows, and in the end its images, to see whether there is hope."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.jobs import Job

if TYPE_CHECKING:
    from lofarpipe.programs.log_watch import Detector

CHUNK_BYTES = 1 << 20
LONGEST_LINE_BYTES = 1 << 16  # of a line without an end, such as the dots of DP3, only the end is kept


class Lookout:
    """Reads what was appended to a log since the last look.

    Parameters
    ----------
    log: the file; it need not be there yet.
    detector: what the lines are given to.
    """

    def __init__(self, log: Path, detector: Detector) -> None:
        self._log = log
        self._detector = detector
        self._offset = 0
        self._unfinished = b""

    @classmethod
    def of(cls, job: Job) -> Lookout | None:
        """Return the lookout that a job asks for with ``watch``; None if it asks for none."""
        if not job.watch:
            return None
        from lofarpipe.programs.log_watch import Detector  # most jobs are not watched

        return cls(job.log, Detector(job.watch.get("program", ""), job.watch))

    def look(self) -> str | None:
        """Return why there is no hope, or None; a log that cannot be read says nothing."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._offset)
                while chunk := stream.read(CHUNK_BYTES):
                    self._offset += len(chunk)
                    if seen := self._detector.feed(self._lines(chunk)):
                        return seen
        except OSError:
            return None
        return None

    def _lines(self, chunk: bytes) -> list[str]:
        *lines, last = (self._unfinished + chunk).split(b"\n")
        self._unfinished = last[-LONGEST_LINE_BYTES:]
        return [os.fsdecode(line) for line in lines]


def blank_outputs(job: Job) -> str:
    """Return what is wrong with the images that a watched job of WSClean made, or ""; they have not their names yet."""
    if job.staged is None or job.watch.get("program") != "wsclean":
        return ""
    from lofarpipe.programs.wsclean.blank_images import blank_images

    try:
        names = blank_images(job.staged.directory.iterdir())
    except OSError:  # the commit's to tell
        return ""
    if not names:
        return ""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"every pixel of {min(names)}{more} is NaN; look at the weights and the visibilities, or lower mgain"
