"""Number of concurrent fields, and the share of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.cli.fields.runs import Share, share
from lofarpipe.config import Overrides, Settings, load_settings
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Resources
from lofarpipe.pipeline.load import Pipeline, load_pipeline

PARSET = """\
pipeline.steps = [outer]
outer.control.kind = loop
outer.control.type = loop
outer.control.loopcount = 1
outer.control.loopsteps = [clean]
clean.control.type = wsclean
clean.control.mapfile_in = some.mapfile
clean.control.inputkey = msin
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(site: Path, *assignments: str, remote: str = "method = local") -> tuple[Settings, Pipeline]:
    (site / "run.parset").write_text(PARSET)
    (site / "site.cfg").write_text(f"[DEFAULT]\nruntime_directory = .\nworking_directory = .\n[remote]\n{remote}\n")
    settings = load_settings(site / "run.parset", Overrides(config="site.cfg"))
    return settings, load_pipeline(site / "run.parset", settings, assignments)


def shared(site: Path, at_once: int | None, machine: Resources, *assignments: str, fields: int = 10) -> Share:
    settings, pipeline = loaded(site, *assignments)
    return share(settings, [pipeline] * fields, at_once, machine)


def test_small_machine_runs_single_field(site: Path) -> None:
    assert shared(site, None, Resources(15, 500.0)) == Share(1)
    assert shared(site, None, Resources(64, 31.0)) == Share(1)
    assert Share(1).arguments() == []


def test_large_machine_splits_cores_and_memory(site: Path) -> None:
    given = shared(site, None, Resources(40, 500.0))
    assert given == Share(5, 8, 100.0)
    assert given.arguments() == ["--cores", "8", "--memory-gb", "100.000"]
    assert shared(site, None, Resources(40, 50.0)) == Share(3, 13, 50.0 / 3)


def test_fields_limit_concurrency(site: Path) -> None:
    assert shared(site, None, Resources(40, 500.0), fields=2) == Share(2, 20, 250.0)
    assert shared(site, 9, Resources(40, 500.0), fields=2) == Share(2, 20, 250.0)


def test_largest_step_sets_share(site: Path) -> None:
    assert shared(site, None, Resources(40, 500.0), "clean.control.cores=20") == Share(2, 20, 250.0)
    assert shared(site, None, Resources(40, 500.0), "clean.control.memory_gb=150.5") == Share(3, 13, 500.0 / 3)


def test_requested_concurrency_overrides_share(site: Path) -> None:
    assert shared(site, 4, Resources(2, 8.0)) == Share(4, 1, 2.0)


def test_excess_concurrency_is_refused(site: Path) -> None:
    message = (
        "--at-once 3: a step of a field needs 4 cores and 10 GB, and there are 9 cores and 100.0 GB; at most 2 at the"
    )
    needs = ("clean.control.cores=4", "clean.control.memory_gb=10")
    with pytest.raises(PipelineError, match=message):
        shared(site, 3, Resources(9, 100.0), *needs)
    assert shared(site, 2, Resources(9, 100.0), *needs).at_once == 2
    assert shared(site, 1, Resources(2, 1.0), *needs).at_once == 1  # the field's own check says it


def test_invalid_number_is_ignored_by_share(site: Path) -> None:
    assert shared(site, None, Resources(40, 500.0), "clean.control.cores=many").at_once == 5


@pytest.mark.parametrize("step", ["clean.control.gpus=1", "clean.argument.idg-mode=hybrid"])
def test_gpu_fields_get_one_device_each(site: Path, step: str) -> None:
    assert shared(site, 4, Resources(40, 500.0, gpus=2), step).gpus == 1
    assert shared(site, 4, Resources(40, 500.0, gpus=0), step).gpus == 0
    assert shared(site, 4, Resources(40, 500.0, gpus=2)).gpus == 0


def test_site_limits_share(site: Path) -> None:
    settings, pipeline = loaded(site, remote="method = local\ncores = 16\nmemory_gb = 64")
    assert share(settings, [pipeline] * 3, None, Resources(100, 1000.0)) == Share(2, 8, 32.0)
    assert share(settings, [pipeline], None, Resources(100, 1000.0)).arguments() == (
        ["--cores", "16", "--memory-gb", "64.000"]
    )


def test_cluster_runs_all_fields_unshared(site: Path) -> None:
    settings, pipeline = loaded(site, remote="method = slurm")
    assert share(settings, [pipeline] * 30, None, Resources(1, 1.0)) == Share(30)
    assert share(settings, [pipeline] * 30, 4, Resources(1, 1.0)) == Share(4)


def test_hosts_without_queue_run_single_field(site: Path) -> None:
    settings, pipeline = loaded(site, remote="method = ssh")
    assert share(settings, [pipeline] * 30, None) == Share(1)
    assert share(settings, [pipeline] * 30, 4) == Share(4)


def test_share_measures_machine_by_default(site: Path) -> None:
    settings, pipeline = loaded(site)
    assert share(settings, [pipeline], None) == Share(1)
