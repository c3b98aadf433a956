"""The index of a table of fields, the commands of [notify], and the status of several runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from copy_pipeline import copy_step, list_step
from lofarpipe.cli import main
from lofarpipe.cli.fields.index import FieldsIndex, fields_of, indexed_fields, outcome_facts
from lofarpipe.cli.status import main as status
from lofarpipe.errors import PipelineError

PARSET = "! files = [none.txt]   ## {list} copied\npipeline.steps = [list, copy]\n"
PARSET += list_step("{{ files }}") + copy_step()
CONFIG = """\
[DEFAULT]
runtime_directory = {here}
working_directory = {here}
[notify]
on_end = /bin/sh -c "cat > end.json"
on_failure = /bin/sh -c "cat > failure.json"
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A table of a field that can be made and one that cannot, which was run quietly, and the exit status."""
    here = tmp_path_factory.mktemp("fields")
    (here / "a.txt").write_text("a")
    (here / "pipeline.cfg").write_text(CONFIG.format(here=here))
    (here / "run.parset").write_text(PARSET)
    (here / "fields.csv").write_text("field,files\ngood,[a.txt]\nbad,[nowhere.txt]\n")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(here)
        return here, main(["run.parset", "--fields", "fields.csv", "--at-once", "1", "-q"])


def test_index_describes_each_field(ended: tuple[Path, int]) -> None:
    here, code = ended
    assert code == 1
    good, bad = indexed_fields(here)
    assert (good["field"], good["state"], good["job_directory"]) == ("good", "done", f"{here}/good")
    assert bad["state"] == "failed"
    assert bad["problem"].startswith("step 'copy': 1 of 1 jobs failed: copy/000")
    page = (here / "fields.html").read_text()
    assert "<h1>2 fields</h1>" in page
    assert '<a href="good/report.html">good</a>' in page


def test_table_notifies_failures_and_end(ended: tuple[Path, int]) -> None:
    here, _ = ended
    told = json.loads((here / "failure.json").read_text())  # the last: that of the table
    assert (told["event"], told["text"]) == ("failure", "fields.csv: 1 done, 1 failed")
    assert [one["state"] for one in told["fields"]] == ["done", "failed"]
    assert not (here / "end.json").exists(), "no field tells of its own end"


def test_status_shows_table_and_directories(
    ended: tuple[Path, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here, _ = ended
    monkeypatch.chdir(here)
    assert status(["fields.csv"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in lines[1:3]] == [
        ["good", "done", "2", "of", "2"],
        ["bad", "failed", "1", "of", "2"],
    ]
    assert lines[3] == "1 done, 1 failed"
    assert status(["good", "nowhere", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["run"], row["state"]) for row in rows] == [("good", "done"), ("nowhere", "waiting")]
    assert fields_of(here / "fields.json") == fields_of(here / "fields.csv")
    with pytest.raises(PipelineError, match=r"run\.json: is no index of fields; name fields\.json, a table"):
        fields_of(here / "good" / "run.json")


def test_quiet_table_names_failures_on_standard_error(
    ended: tuple[Path, int], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    here, _ = ended
    monkeypatch.chdir(here)
    assert main(["run.parset", "--fields", "fields.csv", "--at-once", "2", "-q"]) == 1
    told = capfd.readouterr()
    assert told.out == ""
    assert "bad: failed after" in told.err
    assert "copy/000" in told.err


def test_index_keeps_existing_fields_of_former_tables(tmp_path: Path) -> None:
    index = FieldsIndex(tmp_path, print)
    (tmp_path / "old").mkdir()
    common = {"state": "done", "took_s": 1.0}
    index.update([{"field": name, "job_directory": f"{tmp_path}/{name}", **common} for name in ("old", "gone")], True)
    index.update([{"field": "<new>", "job_directory": f"{tmp_path}/new", **common, "noise_ratio": 1.25}], True)
    assert [one["field"] for one in indexed_fields(tmp_path)] == ["old", "<new>"]
    assert "&lt;new&gt;" in (tmp_path / "fields.html").read_text()
    index.update([], False)
    assert len(indexed_fields(tmp_path)) == 2, "it was written a moment ago"


def test_unwritable_index_is_reported(tmp_path: Path) -> None:
    told: list[str] = []
    FieldsIndex(tmp_path / "nowhere", told.append).update([], at_once=True)
    assert told == [f"{tmp_path}/nowhere/fields.json: cannot be written: No such file or directory"]


def test_thumbnail_uses_picture_beside_image(tmp_path: Path) -> None:
    Image.new("RGB", (400, 200)).save(tmp_path / "a.png")
    (tmp_path / "run.json").write_text(json.dumps({"quality": {"image": f"{tmp_path}/a.fits"}}))
    picture = outcome_facts(tmp_path)["picture"]
    with Image.open(picture) as opened:
        assert opened.size == (160, 80)
    (tmp_path / "a.png").write_text("no picture")
    assert outcome_facts(tmp_path)["picture"] is None
