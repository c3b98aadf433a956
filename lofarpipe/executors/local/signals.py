"""The end of a run: signals, and the guardian that ends the jobs of a killed engine.

Signals are raised on arrival, and also recorded, because a plugin may catch any exception.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import math
import os
import secrets
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.process import MARKER
from lofarpipe.jobs import Interrupted
from lofarpipe.support.processes import BACKGROUND, carrying


class Cancellable:
    """An executor with a cancellable ``run``.

    Attributes
    ----------
    notices: messages for users; removed once shown.
    on_notice: called for each notice, in the thread of ``run``.
    """

    def __init__(self) -> None:
        self.notices: list[str] = []
        self.on_notice: Callable[[], None] | None = None
        self._noted: set[str] = set()
        self._cancelled = threading.Event()
        self._watch: Watch | None = None

    def cancel(self) -> None:
        """End every job of the current ``run``; callable from ``on_done`` or another thread."""
        self._cancelled.set()
        watch = self._watch
        if watch is not None:
            watch.wake()

    def must_end(self) -> bool:
        """Whether the current ``run`` was cancelled or received a signal."""
        return self._cancelled.is_set() or (self._watch is not None and bool(self._watch.received))

    def close(self) -> None:
        """Do nothing: no resources are held between runs."""

    def add_notice(self, text: str) -> None:
        """Add a notice for users, once in a run; it is shown at once if ``on_notice`` is set."""
        if text in self._noted:
            return
        self._noted.add(text)
        self.notices.append(text)
        if self.on_notice is not None:
            self.on_notice()

    @contextmanager
    def _watched(self) -> Iterator[Watch]:
        """Collect signals while jobs run.

        Raises
        ------
        Interrupted
            At the end of the block after a signal, with further problems.
        """
        self._cancelled.clear()
        self._noted.clear()
        try:
            with Watch() as watch:
                self._watch = watch
                yield watch
        except PipelineError as err:
            if watch.received:
                raise Interrupted(watch.received[0], str(err)) from err
            raise
        finally:
            self._watch = None
        if watch.received:
            raise Interrupted(watch.received[0])


# The last three are warnings of queues before the time limit of a job.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
# Polling interval for children in a thread, where signals cannot be caught.
POLL_IN_THREAD_S = 0.02
POLL_S = 1.0


class Watch:
    """Collects the signals of ``ENDING``, and SIGCHLD, while the ``with`` block runs.

    A signal ignored by the caller (``nohup``, a background job of a script) stays ignored.

    Attributes
    ----------
    received: received signals of ``ENDING``, in order.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._former_handlers: dict[int, Any] = {}
        self._in_main_thread = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Watch:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._in_main_thread:
            self._wakeup_before = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
            for number in ENDING:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._former_handlers[number] = signal.signal(number, self._on_end_signal)
            # Even if ignored by the caller: the kernel would then discard exit codes.
            self._former_handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _ignore_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_main_thread:
            for number, handler in self._former_handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._read_end)
        os.close(self._write_end)

    def wait(self, timeout_s: float = POLL_S, others: Iterable[int] = ()) -> None:
        """Return after the end of a child, a signal, a call of ``wake``, or the timeout.

        ``others``: further descriptors to wait for; they are not read.
        """
        limit = timeout_s if self._in_main_thread else min(timeout_s, POLL_IN_THREAD_S)
        if self._read_end in select.select([self._read_end, *others], [], [], limit)[0]:
            os.read(self._read_end, 4096)

    def wake(self) -> None:
        """Interrupt a ``wait`` in another thread."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._write_end, b"\0")

    def _on_end_signal(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)


def _ignore_signal(number: int, frame: FrameType | None) -> None:
    """Do nothing: the wake-up descriptor is only written for signals with a handler."""


_handlers: dict[int, Any] = {}  # former handlers, restored in forked children
_fork = threading.local()  # "mask": signals blocked before the current fork in this thread
AGAIN_S = 0.02  # delay before a signal received during a fork is sent again
QUIET_S = 5.0  # longest wait of a fork: a thread may be blocked by a stopped terminal


@contextlib.contextmanager
def raise_on_signals() -> Iterator[list[int]]:
    """Raise Interrupted, or KeyboardInterrupt for Ctrl-C, on signals, also between jobs; yield the received signals.

    Ignored signals stay ignored: a run under nohup survives its terminal. Processes forked by plugins have the
    former handlers from the start: a worker that raised instead of ending could not be terminated.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if hasattr(_fork, "mask"):  # an exception would be lost here
            threading.Timer(AGAIN_S, _thread.interrupt_main, [number]).start()
            return
        if number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        raise Interrupted(number)

    is_main = threading.current_thread() is threading.main_thread()  # other threads cannot catch signals
    numbers = [number for number in ENDING if is_main and signal.getsignal(number) not in (signal.SIG_IGN, None)]
    former_handlers: dict[int, Any] = {number: signal.signal(number, stop) for number in numbers}
    _handlers.update(former_handlers)
    _prepare_forks()
    try:
        yield received
    finally:
        for number, handler in former_handlers.items():
            signal.signal(number, handler)
        _handlers.clear()


@functools.cache
def _prepare_forks() -> None:
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


def _before_fork() -> None:
    """Wait for the runner's threads and block signals before a fork: the child could lose a signal otherwise."""
    _fork.mask = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    _fork.is_quiet = BACKGROUND.acquire(timeout=QUIET_S)


