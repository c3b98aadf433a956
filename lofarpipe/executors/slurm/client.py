"""Slurm's commands: calls and parsing of their output; and section [slurm] of pipeline.cfg."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.order import Order
from lofarpipe.executors.remote.queue import PASSING, clean_environment, walltime_problem
from lofarpipe.jobs import JobResult, Resources, ended_result
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern


@dataclass(frozen=True)
class SlurmOptions:
    """Section [slurm] of pipeline.cfg; each field is a key.

    Attributes
    ----------
    partition, account, walltime: for ``sbatch --partition``, ``--account``, ``--time``; a step's own have priority.
    extra: further options of sbatch.
    name_prefix: prefix of job names in the queue.
    prologue: bash lines run before each job, such as ``module load singularity``.
    gres: Slurm's name of the GPUs: gpu, or gpu:a100.
    array_limit: maximum number of running jobs of one step, over all nodes; 0: no limit.
    max_submitted: maximum number of jobs in the queue; 0: no limit.
    max_array_size: maximum number of tasks of one array; 0: Slurm's own limit.
    request_memory: whether jobs request their memory.
    cores, memory_gb, gpus: the largest job of a node; 0: as the largest node of the partition.
    poll_s: longest interval of checks for records, s.
    queue_poll_s: longest interval of squeue calls, s.
    vanished_s: time until a job without a record and a place in the queue counts as lost, s.
    """

    partition: str = ""
    account: str = ""
    walltime: str = ""
    extra: tuple[str, ...] = ()
    name_prefix: str = ""
    prologue: str = ""
    gres: str = "gpu"
    array_limit: int = 0
    max_submitted: int = 0
    max_array_size: int = 0
    request_memory: bool = True
    cores: int = 0
    memory_gb: float = 0.0
    gpus: int = 0
    poll_s: float = 10.0
    queue_poll_s: float = 120.0
    vanished_s: float = 30.0

    def faults(self) -> dict[str, str]:
        """Return the expected values of keys whose own value is invalid."""
        problems = {key: "it has to be more than 0" for key in ("poll_s", "queue_poll_s") if not getattr(self, key)}
        problem = walltime_problem(self.walltime)
        return problems | ({"walltime": problem} if problem else {})


QOS_OPTION = lazy_pattern(r"(?:--qos|-q)[= ]?(\S+)")
DEFAULT_QOS = "normal"  # Slurm's, for an association without one


def requested_qos(words: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the quality of service in options of sbatch, or ""."""
    matches = QOS_OPTION.findall(" ".join(words))
    return matches[-1] if matches else environment.get("SBATCH_QOS", "")


def association_limit(answer: str, account: str, qos: str) -> tuple[int, str]:
    """Return the limit of the user's association, 0 for none, and the effective quality of service.

    Parameters
    ----------
    answer: output of ``sacctmgr -nP show assoc format=Account,DefaultQOS,MaxSubmitJobs,GrpSubmitJobs``.
    account: account of the jobs; "": unknown, so the largest limit of any association counts.
    """
    rows = [line.split("|") for line in answer.splitlines() if line.count("|") == 3]
    rows = [row for row in rows if not account or row[0] == account]
    limits = [_smallest_limit(row[2:]) for row in rows]
    defaults = [row[1] for row in rows if row[1]]
    limit = 0 if not limits or 0 in limits else max(limits)
    return limit, qos or (defaults[0] if len(defaults) == 1 else DEFAULT_QOS)


def qos_limit(answer: str, names: Sequence[str]) -> int:
    """Return the smallest limit of some qualities of service, 0 for none.

    Parameters
    ----------
    answer: output of ``sacctmgr -nP show qos format=Name,MaxSubmitJobsPU,MaxSubmitJobsPA,GrpSubmitJobs``.
    """
    rows = [line.split("|") for line in answer.splitlines() if line.count("|") == 3]
    return _smallest_limit([number for row in rows if row[0] in names for number in row[1:]])


def partition_qos(answer: str) -> str:
    """Return the quality of service of a partition, from ``scontrol show partition``, or ""."""
    match = re.search(r"\bQoS=(\S+)", answer)
    return match[1] if match and match[1] != "N/A" else ""


