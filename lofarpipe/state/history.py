"""What the events of a journal mean: which steps are done, with what, and how they left files and maps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError

Event = dict[str, Any]

DICTIONARIES = (
    "aside",
    "before",
    "depends",
    "files",
    "kept",
    "maps",
    "unsafe",
    "written",
)  # of an event, where they are there
_EMPTY: Event = {}
_DECODER = json.JSONDecoder()
NUMBERED = ("step_started", "step_done", "job_started", "job_done")


def fingerprint(inputs: object) -> str:
    """Return the SHA-256 of ``inputs``, written as JSON in one canonical way.

    Raises
    ------
    TypeError, ValueError
        If ``inputs`` holds anything but text, finite numbers, booleans, None, lists, tuples, paths and dictionaries.
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), allow_nan=False, default=path_as_text)
    return hashlib.sha256(text.encode()).hexdigest()


def read_events(content: bytes) -> tuple[list[Event], list[bytes]]:
    """Return the events of a journal, and the lines that are none.

    A line is cut off by a crash, or damaged; what it recorded is not known. The others count, in the order of the file.
    """
    events: list[Event] = []
    damaged: list[bytes] = []
    for line in content.split(b"\n")[:-1]:
        event = _event(line)
        if event is None:
            damaged.append(line + b"\n")
        else:
            events.append(event)
    torn = content[content.rfind(b"\n") + 1 :]
    return events, [*damaged, torn] if torn else damaged


