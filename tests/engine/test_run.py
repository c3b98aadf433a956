"""Whole small pipelines through the command line: real programs, no astronomy."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from copy_pipeline import CONFIG, copy_step, gather_step, journalled, list_step
from lofarpipe.cli import main
from lofarpipe.state.journal import read_state
from lofarpipe.support.data_map import DataMap, DataProduct

STEPS = """\
pipeline.steps = [list, copy, count, report]
count.control.type = pythonplugin
count.control.executable = count.py
count.control.error_tolerance = False
count.argument.flags = [copy.output.mapfile]
count.argument.unit = lines
report.control.type = executable_args
report.control.executable = /bin/echo
report.control.mapfile_in = count.output.total.mapfile
report.control.inputkey = total
report.argument.flags = [total]
"""
PARSET = STEPS + list_step("[{here}/in/a.txt, {here}/in/b.txt]") + copy_step()
COUNT = """\
OUTPUTS = ("total",)


def main(infile, unit):
    with open(infile) as stream:
        return {"total": len(stream.readlines()), "unit": unit}
"""


@pytest.fixture
def site(tmp_path, monkeypatch):
    for name in ("in", "my/scripts", "my/plugins"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("1\n2\n")
    (tmp_path / "in" / "b.txt").write_text("1\n2\n3\n")
    (tmp_path / "my" / "scripts" / "count.py").write_text(COUNT)
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "copy.parset").write_text(PARSET.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(site, *arguments, parset="copy.parset"):
    return main([parset, "-c", "pipeline.cfg", *arguments])


def _started(site):
    return [event["step"] for event in journalled(site / "copy", "step_started")]


def test_steps_pass_maps_to_each_other(site):
    assert _run(site) == 0
    job = site / "copy"
    assert [p.file for p in DataMap.load(str(job / "mapfiles/copy.mapfile")).data] == [
        f"{job}/a.copy",
        f"{job}/b.copy",
    ]
    assert (job / "b.copy").read_text() == "1\n2\n3\n"
    assert [p.file for p in DataMap.load(str(job / "mapfiles/count.total.mapfile")).data] == ["2", "3"]
    assert [p.file for p in DataMap.load(str(job / "mapfiles/count.unit.mapfile")).data] == ["lines", "lines"]
    assert (job / "parsets/count.parset").read_text() == "unit=lines\n"
    commands = (job / "commands.txt").read_text().splitlines()
    assert commands[0] == f"copy/000: /bin/cp {site}/in/a.txt {job}/a.copy"


def test_finished_run_starts_no_job(site):
    assert _run(site) == 0
    stamp = (site / "copy" / "a.copy").stat().st_mtime_ns
    assert _run(site) == 0
    assert _started(site) == ["copy", "count", "report"]
    assert (site / "copy" / "a.copy").stat().st_mtime_ns == stamp


def test_changed_argument_repeats_step(site):
    assert _run(site) == 0
    assert _run(site, "-s", "count.argument.unit=rows") == 0
    assert _started(site) == ["copy", "count", "report", "count"]  # report takes what count gave as before
    assert [p.file for p in DataMap.load("copy/mapfiles/count.unit.mapfile").data] == ["rows", "rows"]


def test_failing_job_shows_log_and_command(site, capsys):
    script = site / "my" / "scripts" / "count.py"
    script.write_text("def main(infile, unit):\n    print('reading', infile)\n    raise ValueError('no lines in it')\n")
    assert _run(site) == 1
    err = capsys.readouterr().err
    assert "step 'count': 2 of 2 jobs failed: count/000" in err
    assert "no lines in it" in err
    assert f"{site}/copy/logs/count/000.log" in err
    assert "To repeat this job by hand: cd " in err
    assert "Traceback" not in err.partition("Last lines of")[0]


def test_run_resumes_after_failure(site):
    script = site / "my" / "scripts" / "count.py"
    script.write_text("def main(infile, unit):\n    raise ValueError('not today')\n")
    assert _run(site) == 1
    script.write_text(COUNT)
    assert _run(site) == 0
    assert _started(site) == ["copy", "count", "count", "report"]


def test_script_warning_is_shown(site, capfd):
    script = site / "my" / "scripts" / "count.py"
    script.write_text("def main(infile, unit):\n    print('WARNING: short file')\n    return {'total': 1}\n")
    assert _run(site) == 0
    shown = "".join(capfd.readouterr())
    assert shown.count("count: short file") == 2


def test_error_tolerance_skips_failed_products(site):
    (site / "in" / "b.txt").unlink()
    assert _run(site, "-s", "copy.control.error_tolerance=True") == 0
    assert [p.skip for p in DataMap.load("copy/mapfiles/copy.mapfile").data] == [False, True]
    assert [p.file for p in DataMap.load("copy/mapfiles/count.total.mapfile").data] == ["2"]


def test_tolerance_never_accepts_total_failure(site, capsys):
    (site / "in" / "a.txt").unlink()
    (site / "in" / "b.txt").unlink()
    assert _run(site, "-s", "copy.control.error_tolerance=True") == 1
    assert "2 of 2 jobs failed" in capsys.readouterr().err


def test_skipped_products_keep_place_without_job(site):
    names = [site / "in" / f"{letter}.txt" for letter in "abc"]
    names[2].write_text("1\n")
    DataMap([DataProduct("localhost", str(name), name == names[1]) for name in names]).save(str(site / "given.mapfile"))
    assert _run(site, "-s", f"copy.control.mapfile_in={site}/given.mapfile") == 0
    assert (site / "copy" / "c.copy").read_text() == "1\n"
    assert not (site / "copy" / "b.copy").exists()
    assert [p.skip for p in DataMap.load("copy/mapfiles/copy.mapfile").data] == [False, True, False]


def test_all_findings_precede_run(site, capsys):
    text = (site / "copy.parset").read_text()
    text = text.replace("copy.control.inputkey", "copy.control.inputky").replace("/bin/echo", "/bin/ehco")
    text = text.replace("count.output.total", "count.output.totl").replace("[copy.output", "[cop.output")
    text = text.replace("report.control.type = executable_args", "report.control.type = executable_arg")
    text += "lst.control.files = x\ncopy.contrl.inplace = True\ncount.argument.unti = x\nreport.argument.x = {{ y }}\n"
    (site / "copy.parset").write_text(text)
    assert _run(site) == 1
    err = capsys.readouterr().err
    for piece in (
        "copy.control.inputky: no such control key for an 'executable_args' step; did you mean 'inputkey'?",
        "'executable_arg' is no task type; did you mean 'executable_args'?",
        "'cop.output.mapfile': no step 'cop' runs before",
        "there is no step 'lst'; did you mean 'list'?",
        "a step has no part 'contrl'; did you mean 'control'?",
        "it has no argument 'unti'; did you mean 'unit'?",
        "'{{ y }}' is not defined",
        "nothing was run",
    ):
        assert piece in err
    assert not (site / "copy").exists()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("pipeline.steps=[list, cpy]", "there is no step 'cpy'; did you mean 'copy'?"),
        ("copy.control.inplace=true", "is 'true'; True or False is needed"),
        ("copy.control.max_per_node=two", "is 'two'; an integer is needed"),
        ("copy.control.retries=-1", "is '-1'; it cannot be negative"),
        ("copy.control.memory_gb=1e6", "is '1e6'; jobs have "),
        ("copy.control.gpus=999", "is '999'; jobs have "),
        ("copy.control.executable=/bin/nowhere", "/bin/nowhere"),
        ("copy.control.kind=pluging", "is 'pluging'; one of recipe, plugin, feedback, loop, pipeline is needed"),
        ("copy.control.args_format=lofr", "is 'lofr'; one of gnu, lofar"),
        ("copy.control.nodescript=executable_casa", "is 'executable_casa'; one of executable_args, python_plugin"),
        ("copy.control.program=wslean", "'wslean' is not known"),
        ("list.control.type=addListMapfil", "there is no plugin 'addListMapfil'; did you mean 'addListMapfile'?"),
        ("list.control.fils=x", "plugin addListMapfile: it has no argument 'fils'; did you mean 'files'?"),
        (
            "report.control.mapfile_in=count.output.totl.mapfile",
            "step 'count' has no output 'totl.mapfile'; did you mean",
        ),
        ("count.argument.flags=[copy.output.mapfile, 2, 3]", "it takes 2 positional arguments, 3 are given"),
    ],
)
def test_check_finds_parset_errors(site, capsys, assignment, message):
    assert _run(site, "--check", "-s", assignment) == 1
    assert message in capsys.readouterr().err
    assert not (site / "copy").exists()


def test_check_reports_valid_parset(site, capsys):
    assert _run(site, "--check") == 0
    assert "4 steps, nothing wrong" in capsys.readouterr().out
    assert not (site / "copy").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def plugin_main(args, **kwargs):\n    return 1 / 0\n", "mine.py:2: the plugin failed: ZeroDivisionError"),
        ("def other():\n    pass\n", "the plugin has no function plugin_main"),
        ("import nowhere\n", "mine.py:1: the plugin cannot be loaded: ModuleNotFoundError"),
        ("def plugin_main(:\n", "mine.py:1: the plugin cannot be loaded: SyntaxError"),
    ],
)
def test_bad_plugins_name_file_and_line(site, capsys, body, message):
    (site / "my" / "plugins" / "PipelineStep_mine.py").write_text(body)
    (site / "p.parset").write_text("pipeline.steps = [x]\nx.control.kind = plugin\nx.control.type = mine\n")
    assert _run(site, parset="p.parset") == 1
    assert message in capsys.readouterr().err


def test_plugin_gets_values_and_positionals(site):
    (site / "my" / "plugins" / "PipelineStep_mine.py").write_text(
        "import json\n"
        "def plugin_main(args, **kwargs):\n"
        "    json.dump([args, kwargs], open('seen.json', 'w'))\n"
        "    return 0\n"
    )
    (site / "p.parset").write_text(
        "pipeline.steps = [x]\nx.control.kind = plugin\nx.control.type = mine\nx.control.cmdline.b = 2\n"
        "x.control.cmdline.a = 1\nx.control.plot.minmax = '[0, 1]'\nx.argument.key = input.output.job_name\n"
    )
    assert _run(site, parset="p.parset") == 0
    args, kwargs = json.loads((site / "seen.json").read_text())
    assert args == ["1", "2"]
    assert kwargs == {"plot.minmax": "[0, 1]", "parset": f"{site}/p/parsets/x.parset"}
    assert (site / "p/parsets/x.parset").read_text() == "key=p\n"


SECONDS = f"{10000 + os.getpid()}.5"  # only this run of the tests sleeps so long


def test_interrupt_leaves_no_child_and_resumes(site):
    (site / "my" / "scripts" / "count.py").write_text(
        f"import subprocess\ndef main(infile, unit):\n    subprocess.run(['/bin/sleep', '{SECONDS}'])\n"
    )
    command = [sys.executable, "-m", "lofarpipe.cli", "copy.parset", "-c", "pipeline.cfg"]
    process = subprocess.Popen(command, cwd=site, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    _wait_until(lambda: _sleepers())
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "run again to resume" in err
    assert not _sleepers()
    (site / "my" / "scripts" / "count.py").write_text(COUNT)
    assert _run(site) == 0


def _sleepers():
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it may end while it is looked at
            if (process / "cmdline").read_bytes() == f"/bin/sleep\0{SECONDS}\0".encode():
                found.append(process.name)
    return found


def _wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


LENIENT_END = (
    """\
