"""The page while a run goes on: when it is written, and that nothing about it ends the run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from journal_events import job_end
from lofarpipe.config import Overrides, load_settings
from lofarpipe.errors import PipelineError
from lofarpipe.jobs import Interrupted, JobResult
from lofarpipe.report.html import page as html_page
from lofarpipe.report.html import writer as html_writer
from lofarpipe.report.html.writer import PageWriter, is_page_enabled
from lofarpipe.state.events import RunEnded, RunStarted, StepDone, StepSkipped
from lofarpipe.state.run_state import RunState
from made_jobs import write_images, write_journal

LIMIT_S = 60.0
WRITTEN = re.compile(r"This page: [\d :-]+ UTC")


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job directory whose run has begun."""
    write_journal(tmp_path / "job", [{"event": "run_started", "job": "field"}])
    return tmp_path / "job"


@pytest.fixture
def drawn(job: Path) -> Path:
    """The same with an image whose picture cannot be cached."""
    (job / "field-image.fits").touch()
    return job


@pytest.fixture
def complaints() -> list[str]:
    return []


def begun(job: Path, complaints: list[str], interval_s: float = 0.0) -> PageWriter:
    writer = PageWriter(job, RunState(), dict, complaints.append, interval_s)
    writer.run_started(RunStarted("field", job_directory=job, step_count=1))
    return writer


def wait_for(condition: Callable[[], object]) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.02)


STEP_DONE = StepDone("a", jobs=1, failed=0, duration_s=1.0)
RESULT = JobResult("a/000", 0, 1.0, 1.0, 1.0, 1.0, Path("log"), ("true",))
TOLD = [
    pytest.param(lambda writer: writer.step_done(STEP_DONE), id="step done"),
    pytest.param(lambda writer: writer.step_skipped(StepSkipped("a")), id="step skipped"),
    pytest.param(lambda writer: writer.job_done(job_end("a", RESULT)), id="job done"),
]


@pytest.mark.parametrize("tell", TOLD)
def test_event_starts_a_page(job: Path, complaints: list[str], tell: Callable[[PageWriter], None]) -> None:
    tell(begun(job, complaints))
    wait_for((job / "report.html").is_file)
    assert complaints == []


@pytest.mark.parametrize("tell", TOLD)
def test_interval_delays_the_page(job: Path, complaints: list[str], tell: Callable[[PageWriter], None]) -> None:
    writer = begun(job, complaints, interval_s=3600.0)
    tell(writer)
    assert writer._process is None


