"""From [remote] of pipeline.cfg to an executor."""

from __future__ import annotations

import configparser
import dataclasses
import os
from pathlib import Path

import pytest

from lofarpipe.config import Overrides, Settings, load_settings, shipped_config
from lofarpipe.errors import CheckFailed, PipelineError
from lofarpipe.executors.factory import (
    REMOTE_KEYS,
    end_earlier,
    make_executor,
    method_of,
    orders_directory,
    unread_parts,
    unused_sections,
)
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.executors.remote.lease import claim_order
from lofarpipe.executors.remote.order import read_order, write_order
from lofarpipe.executors.remote.queue import FORMS
from lofarpipe.executors.slurm.client import SlurmOptions
from lofarpipe.executors.slurm.executor import SlurmExecutor
from lofarpipe.executors.ssh.executor import SshExecutor
from lofarpipe.executors.ssh.options import SshOptions
from lofarpipe.jobs import Job
from lofarpipe.support.config_file import read_section
from lofarpipe.support.host_list import NEEDED


def settings(directory: Path, text: str, default: str = "", lenient: bool = False) -> Settings:
    config = directory / "pipeline.cfg"
    config.write_text(
        f"[DEFAULT]\nruntime_directory = {directory}\nworking_directory = {directory}\n{default}\n{text}\n"
    )
    return load_settings(directory / "run.parset", Overrides(config=str(config), lenient=lenient))


def test_local_executor_is_default(tmp_path: Path) -> None:
    for text in ("", "[remote]", "[remote]\nmethod =", "[remote]\nmethod = local"):
        given = settings(tmp_path, text)
        assert method_of(given) == "local"
        assert isinstance(make_executor(given), LocalExecutor)


def test_configuration_limits_machine(tmp_path: Path) -> None:
    capacity = make_executor(settings(tmp_path, "[remote]\ncores = 3\nmemory_gb = 1.5")).capacity()
    assert (capacity.cores, capacity.memory_gb) == (3, 1.5)


def test_slurm_section_sets_options(tmp_path: Path) -> None:
    given = settings(tmp_path, "[remote]\nmethod = slurm\n[slurm]\npartition = long\nextra = --exclusive")
    assert isinstance(make_executor(given), SlurmExecutor)  # nothing is asked of Slurm yet
    assert orders_directory(given) == tmp_path / "run" / "jobs"


def test_all_mistakes_are_reported_together(tmp_path: Path) -> None:
    given = settings(tmp_path, "[remote]\nmethod = slurm\ncoers = 2\n[slurm]\npartiton = a\nqueue_poll_s = never")
    with pytest.raises(CheckFailed) as caught:
        make_executor(given)
    where = given.config_file
    assert [str(finding) for finding in caught.value.findings] == [
        f"{where}:7: [remote] has no key 'coers'; did you mean 'cores'?",
        f"{where}:9: [slurm] has no key 'partiton'; did you mean 'partition'?",
        f"{where}:10: queue_poll_s is 'never'; a number is needed",
    ]


def test_mistakes_in_unused_sections_are_warnings(tmp_path: Path) -> None:
    text = "[slurm]\npartiton = a\nwalltime = 12h\n[dask]\nnods = 2\nnodes = 0\ncores = two"
    given = settings(tmp_path, f"[remote]\nmethod = local\n{text}")
    where = given.config_file
    assert [str(finding) for finding in unused_sections(given)] == [
        f"{where}:8: [slurm] has no key 'partiton'; did you mean 'partition'?; not in use while method = local",
        f"{where}:9: walltime is '12h'; {FORMS['slurm'][1]}; not in use while method = local",
        f"{where}:11: [dask] has no key 'nods'; did you mean 'nodes'?; not in use while method = local",
        f"{where}:13: cores is 'two'; an integer is needed; not in use while method = local",
    ]
    for method, number in (("slurm", 2), ("dask", 1), ("ssh", 3)):
        found = unused_sections(settings(tmp_path, f"[remote]\nmethod = {method}\n{text}", default="walltime = 12h"))
        assert {finding.what.partition("; not in")[2] for finding in found} == {f" use while method = {method}"}
        assert len(found) == number  # walltime comes from [DEFAULT]


