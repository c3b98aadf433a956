"""``imgpipe status``: how far runs are, in the words of the table at their end."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from lofarpipe.cli.imgpipe.settings import RECORDS
from lofarpipe.cli.imgpipe.summary import IMAGE, failed_images, table_lines
from lofarpipe.cli.status import EXIT_INTERRUPTED, EXIT_NOT_WELL, EXIT_OK, LOOK_S, Watched, as_facts
from lofarpipe.errors import PipelineError, counted
from lofarpipe.jobs import duration_text
from lofarpipe.report.board import Line
from lofarpipe.report.live import Screen
from lofarpipe.report.terminal import shows_live
from lofarpipe.state.events import JOURNAL
from lofarpipe.state.run_state import RUNNING, RunState
from lofarpipe.support.usage import Reader
from lofarpipe.support.utilities import printable


def main(words: Sequence[str]) -> int:
    """Run the sub-command; return 0 if every image is made or the run goes on, 1 if not.

    Raises
    ------
    PipelineError
        If a directory has no run.
    """
    options = parser().parse_args(words)
    runs = [
        Watched(place) for name in options.directories or _recorded_directories() for place in places_of(Path(name))
    ]
    if not runs:
        raise PipelineError(f"there is no *{RECORDS} here; name the records of a run, such as img{RECORDS}")
    try:
        if options.follow and not options.json:
            follow(runs)
        else:
            states = [run.read_state() for run in runs]
            facts = [as_facts(state, run.progress()) for state, run in zip(states, runs, strict=True)]
            print(json.dumps(facts) if options.json else "\n".join(line for run in runs for line in status_lines(run)))
    except KeyboardInterrupt:  # the watcher ends, not the run
        return EXIT_INTERRUPTED
    return EXIT_OK if all(is_successful(run.state) for run in runs) else EXIT_NOT_WELL


def parser() -> argparse.ArgumentParser:
    """Return the parser of the words after ``status``."""
    rest = Reader(
        prog="imgpipe status",
        description="Shows the progress of runs: state, images and jobs.",
        epilog="exit status: 0 every image is made, or its run goes on; 1 one failed, was interrupted or is missing, "
        "or there is no run; 2 wrong usage; 130 after Ctrl-C, which ends --follow and not the run.",
    )
    rest.add_argument(
        "directories",
        metavar="DIR",
        nargs="*",
        help=f"records of a run, the directory of several (img{RECORDS}), or a TOML file; default: all *{RECORDS} here",
    )
    rest.add_argument("--follow", action="store_true", help="go on until no run works any more")
    rest.add_argument("--json", action="store_true", help="print it for machines, a list of runs")
    rest.add_argument("-d", "--debug", action="store_true", help="show the traceback of an error")
    return rest


def _recorded_directories() -> list[str]:
    return sorted(path.name for path in Path().glob(f"*{RECORDS}"))


def places_of(path: Path) -> list[Path]:
    """Return the record directories matching a name, the oldest first.

    Raises
    ------
    PipelineError
        If there are none.
    """
    place = Path(f"{path.stem}{RECORDS}") if path.is_file() and path.suffix == ".toml" else path
    if place.name == JOURNAL:
        place = place.parent
    if (place / JOURNAL).is_file():
        return [place]
    journals = sorted(place.glob(f"*/{JOURNAL}"), key=lambda journal: journal.stat().st_mtime)
    if not journals:
        raise PipelineError(f"{path}: there is no run of imgpipe; name its records, such as img{RECORDS}/<sets>")
    return [journal.parent for journal in journals]


def is_successful(state: RunState) -> bool:
    """Return whether a run goes on, or has made all its images."""
    step = state.steps.get(IMAGE)
    return state.state == RUNNING or (state.ok and step is not None and step.done == step.total)


def status_lines(run: Watched) -> list[str]:
    """Return the current summary of a run: state, table, failures, number of images."""
    state = run.state
    began_s, ended_s = state.started_s, state.ended_s if state.ended else time.time()
    took = "" if began_s is None or ended_s is None else f", {duration_text(max(0.0, ended_s - began_s))}"
    step = state.steps.get(IMAGE)
    failures = failed_images(step) if step else []
    problem = state.problem.partition("\n")[0]
    texts = [
        f"{run.job_directory}: {state.state}{took}",
        *table_lines(state, run.progress()),
        *failures,
        *([problem] if problem and not failures else []),
        *_counts(state),
    ]
    return list(map(printable, texts))


def _counts(state: RunState) -> Iterator[str]:
    step = state.steps.get(IMAGE)
    if step is None or not step.total:
        return
    running = len(step.running)
    waiting = step.total - step.done - step.failed - running
    others = [(step.failed, "failed"), (running, "running"), (waiting, "waiting" if not state.ended else "not begun")]
    yield ", ".join(
        [f"{step.done} of {counted(step.total, 'image')} made", *(f"{n} {label}" for n, label in others if n > 0)]
    )


def follow(runs: Sequence[Watched]) -> None:
    """Show runs until all have ended: in place on a terminal, else as lines of changed counts."""
    screen = Screen(sys.stdout) if shows_live(sys.stdout) else None
    previous_counts: list[str] = []
    try:
        while RUNNING in [run.read_state().state for run in runs]:
            if screen is not None:
                screen.show([Line(text) for run in runs for text in status_lines(run)])
            else:
                counts = [f"{run.job_directory}: {text}" for run in runs for text in _counts(run.state)]
                for text in counts:
                    if text not in previous_counts:
                        print(printable(text), flush=True)
                previous_counts = counts
            time.sleep(LOOK_S)
    finally:
        if screen is not None:
            screen.close()
    print("\n".join(line for run in runs for line in status_lines(run)))
