"""Known messages of programs, EveryBeam and casacore: what each means, and what to do.

A hint is given for the message with which a program ended, and not for other text in its log. Every entry was said by
the real program; tests/programs/test_messages.py makes it say it again, or names the entry as recorded. What only one
program says stands with that program.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lofarpipe.imaging.ms.messages import LIBRARY_MESSAGES, Messages, advice_for, advised
from lofarpipe.programs.progress import OUR_NOTE

# What the C library says of memory that a program wrote over, whichever it finds first. Source: glibc, malloc.c.
HEAP = r"(?:munmap_chunk|free|malloc|malloc_consolidate)\(\): |double free or corruption|corrupted (?:size|double)"
# How the last message of a program begins: of Python (DP3.py), of an abort in C++, of WSClean, of DP3 as a binary.
_BEGINNING = re.compile(
    r"(?:[\w.]*(?:Error|Exception): |  what\(\): +|\+? ?>>> ?|\s*std exception detected: |"
    rf"(?={HEAP}))(?P<message>.*)"
)
_RAISED = re.compile(
    r"(?:\S.*: )?[A-Za-z]\w*(?:Error|Exception): (?P<message>.*)"
)  # an exception of Python, in one line
_NOT_OPENED = re.compile(r"unable to open file: name = '([^']*)'")  # HDF5 says it before the message

TIMES = "all sets that are read together must have the same time slots"
SELECT_TIMES = "select those that all have (msin.starttime, msin.endtime), or leave that set out"

#: What any program may say.
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
        "rows are there twice, or of several spectral windows: remove the repeated ones, or choose one with msin.band",
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
    """Return the message with which a program ended, in one line, with the causes that WSClean names; "" if none."""
    message = ""
    was_nested = False
    for line in log_text.splitlines():
        found = None if line.startswith(OUR_NOTE) else _BEGINNING.match(line)
        is_nested = found is not None and line.lstrip("+ ").startswith(">>>")
        if found:
            message = f"{message} {found['message']}" if is_nested and was_nested else found["message"]
        was_nested = is_nested
    files = _NOT_OPENED.findall(log_text) if message.startswith("H5Fopen") else []
    return ": ".join([" ".join(message.split()), *files[-1:]])


def explained(program: str, log_text: str, own: Messages = ()) -> str:
    """Return what a program said at its end, with what to do; "" if its log has no message.

    ``own`` are the messages of this program alone.
    """
    error = last_error(log_text)
    return f"{program} says: {advised(error, KNOWN_MESSAGES + own)}" if error else ""


def hint_for(last_lines: Sequence[str]) -> str:
    """Return the known message with which any other program or script ended, with what to do; "" if it is none.

    What a script of ours says of itself has its remedy in it; an exception of a library stands behind its place.
    """
    from lofarpipe.programs.registry import KNOWN_PROGRAMS  # a script may have run each of them

    raised = _RAISED.fullmatch(last_lines[-1]) if last_lines else None
    error = raised["message"] if raised else last_error("\n".join(last_lines))
    known = KNOWN_MESSAGES + tuple(row for program in KNOWN_PROGRAMS.values() for row in program.messages)
    return advised(error, known) if advice_for(error, known) else ""
