"""run.json of real runs, held by its schema."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import jsonschema
import pytest

from lofarpipe import __version__
from lofarpipe.archive import checksums
from lofarpipe.archive import record as run_record
from lofarpipe.archive.record import Command, as_text, read_run_record
from lofarpipe.cli import main
from recorded import PARSET, make_field, record, run

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "doc" / "run.schema.json").read_text())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with field.parset and in/."""
    monkeypatch.chdir(tmp_path)
    make_field(tmp_path)
    return tmp_path


def problems(facts: dict) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(facts)]


def names(entries: list[dict], here: Path) -> list[str]:
    return [os.path.relpath(entry["path"], here) for entry in entries]


def test_schema_rejects_wrong_records(here: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert run() == 0
    facts = record(here / "field")
    assert problems(facts) == []
    assert problems({**facts, "more": 1})
    assert problems({**facts, "schema_version": 2})
    del facts["run"]["state"]
    assert problems(facts) == ["['run']: 'state' is a required property"]


def test_finished_run_is_recorded(here: Path) -> None:
    assert run("-s", "suffix=more") == 0
    facts = record(here / "field")
    assert (facts["run"]["job"], facts["run"]["state"], facts["run"]["number"]) == ("field", "done", 1)
    assert facts["run"]["started"] <= facts["run"]["ended"]
    assert facts["command"]["set"] == ["files=[in/one.txt, in/two.txt]", "suffix=more"]
    assert facts["command"]["directory"] == str(here)
    assert names(facts["inputs"], here) == ["in/one.txt", "in/two.txt"]
    assert names(facts["products"], here) == ["field/one.copy", "field/two.copy"]
    assert facts["products"][0]["checksum"]["value"] == hashlib.sha256(b"one").hexdigest()
    assert [(step["name"], step["state"], step["jobs"]) for step in facts["steps"]] == [
        ("list", "done", 0),
        ("copy", "done", 2),
        ("show", "done", 2),
    ]
    assert [(job["name"], job["exit_code"]) for job in facts["jobs"]][:2] == [("copy/000", 0), ("copy/001", 0)]
    assert all(job["cpu_s"] >= 0 and job["duration_s"] > 0 for job in facts["jobs"])
    assert facts["software"]["runner"]["version"] == __version__
    assert {program["name"] for program in facts["software"]["programs"]} == {"cp", "echo"}
    assert (facts["quality"], facts["warnings"]) == (None, [])


def test_options_have_value_source_and_meaning(here: Path) -> None:
    assert run("-s", "suffix=more") == 0
    files, suffix = record(here / "field")["options"]
    assert suffix == {
        "name": "suffix",
        "value": "more",
        "is_default": False,
        "source": "command line",
        "meaning": "what is put behind the copies",
        "domain": "text",
    }
    assert files["is_default"] is False
    assert run("-j", "other") == 0
    suffix = record(here / "other")["options"][1]
    assert (suffix["value"], suffix["is_default"], suffix["source"]) == ("text", True, f"{here}/field.parset:2")


def test_failed_run_is_recorded(here: Path) -> None:
    (here / "field.parset").write_text(PARSET.replace("/bin/echo", "/bin/false"))
    assert run() == 1
    facts = record(here / "field")
    assert problems(facts) == []
    assert facts["run"]["state"] == "failed"
    assert "2 of 2 jobs failed" in facts["run"]["problem"]
    assert [step["state"] for step in facts["steps"]] == ["done", "done", "failed"]
    assert names(facts["products"], here) == ["field/one.copy", "field/two.copy"]
    assert {job["exit_code"] for job in facts["jobs"] if job["step"] == "show"} == {1}


def test_interrupted_run_is_recorded(here: Path) -> None:
    text = PARSET.replace("/bin/echo", "/bin/sh").replace("[{{ suffix }}, infile]", "[-c, kill -TERM $PPID; sleep 60]")
    (here / "field.parset").write_text(text)
    assert run() == 128 + 15
    facts = record(here / "field")
    assert problems(facts) == []
    assert (facts["run"]["state"], facts["run"]["signal"]) == ("interrupted", 15)
    assert facts["steps"][-1]["state"] == "interrupted"


def test_running_run_is_recorded(here: Path) -> None:
    text = PARSET.replace("/bin/echo", "/bin/cp").replace("[{{ suffix }}, infile]", "[field/run.json, seen.json]")
    (here / "field.parset").write_text(
        text.replace("field/run.json, seen.json", f"{here}/field/run.json, {here}/seen.json")
    )
    assert run() == 0
    facts = json.loads((here / "seen.json").read_text())
    assert problems(facts) == []
    assert (facts["run"]["state"], facts["products"]) == ("running", [])
    assert names(facts["inputs"], here) == ["in/one.txt", "in/two.txt"]
    assert [step["state"] for step in facts["steps"]] == ["waiting"] * 3


def test_resumed_run_reuses_checksums(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run() == 0
    before = record(here / "field")
    read = []
    real = checksums.checksum_of
    monkeypatch.setattr(checksums, "checksum_of", lambda path, method: read.append(path) or real(path, method))
    monkeypatch.setattr(checksums, "SMALL_BYTES", -1)  # a small one is read to see whether it has changed
    assert run() == 0
    after = record(here / "field")
    assert (after["inputs"], after["products"]) == (before["inputs"], before["products"])
    assert (after["run"]["number"], after["steps"][1]["state"]) == (1, "done")
    assert read == [str(here / "field.parset")]


def test_modified_input_keeps_its_first_checksum(here: Path) -> None:
    text = PARSET.replace("/bin/echo", "/bin/sh").replace(
        "[{{ suffix }}, infile]", "[-c, echo more >> in/one.txt, infile]"
    )
    (here / "field.parset").write_text(text.replace("in/one.txt", f"{here}/in/one.txt"))
    (here / "field.parset").write_text((here / "field.parset").read_text().replace("copy.output", "list.output"))
    assert run() == 0
    facts = record(here / "field")
    assert facts["inputs"][0]["checksum"]["value"] == hashlib.sha256(b"one").hexdigest()
    (product,) = [entry for entry in facts["products"] if entry["path"] == f"{here}/in/one.txt"]
    assert product["checksum"]["value"] == hashlib.sha256(b"onemore\nmore\n").hexdigest()


def test_record_includes_quality(here: Path) -> None:
    assert run() == 0
    (here / "field" / "quality.json").write_text('{"rms": {"value": 1.0}}')
    assert run() == 0
    assert record(here / "field")["quality"] == {"rms": {"value": 1.0}}


def test_non_finite_quality_becomes_null(here: Path) -> None:
    (here / "field").mkdir()
    (here / "field" / "quality.json").write_text('{"rms": {"value": NaN}, "peak": {"value": -Infinity}}')
    assert run() == 0
    assert record(here / "field")["quality"] == {"rms": {"value": None}, "peak": {"value": None}}


@pytest.mark.parametrize("earlier", ["[]", "{", '{"schema_version": 0, "inputs": 7}', '{"inputs": [{}]}'])
def test_earlier_record_of_another_kind_is_replaced(here: Path, earlier: str) -> None:
    (here / "field").mkdir()
    (here / "field" / "run.json").write_text(earlier)
    assert run() == 0
    assert names(record(here / "field")["inputs"], here) == ["in/one.txt", "in/two.txt"]


def test_unwritable_record_does_not_end_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "field" / "run.json").mkdir(parents=True)
    assert run() == 0
    said = capsys.readouterr().err
    assert said.count(f"warning: {here}/field/run.json: this run is not recorded: ") == 2


def test_unreadable_file_is_reported(here: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run_record, "describe_files", refuse)
    assert run() == 0
    assert "this run is not recorded: [Errno 13] Permission denied" in capsys.readouterr().err
    assert not (here / "field" / "run.json").exists()


def test_bad_limit_is_refused_before_jobs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = f"[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n[report]\nchecksum_limit_gb = much\n"
    (here / "pipeline.cfg").write_text(config)
    assert run() == 1
    assert "checksum_limit_gb is 'much'" in capsys.readouterr().err
    assert not (here / "field" / "one.copy").exists()


def test_refused_run_has_no_record(here: Path) -> None:
    assert main(["field.parset", "-q", "-s", "sufix=more"]) == 1
    assert not (here / "field" / "run.json").exists()


def test_record_shows_the_typed_command(here: Path) -> None:
    assert run("-j", "other", "-r", str(here), "--lenient") == 0
    facts = record(here / "other")
    assert facts["command"]["overrides"] == {"job_name": "other", "runtime_directory": str(here), "lenient": "True"}
    values = {value["key"]: value["source"] for value in facts["configuration"]["values"]}
    assert values["runtime_directory"] == "command line"
    assert Command("a", (), {}, here).directory == here


def test_record_has_a_line_per_item() -> None:
    rows = [{"a": '}, {"', "b": [1]}, {"a": "x", "b": []}]
    facts = {"rows": rows, "texts": ['"}, {"', "y"], "none": [], "one": {"c": [{"d": 1}, {"d": 2}]}}
    text = as_text(facts)
    assert json.loads(text) == facts
    assert text.splitlines()[1:5] == [
        ' "rows": [',
        '  {"a": "}, {\\"", "b": [1]},',
        '  {"a": "x", "b": []}',
        " ],",
    ]


def test_damaged_record_reads_as_default(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    assert read_run_record(tmp_path / "run.json", {}) == {}
    assert read_run_record(tmp_path / "none", None) is None


def test_stale_products_are_not_recorded(here: Path) -> None:
    assert run() == 0
    assert len(record(here / "field")["products"]) == 2
    (here / "field" / "quality.json").write_text('{"rms": {"value": 1.0}}')
    journal = here / "field" / "journal.jsonl"
    lines = journal.read_text().splitlines()
    done = next(place for place, line in enumerate(lines) if '"step_done"' in line and '"copy"' in line)
    event = json.loads(lines[done])
    event["written"][str(here / "field" / "quality.json")] = "1@2"
    journal.write_text("\n".join([*lines[:done], json.dumps(event), *lines[done + 1 :], ""]))
    assert run("-s", "pipeline.steps=[list]") == 0
    facts = record(here / "field")
    assert facts["quality"] is None
    assert not [entry for entry in facts["products"] if ".copy" in entry["path"]]
