"""Job orders: one attempt to run one job, as files shared by all machines of the cluster.

``007.3fa29c01.json`` is the order: the job, as JSON. Its guard writes
``007.3fa29c01.claim0`` before the start (see ``lease``) and ``007.3fa29c01.record`` at the end: the result, as
JSON. Only the record decides: no answer of a queue or a scheduler makes a job done.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Job, JobResult, Staged
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import write_atomically

BEAT_S = 5.0
STALE_S = 90.0  # many heartbeats: file servers can be slow, and clients cache
GRACE_S = 5.0
RECORD, CLAIM, OUTPUT, SCRIPT = ".record", ".claim", ".out", ".sh"
LANGUAGE = lazy_pattern(r"LANG$|LC_|TZ$")
_PATHS = ("workdir", "log", "tempdir")


@dataclass(frozen=True)
class Order:
    """One attempt to run a job.

    Attributes
    ----------
    attempt: unique text, so that an abandoned guard can do no harm.
    beat_s: interval of lease renewals by the guard.
    stale_s: age of an expired lease; its guard is dead, or has ended its job.
    grace_s: seconds between SIGTERM and SIGKILL for the processes of the job.
    """

    job: Job
    attempt: str
    path: Path
    beat_s: float = BEAT_S
    stale_s: float = STALE_S
    grace_s: float = GRACE_S

    @property
    def record(self) -> Path:
        """File for the result."""
        return self.path.with_suffix(RECORD)

    @property
    def output(self) -> Path:
        """File for output of the guard or its parent, apart from the job's log."""
        return self.path.with_suffix(OUTPUT)

    @property
    def script(self) -> Path:
        """The order in shell syntax, for a guard that is a shell script."""
        return self.path.with_suffix(SCRIPT)

    def claim(self, number: int) -> Path:
        """Claim file of guard ``number``; the highest one is valid."""
        return self.path.with_suffix(f"{CLAIM}{number}")


def new_attempt() -> str:
    """Return a unique text for an attempt."""
    return secrets.token_hex(4)


def order_path(directory: Path, job: Job, attempt: str) -> Path:
    """Return the path of an order: ``<directory>/<step>/007.<attempt>.json``."""
    return directory / f"{job.name}.{attempt}.json"


def new_order(directory: Path, job: Job, **times: float) -> Order:
    """Write the order of a new attempt; see ``write_order``."""
    attempt = new_attempt()
    return write_order(job, attempt, order_path(directory, job, attempt), **times)


def write_order(
    job: Job,
    attempt: str,
    path: Path,
    *,
    beat_s: float = BEAT_S,
    stale_s: float = STALE_S,
    grace_s: float = GRACE_S,
) -> Order:
    """Write an order atomically, and return it.

    Raises
    ------
    PipelineError
        If the order cannot be written.
    """
    order = Order(job, attempt, path, beat_s, stale_s, grace_s)
    facts = {"attempt": attempt, "beat_s": beat_s, "stale_s": stale_s, "grace_s": grace_s, "job": job_facts(job)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(facts, indent=1))
    except OSError as err:
        raise PipelineError(f"{job.name}: order {path} cannot be written: {err.strerror}; check the directory") from err
    return order


