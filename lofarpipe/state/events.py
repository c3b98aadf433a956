"""The facts of a run: each is emitted once, as a frozen dataclass, and stands in the journal as one line of JSON.

The name of an event in the journal is its ``kind``, those of its facts are the fields; whoever hears of an event has a
method of the name of its kind. Fields that a line lacks, or has of another type, get their default, so that old
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

Stamps = Mapping[str, str | None]  # path -> stamp of a file; None: it is not there
JOURNAL = "journal.jsonl"  # in the job directory of a run
MILLISECONDS = 3  # decimals of a time in seconds
LIVE = {"written": False}  # a field for those who hear of the event while it happens
IF_ANY = {"if_any": True}  # a field that is written only if there is something in it


def _now_s() -> float:
    return round(time.time(), MILLISECONDS)


@dataclass(frozen=True)
class Event:
    """One fact of a run."""

    kind: ClassVar[str] = ""
    is_numbered: ClassVar[bool] = False  # its serial number is written: it stays its own if a line before it is lost
    time_s: float | None = field(default_factory=_now_s, kw_only=True)  # s since 1970 UTC
    serial: int = field(default=0, kw_only=True)  # its place among the events of the journal; 0: it follows the last


@dataclass(frozen=True)
class Unknown(Event):
    """An event of another version, which counts but has no content."""

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
    boot: str | None = None  # since which start of the machine
    executor: str | None = None
    steps: Sequence[str] | None = None
    cores: float | None = None
    memory_gb: float | None = None
    gpus: int | None = None
    argv: Sequence[str] | None = None
    intermediate: Mapping[str, Any] = field(default_factory=dict, metadata=IF_ANY)  # products, images: step -> patterns
    job_directory: Path = field(default=Path(), metadata=LIVE)
    step_count: int = field(default=0, metadata=LIVE)  # of the pipeline itself, without those inside others


@dataclass(frozen=True)
class RunEnded(Event):
    """The run is over."""

    kind = "run_ended"
    ok: bool = False
    problem: str | None = None  # what ended it if it is not ``ok``
    signal: int | None = None  # that did
    job: str = field(default="", metadata=LIVE)

    @property
    def reason(self) -> str:
        """The first line of the problem."""
        return (self.problem or "").partition("\n")[0]


@dataclass(frozen=True)
class Notice(Event):
    """Something was decided that a user may want to know."""

    kind = "notice"
    text: str = ""


@dataclass(frozen=True)
class Warned(Event):
    """Something is not as it should be, and the run goes on."""

    kind = "warning"
    text: str = ""


@dataclass(frozen=True)
class FilesRemoved(Event):
    """Outputs of steps that no later step needs are about to be removed."""

    kind = "files_removed"
    is_numbered = True
    sizes: Mapping[str, Any] = field(default_factory=dict)  # path -> bytes


# Of a step.


@dataclass(frozen=True)
class StepEvent(Event):
    """A fact of a step, by its name in the journal: inside loops with the counters, as ``clean@2``."""

    step: str = ""

    @property
    def name(self) -> str:
        """The name of the step in the pipeline."""
        return self.step.partition("@")[0]

    @property
    def is_named(self) -> bool:
        """Whether it names its step: a damaged line may not."""
        return bool(self.step)


@dataclass(frozen=True)
class StepStarted(StepEvent):
    """A step with jobs begins."""

    kind = "step_started"
    is_numbered = True
    type: str = ""
    jobs: int = 0
    done_before: int = 0  # of them, by an earlier run
    left: Sequence[str] = field(default=(), metadata=IF_ANY)  # jobs that it has not any more
    unsafe: Mapping[str, Any] = field(default_factory=dict)  # job -> stamps of the inputs that it is going to change
    names: Sequence[str] = field(default=(), metadata=IF_ANY)  # of an old journal: the files that it may change


@dataclass(frozen=True)
class StepSkipped(StepEvent):
    """A step is not run, because it is done and nothing that it depends on has changed."""

    kind = "step_skipped"
    jobs: int = 0


@dataclass(frozen=True)
class StepDone(StepEvent):
    """A step is complete; ``failed`` of its jobs failed, and that was tolerated."""

    kind = "step_done"
    is_numbered = True
    fingerprint: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)  # short marks of the parts of its identity
    program: Sequence[str] = field(default=(), metadata=IF_ANY)  # name, version, content
    outputs: Mapping[str, Any] = field(default_factory=dict)
    maps: Mapping[str, str] = field(default_factory=dict)  # mapfile -> text
    files: Stamps = field(default_factory=dict)  # that it names
    written: Stamps = field(default_factory=dict)
    kept: Stamps = field(default_factory=dict)  # written by its jobs that were not run again
    depends: Mapping[str, Any] = field(default_factory=dict)  # step -> serial number of its last end
    jobs: int = 0
    failed: int | None = None
    duration_s: float | None = None

    @property
    def all_written(self) -> Stamps:
        """Files that it wrote, and those of its jobs that were not run again with it."""
        return {**self.kept, **self.written}


@dataclass(frozen=True)
class StepFailed(StepEvent):
    """A step failed, and with it the run."""

    kind = "step_failed"
    problem: str | None = None


class StepForgotten(StepEvent):
    """The work of a step counts no more."""

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
    """A fact of a job, which is named in the journal by its step and its number."""

    job: str = ""

    @property
    def is_named(self) -> bool:
        """Whether it names its job."""
        return bool(self.job)


@dataclass(frozen=True)
class JobStarted(JobEvent):
    """A job began."""

    kind = "job_started"
    is_numbered = True
    node: str = ""
    pid: int | None = None
    ticks: int | None = None  # when its process began; None: not known
    start_s: float | None = None
    label: str = ""
    log: str = ""
    cores: int | None = None
    memory_gb: float | None = None
    gpus: int | None = None
    tempdir: str | None = None
    stage: str | None = None
    landing: str | None = field(default=None, metadata=IF_ANY)
    outputs: Sequence[str] = ()  # of those that were not there
    makes: Sequence[str] = field(default=(), metadata=IF_ANY)  # what a known program may write that was not there
    before: Stamps = field(default_factory=dict)  # how what it may write was before


@dataclass(frozen=True)
class JobDone(JobEvent):
    """A job ended; ``problem`` is the cause of a failure, which may be in its log although its exit code is 0."""

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
    is_lost: bool = False  # not the program failed, but what ran it
    attempt: int = 0
    fingerprint: str = ""
    program: Sequence[str] = field(default=(), metadata=IF_ANY)  # name, version, content
    files: Stamps = field(default_factory=dict)  # that it names
    written: Stamps = field(default_factory=dict)
    depends: Mapping[str, Any] = field(default_factory=dict)  # who wrote what it names
    made: Sequence[str] = field(default=(), metadata=IF_ANY)  # its outputs
    former: Stamps = field(default_factory=dict, metadata=IF_ANY)  # of what it wrote that is not its own, before
    returned: str | None = field(default=None, metadata=IF_ANY)  # by its script
    result: JobResult | None = field(default=None, metadata=LIVE)
    is_tried_again: bool = field(default=False, metadata=LIVE)  # so that this is not its end for people


@dataclass(frozen=True)
class JobAdopted(JobDone):
    """A job was done by another run, and its outputs are still valid."""

    kind = "job_adopted"


@dataclass(frozen=True)
class JobSetAside(JobEvent):
    """Files in the way of a job are about to get hidden names."""

    kind = "job_set_aside"
    aside: Mapping[str, str] = field(default_factory=dict)  # path -> where it is until the job has ended


class JobSettled(JobEvent):
    """Files set aside for a job are gone, or back."""

    kind = "job_settled"


@dataclass(frozen=True)
class JobCleared(JobEvent):
    """The remains of a job that was cut off are cleared away."""

    kind = "job_cleared"
    cleared: Sequence[str] = ()  # in words


class JobForgotten(JobEvent):
    """The work of a job counts no more."""

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
    """Return the step of a job, both by their names in the journal."""
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
    """Return the types that JSON may have for a field."""
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
    """Return the facts of an event as they are written, without its kind, time and number."""
    values = vars(event)
    facts = {name: values[name] for name in _ALWAYS[type(event)]}
    for name in _IF_ANY[type(event)]:
        if values[name]:
            facts[name] = values[name]
    return facts


def path_as_text(value: object) -> str:
    """Return a path as text for JSON; whatever else JSON does not know is refused with a TypeError."""
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON; give text, a number, a list or a dictionary")


_encode = json.JSONEncoder(allow_nan=False, default=path_as_text).encode
_raw_decode = json.JSONDecoder().raw_decode  # json.loads looks for other encodings first


def encoded(event: Event, serial: int) -> str:
    """Return an event as JSON; ``serial`` is the number that it gets if its kind is numbered.

    Raises
    ------
    TypeError, ValueError
        If it holds a value that JSON has not.
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
    """Return the events of a journal, and the lines that are none.

    A line is cut off by a crash, or damaged; its event is lost. The others count, in the order of the file.
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
