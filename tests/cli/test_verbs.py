"""The verbs in front of a parset, their output for tools, and the template of a field."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from copy_pipeline import CONFIG, OF_ALL_KINDS, copy_step, journalled, list_step
from lofarpipe import __version__, cli
from lofarpipe.cli import main
from lofarpipe.cli.arguments import VERBS, read_command_line

BASE = """\
# The base.
# ---- for the archive
! owner = nobody    ## {text} who owns it
# ---- the files
! files = [in/a.txt]    ## {list} files
! sign = '#'    ## {text} a sign
! marks = "a = b"    ## {text} text with marks
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("a\n")
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    steps = "pipeline.steps = [list, copy]\n" + list_step("{{ files }}") + copy_step()
    (tmp_path / "run.parset").write_text(BASE + steps)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the output of a successful command."""
    assert main(words) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "flags"), [("check", ["--check"]), ("options", ["--options"]), ("list", ["--list"]), ("plan", ["-n"])]
)
def test_verb_stands_for_its_flag(site: Path, capsys: pytest.CaptureFixture[str], verb: str, flags: list[str]) -> None:
    site_words = ["run.parset", "-c", "pipeline.cfg"]
    assert printed(capsys, verb, *site_words) == printed(capsys, *flags, *site_words)
    assert not (site / "run").exists()


def test_run_is_default_verb(site: Path) -> None:
    assert main(["run", "run.parset", "-c", "pipeline.cfg"]) == 0
    assert (site / "run" / "a.copy").is_file()
    assert main(["run.parset", "-c", "pipeline.cfg"]) == 0
    assert len(journalled(site / "run", "job_started")) == 1


def test_verb_excludes_further_flags(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_command_line(["check", "run.parset", "--list"])
    assert "argument --check: not allowed with argument --list" in capsys.readouterr().err


@pytest.mark.parametrize("verb", VERBS)
def test_verb_needs_parset(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb]) == 1
    assert "no parset was given" in capsys.readouterr().err


def test_verb_help_omits_foreign_options(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["check", "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith("usage: genericpipeline.py check")
    assert "--json" in shown
    assert "--forget" not in shown


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in [*VERBS, *cli.arguments.COMMANDS])


def test_verb_applies_to_front_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "img.toml").write_text("[wsclean]\nsize = 64\nscale = '1arcmin'\n")
    words = ["imgpipe", str(tmp_path / "img.toml"), str(tmp_path / "a.MS")]
    assert main([*words, "--check"]) == 1
    before = capsys.readouterr().err
    assert main(["check", *words]) == 1
    assert capsys.readouterr().err == before


def test_package_runs_as_command() -> None:
    command = [sys.executable, "-m", "lofarpipe", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1] == __version__


# ---- for tools


def test_options_are_printed_as_json(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(printed(capsys, "options", "run.parset", "-s", "owner=me", "--json"))
    assert [one["name"] for one in shown] == ["files", "sign", "marks", "owner"]
    assert shown[-1] == {
        "name": "owner",
        "value": "me",
        "is_default": False,
        "source": "command line",
        "meaning": "who owns it",
        "domain": "text",
        "heading": "for the archive",
    }


def test_check_is_printed_as_json(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(printed(capsys, "check", "run.parset", "--json"))
    assert (shown["ok"], shown["steps"], shown["findings"]) == (True, 2, [])
    assert main(["check", "run.parset", "--json", "-s", "copy.control.max_per_nod=2"]) == 1
    shown = json.loads(capsys.readouterr().out)
    assert not shown["ok"]
    assert shown["findings"][0]["where"] == "command line: copy.control.max_per_nod"
    assert main(["check", "nowhere.parset", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["where"] == "nowhere.parset"


def test_steps_are_printed_as_json(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["list", "run.parset", "-c", "pipeline.cfg", "--json"]
    assert json.loads(printed(capsys, *words))[1] == {"step": "copy", "state": "not done"}
    assert main(["run", "run.parset", "-c", "pipeline.cfg", "-q"]) == 0
    capsys.readouterr()
    copied = json.loads(printed(capsys, *words))[1]
    assert (copied["state"], copied["jobs"], copied["failed"]) == ("done", 1, 0)
    assert copied["time_s"] > 1.6e9


def test_plan_is_printed_as_json(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "run.parset", "-c", "pipeline.cfg", "--json"]
    shown = json.loads(printed(capsys, *words))
    (job,) = shown["jobs"]
    assert job["argv"] == ["/bin/cp", f"{site}/in/a.txt", f"{site}/run/a.copy"]
    assert (job["name"], job["step"], job["is_done"], shown["plan"]) == ("copy/000", "copy", False, None)
    assert main(["run", "run.parset", "-c", "pipeline.cfg", "-q"]) == 0
    (site / "run" / "plan.json").write_text('{"summary": ["One file."]}')
    capsys.readouterr()
    shown = json.loads(printed(capsys, *words))
    assert [job["is_done"] for job in shown["jobs"]] == [True]
    assert shown["plan"] == {"summary": ["One file."]}
    assert printed(capsys, *words[:-1]).startswith("# One file.\n")
    assert "One file" not in printed(capsys, "-n", *words[1:-1])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "run.parset", "--json"], "--json: it is for --options, --check"),
        (["options", "run.parset", "--json", "--fields", "a.csv"], "--json: not with --fields"),
        (["options", "run.parset", "--template", "--fields", "a.csv"], "--template: not with --fields"),
    ],
)
def test_senseless_flags_are_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert f"argument {said}" in capsys.readouterr().err


def test_wrong_option_hides_its_consequences(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (site / "run.parset").read_text()
    text += "! at_once = 1    ## {integer >= 0} jobs at a time\ncopy.control.max_per_node = {{ at_once }}\n"
    (site / "run.parset").write_text(text)
    assert main(["check", "run.parset", "-s", "at_once=-1"]) == 1
    said = capsys.readouterr().err
    assert "command line: at_once is '-1'; an integer >= 0 is needed\n1 problem found" in said


# ---- the table and the template


def test_options_are_grouped_with_archive_last(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "options", "run.parset").splitlines()
    assert [line for line in shown if line.startswith("----")] == ["---- the files", "---- for the archive"]
    assert shown[shown.index("---- for the archive") + 1] == "owner = nobody"


def test_image_options_end_with_archive(capsys: pytest.CaptureFixture[str]) -> None:
    shown = json.loads(printed(capsys, "options", "image.parset", "--json"))
    (first,) = {place for place, one in enumerate(shown) if one["name"] == "images_metadata_file"}
    assert {one["heading"] for one in shown[first:]} == {"for the archive"}
    assert shown[0]["name"] == "data_input_filenames"


def test_template_runs_unchanged(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = ["-s", "owner=me", "-s", "copy.control.max_per_node=1"]
    text = printed(capsys, "options", "--template", "run.parset", *sets)
    assert "\n! owner = me" in text
    assert "\ncopy.control.max_per_node = 1\n" in text
    (site / "field.parset").write_text(text)
    assert main(["run", "field.parset", "-c", "pipeline.cfg"]) == 0
    assert (site / "field" / "a.copy").is_file()


def test_fully_enabled_template_changes_nothing(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {one["name"]: one["value"] for one in json.loads(printed(capsys, "options", "run.parset", "--json"))}
    text = printed(capsys, "run.parset", "--template").replace("\n#!", "\n!")
    assert text.count("\n!") == len(before)
    (site / "field.parset").write_text(text)
    after = json.loads(printed(capsys, "options", "field.parset", "--json"))
    assert {one["name"]: one["value"] for one in after} == before


def test_template_names_present_sets(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.MS", "b.ms"):
        (site / name).mkdir()
    text = printed(capsys, "options", "--template", "image.parset")
    assert f"\n! data_input_filenames = [{site}/*.MS, {site}/*.ms]" in text
    assert "\npipeline.base = image.parset\n" in text


def test_template_of_wrong_parset_is_refused(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "run.parset").write_text(OF_ALL_KINDS.format(here=site) + "copy.contrl.x = 1\n")
    assert main(["options", "--template", "run.parset"]) == 1
    assert "copy.contrl" in capsys.readouterr().err


def test_options_of_missing_parset_have_no_headings() -> None:
    from lofarpipe.pipeline.options import Option, headings

    option = Option("a", "1", "text", "meaning", "/nowhere", 1, documented=("/nowhere", 1))
    assert headings([option]) == [("", [option])]
