"""statistics.xml (doc/spec/lofarpipe.md, section 6.7): what existing tools find in it."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from journal_events import job_end
from lofarpipe.jobs import JobResult
from lofarpipe.report.statistics import Statistics, element_name
from lofarpipe.state.events import PluginDone, PluginStarted, RunEnded, StepDone, StepStarted


def _result(name, exit_code=0):
    return JobResult(name, exit_code, 1.0, 2.5, 0.25, 12.0, Path("log"), (), host="node1")


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "logs" / "statistics.xml"
    statistics = Statistics(path)
    statistics.plugin_started(PluginStarted("list"))
    statistics.plugin_done(PluginDone("list", duration_s=0.01))
    statistics.step_started(StepStarted("1st_average", "dppp", 2))
    statistics.job_done(job_end("1st_average", _result("1st_average/000")))
    statistics.job_done(job_end("1st_average", _result("1st_average/001", 3), "exited with 3"))
    statistics.step_done(StepDone("1st_average", jobs=2, failed=1, duration_s=5.0))
    statistics.step_started(StepStarted("image", "wsclean", 1))
    statistics.job_done(job_end("nobody", _result("nobody/000")))
    statistics.step_done(StepDone("nobody", jobs=1, failed=0, duration_s=1.0))
    statistics.run_ended(RunEnded(False, "interrupted", job="night"))
    return path


def test_finished_steps_follow_the_unfinished_ones(written):
    root = ElementTree.fromstring(written.read_text())
    assert (root.tag, root.get("Name"), root.get("type")) == ("active_stack", "GenericPipeline", "active_stack")
    assert [child.tag for child in root] == ["active_stack", "list", "_1st_average"]
    assert [child.tag for child in root[0]] == ["image"]
    assert "info" in root[0].attrib


def test_jobs_have_host_time_and_code(written):
    average = ElementTree.fromstring(written.read_text()).find("_1st_average")
    assert average.get("duration") == "5.000"
    jobs = average.findall("nodes/job")
    assert [(job.get("job_id"), job.get("job_host"), job.get("returncode")) for job in jobs] == [
        ("1st_average/000", "node1", "0"),
        ("1st_average/001", "node1", "3"),
    ]
    assert jobs[0].get("duration") == "2.500"
    assert jobs[0].find("resource_usage").get("max_rss_mb") == "12.0"


def test_plugins_are_empty_elements(written):
    assert len(ElementTree.fromstring(written.read_text()).find("list")) == 0


def test_what_names_may_hold_is_read_back(tmp_path):
    strange = 'a&<b>"c\t\n\r\u00e5/000'
    statistics = Statistics(tmp_path / "statistics.xml")
    statistics.step_started(StepStarted("s", "dppp", 1))
    statistics.job_done(job_end("s", _result(strange)))
    statistics.run_ended(RunEnded(False, job="night"))
    text = (tmp_path / "statistics.xml").read_text(encoding="ascii")
    assert ElementTree.fromstring(text).find("active_stack/s/nodes/job").get("job_id") == strange


def test_a_step_that_began_twice_is_done_once(tmp_path):
    statistics = Statistics(tmp_path / "statistics.xml")
    for _ in range(2):
        statistics.step_started(StepStarted("s", "dppp", 0))
    statistics.step_done(StepDone("s", jobs=0, failed=0, duration_s=1.0))
    statistics.run_ended(RunEnded(True, job="night"))
    root = ElementTree.fromstring((tmp_path / "statistics.xml").read_text())
    assert [[child.tag for child in root[0]], [child.tag for child in root]] == [["s"], ["active_stack", "s"]]


def test_one_line_without_declaration(written):
    text = written.read_text()
    assert text.startswith("<active_stack ")
    assert "\n" not in text


@pytest.mark.parametrize(("step", "name"), [("average", "average"), ("a+b c", "a_b_c"), ("1st", "_1st"), ("", "_")])
def test_names_are_names_in_xml(step, name):
    assert element_name(step) == name
