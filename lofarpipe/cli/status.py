"""``genericpipeline.py status <job directory>``: how far a run is, from any shell, on any day.

Only reads the journal and the lock, so the run is not affected.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from lofarpipe.cli.arguments import TABLE_SUFFIXES, add_config
from lofarpipe.cli.output import show
from lofarpipe.config import job_directory_of
from lofarpipe.errors import PipelineError, counted
from lofarpipe.programs.base import Progress
from lofarpipe.report.board import Line, Moment, board, durations
from lofarpipe.report.live import JournalTail, LogTails, Screen, memory_in_use_gb
from lofarpipe.report.terminal import decimal_size_text, shows_live, summary
from lofarpipe.state.events import JOURNAL
from lofarpipe.state.lock import STALE_S, Holder
from lofarpipe.state.run_state import DONE, RUNNING, JobState, RunState
from lofarpipe.support.usage import Reader
from lofarpipe.support.utilities import printable

LOOK_S = 1.0  # between two looks of --follow
WRITING_S = 120.0  # time allowed for a run's last writes after its end
EXIT_OK, EXIT_NOT_WELL = 0, 1
EXIT_INTERRUPTED = 128 + signal.SIGINT  # as shells report it


def main(words: Sequence[str]) -> int:
    """Run the sub-command; return 0 if the run is done or goes on, 1 if it failed or was interrupted.

    Ctrl-C ends ``--follow``, and not the run: 130.

    Raises
    ------
    PipelineError
        If the journal is missing or unreadable.
    """
    options = parser().parse_args(words)
    if len(options.job_directory) > 1 or Path(options.job_directory[0]).suffix in TABLE_SUFFIXES:
        from lofarpipe.cli.several import main as show_several

        try:
            is_successful = show_several(options.job_directory, look, options.follow, options.json, options.config)
        except KeyboardInterrupt:
            return EXIT_INTERRUPTED
        return EXIT_OK if is_successful else EXIT_NOT_WELL
    place = job_directory_of(options.job_directory[0], options.config)
    watched = Watched(place.parent if place.name == JOURNAL else place)
    if options.follow:
        try:
            watched.follow(options.json)
        except KeyboardInterrupt:  # Ctrl-C ends the display only; the run goes on
            return EXIT_INTERRUPTED
    elif options.json:
        show(json.dumps(as_facts(watched.read_state(), watched.progress())))
    else:
        state = watched.read_state()
        encoding = (sys.stdout.encoding or "ascii").lower()
        _print_lines(line.text for line in watched.lines(0, encoding.startswith("utf")))
        _print_lines(f"warning: {warning}" for warning in state.warnings)
        _print_lines([*summary(watched.job_directory, durations(state), state.ok), *removed_lines(state)])
    return EXIT_OK if watched.state.state in (RUNNING, DONE) else EXIT_NOT_WELL


def look(job_directory: Path) -> RunState:
    """Return the current state of a run; a run without a live process is not running."""
    return Watched(job_directory).read_state()


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options of ``status``."""
    rest = Reader(
        prog="genericpipeline.py status",
        description="Shows the progress of a run from its journal: steps, jobs and their work.",
        epilog="exit status: 0 it is done or goes on; 1 it failed, was interrupted or killed, or there is none. "
        "Ctrl-C ends --follow, not the run.",
    )
    rest.add_argument(
        "job_directory",
        nargs="+",
        help="the job directory, which holds journal.jsonl, or the parset of the run; of several, or of the fields of "
        "a table (.csv, .toml, fields.json), one line each",
    )
    add_config(rest)
    rest.add_argument("--follow", action="store_true", help="go on until the run ends")
    rest.add_argument("--json", action="store_true", help="print it for machines; with --follow a line per change")
    rest.add_argument("-d", "--debug", action="store_true", help="show the traceback of an error")
    return rest