class History:
    """What a journal says: which steps and jobs are done, with what, and the state in which files were left.

    The order of the events decides, not their times: a clock may be set back.

    Attributes
    ----------
    files: the stamp of each file that a step named or wrote, as the last of them left it; None: it was not there.
    written: the same of the files that a step or a job changed.
    written_at: the serial number of the event that says so.
    maps: the text of each mapfile as the last step wrote it.
    in_flux: what a step names that began and did not end, in journals that do not tell of jobs.
    plugins: what each plugin returned the last time.
    owners: file -> the job whose output it is.
    aside: job -> its outputs of earlier runs, and what was made of them -> where they are until the job has ended.
    superseded: those of these jobs that have succeeded since, so that these files go.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.files: dict[str, str | None] = {}
        self.written: dict[str, str | None] = {}
        self.written_at: dict[str, int] = {}
        self._written_by: dict[str, str] = {}  # the step whose event says so
        self.maps: dict[str, str] = {}
        self.in_flux: dict[str, str] = {}
        self.plugins: dict[str, dict[str, Any]] = {}
        self.owners: dict[str, str] = {}
        self.aside: dict[str, dict[str, str]] = {}
        self.superseded: set[str] = set()
        self._set_aside_by: dict[str, str] = {}  # job -> executor
        self._steps: dict[str, Event] = {}
        self._jobs: dict[str, dict[str, Event]] = {}  # step -> job -> its end
        self._removed: dict[str, dict[str, int]] = {}  # step -> jobs that it has not any more -> since which event
        self._written_since: dict[str, dict[str, int]] = {}  # file -> step that wrote it since then -> its last event
        self._open: dict[str, Event] = {}  # job -> its start
        self._unsafe: dict[str, tuple[int, dict[str, Any]]] = {}  # step -> serial number of its start, what it said
        self._run: Event = {}  # the last that began
        self._unended: list[Event] = []
        self._count = 0
        for event in events:
            self._apply(event)

    def done(self, step: str, fingerprint: str) -> dict[str, Any] | None:
        """Return the outputs of a step that was done with these inputs; None if it has to run."""
        event = self.last_done(step)
        return (
            dict(event.get("outputs") or {}) if event is not None and event.get("fingerprint") == fingerprint else None
        )

    def last_done(self, step: str) -> Event | None:
        """Return the facts of a step that is done, with the ``serial`` number of this event; None if it is not."""
        event = self._steps.get(step)
        return dict(event) if event is not None and event["event"] == "step_done" else None

    def job_done(self, job: str, fingerprint: str) -> Event | None:
        """Return the facts of a job that was done with these inputs; None if it has to run."""
        event = self.last_job(job)
        return dict(event) if event is not None and event.get("fingerprint") == fingerprint else None

    def last_job(self, job: str) -> Event | None:
        """Return the facts of a job that ended well, with the ``serial`` number of its end; None if there is none."""
        event = self.end_of(job)
        return event if event is not None and event.get("problem") is None else None

    def end_of(self, job: str) -> Event | None:
        """Return the facts of the end of a job, however it ended; None if it did not, or began again."""
        end = self._jobs.get(step_of(job), {}).get(job)
        return None if end is None or self._is_written_over(job, end) else end

    def open_job(self, job: str) -> Event | None:
        """Return the start of a job that did not end."""
        return self._open.get(job)

    def jobs_ended(self, step: str) -> list[Event]:
        """Return the facts of the jobs of a step that ended, with the ``serial`` numbers of their ends."""
        removed = self._removed.get(step, {})
        return [end for job, end in self._jobs.get(step, {}).items() if job not in removed]

    def all_ended(self, step: str) -> list[Event]:
        """Return the same, also of jobs that the step has not any more."""
        return [end for job, end in self._jobs.get(step, {}).items() if not self._is_written_over(job, end)]

    def known_jobs(self, step: str) -> dict[str, Event]:
        """Return the start of each job of a step that is open, else its end; also of jobs that it has not any more."""
        started = {job: event for job, event in self._open.items() if step_of(job) == step}
        return {**{end["job"]: end for end in self.all_ended(step)}, **started}

    def leave(self, step: str, jobs: Iterable[str]) -> None:
        """Note which jobs a step has not any more.

        What they did is still good when the step has them again, unless somebody wrote over it meanwhile.
        """
        removed, before = dict.fromkeys(jobs, self._count), self._removed.pop(step, {})
        ends = self._jobs.get(step, {})
        for job in [job for job in before if job not in removed]:
            if job in ends and self._is_written_over(job, ends[job], before[job]):
                del ends[job]
        if removed:
            self._removed[step] = {**removed, **{job: before[job] for job in removed if job in before}}

    def _is_written_over(self, job: str, end: Event, since: int | None = None) -> bool:
        """Whether what a job did was written over since its step had it not any more.

        Of a job that its step has a later change of what it wrote is the work of what comes after it. Of these it is
        another job that took their place.
        """
        step = step_of(job)
        since = self._removed.get(step, {}).get(job) if since is None else since
        if since is None:
            return False
        written = end.get("written") or {}
        return any(
            serial > since and (writer == step or path in written)
            for path in {*(end.get("files") or ()), *written}
            for writer, serial in self._written_since.get(path, {}).items()
        )

    def left_aside(self) -> list[str]:
        """Return the jobs for which a run that ended set files aside, and of which none can be running now."""
        return [job for job in self.aside if job in self.superseded or self._set_aside_by[job] in ("local", "None")]

    def steps_made_of(self, step: str) -> set[str]:
        """Return the steps that are done, and used what a step wrote, or what was made of it."""
        found = {step}
        depends = {name: (event.get("depends") or {}).keys() for name, event in self._steps.items()}
        while more := {name for name, used in depends.items() if name not in found and used & found}:
            found |= more
        return found - {step}

    def jobs_done(self, step: str) -> int:
        """Return how many jobs of a step ended well, and did not begin again."""
        return sum(end.get("problem") is None for end in self.jobs_ended(step))

    def jobs_of(self, step: str) -> list[str]:
        """Return the jobs of a step that began, or may have begun."""
        return list({**self.known_jobs(step), **self.unsafe(step)[1]})

    def unsafe(self, step: str) -> tuple[int, dict[str, Any]]:
        """Return the serial number of the last start of a step, and the stamps of what its jobs were to change."""
        return self._unsafe.get(step, (0, {}))

    def steps_with_jobs(self) -> set[str]:
        """Return the steps of which any job began."""
        return {*self._jobs, *map(step_of, self._open)}

    def open_jobs(self) -> dict[str, Event]:
        """Return the starts of the jobs that did not end, with the ``boot`` and ``executor`` of their run."""
        return dict(self._open)

    def is_in_flux(self, path: str, now: str | None, besides: str) -> bool:
        """Whether that a file changed is the work of a job that began and did not end, and is of another step.

        Such a job may have written it; that it has disappeared is only so if it was not there when the job began. What
        another step made anew since then is not its work.
        """
        if self.in_flux.get(path, besides) != besides and now is not None:
            return True
        made_at, made_by = self.written_at.get(path, -1), self._written_by.get(path)
        starts = [
            event["before"]
            for job, event in self._open.items()
            if step_of(job) != besides and (event["serial"] > made_at or step_of(job) == made_by)
        ]
        return any(path in before and (now is not None or before[path] is None) for before in starts)

    def killed_runs(self) -> list[Event]:
        """Return the facts of the runs that did not say that they ended; the run that asks may be the last of them."""
        return list(self._unended)

    def steps(self) -> dict[str, Event]:
        """Return the last event of each step (started, done or forgotten), in the order in which they began."""
        return {name: dict(event) for name, event in self._steps.items()}

    def record(self, event: str, **facts: object) -> None:
        """Add an event, here for as long as this object lives."""
        self._apply({"event": event, **self._numbered(event), **facts})

    def _numbered(self, event: str) -> Event:
        """Return the serial number that an event gets; it stays its own also if a line before it is lost."""
        return {"serial": self._count + 1} if event in NUMBERED else {}

    def _apply(self, event: Event) -> None:
        serial = event.get("serial")
        self._count = max(self._count + 1, serial if isinstance(serial, int) else 0)
        if event["event"].startswith("job_") and isinstance(event.get("job"), str):
            self._apply_job(event["event"], event["job"], event)
        elif event["event"] == "run_started":
            self._run = event
            self._unended.append(event)
        elif event["event"] == "run_ended":
            self._unended = self._unended[:-1]
        elif isinstance(event.get("step"), str):
            self._apply_step(event["event"], event["step"], event)

    def _apply_job(self, what: str, job: str, event: Event) -> None:
        if what == "job_started":
            self._jobs.get(step_of(job), {}).pop(job, None)
            facts = {key: self._run.get(key) for key in ("boot", "executor")}
            before = event.get("before") or {}
            self._open[job] = {**event, **facts, "before": before, "serial": self._count}
        elif what == "job_done":
            self._jobs.setdefault(step_of(job), {})[job] = {**event, "serial": self._count}
            self._note_writer(step_of(job), event.get("written") or ())
            self._apply_outputs(job, event)
            # One that was lost has ended, and may have stopped anywhere.
            if event.get("is_lost") and job in self._open:
                self._open[job]["is_lost"] = True
            else:
                self._open.pop(job, None)
                self._apply_files(event)
        elif what == "job_set_aside":
            self.aside.setdefault(job, {}).update(event.get("aside") or {})
            self._set_aside_by[job] = str(self._run.get("executor"))
            self.superseded.discard(job)
        elif what == "job_settled":
            self.aside.pop(job, None)
            self.superseded.discard(job)
        elif what == "job_cleared" and job in self._open:
            self._open[job]["is_cleared"] = True
        elif what == "job_forgotten":
            self._open.pop(job, None)
            self._jobs.get(step_of(job), {}).pop(job, None)
            self.unsafe(step_of(job))[1].pop(job, None)
            self._steps[step_of(job)] = {**event, "event": "step_forgotten"}

    def _apply_outputs(self, job: str, event: Event) -> None:
        """Keep whose outputs files are; what was set aside for a job that succeeded is nobody's any more."""
        if event.get("problem") is None and job in self.aside:
            self.superseded.add(job)
            for path in self.aside[job]:
                self.owners.pop(path, None)
        self.owners |= dict.fromkeys(texts_of(event.get("made")), job)

    def _note_writer(self, step: str, paths: Collection[str]) -> None:
        for path in paths if self._removed else ():
            self._written_since.setdefault(path, {})[step] = self._count

    def _apply_step(self, what: str, step: str, event: Event) -> None:
        if what == "step_started":
            # A step that began again may have overwritten its outputs: it is not done any more.
            self._steps[step] = {**event, "serial": self._count}
            self.in_flux |= dict.fromkeys(event.get("names") or (), step)
            self.leave(step, texts_of(event.get("left")))
            self._unsafe[step] = (self._count, dict(event.get("unsafe") or {}))
        elif what == "step_done":
            self._steps[step] = {**event, "serial": self._count}
            self._note_writer(step, event.get("written") or ())
            self._apply_files(event)
            self.maps |= event.get("maps") or {}
        elif what == "step_forgotten":
            self._forget(step, event)
        elif what == "plugin_done":
            self.plugins[step] = event.get("outputs") or {}

    def _forget(self, step: str, event: Event) -> None:
        if step in self._steps:
            self._steps[step] = event
        self._jobs.pop(step, None)
        self._removed.pop(step, None)
        self._unsafe.pop(step, None)
        self._open = {job: facts for job, facts in self._open.items() if step_of(job) != step}

    def _apply_files(self, event: Event) -> None:
        written = event.get("written") or {}
        left = {**(event.get("files") or {}), **written}
        self.files |= left
        self.written |= written
        self.written_at |= dict.fromkeys(written, self._count)
        self._written_by |= dict.fromkeys(written, str(event.get("step")))
        self.in_flux = {path: step for path, step in self.in_flux.items() if path not in left} if self.in_flux else {}