def _after_fork() -> None:
    if _fork.is_quiet:
        BACKGROUND.release()
    signal.pthread_sigmask(signal.SIG_SETMASK, _fork.mask)
    del _fork.mask


def _in_child() -> None:
    """Restore the former handlers in place of the runner's; those of a plugin stay."""
    for number, handler in _handlers.items():
        if getattr(signal.getsignal(number), "__module__", None) == __name__:
            signal.signal(number, handler)
    _handlers.clear()
    _after_fork()


# It reads the live process groups ("+ 1234 ") and their directories ("+ d7 /path/"), until the engine
# reports their end (".") or dies. A directory without the marker belongs to others, or is still empty.
# Processes started but not yet reported, and those that left their group, are found by their environment; the search
# runs twice, as a process may be between fork and exec.
# A shell script, as each run of jobs starts one: 1 ms, where a Python interpreter takes 10.
SCRIPT = """
trap '' HUP INT TERM USR1 USR2 XCPU
tenths=$1
marker=$2
mark=$4
shift 4
looks=0
while IFS=' ' read -r change key directory; do
  case $change in
  .) looks=2 ;;
  +) set -- "$@" "$key $directory" ;;
  -) for entry do
       shift
       [ "${entry%% *}" = "$key" ] || set -- "$@" "$entry"
     done ;;
  esac
done
[ $# -gt 0 ] || [ $looks = 0 ] || exit 0
tell() {
  number=$1
  shift
  for entry do
    case $entry in [1-9]*) kill -s "$number" -- "-${entry%% *}" ;; esac
  done
}
lives() {
  for entry do
    case $entry in [1-9]*) kill -s 0 -- "-${entry%% *}" && return 0 ;; esac
  done
  return 1
}
tell TERM "$@"
while [ "$tenths" -gt 0 ] && lives "$@"; do
  sleep 0.1
  tenths=$((tenths - 1))
done
tell KILL "$@"
strays() {
  for file in $(grep -lsz "^$mark\\$" /proc/[0-9]*/environ); do
    file=${file#/proc/}
    echo "${file%/environ}"
  done
}
number=TERM
while [ $looks -lt 2 ] && [ "$tenths" -gt -100 ]; do
  left=$(strays)
  if [ -z "$left" ]; then
    looks=$((looks + 1))
    sleep 0.3
    continue
  fi
  kill -s $number $left
  sleep 0.1
  tenths=$((tenths - 1))
  [ "$tenths" -gt 0 ] || number=KILL
done
for entry do
  directory=${entry#* }
  case $directory in /*) ;; *) continue ;; esac
  if [ -e "$directory$marker" ]; then
    rm -rf -- "$directory" || { sleep 1; rm -rf -- "$directory"; }
  else
    rmdir -- "$directory"
  fi
done
"""
COMMAND = ("/bin/sh", "-c", SCRIPT, "guardian")
MARK = "LOFARPIPE_GUARDED_BY"  # variable in the environment of jobs


def guardians(engines: Collection[int], proc: Path = Path("/proc")) -> list[int]:
    """Return the process ids of guardians whose engine has died.

    A guardian whose parent is the process that it names belongs to a live engine that reuses the id of a dead one.
    """
    process_ids = []
    engine_ids = {str(engine).encode() for engine in engines}
    for entry in proc.iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            is_one = words[:4] == [word.encode() for word in COMMAND] and words[6] in engine_ids
            if is_one and _parent(entry) != words[6]:
                process_ids.append(int(entry.name))
    return process_ids


def _parent(entry: Path) -> bytes:
    # "pid (name, with any characters) state parent ..."
    stat = (entry / "stat").read_bytes()
    return stat[stat.rindex(b")") + 2 :].split(maxsplit=2)[1]


class Guardian:
    """Guards process groups during the ``with`` block.

    If this process dies in the block, even by SIGKILL, every guarded group gets SIGTERM, and SIGKILL after ``grace_s``
    seconds at most; so does every process with ``environment`` in its own. Then the directories
    of the jobs are removed.

    Attributes
    ----------
    environment: variables that mark the processes of the jobs and their descendants.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self.environment = {MARK: secrets.token_hex(8)}

    def __enter__(self) -> Guardian:
        read_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*COMMAND, f"{math.ceil(10 * self._grace_s)}", MARKER, str(os.getpid()), self._mark()],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal must not reach it
            )
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            os.close(read_end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._send_line(".\n")
        os.close(self._pipe)
        self._process.wait()

    def stray_processes(self) -> list[int]:
        """Return the live processes with ``environment`` in their own; takes milliseconds."""
        return carrying(self._mark())

    def _mark(self) -> str:
        return f"{MARK}={self.environment[MARK]}"

    def add_directories(self, number: int, directories: Iterable[Path]) -> None:
        """Add directories of job ``number``, existing or not; relative ones are ignored."""
        for directory in directories:
            # The slash protects trailing spaces of a name; a name with a line break would read as two lines.
            if "\n" not in str(directory):
                self._send_line(f"+ d{number} {directory}/\n")

    def drop_directories(self, number: int) -> None:
        """Drop the directories of job ``number`` after their removal."""
        self._send_line(f"- d{number}\n")

    def watch(self, group: int) -> None:
        """Add a process group."""
        self._send_line(f"+ {group} \n")

    def drop_group(self, group: int) -> None:
        """Drop an ended process group; call it before the leader is reaped."""
        self._send_line(f"- {group}\n")

    def _send_line(self, line: str) -> None:
        # If the guardian was killed, the jobs continue without it.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, os.fsencode(line))
