"""Many fields from one command: checks, runs, ends and reports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from copy_pipeline import copy_step, journalled, list_step
from living import living
from lofarpipe.cli import main
from lofarpipe.cli.fields.index import outcome_facts, rms_text
from lofarpipe.cli.fields.runs import _named_outputs, failure_line, short_path
from lofarpipe.jobs import NOTE, JobResult
from lofarpipe.pipeline.steps import Step

STEPS = """\
! files = [none.txt]   ## {list} what is copied
! mode = fast          ## {fast | slow} how
! seconds = 0          ## {integer >= 0} how long it takes
pipeline.steps = [list, wait, copy]
wait.control.type = executable_args
wait.control.executable = /bin/sleep
wait.control.mapfile_in = list.output.mapfile
wait.control.inputkey = infile
wait.control.skip_infile = True
wait.argument.flags = [{{ seconds }}]
"""
PARSET = STEPS + list_step("{{ files }}") + copy_step()
CONFIG = "[DEFAULT]\nruntime_directory = {here}/jobs\nworking_directory = {here}/work\n"
LIMIT_S = 60.0


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("jobs", "work"):
        (tmp_path / name).mkdir()
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(name)
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "run.parset").write_text(PARSET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(site: Path, *rows: str, header: str = "field,files,seconds") -> None:
    (site / "fields.csv").write_text("\n".join([header, *rows, ""]))


def run(*more: str) -> int:
    return main(["run.parset", "--fields", "fields.csv", *more])


def rows(text: str) -> dict[str, list[str]]:
    """Return the columns of the table at the end, by field."""
    lines = text.splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.startswith("field ")]
    return {cells[0]: cells[1:] for cells in (re.split(r" {2,}", line) for line in lines[first + 1 :])}


# ---- running


def test_every_field_is_separate_job(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table(site, "one,[a.txt],0", 'two,"[a.txt, b.txt]",0')
    assert run("--at-once", "2") == 0
    shown_text = capfd.readouterr().out
    assert {name: cells[0] for name, cells in rows(shown_text).items()} == {"one": "done", "two": "done"}
    assert rows(shown_text)["one"][-1] == "jobs/one"
    assert re.search(r"^\d\d:\d\d:\d\d one: started; log: jobs/one/logs/.*/field.log$", shown_text, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d two: done in ", shown_text, re.MULTILINE)
    assert (site / "work/one/a.copy").read_text() == "a"
    assert (site / "work/two/b.copy").read_text() == "b"
    assert not (site / "jobs/run").exists()
    (log,) = (site / "jobs/two/logs").glob("*/field.log")
    assert "copy: done in" in log.read_text()


def test_fields_share_machine(site: Path) -> None:
    table(site, "one,[a.txt],0", "two,[b.txt],0")
    assert run("--at-once", "2", "--cores", "6", "--memory-gb", "8", "-q") == 0
    (log,) = (site / "jobs/two/logs").glob("*/field.log")
    assert "--cores 3 --memory-gb 4.000" in log.read_text()


def test_failing_field_does_not_stop_siblings(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table(site, "bad,[nowhere.txt],0", "good,[a.txt],0")
    assert run("--at-once", "1") == 1
    found = rows(capfd.readouterr().out)
    assert found["good"][0] == "done"
    assert found["bad"][0] == "failed"
    assert found["bad"][-1].startswith("step 'copy': 1 of 1 jobs failed: copy/000")
    log = found["bad"][-1].rpartition("log: ")[2]
    assert "nowhere.txt" in (site / log).read_text()


def test_same_command_resumes_each_field(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table(site, "bad,[nowhere.txt],0", "good,[a.txt],0")
    assert run() == 1
    (site / "nowhere.txt").write_text("found")
    capfd.readouterr()
    assert run() == 0
    assert [cells[0] for cells in rows(capfd.readouterr().out).values()] == ["done", "done"]
    assert (site / "work/bad/nowhere.copy").read_text() == "found"
    assert [event["step"] for event in journalled(site / "jobs/good", "step_started")] == ["wait", "copy"]


def test_common_options_reach_every_field(site: Path) -> None:
    table(site, "one,[a.txt]", "two,[b.txt]", header="field,files")
    (site / "pipeline.cfg").rename(site / "site.cfg")
    more = ["-c", "site.cfg", "-s", "copy.control.environment={KEY: value}", "-v", "-r", "work", "-w", "jobs"]
    assert run(*more) == 0
    assert "KEY=value" in (site / "work/two/logs/copy/000.log").read_text()
    (log,) = (site / "work/two/logs").glob("*/field.log")
    assert "copy/000 (" in log.read_text()  # each job is shown: -v


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_runs_end_in_order(site: Path, number: signal.Signals, status: int) -> None:
    table(site, "one,[a.txt],600", "two,[b.txt],600", "three,[b.txt],600")
    command = [sys.executable, "-P", "-m", "lofarpipe.cli", "run.parset", "--fields", "fields.csv", "--at-once", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: sum("sleep 600" in command for command in living(site).values()) == 2)
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == status
    assert f"interrupted by {number.name}" in err
    assert [rows(out)[name][0] for name in ("one", "two", "three")] == ["interrupted", "interrupted", "not started"]
    wait_for(lambda: not living(site))
    for field in ("one", "two"):  # each had the time to say how it ended
        assert journalled(site / "jobs" / field)[-1]["event"] == "run_ended"


def wait_for(condition) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_fields_end_with_killed_engine(site: Path) -> None:
    table(site, "one,[a.txt],600")
    command = [sys.executable, "-P", "-m", "lofarpipe.cli", "run.parset", "--fields", "fields.csv"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for(lambda: any("sleep 600" in command for command in living(site).values()))
    process.kill()
    process.wait()
    wait_for(lambda: not living(site))


# ---- checks


def findings(capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    assert run(*more) == 1
    return capsys.readouterr().err.removeprefix("genericpipeline.py: ").splitlines()


def test_table_mistakes_are_found_before_run(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(site, "one,slow,1", "two,slw,2", "two,fast,x,7", header="field,mode,secnds")
    assert findings(capsys) == [
        "fields.csv:1: no option is called 'secnds'; did you mean 'seconds'?",
        "fields.csv:3: mode is 'slw'; one of fast, slow is needed; did you mean 'slow'?",
        'fields.csv:4: 4 cells below 3 columns; put a value that holds commas between quotes: "[a.MS, b.MS]"',
        "fields.csv:4: field 'two' occurs twice, first in fields.csv:3",
        "4 problems found; nothing was run",
    ]
    assert list((site / "jobs").iterdir()) == []


def test_mistakes_of_all_files_come_together(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (site / "pipeline.cfg").open("a") as config:
        config.write("[remote]\nmax_per_node = many\n")
    table(
        site,
        "one,fast,1,2",
        "one,slw,2,",
        "b/c,fast,3,4",
        ",fast,x,",
        header="field,mode,seconds,cpy.control.max_per_node",
    )
    more = ["-s", "files=[a", "--check"]
    no_step = "cpy.control.max_per_node: there is no step 'cpy'; did you mean 'copy'?"
    assert findings(capsys, *more) == [
        f"{site}/pipeline.cfg:5: max_per_node is 'many'; an integer is needed, 0 for no limit",
        "fields.csv:3: field 'one' occurs twice, first in fields.csv:2",
        "fields.csv:3: mode is 'slw'; one of fast, slow is needed; did you mean 'slow'?",
        "fields.csv:4: field is 'b/c'; letters, digits, _ . + - are allowed, at most 100, the first a letter or digit",
        "fields.csv:5: column 'field' is empty; it names the field's job and directory",
        "fields.csv:5: seconds is 'x'; an integer >= 0 is needed",
        "command line: files is '[a'; a list is needed, such as [a, b]; a bracket is missing",
        f"fields.csv:2: field 'one': command line: {no_step}",
        f"fields.csv:4: field 'b/c': command line: {no_step}",
        "9 problems found; nothing was run",
    ]
    assert findings(capsys, *more[:2])[-1] == "9 problems found; nothing was run"


def test_unreadable_table_keeps_further_findings(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "fields.csv").write_text('field,x\na,"1\n')
    found = findings(capsys, "-s", "mode=x", "--cores", "-1")
    assert [line.partition(";")[0] for line in found] == [
        "command line: --cores is -1",
        "fields.csv:2: a quote is not closed, or has text behind it",
        "command line: mode is 'x'",
        "3 problems found",
    ]
    (site / "run.parset").write_text("x = 1\n")
    found = findings(capsys, "--cores", "-1")
    assert [line.partition(";")[0] for line in found] == [
        "fields.csv:2: a quote is not closed, or has text behind it",
        "command line: --cores is -1",
        f"{site}/run.parset: No pipeline steps defined: there is no key pipeline.steps",
        "3 problems found",
    ]


def test_common_warnings_are_shown_once(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (site / "run.parset").open("a") as parset:
        parset.write("zap.control.type = executable_args\n")
    with (site / "pipeline.cfg").open("a") as config:
        config.write("[slurm]\npartiton = x\n")
    table(site, "one,[a.txt],0", "two,[b.txt],0")
    assert run("--check") == 0
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in said] == ["warning"] * 2
    assert "zap" in said[0]
    assert said[1].endswith("[slurm] has no key 'partiton'; did you mean 'partition'?; not in use while method = local")


def test_check_warning_names_field(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "plugins").mkdir()
    check = "def check(options, site):\n    return ['WARNING: seconds: is 9'] if options['seconds'] == '9' else []\n"
    (site / "plugins" / "PipelineCheck_quick.py").write_text(check)
    with (site / "run.parset").open("a") as parset:
        parset.write("pipeline.check = [quick]\n")
    table(site, "one,[a.txt],0", "two,[b.txt],9")
    assert run("--check") == 0
    shown_text = capsys.readouterr()
    assert shown_text.err == "warning: fields.csv:3: field 'two': seconds: is 9\n"
    assert shown_text.out == "fields.csv: 2 fields, 3 steps each, nothing wrong\n"


def test_any_key_may_be_column(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(site, "one,1", "two,", header="field,copy.control.max_per_node")
    assert run("--check") == 0
    assert capsys.readouterr().out == "fields.csv: 2 fields, 3 steps each, nothing wrong\n"


def test_field_finding_names_its_place(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(site, "one,1", "two,", header="field,cpy.control.max_per_node")
    (line, _) = findings(capsys)
    assert line.startswith("fields.csv:2: field 'one': ")
    assert "cpy" in line


def test_pipeline_finding_is_reported_once(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(site, "one,[a.txt],0", "two,[b.txt],0")
    assert findings(capsys, "-s", "mode=x") == [
        "command line: mode is 'x'; one of fast, slow is needed",
        "1 problem found; nothing was run",
    ]


def test_check_covers_every_field(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(site, "one,nowhere.exe", "two,/bin/cp", "three,elsewhere.exe", header="field,copy.control.executable")
    found = findings(capsys, "--check")
    assert [line.partition(": ")[0] for line in found[:-1]] == ["fields.csv:2", "fields.csv:4"]
    assert "field 'three': " in found[1]
    assert "elsewhere.exe" in found[1]


def test_shared_directory_is_refused(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (site / "pipeline.cfg").open("a") as config:
        config.write(f"[layout]\njob_directory = {site}/jobs/all\n")
    table(site, "one,[a.txt],0", "two,[b.txt],0")
    assert findings(capsys)[0] == (
        f"{site}/pipeline.cfg: [layout] job_directory: is {site}/jobs/all for several fields; "
        "each needs its own: use %(job_name)s in it"
    )


DELIVER = """\
! delivered = []      ## {list} where the copies go
deliver.control.kind = plugin
deliver.control.type = copyFiles
deliver.control.hosts = [localhost]
deliver.control.input_file = copy.output.mapfile
deliver.control.output_files = {{ delivered }}
deliver.control.mapfile_dir = input.output.mapfile_dir
deliver.control.filename = deliver.mapfile
"""


def test_fields_with_same_output_are_refused(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "run.parset").write_text(PARSET.replace("wait, copy]", "wait, copy, deliver]") + DELIVER)
    header = "field,files,delivered"
    table(site, "one,[a.txt],[out/x]", f'two,[b.txt],"[out/y, {site}/out/x]"', "three,[a.txt],[]", header=header)
    for more in ([], ["--check"]):
        assert findings(capsys, *more) == [
            f"fields.csv:3: field 'two': deliver.control.output_files: {site}/out/x is written by field 'one' too; "
            "give each field a name of its own",
            "1 problem found; nothing was run",
        ]
    table(site, "one,[a.txt],[out/x]", "two,[b.txt],input.output.job_directory/x", header=header)
    assert run("--check") == 0
    table(site, "one,[a.txt],input.output.job_directory/x", "two,[b.txt],input.output.job_directory/x", header=header)
    assert run("--check") == 0


@pytest.mark.parametrize(
    ("task", "key"),
    [({"program": "wsclean"}, "name"), ({"program": "dp3"}, "msout"), ({"outputkey": "msout"}, "msout"), ({}, "")],
)
def test_program_outputs_are_compared(task: dict[str, str], key: str) -> None:
    arguments = {"name": "/x/image", "msout": "/x/image"}
    one, two = (Step(name, name, "recipe", "t", {"sip_file": "none"}, arguments, task) for name in ("a", "b"))
    assert _named_outputs([one, two]) == ({"/x/image": f"b.argument.{key}"} if key else {})


def test_map_words_are_not_files() -> None:
    task = {"program": "wsclean"}
    step = Step("a", "a", "recipe", "t", {"inputkeys": "[root, msfile]"}, {"name": "root"}, task)
    assert _named_outputs([step]) == {}


def test_impossible_directory_is_found_before_run(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(site, "one,[a.txt],0", "two,[b.txt],0")
    (site / "jobs/two").write_text("in the way")
    assert findings(capsys)[0].startswith(f"{site}/jobs/two/logs/")
    assert not (site / "jobs/one/journal.jsonl").exists()


def test_lenient_run_continues(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table(site, "one,[a.txt],0")
    assert run("--lenient", "-s", "mode=x") == 0
    assert rows(capfd.readouterr().out)["one"][0] == "done"


def test_unreadable_table_hides_its_consequences(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "fields.csv").write_text("field;files\na;[a.txt]\n")
    (site / "plugins").mkdir()
    (site / "plugins/PipelineCheck_files.py").write_text(NEEDS_FILES)
    (site / "run.parset").write_text(PARSET + "pipeline.check = [files]\n")
    assert len(findings(capsys, "--check", "-s", "mode=x")) == 3  # the table, the mode, and their number


NEEDS_FILES = """\
def check(options, site):
    return [] if "a.txt" in options["files"] else ["files: none"]