def test_only_one_page_is_written_at_once(job: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started = replaced_program(monkeypatch, "import time; time.sleep(600)")
    writer = begun(job, complaints)
    for _ in range(3):
        writer.step_skipped(StepSkipped("a"))
    assert len(started) == 1
    writer._stop()


def test_next_page_follows_finished_page(job: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_writer, "PATIENCE", 0)
    writer = begun(job, complaints)
    writer.step_skipped(StepSkipped("a"))
    wait_for((job / "report.html").is_file)
    (job / "report.html").unlink()
    wait_for(lambda: writer._process is None or writer._process.poll() is not None)
    writer.step_skipped(StepSkipped("a"))
    wait_for((job / "report.html").is_file)


def test_slow_pages_lengthen_the_interval(job: Path, complaints: list[str]) -> None:
    writer = begun(job, complaints)
    for took_s, interval_s in ((3.0, 300.0), (2.0, 300.0), (60.0, 600.0)):
        writer._last_s = time.monotonic() - 1000.0
        writer.step_skipped(StepSkipped("a"))
        wait_for(lambda: writer._process is not None and writer._process.poll() is not None)
        os.utime(job / "report.html", (0, writer._began_s + took_s))
        writer._finish(0)
        assert writer._interval_s == pytest.approx(interval_s)
    assert complaints == []


def test_failed_page_keeps_the_interval(job: Path, complaints: list[str]) -> None:
    writer = begun(job, complaints, 20.0)
    writer._finish(1)
    assert writer._interval_s == 20.0


def test_run_end_writes_the_last_page(job: Path, complaints: list[str]) -> None:
    writer = begun(job, complaints)
    writer.step_skipped(StepSkipped("a"))
    writer.run_ended(RunEnded(False, "why", job="field"))
    assert (job / "report.html").is_file()
    assert list(job.glob(".*")) == []
    assert complaints == []


def test_unstarted_run_has_no_page(job: Path, complaints: list[str]) -> None:
    writer = PageWriter(job, RunState(), dict, complaints.append)
    writer.step_skipped(StepSkipped("a"))
    writer.run_ended(RunEnded(False, "checks failed", job="field"))
    assert not (job / "report.html").exists()


def replaced_program(
    monkeypatch: pytest.MonkeyPatch, code: str, popen: type[subprocess.Popen[bytes]] = subprocess.Popen
) -> list[subprocess.Popen[bytes]]:
    """Have this code run in place of the page's process."""
    started: list[subprocess.Popen[bytes]] = []

    def start(argv: list[str], **keywords: object) -> subprocess.Popen[bytes]:
        assert argv[1:4] == ["-P", "-m", "lofarpipe.report.html.page"]
        started.append(popen([sys.executable, "-c", code], **keywords))
        return started[-1]

    monkeypatch.setattr(html_writer.subprocess, "Popen", start)
    return started


def test_page_error_becomes_a_warning(drawn: Path, complaints: list[str]) -> None:
    (drawn / "journal.jsonl").unlink()
    begun(drawn, complaints).run_ended(RunEnded(True, job="field"))
    assert complaints == [
        f"{drawn}/report.html: was not written: {drawn}/journal.jsonl: No such file or directory; name the directory "
        "of a run, which has a journal.jsonl"
    ]


def test_final_page_without_pictures_needs_no_process(
    job: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    started = replaced_program(monkeypatch, "")
    state = RunState()
    state.apply(RunStarted("as it is known here"))
    option = {"name": "robust", "value": "0.5", "source": "command line", "meaning": "Briggs robustness"}
    writer = PageWriter(job, state, lambda: {"options": [option]}, complaints.append)
    writer.run_started(RunStarted("field", job_directory=job, step_count=1))
    writer.run_ended(RunEnded(True, job="field"))
    text = (job / "report.html").read_text()
    assert "as it is known here" in text
    assert "Briggs robustness" in text
    assert (started, complaints) == ([], [])


def test_images_elsewhere_are_drawn_in_a_process(
    job: Path, complaints: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "field-image.fits").touch()
    started = replaced_program(monkeypatch, "")
    record = {"run": {"working_directory": str(tmp_path / "work")}}
    writer = PageWriter(job, RunState(), lambda: record, complaints.append)
    writer.run_started(RunStarted("field", job_directory=job, step_count=1))
    writer.run_ended(RunEnded(True, job="field"))
    assert len(started) == 1


def test_measured_image_is_drawn_before_the_end(
    job: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(job)
    (job / "quality.json").write_text("{}")
    writer = begun(job, complaints, interval_s=1000.0)
    writer.step_done(STEP_DONE)
    assert writer._process is None  # it was measured before this run
    (job / "quality.json").unlink()
    (job / "quality.json").write_text('{"measured": "anew"}')
    writer.job_done(job_end("a", RESULT))
    assert writer._process is None
    writer.step_done(STEP_DONE)
    assert writer._process is not None
    assert writer._process.wait(LIMIT_S) == 0
    assert "data:image/png" in (job / "report.html").read_text()
    started = replaced_program(monkeypatch, "")
    (job / "report.html").unlink()
    Image.new("RGB", (20, 20)).save(job / "uv_coverage.png")  # cheap enough
    writer.step_done(STEP_DONE)
    writer.run_ended(RunEnded(True, job="field"))
    assert (job / "report.html").read_text().count("data:image/png") > 4
    assert (started, complaints) == ([], [])


@pytest.mark.parametrize(("problem", "said"), [("why", "why"), ("", "ValueError")])
def test_any_final_page_error_becomes_a_warning(
    job: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch, problem: str, said: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError(problem)

    monkeypatch.setattr(html_page, "write_page", refuse)
    begun(job, complaints).run_ended(RunEnded(True, job="field"))
    assert complaints == [f"{job}/report.html: was not written: {said}"]


def test_signal_interrupts_the_last_page(job: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise Interrupted(15)

    monkeypatch.setattr(html_page, "write_page", interrupted)
    with pytest.raises(Interrupted):
        begun(job, complaints).run_ended(RunEnded(True, job="field"))


def test_killed_process_is_reported(job: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    replaced_program(monkeypatch, "import os; os.kill(os.getpid(), 9)")
    writer = begun(job, complaints)
    writer.step_skipped(StepSkipped("a"))
    wait_for(lambda: writer._process is not None and writer._process.poll() is not None)
    writer.step_skipped(StepSkipped("a"))
    assert complaints == [f"{job}/report.html: was not written: its process ended with -9"]
    writer._stop()


def test_unstartable_process_is_reported(drawn: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise OSError("too many processes")

    monkeypatch.setattr(html_writer.subprocess, "Popen", refuse)
    begun(drawn, complaints).run_ended(RunEnded(True, job="field"))
    assert complaints == [f"{drawn}/report.html: cannot be written: too many processes"]


def test_slow_final_page_is_killed(drawn: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (started,) = [replaced_program(monkeypatch, "import time; time.sleep(600)")]
    monkeypatch.setattr(html_writer, "LIMIT_S", 0.2)
    begun(drawn, complaints).run_ended(RunEnded(True, job="field"))
    assert started[0].returncode == -9
    assert "was not written within 0 s" in complaints[0]


def test_stop_removes_own_temporary_file(job: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started = replaced_program(monkeypatch, "import time; time.sleep(600)")
    writer = begun(job, complaints)
    writer.step_skipped(StepSkipped("a"))
    (job / f".report.html.{started[0].pid}.tmp").touch()
    (job / ".report.html.1.tmp").touch()  # of another process
    writer._stop()
    assert [path.name for path in job.glob(".*")] == [".report.html.1.tmp"]


def test_interrupt_kills_page_process(drawn: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupting(subprocess.Popen[bytes]):
        """Is interrupted once while it is waited for."""

        def wait(self, timeout: float | None = None) -> int:
            if timeout is not None:
                raise KeyboardInterrupt
            return super().wait(LIMIT_S)

    started = replaced_program(monkeypatch, "import time; time.sleep(600)", Interrupting)
    with pytest.raises(KeyboardInterrupt):
        begun(drawn, complaints).run_ended(RunEnded(True, job="field"))
    assert started[0].returncode == -9


def test_page_process_has_its_own_session(job: Path, complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started = replaced_program(monkeypatch, "import time; time.sleep(600)")
    writer = begun(job, complaints)
    writer.step_skipped(StepSkipped("a"))
    assert os.getsid(started[0].pid) == started[0].pid
    writer._stop()


@pytest.mark.parametrize(("text", "wanted"), [("True", True), ("False", False), (None, True)])
def test_site_setting_controls_the_page(tmp_path: Path, text: str | None, wanted: bool) -> None:
    assert is_page_enabled(settings_with(tmp_path, text)) is wanted


def test_invalid_html_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"pipeline\.cfg:\d+: \[report\] html is 'perhaps'; True or False is needed"
    ):
        is_page_enabled(settings_with(tmp_path, "perhaps"))


def settings_with(here: Path, text: str | None) -> object:
    config = here / "pipeline.cfg"
    section = f"[report]\nhtml = {text}\n" if text is not None else ""
    config.write_text(f"[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n{section}")
    return load_settings(here / "a.parset", Overrides(config=str(config)))


@pytest.mark.parametrize(("program", "state"), [("/bin/echo", "done"), ("/bin/false", "failed")])
def test_finished_and_failed_runs_write_page(tmp_path: Path, program: str, state: str) -> None:
    (tmp_path / "a.parset").write_text(
        f"pipeline.steps = [say]\nsay.control.type = executable_args\nsay.control.executable = {program}\n"
        f"say.control.mapfile_in = {tmp_path}/in.mapfile\nsay.control.inputkey = ms\nsay.argument.flags = [ms]\n"
    )
    (tmp_path / "in.mapfile").write_text("[{'host': 'localhost', 'file': '/d/x.MS', 'skip': False}]")
    command = [sys.executable, "-m", "lofarpipe.cli", "a.parset"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == (state == "failed"), done.stderr
    text = (tmp_path / "a" / "report.html").read_text()
    again = html_page.page(tmp_path / "a")  # from the files alone
    assert WRITTEN.sub("", text) == WRITTEN.sub("", again)
    assert f"<title>a: {state}</title>" in text
    assert f"{program} /d/x.MS" in text


def test_site_setting_disables_the_page(tmp_path: Path) -> None:
    settings_with(tmp_path, "False")
    (tmp_path / "a.parset").write_text("pipeline.steps = []\n")
    command = [sys.executable, "-m", "lofarpipe.cli", "a.parset", "-c", "pipeline.cfg"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "a").glob("report*")] == []
