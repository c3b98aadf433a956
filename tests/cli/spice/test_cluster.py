"""Cluster files of Arrakis: names of Dask as sections of pipeline.cfg."""

import json
from pathlib import Path

import pytest

from lofarpipe.cli.spice.cluster import DEFAULT_FILE, Cluster, expanded_folder, read_cluster
from lofarpipe.cli.spice.table import spice_options
from lofarpipe.errors import UsageError

pytest.importorskip("yaml", reason="PyYAML is not installed")

LOCAL = """
cluster_class: "distributed.LocalCluster"
cluster_kwargs:
  cores: 16
  processes: 1
  name: "spice-worker"
  memory: "60GB"
adapt_kwargs:
  minimum: 1
  maximum: 4
"""
SLURM = """
cluster_class: "dask_jobqueue.SLURMCluster"
cluster_kwargs:
    cores: 36
    processes: 1
    name: 'spice-worker'
    memory: "128 GiB"
    account: 'OD-217087'
    queue: workq
    walltime: 1-00:00:00
    job_extra_directives: ['--qos express', '#SBATCH --export=NONE']
    interface: "ib0"
    log_directory: 'spice_logs'
    job_script_prologue: ['module load singularity', 'export X="a b"']
    local_directory: $LOCALDIR
    silence_logs: 'info'
adapt_kwargs:
    minimum: 1
    maximum: 38
    wait_count: 20
    target_duration: "300s"
    interval: "30s"
"""


def read(directory: Path, text: str) -> Cluster:
    path = directory / "cluster.yaml"
    path.write_text(text)
    return read_cluster(path)


def texts(cluster: Cluster) -> dict[str, dict[str, str]]:
    return {name: {key: one.text for key, one in keys.items()} for name, keys in cluster.sections.items()}


def test_local_cluster_uses_machine(tmp_path: Path) -> None:
    cluster = read(tmp_path, LOCAL)
    assert texts(cluster) == {"remote": {"method": "local"}}
    assert cluster.beams_at_once.text == "4"
    assert cluster.cores
    assert cluster.cores.text == "16"
    assert cluster.cores.where.endswith("cluster.yaml:4")
    assert cluster.memory_gb
    assert cluster.memory_gb.text == "60"
    assert cluster.notices == [f"{tmp_path}/cluster.yaml: without effect here: processes, minimum, name"]


def test_slurm_cluster_uses_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = read(tmp_path, SLURM)
    assert cluster.beams_at_once.text == "0"
    assert texts(cluster) == {
        "remote": {"method": "slurm"},
        "slurm": {
            "array_limit": "38",
            "name_prefix": "spice-worker",
            "account": "OD-217087",
            "partition": "workq",
            "walltime": "1-00:00:00",
            "extra": "--qos express --export=NONE",
            "prologue": 'module load singularity\nexport X="a b"',
        },
    }
    assert cluster.memory_gb
    assert cluster.memory_gb.text == "137.439"
    assert cluster.scratch
    assert cluster.scratch.text == "$LOCALDIR"
    assert cluster.log_directory
    assert expanded_folder(cluster.log_directory) == Path.cwd() / "spice_logs"
    assert "processes, interface, silence_logs, minimum, wait_count, target_duration" in cluster.notices[0]


def test_custom_cluster_class_is_imported(tmp_path: Path) -> None:
    pytest.importorskip("dask_jobqueue", reason="Dask is not installed")
    text = SLURM.replace("SLURMCluster", "PBSCluster").replace("maximum: 38", "maximum_jobs: 2")
    cluster = read(
        tmp_path, text.replace("silence_logs: 'info'", "death_timeout: 1.5\n    a_list: [1, x]\n    d: {e: 2}")
    )
    dask = texts(cluster)["dask"]
    assert (dask["launcher"], dask["cluster_class"]) == ("class", "dask_jobqueue.PBSCluster")
    assert (dask["nodes"], dask["cores"], dask["memory_gb"]) == ("2", "36", "137.439")
    arguments = json.loads(dask["cluster_kwargs"])
    assert arguments["cores"] == 36
    assert arguments["death_timeout"] == 1.5
    assert (arguments["a_list"], arguments["d"]) == ([1, "x"], {"e": 2})
    assert (arguments["walltime"], arguments["nanny"]) == ("1-00:00:00", False)


def test_packaged_file_works() -> None:
    cluster = read_cluster(DEFAULT_FILE)
    assert texts(cluster) == {"remote": {"method": "local"}}
    assert cluster.beams_at_once.text == spice_options()["beams_at_once"].default
    assert cluster.notices == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cluster_clas: a\n", "cluster.yaml:1: there is no key 'cluster_clas'; did you mean 'cluster_class'?"),
        ("cluster_kwargs:\n  core: 1\n", "cluster.yaml:2: cluster_kwargs has no key 'core'; did you mean 'cores'?"),
        ("cluster_kwargs: 5\n", "cluster.yaml:1: cluster_kwargs is '5'; keys below it are needed"),
        ("adapt_kwargs:\n  maxi: 1\n", "cluster.yaml:2: adapt_kwargs has no key 'maxi'"),
        ("cluster_kwargs:\n  cores: 0\n", "cluster.yaml:2: cores is '0'; an integer > 0 is needed"),
        ("cluster_kwargs:\n  cores: many\n", "cores is 'many'; an integer > 0 is needed"),
        ("cluster_kwargs:\n  memory: big\n", "memory is 'big'; a size is needed, such as 60GB"),
        ("cluster_kwargs:\n  walltime: soon\n", "walltime is 'soon'; a time is needed"),
        ("cluster_kwargs:\n  walltime: [1]\n", "walltime is [1]; a time is needed, such as 12:00:00"),
        ("cluster_kwargs:\n  account: [a]\n", "account is [a]; a text is needed"),
        ("cluster_kwargs:\n  job_extra_directives: [[a]]\n", "a list of texts is needed"),
        ('cluster_kwargs:\n  job_extra_directives: ["--a=\'"]\n', "No closing quotation"),
        ("cluster_class: nowhere.at.all.Cluster\n", "there is no module 'nowhere.at.all'; install it, or correct it"),
        ("cluster_class: Cluster\n", "there is no module ''"),
    ],
)
def test_mistake_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert problem in str(caught.value)