def read_order(path: Path) -> Order:
    """Read an order.

    Raises
    ------
    PipelineError
        If the file is missing, because the order was withdrawn, or invalid.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        times = [float(facts[key]) for key in ("beat_s", "stale_s", "grace_s")]
        return Order(job_of(facts["job"]), str(facts["attempt"]), path, *times)
    except FileNotFoundError as err:
        raise PipelineError(f"{path}: no such order; it may have been withdrawn") from err
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise PipelineError(f"{path}: not a readable order: {err!r}; run the pipeline again") from err


def find_orders(directory: Path, job: Job) -> list[Order]:
    """Return the orders of earlier attempts at a job of this name; other files are ignored."""
    orders = []
    step, _, place = job.name.rpartition("/")
    for path in sorted((directory / step).glob(f"{place}.*.json")):
        with contextlib.suppress(PipelineError):  # truncated on a full disk, or the job description of a script
            orders.append(read_order(path))
    return orders


def order_fingerprint(job: Job) -> str:
    """Return a text that is equal for interchangeable jobs.

    Names of temporary directories and the locale are left out: they differ between runs without effect.
    """
    spoken = {name: value for name, value in job.env.items() if not LANGUAGE.match(name)}
    facts = json.dumps(job_facts(replace(job, env=spoken)), sort_keys=True)
    directories = {"tempdir": job.tempdir}
    if job.staged:
        directories |= {"stage": job.staged.directory, "landing": job.staged.landing}
    for word, directory in directories.items():
        if directory is not None:
            facts = facts.replace(json.dumps(str(directory))[1:-1], f"<{word}>")
    return hashlib.sha256(facts.encode()).hexdigest()


def write_record(order: Order, result: JobResult) -> None:
    """Write the result of an order, synced to disk."""
    facts = {"attempt": order.attempt, "result": _plain(result)}
    write_atomically(order.record, json.dumps(facts, indent=1))
    directory = os.open(order.record.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_record(order: Order) -> JobResult | None:
    """Return the result of an order; None if missing, or of another attempt."""
    try:
        facts = json.loads(order.record.read_text(encoding="utf-8"))
        result = dict(facts["result"])
        result |= {"log": Path(result["log"])} | {key: tuple(result.get(key, ())) for key in ("argv", "outputs")}
        return JobResult(**result) if facts["attempt"] == order.attempt else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def withdraw_orders(*orders: Order) -> None:
    """Withdraw orders: a guard not yet started will not run them, a running one ends its job at its next heartbeat."""
    for order in orders:
        order.path.unlink(missing_ok=True)


def remove_order(order: Order) -> None:
    """Remove every file of an order with a collected result, the order itself first."""
    withdraw_orders(order)
    for path in (order.record, order.output, order.script, *claims_of(order)):
        path.unlink(missing_ok=True)


def claims_of(order: Order) -> list[Path]:
    """Return the claims of an order, the valid one last, without listing the directory."""
    claims: list[Path] = []
    while (path := order.claim(len(claims))).exists():
        claims.append(path)
    return claims


def discard_records(directory: Path) -> None:
    """Remove the orders with a record below a directory, so that no job counts as done."""
    for record in directory.rglob(f"*.*{RECORD}"):
        for path in [record.with_suffix(".json"), *record.parent.glob(f"{record.stem}.*")]:
            path.unlink(missing_ok=True)


def guard_command(*arguments: str | Path) -> list[str]:
    """Return the command to run an order; the node must have this interpreter and package at the same paths."""
    return [sys.executable, "-P", "-m", "lofarpipe.executors.remote.guard", *map(str, arguments)]


def job_facts(job: Job) -> dict[str, Any]:
    """Return a job in JSON types."""
    return _plain(job)


def job_of(facts: Mapping[str, Any]) -> Job:
    """Return the job from the output of ``job_facts``.

    Raises
    ------
    TypeError, KeyError
        If it is invalid.
    """
    values = dict(facts)
    values["argv"] = tuple(values["argv"])
    for key in _PATHS:
        values[key] = None if values[key] is None else Path(values[key])
    if values["staged"] is not None:
        staged = dict(values["staged"])
        for key in ("directory", "destination", "landing"):
            staged[key] = Path(staged[key]) if staged.get(key) else None
        staged["argv"] = tuple(staged["argv"])
        staged["renames"] = tuple((pattern, name) for pattern, name in staged.get("renames", ()))
        values["staged"] = Staged(**staged)
    return Job(**values)


def _plain(record: Job | JobResult | Staged) -> dict[str, Any]:
    return {item.name: _plain_value(getattr(record, item.name)) for item in fields(record)}


def _plain_value(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Staged):
        return _plain(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
