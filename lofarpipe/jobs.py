"""Jobs, their results, and the contract of everything that runs them."""

from __future__ import annotations

import io
import os
import re
import resource
import shlex
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Protocol

from lofarpipe.support.dataclass import dataclass

# Prefix of the executor's lines in a job's log.
NOTE = "### "
TAIL_BYTES = 65536
NOT_STARTED = 0.0
SIGNALLED = 128


@dataclass(frozen=True)
class Resources:
    """Resources of a machine for all its jobs, or of a node's largest job."""

    cores: int
    memory_gb: float  # 10^9 bytes
    gpus: int = 0


@dataclass(frozen=True)
class Staged:
    """Outputs written below a temporary directory, and renamed when complete.

    After exit code 0 everything in it is moved to where it goes; after any other end it is removed.
    """

    argv: tuple[str, ...]  # replaces the job's argv: output names are below ``directory``
    directory: Path
    destination: Path
    expected: str = ""  # description of the files required after exit code 0; "": none
    renames: tuple[tuple[str, str], ...] = ()  # pattern and replacement of names; "": matching files are dropped
    landing: Path | None = None  # beside the destination: first copy of outputs from another file system

    def final_name(self, name: str) -> str:
        """Return the final name of an output; "" if it is dropped."""
        for pattern, replacement in self.renames:
            if re.search(pattern, name):
                return re.sub(pattern, replacement, name) if replacement else ""
        return name


@dataclass(frozen=True)
class Job:
    """One program run on one data product. Plain data: it can be written down and sent to a node."""

    name: str  # <step>/<index>, e.g. "wsclean/007"
    argv: tuple[str, ...]  # never a shell string
    workdir: Path
    log: Path
    cores: int = 1
    memory_gb: float | None = None  # None: no limit
    gpus: int = 0
    env: Mapping[str, str] = field(default_factory=dict)  # added to the node's environment
    host: str = "localhost"
    max_per_node: int = 0  # concurrent jobs of this step on one host; 0: limited by cores only
    tempdir: Path | None = None  # made before the job, removed after it, however it ends
    label: str = ""  # the data product, for people
    at_host: bool = False  # whether to run on ``host``, which has the data; else ``host`` is a label
    staged: Staged | None = None  # outputs are written under temporary names, and renamed when they are complete
    watch: Mapping[str, str] = field(default_factory=dict)  # when to give up: program, and its thresholds
    batch: Mapping[str, str] = field(default_factory=dict)  # for a queue: walltime, partition, account, options
    one_try: bool = False  # after SIGSEGV it is not run a second time
    mark: str = ""  # fingerprint of its inputs, to distinguish it from an earlier run's job of the same name

    def command_line(self) -> str:
        """Return the complete shell command to repeat this job, with its environment."""
        variables = [f"{key}={value}" for key, value in sorted(self.env.items())]
        command = shlex.join([*(["env", *variables] if variables else []), *self.argv])
        scratch = f"mkdir -p {shlex.quote(str(self.tempdir))} && " if self.tempdir else ""  # it went with the job
        return f"cd {shlex.quote(str(self.workdir))} && {scratch}{command}"


@dataclass(frozen=True)
class JobStart:
    """A started job, with the location of its processes."""

    name: str
    node: str  # the machine
    pid: int  # process id and session of the program, or of the guard around it; 0: not known
    start_s: float  # s since 1970 UTC


