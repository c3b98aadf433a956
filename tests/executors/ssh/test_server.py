"""No orphan and no second start after any death: over a real sshd on the loopback interface."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from living import living
from lofarpipe.errors import PipelineError
from lofarpipe.executors.ssh import executor as ssh_executor
from lofarpipe.executors.ssh import host as hosts
from lofarpipe.executors.ssh.executor import SshExecutor
from lofarpipe.executors.ssh.options import SshOptions
from lofarpipe.jobs import Interrupted, Job

LIMIT_S = 90.0
#: A job with a child, and with one that leaves its session.
FAMILY = "echo $$ >>{root}/began; setsid sleep 300 & sleep 301 & sleep 302; echo late >>{root}/began"
ENGINE = """\
import sys
from pathlib import Path
from lofarpipe.executors.local.signals import raise_on_signals
from lofarpipe.executors.ssh.executor import SshExecutor
from lofarpipe.executors.ssh.options import SshOptions
from lofarpipe.jobs import Job
root = Path({root!r})
options = SshOptions("n[1-2],localhost", cores=1, memory_gb=4.0, extra=("-F", {config!r}))
executor = SshExecutor(options, root / "jobs", grace_s=1.0)
jobs = [Job(f"s/{{n:03}}", ("sh", "-c", {script!r}), root, root / f"{{n}}.log") for n in range(3)]
with raise_on_signals():
    executor.run(jobs)
"""
# Between ssh and the server; while it is stopped, nothing gets through, without notice.
RELAY = """\
import os, select, socket, sys
remote = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
open(sys.argv[2], "a").write(f"{os.getpid()}\\n")
while True:
    for source in select.select([0, remote], [], [])[0]:
        data = os.read(0, 65536) if source == 0 else remote.recv(65536)
        if not data:
            sys.exit()
        remote.sendall(data) if source == 0 else os.write(1, data)
