"""Whole pipelines with ``method = dask``: the same parset, the same outputs, the same resume."""

from __future__ import annotations

from pathlib import Path

import pytest

from copy_pipeline import copy_step, journalled
from lofarpipe.cli import main

pytest.importorskip("distributed", reason="Dask is not installed")

STEPS = """\
pipeline.steps = [list, copy]
list.control.kind = plugin
list.control.type = createMapfile
list.control.method = mapfile_from_folder
list.control.folder = {data}
list.control.mapfile_dir = input.output.mapfile_dir
list.control.filename = list.mapfile
"""
PARSET = STEPS + copy_step(program="{program}")
PROGRAM = """\
#!/bin/sh
echo $1 >> {root}/starts
test -e {root}/broken && test "${{1##*/}}" = two && exit 3
cp "$1" "$2"
"""
CONFIG = """\
[DEFAULT]
runtime_directory = {root}
working_directory = {root}
recipe_directories = []
task_files = []
[layout]
job_directory = %(runtime_directory)s/%(job_name)s
[remote]
method = dask
[dask]
launcher = local
nodes = {nodes}
cores = 1
memory_gb = 2
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("one", "two", "three"):
        (tmp_path / "data" / name).write_text(f"{name}\n")
    program = tmp_path / "copy.sh"
    program.write_text(PROGRAM.format(root=tmp_path))
    program.chmod(0o755)
    (tmp_path / "p.parset").write_text(PARSET.format(data=tmp_path / "data", program=program))
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(root=tmp_path, nodes=2))
    return tmp_path


def run(site: Path, *more: str) -> int:
    return main([str(site / "p.parset"), "-c", str(site / "pipeline.cfg"), *more])


def starts(site: Path) -> list[str]:
    return sorted(Path(line).name for line in (site / "starts").read_text().split())


def test_failed_run_resumes_at_failed_job(site, capsys):
    (site / "broken").touch()
    assert run(site) == 1
    assert "exited with 3" in capsys.readouterr().err
    assert starts(site) == ["one", "three", "two"]
    (site / "broken").unlink()
    assert run(site) == 0
    assert starts(site) == ["one", "three", "two", "two"]  # the others stayed done
    assert sorted(path.read_text() for path in (site / "p").glob("*.copy")) == ["one\n", "three\n", "two\n"]
    assert {event["node"] for event in journalled(site / "p", "job_done")} != {""}
    assert not list((site / "p" / "jobs").rglob("*.record"))  # what was taken is not kept


def test_wrong_section_is_refused_before_run(site, capsys):
    (site / "pipeline.cfg").write_text(CONFIG.format(root=site, nodes="two") + "cors = 3\nmemory_gb = 0\n")
    assert run(site) == 1
    told = capsys.readouterr().err
    assert "nodes is 'two'; an integer is needed" in told
    assert "[dask] has no key 'cors'; did you mean 'cores'?" in told
    assert not (site / "starts").exists()
