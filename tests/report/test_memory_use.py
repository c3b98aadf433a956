"""The memory that running jobs have."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lofarpipe.report.live import memory_in_use_gb
from lofarpipe.state.run_state import JobState
from lofarpipe.support.processes import boot_id

HERE = {"boot": boot_id()}
# A shell whose child uses 50 MB, and prints a line.
HOLDING = "import time; held = b'x' * 50_000_000; print('ready', flush=True); time.sleep(600)"


@pytest.fixture
def holding():
    """A process with a child that has 50 MB."""
    script = [f'{sys.executable} -c "{HOLDING}"; true']
    with subprocess.Popen(["sh", "-c", *script], stdout=subprocess.PIPE, text=True, start_new_session=True) as shell:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "ready\n"
        yield shell.pid
        os.killpg(shell.pid, 9)


def job(pid: int, node: str = os.uname().nodename) -> JobState:
    return JobState("a/000", node=node, pid=pid)


def test_memory_includes_descendants(holding: int) -> None:
    in_use_gb = memory_in_use_gb([job(holding)], HERE)
    assert in_use_gb is not None
    assert 0.05 < in_use_gb < 0.5
    assert memory_in_use_gb([job(holding), job(holding)], HERE) == pytest.approx(2 * in_use_gb, rel=0.1)


def test_ended_job_uses_no_memory() -> None:
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert memory_in_use_gb([job(ended.pid)], HERE) == 0.0


@pytest.mark.parametrize(
    ("running", "facts"),
    [([], HERE), ([job(1, "elsewhere")], HERE), ([job(0)], HERE), ([job(1)], {}), ([job(1)], {"boot": "before"})],
)
def test_memory_of_remote_jobs_is_unknown(running: list[JobState], facts: dict[str, str]) -> None:
    assert memory_in_use_gb(running, facts) is None