pipeline.error_tolerance = False
pipeline.steps = [list, copy, again]
"""
    + list_step("[{here}/in/a.txt, {here}/in/nosuch.txt]")
    + copy_step()
    + copy_step("again", "copy")
)
LENIENT_END = LENIENT_END.replace("error_tolerance = False\n", "error_tolerance = True\n").replace(
    "pipeline.error_tolerance = True", "pipeline.error_tolerance = False"
)


def test_run_end_names_tolerated_failures(site, capsys):
    (site / "end.parset").write_text(LENIENT_END.format(here=site))
    assert _run(site, parset="end.parset") == 1
    assert (site / "end/a.again").read_text() == "1\n2\n", "others go on"
    said = capsys.readouterr()
    line = f"copy/001 ({site}/in/nosuch.txt) exited with 1 after"
    assert "jobs failed: 1; run again to repeat them" in said.out + said.err
    assert line in said.out + said.err
    assert f"log: {site}/end/logs/copy/001.log" in said.out + said.err


def test_intolerant_pipeline_repeats_failed_jobs(site):
    (site / "end.parset").write_text(LENIENT_END.format(here=site))
    assert _run(site, parset="end.parset") == 1
    (site / "in/nosuch.txt").write_text("here\n")
    assert _run(site, parset="end.parset") == 0
    done = [event["job"] for event in journalled(site / "end", "job_done")]
    assert done == ["copy/000", "copy/001", "again/000", "copy/001", "again/001"]


def test_run_continues_after_fully_failed_step(site):
    text = LENIENT_END.format(here=site).replace("in/a.txt", "in/neither.txt")
    (site / "end.parset").write_text(text)
    assert _run(site, parset="end.parset") == 1
    assert _started_in(site / "end") == ["copy", "again"]
    assert all(product.skip for product in DataMap.load(str(site / "end/mapfiles/copy.mapfile")).data)


def _started_in(job):
    return [event["step"] for event in journalled(job, "step_started")]


CLEARED = """\
pipeline.steps = [list, copy, again, clear]
copy.control.type = pythonplugin
copy.control.executable = copy.py
copy.control.mapfile_in = list.output.mapfile
copy.control.inputkey = infile
copy.control.outputkey = outfile
copy.argument.flags = [infile, outfile]
again.control.type = pythonplugin
again.control.executable = copy.py
again.control.mapfile_in = copy.output.mapfile
again.control.inputkey = infile
again.control.outputkey = outfile
again.argument.flags = [infile, outfile]
again.argument.mode = {{ mode }}
clear.control.type = pythonplugin
clear.control.executable = clear.py
clear.control.mapfiles_in = [copy.output.mapfile, again.output.mapfile]
clear.control.inputkeys = [old, new]
clear.argument.flags = [old, new]
! mode = fast
"""
COPY = """\
import shutil

