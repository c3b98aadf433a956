"""The jobs of a run with commands and logs, truncated to keep every page small."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lofarpipe.jobs import NOTE
from lofarpipe.state.run_state import FAILED, JobState, RunState, StepState
from lofarpipe.support.patterns import lazy_pattern

BUDGET_BYTES = 3_000_000  # for all logs together
LONGEST_BYTES, SHORTEST_BYTES = 48_000, 900  # of one log
COMMAND_CHARACTERS = 4_000  # of a long list of sets the middle is left out
COMMANDS_BYTES = 1_500_000
MOST_JOBS = 3_000  # on the page
HEAD_PART = 0.3  # of a truncated log; the end is more informative
COUNTERS = lazy_pattern(r"(@\d+)+/")  # of loops, in the name of a job
UNPRINTABLE = lazy_pattern(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class LogText(NamedTuple):
    """A log, or its beginning and end without ``omitted`` bytes; ``problem``: the reason for a missing log."""

    head: str = ""
    tail: str = ""
    omitted: int = 0
    problem: str = ""


class ShownJob(NamedTuple):
    """A job as the page has it."""

    job: JobState
    command: str
    log: LogText


class ShownStep(NamedTuple):
    """A step as the page has it; ``left_out`` of its jobs are in the journal alone."""

    step: StepState
    jobs: tuple[ShownJob, ...]
    left_out: int


def shown_steps(state: RunState, job_directory: Path) -> list[ShownStep]:
    """Return every step with its jobs, failed ones first, each with command and log."""
    commands = read_commands(job_directory / "commands.txt")
    most = max(10, MOST_JOBS // max(1, sum(bool(step.jobs) for step in state.steps.values())))
    chosen = {name: _chosen(step, most) for name, step in state.steps.items()}
    count = sum(map(len, chosen.values()))
    each = max(SHORTEST_BYTES, min(LONGEST_BYTES, BUDGET_BYTES // max(1, count)))
    longest_command = max(300, min(COMMAND_CHARACTERS, COMMANDS_BYTES // max(1, count)))
    return [
        ShownStep(
            step,
            tuple(_shown_job(job, commands, each, longest_command) for job in chosen[name]),
            len(step.jobs) - len(chosen[name]),
        )
        for name, step in state.steps.items()
    ]


def _chosen(step: StepState, most: int) -> list[JobState]:
    """Select the jobs of a step to show: all, or the failed and the longest; failed ones first."""
    jobs = sorted(step.jobs.values(), key=lambda job: (job.state != FAILED, job.name))
    if len(jobs) <= most:
        return jobs
    longest = sorted(jobs, key=lambda job: (job.state != FAILED, -(job.duration_s or 0.0)))[:most]
    return sorted(longest, key=lambda job: (job.state != FAILED, job.name))


def _shown_job(job: JobState, commands: Mapping[str, str], log_bytes: int, command_characters: int) -> ShownJob:
    limit = min(LONGEST_BYTES, 4 * log_bytes) if job.state == FAILED else log_bytes
    log = read_log(job.log, limit)
    if "@" in job.name:  # the file of all commands has those of the last iteration
        command = _command_in(log) or commands.get(COUNTERS.sub("/", job.name), "")
    else:
        command = commands.get(job.name) or _command_in(log)
    return ShownJob(job, shortened(command, command_characters), log)


def read_commands(path: Path) -> dict[str, str]:
    """Return job -> command from the file of all commands; {} without the file."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.split(": ", 1) for line in displayable_text(text).split("\n"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) > 1}


def _command_in(log: LogText) -> str:
    """Return the command at the start of a log."""
    notes = (line for line in log.head.splitlines() if line.startswith(f"{NOTE}cd "))
    return next(notes, "").removeprefix(NOTE)


def shortened(text: str, most: int) -> str:
    """Return a text without its middle where it is too long, saying how much is missing."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... ({len(text) - 2 * half} characters) ... {text[-half:]}"


def displayable_text(text: str) -> str:
    """Return a text without terminal colours and characters illegal in HTML."""
    if text.replace("\n", "").isprintable():  # as most are: to look for what is not takes several times as long
        return text
    return UNPRINTABLE.sub("", text).replace("\r\n", "\n").replace("\r", "\n")


def read_log(path: str, limit: int) -> LogText:
    """Return a log, without its middle where it is longer than ``limit`` bytes."""
    if not path:
        return LogText(problem="no log is known")
    try:
        head, tail, omitted = _head_and_tail(path, limit)
    except OSError as err:
        return LogText(problem=f"{path}: {err.strerror or err}")
    return LogText(head.decode("utf-8", "replace"), tail.decode("utf-8", "replace"), omitted)


def _head_and_tail(path: str, limit: int) -> tuple[bytes, bytes, int]:
    """Return beginning and end of a file, cut at line ends, and the omitted bytes; the end of a short file is empty."""
    # A pipe or a device in the place of a log must not stop the report.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is no file")
        size = status.st_size
        if size <= limit:
            return os.read(file, limit), b"", 0
        head = os.read(file, int(limit * HEAD_PART))
        tail = os.pread(file, limit - len(head), size - (limit - len(head)))
    finally:
        os.close(file)
    head = head[: head.rfind(b"\n") + 1] or head
    tail = tail[tail.find(b"\n") + 1 :] or tail
    return head, tail, size - len(head) - len(tail)


def slowest(state: RunState, most: int = 5) -> Sequence[StepState]:
    """Return the steps of the last run that took longest."""
    timed = [step for step in state.steps.values() if step.run == state.run and step.duration_s]
    return sorted(timed, key=lambda step: -(step.duration_s or 0.0))[:most]
