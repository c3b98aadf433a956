"""The guard: one job, one record; it ends with its parent process, and its job with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from living import living
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.process import session_members
from lofarpipe.executors.remote import guard
from lofarpipe.executors.remote.lease import read_claim, state_of
from lofarpipe.executors.remote.order import (
    Order,
    guard_command,
    new_attempt,
    order_path,
    read_record,
    withdraw_orders,
    write_order,
)
from lofarpipe.jobs import Job, Staged
from slurm_cluster import wait_for

MakeOrder = Callable[..., Order]
SLEEP = "echo $$ > began; sleep 60 && touch late"


@pytest.fixture
def make_order(tmp_path: Path) -> MakeOrder:
    def make(script: str, number: int = 0, beat_s: float = 0.1, **changes: object) -> Order:
        log = tmp_path / "logs" / f"{number:03}.log"
        facts = {"name": f"step/{number:03}", "argv": ("bash", "-c", script), "workdir": tmp_path, "log": log}
        job = Job(**{**facts, **changes})  # type: ignore[arg-type]
        attempt = new_attempt()
        path = order_path(tmp_path / "jobs", job, attempt)
        return write_order(job, attempt, path, beat_s=beat_s, stale_s=60.0, grace_s=1.0)

    return make


def start(*arguments: str | Path, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(guard_command(*arguments), stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload,no-any-return]


def run(*arguments: str | Path) -> tuple[int, str]:
    process = start(*arguments)
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def test_job_leaves_record(make_order: MakeOrder, tmp_path: Path) -> None:
    order = make_order("echo hello; echo oops >&2; pwd; exit 3", memory_gb=1.5, label="a.MS", host="node7")
    assert run(order.path) == (3, "")
    result = read_record(order)
    assert result is not None
    assert (result.name, result.exit_code, result.node) == ("step/000", 3, os.uname().nodename)
    assert (result.problem, result.is_lost, result.memory_gb, result.label) == ("", False, 1.5, "a.MS")
    assert result.host == "node7"
    assert result.tail() == ["hello", "oops", str(tmp_path)]
    assert state_of(order) == "done"
    assert run(order.path) == (guard.REFUSED, f"{order.path}: there is a record of this attempt already\n")


def test_exit_status_encodes_signal(make_order: MakeOrder) -> None:
    order = make_order("kill -SEGV $$")
    assert run(order.path)[0] == 128 + signal.SIGSEGV
    result = read_record(order)
    assert result is not None
    assert (result.exit_code, result.is_lost) == (-signal.SIGSEGV, False)


def test_guard_stages_outputs_and_directories(make_order: MakeOrder, tmp_path: Path) -> None:
    stage, scratch = tmp_path / ".stage", tmp_path / "scratch"
    staged = Staged(("bash", "-c", f"touch {scratch}/x; echo made > {stage}/out"), stage, tmp_path)
    order = make_order("false", tempdir=scratch, staged=staged)
    assert run(order.path)[0] == 0
    assert (tmp_path / "out").read_text() == "made\n"
    assert not stage.exists()
    assert not scratch.exists()


def test_array_index_selects_order(make_order: MakeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = [make_order(f"exit {number}", number) for number in range(3)]
    listed = tmp_path / "orders.list"
    listed.write_text(json.dumps([str(order.path) for order in orders]))
    assert run(listed, "1")[0] == 1
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    assert run(listed)[0] == 2
    assert [state_of(order) for order in orders] == ["waiting", "done", "done"]
    for index, env in ((7, "2"), (None, "x")):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", env)
        with pytest.raises(PipelineError, match="neither an order nor a list with an entry for this task"):
            guard.order_file(listed, index)


def test_missing_order_is_refused(tmp_path: Path, make_order: MakeOrder) -> None:
    status, said = run(tmp_path / "none.json")
    assert status == guard.NO_ORDER
    assert "No such file" in said
    order = make_order("touch ran")
    order.path.write_text("{}")
    status, said = run(order.path)
    assert status == guard.NO_ORDER
    assert "not a readable order" in said


def test_missing_program_is_recorded(make_order: MakeOrder) -> None:
    order = make_order("", argv=("/no/such/program",))
    assert run(order.path)[0] == 127
    result = read_record(order)
    assert result is not None
    assert (result.exit_code, result.is_lost) == (127, False)


def test_unwritable_log_fails_job(make_order: MakeOrder, tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    order = make_order("touch ran")
    assert run(order.path)[0] == os.EX_CANTCREAT
    result = read_record(order)
    assert result is not None
    assert "log" in result.problem
    assert not result.is_lost
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signal_ends_job_with_reason(make_order: MakeOrder, tmp_path: Path, number: signal.Signals) -> None:
    order = make_order("(sleep 60 && touch late) & " + SLEEP, tempdir=tmp_path / "scratch")
    process = start(order.path)
    wait_for(lambda: (tmp_path / "began").exists())
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    result = read_record(order)
    assert result is not None
    assert result.is_lost
    assert result.problem == f"interrupted by {number.name} on {os.uname().nodename}"
    assert result.duration_s > 0
    assert not living(tmp_path)
    assert not (tmp_path / "scratch").exists()


def test_signal_to_program_and_guard_is_lost_job(make_order: MakeOrder, tmp_path: Path) -> None:
    order = make_order("echo $$ > began; exec sleep 60")
    patient = (
        "import sys; from lofarpipe.executors.remote import guard;"
        "guard.SIGNAL_WAIT_S = 60.0; sys.exit(guard.main(sys.argv[1:]))"
    )
    process = subprocess.Popen([sys.executable, "-c", patient, order.path])
    wait_for(lambda: (tmp_path / "began").exists() and (tmp_path / "began").read_text())
    program = int((tmp_path / "began").read_text())
    os.kill(program, signal.SIGTERM)
    wait_for(lambda: not session_members([program]), "the end of the program")  # before the guard hears of it
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    result = read_record(order)
    assert result is not None
    assert (result.is_lost, result.exit_code) == (True, -signal.SIGTERM)


def test_guard_ends_with_its_starter(make_order: MakeOrder, tmp_path: Path) -> None:
    order = make_order(SLEEP)
    starter = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", *guard_command(order.path)]
    )
    wait_for(lambda: (tmp_path / "began").exists())
    starter.kill()
    starter.wait()
    wait_for(lambda: not living(tmp_path), "the end of guard and job")
    result = read_record(order)
    assert result is not None
    assert result.is_lost
    assert result.problem.startswith("ended because its parent process was gone on ")
    assert not (tmp_path / "late").exists()


def test_guard_outlives_starting_thread(make_order: MakeOrder, tmp_path: Path) -> None:
    order = make_order("touch began; until [ -e go ]; do sleep 0.05; done")
    program = (
        "import os, subprocess, sys, threading, time\n"
        "started = []\n"
        "def start():\n"
        "    started.append(subprocess.Popen(sys.argv[2:]))\n"
        "    while not os.path.exists(sys.argv[1]): time.sleep(0.05)\n"
        "thread = threading.Thread(target=start)\n"
        "thread.start(); thread.join(); print('ended', flush=True); sys.exit(started[0].wait())\n"
    )
    command = [sys.executable, "-c", program, tmp_path / "began", *guard_command(order.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ended\n"
        os.utime(order.claim(0), (0, 0))
        wait_for(lambda: order.claim(0).stat().st_mtime > 0, "a beat after that")
        (tmp_path / "go").touch()
        assert starter.wait(60) == 0


def test_guard_without_starter_refuses_order(make_order: MakeOrder) -> None:
    order = make_order("touch ran")
    assert run(order.path, "--parent", "1")[0] == guard.REFUSED
    assert state_of(order) == "waiting"


def test_killed_guard_leaves_no_job(make_order: MakeOrder, tmp_path: Path) -> None:
    order = make_order(SLEEP, tempdir=tmp_path / "scratch")
    process = start(order.path)
    wait_for(lambda: (tmp_path / "began").exists())
    process.kill()
    process.wait()
    wait_for(lambda: not living(tmp_path), "the end of the job")
    wait_for(lambda: not (tmp_path / "scratch").exists(), "its directory to go")
    assert read_record(order) is None
    wait_for(lambda: state_of(order) == "lost", "the loss to be known")
    (tmp_path / "began").unlink()
    second = start(order.path)
    wait_for(lambda: (tmp_path / "began").exists())
    claim = read_claim(order)
    assert claim is not None
    assert (claim.number, claim.pid) == (1, second.pid)
    assert run(order.path)[0] == guard.REFUSED
    second.terminate()
    second.wait(60)


def test_withdrawn_order_ends_job_unrecorded(make_order: MakeOrder, tmp_path: Path) -> None:
    order = make_order(SLEEP)
    process = start(order.path)
    wait_for(lambda: (tmp_path / "began").exists())
    withdraw_orders(order)
    _, said = process.communicate(timeout=60)
    assert process.returncode == guard.REFUSED
    assert "the order was withdrawn" in said
    assert read_record(order) is None
    assert not living(tmp_path)


def test_guard_sends_heartbeats(make_order: MakeOrder, tmp_path: Path) -> None:
    order = make_order("until [ -e go ]; do sleep 0.05; done")
    process = start(order.path)
    wait_for(order.claim(0).exists)
    os.utime(order.claim(0), (0, 0))
    wait_for(lambda: order.claim(0).stat().st_mtime > 0, "a beat")
    (tmp_path / "go").touch()
    assert process.wait(60) == 0


def test_silent_file_system_ends_job(make_order: MakeOrder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    order = make_order("sleep 60", beat_s=0.05)
    order = Order(order.job, order.attempt, order.path, beat_s=0.05, stale_s=0.2, grace_s=1.0)
    monkeypatch.setattr(guard, "renew_lease", fail)
    before = {number: signal.getsignal(number) for number in (*guard.ENDING, guard.ORPHANED)}
    try:
        ending = guard.Ending(os.getppid())
        status = guard.Guard(order, guard.claim_order(order), ending).run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert status == 128 + signal.SIGTERM
    result = read_record(order)
    assert result is not None
    assert result.is_lost
    assert result.problem.startswith(f"no contact with {order.path.parent}: Input/output error on ")


def test_job_gets_devices_of_guard(make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    order = make_order("echo $CUDA_VISIBLE_DEVICES", gpus=1)
    assert run(order.path)[0] == 0
    result = read_record(order)
    assert result is not None
    assert result.tail() == ["3"]


def test_claim_reports_start(make_order: MakeOrder) -> None:
    order = make_order("true")
    before = time.time()
    process = start(order.path)
    process.wait(60)
    claim = read_claim(order)
    assert claim is not None
    assert claim.start(order).pid == process.pid
    assert claim.start_s >= before - 1
