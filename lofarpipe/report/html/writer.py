"""Keep report.html up to date during a run, in a separate process, so that the page cannot delay or harm the run.

Pictures are drawn during the run, when an image was measured, so that the end does not wait for them: the page is
then written here, with the existing pictures. A missing picture is drawn by a separate process.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import lofarpipe
from lofarpipe.config import Settings
from lofarpipe.errors import PipelineError
from lofarpipe.state.events import Event, JobDone, RunEnded, RunStarted
from lofarpipe.state.run_state import RunState
from lofarpipe.support.utilities import uncollected

INTERVAL_S = 60.0
PATIENCE = 100  # interval between pages, times the duration of the last page: 1 % of one core at most
LONGEST_INTERVAL_S = 600.0
LIMIT_S = 600.0  # for the last page; one of 20,000 x 20,000 pixels takes about 30 s
ERROR_CHARACTERS = 300
SECTION, KEY = "report", "html"
RECORD = "run.json"
MEASURED = "quality.json"  # the measured image is the one to show


def is_page_enabled(settings: Settings) -> bool:
    """Return whether the site wants a page for each run: ``html`` in [report] of its configuration, True by default.

    Raises
    ------
    PipelineError
        If the value is neither True nor False.
    """
    text = settings.sections.get(SECTION, {}).get(KEY, "True")
    if text not in ("True", "False"):
        place = settings.where(SECTION, KEY)
        raise PipelineError(f"{place}: [{SECTION}] {KEY} is '{text}'; True or False is needed")
    return text == "True"


class PageWriter:
    """Has report.html written after steps, at most once a minute, and when the run ends, however it does.

    Parameters
    ----------
    job_directory: of the run.
    state: state of the run, updated by its events.
    record: returns the content of run.json, but for the jobs.
    complain: called with the reason for a missing page, which does not end the run.
    interval_s: shortest time between the starts of two pages, or from the run to the first, s.
    """

    def __init__(
        self,
        job_directory: Path,
        state: RunState,
        record: Callable[[], Mapping[str, Any]],
        complain: Callable[[str], None],
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._directory = job_directory
        self._state = state
        self._record = record
        self._complain = complain
        self._interval_s = interval_s
        self._last_s: float | None = None  # None: the run has not begun
        self._drawn_ns = 0  # time of the measurement in the last page
        self._began_s = 0.0  # when the last page was, s since 1970 UTC
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None

    def run_started(self, event: RunStarted) -> None:
        """Start the interval to the first page; short runs get only a page at their end."""
        del event
        self._last_s, self._drawn_ns = time.monotonic(), self._measured_ns()

    def step_done(self, event: Event) -> None:
        """Begin a page if it is time, or if an image was measured."""
        del event
        self._start_if_due(at_once=self._measured_ns() != self._drawn_ns)

    def job_done(self, event: Event | Sequence[JobDone]) -> None:
        """Begin a page if it is time: steps of hours have many jobs."""
        del event
        self._start_if_due()

    plugin_done = step_skipped = jobs_done = job_done

    def run_ended(self, event: RunEnded) -> None:
        """Write the last page; nothing if the run never began."""
        del event
        if self._last_s is None or (self._state.is_repeat and self._is_current()):
            return
        try:
            if self._process is not None:  # its pictures are reused by the last page
                self._finish(self._process.wait(LIMIT_S))
            self._write_last()
        except subprocess.TimeoutExpired:
            self._stop()
            self._complain(f"{self._page}: was not written within {LIMIT_S:.0f} s; the one there is of an earlier time")
        except BaseException:
            self._stop()
            raise

    def _write_last(self) -> None:
        with uncollected():
            from lofarpipe.report.html.page import NotDrawnError, write_page

            try:
                write_page(self._directory, self._state, self._record(), draws=False)
                return
            except NotDrawnError:
                self._begin()
            except Exception as err:  # whatever is wrong with a page, the run is done
                self._complain(f"{self._page}: was not written: {str(err)[:ERROR_CHARACTERS] or type(err).__name__}")
        if self._process is not None:
            self._finish(self._process.wait(LIMIT_S))

    def _is_current(self) -> bool:
        """Whether the existing page is newer than the record of the run."""
        try:
            return self._page.stat().st_mtime_ns >= (self._directory / RECORD).stat().st_mtime_ns
        except OSError:
            return False

    def _measured_ns(self) -> int:
        try:
            return (self._directory / MEASURED).stat().st_mtime_ns
        except OSError:
            return 0

    @property
    def _page(self) -> Path:
        return self._directory / "report.html"

    def _start_if_due(self, at_once: bool = False) -> None:
        if self._last_s is None or not (at_once or time.monotonic() - self._last_s >= self._interval_s):
            return
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return
            self._finish(status)
        self._begin()

    def _begin(self) -> None:
        """Start the page process, in a session of its own, so that a Ctrl-C for the run does not reach it."""
        self._last_s, self._began_s, self._drawn_ns = time.monotonic(), time.time(), self._measured_ns()
        root = str(Path(lofarpipe.__file__).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
        # -P: a numpy.py where the user happens to be is not ours.
        argv = [sys.executable, "-P", "-m", "lofarpipe.report.html.page", str(self._directory)]
        try:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed when the process has ended
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env=environment,
                start_new_session=True,
            )
        except OSError as err:
            self._process = None
            self._complain(f"{self._page}: cannot be written: {err}")

    def _finish(self, status: int) -> None:
        """Note the end and the duration of a page, and report its problems."""
        text = self._collect_errors()
        self._process = None
        with contextlib.suppress(OSError):
            took_s = self._page.stat().st_mtime - self._began_s
            self._interval_s = max(self._interval_s, min(LONGEST_INTERVAL_S, PATIENCE * took_s))
        if status != 0:
            last_lines = text.strip().splitlines()[-1:] or [f"its process ended with {status}"]
            self._complain(f"{self._page}: was not written: {last_lines[0][:ERROR_CHARACTERS]}")

    def _collect_errors(self) -> str:
        """Return the error output of the process, and release it."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace")
        self._errors.close()
        self._errors = None
        return text

    def _stop(self) -> None:
        """Stop writing a page; the existing page is unchanged."""
        if self._process is None:
            return
        from lofarpipe.report.html.page import KEPT_IN

        self._process.kill()
        self._process.wait()
        for place in (self._directory, self._directory / KEPT_IN):
            for unfinished in place.glob(f".*.{self._process.pid}.tmp"):
                unfinished.unlink(missing_ok=True)
        self._process = None
        self._collect_errors()
