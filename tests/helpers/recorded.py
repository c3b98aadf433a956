"""A small pipeline, run by the command line, and its records."""

from __future__ import annotations

import json
from pathlib import Path

from copy_pipeline import copy_step, list_step
from lofarpipe.cli import main

STEPS = """\
! files = []              ## {list} files to copy
! suffix = text           ## {text} what is put behind the copies
pipeline.steps = [list, copy, show]
show.control.type = executable_args
show.control.executable = /bin/echo
show.control.mapfile_in = copy.output.mapfile
show.control.inputkey = infile
show.control.error_tolerance = False
show.argument.flags = [{{ suffix }}, infile]
"""
PARSET = STEPS + list_step("{{ files }}") + copy_step()


def make_field(here: Path, text: str = PARSET) -> Path:
    """Write field.parset and two files to copy."""
    (here / "in").mkdir()
    (here / "in" / "one.txt").write_text("one")
    (here / "in" / "two.txt").write_text("two")
    (here / "field.parset").write_text(text)
    return here / "field.parset"


def run(*arguments: str) -> int:
    """Run field.parset on both files, in the current directory."""
    return main(["field.parset", "-q", "-s", "files=[in/one.txt, in/two.txt]", *arguments])


def record(job: Path) -> dict:
    """The content of a job directory's run.json."""
    return json.loads((job / "run.json").read_text())