"""


@pytest.fixture
def make(ssh_config: Path, tmp_path: Path) -> Iterator[Callable[..., SshExecutor]]:
    made: list[SshExecutor] = []

    def make_executor(names: str, config: Path = ssh_config, **options: object) -> SshExecutor:
        facts = {"cores": 1, "memory_gb": 4.0, "extra": ("-F", str(config)), **options}
        made.append(SshExecutor(SshOptions(names, **facts), tmp_path / "jobs", grace_s=1.0))  # type: ignore[arg-type]
        return made[-1]

    yield make_executor
    for executor in made:
        executor.close()
    for relay in (tmp_path / "relays").read_text().split() if (tmp_path / "relays").exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(relay), signal.SIGKILL)


def family(root: Path, number: int = 0, **changes: object) -> Job:
    script = FAMILY.format(root=root)
    return Job(f"s/{number:03}", ("sh", "-c", script), root, root / f"{number}.log", **changes)  # type: ignore[arg-type]


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def began(root: Path) -> list[str]:
    return (root / "began").read_text().split() if (root / "began").exists() else []


def sleeping(root: Path) -> list[str]:
    return [command for command in living(root).values() if command.startswith("sleep 30")]


def engine(root: Path, config: Path) -> subprocess.Popen[bytes]:
    """Start an engine with three jobs, on three hosts; return when all have begun."""
    text = ENGINE.format(root=str(root), config=str(config), script=FAMILY.format(root=root))
    process = subprocess.Popen([sys.executable, "-c", text], stderr=subprocess.PIPE, start_new_session=True)
    wait_for(lambda: len(sleeping(root)) == 9)
    return process


def test_killed_engine_ends_remote_jobs(ssh_config, tmp_path):
    process = engine(tmp_path, ssh_config)
    process.kill()
    process.communicate()
    wait_for(lambda: not living(tmp_path))
    assert len(began(tmp_path)) == 3  # each began once, none came to its end
    records = [path.read_text() for path in (tmp_path / "jobs").rglob("*.record")]
    assert len(records) == 3
    assert all('"exit_code": -15' in text and '"is_lost": true' in text for text in records)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_remote_jobs(ssh_config, tmp_path, number):
    process = engine(tmp_path, ssh_config)
    process.send_signal(number)
    _, said = process.communicate(timeout=LIMIT_S)
    assert sleeping(tmp_path) == []
    assert b"Interrupted" in said
    wait_for(lambda: not living(tmp_path))


def test_second_signal_skips_wait(make, tmp_path):
    executor = make("n1")
    executor.grace_s = 60.0
    executor.hosts[0]._grace_s = 60.0
    stubborn = Job("s/000", ("sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"), tmp_path, tmp_path / "log")
    timers = [threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGINT)) for delay_s in (3.0, 5.0)]

    def start(_: object) -> None:
        for timer in timers:
            timer.start()

    before = time.monotonic()
    with pytest.raises(Interrupted):
        executor.run([stubborn], on_start=start)
    assert time.monotonic() - before < 50
    assert [command for command in living(tmp_path).values() if "trap" in command and "agent" not in command] == []


@pytest.mark.parametrize("victim", ["connection", "agent"])
def test_lost_host_loses_its_jobs(make, tmp_path, victim):
    """Its job is lost, jobs bound to another host continue, and the host is used again."""
    executor = make("n[1-2]")
    quick = Job("s/001", ("sleep", "3"), tmp_path, tmp_path / "1.log", host="n2", at_host=True)
    late = Job("s/002", ("true",), tmp_path, tmp_path / "2.log", host="n1", at_host=True)

    def kill(start: object) -> None:
        if start.name != "s/000":
            return
        wait_for(lambda: len(sleeping(tmp_path)) == 3)
        process = executor.hosts[0]._process.pid  # ssh
        if victim == "agent":
            (mark,) = {path.read_text() for path in tmp_path.glob("jobs/s/000.*.claim0")}
            guard = int(mark.partition('"pid": ')[2].partition(",")[0])
            process = int(Path(f"/proc/{guard}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(process, signal.SIGKILL)

    lost, good, last = executor.run([family(tmp_path, host="n1", at_host=True), quick, late], on_start=kill)
    assert (lost.ok, lost.is_lost, good.ok, last.ok) == (False, True, True, True)
    assert "lost" in lost.reason()
    assert sleeping(tmp_path) == []
    assert len(began(tmp_path)) == 1


def relayed(config: Path, root: Path) -> Path:
    """Return a configuration whose connections go through a process that can be stopped."""
    (root / "relay.py").write_text(RELAY)
    port = config.read_text().partition("Port ")[2].split()[0]
    command = f"  ProxyCommand {sys.executable} {root}/relay.py {port} {root}/relays\n"
    own = root / "relayed_config"
    own.write_text(config.read_text() + command)
    return own


def test_silent_network_loses_jobs(make, ssh_config, tmp_path, monkeypatch):
    monkeypatch.setattr(hosts, "LIMIT_S", 3.0)
    monkeypatch.setattr(hosts, "SSH_OPTIONS", ("ServerAliveInterval=2", "ServerAliveCountMax=2"))
    monkeypatch.setattr(ssh_executor, "BEAT_S", 1.0)
    executor = make("n1", relayed(ssh_config, tmp_path))

    def stop(_: object) -> None:
        wait_for(lambda: len(sleeping(tmp_path)) == 3)
        os.kill(int((tmp_path / "relays").read_text().split()[0]), signal.SIGSTOP)

    (lost,) = executor.run([family(tmp_path)], on_start=stop)
    assert (lost.ok, lost.is_lost) == (False, True)
    assert sleeping(tmp_path) == []
    assert len(began(tmp_path)) == 1


def test_ending_run_reports_unreachable_jobs(make, ssh_config, tmp_path, monkeypatch):
    """The run reports possibly running jobs; these end by themselves, and the next run waits."""
    monkeypatch.setattr(hosts, "LIMIT_S", 6.0)
    monkeypatch.setattr(ssh_executor, "BEAT_S", 1.0)
    monkeypatch.setattr(ssh_executor, "ANSWER_S", 0.0)
    executor = make("n1", relayed(ssh_config, tmp_path))
    watches = []

    def stop(_: object) -> None:
        wait_for(lambda: len(sleeping(tmp_path)) == 3)
        os.kill(int((tmp_path / "relays").read_text().split()[0]), signal.SIGSTOP)
        watches.append(executor._watch)
        threading.Timer(3.0, lambda: watches[0].received.append(signal.SIGINT)).start()
        executor.cancel()

    with pytest.raises((PipelineError, Interrupted), match="1 jobs may still run on n1, which cannot be reached"):
        executor.run([family(tmp_path)], on_start=stop)
    assert len(sleeping(tmp_path)) == 3
    (result,) = make("n2").run([Job("s/000", ("true",), tmp_path, tmp_path / "l")])
    assert result.ok
    assert sleeping(tmp_path) == []
