"""One program from start to result: log, own directories, resource usage.

A job has directories for temporary files and for incomplete outputs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.resources import Admitted
from lofarpipe.jobs import NOTE, Job, JobResult, Staged, duration_text, result_of
from lofarpipe.programs.logs import LogWatch, output_fault
from lofarpipe.state.scratch import Marker
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.disk import ADVICE, full_place, io_problem, trouble_in
from lofarpipe.support.patterns import lazy_pattern

MARKER = ".temporary-directory-of-a-job"
VARIABLE = lazy_pattern(r"\$\((\w+)\)")  # form in a definition, where $NAME is replaced at once
REPLACED = ".replaced"  # former outputs before their removal
# Limit for syncing to disk, which blocks signals and other jobs.
SYNC_FILES = 20
SYNC_BYTES = 20e6


def directories_of(job: Job) -> list[Path]:
    """Return the directories created before the job and removed after it."""
    staged = (job.staged.directory, job.staged.landing) if job.staged else ()
    return [directory for directory in (job.tempdir, *staged) if directory is not None]


def expanded_directory(name: str) -> str:
    """Expand the variables in a directory name with this machine's values."""
    return os.path.expandvars(VARIABLE.sub(r"${\1}", name))


def expand_directories(job: Job) -> Job:
    """Expand the variables in the directory names of a job with this machine's values.

    Raises
    ------
    PipelineError
        If a variable is not set here.
    """
    directories = [str(directory) for directory in directories_of(job) if "$" in str(directory)]
    if not directories:
        return job
    places = {name: expanded_directory(name) for name in directories}
    for name, place in places.items():
        if not Path(place).is_absolute():
            raise PipelineError(f"{job.name}: temporary directory {name}: that is {place} here; set the variable")

    def replaced(text: str) -> str:
        for name, place in places.items():
            text = text.replace(name, place)
        return text

    staged = job.staged and replace(
        job.staged,
        argv=tuple(map(replaced, job.staged.argv)),
        directory=Path(replaced(str(job.staged.directory))),
    )
    tempdir = job.tempdir and Path(replaced(str(job.tempdir)))
    return replace(job, argv=tuple(map(replaced, job.argv)), tempdir=tempdir, staged=staged)


def make_directories(job: Job) -> None:
    """Create the directories of a job; remains of an earlier try are removed.

    Raises
    ------
    PipelineError
        If a directory exists and is not marked as a job's, to protect its files; or if it cannot be created.
    """
    for directory in directories_of(job):
        if (directory / MARKER).exists():
            remove_directory(directory)
        try:
            # An empty one may be left by a try killed at this point.
            with contextlib.suppress(OSError):
                directory.rmdir()
            directory.mkdir(parents=True)
            (directory / MARKER).touch()
            if directory == job.tempdir:
                _owner(job).mark(directory)
        except FileExistsError as err:
            raise PipelineError(
                f"temporary directory {directory} exists already, and it is removed after the job; "
                "move it away, or choose a name that is not in use"
            ) from err
        except OSError as err:
            raise PipelineError(f"temporary directory {directory} cannot be made: {io_problem(err)}") from err


def _owner(job: Job) -> Marker:
    """Return the marker for the scratch of a job, whose log is <job directory>/logs/<step>/<number>.log."""
    step, _, number = job.name.rpartition("/")
    return Marker(str(job.log.parent.parent.parent), step, number)


def remove_directories(job: Job) -> None:
    """Remove the directories of a job as far as possible."""
    for directory in directories_of(job):
        remove_directory(directory)


def remove_directory(directory: Path) -> None:
    """Remove a directory, its marker last, so that remains can be attributed."""
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            if path.name != MARKER:
                _remove(path)
    # The marker stays while other files remain, so that a later try can continue.
    with contextlib.suppress(OSError):
        if [path.name for path in directory.iterdir()] == [MARKER]:
            (directory / MARKER).unlink()
            directory.rmdir()


