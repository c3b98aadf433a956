"""Leases of orders: one guard at a time; a guard without heartbeats is dead."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from lofarpipe.executors.remote import lease as claims
from lofarpipe.executors.remote.lease import (
    ClaimRefused,
    check_claim,
    claim_order,
    read_claim,
    renew_lease,
    silent_s,
    state_of,
)
from lofarpipe.executors.remote.order import Order, new_attempt, order_path, withdraw_orders, write_order, write_record
from lofarpipe.jobs import Job, ended_result
from lofarpipe.support.processes import boot_id


@pytest.fixture
def order(tmp_path: Path) -> Order:
    job = Job("step/000", ("true",), tmp_path, tmp_path / "log")
    attempt = new_attempt()
    return write_order(job, attempt, order_path(tmp_path, job, attempt), beat_s=5.0, grace_s=3.0, stale_s=90.0)


def claimed_elsewhere(order: Order, silent: float, number: int = 0) -> None:
    """Another machine's guard has it, and has been silent for some time."""
    facts = {"number": number, "node": "n9", "pid": 1, "start_s": 5.0, "boot": "other", "space": "", "ticks": 1}
    order.claim(number).write_text(json.dumps(facts))
    then = time.time() - silent
    os.utime(order.claim(number), (then, then))


def claimed_by_the_dead(order: Order, silent: float) -> None:
    """A guard on this machine had it, and its process is gone."""
    gone = subprocess.Popen(["true"])
    gone.wait()
    own = claim_order(order)
    facts = {**own.__dict__, "pid": gone.pid, "ticks": 1}
    order.claim(0).write_text(json.dumps(facts))
    then = time.time() - silent
    os.utime(order.claim(0), (then, then))


def test_claim_names_guard_and_node(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_of(order) == "waiting"
    assert read_claim(order) is None
    monkeypatch.setenv("SLURMD_NODENAME", "n7")
    own = claim_order(order)
    assert (own.number, own.node, own.pid, own.boot) == (0, "n7", os.getpid(), boot_id())
    assert read_claim(order) == own
    start = own.start(order)
    assert (start.name, start.node, start.pid, start.start_s) == ("step/000", "n7", os.getpid(), own.start_s)
    assert state_of(order) == "alive"
    monkeypatch.delenv("SLURMD_NODENAME")
    assert claims.node_name() == os.uname().nodename


def test_living_guard_keeps_its_order(order: Order) -> None:
    claim_order(order)
    with pytest.raises(ClaimRefused, match=f"process {os.getpid()} on .* has this order"):
        claim_order(order)


def test_finished_order_cannot_be_claimed(order: Order) -> None:
    write_record(order, ended_result(order.job))
    assert state_of(order) == "done"
    with pytest.raises(ClaimRefused, match="there is a record of this attempt already"):
        claim_order(order)


def test_withdrawn_order_stops_claim_and_guard(order: Order) -> None:
    own = claim_order(order)
    renew_lease(order, own)
    withdraw_orders(order)
    for action in (renew_lease, check_claim):
        with pytest.raises(ClaimRefused, match="the order was withdrawn"):
            action(order, own)


@pytest.mark.parametrize(("silent", "state"), [(80.0, "alive"), (100.0, "lost")])
def test_long_silence_loses_remote_guard(order: Order, silent: float, state: str) -> None:
    claimed_elsewhere(order, silent)
    assert state_of(order) == state


@pytest.mark.parametrize(("silent", "state"), [(8.0, "alive"), (12.0, "lost")])
def test_dead_local_guard_has_grace_time(order: Order, silent: float, state: str) -> None:
    claimed_by_the_dead(order, silent)  # by hand: a beat of 5 s, a grace of 3 s, 2 s for the end: 10 s
    assert state_of(order) == state


def test_order_of_dead_guard_is_reclaimed_once(order: Order) -> None:
    claimed_elsewhere(order, 100.0)
    own = claim_order(order)
    assert own.number == 1
    assert read_claim(order) == own
    with pytest.raises(ClaimRefused, match="has this order"):
        claim_order(order)


def test_replaced_guard_loses_claim(order: Order) -> None:
    own = claim_order(order)
    claimed_elsewhere(order, 0.0, number=1)
    claim = read_claim(order)
    assert claim is not None
    assert claim.node == "n9"
    with pytest.raises(ClaimRefused, match="another guard has taken it over"):
        renew_lease(order, own)


def test_slower_contender_is_refused(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "read_claim", lambda _: None)  # as it was before the other one came
    claimed_elsewhere(order, 0.0)
    with pytest.raises(ClaimRefused, match="another guard was faster"):
        claim_order(order)


def test_claim_works_without_hard_links(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(source: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_link)
    own = claim_order(order)
    assert read_claim(order) == own
    monkeypatch.setattr(claims, "read_claim", lambda _: None)
    with pytest.raises(ClaimRefused, match="another guard was faster"):
        claim_order(order)
    assert not list(order.path.parent.glob(".*"))


def test_unreadable_claim_is_respected(order: Order) -> None:
    order.claim(0).write_text("{")
    assert read_claim(order) is None
    with pytest.raises(ClaimRefused):
        claim_order(order)


def test_local_clock_is_ignored(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed_elsewhere(order, 50.0)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert silent_s(order.claim(0)) == pytest.approx(50.0, abs=30.0)  # 30 s: a busy machine
    assert silent_s(order.claim(5)) == 0.0
    assert not list(order.path.parent.glob(".*"))


def test_late_record_completes_order(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    claimed_elsewhere(order, 100.0)

    def dead(*_: object) -> bool:
        write_record(order, ended_result(order.job))
        return True

    monkeypatch.setattr(claims, "_is_dead", dead)
    assert state_of(order) == "done"
