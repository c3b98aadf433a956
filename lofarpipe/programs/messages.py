"""Known messages of DP3, WSClean, EveryBeam and casacore: what each means, and what to do.

A hint is given for the message with which a program ended, and not for other text in its log. Every entry was said by
the real program; tests/programs/test_messages.py makes it say it again, or names the entry as recorded.
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
    # ---- DP3
    (r"Could not create step of type", "correct the type of the step; https://dp3.readthedocs.io lists them"),
    (r"is not an integer value|Illegal unit string", "correct that value in the parset"),
    (r"Key \S+ unknown", "the step needs this key: add it"),
    (r"nr of channels must divide integrally", "choose a step in frequency that divides the number of channels"),
    (r"startchan \d+ exceeds|Band \S+ not found", "the set has fewer: correct the selection of msin"),
    (
        r"DyscoStMan is flushed before at least two",
        "Dysco cannot hold a single time slot: write without it, or with databitrate = 0 and weightbitrate = 0",
    ),
    (r"Unknown storage manager", "set msout.storagemanager to dysco, or remove it"),
    (r"containing format string could not be opened", "there is no such sky model: correct its name (sourcedb)"),
    (r"Couldn't find patch", "the sky model has no patch of this name: correct sources or directions"),
    # ---- WSClean
    (r"not compiled with IDG", "set gridder = wgridder, or install a WSClean with IDG"),
    (r"HYBRID_CUDA|CUDA_GENERIC", "this IDG has no CUDA; set idg_mode = cpu"),
    (
        r"without EveryBeam",
        "remove -apply-primary-beam; make_primary_beam makes the beam",
    ),
    (r"Error writing to temporary file", "local_scratch_dir is full or cannot be written; set another"),
    (r"Unknown parameter", "this WSClean has no such option: correct or remove it"),
    (
        HEAP,
        "a fault of the program; WSClean 3.1 has it with -multiscale and -local-rms: add -no-multiscale-fast-subminor",
    ),
    (r"only 0 unique channels", "no channel is selected: correct -spws"),
    (r"output channels requested", "make channels-out smaller, or average less in frequency"),
    (r"mask did not have same dimensions", "make the mask with the size and pixels of this image"),
    (r"could not open the named file|Could not open parset file|Error reading \S+$", "correct the name of that file"),
    (r"Bad channel selection|Invalid interval selection", "the set has fewer: choose within them"),
    (r"Unknown .* specified", "correct that value; wsclean --help lists those that there are"),
    (r"couldn't create the named file", "make the directory of the image (-name), or name another"),
    (r"only one polarization is being imaged", "request several with -pol, or remove -join-polarizations"),
    (r"IDG can not yet make rectangular images", "set axis_stretch = 1.0, or gridder = wgridder"),
    (r"Image size has not been set", "set -size to a width and a height above 0"),
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


def explained(program: str, log_text: str) -> str:
    """Return what a program said at its end, with what to do; "" if its log has no message."""
    error = last_error(log_text)
    return f"{program} says: {advised(error, KNOWN_MESSAGES)}" if error else ""


def hint_for(last_lines: Sequence[str]) -> str:
    """Return the known message with which any other program or script ended, with what to do; "" if it is none.

    What a script of ours says of itself has its remedy in it; an exception of a library stands behind its place.
    """
    raised = _RAISED.fullmatch(last_lines[-1]) if last_lines else None
    error = raised["message"] if raised else last_error("\n".join(last_lines))
    return advised(error, KNOWN_MESSAGES) if advice_for(error, KNOWN_MESSAGES) else ""