def last_lines(log: Path, lines: int = 10) -> list[str]:
    """Return the program's last lines in a log, without the executor's notes; [] without a log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return []
    program_lines = [line for line in text.splitlines() if line.strip() and not line.startswith(NOTE)]
    return program_lines[-lines:] if lines > 0 else []


@dataclass(frozen=True)
class JobResult:
    """The end of a job, and its use of resources."""

    name: str
    exit_code: int  # negative: the signal that ended it
    start_s: float  # s since 1970 UTC; 0: never started
    duration_s: float
    cpu_s: float  # user + system, of the program and its children
    max_rss_mb: float  # 10^6 bytes, of its largest process; Linux counts at least what the starting process had
    log: Path
    argv: tuple[str, ...]
    host: str = "localhost"
    label: str = ""
    node: str = ""  # the machine of the run; "": this one
    memory_gb: float | None = None  # memory limit, 10^9 bytes
    problem: str = ""  # reason beyond the exit code: lost with its node, aborted because of its log
    is_lost: bool = False  # the node or queue failed, not the program: a retry is possible
    is_silent: bool = False  # the program wrote no output, so the log need not be read
    outputs: tuple[str, ...] = ()  # final paths of staged outputs

    @property
    def ok(self) -> bool:
        """Whether the program ended with exit code 0."""
        return self.exit_code == 0

    def reason(self) -> str:
        """Describe the end of the job, such as ``exited with 134 after 3 h 12 min``."""
        if self.problem:
            return self.problem
        if self.start_s == NOT_STARTED:
            return "was not started"
        elapsed = f"after {duration_text(self.duration_s)}"
        if self.exit_code >= 0:
            # Exit codes of shells, mpirun and container engines for a signal.
            number = self.exit_code - SIGNALLED if self.exit_code > SIGNALLED else 0
            meaning = f" ({self._signal_meaning(number)})" if number in set(signal.Signals) else ""
            return f"exited with {self.exit_code}{meaning} {elapsed}"
        return f"killed by signal {-self.exit_code} ({self._signal_meaning(-self.exit_code)}) {elapsed}"

    def tail(self, lines: int = 10) -> list[str]:
        """Return the program's last lines, without the executor's notes.

        A log that does not exist or cannot be read gives an empty list.
        """
        return last_lines(self.log, lines)

    def output(self) -> Iterator[str]:
        """Yield the program's lines with line ends, without the executor's notes.

        A missing log has no lines.
        """
        if self.is_silent:
            return
        try:
            yield from (line for line in _lines(str(self.log)) if not line.startswith(NOTE))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return

    def _signal_meaning(self, number: int) -> str:
        if number == signal.SIGKILL:
            limit = f" of {self.memory_gb:.1f} GB that it was given" if self.memory_gb else ""
            return f"probably out of memory: it used {self.max_rss_mb / 1000:.1f} GB{limit}"
        try:
            return signal.Signals(number).name
        except ValueError:
            return "unknown"


def _lines(log: str) -> Iterable[str]:
    """Return the lines of a log, with any line ends; a short log costs a single read."""
    file = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
    try:
        start = os.read(file, TAIL_BYTES)
    finally:
        os.close(file)
    if len(start) < TAIL_BYTES:
        if _has_only_notes(start):
            return ()
        return io.StringIO(start.decode("utf-8", "replace"), newline=None)
    return _streamed(log)


def _has_only_notes(log: bytes) -> bool:
    """Whether all lines are the executor's, as for most jobs of a few milliseconds."""
    mark = NOTE.encode()
    return log.startswith(mark) and log.count(b"\n" + mark) == log.count(b"\n", 0, -1) and b"\r" not in log


def _streamed(log: str) -> Iterator[str]:
    with Path(log).open(encoding="utf-8", errors="replace") as lines:
        yield from lines


def result_of(
    job: Job,
    exit_code: int,
    start_s: float = NOT_STARTED,
    duration_s: float = 0.0,
    usage: resource.struct_rusage | None = None,
    node: str = "",
) -> JobResult:
    """Return the result of a job; ``usage`` is the kernel's record of its processes."""
    return JobResult(
        name=job.name,
        exit_code=exit_code,
        start_s=start_s,
        duration_s=duration_s,
        cpu_s=usage.ru_utime + usage.ru_stime if usage else 0.0,
        max_rss_mb=usage.ru_maxrss * 1024 / 1e6 if usage else 0.0,
        log=job.log,
        argv=job.argv,
        host=job.host,
        label=job.label,
        node=node,
        memory_gb=job.memory_gb,
    )


def ended_result(job: Job, start_s: float = NOT_STARTED, node: str = "") -> JobResult:
    """Return the result of a job ended on request, by default before its start."""
    duration_s = max(0.0, time.time() - start_s) if start_s != NOT_STARTED else 0.0
    return result_of(job, -signal.SIGTERM, start_s, duration_s, node=node)


class Interrupted(BaseException):
    """A signal ended the run; every job is dead, unless ``problem`` names exceptions.

    It is no Exception: plugins catch these.

    Attributes
    ----------
    signal: the number of the signal; the exit status of the engine is by custom 128 + this.
    problem: description of jobs that may still run; "" if all were ended.
    """

    def __init__(self, signal_number: int, problem: str = "") -> None:
        self.signal, self.problem = signal_number, problem
        name = signal.Signals(signal_number).name
        super().__init__(f"interrupted by {name}: {problem or 'all jobs were ended'}; run again to resume")


DoneCallback = Callable[[JobResult], None]
StartCallback = Callable[[JobStart], None]


class Executor(Protocol):
    """Somewhere jobs run. ``run`` blocks, and returns one result per job in the order given.

    Attributes
    ----------
    notices: messages for users that are no failures, such as an unmet request; the reader
        empties the list.
    on_notice: called at once for each notice, by the thread in ``run``, as waiting may take hours.
    """

    notices: list[str]
    on_notice: Callable[[], None] | None

    def capacity(self, partition: str = "") -> Resources:
        """Return the size of the largest possible job, in a partition if the queue has any.

        Raises PipelineError for an unknown partition.
        """
        ...

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        """Run all jobs; ``on_start`` is called at each start, ``on_done`` with each result at once.

        Raises PipelineError when a job can never run here, before any is started; Interrupted after SIGINT,
        SIGTERM or SIGHUP. An exception of ``on_done`` ends all jobs and passes through.
        """
        ...

    def cancel(self) -> None:
        """End every job of the current ``run``; it then returns, with the rest as "not started" or killed."""
        ...

    def close(self) -> None:
        """Release resources kept between two calls of ``run``, such as workers."""
        ...


def executor_name(executor: Executor) -> str:
    """Return the name of an executor in pipeline.cfg, such as ``local``."""
    return type(executor).__name__.removesuffix("Executor").lower()


def duration_text(seconds: float) -> str:
    """Return a duration in seconds for people: ``0.3 s``, ``42 s``, ``3 min 5 s``, ``3 h 12 min``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
