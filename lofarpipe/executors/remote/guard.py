"""Run one job order on this machine.

``python -m lofarpipe.executors.remote.guard ORDER.json [--parent PID]``.

Instead of an order the file may be a JSON list of orders, indexed by $SLURM_ARRAY_TASK_ID or by a number after it.
The job ends with its guard, and the guard with its parent process; ``--parent`` names the parent, to detect that it
died before the guard's first check. The exit status is that of the job, 128 + signal number after a
signal; 75: another guard has the order; 66: no order. In both cases this guard writes no record.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.executors.local.process import NOT_WRITTEN
from lofarpipe.executors.local.signals import ENDING
from lofarpipe.executors.remote.lease import Claim, ClaimRefused, check_claim, claim_order, renew_lease
from lofarpipe.executors.remote.order import Order, read_order, write_record
from lofarpipe.jobs import Interrupted, JobResult, Resources, result_of

NO_ORDER, REFUSED = os.EX_NOINPUT, os.EX_TEMPFAIL
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ORPHANED = signal.SIGRTMIN  # not SIGTERM: it is also sent when only the parent's starting thread ends
SIGNAL_WAIT_S = 0.5  # a queue signals all processes of a job; the guard may get the signal after the program
INDEX = "SLURM_ARRAY_TASK_ID"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the order named on the command line; return the exit status."""
    arguments = _parser().parse_args(argv)
    ending = Ending(arguments.parent or os.getppid())
    try:
        order = read_order(order_file(arguments.order, arguments.index))
    except PipelineError as err:
        return _print_status(str(err), NO_ORDER)
    if ending.is_requested():
        return REFUSED
    try:
        claim = claim_order(order)
    except (ClaimRefused, OSError) as err:
        return _print_status(str(err), REFUSED)
    return Guard(order, claim, ending).run()


def order_file(path: Path, index: int | None) -> Path:
    """Return the order in the file, or entry ``index`` of the list in it.

    Raises
    ------
    PipelineError
        If the file cannot be read, or has no such entry.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, list):
            return path
        number = int(os.environ[INDEX]) if index is None else index
        return Path(facts[number])
    except (OSError, ValueError, KeyError, IndexError, TypeError) as err:
        raise PipelineError(f"{path}: neither an order nor a list with an entry for this task: {err!r}") from err


class Ending:
    """Watches for signals, and for the death of the parent process."""

    def __init__(self, parent: int) -> None:
        self.received: list[int] = []
        self.executor: LocalExecutor | None = None
        self._parent = parent
        for number in ENDING:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        signal.signal(ORPHANED, self._on_orphaned)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, int(ORPHANED))
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphans of a job become children of the guard, not of process 1

    def is_orphaned(self) -> bool:
        """Whether the parent process is gone, even if it ended before the request for a death signal."""
        return os.getppid() != self._parent

    def is_requested(self) -> bool:
        """Whether the job has to end."""
        return bool(self.received) or self.is_orphaned()

    def reason(self) -> str:
        """Return the reason to end, or ""."""
        if self.received:
            return f"interrupted by {signal.Signals(self.received[0]).name}"
        return "ended because its parent process was gone" if self.is_orphaned() else ""

    def number(self) -> int:
        """Return the signal that ended the job."""
        return self.received[0] if self.received else signal.SIGTERM

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.received.append(number)

    def _on_orphaned(self, _number: int, _frame: FrameType | None) -> None:
        if self.is_orphaned() and self.executor is not None:
            self.executor.cancel()


class Guard:
    """One claimed order."""

    def __init__(self, order: Order, claim: Claim, ending: Ending) -> None:
        self._order = order
        self._claim = claim
        self._ending = ending
        self._problem = ""  # reason of the loss of the order
        self._over = threading.Event()
        # Unlimited: the queue or scheduler that started the guard has allocated the resources.
        all_of_it = Resources(max(1, order.job.cores), order.job.memory_gb or 0.0, order.job.gpus)
        self._executor = LocalExecutor(all_of_it, order.grace_s)

    def run(self) -> int:
        """Run the job and write its record; return the exit status."""
        beats = threading.Thread(target=self._beat, daemon=True)
        beats.start()
        try:
            result = self._result()
        finally:
            self._over.set()
            beats.join()
        result = replace(result, node=self._claim.node, memory_gb=self._order.job.memory_gb)
        try:
            check_claim(self._order, self._claim)
            write_record(self._order, result)
        except (ClaimRefused, OSError) as err:
            return _print_status(f"{result.name}: {result.reason()}; this was not recorded: {err}", REFUSED)
        return result.exit_code if result.exit_code >= 0 else 128 - result.exit_code

    def _result(self) -> JobResult:
        done: list[JobResult] = []
        self._ending.executor = self._executor
        try:
            self._executor.run([self._order.job], done.append, lambda _: self._end_on_request())
        except Interrupted as err:
            self._ending.received.append(err.signal)
        except PipelineError as err:
            return replace(self._own_result(NOT_WRITTEN), problem=str(err))
        if not done:  # ended by the guard
            return replace(self._own_result(-self._ending.number()), problem=self._end_reason(), is_lost=True)
        if done[0].exit_code in (-signal.SIGTERM, -signal.SIGKILL):
            deadline = time.monotonic() + SIGNAL_WAIT_S
            while not self._ending.is_requested() and time.monotonic() < deadline:
                time.sleep(0.02)
        cause = "" if done[0].ok else self._end_reason()
        return replace(done[0], problem=cause, is_lost=True) if cause else done[0]

    def _end_on_request(self) -> None:
        """End a job just started, if its end was requested before the executor knew of it."""
        if self._problem or self._ending.is_requested():
            self._executor.cancel()

    def _end_reason(self) -> str:
        cause = self._problem or self._ending.reason()
        return f"{cause} on {self._claim.node}" if cause else ""

    def _own_result(self, exit_code: int) -> JobResult:
        """Return the result of a job without a result from the executor."""
        duration_s = max(0.0, time.time() - self._claim.start_s)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return result_of(self._order.job, exit_code, self._claim.start_s, duration_s, usage)

    def _beat(self) -> None:
        """Renew the lease regularly; end the job if another guard holds the order."""
        last = time.monotonic()
        while not self._over.wait(self._order.beat_s):
            try:
                renew_lease(self._order, self._claim)
                last = time.monotonic()
            except ClaimRefused as err:
                self._abort(str(err))
            except OSError as err:
                # After stale_s without a heartbeat this guard counts as dead, so nothing of it may run.
                if time.monotonic() - last > self._order.stale_s / 2:
                    self._abort(f"no contact with {self._order.path.parent}: {err.strerror}")

    def _abort(self, problem: str) -> None:
        self._problem = self._problem or problem
        self._executor.cancel()


def _print_status(text: str, status: int) -> int:
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lofarpipe.executors.remote.guard")
    parser.add_argument("order", type=Path, help="order, or JSON list of orders")
    parser.add_argument("index", type=int, nargs="?", help=f"which one of a list; else ${INDEX}")
    parser.add_argument("--parent", type=int, help="process id of the parent")
    return parser


if __name__ == "__main__":
    sys.exit(main())
