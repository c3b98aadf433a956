"""A recorded run is run again, in a place of its own, and compared."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lofarpipe.archive import repeat
from lofarpipe.archive.repeat import load_record, main, repeated_config
from lofarpipe.cli import main as run_command_line
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Interrupted
from recorded import PARSET, make_field, record, run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory with a finished run."""
    monkeypatch.chdir(tmp_path)
    make_field(tmp_path)
    assert run("-s", "suffix=more") == 0
    return tmp_path


def change_record(here: Path, **facts: object) -> None:
    path = here / "field" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def test_repeated_run_is_the_same(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "field.parset").unlink()  # it is all in the record
    assert main(["field/run.json", "-q"]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == "2 products: 2 same"
    again = record(here / "field-repeat")
    assert (again["run"]["job"], again["run"]["state"]) == ("field-repeat", "done")
    assert {option["name"]: option["value"] for option in again["options"]}["suffix"] == "more"
    assert [entry["path"] for entry in again["inputs"]] == [f"{here}/in/one.txt", f"{here}/in/two.txt"]
    assert (here / "field-repeat" / "repeat" / "field.parset").is_file()


def test_repetition_works_from_another_directory(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("elsewhere", "run", "work"):
        (here / name).mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert main([str(here / "field"), "-q", "-j", "again", "-r", "../run", "-w", str(here / "work")]) == 0
    facts = record(here / "run" / "again")
    assert facts["run"]["working_directory"] == f"{here}/work/again"
    assert facts["command"]["directory"] == str(here)  # names in the parset are relative to it
    assert (here / "work" / "again" / "one.copy").read_text() == "one"


def test_missing_first_directory_falls_back_to_current(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "other").mkdir()
    facts = record(here / "field")
    change_record(here, command={**facts["command"], "directory": str(here / "gone")})
    text = (
        facts["parset"]["text"].replace("in/one.txt", f"{here}/in/one.txt").replace("in/two.txt", f"{here}/in/two.txt")
    )
    change_record(here, parset={**facts["parset"], "text": text})
    monkeypatch.chdir(here / "other")
    assert main([str(here / "field"), "-q"]) == 0
    assert record(here / "field-repeat")["command"]["directory"] == str(here / "other")


def test_differences_are_shown(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "field" / "one.copy").write_text("tampered")
    facts = record(here / "field")
    products = [{**entry, "checksum": {**entry["checksum"], "value": "0" * 64}} for entry in facts["products"]]
    change_record(here, products=products)
    assert main(["field", "-q", "-s", "suffix=other"]) == 1
    assert capfd.readouterr().out.splitlines() == [
        "differs       one.copy: 3 and 3 bytes",
        "same content  two.copy: but for where the runs were",
        "2 products: 1 same content, 1 differs",
    ]
    assert "echo other" in (here / "field-repeat" / "commands.txt").read_text()


def test_exactly_option_disables_tolerance(here: Path) -> None:
    (here / "field" / "one.copy").write_text("1.00001")
    facts = record(here / "field")
    products = [{**entry, "checksum": {**entry["checksum"], "value": "0" * 64}} for entry in facts["products"]]
    change_record(here, products=products)
    (here / "in" / "one.txt").write_text("1.0")
    assert main(["field", "-q", "--anyway", "-j", "second"]) == 0
    assert main(["field", "-q", "--anyway", "-j", "third", "--exactly"]) == 1


def test_changed_input_needs_anyway_option(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "in" / "one.txt").write_text("changed")
    with pytest.raises(
        PipelineError, match=r"1 of 2 inputs are not what they were: .*one.txt has 7 bytes instead of 3"
    ):
        main(["field", "-q"])
    assert not (here / "field-repeat" / "run.json").exists()
    assert main(["field", "-q", "--anyway"]) == 1
    assert "differs  one.copy: 3 and 7 bytes" in capfd.readouterr().out


def test_different_versions_are_reported(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    software = record(here / "field")["software"]
    change_record(here, software={**software, "packages": [{"name": "numpy", "version": "0.1"}]})
    assert main(["field", "-q"]) == 0
    assert "and was 0.1" in capfd.readouterr().err


def test_failed_repetition_returns_its_status(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["field", "-q", "-s", "copy.control.executable=/bin/false"]) == 1
    captured = capfd.readouterr()
    assert "2 of 2 jobs failed" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("none.json", None, r"none.json: no such record; name the run.json"),
        ("a.json", "{", r"a.json: not a record of a run"),
        ("b.json", '{"rms": 1}', r"b.json: not a record of a run"),
        ("c.json", '{"parset": {}, "run": {}, "schema_version": 7}', r"c.json: schema version 7; this version reads 1"),
    ],
)
def test_invalid_record_is_refused(tmp_path: Path, name: str, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(PipelineError, match=said):
        load_record(tmp_path / name)


def test_incomplete_parset_cannot_be_repeated(here: Path) -> None:
    change_record(here, parset={**record(here / "field")["parset"], "lost": ["a.parset:7: x.y"]})
    with pytest.raises(PipelineError, match=r"cannot be repeated: its record has not the values of a.parset:7: x.y"):
        main(["field", "-q"])


def test_run_is_not_repeated_onto_itself(here: Path) -> None:
    with pytest.raises(PipelineError, match=rf"{here}/field: that is the run to repeat; give another job name"):
        main(["field", "-q", "-j", "field"])
    config = record(here / "field")["configuration"]
    text = config["text"].replace("%(runtime_directory)s/%(job_name)s\n", f"{here}/field\n", 1)
    change_record(here, configuration={**config, "text": text})
    with pytest.raises(PipelineError, match="that is the run to repeat"):
        main(["field", "-q"])


def test_unusable_configuration_is_refused(here: Path) -> None:
    config = record(here / "field")["configuration"]
    change_record(here, configuration={**config, "text": "[layout]\njob_directory = %(nothing)s\n"})
    with pytest.raises(PipelineError, match="configuration of the first run cannot be used: job_directory refers to"):
        main(["field", "-q"])


def test_missing_directories_come_from_the_record(here: Path) -> None:
    config = record(here / "field")["configuration"]
    values = [one for one in config["values"] if one["section"] != "DEFAULT"]
    change_record(here, configuration={**config, "values": values})
    assert main(["field", "-q"]) == 0
    assert record(here / "field-repeat")["run"]["working_directory"] == f"{here}/field-repeat"


class _Ended:
    """A process during whose work a signal comes."""

    def __init__(self, *_: object, **__: object) -> None:
        self.calls: list[str] = []

    def wait(self) -> int:
        self.calls.append("wait")
        if self.calls == ["wait"]:
            signal.raise_signal(signal.SIGHUP)
        return 0

    def terminate(self) -> None:
        self.calls.append("terminate")


def test_interrupt_ends_repeated_run_first(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = SimpleNamespace(Popen=lambda *words, **more: started.append(_Ended()) or started[0])
    monkeypatch.setattr(repeat, "subprocess", start)
    before = signal.getsignal(signal.SIGHUP)
    with pytest.raises(Interrupted, match="SIGHUP"):
        main(["field", "-q"])
    assert started[0].calls == ["wait", "terminate", "wait"]
    assert signal.getsignal(signal.SIGHUP) == before


def test_unwritable_place_is_an_error(here: Path) -> None:
    (here / "file").touch()
    with pytest.raises(PipelineError, match=r"file/field-repeat/repeat: cannot be written: Not a directory"):
        main(["field", "-q", "-r", "file"])


DELIVERED = (
    PARSET.replace("[list, copy, show]", "[list, copy, one, show]")
    + """
! delivered = []    ## {list} where the first one goes
one.control.kind = plugin
one.control.type = copyFiles
one.control.hosts = [localhost]
one.control.input_file = in/one.txt
one.control.output_files = {{ delivered }}
one.control.mapfile_dir = input.output.mapfile_dir
one.control.filename = one.mapfile
"""
)


def test_delivered_products_are_not_overwritten(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (here / "field.parset").write_text(DELIVERED)
    assert run("-j", "blanks", "-s", "delivered=[out/of mine/1.txt, out/of mine/2.txt]") == 0
    with pytest.raises(PipelineError, match=r"out/of mine/1.txt: the first run delivered it"):
        main(["blanks", "-q"])
    assert run("-j", "second", "-s", "delivered=[out/first.txt]") == 0
    assert f"{here}/out/first.txt" in [entry["path"] for entry in record(here / "second")["products"]]
    with pytest.raises(PipelineError, match=r"out/first.txt: the first run delivered it, .* -s delivered=\.\.\."):
        main(["second", "-q"])
    assert main(["second", "-q", "-s", "delivered=[out/other.txt]"]) == 0
    assert capfd.readouterr().out == "3 products: 3 same\n"
    assert main(["second", "-q", "-j", "third", "-s", "delivered=[]"]) == 1
    assert f"missing  {here}/out/first.txt\n" in capfd.readouterr().out


def test_repetition_keeps_lenience_and_limits(here: Path) -> None:
    assert run("-j", "second", "--lenient", "--cores", "1") == 0
    assert main(["second", "-q"]) == 0
    overrides = record(here / "second-repeat")["command"]["overrides"]
    assert (overrides["lenient"], overrides["cores"]) == ("True", "1")


def test_configuration_includes_plugins_beside_parset(here: Path) -> None:
    (here / "plugins").mkdir()
    facts = record(here / "field")
    assert f"recipe_directories = [{here}]" in repeated_config(facts)
    text = facts["configuration"]["text"].replace("recipe_directories = []", "recipe_directories = [/site]")
    facts["configuration"]["text"] = text
    assert f"recipe_directories = [/site, {here}]" in repeated_config(facts)
    assert "%(cwd)s" not in repeated_config(facts)
    assert "%(job_name)s" in repeated_config(facts)


def test_signal_ends_the_repeated_run_too(here: Path) -> None:
    """The job writes a file when it begins; after SIGTERM the record of the repeated run says "interrupted"."""
    words = ["field", "-q", "-s", "show.control.executable=/bin/sh"]
    words += ["-s", "show.argument.flags=[-c, touch ../begun; sleep 300]"]
    process = subprocess.Popen([sys.executable, "-m", "lofarpipe.cli", "repeat", *words], cwd=here)
    deadline = time.monotonic() + 60
    while not (here / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    assert record(here / "field-repeat")["run"]["state"] == "interrupted"


def test_command_line_has_repeat(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["repeat", "none.json"]) == 1
    assert (
        capfd.readouterr().err
        == "genericpipeline.py: none.json: no such record; name the run.json of a job directory\n"
    )