def least_limit(*limits: int) -> int:
    """Return the smallest of some limits; 0 means no limit."""
    return min((limit for limit in limits if limit), default=0)


def _smallest_limit(texts: Sequence[str]) -> int:
    return least_limit(*(int(text) for text in texts if text.strip().isdecimal()))


PAUSE_S, LIMIT_S = 15.0, 3600.0
Answer = TypeVar("Answer")


def retry_while_down(
    ask: Callable[[], Answer],
    wait: Callable[[float], object],
    must_end: Callable[[], bool],
    note: Callable[[str], None],
) -> Answer:
    """Return the result of ``ask``, with retries for an hour while Slurm does not answer.

    Parameters
    ----------
    wait: pauses for some seconds.
    must_end: whether to stop waiting.
    note: callback for a notice during the wait.

    Raises
    ------
    SlurmBusy
        If Slurm did not answer within that time.
    """
    start_s = time.monotonic()
    while True:
        try:
            return ask()
        except SlurmBusy as err:
            if must_end() or time.monotonic() - start_s > LIMIT_S:
                raise
            note(f"Slurm does not answer, and is asked again: {err}")
        end = time.monotonic() + PAUSE_S  # a single wait may end early, e.g. at the end of a child
        while (left_s := end - time.monotonic()) > 0 and not must_end():
            wait(left_s)


LOST = {
    "NODE_FAIL": "lost with its node",
    "BOOT_FAIL": "lost: its node could not be started",
    "PREEMPTED": "lost: another job took its place",
    "REQUEUED": "lost: Slurm put it back into the queue",
    "REVOKED": "lost: Slurm moved it to another cluster",
}
OUT_OF_MEMORY, TIMEOUT, CANCELLED = "OUT_OF_MEMORY", "TIMEOUT", "CANCELLED"
TOO_MUCH_MEMORY = lazy_pattern(r"exceeded job memory limit|oom[-_ ]kill", re.IGNORECASE)
USED_BYTES = lazy_pattern(r"exceeded memory limit \((\d+) > \d+\)")
#: Reasons of pending jobs that persist until the request is changed.
NEVER = lazy_pattern(
    r"PartitionConfig|BadConstraints|Partition(Node|Time)Limit|Account(NotAllowed)|InvalidAccount|InvalidQOS|"
    r"QOSNotAllowed|DependencyNeverSatisfied|(Assoc|QOS)Max\w*Per(Job|Node)\w*"
)


def cannot_start(state: str, reason: str) -> bool:
    """Whether a pending job can never start."""
    return state == "PENDING" and NEVER.search(reason) is not None


def result_without_record(order: Order, end: EndedJob | None, node: str, output: str) -> JobResult:
    """Return the result of a job that left the queue without a record; always a failure.

    Parameters
    ----------
    end: end of the task in Slurm's memory, if known.
    node: node of its guard; "" without a guard.
    output: output of the task outside the job's log.
    """
    end = end or EndedJob("")
    state, number = end.state, end.signal
    node = node or end.node
    where = f" on {node}" if node else ""
    exit_code, problem = _known_cause(order, state, where, output)
    is_lost = not problem and (state in LOST or not state or number > 0 or end.reason == "JobLaunchFailure")
    if is_lost:
        because = LOST.get(state, f"lost with its guard (signal {number})" if number else "lost")
        remark = "" if state else ": it is not in the queue any more, and Slurm knows nothing else of it"
        exit_code, problem = -signal.SIGKILL, f"{because}{where}{remark}"
    elif not problem:
        last = f'; it said "{output.splitlines()[-1]}"' if output.strip() else ""
        exit_code = end.exit_code or 1
        problem = (
            f"Slurm says {state} with exit code {end.exit_code}{where}, and there is no record {order.record}{last}; "
            "interpreter, package and job directory must be the same on all nodes"
        )
    return replace(ended_result(order.job, node=node), exit_code=exit_code, problem=problem, is_lost=is_lost)


