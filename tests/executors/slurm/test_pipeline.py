"""Whole pipelines, by the command line, with method = slurm in pipeline.cfg."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from copy_pipeline import journalled
from slurm_cluster import Cluster, wait_for
from small_sets import SetShape, make_set

PARSET = """
pipeline.steps = [copy, double]
copy.control.type = executable_args
copy.control.executable = {here}/work.sh
copy.control.mapfile_in = {here}/in.mapfile
copy.control.inputkey = in
copy.control.outputkey = out
copy.control.arguments = [in, out]
copy.control.cores = 1
copy.control.memory_gb = 0.5
double.control.type = executable_args
double.control.executable = {here}/work.sh
double.control.mapfile_in = copy.output.mapfile
double.control.inputkey = in
double.control.outputkey = out
double.control.arguments = [in, out]
double.control.partition = short
double.control.on_data_host = True
"""
CONFIG = """
[DEFAULT]
runtime_directory = {here}
working_directory = {here}/work
[remote]
method = {method}
[slurm]
poll_s = 0.5
queue_poll_s = 1
vanished_s = 1
{more}
"""


AVERAGE = """
pipeline.steps = [look, average]
look.control.kind = plugin
look.control.type = look
look.control.ms = {here}/in.MS
average.control.type = dp3
average.control.mapfile_in = look.output.mapfile
average.control.inputkey = msin
average.control.outputkey = msout
average.control.cores = 1
average.control.memory_gb = 0.5
average.argument.steps = []
"""
LOOK = """
def plugin_main(args, **kwargs):
    import casacore.tables
    from lofarpipe.support.data_map import DataMap
    DataMap([("localhost", kwargs["ms"], False)]).save("look.mapfile")
    return {"mapfile": "look.mapfile"}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a pipeline of two steps, four jobs each."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work.sh").write_text("#!/bin/sh\n[ ! -e wait ] || sleep 60\ncat $1 >$2; echo $SLURMD_NODENAME >>$2\n")
    (tmp_path / "work.sh").chmod(0o755)
    entries = [{"host": "localhost", "file": str(tmp_path / f"{n}.txt"), "skip": False} for n in range(4)]
    for entry in entries:
        Path(str(entry["file"])).write_text("begin\n")
    (tmp_path / "in.mapfile").write_text(str(entries))
    (tmp_path / "run.parset").write_text(PARSET.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start(here: Path, *arguments: str, method: str = "slurm", more: str = "") -> subprocess.Popen[str]:
    (here / "pipeline.cfg").write_text(CONFIG.format(here=here, method=method, more=more))
    command = [sys.executable, "-m", "lofarpipe.cli", "run.parset", "-c", "pipeline.cfg", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.Popen(
        command, cwd=here, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run(here: Path, *arguments: str, method: str = "slurm", more: str = "") -> tuple[int, str]:
    process = start(here, *arguments, method=method, more=more)
    printed, _ = process.communicate(timeout=120)
    return process.returncode, printed


def events(here: Path, kind: str) -> list[dict[str, object]]:
    return journalled(here / "run", kind)


def test_check_finds_missing_partition(here: Path, slurm: Cluster) -> None:
    with (here / "run.parset").open("a") as parset:
        parset.write("double.control.partition = shrot\n")
    code, printed = run(here, "--check")
    assert code == 1
    assert "double.control.partition: partition 'shrot' of Slurm has no nodes; sinfo lists those that there" in printed


def test_pipeline_runs_on_slurm(slurm: Cluster, here: Path) -> None:
    status, printed = run(here)
    assert status == 0, printed
    assert "Slurm has no node localhost" in printed
    outputs = sorted((here / "work" / "run").glob("*.double"))
    assert [path.read_text().splitlines()[0] for path in outputs] == ["begin"] * 4
    assert {path.read_text().splitlines()[2] for path in outputs} == {"n1"}  # all that partition "short" has
    assert {event["node"] for event in events(here, "job_done")} <= {"n1", "n2"}
    assert len(events(here, "job_started")) == 8
    status, printed = run(here)
    assert status == 0
    assert len(events(here, "job_done")) == 8


def test_dp3_finds_tables_after_casacore_import(slurm: Cluster, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIPSPATH", "CASACORE_DATADIR", "EVERYBEAM_DATADIR", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    make_set(here / "in.MS", SetShape(nantennas=3, ntimes=2, nchan=1), with_data=True)
    (here / "plugins").mkdir()
    (here / "plugins" / "PipelineStep_look.py").write_text(LOOK)
    (here / "run.parset").write_text(AVERAGE.format(here=here))
    status, printed = run(here)
    assert status == 0, printed
    assert [path.name for path in (here / "work" / "run").glob("*/table.dat")] == ["table.dat"]


def test_killed_run_is_resumed(slurm: Cluster, here: Path) -> None:
    (here / "work" / "run").mkdir()
    (here / "work" / "run" / "wait").touch()
    process = start(here)
    wait_for(lambda: events(here, "job_started"), "a job")
    process.kill()
    process.communicate()
    assert slurm.running()
    (here / "work" / "run" / "wait").unlink()
    status, printed = run(here, "--forget", "copy", method="local")
    assert status == 0, printed
    status, printed = run(here, method="local")  # what is in the queue would write the same files
    assert status == 0, printed
    assert slurm.running() == []
    assert len(list((here / "work" / "run").glob("*.double"))) == 4


def test_interrupted_run_resumes(slurm: Cluster, here: Path) -> None:
    (here / "work" / "run").mkdir()
    (here / "work" / "run" / "wait").touch()
    process = start(here)
    wait_for(lambda: events(here, "job_started"), "a job")
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "interrupted by SIGTERM" in printed
    assert slurm.running() == []


@pytest.mark.parametrize("method", ["slurm", "local"])
def test_allocation_runs_pipeline(slurm: Cluster, here: Path, method: str) -> None:
    """The engine is itself a job: nothing of its own allocation goes to the jobs that it submits."""
    (here / "pipeline.cfg").write_text(CONFIG.format(here=here, method=method, more=""))
    script = (
        f"#!/bin/sh\ncd {here} || exit 1\nexport PYTHONPATH={Path(__file__).parents[3]}\n"
        f"{sys.executable} -m lofarpipe.cli run.parset -c pipeline.cfg >printed 2>&1\n"
        'echo "$? on $SLURMD_NODENAME" >ended.new && mv ended.new ended\n'
    )
    (here / "engine.sh").write_text(script)
    slurm.call("sbatch", "--ntasks=1", "--mem=500M", "--nodelist=n2", f"--output={here}/engine.out", "engine.sh")
    wait_for((here / "ended").exists, "the end of the run")
    printed = (here / "printed").read_text()
    assert (here / "ended").read_text() == "0 on n2\n", printed
    outputs = sorted((here / "work" / "run").glob("*.double"))
    nodes = {path.read_text().splitlines()[2] for path in outputs}
    assert (len(outputs), nodes) == (4, {"n1"} if method == "slurm" else {"n2"})  # n1: all that partition "short" has
    assert len(events(here, "job_done")) == 8


def test_check_finds_configuration_mistakes(slurm: Cluster, here: Path) -> None:
    status, printed = run(here, "--check", more="partiton = main\narray_limit = many\n")
    assert status == 1
    assert "pipeline.cfg:11: [slurm] has no key 'partiton'; did you mean 'partition'?" in printed
    assert "pipeline.cfg:12: array_limit is 'many'; an integer is needed" in printed
    status, printed = run(here, "--check", "-s", "copy.control.memory_gb=99", "-s", "double.control.memory_gb=99")
    assert status == 1
    assert "copy.control.memory_gb: is '99'; jobs have 4.19 at most" in printed
    assert "double.control.memory_gb: is '99'; the nodes of partition 'short' have 4.19 at most" in printed
    status, printed = run(here, "--check", method="cep_mpi")
    assert status == 1
    assert "method = cep_mpi of the original runner is not there any more; use ssh, or slurm" in printed
    status, printed = run(here, "--check")
    assert (status, printed.splitlines()[-1]) == (0, f"{here}/run.parset: 2 steps, nothing wrong")