def _remove(path: Path) -> None:
    if _is_directory(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def unwritten(staged: Staged) -> str:
    """Return the expected output missing after exit code 0, or ""."""
    return staged.expected if staged.expected and not _outputs(staged) else ""


def _outputs(staged: Staged) -> list[str]:
    return sorted({path.name for path in staged.directory.iterdir()} - {MARKER, REPLACED})


def commit(staged: Staged) -> list[str]:
    """Move complete outputs from the stage to their final paths, and return these.

    A file replaces its predecessor atomically. A directory, such as a measurement set, cannot: the former one is
    moved into the stage first, and removed with it.

    Raises
    ------
    PipelineError
        If an output cannot be moved. Outputs moved before it are complete and in place.
    """
    try:
        names = {name: final for name in _outputs(staged) if (final := staged.final_name(name))}
        stage = _stage_near_destination(staged, names)
        _sync(stage)
        for name, final in names.items():
            _move_output(stage / name, staged.destination / final, stage / REPLACED / final)
        _sync_directory(staged.destination)
        return [str(staged.destination / final) for final in names.values()]
    except OSError as err:
        raise PipelineError(
            f"its outputs are complete, and could not be moved from {staged.directory} to {staged.destination}: "
            f"{io_problem(err)}"
        ) from err


def _stage_near_destination(staged: Staged, names: Iterable[str]) -> Path:
    """Return the directory from which outputs can be renamed to their destination, and its outputs."""
    landing = staged.landing
    if landing is None or landing.stat().st_dev == staged.directory.stat().st_dev:
        return staged.directory
    for name in names:
        shutil.move(staged.directory / name, landing / name)
    return landing


def _move_output(source: Path, target: Path, replaced: Path) -> None:
    """Move an output to its final path; restore the former one on failure."""
    if not os.path.lexists(target) or not (_is_directory(target) or _is_directory(source)):
        source.replace(target)
        return
    replaced.parent.mkdir(exist_ok=True)
    target.rename(replaced)
    try:
        source.rename(target)
    except OSError:
        replaced.rename(target)
        raise


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _sync(directory: Path) -> None:
    """Sync few or small files to disk; the kernel writes large ones as they grow."""
    files = []
    total = 0
    for path, size in _files(directory):
        files.append(path)
        total += size
        if len(files) > SYNC_FILES or total > SYNC_BYTES:
            return
    for path in files:
        _sync_directory(path)


def _files(directory: Path) -> Iterator[tuple[str, int]]:
    for root, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(root, name)  # noqa: PTH118 - called for many names
            yield path, os.lstat(path).st_size


def _sync_directory(path: str | Path) -> None:
    """Sync a file or a directory to disk; links and unreadable entries are skipped."""
    with contextlib.suppress(PermissionError, FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


LINE_BYTES = 240  # length of the reserved line, with line end
HEAD_BYTES = 65536  # searched part of the log; it is the second line
END = f"{NOTE}end: "
NOT_YET = "not yet"


def utc_now() -> str:
    """Return the present time, as ``2026-11-21T07:43:24Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def end_line(text: str = NOT_YET) -> bytes:
    """Return the line about a job's end, padded or cut to a fixed length."""
    line = os.fsencode(END + " ".join(text.split()))
    if len(line) >= LINE_BYTES:
        line = line[: LINE_BYTES - 4].decode(errors="ignore").encode() + b"..."
    return line.ljust(LINE_BYTES - 1) + b"\n"


def usage_text(result: JobResult) -> str:
    """Return exit status and used resources of a job."""
    return f"{result.reason()}; CPU {result.cpu_s:.2f} s, memory {result.max_rss_mb:.0f} MB"


def write_end(log: Path, text: str) -> None:
    """Write the end of a job into the reserved line of its log, in place.

    A log without that line, or no longer writable, is unchanged: its last line has the same content.
    """
    with contextlib.suppress(OSError):
        file = os.open(log, os.O_RDWR | os.O_CLOEXEC)  # a new descriptor: the program's own always appends
        try:
            head = os.pread(file, HEAD_BYTES, 0)
            start = head.find(b"\n" + END.encode()) + 1
            if start > 0 and head[start + LINE_BYTES - 1 : start + LINE_BYTES] == b"\n":
                os.pwrite(file, end_line(f"{utc_now()}, {text}"), start)
        finally:
            os.close(file)


OPEN_FILES = 2**17  # for 4000 measurement sets in one pass of DP3, 32 open files each
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # as shells report them
SHORTAGES = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
SHORTAGE_PAUSE_S = 1.0
LINES_OF_INTEREST = 30  # at the end of a log
STARTS = 3  # tries, as shortages of memory or processes pass; doc/spec/lofarpipe.md, section 8.4
WORTHLESS = os.EX_DATAERR  # exit code of a job that ended with 0 and logged that its output is useless
NOT_WRITTEN = os.EX_CANTCREAT  # exit code of a job whose directories or outputs cannot be created


@dataclass
class RunningJob:
    """A started program, until ``reap``."""

    admitted: Admitted
    process: subprocess.Popen[bytes]
    log: int  # file descriptor
    start_s: float
    started: float  # monotonic clock, s
    is_retry: bool = False
    log_watch: LogWatch | None = None  # log watch, if requested by the job
    stopped: str = ""  # reason why the runner ended it
    head_bytes: int = -1  # size of the log at the start; -1: unknown

    @property
    def group(self) -> int:
        """The process id of the program, also its process group and session."""
        return self.process.pid

    def has_ended(self) -> bool:
        """Whether the program has ended; it is not reaped, so its id is not reused."""
        return os.waitid(os.P_PID, self.group, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def reap(self) -> JobResult:
        """Wait for the program, end the rest of its process group, and return the result.

        Staged outputs of a program that ended with 0 are then in place; the job's directories still exist.
        """
        os.waitid(os.P_PID, self.group, os.WEXITED | os.WNOWAIT)
        os.killpg(self.group, signal.SIGKILL)  # the leader is not reaped yet, so the group exists
        _, status, usage = os.wait4(self.group, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        job = self.admitted.job
        program_result = result_of(job, self.process.returncode, self.start_s, time.monotonic() - self.started, usage)
        is_silent = os.lseek(self.log, 0, os.SEEK_END) == self.head_bytes
        result = finish_job(job, replace(program_result, is_silent=is_silent), self.log_watch, self.stopped)
        with contextlib.suppress(OSError):  # e.g. a full disk; the result itself is known
            write_log_lines(self.log, usage_text(result))
        os.close(self.log)
        write_end(job.log, usage_text(result))
        return result


def finish_job(job: Job, program_result: JobResult, log_watch: LogWatch | None, stopped: str) -> JobResult:
    """Return the result of an ended program, and move its staged outputs into place if it succeeded.

    Parameters
    ----------
    log_watch: log watch, if requested by the job.
    stopped: reason why the runner ended it, or "".
    """
    result = _check_result(job, program_result, log_watch, stopped)
    return _committed(job, result) if result.ok else _explained(job, result)


def _check_result(job: Job, result: JobResult, log_watch: LogWatch | None, stopped: str) -> JobResult:
    """Return the result; a failure if the log shows that the output is useless."""
    elapsed = f"after {duration_text(result.duration_s)}"
    if stopped:
        problem = f"stopped {elapsed}: {stopped}"
        return replace(result, exit_code=result.exit_code or -signal.SIGTERM, problem=problem)
    fault = ((log_watch.check_log() if log_watch else None) or output_fault(job)) if result.ok and job.watch else None
    if fault:
        return replace(result, exit_code=WORTHLESS, problem=f"ended with 0 {elapsed}, but {fault}")
    missing = _missing(job) if result.ok else ""
    if not missing:
        return result
    return replace(result, exit_code=NOT_WRITTEN, problem=f"ended with 0 {elapsed}, but did not write {missing}")


def _missing(job: Job) -> str:
    """Return the missing expected output, or ""; an unreadable stage is reported by the commit."""
    try:
        return unwritten(job.staged) if job.staged else ""
    except OSError:
        return ""


def _committed(job: Job, result: JobResult) -> JobResult:
    if job.staged is None:
        return result
    try:
        return replace(result, outputs=tuple(commit(job.staged)))
    except PipelineError as err:
        return replace(result, exit_code=NOT_WRITTEN, problem=str(err))


def _explained(job: Job, result: JobResult) -> JobResult:
    """Add the state of the disk to a failure, before the files that filled it are removed."""
    disk_message = trouble_in(result.tail(LINES_OF_INTEREST))
    full = full_place([*directories_of(job), job.workdir, job.log.parent])
    gone = "" if os.path.isdir(job.workdir) else f"{job.workdir} is not there any more: {ADVICE[errno.ENOENT]}"  # noqa: PTH112
    cause = "; ".join(text for text in (disk_message, full, gone) if text)
    return replace(result, problem=f"{result.reason()}: {cause}") if cause else result


def raise_open_files(needed: int = OPEN_FILES) -> None:
    """Raise the soft limit of open files for this process and its children, within the hard limit.

    The default of 1024, kept for old programs that loop over all descriptors, is too low for 36 measurement sets.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if resource.RLIM_INFINITY != soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def start(admitted: Admitted, environment: Mapping[str, str], is_retry: bool = False) -> RunningJob | JobResult:
    """Start the program of a job in its own session; return a result if it cannot be started.

    Parameters
    ----------
    environment: of this process; the job's variables are added.
    is_retry: append to the log of the first attempt.

    Raises
    ------
    PipelineError
        If the log cannot be written.
    """
    job = admitted.job
    log = open_log(job, again=is_retry)
    env = {**environment, **job.env}
    if admitted.gpus:
        env["CUDA_VISIBLE_DEVICES"] = ",".join(admitted.gpus)
        write_log_lines(log, f"CUDA_VISIBLE_DEVICES={env['CUDA_VISIBLE_DEVICES']}")
    head_bytes = -1 if is_retry else os.lseek(log, 0, os.SEEK_END)
    start_s, started = time.time(), time.monotonic()
    try:
        make_directories(job)
        process = _popen(job, env, log)
    except (PipelineError, OSError) as err:
        code, problem = _not_started(job, err)
        with contextlib.suppress(OSError):
            os.write(log, os.fsencode(f"{problem}\n"))
        os.close(log)
        write_end(job.log, problem)
        result = result_of(job, code, start_s, time.monotonic() - started)
        return replace(result, problem=problem if code == NOT_WRITTEN else "")
    return RunningJob(
        admitted,
        process,
        log,
        start_s,
        started,
        is_retry,
        LogWatch.of(job) if job.watch else None,
        head_bytes=head_bytes,
    )


def _not_started(job: Job, err: PipelineError | OSError) -> tuple[int, str]:
    """Return the exit code and the reason of a failed start."""
    if isinstance(err, PipelineError):
        return NOT_WRITTEN, str(err)
    if not os.path.isdir(job.workdir):  # noqa: PTH112 - returns also if the file system is gone
        return NOT_WRITTEN, f"working directory {io_problem(OSError(err.errno, err.strerror, str(job.workdir)))}"
    code = NOT_FOUND if isinstance(err, FileNotFoundError) else NOT_EXECUTABLE
    return code, f"{job.argv[0]}: cannot be started in {job.workdir}: {err.strerror}"


def _popen(job: Job, env: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
    """Start the program; retry after a pause on a shortage of memory or processes."""
    for _ in range(STARTS - 1):
        try:
            return _popen_once(job, env, log)
        except OSError as err:
            if err.errno not in SHORTAGES:
                raise
            time.sleep(SHORTAGE_PAUSE_S)
    return _popen_once(job, env, log)


def _popen_once(job: Job, env: Mapping[str, str], log: int) -> subprocess.Popen[bytes]:
    argv = job.staged.argv if job.staged else job.argv
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=job.workdir, env=env, start_new_session=True
    )


def open_log(job: Job, again: bool = False) -> int:
    """Open the job's log and return its descriptor; a new log begins with a reserved line for the end, and the command.

    Raises
    ------
    PipelineError
        If the log cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | (0 if again else os.O_TRUNC)
    title = f"{job.name} {job.label}".rstrip() + f" on {job.host}, {utc_now()}"
    lines = [f"{title}: once more"] if again else [title, end_line().decode().removeprefix(NOTE), job.command_line()]
    if job.staged:
        lines.append(f"until they are complete, outputs are below {job.staged.directory}")
    try:
        try:
            log = os.open(job.log, flags, 0o666)
        except FileNotFoundError:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            log = os.open(job.log, flags, 0o666)
        write_log_lines(log, *lines)
    except OSError as err:
        raise PipelineError(f"{job.name}: log {job.log} cannot be written: {_advised(err, job.log)}") from err
    return log


def _advised(err: OSError, path: Path) -> str:
    """Return the problem of a file and the remedy, without its name."""
    return io_problem(OSError(err.errno, err.strerror, str(path))).removeprefix(f"{path}: ")


def write_log_lines(log: int, *lines: str) -> None:
    """Write lines of the runner into a job's log."""
    os.write(log, os.fsencode("".join(f"{NOTE}{line}\n" for text in lines for line in text.splitlines())))


def send_signal(processes: Iterable[int], number: int) -> None:
    """Send a signal to processes; ended ones are ignored."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, number)


def session_members(sessions: Iterable[int], proc: Path = Path("/proc")) -> list[int]:
    """Return the ids of the live processes in some sessions, in any process group."""
    session_ids = set(sessions)
    members = []
    for entry in os.scandir(proc):
        if not entry.name.isdigit():
            continue
        try:
            stat = Path(entry.path, "stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        # "pid (name, with any characters) state parent group session ..."
        state, _, _, session = stat[stat.rindex(b")") + 2 :].split(maxsplit=4)[:4]
        if int(session) in session_ids and state not in (b"Z", b"X"):
            members.append(int(entry.name))
    return members
