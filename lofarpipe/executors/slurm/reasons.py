"""What a state of Slurm's means for a job: failed by itself, lost with what ran it, or never to run.

Source: squeue(1) and sacct(1), "JOB STATE CODES"; squeue(1), "JOB REASON CODES".
"""

from __future__ import annotations

import re
import signal
from dataclasses import replace

from lofarpipe.executors.remote.order import Order
from lofarpipe.executors.slurm.client import Ended
from lofarpipe.jobs import JobResult, ended_result

LOST = {
    "NODE_FAIL": "lost with its node",
    "BOOT_FAIL": "lost: its node could not be started",
    "PREEMPTED": "lost: another job took its place",
    "REQUEUED": "lost: Slurm put it back into the queue",
    "REVOKED": "lost: Slurm moved it to another cluster",
}
OUT_OF_MEMORY, TIMEOUT, CANCELLED = "OUT_OF_MEMORY", "TIMEOUT", "CANCELLED"
TOO_MUCH_MEMORY = re.compile(r"exceeded job memory limit|oom[-_ ]kill", re.IGNORECASE)
USED_BYTES = re.compile(r"exceeded memory limit \((\d+) > \d+\)")
#: Reasons of pending jobs that do not pass without somebody changing the request.
NEVER = re.compile(
    r"PartitionConfig|BadConstraints|Partition(Node|Time)Limit|Account(NotAllowed)|InvalidAccount|InvalidQOS|"
    r"QOSNotAllowed|DependencyNeverSatisfied|(Assoc|QOS)Max\w*Per(Job|Node)\w*"
)


def runs_never(state: str, reason: str) -> bool:
    """Whether a job that waits would wait for ever."""
    return state == "PENDING" and NEVER.search(reason) is not None


def unrecorded(order: Order, ended: Ended | None, node: str, said: str) -> JobResult:
    """Return the result of a job that has left the queue without a record; it is never done.

    Parameters
    ----------
    ended: what Slurm remembers; None for nothing.
    node: where its guard was; "" if there was none.
    said: what the task said outside the job's log.
    """
    state = ended.state if ended else ""
    node = node or (ended.node if ended else "")
    where = f" on {node}" if node else ""
    number = ended.signal if ended else 0
    lost = state in LOST or not state or number > 0 or bool(ended and ended.reason == "JobLaunchFailure")
    exit_code, problem = _known(order, state, where, said)
    if not problem and lost:
        because = LOST.get(state, f"lost with its guard (signal {number})" if number else "lost")
        told = "" if state else ": it is not in the queue any more, and Slurm knows nothing else of it"
        exit_code, problem = -signal.SIGKILL, f"{because}{where}{told}"
    elif not problem:
        lost = False
        code = ended.exit_code if ended else 0
        last = f'; it said "{said.splitlines()[-1]}"' if said.strip() else ""
        exit_code = code or 1
        problem = (
            f"Slurm says {state} with exit code {code}{where}, and there is no record {order.record}{last}; "
            "interpreter, package and job directory must be the same on all nodes"
        )
    else:
        lost = False
    return _result(order, exit_code, problem, node, lost)


def refined(order: Order, result: JobResult, ended: Ended | None, said: str) -> JobResult:
    """Return the result of a job that was interrupted, with the reason that Slurm gives."""
    state = ended.state if ended else ""
    where = f" on {result.node}" if result.node else ""
    exit_code, problem = _known(order, state, where, said)
    if problem:
        return replace(result, exit_code=exit_code, problem=problem, is_lost=False)
    return replace(result, problem=f"{LOST[state]}{where}") if state in LOST else result


def _known(order: Order, state: str, where: str, said: str) -> tuple[int, str]:
    """Return exit code and reason where a job has itself, or a person, to blame; else 0 and ""."""
    job = order.job
    if state == OUT_OF_MEMORY or (state == "FAILED" and TOO_MUCH_MEMORY.search(said)):
        given = f"the {job.memory_gb:.1f} GB that it was given" if job.memory_gb else "what it was given"
        remedy = "raise" if job.memory_gb else "set"
        used = max((int(number) for number in USED_BYTES.findall(said)), default=0)
        much = f"{used / 1e9:.1f} GB, more than {given}" if used else f"more than {given}"
        return -signal.SIGKILL, f"out of memory: it used {much}{where}; {remedy} memory_gb of the step"
    if state in (TIMEOUT, "DEADLINE"):
        return -signal.SIGTERM, f"ran into its time limit{where}; it needs a longer walltime, of the step or in [slurm]"
    if state.startswith(CANCELLED):
        return -signal.SIGTERM, f"was cancelled in Slurm{where}, and not by this run"
    return 0, ""


def _result(order: Order, exit_code: int, problem: str, node: str, is_lost: bool) -> JobResult:
    ended = ended_result(order.job, node=node)
    return replace(ended, exit_code=exit_code, problem=problem, is_lost=is_lost)
