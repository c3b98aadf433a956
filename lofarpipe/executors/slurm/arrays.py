"""Division of jobs into Slurm arrays, and their resource requests."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.order import (
    Order,
    guard_command,
    new_attempt,
    order_fingerprint,
    read_order,
    read_record,
    remove_order,
    withdraw_orders,
)
from lofarpipe.executors.slurm.client import MIB_PER_GB, SlurmBusy, SlurmClient, SlurmFull, SlurmOptions, SlurmRefused
from lofarpipe.jobs import Job, JobResult, Resources
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import write_atomically

ARRAYS = "slurm"  # directory of array files, below that of the orders
END_LIMIT_S = 600.0  # covers KillWait, an epilog, a slow node
ASK_S, FORCE_AFTER_S = 0.5, 60.0
SILENT = "Slurm does not say that they have ended"
NAMED = 20  # job ids in a message


@dataclass(frozen=True)
class Array:
    """An array submitted by this or an earlier run; ``id`` is "" if Slurm does not know it."""

    stem: Path
    id: str
    orders: tuple[Path, ...]

    def task(self, index: int) -> str:
        """Return the Slurm id of a task."""
        return f"{self.id}_{index}"

    def output_of(self, index: int) -> str:
        """Return the file for output of a task outside its job's log."""
        with contextlib.suppress(OSError):
            return Path(f"{self.stem}.{index}.out").read_text(encoding="utf-8", errors="replace")
        return ""

    def remove_files(self) -> None:
        """Remove the files of an obsolete array."""
        for path in self.stem.parent.glob(f"{self.stem.name}.*"):
            path.unlink(missing_ok=True)


class SlurmQueue:
    """Slurm arrays of one job directory."""

    def __init__(self, directory: Path, options: SlurmOptions, client: SlurmClient) -> None:
        self.directory = directory
        self._options = options
        self._client = client

    def submit(self, request: Request, orders: Sequence[Order], throttle: int, environment: Mapping[str, str]) -> Array:
        """Submit an array, one task for each order.

        Raises
        ------
        PipelineError
            If the files cannot be written, or Slurm refuses; SlurmBusy if Slurm may take it later, SlurmFull if fewer.
        """
        token = new_attempt()
        stem = self.directory / token
        name = self._name(orders[0].path, stem)
        arguments = sbatch_arguments(request, self._options, name, len(orders), throttle, stem)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            script = script_text(Path(f"{stem}.list"), environment, self._options.prologue)
            write_atomically(Path(f"{stem}.sh"), script)
            # Recorded before the submission: an unrecorded array could not be found again.
            write_atomically(Path(f"{stem}.list"), json.dumps([str(order.path) for order in orders]))
        except OSError as err:
            raise PipelineError(f"{stem}: cannot be written: {err.strerror}; check the directory") from err
        number = self._submitted(orders[0].job.name, name, arguments, environment, stem)
        write_atomically(Path(f"{stem}.id"), json.dumps({"id": number, "name": name}))
        return Array(stem, number, tuple(order.path for order in orders))

    def _name(self, order: Path, stem: Path) -> str:
        """Return the name of an array in the queue: site prefix, step, and a unique part."""
        prefix = f"{self._options.name_prefix}." if self._options.name_prefix else ""
        return f"{prefix}{order.parent.name}.{stem.name}"

    def _submitted(
        self, job: str, name: str, arguments: Sequence[str], environment: Mapping[str, str], stem: Path
    ) -> str:
        try:
            return self._client.submit(arguments, environment)
        except SlurmFull:
            Array(stem, "", ()).remove_files()
            raise
        except SlurmBusy:
            # It may have been accepted, with only the reply lost.
            number = self._number_of(name)
            if number:
                return number
            Array(stem, "", ()).remove_files()
            raise
        except SlurmRefused as err:
            Path(f"{stem}.list").unlink(missing_ok=True)  # the script is kept for a manual try
            raise SlurmRefused(
                f"sbatch refused {job}: {err}; script: {stem}.sh; "
                "correct [slurm] of pipeline.cfg, or partition, account, walltime and batch_options of the step"
            ) from err

    def _number_of(self, name: str) -> str:
        return next((task.partition("_")[0] for task in self._client.queued_by_name(name)), "")

    def earlier(self) -> list[Array]:
        """Return the arrays recorded in files.

        Raises
        ------
        SlurmRefused
            If Slurm does not answer.
        """
        return [self._earlier(path.with_suffix("")) for path in sorted(self.directory.glob("*.list"))]

    def _earlier(self, stem: Path) -> Array:
        try:
            orders = tuple(map(Path, json.loads(Path(f"{stem}.list").read_text(encoding="utf-8"))))
        except (OSError, ValueError):  # written before the submission, so nothing was submitted
            return Array(stem, "", ())
        try:
            number = str(json.loads(Path(f"{stem}.id").read_text(encoding="utf-8"))["id"])
        except (OSError, ValueError, KeyError):
            number = self._number_of(self._name(orders[0], stem)) if orders else ""
        return Array(stem, number, orders)


