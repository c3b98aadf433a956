"""Hints: options and steps for words of other programs, parts of names, and misspellings.

An option is also found by the arguments that use it: ``<step>.argument.scale = {{ cellsize }}`` makes ``scale``,
WSClean's word, a name of ``cellsize``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lofarpipe.config import parset_directories
from lofarpipe.errors import SHORTEST_WORD, nearest
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.support.parset import Parset
from lofarpipe.support.patterns import lazy_pattern

MOST_MEANT = 3
#: Words of astronomers, CASA and WSClean -> prefix of option names.
WORDS = {
    "fieldsize": ("size", "imsize", "npix", "npixels", "fov", "width", "imagesize", "trim"),
    "cellsize": ("cell", "pixel", "pixelsize", "pixelscale", "resolution", "arcsec", "pixsize"),
    "robust": ("weighting", "robustness", "briggsrobust"),
    "data_input": (
        "vis",
        "ms",
        "msin",
        "mslist",
        "inputms",
        "sets",
        "files",
        "input",
        "data",
        "msdir",
        "measurementset",
    ),
    "data_column": ("column", "datacol", "incolumn", "msincolumn"),
    "image_output": ("output", "outputfile", "outputimage", "deliver", "o", "out"),
    "image_rootname": ("imagename", "outname", "prefix", "root"),
    "maxlambda": ("uvmax", "maxuv", "uvrange", "maxbaseline", "uvdistmax"),
    "minlambda": ("uvmin", "minuv", "minbaseline", "uvdistmin"),
    "niter": ("iterations", "niters", "cleaniterations"),
    "auto_threshold": ("threshold", "nsigma"),
    "auto_mask": ("mask", "usemask", "fitsmask"),
    "mgain": ("gain", "cyclefactor"),
    "channels_out": ("channels", "nchan", "nchannels", "nterms"),
    "reference_skymodel": ("model", "catalog", "truth"),
    "local_scratch_dir": ("tmp", "scratch", "tempdir", "tmpdir"),
    "make_source_list": ("sourcelist", "catalogue", "pybdsf", "bdsf", "sources"),
    "spectral_index": ("alpha", "spix"),
    "station_diameter": ("diameter", "dish"),
}
_WORDS = {word: start for start, words in WORDS.items() for word in words}
_MEANING = lazy_pattern(r"\{[^}]*\}\s*([^(:;]*[^(:;\s])")


def option_hint(word: str, parset: Parset) -> str:
    """Return ``"; did you mean 'x' (meaning)?"`` for an unknown option of a parset; "" without a similar one."""
    definitions = parset.definitions()
    candidates = suggest_options(word, parset, [name for name, entry in definitions.items() if entry.comment])
    if not candidates:
        return _option_elsewhere(word) or nearest(word, definitions)
    return f"; did you mean {_join_with_or([f'{name!r}{described(name, parset)}' for name in candidates])}?"


def _option_elsewhere(word: str) -> str:
    """Return a hint on other shipped pipelines with an option of this name, or ""."""
    files = (file for folder in parset_directories() for file in sorted(folder.glob("*.parset")))
    defined = re.compile(rf"^!\s*{re.escape(word)}\s*=.*##", re.MULTILINE)
    having = [file.name for file in files if defined.search(file.read_text(encoding="utf-8", errors="replace"))]
    return f"; it is an option of {_join_with_or(having[:MOST_MEANT])}, another pipeline" if having else ""


def suggest_options(word: str, parset: Parset, names: Sequence[str]) -> list[str]:
    """Return the options matching a word: by their arguments, by words of the field, by parts of the name."""
    plain = _plain(word)
    if not plain:
        return []
    same = [name for name in names if _plain(name) == plain]
    begun = [name for name in names if name.startswith(_WORDS.get(plain, "\0"))]
    matches = same or _options_of_argument(plain, parset, names) or begun or _names_containing(plain, names)
    return matches[:MOST_MEANT]


def _plain(word: str) -> str:
    return re.sub(r"[-_\s]", "", word).lower()


def _options_of_argument(plain: str, parset: Parset, names: Sequence[str]) -> list[str]:
    """Return the options used in arguments of this name, or next to this word, as ``briggs {{ robust }}``."""
    matches: list[str] = []
    for key in parset:
        _, part, argument = [*key.split(".", 2), "", ""][:3]
        placeholders = parset.placeholders(key) if part == "argument" else []
        if placeholders and (
            _plain(argument) == plain or plain in re.findall(r"(?<![\w{])[a-z]{4,}(?=\s+\{\{)", parset[key])
        ):
            matches += [name for name in placeholders if name in names]
    return list(dict.fromkeys(matches))


def _names_containing(plain: str, names: Iterable[str]) -> list[str]:
    """Return the names that contain this word or sequence of words: ``cellsize`` in ``cellsize_highres_deg``."""
    return [name for name in names if len(plain) > 3 and plain in _parts(name)]


def _parts(name: str) -> set[str]:
    words = name.lower().split("_")
    places = range(len(words))
    return {"".join(words[start : end + 1]) for start in places for end in places[start:]}


def described(name: str, parset: Parset) -> str:
    """Return the meaning of an option in parentheses after a space; "" if undocumented."""
    meaning = _MEANING.match(parset.definitions()[name].comment)
    return f" ({meaning[1]})" if meaning else ""


def _join_with_or(texts: Sequence[str]) -> str:
    *first_texts, last = texts
    return f"{', '.join(first_texts)} or {last}" if first_texts else last


def step_hint(word: str, parset: Parset, blocks: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for an unknown step: steps of this program, or with the word in the name."""
    blocks = sorted(blocks)
    of_program = [block for block in blocks if word.lower() in _programs(block, parset)]
    candidates = of_program or [
        block for block in blocks if len(word) >= SHORTEST_WORD and _plain(word) in _parts(block)
    ]
    return (
        f"; did you mean {_join_with_or([repr(name) for name in candidates[:MOST_MEANT]])}?"
        if candidates
        else nearest(word, blocks)
    )


def _programs(block: str, parset: Parset) -> set[str]:
    """Return the names of a step's program: type, program, executable, and former names of a known program."""
    keys = (f"{block}.control.{key}" for key in ("type", "program", "executable"))
    program_names = {_program_name(parset[key].rpartition("/")[2]) for key in keys if key in parset}
    for program in KNOWN_PROGRAMS.values():
        names = {_program_name(name) for name in program.executables}
        program_names |= names if program_names & names else set()
    return program_names


def _program_name(executable: str) -> str:
    return executable.removesuffix(".py").lower()