def texts_of(thing: object) -> list[str]:
    """Return the texts in a list that an event has; none if it is no list."""
    return [text for text in thing if isinstance(text, str)] if isinstance(thing, list) else []


def step_of(job: str) -> str:
    """Return the step of a job, both by their names in the journal."""
    return job.rpartition("/")[0]


def read_history(path: Path) -> History:
    """Return what the journal in ``path`` says; nothing is written, and another run may have it.

    Raises
    ------
    PipelineError
        If it is there and cannot be read.
    """
    try:
        return History(read_events(path.read_bytes())[0])
    except FileNotFoundError:
        return History()
    except OSError as err:
        raise PipelineError(f"{path}: the journal cannot be read: {err.strerror}") from err


def _event(line: bytes) -> Event | None:
    try:
        text = line.decode("utf-8", "surrogatepass").strip(" \t\r")
        event, end = _DECODER.raw_decode(text)  # json.loads looks for other encodings first
    except ValueError:
        return None
    if end != len(text) or not isinstance(event, dict) or not isinstance(event.get("event"), str):
        return None
    # Damage may leave a line that can be read, and says what nobody wrote.
    for key in DICTIONARIES:  # no generator: a line is read in a few microseconds
        if not isinstance(event.get(key) or _EMPTY, dict):
            return None
    return event


def path_as_text(thing: object) -> str:
    """Return a path as text for JSON; whatever else JSON does not know is refused with a TypeError."""
    if isinstance(thing, Path):
        return str(thing)
    raise TypeError(f"{type(thing).__name__} cannot be written as JSON; give text, a number, a list or a dictionary")
