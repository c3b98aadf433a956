"""The events of a run: frozen dataclasses, each emitted once and written to the journal as one line of JSON.

The journal names an event by its ``kind`` and its facts by the fields; a listener handles an event in the method named
after its kind. Missing fields, and fields of the wrong type, get their default, so that old
journals can be read.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    from lofarpipe.jobs import JobResult

Stamps = Mapping[str, str | None]  # path -> fingerprint of a file; None: no such file
JOURNAL = "journal.jsonl"  # in the job directory of a run
MILLISECONDS = 3  # decimals of a time in seconds
LIVE = {"written": False}  # a field for live reporters only, not in the journal
IF_ANY = {"if_any": True}  # a field written only if not empty


def _now_s() -> float:
    return round(time.time(), MILLISECONDS)


@dataclass(frozen=True)
class Event:
    """An event of a run."""

    kind: ClassVar[str] = ""
    is_numbered: ClassVar[bool] = False  # the serial number is written, to survive the loss of an earlier line
    time_s: float | None = field(default_factory=_now_s, kw_only=True)  # s since 1970 UTC
    serial: int = field(default=0, kw_only=True)  # position among the events of the journal; 0: one after the last


@dataclass(frozen=True)
class Unknown(Event):
    """An event of another version: numbered, without content."""

    name: str = ""


# Of a run.


@dataclass(frozen=True)
class RunStarted(Event):
    """All checks passed, and the first step begins."""

    kind = "run_started"
    job: str = ""  # the name of the run
    parset: str | None = None
    version: str | None = None
    host: str | None = None
    pid: int | None = None
    boot: str | None = None  # boot id of the machine
    executor: str | None = None
    steps: Sequence[str] | None = None
    cores: float | None = None
    memory_gb: float | None = None
    gpus: int | None = None
    argv: Sequence[str] | None = None
    intermediate: Mapping[str, Any] = field(default_factory=dict, metadata=IF_ANY)  # products, images: step -> patterns
    job_directory: Path = field(default=Path(), metadata=LIVE)
    step_count: int = field(default=0, metadata=LIVE)  # top-level steps of the pipeline


@dataclass(frozen=True)
class RunEnded(Event):
    """The run is over."""

    kind = "run_ended"
    ok: bool = False
    problem: str | None = None  # reason of the end, unless ``ok``
    signal: int | None = None  # signal that ended the run
    job: str = field(default="", metadata=LIVE)

    @property
    def reason(self) -> str:
        """The first line of the problem."""
        return (self.problem or "").partition("\n")[0]


@dataclass(frozen=True)
class Notice(Event):
    """A notice for the user about a decision of the run."""

    kind = "notice"
    text: str = ""


@dataclass(frozen=True)
class Warned(Event):
    """A warning; the run continues."""

    kind = "warning"
    text: str = ""


@dataclass(frozen=True)
class FilesRemoved(Event):
    """Outputs that no later step needs are about to be removed."""

    kind = "files_removed"
    is_numbered = True
    sizes: Mapping[str, Any] = field(default_factory=dict)  # path -> bytes


# Of a step.


@dataclass(frozen=True)
class StepEvent(Event):
    """An event of a step, under its name in the journal; inside loops with the counters, as ``clean@2``."""

    step: str = ""

    @property
    def name(self) -> str:
        """The name of the step in the pipeline."""
        return self.step.partition("@")[0]

    @property
    def is_named(self) -> bool:
        """Whether the step is named: it may be missing in a damaged line."""
        return bool(self.step)


@dataclass(frozen=True)
class StepStarted(StepEvent):
    """A step with jobs begins."""

    kind = "step_started"
    is_numbered = True
    type: str = ""
    jobs: int = 0
    done_before: int = 0  # jobs done by an earlier run
    left: Sequence[str] = field(default=(), metadata=IF_ANY)  # removed jobs
    unsafe: Mapping[str, Any] = field(default_factory=dict)  # job -> fingerprints of the inputs that it will change
    names: Sequence[str] = field(default=(), metadata=IF_ANY)  # in old journals: files that the step may change


@dataclass(frozen=True)
class StepSkipped(StepEvent):
    """A step is skipped: it is done, and no dependency has changed."""

    kind = "step_skipped"
    jobs: int = 0


@dataclass(frozen=True)
class StepDone(StepEvent):
    """A step is complete, with ``failed`` tolerated failures of jobs."""

    kind = "step_done"
    is_numbered = True
    fingerprint: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)  # short fingerprints of the parts of the identity
    program: Sequence[str] = field(default=(), metadata=IF_ANY)  # name, version, content
    outputs: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, str] = field(default_factory=dict)  # mapfile -> text
    files: Stamps = field(default_factory=dict)  # named files
    written: Stamps = field(default_factory=dict)
    kept: Stamps = field(default_factory=dict)  # written by jobs that were not run again
    depends: Mapping[str, Any] = field(default_factory=dict)  # step -> serial number of its last end event
    jobs: int = 0
    failed: int | None = None
    duration_s: float | None = None

    @property
    def all_written(self) -> Stamps:
        """Files written by the step, including those of jobs not run again."""
        return {**self.kept, **self.written}


@dataclass(frozen=True)
class StepFailed(StepEvent):
    """A step failed, and with it the run."""

    kind = "step_failed"
    problem: str | None = None


class StepForgotten(StepEvent):
    """The record of a step is void."""

    kind = "step_forgotten"


class PluginStarted(StepEvent):
    """A plugin is called."""

    kind = "plugin_started"


@dataclass(frozen=True)
class PluginDone(StepEvent):
    """A plugin returned."""

    kind = "plugin_done"
    outputs: Mapping[str, Any] = field(default_factory=dict)
    duration_s: float | None = None


# Of a job.


@dataclass(frozen=True)
class JobEvent(StepEvent):
    """An event of a job, which the journal names by step and number."""

    job: str = ""

    @property
    def is_named(self) -> bool:
        """Whether the job is named."""
        return bool(self.job)


@dataclass(frozen=True)
class JobStarted(JobEvent):
    """A job began."""

    kind = "job_started"
    is_numbered = True
    node: str = ""
    pid: int | None = None
    ticks: int | None = None  # start time of the process, clock ticks since boot; None: unknown
    start_s: float | None = None
    label: str = ""
    log: str = ""
    cores: int | None = None
    memory_gb: float | None = None
    gpus: int | None = None
    tempdir: str | None = None
    stage: str | None = None
    landing: str | None = field(default=None, metadata=IF_ANY)
    outputs: Sequence[str] = ()  # outputs that did not exist before
    makes: Sequence[str] = field(default=(), metadata=IF_ANY)  # its possible outputs that did not exist before
    before: Stamps = field(default_factory=dict)  # fingerprints of possible outputs before the job


@dataclass(frozen=True)
class JobDone(JobEvent):
    """A job ended; ``problem`` is the cause of a failure, which may come from its log despite exit code 0."""

    kind = "job_done"
    is_numbered = True
    exit_code: int | None = None
    start_s: float | None = None
    duration_s: float | None = None
    cpu_s: float | None = None
    max_rss_mb: float | None = None
    memory_gb: float | None = None
    node: str = ""
    log: str = ""
    label: str = ""
    problem: str | None = None
    is_lost: bool = False  # the executor failed, not the program
    attempt: int = 0
    fingerprint: str = ""
    program: Sequence[str] = field(default=(), metadata=IF_ANY)  # name, version, content
    files: Stamps = field(default_factory=dict)  # named files
    written: Stamps = field(default_factory=dict)
    depends: Mapping[str, Any] = field(default_factory=dict)  # writers of the named files
    made: Sequence[str] = field(default=(), metadata=IF_ANY)  # its outputs
    former: Stamps = field(default_factory=dict, metadata=IF_ANY)  # of written files owned by others, before the job
    returned: str | None = field(default=None, metadata=IF_ANY)  # results of the script
    result: JobResult | None = field(default=None, metadata=LIVE)
    is_tried_again: bool = field(default=False, metadata=LIVE)  # not reported as the end of the job


@dataclass(frozen=True)
class JobAdopted(JobDone):
    """A job was done by another run, with outputs that are still valid."""

    kind = "job_adopted"


@dataclass(frozen=True)
class JobSetAside(JobEvent):
    """Files in the way of a job are about to be renamed to hidden names."""

    kind = "job_set_aside"
    aside: Mapping[str, str] = field(default_factory=dict)  # path -> hidden path until the job ends


class JobSettled(JobEvent):
    """Files set aside for a job were removed or restored."""

    kind = "job_settled"


@dataclass(frozen=True)
class JobCleared(JobEvent):
    """The remains of an interrupted job were removed."""

    kind = "job_cleared"
    cleared: Sequence[str] = ()  # descriptions


class JobForgotten(JobEvent):
    """The record of a job is void."""

    kind = "job_forgotten"


KINDS: Mapping[str, type[Event]] = {
    kind.kind: kind
    for kind in (
        *(RunStarted, RunEnded, Notice, Warned, FilesRemoved),
        *(StepStarted, StepSkipped, StepDone, StepFailed, StepForgotten, PluginStarted, PluginDone),
        *(JobStarted, JobDone, JobAdopted, JobSetAside, JobSettled, JobCleared, JobForgotten),
    )
}


def step_of(job: str) -> str:
    """Return the journal name of a job's step."""
    return job.rpartition("/")[0]


