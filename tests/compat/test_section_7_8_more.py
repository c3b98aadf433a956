"""Plugins that end the run, names of scripts, the log, signals (doc/spec/lofarpipe.md, sections 6.7, 7.1 and 8.4)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

RUN = "import sys; from lofarpipe.cli import main; sys.exit(main())"
REPOSITORY = Path(__file__).resolve().parents[2]
STEP = """
s.control.type = executable_args
s.control.executable = @/bin/show
s.control.mapfile_in = @/data/one
s.control.inputkey = in
s.argument.flags = [in]
"""
PLUGIN = "pipeline.steps = [x]\nx.control.kind = plugin\nx.control.type = p\nx.control.k = v\n"
SCRIPT = STEP.replace("executable_args", "pythonplugin").replace("@/bin/show", "@/my/scripts/r.py")


@pytest.fixture(autouse=True)
def _map(site):
    site.mapfile("one", "/d/a.MS")


def test_plugin_signature_may_vary(site):
    """Section 7.1: the list of positional arguments comes first, for ``*args`` too."""
    path = site.here / "my/plugins/PipelineStep_p.py"
    path.write_text(site.plugin("p").read_text().replace("plugin_main(args,", "plugin_main(*args,"))
    assert site.run(PLUGIN) == 0
    assert site.calls()[0]["args"] == [[[]]]
    assert site.calls()[0]["kwargs"] == {"k": "v"}


def test_raising_plugin_ends_run(site, error):
    """Section 7.1: with its file and line."""
    site.plugin("p", "raise ValueError('no such thing')")
    assert site.run(PLUGIN) == 1
    assert "PipelineStep_p.py:9: the plugin failed: ValueError: no such thing" in error()


@pytest.mark.parametrize(("status", "found"), [("0", 0), ("3", 3)])
def test_exiting_plugin_ends_process(site, status, found):
    """Section 7.1."""
    site.plugin("p", f"import sys; sys.exit({status})")
    (site.here / "p.parset").write_text(PLUGIN)
    command = [sys.executable, "-c", RUN, "p.parset", "-c", "pipeline.cfg", "-q", "--lenient"]
    done = subprocess.run(command, cwd=site.here, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False)
    assert done.returncode == found


def test_plugin_module_is_loaded_once(site):
    """Section 7.1: two steps of one type share it; it can import its neighbours."""
    site.plugin("beside", "return {}")
    path = site.here / "my/plugins/PipelineStep_p.py"
    path.write_text(
        "import PipelineStep_beside\ncount = []\ndef plugin_main(args, **kwargs):\n    count.append(__name__)\n"
        "    PipelineStep_beside.plugin_main([], n=len(count), name=__name__)\n"
    )
    assert site.run(PLUGIN.replace("[x]", "[x, x]")) == 0
    assert [call["kwargs"] for call in site.calls()] == [{"n": n, "name": "PipelineStep_p"} for n in (1, 2)]


def test_script_module_is_called_main(site):
    """Section 7.2: code guarded by ``__main__`` does not run; its own directory is not searched."""
    (site.here / "my/scripts/beside.py").write_text("")
    site.script("r.py", "return {'name': __name__, 'beside': __import__('importlib.util').util.find_spec('beside')}")
    with (site.here / "my/scripts/r.py").open("a") as script:
        script.write("if __name__ == '__main__':\n    raise SystemExit(9)\n")
    assert site.run(f"pipeline.steps = [s]\n{SCRIPT}") == 0
    assert site.map("s.name") == [("main", False)]
    assert site.map("s.beside") == [("None", False)]


@pytest.mark.parametrize("text", ["def other():\n    pass\n", "def main(:\n", "import no_such_module\n"])
def test_uncallable_script_fails_job(site, text):
    """Section 7.2: its job fails."""
    site.script("r.py").write_text(text)
    assert site.run(f"pipeline.steps = [s]\n{SCRIPT}") == 1


def test_log_has_expected_lines(site):
    """Section 6.7: lines that tools search, in the file named by ``input.output.log_file``."""
    with (site.here / "pipeline.cfg").open("a") as config:
        config.write("[logging]\nlog_file = %(runtime_directory)s/%(job_name)s/logs/%(start_time)s/pipeline.log\n")
        config.write("xml_stat_file = %(runtime_directory)s/%(job_name)s/logs/%(start_time)s/statistics.xml\n")
    (site.here / "bin/show").write_text(
        "#!/bin/sh\necho 'baseline: 1;'\necho 'WARNING: The A-Team source X is near' >&2\n"
    )
    text = f"pipeline.steps = [s, x]\n{STEP}{PLUGIN.partition(chr(10))[2]}x.control.log = input.output.log_file\n"
    site.plugin("p", "return {}")
    assert site.run(text, "--start-time", "2020-01-02T03:04:05") == 0
    log = site.here / "run/p/logs/2020-01-02T03:04:05/pipeline.log"
    assert site.calls("p")[0]["kwargs"]["log"] == str(log)
    lines = log.read_text()
    for line in (
        "Beginning step s",
        "Running task: executable_args",
        "recipe executable_args completed",
        "baseline: 1;",
    ):
        assert line in lines
    assert "WARNING: The A-Team source X is near" in lines
    assert lines.splitlines()[-1].endswith("genericpipeline: LOFAR Pipeline finished succesfully.")
    assert site.run(text, "--start-time", "2020-01-02T03:04:06") == 0
    assert (
        "already exists in saved state; skipping"
        in log.parent.with_name("2020-01-02T03:04:06").joinpath(log.name).read_text()
    )
    root = ElementTree.parse(log.with_name("statistics.xml")).getroot()
    assert (root.tag, root.get("Name"), root.get("type")) == ("active_stack", "GenericPipeline", "active_stack")
    step = root.find("s")
    assert float(step.get("duration")) >= 0
    assert {"job_id", "job_host", "duration", "returncode"} <= set(step.find("nodes/job").attrib)
    assert len(root.find("x")) == 0


def test_log_records_failed_run(site):
    """Sections 6.7 and 8.2."""
    with (site.here / "pipeline.cfg").open("a") as config:
        config.write("[logging]\nlog_file = %(runtime_directory)s/log\n")
    assert site.run(f"pipeline.steps = [s]\n{STEP}s.control.arguments = [FAIL]\n") == 1
    lines = (site.here / "run/log").read_text()
    assert "Failed pipeline run: p" in lines
    assert "LOFAR Pipeline finished unsuccesfully." in lines


@pytest.mark.parametrize("text", ["no such program", "#!/nowhere/python\n"])
def test_unstartable_program_fails_job(site, text):
    """Sections 8.2 and 8.4: its job fails, and after a few tries is given up."""
    (site.here / "bin/show").write_text(text)
    assert site.run(f"pipeline.steps = [s]\n{STEP}") == 1
    assert [skip for _, skip in site.map("s.returncode")] == [True]


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_jobs_and_run(site, signum):
    """Section 8.5, fix: no job goes on, none starts; the steps before are done."""
    (site.here / "bin/slow").write_text(f"#!/bin/sh\necho $$ > {site.here}/pid\nexec sleep 600\n")
    (site.here / "bin/slow").chmod(0o755)
    site.mapfile("two", "/d/a", "/d/b")
    text = f"pipeline.steps = [s, t, u]\n{STEP}" + STEP.replace("s.", "t.", 1).replace("\ns.", "\nt.").replace(
        "show", "slow"
    )
    text = text.replace(
        "t.control.mapfile_in = @/data/one", "t.control.mapfile_in = @/data/two\nt.control.max_per_node = 1"
    )
    text += STEP.replace("\ns.", "\nu.")
    (site.here / "p.parset").write_text(text.replace("@", str(site.here)))
    command = [sys.executable, "-c", RUN, "p.parset", "-c", "pipeline.cfg", "-q", "--lenient"]
    run = subprocess.Popen(command, cwd=site.here, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    _wait_for(lambda: (site.here / "pid").exists() and (site.here / "pid").read_text().strip())
    run.send_signal(signum)
    assert run.wait(60) == 128 + signum
    pid = int((site.here / "pid").read_text())
    _wait_for(lambda: not Path(f"/proc/{pid}").exists())
    done = [json.loads(line) for line in (site.here / "run/p/journal.jsonl").read_text().splitlines()]
    assert [event["step"] for event in done if event["event"] == "step_done"] == ["s"]
    assert len(site.calls("show")) == 1


def _wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(condition)
        time.sleep(0.02)


OLD_SCRIPT = """\
import numpy, string
from lofarpipe.support.data_map import DataMap, DataProduct