class Watched:
    """A run of another process.

    Attributes
    ----------
    state: the picture of the run at the last look.
    """

    def __init__(self, job_directory: Path) -> None:
        self.job_directory = job_directory
        self.state = RunState()
        self._tail = JournalTail(job_directory / JOURNAL)
        self._logs = LogTails()

    def read_state(self) -> RunState:
        """Return the current state of the run; a run without a live process is not running.

        Raises
        ------
        PipelineError
            If the journal is not there, or cannot be read.
        """
        self._read()
        if self._is_abandoned():
            self._read()  # its last word may have come in between
            if self._is_abandoned():
                self.state.mark_killed()
        return self.state

    def _is_abandoned(self) -> bool:
        return self.state.state == RUNNING and not is_alive(self.job_directory, self.state.facts)

    def _read(self) -> None:
        try:
            self.state = self._tail.read_state()
        except (FileNotFoundError, NotADirectoryError):
            raise PipelineError(
                f"{self.job_directory}: there is no {JOURNAL}; name the job directory of a run"
            ) from None
        except OSError as err:
            raise PipelineError(f"{self._tail.path}: cannot be read: {err.strerror}") from err

    def progress(self) -> Mapping[str, Progress]:
        """Return the progress of the jobs that ran at the last look, by job, as far as their logs can be read."""
        return self._logs.progress(self._running())

    def memory_gb(self) -> float | None:
        """Return the memory in use by these jobs, 10^9 bytes; None if they are on other machines."""
        return memory_in_use_gb(self._running(), self.state.facts)

    def _running(self) -> list[JobState]:
        return [job for step in self.state.steps.values() for job in step.running]

    def lines(self, height: int = 0, has_marks: bool = True) -> list[Line]:
        """Return the last status table, with its time below the title."""
        moment = Moment(time.time(), self.progress(), height and height - 1, has_marks, self.memory_gb())
        title, *lines = board(self.state, moment)
        problem = self.state.problem.partition("\n")[0]
        return [title, Line(_times_text(self.state)), *lines, *([Line(problem, "failed")] if problem else [])]

    def follow(self, is_json: bool) -> None:
        """Show the run until it ends: on a terminal in place, else a line for each change."""
        if is_json or not shows_live(sys.stdout):
            return self._follow_lines(is_json)
        screen = Screen(sys.stdout)
        try:
            while self.read_state().state == RUNNING:
                screen.show(self.lines(screen.height, screen.has_marks))
                time.sleep(LOOK_S)
            screen.show(self.lines(0, screen.has_marks))
            self._wait_for_last_files()
        finally:
            screen.close()
        _print_lines(summary(self.job_directory, durations(self.state), self.state.ok))
        return None

    def _wait_for_last_files(self) -> None:
        """Wait until the run has written its last files: run.json and the report."""
        limit = time.monotonic() + WRITING_S
        while is_alive(self.job_directory, self.state.facts) and time.monotonic() < limit:
            time.sleep(LOOK_S)

    def _follow_lines(self, is_json: bool) -> None:
        printed_lines: list[str] = []
        while True:
            state = self.read_state()
            now = [json.dumps(as_facts(state, self.progress()))] if is_json else _changing(state)
            if now != printed_lines:
                _print_lines(line for line in now if line not in printed_lines)
                printed_lines = now
            if state.state != RUNNING:
                return
            time.sleep(LOOK_S)


def removed_lines(state: RunState) -> list[str]:
    """Return a line on removed intermediate outputs."""
    size = decimal_size_text(sum(state.removed.values()))
    return [f"removed: {counted(len(state.removed), 'file')} ({size}), made again if needed"] if state.removed else []


def _times_text(state: RunState) -> str:
    """Return when a run began and ended, or was heard of last, in the time of this place, and where it ran."""
    where = state.facts.get("host")
    start_text = f"  began {_local_text(state.started_s)}{f' on {where}' if where else ''}"
    if not state.ended:
        return start_text
    again = f"; nothing to do since, looked at {_local_text(state.checked_s)}" if state.is_repeat else ""
    return f"{start_text}, {'last heard of' if state.killed else 'ended'} {_local_text(state.ended_s)}{again}"


def _local_text(time_s: float | None) -> str:
    return "at a time unknown" if time_s is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))


def _changing(state: RunState) -> list[str]:
    """Return the facts that change by an event and not by the time."""
    steps = [
        f"{step.name}: {step.state}{f', {step.done} of {step.total} jobs' if step.total else ''}"
        f"{f', {step.failed} failed' if step.failed else ''}"
        for step in state.steps.values()
        if step.state != "waiting"
    ]
    return [*steps, f"{state.facts.get('job') or 'run'}: {state.state}", *([state.problem] if state.problem else [])]


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print(printable(line), flush=True)


def as_facts(state: RunState, progress: Mapping[str, Progress]) -> Mapping[str, object]:
    """Return the picture of a run for JSON: states, counts and times, all in s since 1970 UTC.

    Jobs with known progress have ``progress``: text, fraction, major_iteration, peak_jy, written_s.
    """
    facts = asdict(state)
    for name, step in state.steps.items():
        facts["steps"][name] |= {"done": step.done, "failed": step.failed}
        for job in step.running:
            if job.name in progress:
                facts["steps"][name]["jobs"][job.name]["progress"] = _finite(asdict(progress[job.name]))
    return {"state": state.state, **facts}


def _finite(facts: Mapping[str, object]) -> Mapping[str, object]:
    """Return the facts with NaN replaced, which JSON cannot express."""
    undefined = {key for key, value in facts.items() if isinstance(value, float) and not math.isfinite(value)}
    return {key: None if key in undefined else value for key, value in facts.items()}


def is_alive(job_directory: Path, facts: Mapping[str, object]) -> bool:
    """Return whether the process of a run holds its job directory, and lives as far as can be seen from here.

    A local run is alive while its process exists; a remote one if its heartbeat is under a minute old.

    Parameters
    ----------
    facts: of the run, from its journal; the host and the process id where it has them.
    """
    lock = job_directory / "journal.lock"
    try:
        holder, beat_s = Holder.read(lock.read_bytes()), lock.stat().st_mtime
    except OSError:
        return False
    if not holder.host or (holder.host, holder.pid) != (facts.get("host", holder.host), facts.get("pid", holder.pid)):
        return False
    if holder.is_visible_to(Holder.current()):
        return holder.lives()
    return abs(time.time() - beat_s) <= STALE_S