def test_incomplete_unused_sections_are_accepted(tmp_path: Path, repository: Path) -> None:
    assert unused_sections(settings(tmp_path, "[slurm]\n[dask]\ncores = 0")) == []
    copy = tmp_path / "copy.cfg"  # read whole, which the shipped file itself is not
    copy.write_text((repository / "cfg" / "pipeline.cfg").read_text())
    assert unused_sections(load_settings(tmp_path / "x", Overrides(config=str(copy)))) == []
    assert unused_sections(load_settings(tmp_path / "y", Overrides(config=str(shipped_config())))) == []
    assert shipped_config() == repository / "cfg" / "pipeline.cfg"


def test_misspelt_section_names_nearest(tmp_path: Path) -> None:
    text = "[slrum]\npartition = a\n[remtoe]\n[cluster]\n"
    given = settings(tmp_path, text)
    with pytest.raises(CheckFailed) as caught:
        make_executor(given)
    assert [str(finding) for finding in caught.value.findings] == [
        f"{given.config_file}:5: [slrum]: there is no such section; did you mean [slurm]?",
        f"{given.config_file}:7: [remtoe]: there is no such section; did you mean [remote]?",
    ]
    assert isinstance(make_executor(settings(tmp_path, text, lenient=True)), LocalExecutor)


def test_allocation_of_machine_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "1")
    executor = make_executor(settings(tmp_path, ""))
    assert executor.capacity().memory_gb == pytest.approx(0.001048576)
    (notice,) = executor.notices
    assert notice.startswith("job 12 of Slurm has ")
    assert notice.endswith(" GB (SLURM_MEM_PER_NODE) of this machine; --cores and --memory-gb say otherwise")
    assert make_executor(settings(tmp_path, "[remote]\ncores = 1\nmemory_gb = 2")).notices == []


def test_default_section_keys_are_accepted(tmp_path: Path) -> None:
    given = settings(
        tmp_path, "[remote]\nmethod = slurm\n[slurm]\npartition = a", default="group = lofar\npartition = a"
    )
    assert isinstance(make_executor(given), SlurmExecutor)


def test_lenient_run_accepts_old_configuration(tmp_path: Path) -> None:
    text = "[remote]\nmethod = local\nstart_commands = x"
    assert isinstance(make_executor(settings(tmp_path, text, lenient=True)), LocalExecutor)
    with pytest.raises(CheckFailed, match=r"\[remote\] has no key 'start_commands'"):
        make_executor(settings(tmp_path, text))


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("slrum", "method is 'slrum'; did you mean 'slurm'?; one of local, dask, slurm, ssh is needed"),
        ("mpirun", "method = mpirun of the original runner is not there any more; use local, or slurm"),
        ("slurm_srun_cep3", "of the original runner is not there any more; use slurm (one of local, dask, slurm, ssh)"),
    ],
)
def test_unknown_method_is_refused(tmp_path: Path, method: str, expected: str) -> None:
    given = settings(tmp_path, f"[remote]\nmethod = {method}")
    with pytest.raises(CheckFailed) as caught:
        make_executor(given)
    assert expected in str(caught.value)
    assert f"{given.config_file}:6: " in str(caught.value)


def test_missing_dask_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(PipelineError, match=r"Dask is not installed.*pip install 'genericpipeline\[dask\]'"):
        make_executor(settings(tmp_path, "[remote]\nmethod = dask\n[dask]\nlauncher = local"))


def test_ssh_section_sets_options(tmp_path: Path) -> None:
    executor = make_executor(settings(tmp_path, "[remote]\nmethod = ssh\n[ssh]\nhosts = node[09-10], localhost"))
    assert isinstance(executor, SshExecutor)  # no host is connected yet
    assert [host.name for host in executor.hosts] == ["node09", "node10", "localhost"]