"""


# ---- further verbs


def test_verbs_apply_to_each_field(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(site, "one,[a.txt],0", "two,[b.txt],3")
    assert run("--options") == 0
    shown_text = capsys.readouterr().out
    assert re.findall(r"^# field .*|^seconds = .*", shown_text, re.MULTILINE) == [
        "# field one",
        "seconds = 0",
        "# field two",
        "seconds = 3",
    ]
    assert run("-n") == 0
    assert "# field two\n# list: plugin addListMapfile" in capsys.readouterr().out
    assert run("--list") == 0
    assert capsys.readouterr().out.count("not done") == 4
    assert list((site / "jobs").iterdir()) == []


def test_error_names_its_field(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(site, "one,[a.txt],0")
    assert findings(capsys, "--forget", "cpy")[0].startswith("field 'one': --forget cpy: there is no such step; did")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fields", "f.csv", "-j", "name"], "not with --fields"),
        (["--at-once", "2"], "it is for --fields"),
        (["--fields", "f.csv", "--at-once", "0"], "at least 1 is needed"),
        (["--fields", "f.csv", "--at-once", "two"], "'two': a whole number of at least 1 is needed"),
    ],
)
def test_wrong_usage_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["a.parset", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


# ---- the final table


def result(log: Path, text: str) -> JobResult:
    log.write_text(text)
    return JobResult("one", 1, 1e9, 2.0, 0.0, 0.0, log, ("x",))


def test_failure_reason_is_first_error_line(tmp_path: Path) -> None:
    text = f"{NOTE}genericpipeline.py: no\nnoise\ngenericpipeline.py: first\nsecond\n"
    assert failure_line(result(tmp_path / "log", text)) == "first"
    assert failure_line(result(tmp_path / "log", "noise\n")) == "exited with 1 after 2.0 s"


def test_quality_file_gives_outcome(tmp_path: Path) -> None:
    rms = {"value": 0.00295, "unit": "Jy/beam", "source": ""}
    ratio = {"value": 1.5, "unit": ""}
    quality = {"rms": rms, "image": "/x/a.fits", "image_pb": "/x/a-pb.fits", "measured_over_expected": ratio}
    (tmp_path / "run.json").write_text(json.dumps({"quality": quality, "warnings": ["a"]}))
    facts = outcome_facts(tmp_path)
    assert (rms_text(facts), facts["image"]) == ("2.95 mJy/beam", "/x/a-pb.fits")
    assert (facts["noise_ratio"], facts["warnings"]) == (1.5, 1)
    quality = {"rms": {"value": 3.0, "unit": "K"}, "image": "/x/a.fits"}
    (tmp_path / "run.json").write_text(json.dumps({"quality": quality}))
    facts = outcome_facts(tmp_path)
    assert (rms_text(facts), facts["image"]) == ("3 K", "/x/a.fits")


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"quality": null}', '{"quality": {"rms": {"value": null, "unit": "K"}}}']
)
def test_outcome_without_numbers_is_empty(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    facts = outcome_facts(tmp_path)
    assert (rms_text(facts), facts.get("image")) == ("", None)


def test_paths_are_shown_shortest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert short_path(tmp_path / "a/b") == os.path.join("a", "b")  # noqa: PTH118 - text
    assert short_path(Path("/elsewhere")) == "/elsewhere"
