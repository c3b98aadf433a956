"""Known error messages of casacore and EveryBeam, with cause and remedy."""

from __future__ import annotations

import re

DAMAGED = "it is damaged: copy it again, or leave it out"
NO_PERMISSION = "ask its owner for permission to read it, or leave it out"
NO_MEMORY = "it ran out of memory; give the job more, or make the image smaller"
NO_BEAM = "image without it: gridder = wgridder, no beam options, and station_diameter_m for the beam by formula"

Messages = tuple[tuple[str, str], ...]
#: Pattern of a message -> cause and remedy. The first match counts: specific patterns precede general ones.
LIBRARY_MESSAGES: Messages = (
    # ---- the machine
    (r"Too many open files", "give the job fewer sets, or allow more open files (ulimit -n)"),
    (r"bad_alloc", NO_MEMORY),
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
    # ---- EveryBeam
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
)


def advice_for(message: str, messages: Messages = LIBRARY_MESSAGES) -> str:
    """Return cause and remedy of an error message; "" if unknown."""
    return next((advice for pattern, advice in messages if re.search(pattern, message)), "")


def add_advice(message: str, messages: Messages = LIBRARY_MESSAGES) -> str:
    """Return an error message with its cause and remedy, if known."""
    advice = advice_for(message, messages)
    return f"{message}; {advice}" if advice else message
