"""Reading of program logs: progress, cause and remedy of failures, and reasons to abort.

Programs need no cooperation. Hints are given for the final error message of a program, not for other text in
its log. Every entry was printed by the real program; tests/programs/test_messages.py provokes it again, or names it as
recorded. Messages of a single program are defined with that program.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lofarpipe.imaging.ms.messages import LIBRARY_MESSAGES, Messages, add_advice, advice_for
from lofarpipe.jobs import Job
from lofarpipe.programs.base import KNOWN_PROGRAMS, Detector, Program, Progress
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import printable

LONGEST_LINE = 10_000  # characters searched
OUR_NOTE = "### "  # prefix of the executor's lines in a log
# Logs hold arbitrary text: only numbers that Python can parse may match.
COUNT = r"[0-9]{1,18}"
STEPS = lazy_pattern(r"^(?:([^%:]*): )?0%[0-9.%]*$")  # 0%....10....20, after an optional title
_LAST_STEP = lazy_pattern(r"([0-9]{1,3})%?(\.*)$")
DOTS_PER_TEN = 5  # four dots and the number


def percent_done(line: str) -> float | None:
    """Return the fraction done, 0..1, of a line such as ``0%....10....20..``; None for other lines."""
    if not STEPS.match(line):
        return None
    last = _LAST_STEP.search(line)
    if last is None or int(last[1]) >= 100:
        return 1.0
    return min(1.0, (int(last[1]) + 10 * len(last[2]) / DOTS_PER_TEN) / 100)


class ProgressReader:
    """Follows the log of a program, recognised by its lines.

    A line of an unknown program is its own text.
    """

    def __init__(self) -> None:
        self.progress = Progress("")
        self._unfinished = ""
        readers = (program.line_reader() for program in KNOWN_PROGRAMS.values())
        self._readers = [*filter(None, readers), _percent, _show_line]

    def feed(self, text: str) -> Progress:
        """Read the lines written since the last time, and return the progress of the program.

        The last line need not be complete: programs write dots as they go.
        """
        *lines, last = (self._unfinished + text).replace("\r", "\n").split("\n")
        for line in lines:
            self._read(line)
        self._unfinished = last[-LONGEST_LINE:]
        self._read(self._unfinished)
        return self.progress

    def _read(self, line: str) -> None:
        line = line[:LONGEST_LINE].rstrip()
        if not line or line.startswith(OUR_NOTE):
            return
        readings = (reader(line, self.progress) for reader in self._readers)
        self.progress = next((progress for progress in readings if progress is not None), self.progress)


def _percent(line: str, progress: Progress) -> Progress | None:
    done = percent_done(line)
    if done is None:
        return None
    phase = (STEPS.match(line) or [None, None])[1]
    text = f"{phase.lower()} {done:.0%}" if phase else f"{done:.0%}"
    return replace(progress, text=text, fraction=done, is_final=False)


def _show_line(line: str, progress: Progress) -> Progress | None:
    """Show the line itself, but keep the last progress during a deconvolution, or at the end."""
    if progress.major_iteration or progress.is_final:
        return None
    return replace(progress, text=printable(line).strip(), fraction=None)


# Messages of the C library about corrupted memory. Source: glibc, malloc.c.
HEAP = r"(?:munmap_chunk|free|malloc|malloc_consolidate)\(\): |double free or corruption|corrupted (?:size|double)"
# How the last message of a program begins: of Python (DP3.py), of an abort in C++, of WSClean, of DP3 as a binary.
_BEGINNING = lazy_pattern(
    r"(?:[\w.]*(?:Error|Exception): |  what\(\): +|\+? ?>>> ?|\s*std exception detected: |"
    rf"(?={HEAP}))(?P<message>.*)"
)
_RAISED = lazy_pattern(
    r"(?:\S.*: )?[A-Za-z]\w*(?:Error|Exception): (?P<message>.*)"
)  # an exception of Python, in one line
_NOT_OPENED = lazy_pattern(r"unable to open file: name = '([^']*)'")  # HDF5 writes it before the message
TIMES = "all sets that are read together must have the same time slots"
SELECT_TIMES = "select those that all have (msin.starttime, msin.endtime), or leave that set out"
#: Messages of any program.
KNOWN_MESSAGES: Messages = (
    # ---- the start of a program
    (r"linked to a multi-threaded version of OpenBLAS", "set OPENBLAS_NUM_THREADS=1"),
    (r"HOME environment variable", "set HOME"),
    *LIBRARY_MESSAGES,
    # ---- measurement sets that do not go together
    (
        r"First time of MS|Last time of MS",
        f"{TIMES}: {SELECT_TIMES}",
    ),
    (
        r"times in all MSs have to be consecutive",
        f"{TIMES}, without gaps: average each set alone, which fills them (fuse_average_concat = False)",
    ),
    (
        r"Table array conformance error",
        "time slots differ in their number of rows: some baselines are missing in some of them; keep the same "
        "baselines in all, or leave the set out",
    ),
    (
        r"appears to have multiple subbands",
        "rows are duplicate, or of several spectral windows: remove the repeated ones, or choose one with msin.band",
    ),
    (
        r"Number of baselines of MS",
        "sets that are read together must have the same baselines: select those that all have with msin.baseline",
    ),
    (
        r"Last time is before the first|Specified (?:starttime|end ?time)",
        "the set has no data in these times: correct msin.starttime and msin.endtime, or sort the set by time",
    ),
    (
        r"Can not form requested polarization",
        "the set lacks correlations that it is made of; request another with -pol",
    ),
    (
        r"measurement set with 4 polarizations",
        "the set has fewer correlations: leave it out, or image it as it is, without DP3",
    ),
    (
        r"incorrect frequency axis",
        "channels must rise or fall in frequency: sort them in SPECTRAL_WINDOW and in the data, or leave the set out",
    ),
)


def last_error(log_text: str) -> str:
    """Return the final error message of a program as one line, with WSClean's nested causes; "" without one."""
    message = ""
    was_nested = False
    for line in log_text.splitlines():
        match = None if line.startswith(OUR_NOTE) else _BEGINNING.match(line)
        is_nested = match is not None and line.lstrip("+ ").startswith(">>>")
        if match:
            message = f"{message} {match['message']}" if is_nested and was_nested else match["message"]
        was_nested = is_nested
    files = _NOT_OPENED.findall(log_text) if message.startswith("H5Fopen") else []
    return ": ".join([" ".join(message.split()), *files[-1:]])