#: Key of ``Job.batch`` -> option of sbatch.
BATCH_OPTIONS = {"partition": "--partition", "account": "--account", "walltime": "--time"}


@dataclass(frozen=True)
class Request:
    """Request to sbatch, common to all jobs of an array."""

    cores: int
    memory_mib: int  # 0: the site's default
    gpus: int
    host: str  # "": any
    batch: tuple[tuple[str, str], ...]


def request_of(job: Job, node: Resources, hosts: Iterable[str], options: SlurmOptions) -> Request:
    """Return the request for a job.

    Slurm has no option for ``max_per_node``: each of k jobs on one node asks for the k-th part of its cores.

    Parameters
    ----------
    node: the largest node of the partition; a larger request for cores gets all of them.
    hosts: nodes known to Slurm; a job bound to another host runs anywhere.

    Source: sbatch(1); measured with Slurm 22.05.
    """
    part = math.ceil(node.cores / job.max_per_node) if job.max_per_node > 0 else 1
    return Request(
        cores=max(1, part, min(job.cores, node.cores)),
        memory_mib=max(1, int(job.memory_gb * MIB_PER_GB)) if job.memory_gb and options.request_memory else 0,
        gpus=job.gpus,
        host=node_of(job, hosts),
        batch=tuple(sorted(job.batch.items())),
    )


def node_of(job: Job, hosts: Iterable[str]) -> str:
    """Return Slurm's name of the host requested by a job; "" without a request, or if Slurm does not know the host."""
    if not job.at_host:
        return ""
    node_names = set(hosts)
    return next((name for name in (job.host, job.host.partition(".")[0]) if name in node_names), "")


def grouped(requests: Sequence[Request], largest: int) -> list[tuple[Request, list[int]]]:
    """Return (request, indices of its jobs), in groups of at most ``largest``, in the order of jobs."""
    groups: dict[Request, list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault(request, []).append(place)
    return [
        (request, places[first : first + largest])
        for request, places in groups.items()
        for first in range(0, len(places), largest)
    ]


def sbatch_arguments(
    request: Request, options: SlurmOptions, name: str, count: int, throttle: int, stem: Path
) -> list[str]:
    """Return the arguments of sbatch, the script last.

    Options of the site, then of the step, follow the runner's, and so have priority.

    Parameters
    ----------
    name: name of the job in the queue.
    count: number of tasks.
    throttle: maximum number of concurrent tasks; 0: no limit.
    stem: ``<stem>.sh`` is the script, ``<stem>.<index>.out`` the output of a task outside its job's log.
    """
    site = {"partition": options.partition, "account": options.account, "walltime": options.walltime}
    requests = {**site, **{key: value for key, value in request.batch if value}}
    chosen = [f"{option}={requests[key]}" for key, option in BATCH_OPTIONS.items() if requests.get(key)]
    return [
        f"--job-name={name}",
        f"--array=0-{count - 1}" + (f"%{throttle}" if throttle else ""),
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={request.cores}",
        *([f"--mem={request.memory_mib}M"] if request.memory_mib else []),
        *([f"--gres={options.gres}:{request.gpus}"] if request.gpus else []),
        *([f"--nodelist={request.host}"] if request.host else []),
        *chosen,
        "--no-requeue",  # the pipeline decides whether a lost job runs again
        "--export=ALL",
        "--open-mode=append",
        f"--chdir={stem.parent}",
        f"--output={str(stem).replace('%', '%%')}.%a.out",
        *options.extra,
        *shlex.split(requests.get("options", "")),
        f"{stem}.sh",
    ]


def script_text(orders: Path, environment: Mapping[str, str], prologue: str = "") -> str:
    """Return the script of an array: each task becomes the guard of its order in a list.

    The prologue needs bash: ``module`` is a bash function on most clusters.
    """
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(environment.items()))
    shell, lines = ("/usr/bin/env bash", f"{prologue}\n") if prologue else ("/bin/sh", "")
    return f"#!{shell}\n{exports}{lines}exec {shlex.join(guard_command(orders))}\n"