def refined(order: Order, result: JobResult, end: EndedJob | None, output: str) -> JobResult:
    """Return the result of an interrupted job, with Slurm's reason."""
    state = end.state if end else ""
    where = f" on {result.node}" if result.node else ""
    exit_code, problem = _known_cause(order, state, where, output)
    if problem:
        return replace(result, exit_code=exit_code, problem=problem, is_lost=False)
    return replace(result, problem=f"{LOST[state]}{where}") if state in LOST else result


def _known_cause(order: Order, state: str, where: str, output: str) -> tuple[int, str]:
    """Return exit code and reason of an end caused by the job or a person; else 0 and ""."""
    job = order.job
    if state == OUT_OF_MEMORY or (state == "FAILED" and TOO_MUCH_MEMORY.search(output)):
        limit = f"the {job.memory_gb:.1f} GB that it was given" if job.memory_gb else "its allocation"
        remedy = "raise" if job.memory_gb else "set"
        used_bytes = max((int(number) for number in USED_BYTES.findall(output)), default=0)
        much = f"{used_bytes / 1e9:.1f} GB, more than {limit}" if used_bytes else f"more than {limit}"
        return -signal.SIGKILL, f"out of memory: it used {much}{where}; {remedy} memory_gb of the step"
    if state in (TIMEOUT, "DEADLINE"):
        return -signal.SIGTERM, f"ran into its time limit{where}; it needs a longer walltime, of the step or in [slurm]"
    if state.startswith(CANCELLED):
        return -signal.SIGTERM, f"was cancelled in Slurm{where}, and not by this run"
    return 0, ""


TIMEOUT_S = 120.0
ACCOUNTING_TIMEOUT_S = 20.0  # the accounting database may be down for long
CANCEL_TIMEOUT_S = 20.0  # short: the user is waiting, and withdrawn orders end the jobs as well
MIB_PER_GB = 1e9 / 2**20
#: The user or the account has reached a limit: fewer jobs are accepted, or later.
TOO_MANY = lazy_pattern(r"submit limit|Max\w*SubmitJob|GrpSubmitJob|Invalid job array specification", re.IGNORECASE)
#: Part of the same sentence as "submit limit" in all cases: only another request helps.
LASTING = lazy_pattern(r"(Assoc|QOS)\w*(Wall|Per(Job|Node)|Min)\w*")
#: Limits that count jobs of other users too.
OF_OTHERS = lazy_pattern(r"Grp|PerAccount")
UNKNOWN_JOB = lazy_pattern(r"Invalid job id", re.IGNORECASE)
NOT_SET_UP = lazy_pattern(r"configuration source|unable to read slurm configuration", re.IGNORECASE)
ELSEWHERE = "; run on a machine that submits to Slurm, or set method = local in [remote] of pipeline.cfg"


class SlurmRefused(PipelineError):  # noqa: N818 - names an event
    """A refusal by Slurm."""


class SlurmBusy(SlurmRefused):
    """Slurm does not answer at present."""


class SlurmFull(SlurmBusy):
    """Slurm does not accept so many jobs."""


@dataclass(frozen=True)
class Node:
    """A node of a partition, from ``sinfo``."""

    name: str
    size: Resources
    is_default: bool  # whether its partition is the default one


@dataclass(frozen=True)
class EndedJob:
    """The end of a task that has left the queue, from Slurm's memory."""

    state: str  # COMPLETED, TIMEOUT, NODE_FAIL ...
    exit_code: int = 0
    signal: int = 0
    node: str = ""
    reason: str = ""


