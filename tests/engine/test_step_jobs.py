"""The jobs of one step: run again where that is asked for, each try written down."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from copy_pipeline import CONFIG, journalled, list_step
from idle_executor import IdleExecutor
from lofarpipe.cli import main
from lofarpipe.config import Overrides, load_settings
from lofarpipe.engine.kinds import Scope
from lofarpipe.engine.run import Run
from lofarpipe.errors import PipelineError
from lofarpipe.executors.local.process import end_line
from lofarpipe.jobs import DoneCallback, Job, JobResult, JobStart, StartCallback
from lofarpipe.pipeline.load import load_pipeline
from lofarpipe.state.events import JobDone, Notice
from lofarpipe.state.journal import Journal, Stream

STEPS = """\
pipeline.steps = [list, work]
work.control.type = executable_args
work.control.executable = {here}/work.sh
work.control.mapfile_in = list.output.mapfile
work.control.inputkey = infile
work.control.error_tolerance = False
work.argument.flags = [infile]
"""
PARSET = STEPS + list_step("[{here}/a.txt, {here}/b.txt]")
# Product b fails as often as the file ``failures`` has lines.
WORK = """\
#!/bin/sh
case $1 in *a.txt) exit 0 ;; esac
echo "try $(cat {here}/tries | wc -l)"
echo >> {here}/tries
[ "$(cat {here}/tries | wc -l)" -gt "$(cat {here}/failures | wc -l)" ]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "run.parset").write_text(PARSET.format(here=tmp_path))
    (tmp_path / "work.sh").write_text(WORK.format(here=tmp_path))
    (tmp_path / "work.sh").chmod(0o755)
    for name in ("a.txt", "b.txt", "tries", "failures"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*assignments: str) -> int:
    return main(["run.parset", "-c", "pipeline.cfg", *(word for text in assignments for word in ("-s", text))])


def events(here: Path, kind: str) -> list[dict[str, Any]]:
    return journalled(here / "run", kind)


def tries(here: Path) -> list[tuple[int, int, str]]:
    """Return number of the try, exit code and name of the log of each try of product b."""
    ended = [event for event in events(here, "job_done") if event["job"] == "work/001"]
    return [(event["attempt"], event["exit_code"], Path(event["log"]).name) for event in ended]


def test_failed_job_is_not_run_again(here: Path) -> None:
    (here / "failures").write_text("\n")
    assert run() == 1
    assert tries(here) == [(1, 1, "001.log")]


def test_step_retries_failed_job(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "failures").write_text("\n\n")
    assert run("work.control.retries=2") == 0
    assert tries(here) == [(1, 1, "001.try1.log"), (2, 1, "001.try2.log"), (3, 0, "001.log")]
    logs = here / "run/logs/work"
    assert "try 0" in (logs / "001.try1.log").read_text()
    assert "try 2" in (logs / "001.log").read_text()
    said = capsys.readouterr().out
    assert f"it is run again; log of this try: {logs}/001.try1.log" in said
    assert said.count("it is run again") == 2
    assert run() == 0
    assert len(tries(here)) == 3


def test_exhausted_retries_fail_job(here: Path) -> None:
    (here / "failures").write_text("\n\n")
    assert run("work.control.retries=1") == 1
    assert tries(here) == [(1, 1, "001.try1.log"), (2, 1, "001.log")]


def test_killed_program_shows_its_memory(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "work.sh").write_text("#!/bin/sh\nkill -9 $$\n")
    assert run("work.control.memory_gb=0.5") == 1
    err = capsys.readouterr().err
    assert "work/000" in err
    # Its memory is at least that of the starting process: this one, with the remains of earlier tests.
    assert re.search(
        r"killed by signal 9 \(probably out of memory: it used \d\.\d GB of 0\.5 GB that it was given\) ", err
    )
    (event, _) = events(here, "job_done")
    assert (event["exit_code"], event["memory_gb"]) == (-9, 0.5)
    assert "probably out of memory" in event["problem"]


def test_failed_step_is_journalled(here: Path) -> None:
    (here / "failures").write_text("\n")
    assert run() == 1
    (event,) = events(here, "step_failed")
    assert event["step"] == "work"
    assert event["problem"].startswith("step 'work': 1 of 2 jobs failed: work/001")
    assert events(here, "run_ended")[0]["ok"] is False


def test_journal_records_every_job(here: Path) -> None:
    assert run() == 0
    (began,) = events(here, "run_started")
    assert began["steps"] == ["list", "work"]
    assert began["executor"] == "local"
    assert {"job", "parset", "version", "host", "pid", "boot", "cores", "memory_gb", "gpus", "argv"} <= set(began)
    first = events(here, "job_started")[0]
    assert (first["step"], first["job"], first["label"]) == ("work", "work/000", f"{here}/a.txt")
    assert first["before"] == {f"{here}/run/a.work": None}
    assert events(here, "job_done")[0]["files"].keys() >= {f"{here}/a.txt"}
    assert events(here, "run_ended") == [{**events(here, "run_ended")[0], "ok": True, "problem": None, "signal": None}]
    assert run() == 0
    assert [event["jobs"] for event in events(here, "step_skipped")] == [2]