# ---- as lines of the journal

_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "Sequence": (list,),
    "Stamps": (dict,),
    "Mapping": (dict,),
}


def _types(annotation: str) -> tuple[type, ...]:
    """Return the JSON types allowed for a field."""
    main, _, rest = annotation.partition(" | ")
    return (*_TYPES[main.partition("[")[0]], *((type(None),) if rest else ()))


def _written_fields(event: type[Event]) -> Iterator[dataclasses.Field[Any]]:
    fields = (field for field in dataclasses.fields(event) if field.metadata.get("written", True))
    return (field for field in fields if field.name not in ("time_s", "serial"))


_READ = {
    kind: {
        "time_s": (float, int),
        "serial": (int,),
        **{field.name: _types(str(field.type)) for field in _written_fields(kind)},
    }
    for kind in KINDS.values()
}
_ALWAYS = {
    kind: [field.name for field in _written_fields(kind) if "if_any" not in field.metadata] for kind in KINDS.values()
}
_IF_ANY = {
    kind: [field.name for field in _written_fields(kind) if "if_any" in field.metadata] for kind in KINDS.values()
}


def facts_of(event: Event) -> dict[str, Any]:
    """Return the written fields of an event, without kind, time and serial number."""
    values = vars(event)
    facts = {name: values[name] for name in _ALWAYS[type(event)]}
    for name in _IF_ANY[type(event)]:
        if values[name]:
            facts[name] = values[name]
    return facts


