"""genericpipeline.py clean: removed files of a finished run, which stays done."""

import json

import pytest

from copy_pipeline import CONFIG, journalled, list_step
from lofarpipe.cli import main
from lofarpipe.cli.status import main as status

COPY = """\
import shutil

OUTPUTS = ("copy",)


def main(infile, outfile):
    return {"copy": shutil.copyfile(infile, outfile)}
"""
STEPS = """\
pipeline.steps = [list, first, second]
first.control.type = pythonplugin
first.control.executable = copy.py
first.control.mapfile_in = list.output.mapfile
first.control.inputkey = infile
first.control.outputkey = outfile
first.control.intermediate = *
first.argument.flags = [infile, outfile]
second.control.type = pythonplugin
second.control.executable = copy.py
second.control.mapfile_in = first.output.mapfile
second.control.inputkey = infile
second.control.outputkey = outfile
second.control.byproducts = */*.second
second.argument.flags = [infile, outfile]
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """A finished run with an intermediate file and a by-product."""
    (tmp_path / "my/scripts").mkdir(parents=True)
    (tmp_path / "my/scripts/copy.py").write_text(COPY)
    (tmp_path / "a.txt").write_text("1\n2\n")
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "two.parset").write_text(STEPS + list_step(f"[{tmp_path}/a.txt]"))
    monkeypatch.chdir(tmp_path)
    assert main(["two.parset", "-c", "pipeline.cfg", "-q"]) == 0
    return tmp_path / "two"


def test_clean_keeps_run_done(job, capsys):
    assert main(["clean", "--dry-run", str(job)]) == 0
    assert f"4 B  {job}/a.first\n{job}: 1 file (4 B) would be removed" in capsys.readouterr().out
    assert (job / "a.first").is_file()
    assert main(["clean", str(job)]) == 0
    assert capsys.readouterr().out == f"{job}: 1 file (4 B) removed\n"
    assert not (job / "a.first").exists()
    assert (job / "a.second").is_file()
    record = json.loads((job / "run.json").read_text())
    assert record["removed"] == [{"path": f"{job}/a.first", "bytes": 4}]
    assert [entry["path"] for entry in record["products"]] == [f"{job}/a.second"]
    assert "removed, for no later step needs them" in (job / "report.html").read_text()
    assert status([str(job)]) == 0
    assert "removed: 1 file (4 B), made again if needed" in capsys.readouterr().out
    started = len(journalled(job, "job_started"))
    assert main(["two.parset", "-c", "pipeline.cfg", "-q"]) == 0
    assert len(journalled(job, "job_started")) == started


def test_clean_images_removes_byproducts(job, capsys):
    assert main(["clean", "--keep", "images", str(job), str(job)]) == 0
    assert capsys.readouterr().out == f"{job}: 2 files (8 B) removed\n{job}: 0 files (0 B) removed\n"
    (job.parent / "a.txt").write_text("another\n")
    assert main(["two.parset", "-c", "pipeline.cfg", "-q"]) == 0
    assert (job / "a.second").read_text() == "another\n"
    assert status([str(job)]) == 0
    assert "removed" not in capsys.readouterr().out, "both are there again"


def test_clean_refuses_unfinished_run(job, tmp_path, capsys):
    (tmp_path / "a.txt").unlink()
    (tmp_path / "a.txt").mkdir()
    assert main(["two.parset", "-c", "pipeline.cfg", "-q"]) == 1
    capsys.readouterr()
    assert main(["clean", str(tmp_path / "nowhere"), str(job)]) == 1
    told = capsys.readouterr().err
    assert f"{tmp_path}/nowhere: there is no journal.jsonl; name the job directory of a run" in told
    assert f"{job}: the run is failed, and needs its files to go on; finish it first" in told


def test_clean_needs_declared_intermediates(job, capsys):
    lines = (job.parent / "two.parset").read_text().splitlines(keepends=True)
    kept = [line for line in lines if "intermediate" not in line and "byproducts" not in line]
    (job.parent / "two.parset").write_text("".join(kept))
    assert main(["two.parset", "-c", "pipeline.cfg", "-q"]) == 0
    assert main(["clean", str(job)]) == 1
    assert "does not say which of its files are intermediate" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["status"], ["clean", "--dry-run"], ["report"], ["crate", "-o", "packed.zip"]])
def test_parset_stands_for_its_job_directory(job, capsys, words):
    assert main([*words, "two.parset", "-c", "pipeline.cfg"]) == 0
    assert capsys.readouterr().out


def test_status_of_several_accepts_parsets(job, capsys):
    assert main(["status", "two.parset", str(job), "-c", "pipeline.cfg"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:3]] == [
        ["two.parset", "done"],
        [str(job), "done"],
    ]