class Lossy(IdleExecutor):
    """An executor whose node dies a given number of times, before or after a job has some effect."""

    def __init__(self, losses: int, before: Callable[[Job], object] = lambda _: None) -> None:
        self.losses = losses
        self.before = before
        self.runs: list[list[str]] = []
        self.notices = ["no node is free"]
        self.on_notice: Callable[[], None] | None = None

    def run(
        self, jobs: Sequence[Job], on_done: DoneCallback | None = None, on_start: StartCallback | None = None
    ) -> list[JobResult]:
        assert on_done is not None
        assert on_start is not None
        self.runs.append([job.name for job in jobs])
        results = []
        for job in jobs:
            on_start(JobStart(job.name, "node042", 0, 1e9))
            self.before(job)
            is_lost = job.name.endswith("1") and self.losses > 0
            self.losses -= is_lost
            problem = "lost with node node042" if is_lost else ""
            code = 1 if is_lost else 0
            results.append(
                JobResult(job.name, code, 1e9, 1.0, 1.0, 1.0, job.log, job.argv, problem=problem, is_lost=is_lost)
            )
            on_done(results[-1])
        return results


class Listener:
    def __init__(self) -> None:
        self.notices: list[str] = []
        self.done: list[str] = []

    def notice(self, event: Notice) -> None:
        self.notices.append(event.text)

    def job_done(self, event: JobDone) -> None:
        self.done.append(f"{event.job} {event.problem}")


def run_with(here: Path, executor: Lossy, *assignments: str) -> Listener:
    settings = load_settings(here / "run.parset", Overrides(config=str(here / "pipeline.cfg")))
    settings.job_directory.mkdir(exist_ok=True)
    pipeline = load_pipeline(here / "run.parset", settings, list(assignments))
    listener = Listener()
    with Journal(settings.job_directory / "journal.jsonl") as journal:
        Run(Scope(pipeline, settings, executor, Stream(journal, [listener]))).execute()  # type: ignore[arg-type]
    return listener


def test_executor_notices_are_reported_during_wait(here: Path) -> None:
    told: list[list[str]] = []

    class Waiting(Lossy):
        def run(self, jobs: Sequence[Job], *hears: Any) -> list[JobResult]:
            self.notices.append("the queue does not answer")
            assert self.on_notice is not None
            self.on_notice()
            told.append(list(self.notices))
            return super().run(jobs, *hears)

    listener = run_with(here, Waiting(0))
    assert told == [[]]
    assert listener.notices == ["no node is free", "the queue does not answer"]


def test_lost_job_is_run_again(here: Path) -> None:
    executor = Lossy(2)
    told = run_with(here, executor)
    assert executor.runs == [["work/000", "work/001"], ["work/001"], ["work/001"]]
    assert told.done == ["work/000 None", "work/001 None"]
    assert told.notices[0] == "no node is free"
    assert told.notices[1].startswith("work/001 lost with node node042; it is run again")
    assert [event["attempt"] for event in events(here, "job_done")] == [1, 1, 2, 3]


def test_lost_job_log_names_lost_node(here: Path) -> None:
    def begin(job: Job) -> None:
        job.log.parent.mkdir(parents=True, exist_ok=True)
        job.log.write_bytes(b"### work\n" + end_line() + b"reading\n")

    run_with(here, Lossy(1, begin))
    (lost,) = here.glob("**/001.try1.log")
    first, end, said = lost.read_text().splitlines()
    assert (first, said) == ("### work", "reading")
    assert end.startswith("### end: 2")  # the time
    assert end.rstrip().endswith("Z, lost with node node042")


def test_repeatedly_lost_job_fails(here: Path) -> None:
    executor = Lossy(9)
    with pytest.raises(PipelineError, match=r"1 of 2 jobs failed: work/001 .* lost with node node042"):
        run_with(here, executor)
    assert len(executor.runs) == 3
    (here / "pipeline.cfg").write_text(CONFIG.format(here=here) + "[remote]\nlost_retries = 0\n")
    executor = Lossy(9)
    with pytest.raises(PipelineError, match="1 of 2 jobs failed"):
        run_with(here, executor)
    assert executor.runs == [["work/001"]]


IN_PLACE = ("work.control.inplace=True",)


def test_lost_job_with_changed_input_fails(here: Path) -> None:
    def change(job: Job) -> None:
        if job.name == "work/001":
            Path(job.label).write_text("changed")

    why = f"work/001 .* lost with node node042; it had begun to change {here}/b.txt"
    with pytest.raises(PipelineError, match=why):
        run_with(here, executor := Lossy(1, change), *IN_PLACE)
    assert executor.runs == [["work/000", "work/001"]]
    with pytest.raises(PipelineError, match=f"work/001 was cut off while it changed {here}/b.txt in place"):
        run_with(here, executor := Lossy(0), *IN_PLACE)
    assert executor.runs == []


def test_lost_job_with_untouched_input_runs_again(here: Path) -> None:
    run_with(here, executor := Lossy(1), *IN_PLACE)
    assert executor.runs == [["work/000", "work/001"], ["work/001"]]


def test_missing_log_keeps_its_name(tmp_path: Path) -> None:
    from lofarpipe.engine.step_jobs import set_aside

    assert set_aside(tmp_path / "007.log", 1) == tmp_path / "007.log"
    (tmp_path / "007.log").touch()
    assert set_aside(tmp_path / "007.log", 1) == tmp_path / "007.try1.log"
