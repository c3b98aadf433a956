"""Reporters of a run: terminal, logs and statistics."""

from __future__ import annotations

import inspect
import io
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from journal_events import job_end
from lofarpipe.archive.record import RunRecord
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import NOTE, JobResult
from lofarpipe.report import pipeline_log as classic_log
from lofarpipe.report import terminal
from lofarpipe.report.board import Moment, board
from lofarpipe.report.html.writer import PageWriter
from lofarpipe.report.live import LiveTerminal
from lofarpipe.report.pipeline_log import ClassicLog, Statistics, element_name
from lofarpipe.report.terminal import DEBUG, NORMAL, QUIET, VERBOSE, Terminal
from lofarpipe.state.events import (
    KINDS,
    Notice,
    PluginDone,
    PluginStarted,
    RunEnded,
    RunStarted,
    StepDone,
    StepSkipped,
    StepStarted,
    Warned,
)
from lofarpipe.state.run_state import RunState


@pytest.fixture
def good(tmp_path: Path) -> JobResult:
    log = tmp_path / "0.log"
    log.write_text(f"{NOTE}cd /w && DP3\nreading\nbaseline: CS001;\n{NOTE}exited with 0\n")
    return JobResult("average/000", 0, 1e9, 65.0, 1.0, 10.0, log, ("DP3",), "node1", "/d/L1_SB000.ms")


@pytest.fixture
def bad(tmp_path: Path) -> JobResult:
    return JobResult("average/001", 134, 1e9, 2.0, 1.0, 10.0, tmp_path / "none.log", ("DP3",), "node1", "")


def tell(reporter: Terminal | ClassicLog, good: JobResult, bad: JobResult) -> None:
    """Report a run with a plugin, a step of two jobs of which one fails, and a step that is done already."""
    reporter.notice(Notice("wgridder is used"))
    reporter.run_started(RunStarted("field", job_directory=Path("/job"), step_count=3))
    reporter.plugin_started(PluginStarted("create"))
    reporter.plugin_done(PluginDone("create", duration_s=0.01))
    reporter.step_started(StepStarted("average", "dppp", 2))
    reporter.job_done(job_end("average", good))
    reporter.job_done(job_end("average", bad, "exited with 134 after 2.0 s: out of disk"))
    reporter.step_done(StepDone("average", jobs=2, failed=1, duration_s=65.4))
    reporter.step_skipped(StepSkipped("concat"))
    reporter.warning(Warned("the input is coarse"))
    reporter.run_ended(RunEnded(True, job="field"))


def shown(level: int, good: JobResult, bad: JobResult) -> tuple[list[str], list[str]]:
    """Return standard output and standard error, without the times."""
    out, err = io.StringIO(), io.StringIO()
    tell(Terminal(level, out, err), good, bad)
    lines = [stream.getvalue().splitlines() for stream in (out, err)]
    return tuple([re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in part] for part in lines)  # type: ignore[return-value]


FAILED = "average/001 exited with 134 after 2.0 s: out of disk; log: "
WARNINGS = [
    "warning: average: 1 of 2 jobs failed; their products are skipped from here on",
    "warning: the input is coarse",
]


def test_terminal_shows_steps(good: JobResult, bad: JobResult) -> None:
    out, err = shown(NORMAL, good, bad)
    assert out == [
        "wgridder is used",
        "field: 3 steps; logs and maps in /job",
        "average: 2 jobs",
        "average: done in 1 min 5 s",
        "concat: done before, with the same inputs; not run again",
        "field: finished after 0.0 s",
    ]
    assert err == [f"{FAILED}{bad.log}", *WARNINGS]


def test_quiet_terminal_shows_only_problems(good: JobResult, bad: JobResult) -> None:
    assert shown(QUIET, good, bad) == ([], [f"{FAILED}{bad.log}", *WARNINGS])


def test_verbose_terminal_shows_jobs_and_plugins(good: JobResult, bad: JobResult) -> None:
    out, _ = shown(VERBOSE, good, bad)
    assert out[2:4] == ["create: plugin", "create: done in 0.0 s"]
    assert "average/000 (/d/L1_SB000.ms) exited with 0 after 1 min 5 s, 1 of 2" in out
    assert "average/001 exited with 134 (SIGABRT) after 2.0 s, 2 of 2" in out


