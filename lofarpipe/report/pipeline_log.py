"""``pipeline.log`` as the tools of the observatory read it, with the output of every program.

Source: doc/spec/lofarpipe.md, section 6.7; the spelling of "succesfully" is part of the format.
"""
# ruff: noqa: ARG002 - a reporter shows what it wants of an event

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.jobs import JobResult, duration_text
from lofarpipe.report.events import Ended, Reporter
from lofarpipe.support.disk import io_problem

LINES_AT_ONCE = 1000  # of a long log are in memory


class LogFile:
    """Stays open while the run goes on; in the place of one that was removed or moved away a new one is made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None  # while it is open
        self._seen_at = ""  # when it was looked whether the file is still there: once a second, and for each step

    def append(self, lines: Iterable[str], moment: str) -> None:
        """Add lines; ``moment`` is the time of day, to the second.

        Raises
        ------
        OSError
            If they cannot be written.
        """
        # Bare calls of the system: this is done for jobs, and a stream costs several times as much.
        file = self._file
        if file is None or self._seen_at != moment:
            file = self._opened()
            self._seen_at = moment
        rest = iter(lines)
        while text := "".join(islice(rest, LINES_AT_ONCE)):
            _write_all(file, text.encode("utf-8", "replace"))

    def _opened(self) -> int:
        """Return the descriptor of the file, which has a name: what is written into a removed one, nobody reads."""
        if self._file is not None and os.fstat(self._file).st_nlink == 0:
            self.close()
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        return self._file

    def look_again(self) -> None:
        """Have the next line written into a file that is there for sure."""
        self._seen_at = ""

    def leave_if_moved(self) -> None:
        """Close the file if its name stands for another one, or for none: programs that keep logs move them away."""
        self.look_again()
        if self._file is not None:
            try:
                is_there = os.path.samestat(os.fstat(self._file), os.stat(self.path))  # noqa: PTH116
            except OSError:
                is_there = False
            if not is_there:
                self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


PROGRAM = "genericpipeline"


class ClassicLog(Reporter):
    """Appends lines ``<date> <time> <level> <logger>: <text>`` to one file.

    The file is made when the run starts: a run that is refused leaves nothing behind. What is told before that is
    written then. It stays open while the run goes on; in the place of one that was moved away or removed a new one is
    made, at the next step at the latest.
    """

    def __init__(self, path: Path) -> None:
        self._file = LogFile(path)
        self._step_type = ""
        self._before_start: list[str] = []
        self._started = False
        self._clock = _Clock()

    def run_started(self, job_name: str, job_directory: Path, steps: int) -> None:
        """Make the file, or go on with the one of an earlier run.

        Raises
        ------
        PipelineError
            If it cannot be written.
        """
        path = self._file.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as log:
                log.writelines(self._before_start)
        except OSError as err:
            raise PipelineError(f"{path}: the log cannot be written: {err.strerror}; correct log_file") from err
        self._started = True
        self._write("INFO", PROGRAM, f"LOFAR Pipeline ({PROGRAM}) starting: {job_name}, {steps} steps")

    def step_started(self, step: str, step_type: str, jobs: int) -> None:
        """Write which step and which task begins."""
        self._step_type = step_type
        self._file.leave_if_moved()
        self._write("INFO", PROGRAM, f"Beginning step {step}")
        if step_type != "plugin":
            self._write("INFO", PROGRAM, f"Running task: {step_type}")

    def step_skipped(self, step: str) -> None:
        """Write that the outputs of an earlier run are taken."""
        self._write("INFO", PROGRAM, f"Beginning step {step}")
        self._write("INFO", PROGRAM, f"Task {step} already exists in saved state; skipping")

    def jobs_done_before(self, step: str, jobs: int) -> None:
        """Write how many jobs of an earlier run are taken."""
        if jobs:
            self._write("INFO", PROGRAM, f"{jobs} jobs of step {step} already exist in saved state; skipping")

    def job_done(self, step: str, result: JobResult, problem: str | None) -> None:
        """Write what the program wrote, as one block, and how it ended."""
        name = _logger(self._step_type, result)
        level, of_output = ("INFO", "DEBUG") if problem is None else ("ERROR", "WARNING")
        end = f"{self._prefix(level, name)}{result.name} {problem or result.reason()}\n"
        self._append(chain(self._output(of_output, name, result), [end]))

    def jobs_done(self, ended: Sequence[Ended]) -> None:
        """Write how jobs ended that wrote nothing, each with its time."""
        self._append(map(self._end_line, ended))

    def _end_line(self, ended: Ended) -> str:
        result = ended.result
        name = _logger(self._step_type, result)
        return f"{self._prefix('INFO', name, ended.time_s)}{result.name} {result.reason()}\n"

    def step_done(self, step: str, duration_s: float, jobs: int, failed: int) -> None:
        """Write that a step is complete."""
        name = f"{PROGRAM}.{self._step_type}"
        if failed:
            self._write("WARNING", name, f"{failed} of {jobs} jobs of step {step} failed; their products are skipped")
        self._write("INFO", name, f"recipe {self._step_type} completed ({step}, {duration_text(duration_s)})")

    def notice(self, text: str) -> None:
        """Write a decision."""
        self._write("INFO", PROGRAM, text)

    def warning(self, text: str) -> None:
        """Write a warning."""
        self._write("WARNING", PROGRAM, text)

    def run_ended(self, ok: bool, job_name: str, problem: str = "") -> None:
        """Write how the run ended; nothing if it never started."""
        if not self._started:
            return
        try:
            self._write_end(ok, job_name, problem)
        finally:
            self._file.close()

    def _write_end(self, ok: bool, job_name: str, problem: str) -> None:
        if ok:
            self._write("INFO", PROGRAM, "LOFAR Pipeline finished succesfully.")
            return
        self._write("ERROR", PROGRAM, f"Failed pipeline run: {job_name}")
        self._write("ERROR", PROGRAM, problem or "no reason was given")
        self._write("ERROR", PROGRAM, "LOFAR Pipeline finished unsuccesfully.")

    def _prefix(self, level: str, name: str, time_s: float | None = None) -> str:
        """Return how a line begins; by default it is of now."""
        moment = self._clock.text(time.time() if time_s is None else time_s)
        return f"{moment} {level:7} {name}: "

    def _write(self, level: str, name: str, text: str) -> None:
        line = f"{self._prefix(level, name)}{text}\n"
        if not self._started:
            self._before_start.append(line)
            return
        self._file.look_again()
        self._append([line])

    def _output(self, level: str, name: str, result: JobResult) -> Iterator[str]:
        # One record for the whole block, as the tools expect.
        prefixes = chain([self._prefix(level, name)], repeat(""))
        lines = zip(prefixes, result.output(), strict=False)
        return (prefix + line.removesuffix("\n") + "\n" for prefix, line in lines)

    def _append(self, lines: Iterable[str]) -> None:
        try:
            self._file.append(lines, self._clock.text(time.time()))
        except OSError as err:
            problem = io_problem(OSError(err.errno, err.strerror, err.filename or str(self._file.path)))
            raise PipelineError(f"the log cannot be written: {problem}") from err


def _logger(step_type: str, result: JobResult) -> str:
    """Return who tells of a job: the type of its step, and its product."""
    return f"node.{result.host}.{step_type}.{result.label.rsplit('/', 1)[-1]}".rstrip(".")


class _Clock:
    """The date and the time of day as text, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def text(self, time_s: float) -> str:
        second = int(time_s)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
        return self._text
