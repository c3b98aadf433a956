"""A pipeline of trivial jobs, one per file."""

from __future__ import annotations

from pathlib import Path

PARSET = """\
pipeline.steps = [list, run]
list.control.kind = plugin
list.control.type = createMapfile
list.control.method = mapfile_from_folder
list.control.folder = {files}
list.control.mapfile_dir = input.output.mapfile_dir
list.control.filename = list.mapfile
run.control.type = executable_args
run.control.executable = {program}
run.control.mapfile_in = list.output.mapfile
run.control.inputkey = file
run.control.max_per_node = 2
{more}"""


def write_pipeline(parset: Path, jobs: int, program: str = "/bin/true", more: str = "") -> None:
    """Write a parset, with ``more`` lines for its step ``run``, and beside it the files."""
    files = parset.with_name("files")
    files.mkdir(exist_ok=True)
    for number in range(jobs):
        (files / f"{number:05d}").touch()
    parset.write_text(PARSET.format(files=files, program=program, more=more))
