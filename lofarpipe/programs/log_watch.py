"""Jobs that cannot come to anything, seen in what a known program writes while it runs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from lofarpipe.jobs import Job
from lofarpipe.programs.base import Detector, Program
from lofarpipe.programs.progress import OUR_NOTE

CHUNK_BYTES = 1 << 20
LONGEST_LINE_BYTES = 1 << 16  # of a line without an end, such as the dots of DP3, only the end is kept


def detector_of(program: Program, texts: Mapping[str, str]) -> Detector | None:
    """Return what reads the log of a job of a program; ``texts`` has the limits that are not at their default.

    Raises
    ------
    ValueError
        If a limit is no number.
    """
    return program.detector({key: float(texts.get(key, limit.default)) for key, limit in program.limits.items()})


def sign_in(lines: Iterable[str], detector: Detector) -> str | None:
    """Return what was seen in complete lines if the job should be ended, else None."""
    seen = (detector(line.rstrip("\r\n")) for line in lines if not line.startswith(OUR_NOTE))
    return next((text for text in seen if text), None)


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
        program = program_of_job(job)
        detector = detector_of(program, job.watch) if program else None
        return cls(job.log, detector) if detector else None

    def look(self) -> str | None:
        """Return why there is no hope, or None; a log that cannot be read says nothing."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._offset)
                while chunk := stream.read(CHUNK_BYTES):
                    self._offset += len(chunk)
                    if seen := sign_in(self._lines(chunk), self._detector):
                        return seen
        except OSError:
            return None
        return None

    def _lines(self, chunk: bytes) -> list[str]:
        *lines, last = (self._unfinished + chunk).split(b"\n")
        self._unfinished = last[-LONGEST_LINE_BYTES:]
        return [os.fsdecode(line) for line in lines]


def program_of_job(job: Job) -> Program | None:
    """Return the program whose job is watched; None if it is not watched."""
    if not job.watch:
        return None
    from lofarpipe.programs.registry import KNOWN_PROGRAMS  # most jobs are not watched

    return KNOWN_PROGRAMS.get(job.watch.get("program", ""))


def output_fault(job: Job) -> str:
    """Return what is wrong with what a watched job has written, which has not its final names yet; "" if nothing."""
    program = program_of_job(job)
    if program is None or job.staged is None:
        return ""
    try:
        return program.output_fault(job.staged.directory.iterdir())
    except OSError:  # the commit's to tell
        return ""