def test_debug_terminal_shows_program_output(good: JobResult, bad: JobResult) -> None:
    out, _ = shown(DEBUG, good, bad)
    assert out[out.index("reading") :][:2] == ["reading", "baseline: CS001;"]
    assert not any(line.startswith(NOTE) for line in out)


def test_terminal_shows_progress_now_and_then(good: JobResult, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(terminal, "PROGRESS_INTERVAL_S", 0.0)
    reporter = Terminal(NORMAL, out)
    reporter.step_started(StepStarted("average", "dppp", 3))
    for _ in range(3):
        reporter.job_done(job_end("average", good))
    assert [line[9:] for line in out.getvalue().splitlines()[1:]] == [
        "average: 1 of 3 jobs done",
        "average: 2 of 3 jobs done",
    ]


def test_resumed_jobs_are_counted(tmp_path: Path, good: JobResult) -> None:
    out = io.StringIO()
    for reporter in (Terminal(VERBOSE, out), ClassicLog(tmp_path / "pipeline.log")):
        reporter.run_started(RunStarted("field", job_directory=Path("/job"), step_count=1))
        reporter.step_started(StepStarted("average", "dppp", 244, 243))
        reporter.job_done(job_end("average", good))
    assert "average: 243 of them done before, with the same inputs; not run again\n" in out.getvalue()
    assert ", 244 of 244\n" in out.getvalue()
    said = (tmp_path / "pipeline.log").read_text()
    assert "INFO    genericpipeline: 243 jobs of step average already exist in saved state; skipping\n" in said


def test_terminal_shows_failure(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Terminal()
    reporter.run_ended(RunEnded(False, "step 'average': it failed", job="field"))
    reporter.warning(Warned("w"))
    captured = capsys.readouterr()
    assert re.fullmatch(r"\d\d:\d\d:\d\d field: failed after 0.0 s\n", captured.out)
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning: w\n", captured.err)


def test_terminal_reports_interrupted_run(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal().run_ended(
        RunEnded(False, "interrupted by SIGINT: all jobs were ended; run again to resume", job="field")
    )
    assert re.fullmatch(r"\d\d:\d\d:\d\d field: interrupted after [\d.]+ s\n", capsys.readouterr().out)


def test_terminal_names_the_first_of_many_sets(bad: JobResult, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"/d/L1_SB{number:03d}.MS" for number in range(244)]
    Terminal().job_done(job_end("concat", replace(bad, label=str(names)), "exited with 1"))
    assert "average/001 (/d/L1_SB000.MS and 243 more) exited with 1; log: " in capsys.readouterr().err


def test_terminal_lists_products(tmp_path: Path) -> None:
    out = io.StringIO()
    told = Terminal(NORMAL, out, record=lambda: {"products": [{"path": "/job/image.fits"}]})
    told.run_started(RunStarted("field", job_directory=tmp_path, step_count=1))
    told.run_ended(RunEnded(True, job="field"))
    assert " product: /job/image.fits\n" in out.getvalue()


def test_single_step_is_singular() -> None:
    out = io.StringIO()
    Terminal(NORMAL, out).run_started(RunStarted("field", job_directory=Path("/job"), step_count=1))
    assert " 1 step;" in out.getvalue()


# pipeline.log


def test_classic_log_has_historical_lines(tmp_path: Path, good: JobResult, bad: JobResult) -> None:
    path = tmp_path / "logs" / "pipeline.log"
    tell(ClassicLog(path), good, bad)
    lines = path.read_text().splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    # The second line of a program's block has no prefix of its own.
    assert all(re.match(stamp, line) for line in lines if line != "baseline: CS001;")
    assert [re.sub(stamp, "", line) for line in lines] == [
        "INFO    genericpipeline: wgridder is used",
        "INFO    genericpipeline: LOFAR Pipeline (genericpipeline) starting: field, 3 steps",
        "INFO    genericpipeline: Beginning step create",
        "INFO    genericpipeline.plugin: recipe plugin completed (create, 0.0 s)",
        "INFO    genericpipeline: Beginning step average",
        "INFO    genericpipeline: Running task: dppp",
        "DEBUG   node.node1.dppp.L1_SB000.ms: reading",
        "baseline: CS001;",
        "INFO    node.node1.dppp.L1_SB000.ms: average/000 exited with 0 after 1 min 5 s",
        "ERROR   node.node1.dppp: average/001 exited with 134 after 2.0 s: out of disk",
        "WARNING genericpipeline.dppp: 1 of 2 jobs of step average failed; their products are skipped",
        "INFO    genericpipeline.dppp: recipe dppp completed (average, 1 min 5 s)",
        "INFO    genericpipeline: Beginning step concat",
        "INFO    genericpipeline: Task concat already exists in saved state; skipping",
        "WARNING genericpipeline: the input is coarse",
        "INFO    genericpipeline: LOFAR Pipeline finished succesfully.",
    ]


def test_output_of_a_failed_job_is_a_warning(tmp_path: Path, good: JobResult) -> None:
    path = tmp_path / "pipeline.log"
    log = ClassicLog(path)
    log.run_started(RunStarted("field", job_directory=Path("/job"), step_count=1))
    log.job_done(job_end("average", good, "DP3 does not know these keywords: x"))
    assert " WARNING node.node1" in path.read_text()


def test_classic_log_of_a_failed_run(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.log"
    log = ClassicLog(path)
    log.run_started(RunStarted("field", job_directory=Path("/job"), step_count=1))
    log.run_ended(RunEnded(False, "step 'average': it failed", job="field"))
    log.run_ended(RunEnded(False, job="field"))
    text = path.read_text()
    assert "ERROR   genericpipeline: Failed pipeline run: field\n" in text
    assert "ERROR   genericpipeline: step 'average': it failed\n" in text
    assert "ERROR   genericpipeline: no reason was given\n" in text
    assert text.endswith("ERROR   genericpipeline: LOFAR Pipeline finished unsuccesfully.\n")


def test_unstarted_run_leaves_no_log(tmp_path: Path) -> None:
    log = ClassicLog(tmp_path / "logs" / "pipeline.log")
    log.warning(Warned("before"))
    log.run_ended(RunEnded(False, "checks failed", job="field"))
    assert list(tmp_path.iterdir()) == []


def test_second_run_appends_to_log(tmp_path: Path) -> None:
    for _ in range(2):
        log = ClassicLog(tmp_path / "pipeline.log")
        log.run_started(RunStarted("field", job_directory=Path("/job"), step_count=1))
        log.run_ended(RunEnded(True, job="field"))
    assert (tmp_path / "pipeline.log").read_text().count("finished succesfully") == 2


def test_unwritable_log_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    log = ClassicLog(tmp_path / "file" / "pipeline.log")
    with pytest.raises(PipelineError, match=r"pipeline\.log: the log cannot be written: .*; correct log_file"):
        log.run_started(RunStarted("field", job_directory=Path("/job"), step_count=1))


def test_removed_log_directory_is_an_error(tmp_path: Path, good: JobResult) -> None:
    log = ClassicLog(tmp_path / "logs" / "pipeline.log")
    log.run_started(RunStarted("x", job_directory=tmp_path, step_count=1))
    (tmp_path / "logs" / "pipeline.log").unlink()
    (tmp_path / "logs").rmdir()
    message = r"the log cannot be written: .*/logs/pipeline.log: No such file or directory; somebody removed"
    with pytest.raises(PipelineError, match=message):
        log.notice(Notice("x"))
    with pytest.raises(PipelineError, match=message):
        log.job_done(job_end("s", good))


def test_rotated_log_is_followed(tmp_path: Path, good: JobResult) -> None:
    path, aside = tmp_path / "pipeline.log", tmp_path / "pipeline.log.1"
    log = ClassicLog(path)
    log.run_started(RunStarted("x", job_directory=tmp_path, step_count=2))
    path.rename(aside)
    log.notice(Notice("still in the old one"))
    log.step_started(StepStarted("first", "dppp", 1))
    path.rename(tmp_path / "pipeline.log.2")
    path.touch()  # as a program that keeps logs does
    log.step_started(StepStarted("second", "dppp", 1))
    log.run_ended(RunEnded(True, job="x"))
    assert aside.read_text().endswith("genericpipeline: still in the old one\n")
    assert "step first" in (tmp_path / "pipeline.log.2").read_text()
    assert path.read_text().count("\n") == 3
    assert "Beginning step second\n" in path.read_text()


def test_removed_log_is_created_again(tmp_path: Path) -> None:
    log = ClassicLog(tmp_path / "pipeline.log")
    log.run_started(RunStarted("x", job_directory=tmp_path, step_count=1))
    (tmp_path / "pipeline.log").unlink()
    log.notice(Notice("here"))
    assert (tmp_path / "pipeline.log").read_text().endswith("genericpipeline: here\n")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_log_is_closed_when_the_run_is_over(tmp_path: Path) -> None:
    log = ClassicLog(tmp_path / "pipeline.log")
    before = open_files()
    log.run_started(RunStarted("x", job_directory=tmp_path, step_count=1))
    assert open_files() == before + 1
    log.run_ended(RunEnded(True, job="x"))
    assert open_files() == before


def test_log_time_advances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ClassicLog(tmp_path / "pipeline.log")
    log.run_started(RunStarted("x", job_directory=tmp_path, step_count=1))
    for time_s in (1e9, 1e9 + 0.9, 1e9 + 1.0):
        monkeypatch.setattr(classic_log.time, "time", lambda now=time_s: now)
        log.notice(Notice("now"))
    second, same, later = (line.split()[1] for line in (tmp_path / "pipeline.log").read_text().splitlines()[-3:])
    assert (second, same) == (second, second)
    assert later == time.strftime("%H:%M:%S", time.localtime(1e9 + 1))


@pytest.mark.parametrize("reporter", [Terminal, LiveTerminal, ClassicLog, Statistics, RunRecord, PageWriter])
def test_reporter_methods_match_event_kinds(reporter: type) -> None:
    """A method with an event as argument has the name of its kind."""
    for name, method in inspect.getmembers(reporter, inspect.isfunction):
        hints = list(inspect.signature(method).parameters.values())[1:]
        if not name.startswith("_") and hints and hints[0].name == "event":
            assert method.__name__ in KINDS
            kinds = [kind for kind in KINDS.values() if kind.__name__ in hints[0].annotation]
            assert KINDS[method.__name__] in kinds or "Event" in hints[0].annotation


def test_plain_terminal_does_not_import_board() -> None:
    code = (
        "import sys; from lofarpipe.report.terminal import NORMAL, Terminal;"
        "print(*(name for name in ('live', 'board') if f'lofarpipe.report.{name}' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


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


def test_special_characters_survive_statistics(tmp_path):
    strange = 'a&<b>"c\t\n\r\u00e5/000'
    statistics = Statistics(tmp_path / "statistics.xml")
    statistics.step_started(StepStarted("s", "dppp", 1))
    statistics.job_done(job_end("s", _result(strange)))
    statistics.run_ended(RunEnded(False, job="night"))
    text = (tmp_path / "statistics.xml").read_text(encoding="ascii")
    assert ElementTree.fromstring(text).find("active_stack/s/nodes/job").get("job_id") == strange


def test_restarted_step_is_recorded_once(tmp_path):
    statistics = Statistics(tmp_path / "statistics.xml")
    for _ in range(2):
        statistics.step_started(StepStarted("s", "dppp", 0))
    statistics.step_done(StepDone("s", jobs=0, failed=0, duration_s=1.0))
    statistics.run_ended(RunEnded(True, job="night"))
    root = ElementTree.fromstring((tmp_path / "statistics.xml").read_text())
    assert [[child.tag for child in root[0]], [child.tag for child in root]] == [["s"], ["active_stack", "s"]]


def test_statistics_are_one_undeclared_line(written):
    text = written.read_text()
    assert text.startswith("<active_stack ")
    assert "\n" not in text


@pytest.mark.parametrize(("step", "name"), [("average", "average"), ("a+b c", "a_b_c"), ("1st", "_1st"), ("", "_")])
def test_step_names_become_xml_names(step, name):
    assert element_name(step) == name


def test_terminal_and_board_agree_on_duration(capsys: pytest.CaptureFixture[str]) -> None:
    state, reporter = RunState(), Terminal()
    began = RunStarted("field", job_directory=Path("/job"), step_count=1, time_s=1000.0)
    ended = RunEnded(True, job="field", time_s=1065.0)
    reporter.run_started(began)
    reporter.run_ended(ended)
    for event in (began, ended):
        state.apply(event)
    assert "field: finished after 1 min 5 s\n" in capsys.readouterr().out
    assert board(state, Moment(5000.0, {}))[0].text.startswith("field: done, 1 min 5 s")
