"""Output of Slurm's commands, and its interpretation."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from lofarpipe.executors.remote.queue import clean_environment
from lofarpipe.executors.slurm.client import (
    EndedJob,
    Node,
    SlurmBusy,
    SlurmClient,
    SlurmFull,
    SlurmRefused,
    parse_accounting,
    parse_gpus,
    parse_jobs,
    parse_max_array_size,
    parse_nodes,
    parse_queue,
)
from lofarpipe.jobs import Resources


def test_allocation_variables_are_removed() -> None:
    there = {"PATH": "/bin", "SLURM_CONF": "/c", "SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SBATCH_WAIT": "1"}
    there |= {"SBATCH_ACCOUNT": "lofar", "CUDA_VISIBLE_DEVICES": "3", "SRUN_DEBUG": "3", "OMP_NUM_THREADS": "2"}
    kept = {"PATH": "/bin", "SLURM_CONF": "/c", "SBATCH_ACCOUNT": "lofar", "OMP_NUM_THREADS": "2"}
    assert clean_environment(there) == kept


def test_queue_lists_tasks() -> None:
    answer = "12_0|RUNNING|None\n12_7|PENDING|(Nodes required for job are DOWN, DRAINED or reserved|x)\nnoise\n"
    assert parse_queue(answer) == {
        "12_0": ("RUNNING", "None"),
        "12_7": ("PENDING", "(Nodes required for job are DOWN, DRAINED or reserved|x)"),
    }


def test_scontrol_reports_ended_jobs() -> None:
    answer = (
        "JobId=13 ArrayJobId=12 ArrayTaskId=3 JobName=a b UserId=root(0) JobState=FAILED Reason=NonZeroExitCode "
        "ExitCode=0:9 NodeList=n1 BatchHost=n1\n"
        "JobId=12 ArrayJobId=12 ArrayTaskId=4-9%2 JobState=PENDING Reason=Resources ExitCode=0:0 NodeList=\n"
        "JobId=14 ArrayJobId=12 ArrayTaskId=1 JobState=CANCELLED Reason=None ExitCode=0:0 NodeList=(null)\n"
        "JobId=99 JobState=RUNNING\n"
    )
    assert parse_jobs(answer) == {
        "12_3": EndedJob("FAILED", 0, 9, "n1", "NonZeroExitCode"),
        "12_1": EndedJob("CANCELLED", 0, 0, "", "None"),
    }


def test_accounting_reports_ended_jobs() -> None:
    answer = "12_3|CANCELLED by 1000|0:15|n1|None\n12_4|OUT_OF_MEMORY|0:125|n2|\n12_5||||\nnoise|\n"
    assert parse_accounting(answer) == {
        "12_3": EndedJob("CANCELLED", 0, 15, "n1", "None"),
        "12_4": EndedJob("OUT_OF_MEMORY", 0, 125, "n2", ""),
        "12_5": EndedJob("", 0, 0, "", ""),
    }


@pytest.mark.parametrize(
    ("answer", "size"), [("MaxArraySize            = 1001\nX = 2\n", 1001), ("MaxArraySize = 0", 1), ("", 1)]
)
def test_configuration_gives_max_array_size(answer: str, size: int) -> None:
    assert parse_max_array_size(answer) == size


def test_sinfo_lists_nodes() -> None:
    answer = "n1|32|180000|gpu:a100:4(S:0-1)|normal*\nn2|64+|250000+|(null)|long\nnoise\n"
    first, second = parse_nodes(answer)
    # By hand: 180000 MiB = 180000 * 1048576 / 1e9 GB
    assert first == Node("n1", Resources(32, pytest.approx(188.74368), 4), True)
    assert second == Node("n2", Resources(64, pytest.approx(262.144), 0), False)


@pytest.mark.parametrize(
    ("gres", "count"),
    [
        ("(null)", 0),
        ("gpu", 1),
        ("gpu:2", 2),
        ("gpu:a100:4", 4),
        ("gpu:a100:4(S:0-1),shard:8", 4),
        ("nvme:1,gpu:v100:1,gpu:a100:2(IDX:0-1)", 3),
        ("lgpu:3", 0),
    ],
)
def test_gres_gives_gpu_count(gres: str, count: int) -> None:
    assert parse_gpus(gres) == count


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of stub commands; each test writes its own."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_submission_ignores_welcome_text(fake: Path) -> None:
    write(fake / "sbatch", 'echo "Welcome to the cluster"; echo "4711;blue"; [ "$1 $X" = "--parsable y" ]')
    assert SlurmClient().submit(["script.sh"], {"X": "y"}) == "4711"


def test_sbatch_refusals_are_classified(fake: Path) -> None:
    write(fake / "sbatch", 'echo "sbatch: error: Batch job submission failed: Invalid account" >&2; exit 1')
    with pytest.raises(SlurmRefused, match="sbatch exited with 1: .*Invalid account") as caught:  # noqa: RUF043
        SlurmClient().submit(["x"], {})
    assert not isinstance(caught.value, SlurmBusy)
    write(fake / "sbatch", 'echo "sbatch: error: Unable to contact slurm controller (connect failure)" >&2; exit 1')
    with pytest.raises(SlurmBusy):
        SlurmClient().submit(["x"], {})


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("QOSMaxSubmitJobPerUserLimit", SlurmFull),
        ("AssocGrpSubmitJobsLimit", SlurmFull),
        ("QOSMaxWallDurationPerJobLimit", SlurmRefused),
        ("QOSMinCpuNotSatisfied", SlurmRefused),
    ],
)
def test_site_limit_sets_error_class(fake: Path, reason: str, kind: type[SlurmRefused]) -> None:
    """The sentence is the same for all of them; a full queue empties, a long job stays long."""
    sentence = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    write(fake / "sbatch", f'echo "sbatch: error: {reason}" >&2; echo "failed: {sentence}" >&2; exit 1')
    with pytest.raises(SlurmRefused, match=reason) as caught:
        SlurmClient().submit(["x"], {})
    assert type(caught.value) is kind


def test_accounting_gives_submit_limit(fake: Path) -> None:
    write(
        fake / "sacctmgr",
        'case "$*" in *assoc*) echo "lofar|||"; echo "other|long|7|"; echo "tight||3|9";;'
        ' *) echo "normal|20||"; echo "long|10||400"; echo "short|5|6|";; esac',
    )
    write(
        fake / "scontrol", '[ "$*" = "show partition fast" ] && echo "PartitionName=fast QoS=short" || echo "QoS=N/A"'
    )
    client = SlurmClient()
    assert client.submit_limit("", "", []) == 10  # of the only default QOS; one of the associations has no limit
    assert client.submit_limit("fast", "", []) == 5
    assert client.submit_limit("", "tight", []) == 3
    assert client.submit_limit("", "lofar", ["--nice=3", "--qos=normal"]) == 20
    assert client.submit_limit("", "lofar", ["-q", "long"]) == 10
    assert SlurmClient({**os.environ, "SBATCH_QOS": "short"}).submit_limit("", "lofar", []) == 5
    write(fake / "sacctmgr", "echo 'sacctmgr: error: no accounting' >&2; exit 1")
    write(fake / "scontrol", "exit 1")
    assert client.submit_limit("fast", "", []) == 0


def test_own_job_is_not_counted(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(fake / "squeue", 'echo 12; echo "$MORE"')
    assert SlurmClient().has_jobs()
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert not SlurmClient().has_jobs()
    monkeypatch.setenv("MORE", "13")
    assert SlurmClient().has_jobs()


def test_silent_command_times_out(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lofarpipe.executors.slurm.client.TIMEOUT_S", 0.1)
    monkeypatch.setattr("lofarpipe.executors.slurm.client.CANCEL_TIMEOUT_S", 0.2)
    for command in ("squeue", "scancel"):
        write(fake / command, "exec sleep 60")
    with pytest.raises(SlurmBusy, match=r"squeue did not answer within 0\.1 s"):
        SlurmClient().queued(["1"])
    with pytest.raises(SlurmBusy, match=r"scancel did not answer within 0\.2 s"):
        SlurmClient().cancel(["1"])


def test_missing_slurm_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SlurmRefused, match="sinfo: no such program on PATH; run on a machine that submits to Slurm"):
        SlurmClient({"PATH": str(tmp_path)}).nodes()


def test_unconfigured_slurm_is_reported(fake: Path) -> None:
    write(fake / "sinfo", 'echo "sinfo: fatal: Could not establish a configuration source" >&2; exit 1')
    with pytest.raises(SlurmRefused, match='configuration source"; run on a machine that submits to Slurm, or set'):
        SlurmClient().nodes()


def test_accounting_finds_forgotten_jobs(fake: Path) -> None:
    write(fake / "squeue", 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    assert SlurmClient().queued(["12"]) == {}
    assert SlurmClient().queued([]) == {}
    write(fake / "scontrol", "exit 1")
    write(fake / "sacct", 'echo "12_0|TIMEOUT|0:15|n1|None"')
    assert SlurmClient().job_ends(["12"]) == {"12_0": EndedJob("TIMEOUT", 0, 15, "n1", "None")}
    write(fake / "sacct", 'echo "Slurm accounting storage is disabled" >&2; exit 1')
    assert SlurmClient().job_ends(["12"]) == {}
    write(fake / "scontrol", 'echo "Unable to contact slurm controller (connect failure)" >&2; exit 1')
    with pytest.raises(SlurmBusy):  # it may know more later
        SlurmClient().job_ends(["12"])
    write(fake / "squeue", 'echo "squeue: error: something else" >&2; exit 1')
    with pytest.raises(SlurmRefused, match="something else"):
        SlurmClient().queued(["12"])


def test_cancel_calls_scancel(fake: Path) -> None:
    write(fake / "scancel", f'echo "$@" >> {fake}/calls')
    client = SlurmClient()
    client.cancel([])
    client.cancel(["12_1", "12_0", "12_1"])
    client.cancel(["12"], force=True)
    assert (fake / "calls").read_text() == "12_0 12_1\n--signal=KILL --full 12\n"
