"""Known messages of DP3, WSClean, EveryBeam and casacore: what each means, and what to do.

A hint is given for the message with which a program ended, and not for other text in its log. Every entry was said by
the real program; tests/programs/test_messages.py makes it say it again, or names the entry as recorded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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

DAMAGED = "it is damaged: copy it again, or leave it out"
NO_PERMISSION = "ask its owner for permission to read it, or leave it out"
NO_MEMORY = "it ran out of memory; give the job more, or make the image smaller"
NO_BEAM = "image without it: gridder = wgridder, no beam options, and station_diameter_m for the beam by formula"
TIMES = "all sets that are read together must have the same time slots"
SELECT_TIMES = "select those that all have (msin.starttime, msin.endtime), or leave that set out"

# Pattern of a message -> cause and remedy. The first that matches counts: special ones stand above general ones.
KNOWN_MESSAGES: tuple[tuple[str, str], ...] = (
    # ---- the machine
    (r"Too many open files", "give the job fewer sets, or allow more open files (ulimit -n)"),
    (r"bad_alloc", NO_MEMORY),
    (r"linked to a multi-threaded version of OpenBLAS", "set OPENBLAS_NUM_THREADS=1"),
    (r"HOME environment variable", "set HOME"),
    (
        r"Cannot read table of ",
        "casacore does not find its data tables; set AIPSPATH or CASACORE_DATADIR, or measures.directory in ~/.casarc",
    ),
    (
        r"FiledesIO::write - write error|error while writing file|error writing to FITS file",
        "the disk is full, or a limit on the size of files was met (ulimit -f)",
    ),
    (r"Permission denied", NO_PERMISSION),
    (r"does not exist and cannot be created", "make the directory above it, or name another for the output"),
    # ---- measurement sets
    (r"Table \S+ already exists", "set msout.overwrite = True, or name another output"),
    (
        r"column FLAG_CATEGORY is unknown",
        "measurement sets must have this column, even if it is empty: add it, or leave the set out",
    ),
    (r"Table column \S+ is unknown|Data column \S+ is missing", "name a column that the set has: correct data_column"),
    (r"table is not a valid MS", "a column or a subtable is missing: copy the set again, or leave it out"),
    (r"Table \S*/[A-Z_]+ does not exist", f"a subtable is missing; {DAMAGED}"),
    (
        r"No such MS|No datasets found matching|Table (?:file )?\S+ does not exist",
        "correct the name; a word after an option that takes no value is also read as a name of a set",
    ),
    (r"access to non-existing row", "the table has no such row: the set is empty, or an option names one it lacks"),
    (
        r"incorrect number of bytes|is not writable|is shorter than|no magic value found|BucketCache::getBucket|"
        r"(?:open or create of file|could not be opened).*: No such file",
        DAMAGED,
    ),
    (
        r"Multiple entries in FIELD table|has multiple fields",
        "one field is needed: choose it with the option field, or write it into a new set",
    ),
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
    # ---- EveryBeam, in DP3, in WSClean and in scripts
    (
        r"Coeff[^ ]*\.h5|Caught an unknown exception",
        "EveryBeam does not find its coefficients: set EVERYBEAM_DATADIR to the directory that holds "
        "HamakerHBACoeff.h5",
    ),
    (r"H5F(?:open|create) failed", "there is no such file, or it cannot be written; correct its name (parmdb, h5parm)"),
    (r"telescope type \S+ is not implemented|python bindings only support", f"EveryBeam does not know it; {NO_BEAM}"),
    (
        r"LOFAR_ANTENNA_FIELD|LOFAR_TILE_BEAM_DIR",
        f"the set lacks the tables of the LOFAR beam: add them with makebeamtables, or {NO_BEAM}",
    ),
    (r"RecordInterface: field \S+ is unknown", f"the set lacks what EveryBeam needs for this telescope; {NO_BEAM}"),
    (
        r"name should end in either 'LBA' or 'HBA'",
        "a station has no beam model, such as one that was phased up: filter it out, or do without the beam",
    ),
    (r"Invalid beam mode", "correct the keyword LOFAR_APPLIED_BEAM_MODE of the data column"),
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


def advice_for(message: str) -> str:
    """Return cause and remedy of an error message; "" if it is not known."""
    return next((advice for pattern, advice in KNOWN_MESSAGES if re.search(pattern, message)), "")


def advised(message: str) -> str:
    """Return an error message with its cause and remedy, where they are known."""
    advice = advice_for(message)
    return f"{message}; {advice}" if advice else message


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
    return f"{program} says: {advised(error)}" if error else ""


def hint_for(last_lines: Sequence[str]) -> str:
    """Return the known message with which any other program or script ended, with what to do; "" if it is none.

    What a script of ours says of itself has its remedy in it; an exception of a library stands behind its place.
    """
    raised = _RAISED.fullmatch(last_lines[-1]) if last_lines else None
    error = raised["message"] if raised else last_error("\n".join(last_lines))
    return advised(error) if advice_for(error) else ""
