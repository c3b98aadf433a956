"""A Slurm of this machine alone, for the tests that need one: started once per session, ended after it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lofarpipe.executors.slurm.client import SlurmClient

SCRIPT = Path(__file__).with_name("start_slurm.sh")
LIMIT_S = 60.0
NO_PACKAGES = 3


class Cluster:
    """Two nodes, n1 and n2, with two cores, 4000 MiB and one graphics card each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {**os.environ, "SLURM_CONF": str(directory / "slurm.conf")}
        self.client = SlurmClient(self.environment)

    def call(self, *command: str) -> str:
        """Run one of Slurm's commands; return its output."""
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True).stdout

    def script(self, action: str, *arguments: str) -> None:
        """Kill or start a node's daemon."""
        subprocess.run([SCRIPT, action, self.directory, *arguments], check=True, env=self.environment)

    def running(self) -> list[str]:
        """Return the tasks that are in the queue."""
        return self.call("squeue", "-h", "-r", "-o", "%i").split()


def wait_for(condition: Callable[[], object], what: str = "") -> None:
    """Wait until something is so; fail after a time that no healthy machine needs."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what or condition}"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Cluster]:
    """The cluster; skips where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("a Slurm for tests needs root")
    if not shutil.which("slurmctld") and not shutil.which("apt-get"):
        pytest.skip("there is neither Slurm nor apt-get to install it")
    directory = Path(tempfile.mkdtemp(prefix="slurm-test.", dir="/run"))
    started = subprocess.run([SCRIPT, "start", directory, str(os.getpid())], capture_output=True, text=True)
    if started.returncode != 0:
        subprocess.run([SCRIPT, "stop", directory], check=False)
        if started.returncode == NO_PACKAGES:
            pytest.skip(f"Slurm's packages could not be installed: {started.stderr[-500:]}")
        pytest.fail(f"Slurm could not be started: {started.stderr[-2000:]}")
    yield Cluster(directory)
    subprocess.run([SCRIPT, "stop", directory], check=True)


@pytest.fixture
def slurm(slurm_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """The cluster, with nothing in its queue and all nodes up."""
    monkeypatch.setenv("SLURM_CONF", slurm_cluster.environment["SLURM_CONF"])
    yield slurm_cluster
    left = slurm_cluster.running()
    if left:
        slurm_cluster.call("scancel", *left)
        wait_for(lambda: not slurm_cluster.running(), "an empty queue")