class SlurmClient:
    """Runs Slurm's commands, in an environment without the variables of an enclosing allocation."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._own_environment = environment

    @property
    def _environment(self) -> dict[str, str]:
        return clean_environment(os.environ if self._own_environment is None else self._own_environment)

    def submit(self, arguments: Sequence[str], environment: Mapping[str, str]) -> str:
        """Submit a script; return the id of the job.

        Raises
        ------
        SlurmRefused
            If Slurm refuses it; SlurmBusy if it may accept it later; SlurmFull if it may accept fewer tasks.
        """
        answer = self._run(["sbatch", "--parsable", *arguments], {**self._environment, **environment})
        return answer.strip().splitlines()[-1].partition(";")[0]  # id;cluster, after possible output of a site's plugin

    def queued(self, ids: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return task ("12_7") -> state and reason, for all tasks of some jobs in the queue.

        Raises
        ------
        SlurmRefused
            If Slurm does not answer.
        """
        job_ids = sorted(set(ids))
        return self._squeue("-j", ",".join(job_ids)) if job_ids else {}

    def queued_by_name(self, name: str) -> dict[str, tuple[str, str]]:
        """Return state and reason of each task in the queue with a given job name; raises as ``queued`` does."""
        return self._squeue("--name", name)

    def _squeue(self, *arguments: str) -> dict[str, tuple[str, str]]:
        try:
            answer = self._run(["squeue", "-h", "-r", "-o", "%i|%T|%r", *arguments])
        except SlurmBusy:
            raise
        except SlurmRefused as err:
            if UNKNOWN_JOB.search(str(err)):  # squeue's answer for a single job that ended long ago
                return {}
            raise
        return parse_queue(answer)

    def job_ends(self, ids: Iterable[str]) -> dict[str, EndedJob]:
        """Return task -> end, for some jobs; from ``sacct`` as well if Slurm has forgotten them.

        Raises
        ------
        SlurmBusy
            If the controller does not answer.
        """
        ends: dict[str, EndedJob] = {}
        for number in sorted(set(ids)):
            try:
                ends |= parse_jobs(self._run(["scontrol", "show", "job", "-o", number]))
            except SlurmBusy:
                raise
            except SlurmRefused:  # forgotten
                pass
            if not any(task.startswith(f"{number}_") for task in ends):
                columns = ["-o", "JobID,State,ExitCode,NodeList,Reason"]
                with contextlib.suppress(SlurmRefused):  # no accounting at this site, or no answer
                    ends |= parse_accounting(self._run(["sacct", "-n", "-P", "-X", "-j", number, *columns]))
        return ends

    def cancel(self, tasks: Iterable[str], force: bool = False) -> None:
        """Cancel jobs or single tasks; ended ones are ignored.

        Raises
        ------
        SlurmRefused
            If Slurm does not answer.
        """
        targets = sorted(set(tasks))
        if targets:
            options = ["--signal=KILL", "--full"] if force else []
            self._run(["scancel", *options, *targets], timeout_s=CANCEL_TIMEOUT_S)

    def max_array_size(self) -> int:
        """Return the maximum number of tasks of an array; raises as ``queued`` does."""
        return parse_max_array_size(self._run(["scontrol", "show", "config"]))

    def submit_limit(self, partition: str, account: str, options: Sequence[str]) -> int:
        """Return the user's limit of jobs in the queue, from the accounting; 0: none, or unknown.

        Parameters
        ----------
        options: further options of sbatch, possibly with the quality of service.
        """
        qos = requested_qos(options, self._environment)
        user = pwd.getpwuid(os.getuid()).pw_name
        show = ("sacctmgr", "-n", "-P", "show")
        format_ = "format=Account,DefaultQOS,MaxSubmitJobs,GrpSubmitJobs"
        associations = self._answer(*show, "assoc", f"user={user}", format_)
        limit, qos = association_limit(associations, account, qos)
        names = [qos, partition_qos(self._answer("scontrol", "show", "partition", partition))]
        every = self._answer(*show, "qos", "format=Name,MaxSubmitJobsPU,MaxSubmitJobsPA,GrpSubmitJobs")
        return least_limit(limit, qos_limit(every, names))

    def _answer(self, *command: str) -> str:
        """Return the output of a command, or "" if it fails: not every site has accounting."""
        try:
            return self._run([word for word in command if word], timeout_s=ACCOUNTING_TIMEOUT_S)
        except SlurmRefused:
            return ""

    def has_jobs(self) -> bool:
        """Whether the user has any job in the queue except the enclosing one; raises as ``queued`` does."""
        answer = self._run(["squeue", "-h", "-u", str(os.getuid()), "-o", "%A"])
        return bool(set(answer.split()) - {os.environ.get("SLURM_JOB_ID")})

    def nodes(self, partition: str = "") -> list[Node]:
        """Return the nodes of a partition, or of all; raises as ``queued`` does."""
        chosen = ["-p", partition] if partition else []
        return parse_nodes(self._run(["sinfo", "-h", "-N", *chosen, "-o", "%N|%c|%m|%G|%P"]))

    def _run(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, timeout_s: float | None = None
    ) -> str:
        timeout_s = timeout_s or TIMEOUT_S
        try:
            done = subprocess.run(
                list(command),
                env=environment or self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
                start_new_session=True,  # Ctrl-C in the terminal goes to the runner only
            )
        except FileNotFoundError as err:
            raise SlurmRefused(f"{command[0]}: no such program on PATH{ELSEWHERE}") from err
        except subprocess.TimeoutExpired as err:
            raise SlurmBusy(f"{command[0]} did not answer within {timeout_s:g} s") from err
        message = " ".join(done.stderr.split())
        if done.returncode != 0:
            advice = ELSEWHERE if NOT_SET_UP.search(message) else ""
            raise _kind(message)(
                f'{command[0]} exited with {done.returncode}: "{message or done.stdout.strip()}"{advice}'
            )
        return done.stdout