def path_as_text(value: object) -> str:
    """Convert a path to text for JSON; raise TypeError for any other type."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON; give text, a number, a list or a dictionary")


_encode = json.JSONEncoder(allow_nan=False, default=path_as_text).encode
_raw_decode = json.JSONDecoder().raw_decode  # json.loads looks for other encodings first


def encoded(event: Event, serial: int) -> str:
    """Return an event as JSON; ``serial`` is its number if its kind is numbered.

    Raises
    ------
    TypeError, ValueError
        If a value has no JSON equivalent.
    """
    number = {"serial": serial} if event.is_numbered else {}
    return _encode({"event": event.kind, "time_s": event.time_s, **number, **facts_of(event)})


def decoded(entry: Mapping[str, Any]) -> Event | None:
    """Return the event in a line of a journal; None for a damaged line."""
    kind = entry.get("event")
    if not isinstance(kind, str):
        return None
    event = KINDS.get(kind)
    if event is None:
        return Unknown(kind, time_s=None)
    types = _READ[event]
    facts: dict[str, Any] = {"time_s": None}
    for name, value in entry.items():
        allowed = types.get(name)
        if allowed is None:
            continue
        if type(value) in allowed:
            facts[name] = [one for one in value if type(one) is str] if type(value) is list else value
        elif type(value) is float and int in allowed and math.isfinite(value):
            facts[name] = int(value)
        elif dict in allowed and value:
            return None
    return event(**facts)


def read_events(content: bytes) -> tuple[list[Event], list[bytes]]:
    """Return the events of a journal, and its unreadable lines.

    A line damaged or cut off by a crash loses its event; the other events count, in file order.
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


def _event(line: bytes) -> Event | None:
    try:
        text = line.decode("utf-8", "surrogatepass").strip(" \t\r")
        entry, end = _raw_decode(text)
    except ValueError:
        return None
    return decoded(entry) if end == len(text) and isinstance(entry, dict) else None
