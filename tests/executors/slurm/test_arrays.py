"""Requests to sbatch."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lofarpipe.executors.slurm.arrays import (
    Request,
    SlurmQueue,
    grouped,
    node_of,
    request_of,
    sbatch_arguments,
    script_text,
)
from lofarpipe.executors.slurm.client import SlurmOptions
from lofarpipe.jobs import Job, Resources

JOB = Job("step/000", ("true",), Path("/w"), Path("/l"))
NODE = Resources(32, 200.0, 4)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (1, 0, 0)),
        ({"cores": 4, "memory_gb": 2.0, "gpus": 1}, (4, 1907, 1)),  # by hand: 2e9 / 1048576 = 1907.3 MiB
        ({"cores": 64}, (32, 0, 0)),  # it runs alone
        ({"cores": 4, "max_per_node": 3}, (11, 0, 0)),  # 32 / 3, rounded up: two more would not fit
        ({"cores": 20, "max_per_node": 3}, (20, 0, 0)),
        ({"memory_gb": 1e-6}, (1, 1, 0)),
    ],
)
def test_job_resources_become_request(changes: dict[str, object], expected: tuple[int, int, int]) -> None:
    request = request_of(replace(JOB, **changes), NODE, [], SlurmOptions())  # type: ignore[arg-type]
    assert (request.cores, request.memory_mib, request.gpus) == expected


def test_site_without_memory_requests_none() -> None:
    assert request_of(replace(JOB, memory_gb=2.0), NODE, [], SlurmOptions(request_memory=False)).memory_mib == 0


def test_hosts_become_node_list() -> None:
    wanted = replace(JOB, host="n2.example.org", at_host=True)
    assert node_of(wanted, ["n1", "n2"]) == "n2"
    assert node_of(wanted, ["n1", "n2.example.org", "n2"]) == "n2.example.org"
    assert node_of(wanted, ["n1"]) == ""
    assert node_of(replace(wanted, at_host=False), ["n2"]) == ""


def test_groups_keep_order_and_limit() -> None:
    small, large = Request(1, 0, 0, "", ()), Request(8, 0, 0, "", ())
    assert grouped([small, large, small, small, large], 2) == [(small, [0, 2]), (small, [3]), (large, [1, 4])]
    assert grouped([], 2) == []


def test_request_becomes_sbatch_arguments() -> None:
    request = Request(4, 1907, 2, "n1", (("options", "--qos='a b' --exclusive"), ("walltime", "5")))
    options = SlurmOptions(partition="p", account="a", walltime="9", extra=("--constraint=x",), gres="gpu:a100")
    stem = Path("/jobs/slurm/50%/abc")
    assert sbatch_arguments(request, options, "step.abc", 10, 3, stem) == [
        "--job-name=step.abc",
        "--array=0-9%3",
        "--nodes=1",
        "--ntasks=1",
        "--cpus-per-task=4",
        "--mem=1907M",
        "--gres=gpu:a100:2",
        "--nodelist=n1",
        "--partition=p",
        "--account=a",
        "--time=5",
        "--no-requeue",
        "--export=ALL",
        "--open-mode=append",
        "--chdir=/jobs/slurm/50%",
        "--output=/jobs/slurm/50%%/abc.%a.out",
        "--constraint=x",
        "--qos=a b",
        "--exclusive",
        "/jobs/slurm/50%/abc.sh",
    ]


def test_site_lines_precede_guard() -> None:
    text = script_text(Path("/x/a.list"), {"X": "1"}, "module load x\nY=$X")
    assert text.startswith("#!/usr/bin/env bash\nexport X=1\nmodule load x\nY=$X\nexec ")


def test_site_prefix_begins_job_names() -> None:
    order, stem = Path("/jobs/step/000.json"), Path("/jobs/slurm/abc")
    client: Any = None
    for prefix, name in (("", "step.abc"), ("spice", "spice.step.abc")):
        queue = SlurmQueue(stem.parent, SlurmOptions(name_prefix=prefix), client)
        assert queue._name(order, stem) == name


def test_plain_job_has_minimal_arguments() -> None:
    words = sbatch_arguments(Request(1, 0, 0, "", ()), SlurmOptions(), "s.a", 1, 0, Path("/x/a"))
    named = {word.partition("=")[0] for word in words}
    assert not named & {"--mem", "--gres", "--nodelist", "--partition", "--account", "--time"}
    assert "--array=0-0" in words


def test_script_executes_guard(tmp_path: Path) -> None:
    script = tmp_path / "a.sh"
    script.write_text(script_text(tmp_path / "it's.list", {"PATH": "/a b:/c", "X": "'"}))
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert lines[-1].startswith(f"exec {sys.executable} -P -m lofarpipe.executors.remote.guard ")
    shown = subprocess.run(
        ["sh", "-c", script.read_text().replace("exec ", "echo ") + 'echo "$X $PATH"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines() == [
        f"{sys.executable} -P -m lofarpipe.executors.remote.guard {tmp_path}/it's.list",
        "' /a b:/c",
    ]
