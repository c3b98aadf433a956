"""Jobs as files: exact round trips, and no other file is accepted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.executors.remote.order import (
    Order,
    discard_records,
    find_orders,
    new_attempt,
    order_fingerprint,
    order_path,
    read_order,
    read_record,
    remove_order,
    withdraw_orders,
    write_order,
    write_record,
)
from lofarpipe.jobs import Job, JobResult, Staged, ended_result


def full_job(directory: Path) -> Job:
    """A job with every field set."""
    return Job(
        name="average/007",
        argv=("DP3", f"msout={directory}/.007/a b.MS"),
        workdir=directory,
        log=directory / "logs" / "007.log",
        cores=4,
        memory_gb=1.5,
        gpus=1,
        env={"A": "x\n'y'", "B": "\udcff"},
        host="node042",
        max_per_node=2,
        tempdir=directory / "scratch-1",
        label="L1_SB007.MS",
        at_host=True,
        staged=Staged(("DP3", "msout=x"), directory / ".007", directory, "x"),
        watch={"program": "wsclean"},
        batch={"walltime": "1:00:00"},
        mark="m",
    )


def ordered(directory: Path, job: Job) -> Order:
    attempt = new_attempt()
    return write_order(job, attempt, order_path(directory, job, attempt))


def test_order_survives_round_trip(tmp_path: Path) -> None:
    job = full_job(tmp_path)
    path = order_path(tmp_path / "jobs", job, "abcd")
    order = write_order(job, "abcd", path, beat_s=1.0, stale_s=2.0, grace_s=3.0)
    assert path == tmp_path / "jobs" / "average" / "007.abcd.json"
    assert read_order(path) == order
    assert (order.record.name, order.output.name, order.claim(3).name) == (
        "007.abcd.record",
        "007.abcd.out",
        "007.abcd.claim3",
    )
    plain = Job("step/000", ("true",), tmp_path, tmp_path / "log")
    assert read_order(ordered(tmp_path, plain).path).job == plain


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "{}", '{"attempt": "a", "beat_s": 1, "stale_s": 1, "grace_s": 1, "job": 3}']
)
def test_unreadable_order_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "000.x.json").write_text(text)
    with pytest.raises(PipelineError, match=r"000\.x\.json: not a readable order"):
        read_order(tmp_path / "000.x.json")


def test_missing_order_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="no such order; it may have been withdrawn"):
        read_order(tmp_path / "000.x.json")


def test_unwritable_order_is_reported(tmp_path: Path) -> None:
    (tmp_path / "jobs").touch()
    with pytest.raises(PipelineError, match=r"average/007: order .* cannot be written: Not a directory"):
        ordered(tmp_path / "jobs", full_job(tmp_path))


def test_record_survives_round_trip(tmp_path: Path) -> None:
    order = ordered(tmp_path, full_job(tmp_path))
    assert read_record(order) is None
    result = JobResult(
        "average/007",
        -9,
        12.5,
        3.0,
        2.0,
        700.0,
        order.job.log,
        ("a", "b"),
        "h",
        "l",
        "n1",
        1.5,
        "lost",
        True,
        outputs=("/o/a", "/o/b"),
    )
    write_record(order, result)
    assert read_record(order) == result
    assert read_record(replace(order, attempt="another")) is None


@pytest.mark.parametrize("text", ["", "{}", '{"attempt": "a", "result": {"log": "/x", "argv": []}}', "[]"])
def test_incomplete_record_is_ignored(tmp_path: Path, text: str) -> None:
    order = ordered(tmp_path, full_job(tmp_path))
    order.record.write_text(text)
    assert read_record(order) is None


def test_earlier_orders_are_found_among_unrelated_files(tmp_path: Path) -> None:
    job = full_job(tmp_path)
    first, second = ordered(tmp_path, job), ordered(tmp_path, job)
    ordered(tmp_path, replace(job, name="average/070"))
    for name in ("007.json", "007.result.json", "007.torn.json"):
        (tmp_path / "average" / name).write_text("{")
    assert {order.attempt for order in find_orders(tmp_path, job)} == {first.attempt, second.attempt}
    assert find_orders(tmp_path, replace(job, name="other/007")) == []


def test_fingerprint_ignores_temporary_directory_names(tmp_path: Path) -> None:
    job = full_job(tmp_path)
    job = replace(job, argv=("wsclean", "-temp-dir", str(job.tempdir), "-name", f"{tmp_path}/.007/x"))
    other = replace(
        job,
        tempdir=tmp_path / "scratch-2",
        argv=("wsclean", "-temp-dir", f"{tmp_path}/scratch-2", "-name", f"{tmp_path}/.008/x"),
        staged=Staged(("DP3", "msout=x"), tmp_path / ".008", tmp_path, "x"),
    )
    assert order_fingerprint(job) == order_fingerprint(other)
    for changed in ({"argv": ("wsclean",)}, {"mark": "n"}, {"cores": 5}, {"env": {}}, {"memory_gb": None}):
        assert order_fingerprint(replace(job, **changed)) != order_fingerprint(job)
    elsewhere = replace(job, env={**job.env, "LANG": "nl_NL.UTF-8", "LC_ALL": "C", "TZ": "UTC"})
    assert order_fingerprint(elsewhere) == order_fingerprint(job)  # the next login may speak another language


def test_withdrawal_removes_order_files(tmp_path: Path) -> None:
    order = ordered(tmp_path, full_job(tmp_path))
    order.claim(0).touch()
    write_record(order, ended_result(order.job))
    withdraw_orders(order)
    withdraw_orders(order)
    assert sorted(path.suffix for path in order.path.parent.iterdir()) == [".claim0", ".record"]
    remove_order(order)
    assert list(order.path.parent.iterdir()) == []


def test_recorded_orders_are_discarded(tmp_path: Path) -> None:
    job = full_job(tmp_path)
    orders = [ordered(tmp_path, replace(job, name=name)) for name in ("a/000", "a/001", "b/000", "b/001")]
    for order in orders[:3]:
        write_record(order, ended_result(order.job))
    discard_records(tmp_path)
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [orders[3].path.relative_to(tmp_path)]  # it is not done


def test_order_files_are_readable_text(tmp_path: Path) -> None:
    order = ordered(tmp_path, full_job(tmp_path))
    assert json.loads(order.path.read_text())["job"]["argv"][0] == "DP3"
