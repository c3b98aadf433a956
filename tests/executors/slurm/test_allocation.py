"""The allocation of a job of a real Slurm, seen by a run inside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slurm_cluster import Cluster

ASK = """\
import os
from lofarpipe.executors.local.resources import allocation
from lofarpipe.executors.local.resources import detect_resources, engine_resources
found, there, given = allocation(os.environ), detect_resources(), engine_resources()[0]
print(found.cores.number, found.memory.number, given.cores <= min(there.cores, found.cores.number),
    given.memory_gb <= min(there.memory_gb, found.memory.number))
"""


@pytest.mark.parametrize(
    ("options", "step", "expected"),
    [
        (["--ntasks=1", "--mem=500M"], "", ["1 0.524288 True True"]),  # 500 * 1048576 bytes
        (["--ntasks=2", "--nodes=1", "--mem-per-cpu=250M"], "", ["2 0.524288 True True"]),
        (["--ntasks=2", "--nodes=1", "--mem=500M"], "srun ", ["1 0.262144 True True"] * 2),  # each has its part
    ],
)
def test_jobs_and_steps_report_allocation(
    slurm: Cluster, tmp_path: Path, options: list[str], step: str, expected: list[str]
) -> None:
    (tmp_path / "ask.py").write_text(ASK)
    (tmp_path / "job.sh").write_text(
        f"#!/bin/sh\nexport PYTHONPATH={Path(__file__).parents[3]}\n{step}{sys.executable} {tmp_path}/ask.py\n"
    )
    slurm.call("sbatch", "--wait", *options, f"--output={tmp_path}/printed", str(tmp_path / "job.sh"))
    assert (tmp_path / "printed").read_text().splitlines() == expected
