"""Common parts of small test pipelines: directories of a site, steps that list and copy files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# These texts are filled in by ``format``: {here} is the directory of the test.
CONFIG = """\
[DEFAULT]
runtime_directory = {here}
working_directory = {here}
recipe_directories = [{here}/my]
"""


def list_step(files: str, name: str = "list") -> str:
    """Return a step that makes a map of ``files``, a list such as ``[a.txt, b.txt]``."""
    return f"""\
{name}.control.kind = plugin
{name}.control.type = addListMapfile
{name}.control.hosts = [localhost]
{name}.control.files = {files}
{name}.control.mapfile_dir = input.output.mapfile_dir
{name}.control.filename = {name}.mapfile
"""


def copy_step(
    name: str = "copy", before: str = "list", program: str = "/bin/cp", flags: str = "infile, outfile"
) -> str:
    """Return a step that copies each product of the step ``before``; one copy that fails ends the run."""
    return f"""\
{name}.control.type = executable_args
{name}.control.executable = {program}
{name}.control.mapfile_in = {before}.output.mapfile
{name}.control.inputkey = infile
{name}.control.outputkey = outfile
{name}.control.error_tolerance = False
{name}.argument.flags = [{flags}]
"""


def gather_step(before: str) -> str:
    """Return a step that makes one product of all those of the step ``before``."""
    return f"""\
gather.control.kind = plugin
gather.control.type = compressMapfile
gather.control.mapfile_in = {before}.output.mapfile
gather.control.mapfile_dir = input.output.mapfile_dir
gather.control.filename = gather.mapfile
"""


# A pipeline with programs, plugins and a loop: the steps beside list and copy, and the whole.
OTHER_STEPS = """\
pipeline.steps = [list, copy, gather, show, again, note]
show.control.type = executable_args
show.control.executable = /bin/echo
show.control.mapfile_in = gather.output.mapfile
show.control.inputkey = files
show.argument.flags = [files]
show.argument.mode = fast
again.control.kind = loop
again.control.type = loop
again.control.loopcount = 2
again.control.loopsteps = [inner]
inner.control.type = executable_args
inner.control.executable = /bin/echo
inner.control.mapfile_in = list.output.mapfile
inner.control.inputkey = infile
inner.argument.flags = [infile, again.output.counter]
note.control.type = executable_args
note.control.executable = /bin/echo
note.control.mapfile_in = list.output.mapfile
note.control.inputkey = infile
note.argument.flags = [infile]
"""
OTHER_STEPS += gather_step("copy")
OF_ALL_KINDS = OTHER_STEPS + list_step("[{here}/in/a b.txt]") + copy_step()


def journalled(job: Path, kind: str = "") -> list[dict[str, Any]]:
    """Return the events in the journal of a job directory, of one kind or all; none where nothing ran yet."""
    journal = job / "journal.jsonl"
    lines = journal.read_text().splitlines() if journal.is_file() else []
    return [event for event in map(json.loads, lines) if kind in ("", event["event"])]
