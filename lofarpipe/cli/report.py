"""``genericpipeline.py report <job directory>``: report.html made again, of a run of any time."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lofarpipe.cli.arguments import add_config
from lofarpipe.cli.output import show
from lofarpipe.cli.status import Watched
from lofarpipe.config import job_directory_of
from lofarpipe.report.html.page import write_page
from lofarpipe.support.usage import Reader


def main(words: Sequence[str]) -> int:
    """Run the sub-command: write the page, print its path, return 0.

    Raises
    ------
    PipelineError
        If the journal is missing or unreadable, or the page cannot be written.
    """
    options = _parser().parse_args(words)
    job_directory = job_directory_of(options.job_directory, options.config)
    # The lock shows whether a run without an end in its journal is still alive; the page itself reads no lock.
    show(str(write_page(job_directory, Watched(job_directory).read_state())))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Reader(
        prog="genericpipeline.py report",
        description="Writes report.html into a job directory, and prints its path; a run does that by itself.",
    )
    parser.add_argument("job_directory", help="the job directory, which holds journal.jsonl, or the parset of the run")
    add_config(parser)
    return parser