def _kind(message: str) -> type[SlurmRefused]:
    """Return the error for a refusal by one of Slurm's commands."""
    if LASTING.search(message):
        return SlurmRefused
    if TOO_MANY.search(message):
        return SlurmFull
    return SlurmBusy if PASSING.search(message) else SlurmRefused


def parse_queue(answer: str) -> dict[str, tuple[str, str]]:
    """Return task -> (state, reason) from ``squeue -o "%i|%T|%r"``."""
    rows = [line.split("|", 2) for line in answer.splitlines() if line.count("|") >= 2]
    return {task.strip(): (state, reason) for task, state, reason in rows}


def parse_jobs(answer: str) -> dict[str, EndedJob]:
    """Return task -> end, from ``scontrol show job -o``."""
    ends = {}
    for line in answer.splitlines():
        facts = dict(word.partition("=")[::2] for word in line.split())
        if "ArrayTaskId" not in facts or not facts["ArrayTaskId"].isdigit():
            continue
        code, _, number = facts.get("ExitCode", "0:0").partition(":")
        node = facts.get("BatchHost") or facts.get("NodeList", "")
        task = f"{facts.get('ArrayJobId')}_{facts['ArrayTaskId']}"
        ends[task] = EndedJob(facts.get("JobState", ""), _int(code), _int(number), _node(node), facts.get("Reason", ""))
    return ends


def parse_accounting(answer: str) -> dict[str, EndedJob]:
    """Return task -> end, from ``sacct``."""
    rows = [line.split("|") for line in answer.splitlines() if line.count("|") == 4]
    ends = {}
    for task, state, codes, node, reason in rows:
        code, _, number = codes.partition(":")
        # "CANCELLED by 1000"
        ends[task] = EndedJob(state.split()[0] if state else "", _int(code), _int(number), _node(node), reason)
    return ends


def parse_max_array_size(answer: str) -> int:
    """Return MaxArraySize from ``scontrol show config``; 1 if arrays are disabled or the value is missing."""
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", answer, re.MULTILINE)
    return max(1, int(match[1])) if match else 1


def parse_nodes(answer: str) -> list[Node]:
    """Return the nodes from ``sinfo -N -o "%N|%c|%m|%G|%P"``."""
    nodes = []
    for line in answer.splitlines():
        if line.count("|") < 4:
            continue
        name, cores, memory_mib, gres, partition = (part.strip() for part in line.split("|", 4))
        size = Resources(_int(cores), _int(memory_mib) / MIB_PER_GB, parse_gpus(gres))
        nodes.append(Node(name, size, partition.endswith("*")))
    return nodes


def parse_gpus(gres: str) -> int:
    """Return the number of GPUs in a list such as ``gpu:a100:4(S:0-1),shard:8``."""
    return sum(int(count or 1) for count in re.findall(r"(?:^|,)gpu(?::[^:,(\d][^:,(]*)?(?::(\d+))?", gres))


def _int(text: str) -> int:
    match = re.match(r"\d+", text)
    return int(match[0]) if match else 0


def _node(text: str) -> str:
    return "" if text in {"(null)", "None assigned", "n/a"} else text
