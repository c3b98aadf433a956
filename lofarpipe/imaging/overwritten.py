"""What an imaging pipeline would overwrite by the names that a user gives to what it writes."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lofarpipe.support.parset import split_list
from lofarpipe.support.utilities import exists, is_file

IMAGES, ROOT = "image_output_filenames", "image_rootname"
# Options that name one file or more that the pipeline writes, and how such a file begins.
WRITTEN = {IMAGES: b"SIMPLE  =", "images_metadata_file": b"", "sip_file": b"<?xml"}
WHAT = {IMAGES: "FITS file", "images_metadata_file": "metadata of a former run", "sip_file": "XML document"}
READ_OPTIONS = frozenset({"reference_skymodel", "spectral_index"})
METADATA_KEY = "Output_SkyImage_"
OF_THE_RUN = frozenset({"journal.jsonl", "run.json", "report.html", "commands.txt", "plan.json"})
OF_THE_RUN |= {"quality.json", "comparison.json", "uv_coverage.png", "statistics.xml"}
FOLDERS_OF_THE_RUN = frozenset({"jobs", "logs", "mapfiles", "parsets", "copies"})
READ_BYTES = 65536


@dataclass(frozen=True)
class ProtectedFiles:
    """The files of a run: its parsets and configuration, where it works, and the sets that it images.

    ``arguments`` are those of steps that name files which are read.
    """

    parsets: Sequence[str] = ()
    directories: Sequence[str] = ()
    sets: Sequence[str] = ()
    arguments: Container[str] = ()


def overwritten_findings(options: Mapping[str, str], run: ProtectedFiles) -> list[str]:
    """Return one line for each file that the options make the pipeline write, and that is, or will be, another one.

    ``options`` are those of the user, and the arguments of steps as ``<step>.argument.<key>``.
    """
    inputs = {os.path.realpath(text): name for name, text in options.items() if _is_read(name, run) and is_file(text)}
    known = {os.path.realpath(path): "is a parset, or the configuration, of this run" for path in run.parsets}
    known |= {path: f"is an input ({name})" for path, name in inputs.items()}
    findings, written = [], dict[str, str]()
    for name, path in _outputs(options):
        real = os.path.realpath(path)
        # The place of a link itself: an earlier run delivered one image as a copy and links to it.
        place = str(Path(path).parent.resolve() / Path(path).name)
        why = (
            known.get(real) or written.get(place) or _of_the_run(real, options.get(ROOT, ""), run) or _other(name, path)
        )
        written.setdefault(place, f"is named by {name} already")
        findings += [f"{name}: {path} {why}; name another"] if why else []
    return findings + _below_root(options, inputs)


def _is_read(name: str, run: ProtectedFiles) -> bool:
    """Whether an option, or an argument of a step, names a file that is read."""
    return name in READ_OPTIONS or name.rpartition(".argument.")[2] in run.arguments


def _outputs(options: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in WRITTEN:
        text = options.get(name, "")
        for path in split_list(text) if name == IMAGES else [text]:
            if path and path != "none" and ".output." not in path:
                yield name, path


def _of_the_run(real: str, root: str, run: ProtectedFiles) -> str:
    """Return what of the run a path is: a set, a file in one, a product; "" if none."""
    for path in map(os.path.realpath, run.sets):
        if real == path or real.startswith(path + os.sep):
            return "is an input" if real == path else f"is within the input {path}"
    if root and real.startswith(os.path.realpath(root) + "-"):
        return f"is a product of this run, which begins with image_rootname ({root})"
    for directory in map(os.path.realpath, run.directories):
        first, _, rest = os.path.relpath(real, directory).partition(os.sep)
        if (first in OF_THE_RUN and not rest) or first in FOLDERS_OF_THE_RUN:
            return "is a product of this run"
    return ""


def _other(name: str, path: str) -> str:
    """Return that a file is there which is none of those that the pipeline writes; a directory is told elsewhere."""
    if not exists(path) or Path(path).is_dir():
        return ""
    is_ours = is_file(path) and _is_of_kind(Path(path), name)
    return "" if is_ours else f"is there, and is no {WHAT[name]}"


def _is_of_kind(path: Path, name: str) -> bool:
    try:
        with path.open("rb") as stream:
            content = stream.read(READ_BYTES)
    except OSError:
        return False
    if WRITTEN[name]:
        return content.startswith(WRITTEN[name])
    return METADATA_KEY.encode() in content


def _below_root(options: Mapping[str, str], inputs: Mapping[str, str]) -> list[str]:
    """Return the files that are read, and whose names WSClean's images may have."""
    root = options.get(ROOT, "")
    below = [name for path, name in inputs.items() if root and path.startswith(os.path.realpath(root) + "-")]
    return [
        f"{name}: {options[name]} may be overwritten, for it begins with {ROOT}; copy it elsewhere" for name in below
    ]