OUTPUTS = ("copy",)


def main(infile, outfile, mode=""):
    return {"copy": shutil.copyfile(infile, outfile)}
"""
CLEAR = """\
import os

OUTPUTS = ("removed",)


def main(old, new):
    os.unlink(old)
    return {"removed": "1"}
"""


def test_removed_product_is_made_again_on_need(site, capsys):
    (site / "my/scripts/copy.py").write_text(COPY)
    (site / "my/scripts/clear.py").write_text(CLEAR)
    (site / "clear.parset").write_text(CLEARED + list_step(f"[{site}/in/a.txt, {site}/in/b.txt]"))
    assert _run(site, parset="clear.parset") == 0
    assert not (site / "clear/a.copy").exists()
    started = len(journalled(site / "clear", "job_started"))
    assert _run(site, parset="clear.parset") == 0
    assert len(journalled(site / "clear", "job_started")) == started, "it is needed no more"
    assert _run(site, "-s", "mode=slow", parset="clear.parset") == 0
    jobs = [event["job"] for event in journalled(site / "clear", "job_started")[started:]]
    assert jobs == ["copy/000", "copy/001", "again/000", "again/001", "clear/000", "clear/001"]
    assert not (site / "clear/a.copy").exists()
    assert "a.copy is gone, and step 'again' needs it" in capsys.readouterr().out


def test_unrepeatable_product_ends_run(site, capsys):
    (site / "my/scripts/copy.py").write_text(COPY)
    (site / "my/scripts/clear.py").write_text(CLEAR)
    (site / "clear.parset").write_text(CLEARED + list_step(f"[{site}/in/a.txt, {site}/in/b.txt]"))
    assert _run(site, parset="clear.parset") == 0
    # From now on the first step makes one file less than it says.
    (site / "my/scripts/copy.py").write_text(COPY.replace("shutil.copyfile(infile, outfile)", "outfile"))
    assert _run(site, "-s", "mode=slow", parset="clear.parset") == 1
    said = "a.copy is gone, one of 2 inputs that jobs of earlier steps made; look at the logs of copy/000, copy/001"
    assert said in capsys.readouterr().err


OPTIONAL = """\
pipeline.steps = [list, plot, copy]
pipeline.optional_failures = {policy}
plot.control.optional = True
"""


def optional_site(site, policy="warn"):
    text = OPTIONAL.replace("{policy}", policy) + list_step("[{here}/in/a.txt]") + copy_step()
    (site / "optional.parset").write_text((text + copy_step("plot", program="/bin/false")).format(here=site))
    return site / "optional"


def test_failing_optional_step_gives_warning(site, capsys):
    job = optional_site(site)
    assert _run(site, parset="optional.parset") == 0
    assert (job / "a.copy").is_file()
    told = "warning: plot: the run goes on without this optional step: 1 of 1 jobs failed: plot/000"
    assert told in capsys.readouterr().err
    assert [event["step"] for event in journalled(job, "step_failed")] == ["plot"]
    assert journalled(job, "run_ended")[-1]["ok"]
    assert _run(site, "-s", "plot.control.executable=/bin/cp", parset="optional.parset") == 0
    assert _started_in(job) == ["plot", "copy", "plot"], "it is tried again"


def test_optional_failure_fails_run_on_request(site, capsys):
    job = optional_site(site, "fail")
    assert _run(site, parset="optional.parset") == 1
    assert (job / "a.copy").is_file()
    assert "optional steps failed: plot; all others are done; run again to repeat them" in capsys.readouterr().err


def test_optional_failures_has_two_values(site, capsys):
    optional_site(site, "ignore")
    assert _run(site, "--check", parset="optional.parset") == 1
    told = "optional.parset:2: pipeline.optional_failures is 'ignore'; one of warn, fail is needed"
    assert told in capsys.readouterr().err


def test_required_step_cannot_use_optional_outputs(site, capsys):
    optional_site(site)
    assert _run(site, "--check", "-s", "copy.control.mapfile_in=plot.output.mapfile", parset="optional.parset") == 1
    told = "'plot.output.mapfile': step 'plot' is optional and may give nothing; set copy.control.optional = True"
    assert told in capsys.readouterr().err


def test_missing_script_package_is_found_early(site, capsys):
    (site / "my/scripts/count.py").write_text(f"NEEDS = {{'no_such_package': 'pip install it'}}\n{COUNT}")
    assert _run(site) == 1
    told = "count.py needs the Python package no_such_package, which is not installed; pip install it"
    assert told in capsys.readouterr().err
    assert not (site / "copy").exists()


MAIN = 'def main(infile, outfile, mode=""):\n'
KEPT = """\
pipeline.steps = [list, copy, middle, gather, again]
pipeline.keep = {{ keep }}
copy.control.intermediate = *
middle.control.intermediate = [{here}/kept/*.middle]
again.control.byproducts = *
! keep = products
"""


def kept_site(site):
    (site / "my/scripts/copy.py").write_text(COPY)
    text = KEPT + list_step("[{here}/in/a.txt, {here}/in/b.txt]") + gather_step("middle")
    for name, before, program in (("copy", "list", "copy.py"), ("middle", "copy", "copy.py")):
        text += copy_step(name, before, program).replace("type = executable_args", "type = pythonplugin")
    text += copy_step("again", "gather", "/bin/echo", "infile")
    (site / "kept.parset").write_text(text.replace("{here}", str(site)))
    return site / "kept"


def present(job):
    return sorted(path.name for path in job.glob("*.*") if path.suffix in (".copy", ".middle"))


def test_unneeded_intermediate_outputs_are_removed(site, capsys):
    job = kept_site(site)
    assert _run(site, parset="kept.parset") == 0
    assert present(job) == []
    told = capsys.readouterr().out
    assert told.count("removed: 2 files (10 B), which no later step needs (keep = products)") == 2
    removed = [list(event["sizes"]) for event in journalled(job, "files_removed")]
    assert removed == [[f"{job}/a.copy", f"{job}/b.copy"], [f"{job}/a.middle", f"{job}/b.middle"]]
    started = len(journalled(job, "job_started"))
    assert _run(site, parset="kept.parset") == 0
    assert len(journalled(job, "job_started")) == started, "a run whose intermediates are gone is done"


def test_changed_step_remakes_removed_outputs(site, capsys):
    job = kept_site(site)
    assert _run(site, parset="kept.parset") == 0
    started = len(journalled(job, "job_started"))
    changed = ["-s", "again.argument.flags=[-n, infile]"]
    assert _run(site, "--dry-run", "True", *changed, parset="kept.parset") == 0
    shown = [line.partition(": ")[0] for line in capsys.readouterr().out.splitlines() if not line.startswith("#")]
    jobs = ["copy/000", "copy/001", "middle/000", "middle/001", "again/000"]
    assert [name for name in shown if "/0" in name] == jobs
    assert _run(site, *changed, parset="kept.parset") == 0
    assert [event["job"] for event in journalled(job, "job_started")[started:]] == jobs
    assert present(job) == []


@pytest.mark.parametrize("tolerant", [True, False])
def test_inputs_of_failures_to_repeat_stay(site, tolerant):
    job = kept_site(site)
    check = f"    assert not infile.endswith('a.copy') or pathlib.Path({str(site / 'mended')!r}).exists()\n"
    (site / "my/scripts/fails.py").write_text(f"import pathlib\n{COPY.replace(MAIN, MAIN + check)}")
    settings = ["middle.control.executable=fails.py", "middle.control.error_tolerance=True"]
    options = [word for text in (*settings, f"pipeline.error_tolerance={tolerant}") for word in ("-s", text)]
    assert _run(site, *options, parset="kept.parset") == int(not tolerant)
    assert present(job) == ([] if tolerant else ["a.copy", "b.copy", "b.middle"])
    (site / "mended").touch()
    started = len(journalled(job, "job_started"))
    assert _run(site, *options, parset="kept.parset") == 0
    repeated = [event["job"] for event in journalled(job, "job_started")[started:]]
    assert repeated == ([] if tolerant else ["middle/000", "again/000"])
    assert present(job) == []


def test_keep_all_removes_nothing(site):
    job = kept_site(site)
    assert _run(site, "-s", "keep=all", parset="kept.parset") == 0
    assert present(job) == ["a.copy", "a.middle", "b.copy", "b.middle"]


def test_check_refuses_useless_patterns(site, capsys):
    kept_site(site)
    assert _run(site, "--check", "-s", "copy.control.intermediate=[psv]", parset="kept.parset") == 1
    told = "copy.control.intermediate: is '[psv]'; psv: *, psf, dirty, model, residual, or a path with wildcards"
    assert told in capsys.readouterr().err


def test_repetition_leaves_times_and_record(site, capsys):
    assert _run(site) == 0
    job = site / "copy"
    files = [job / "run.json", job / "report.html"]
    before = [(path.stat().st_mtime_ns, path.read_bytes()) for path in files]
    state = read_state(job / "journal.jsonl")
    assert _run(site) == 0
    assert [(path.stat().st_mtime_ns, path.read_bytes()) for path in files] == before
    again = read_state(job / "journal.jsonl")
    assert (again.started_s, again.ended_s) == (state.started_s, state.ended_s)
    assert again.is_repeat
    assert again.checked_s > again.ended_s
    assert {step.state for step in again.steps.values()} == {"done"}
    capsys.readouterr()
    assert main(["status", str(job)]) == 0
    assert "; nothing to do since, looked at " in capsys.readouterr().out
    assert _run(site, "-s", "count.argument.unit=rows") == 0
    assert not read_state(job / "journal.jsonl").is_repeat
    assert json.loads((job / "run.json").read_text())["run"]["number"] == 3