# ---- tasks in the queue


@dataclass
class Task:
    """A job with its order and its index in an array."""

    place: int  # index among the jobs of the run
    order: Order
    array: Array
    index: int
    has_started: bool = False
    missing_s: float | None = None  # monotonic clock: since then neither in the queue nor recorded
    interrupted: JobResult | None = None  # recorded by its guard; Slurm knows the reason
    stuck_reports: int = 0  # number of reports by Slurm that it will never run

    @property
    def id(self) -> str:
        """Identifier in Slurm."""
        return self.array.task(self.index)


def adopt_tasks(queue: SlurmQueue, client: SlurmClient, jobs: Sequence[Job]) -> list[Task]:
    """Adopt tasks of an earlier run, done or in the queue, with the same orders as ``jobs``.

    All other tasks are ended first, and their orders removed. A failed job is not adopted: its cause
    may have been corrected since.

    Raises
    ------
    SlurmRefused
        If Slurm does not answer.
    """
    arrays = queue.earlier()
    queued = client.queued(array.id for array in arrays if array.id)
    places = {job.name: place for place, job in enumerate(jobs)}
    adopted: dict[int, Task] = {}
    strays: list[str] = []
    useless: list[Order] = []
    for array in arrays:
        for index, path in enumerate(array.orders):
            order = _order(path)
            place = -1 if order is None else places.get(order.job.name, -1)
            is_queued = bool(array.id) and array.task(index) in queued
            if order and place >= 0 and place not in adopted and _is_reusable(order, jobs[place], is_queued):
                adopted[place] = Task(place, order, array, index)
                continue
            strays += [array.task(index)] if is_queued else []
            useless += [order] if order else []
    end_tasks(client, strays, useless)
    for order in useless:
        remove_order(order)
    stems = {task.array.stem for task in adopted.values()}
    for array in arrays:
        if array.stem not in stems:
            array.remove_files()
    return list(adopted.values())


def _order(path: Path) -> Order | None:
    try:
        return read_order(path)
    except PipelineError:  # its result was collected
        return None


def _is_reusable(order: Order, job: Job, is_queued: bool) -> bool:
    record = read_record(order)
    return order_fingerprint(order.job) == order_fingerprint(job) and (is_queued if record is None else record.ok)


def end_tasks(
    client: SlurmClient,
    tasks: Iterable[str],
    orders: Sequence[Order] = (),
    whole_arrays: bool = False,
    wait: Callable[[float], None] = time.sleep,
    must_stop: Callable[[], bool] = lambda: False,
    note: Callable[[str], object] = lambda _: None,
) -> None:
    """End tasks, and wait until all are dead.

    If Slurm does not answer, the orders are withdrawn at once: guards end their jobs within seconds,
    and tasks starting later find no order.

    Parameters
    ----------
    orders: orders of the tasks.
    whole_arrays: whether to cancel whole arrays.
    must_stop: whether to stop waiting.
    note: callback for the reason of a delay.

    Raises
    ------
    PipelineError
        If tasks are not known to be dead in time.
    """
    remaining = set(tasks)
    start_s = time.monotonic()
    problem = SILENT
    while remaining and time.monotonic() - start_s < END_LIMIT_S and not must_stop():
        try:
            targets = {task.partition("_")[0] for task in remaining} if whole_arrays else remaining
            client.cancel(targets, force=time.monotonic() - start_s > FORCE_AFTER_S)
            remaining &= set(client.queued(task.partition("_")[0] for task in remaining))
            problem = SILENT
        except SlurmRefused as err:
            if problem == SILENT:  # reported once: Slurm's order of the jobs varies
                note(f"jobs cannot be ended by Slurm, and end by themselves; it is asked again: {err}")
            problem = str(err)
            withdraw_orders(*orders)
        if remaining:
            wait(ASK_S)
    if remaining:
        withdraw_orders(*orders)
        targets = {task.partition("_")[0] for task in remaining} if whole_arrays else remaining
        raise PipelineError(
            f"{len(remaining)} jobs may be in the queue, where they have nothing to do any more: {problem}; "
            f"the next run removes them, or: scancel {' '.join(sorted(targets)[:NAMED])}"
        )