class Group(DataMap):
    @DataMap.data.setter
    def data(self, data):
        self._set_data(data, dtype=DataProduct)

def main(names, channels='64'):
    names = [name.strip(" '") for name in names.strip('[]').split(',')]
    edge = int(channels) / 24
    flags = range(edge) + range(int(channels) - edge, int(channels))
    pairs = zip([len(name) for name in names], names)
    pairs.sort(key=lambda (length, name): -length)
    middle = numpy.array([3, 8]) / 2
    print 'flags are', flags,
    return {'flags': string.join(map(str, flags), ';'), 'first': pairs[0][1], 'half': names[len(names) / 2],
            'middle': middle.tolist(), 'product': [numpy.product([2, 3])], 'rounded': round(2.5)}
"""


def test_python_2_results_are_reproduced(site):
    """Section 7.4 (12, group 12): whole division, lists, sorting, numpy, in a plugin and in a script alike."""
    site.mapfile("one", "['/d/a', '/d/bcd', '/d/ef']")
    site.script("r.py").write_text(OLD_SCRIPT)
    plugin = site.here / "my/plugins/PipelineStep_p.py"
    plugin.write_text(OLD_SCRIPT.replace("def main(names,", "def plugin_main(args, names,"))
    site.plugin("seen")
    keys = ("flags", "first", "half", "middle", "product", "rounded")
    named = PLUGIN.partition("\n")[2].replace(".k = v", ".names = [/d/a,/d/bcd,/d/ef]")
    text = f"pipeline.steps = [x, s, y]\n{SCRIPT}{named}"
    text += "y.control.kind = plugin\ny.control.type = seen\n" + "".join(
        f"y.control.{k} = x.output.{k}\n" for k in keys
    )
    assert site.run(text) == 0
    expected = ["0;1;62;63", "/d/bcd", "/d/bcd", "[1, 4]", "[6]", "3.0"]
    assert [site.map(f"s.{key}")[0][0] for key in keys] == expected
    assert [site.calls("seen")[0]["kwargs"][key] for key in keys] == expected