def explained(program: str, log_text: str, messages: Messages = ()) -> str:
    """Return a program's final error message, with the remedy; "" without one.

    ``messages`` are the messages of this program alone.
    """
    error = last_error(log_text)
    return f"{program} says: {add_advice(error, KNOWN_MESSAGES + messages)}" if error else ""


def hint_for(last_lines: Sequence[str]) -> str:
    """Return the final error message of an unknown program or script, if it is a known one, with the remedy; else "".

    Messages of our scripts include their remedy; the exception of a library follows its place.
    """
    raised = _RAISED.fullmatch(last_lines[-1]) if last_lines else None
    error = raised["message"] if raised else last_error("\n".join(last_lines))
    messages = KNOWN_MESSAGES + tuple(row for program in KNOWN_PROGRAMS.values() for row in program.messages)
    return add_advice(error, messages) if advice_for(error, messages) else ""


CHUNK_BYTES = 1 << 20
LONGEST_LINE_BYTES = 1 << 16  # only the tail of an unfinished line, such as DP3's dots, is kept


def detector_of(program: Program, texts: Mapping[str, str]) -> Detector | None:
    """Return the divergence check for a job's log; ``texts`` has the limits that differ from their defaults.

    Raises
    ------
    ValueError
        If a limit is no number.
    """
    return program.detector({key: float(texts.get(key, limit.default)) for key, limit in program.limits.items()})


def sign_in(lines: Iterable[str], detector: Detector) -> str | None:
    """Return the reason in complete lines to abort the job, else None."""
    signs = (detector(line.rstrip("\r\n")) for line in lines if not line.startswith(OUR_NOTE))
    return next((text for text in signs if text), None)


class LogWatch:
    """Reads the lines appended to a log since the last look.

    Parameters
    ----------
    log: the file, which may not exist yet.
    detector: gets the lines.
    """

    def __init__(self, log: Path, detector: Detector) -> None:
        self._log = log
        self._detector = detector
        self._offset = 0
        self._unfinished = b""

    @classmethod
    def of(cls, job: Job) -> LogWatch | None:
        """Return the log watch requested by a job's ``watch``, or None."""
        program = program_of_job(job)
        detector = detector_of(program, job.watch) if program else None
        return cls(job.log, detector) if detector else None

    def check_log(self) -> str | None:
        """Return the reason to abort, or None, also for an unreadable log."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._offset)
                while chunk := stream.read(CHUNK_BYTES):
                    self._offset += len(chunk)
                    if sign := sign_in(self._lines(chunk), self._detector):
                        return sign
        except OSError:
            return None
        return None

    def _lines(self, chunk: bytes) -> list[str]:
        *lines, last = (self._unfinished + chunk).split(b"\n")
        self._unfinished = last[-LONGEST_LINE_BYTES:]
        return [os.fsdecode(line) for line in lines]


def program_of_job(job: Job) -> Program | None:
    """Return the program of a watched job; None if it is not watched."""
    if not job.watch:
        return None
    return KNOWN_PROGRAMS.get(job.watch.get("program", ""))


def output_fault(job: Job) -> str:
    """Return the problem of a watched job's output files under their temporary names; "" without one."""
    program = program_of_job(job)
    if program is None or job.staged is None:
        return ""
    try:
        return program.output_fault(job.staged.directory.iterdir())
    except OSError:  # the commit's to tell
        return ""
