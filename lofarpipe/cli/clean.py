"""``genericpipeline.py clean <job directory> ...``: removes intermediate outputs of finished runs.

The journal names them: each run notes the ``control.intermediate`` and ``control.byproducts`` of its steps.
The runs stay done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lofarpipe.cli.arguments import add_config
from lofarpipe.config import job_directory_of
from lofarpipe.errors import PipelineError, counted
from lofarpipe.report.terminal import decimal_size_text
from lofarpipe.state.events import JOURNAL
from lofarpipe.state.intermediates import KEEP, PRODUCTS, patterns_of, removable, remove_files, size_of
from lofarpipe.state.journal import Journal, Stream
from lofarpipe.state.run_state import DONE
from lofarpipe.support.usage import Reader
from lofarpipe.support.utilities import printable


def main(words: Sequence[str]) -> int:
    """Run the sub-command; return 1 if a directory could not be cleaned, else 0."""
    options = parser().parse_args(words)
    failed = False
    for name in options.job_directories:
        try:
            print(printable(clean(job_directory_of(name, options.config), options.keep, options.dry_run)), flush=True)
        except PipelineError as err:
            failed = True
            print(f"genericpipeline.py clean: {printable(str(err))}", file=sys.stderr)
    return int(failed)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options of ``clean``."""
    rest = Reader(
        prog="genericpipeline.py clean",
        description="Removes intermediate files of finished runs; a run that needs one makes it again.",
        epilog="exit status: 0 cleaned, or nothing to remove; 1 a directory could not be cleaned",
    )
    rest.add_argument(
        "job_directories",
        nargs="+",
        metavar="job_directory",
        help="job directory, with journal.jsonl, or the run's parset",
    )
    add_config(rest)
    rest.add_argument(
        "--keep",
        choices=KEEP[1:],
        default=PRODUCTS,
        help="products: remove measurement sets and channel images; images: also psf, dirty, model, residual, beams; "
        "default: %(default)s",
    )
    rest.add_argument("--dry-run", action="store_true", help="list the files to remove with their sizes")
    rest.add_argument("-d", "--debug", action="store_true", help="show the traceback of an error")
    return rest


def clean(job_directory: Path, keep: str, is_dry: bool) -> str:
    """Remove the outputs of a finished run that go with a value of ``keep``; return a summary.

    Raises
    ------
    PipelineError
        If the run is missing, unfinished or in progress, or a file cannot be removed.
    """
    path = job_directory / JOURNAL
    if not path.is_file():
        raise PipelineError(f"{job_directory}: there is no {JOURNAL}; name the job directory of a run")
    with Journal(path) as journal:
        state = journal.state
        if state.state != DONE:
            problem = f"the run is {state.state}, and needs its files to go on; finish it first"
            raise PipelineError(f"{job_directory}: {problem}")
        intermediate = state.facts.get("intermediate")
        if not intermediate:
            problem = "the run does not say which of its files are intermediate; run the same command again"
            raise PipelineError(f"{job_directory}: {problem}, if its pipeline has control.intermediate")
        paths = removable(state.work, patterns_of(intermediate, keep))
        if is_dry:
            sizes = {one: size_of(one) for one in paths}
            lines = [f"{decimal_size_text(size):>8}  {one}" for one, size in sizes.items()]
            return "\n".join([*lines, f"{job_directory}: {_total(len(paths), sum(sizes.values()))} would be removed"])
        size_bytes = remove_files(Stream(journal), paths)
        if paths:
            _record_removal(job_directory)
    return f"{job_directory}: {_total(len(paths), size_bytes)} removed"


def _total(files: int, size_bytes: int) -> str:
    return f"{counted(files, 'file')} ({decimal_size_text(size_bytes)})"


def _record_removal(job_directory: Path) -> None:
    """Record the removed files in run.json and in the report, if these exist."""
    from lofarpipe.archive.record import FILE_NAME, record_removed_files
    from lofarpipe.report.html.page import REPORT_FILE, write_page
    from lofarpipe.state.journal import read_state

    state = read_state(job_directory / JOURNAL)
    if (job_directory / FILE_NAME).is_file():
        record_removed_files(job_directory / FILE_NAME, state)
    if (job_directory / REPORT_FILE).is_file():
        write_page(job_directory, state)