def test_ssh_section_mistakes_are_reported(tmp_path: Path) -> None:
    wrong = "hosts = node[1-\nenv_file = setup.sh\nenvironment = mine\nwalltime = 12h\nhost = a"
    given = settings(tmp_path, f"[remote]\nmethod = ssh\n[ssh]\n{wrong}")
    with pytest.raises(CheckFailed) as caught:
        make_executor(given)
    said = [str(finding).removeprefix(f"{given.config_file}:") for finding in caught.value.findings]
    assert said == [
        "12: [ssh] has no key 'host'; did you mean 'hosts'?",
        f"8: hosts is 'node[1-'; 'node[1-' has a bracket too many or too few; {NEEDED}",
        "10: environment is 'mine'; one of run, host is needed",
        "9: env_file is 'setup.sh'; a path that begins with / or ~/ is needed",
        f"11: walltime is '12h'; {FORMS['slurm'][1]}",
    ]


def test_dask_over_ssh_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as caught:
        make_executor(settings(tmp_path, "[remote]\nmethod = ssh\n[dask]\nhosts = node1 node2"))
    missing, meant = caught.value.findings
    assert missing.what == "hosts is not set, and has to be"
    assert meant.what.endswith("workers of Dask over ssh are method = dask, with launcher = ssh in [dask]")
    with pytest.raises(CheckFailed) as caught:
        make_executor(settings(tmp_path, "[remote]\nmethod = ssh"))
    assert [finding.what for finding in caught.value.findings] == ["hosts is not set, and has to be"]


def test_missing_ssh_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CheckFailed, match=r"hosts = n1: there is no ssh on PATH; install openssh-client"):
        make_executor(settings(tmp_path, "[remote]\nmethod = ssh\n[ssh]\nhosts = n1"))
    here = f"[remote]\nmethod = ssh\n[ssh]\nhosts = localhost,{os.uname().nodename}"
    assert [host.name for host in make_executor(settings(tmp_path, here)).hosts] == ["localhost"]


def earlier_order(given: Settings) -> Path:
    job = Job("step/000", ("true",), given.job_directory, given.job_directory / "log")
    return write_order(
        job, "x", orders_directory(given) / "step" / "000.x.json", beat_s=0.0, stale_s=0.0, grace_s=-2.0
    ).path


def test_earlier_jobs_end_before_local_jobs(tmp_path: Path) -> None:
    given = settings(tmp_path, "")
    end_earlier(given)
    path = earlier_order(given)
    claim_order(read_order(path))
    path.with_suffix(".claim0").write_text('{"torn')  # whose guard it was cannot be read; it will hear of it
    end_earlier(given)
    assert list(orders_directory(given).rglob("*.*")) == []


def test_silent_queue_keeps_earlier_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(tmp_path, "")
    arrays = orders_directory(given) / "slurm"
    arrays.mkdir(parents=True)
    (arrays / "abc.list").write_text("[]")
    (arrays / "abc.id").write_text('{"id": "12"}')
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        PipelineError, match=r"jobs of an earlier run may still be in Slurm's queue, see .*slurm: squeue"
    ):
        end_earlier(given)
    assert (arrays / "abc.list").exists()
    end_earlier(settings(tmp_path, "[remote]\nmethod = slurm"))  # that one asks by itself


def test_shipped_configuration_has_every_default(repository: Path) -> None:
    shipped = configparser.ConfigParser(interpolation=None)
    shipped.read(repository / "cfg" / "pipeline.cfg")
    own = {
        section: {key: text for key, text in shipped[section].items() if key not in shipped.defaults()}
        for section in shipped
    }
    assert list(own["remote"]) == list(REMOTE_KEYS)
    assert list(own["slurm"]) == [item.name for item in dataclasses.fields(SlurmOptions)]
    assert list(own["ssh"]) == [item.name for item in dataclasses.fields(SshOptions)]
    assert read_section(SlurmOptions, repository / "cfg" / "pipeline.cfg", "slurm", own["slurm"]) == (
        SlurmOptions(),
        [],
    )


def test_unread_sections_and_keys_are_found(tmp_path: Path) -> None:
    text = "[report]\nhtlm = True\n[mine]\nx = 1\n[cluster]\n[logging]\nkeep = 3\n"
    found = unread_parts(settings(tmp_path, text))
    assert [(section, key) for section, key, _ in found] == [("mine", ""), ("report", "htlm")]
    assert found[0][2].what.startswith("[mine]: there is no such section; the sections are dask, feedback, layout")
    assert found[1][2].what == "[report] has no key 'htlm'; did you mean 'html'?; its keys are html, checksum_limit_gb"
