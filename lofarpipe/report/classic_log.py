"""``pipeline.log`` as the tools of the observatory read it, with the output of every program.

Source: spec/lofarpipe.md, section 6.7; the spelling of "succesfully" is part of the format.
"""

# ruff: noqa: ARG002 - a reporter shows what it wants of an event

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.jobs import NOTE, Job, JobResult, duration_text
from lofarpipe.report.events import Reporter

PROGRAM = "genericpipeline"


class ClassicLog(Reporter):
    """Appends lines ``<date> <time> <level> <logger>: <text>`` to one file.

    The file is made when the run starts: a run that is refused leaves nothing behind. What is told before that is
    written then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._job_name = ""
        self._step = ("", "")  # kind, type
        self._before_start: list[str] = []
        self._started = False

    def run_started(self, job_name: str, steps: Sequence[str]) -> None:
        """Make the file, or go on with the one of an earlier run.

        Raises
        ------
        PipelineError
            If it cannot be written.
        """
        self._job_name = job_name
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as log:
                log.writelines(self._before_start)
        except OSError as err:
            raise PipelineError(f"{self._path}: the log cannot be written: {err.strerror}; correct log_file") from err
        self._started = True
        self._write("INFO", PROGRAM, f"LOFAR Pipeline ({PROGRAM}) starting: {job_name}, {len(steps)} steps")

    def step_started(self, step: str, kind: str, step_type: str, jobs: int) -> None:
        """Write which step and which task begins."""
        self._step = (kind, step_type)
        self._write("INFO", PROGRAM, f"Beginning step {step}")
        if kind != "plugin":
            self._write("INFO", PROGRAM, f"Running task: {step_type}")

    def step_skipped(self, step: str, kind: str, step_type: str, reason: str) -> None:
        """Write that the outputs of an earlier run are taken."""
        self._write("INFO", PROGRAM, f"Beginning step {step}")
        self._write("INFO", PROGRAM, f"Task {step_type} already exists in saved state; skipping ({reason})")

    def job_done(self, job: Job, result: JobResult, done: int, total: int) -> None:
        """Write what the program wrote, as one block, and how it ended."""
        name = f"node.{job.host}.{self._step[1]}.{job.label.rsplit('/', 1)[-1]}".rstrip(".")
        self._copy_output("DEBUG" if result.ok else "WARNING", name, result.log)
        self._write("INFO" if result.ok else "ERROR", name, f"{job.name} {result.reason()} ({done} of {total})")

    def step_done(self, step: str, duration_s: float, outputs: Mapping[str, object]) -> None:
        """Write that a step is complete."""
        kind, step_type = self._step
        what = "plugin" if kind == "plugin" else "recipe"
        self._write("INFO", f"{PROGRAM}.{step_type}", f"{what} {step_type} completed ({duration_text(duration_s)})")

    def notice(self, text: str) -> None:
        """Write a decision."""
        self._write("INFO", PROGRAM, text)

    def warning(self, text: str) -> None:
        """Write a warning."""
        self._write("WARNING", PROGRAM, text)

    def run_ended(self, problem: str | None, duration_s: float) -> None:
        """Write how the run ended; nothing if it never started."""
        if not self._started:
            return
        if problem is None:
            self._write("INFO", PROGRAM, "LOFAR Pipeline finished succesfully.")
            return
        self._write("ERROR", PROGRAM, f"Failed pipeline run: {self._job_name}")
        self._write("ERROR", PROGRAM, problem)
        self._write("ERROR", PROGRAM, "LOFAR Pipeline finished unsuccesfully.")

    def _write(self, level: str, name: str, text: str) -> None:
        line = f"{_prefix(level, name)}{text}\n"
        if not self._started:
            self._before_start.append(line)
            return
        with self._path.open("a", encoding="utf-8", errors="replace") as log:
            log.write(line)

    def _copy_output(self, level: str, name: str, job_log: Path) -> None:
        if not job_log.is_file():
            return
        with job_log.open(encoding="utf-8", errors="replace") as lines, self._path.open("a", encoding="utf-8") as log:
            prefix = _prefix(level, name)
            for line in lines:
                if not line.startswith(NOTE):
                    log.write(prefix + line.removesuffix("\n") + "\n")
                    prefix = ""  # one record for the whole block, as the tools expect


def _prefix(level: str, name: str) -> str:
    return f"{time.strftime('%Y-%m-%d %H:%M:%S')} {level:7} {name}: "
