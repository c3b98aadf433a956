"""One program from its start to its result."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local import process as module
from lofarpipe.executors.local.process import (
    NOT_WRITTEN,
    OPEN_FILES,
    RunningJob,
    open_log,
    raise_open_files,
    send_signal,
    session_members,
    start,
)
from lofarpipe.executors.local.resources import Admitted
from lofarpipe.jobs import NOTE, Job, JobResult, Staged


def job(tmp_path: Path, *argv: str, **changes: object) -> Job:
    facts = {"name": "step/000", "argv": argv or ("true",), "workdir": tmp_path, "log": tmp_path / "logs" / "0.log"}
    return Job(**{**facts, **changes})  # type: ignore[arg-type]


def run(one: Job, gpus: tuple[str, ...] = ()) -> JobResult:
    running = start(Admitted(0, one, gpus), dict(os.environ))
    return running.reap() if isinstance(running, RunningJob) else running


def test_job_returns_result_and_log(tmp_path: Path) -> None:
    result = run(job(tmp_path, "sh", "-c", "echo out; echo err >&2; exit 3", label="L1.ms", env={"A": "1"}, host="n1"))
    assert (result.exit_code, result.name, result.host, result.label) == (3, "step/000", "n1", "L1.ms")
    assert time.time() - 60 < result.start_s <= time.time()
    title, first, command, *output, end = result.log.read_text().splitlines()
    assert title.startswith(f"{NOTE}step/000 L1.ms on n1, 2")
    assert command == f"{NOTE}cd {tmp_path} && env A=1 sh -c 'echo out; echo err >&2; exit 3'"
    assert output == ["out", "err"]
    assert end.startswith(f"{NOTE}exited with 3 after 0.0 s; CPU 0.0")
    assert first.startswith(f"{NOTE}end: 2")
    assert end.removeprefix(NOTE) in first


def test_usage_covers_one_job(tmp_path: Path) -> None:
    script = "x = bytearray(200_000_000); sum(i for i in range(3_000_000))"
    result = run(job(tmp_path, "python3", "-c", script))
    assert 0.05 < result.cpu_s <= result.duration_s + 0.1
    assert result.max_rss_mb > 200
    assert run(job(tmp_path)).cpu_s < result.cpu_s / 3


def test_job_gets_environment_and_directory(tmp_path: Path) -> None:
    result = run(job(tmp_path, "sh", "-c", "pwd; echo $EXTRA $HOME; cat", env={"EXTRA": "yes"}))
    assert result.tail() == [str(tmp_path), f"yes {os.environ['HOME']}"]


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(1024, 20_000, 20_000), (1024, 2**20, OPEN_FILES), (1024, -1, OPEN_FILES), (2**19, 2**20, None), (-1, -1, None)],
)
def test_soft_limit_of_open_files_is_raised(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, expected: int | None
) -> None:
    made: list[tuple[int, int]] = []
    monkeypatch.setattr("resource.getrlimit", lambda which: (soft, hard))
    monkeypatch.setattr("resource.setrlimit", lambda which, limits: made.append(limits))
    raise_open_files()
    assert made == ([] if expected is None else [(expected, hard)])


def test_devices_are_set_in_environment(tmp_path: Path) -> None:
    assert run(job(tmp_path, "sh", "-c", "echo $CUDA_VISIBLE_DEVICES"), gpus=("1", "3")).tail() == ["1,3"]


def test_signal_gives_negative_exit_code(tmp_path: Path) -> None:
    assert run(job(tmp_path, "sh", "-c", "kill -KILL $$")).exit_code == -9


def test_child_processes_end_with_job(tmp_path: Path) -> None:
    running = start(Admitted(0, job(tmp_path, "sh", "-c", "sleep 60 & sleep 61 & exit 0")), dict(os.environ))
    assert isinstance(running, RunningJob)
    assert running.reap().ok
    time.sleep(0.05)
    assert session_members([running.group]) == []


@pytest.mark.parametrize(("mode", "exit_code"), [(None, 127), (0o644, 126)])
def test_unstartable_program_fails(tmp_path: Path, mode: int | None, exit_code: int) -> None:
    program = tmp_path / "program"
    if mode is not None:
        program.write_text("#!/bin/sh\n")
        program.chmod(mode)
    before = len(list(Path("/proc/self/fd").iterdir()))
    result = run(job(tmp_path, str(program)))
    assert result.exit_code == exit_code
    assert result.tail()[0].startswith(f"{program}: cannot be started in {tmp_path}: ")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before  # what other tests left in threads may close


def test_missing_working_directory_fails_job(tmp_path: Path) -> None:
    result = run(job(tmp_path, "true", workdir=tmp_path / "none"))
    assert result.exit_code == NOT_WRITTEN
    assert result.reason() == (
        f"working directory {tmp_path / 'none'}: No such file or directory; somebody removed the directory, or a file "
        "system is not mounted"
    )
    assert result.tail() == [result.reason()]


def test_removed_working_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    script = f"rmdir {tmp_path}/work; exit 4"
    reason = run(job(tmp_path, "sh", "-c", script, workdir=tmp_path / "work")).reason()
    assert reason.startswith("exited with 4 after 0.")
    assert f"{tmp_path}/work is not there any more: somebody removed the directory, or a file system" in reason


def test_full_disk_is_named(tmp_path: Path) -> None:
    result = run(job(tmp_path, "sh", "-c", "echo 'DP3: write: No space left on device'; exit 1"))
    assert result.reason().endswith("s: No space left on device; free some space")
    assert "No space left" in result.log.read_text().splitlines()[-1]  # the closing note


def test_full_disk_stops_new_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = start(Admitted(0, job(tmp_path, "true")), dict(os.environ))

    def no_room(log: int, *lines: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_log_lines", no_room)
    assert isinstance(running, RunningJob)
    assert running.reap().ok
    with pytest.raises(PipelineError, match=r"cannot be written: No space left on device .*B free\); free some space"):
        open_log(job(tmp_path))


def staged(tmp_path: Path, script: str) -> Job:
    stage = tmp_path / "out" / ".x.incomplete"
    return job(tmp_path, "shown", staged=Staged(("sh", "-c", script, "sh", str(stage)), stage, tmp_path / "out"))


def test_complete_staged_outputs_appear(tmp_path: Path) -> None:
    result = run(staged(tmp_path, "echo full > $1/image.fits; ls .. > /dev/null; [ ! -e out/image.fits ]"))
    assert result.ok
    assert result.argv == ("shown",)
    assert (tmp_path / "out" / "image.fits").read_text() == "full\n"
    title, _, command, where, *_ = result.log.read_text().splitlines()
    assert command.endswith("&& shown")
    assert where == f"{NOTE}until they are complete, outputs are below {tmp_path}/out/.x.incomplete"
    assert title.startswith(NOTE)


def test_failed_program_places_no_outputs(tmp_path: Path) -> None:
    assert run(staged(tmp_path, "echo half > $1/image.fits; exit 1")).exit_code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".x.incomplete"]  # for the caller to remove


def test_unplaceable_outputs_fail_job(tmp_path: Path) -> None:
    result = run(staged(tmp_path, "echo full > $1/image.fits; mkdir out/image.fits; touch $1/.replaced"))
    assert result.exit_code == NOT_WRITTEN
    assert "its outputs are complete, and could not be moved from" in result.reason()
    assert "could not be moved" in result.log.read_text().splitlines()[-1]


def expecting(tmp_path: Path, script: str) -> Job:
    one = staged(tmp_path, script)
    assert one.staged is not None
    return replace(one, staged=replace(one.staged, expected="out/image-*.fits"))


def test_missing_output_fails_job(tmp_path: Path) -> None:
    result = run(expecting(tmp_path, "echo all is well"))
    assert result.exit_code == NOT_WRITTEN
    assert re.fullmatch(r"ended with 0 after .* s, but did not write out/image-\*\.fits", result.reason())
    assert "but did not write" in result.log.read_text()


def test_expected_output_completes_job(tmp_path: Path) -> None:
    assert run(expecting(tmp_path, "touch $1/image-psf.fits")).ok
    assert run(expecting(tmp_path, "exit 3")).reason().startswith("exited with 3")


def test_missing_stage_is_reported(tmp_path: Path) -> None:
    assert "could not be moved from" in run(expecting(tmp_path, "rm -r $1")).reason()


def test_impossible_stage_fails_job(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    result = run(staged(tmp_path, "touch started"))
    assert (result.exit_code, (tmp_path / "started").exists()) == (NOT_WRITTEN, False)
    assert "out/.x.incomplete cannot be made: " in result.reason()
    assert result.tail() == [result.reason()]


@pytest.mark.parametrize(("failures", "exit_code"), [(2, 0), (3, 126)])
def test_start_retries_after_shortage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int, exit_code: int
) -> None:
    attempts = []
    real = subprocess.Popen

    def popen(*args: object, **kwargs: object) -> object:
        attempts.append(args)
        if len(attempts) <= failures:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        return real(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(module.subprocess, "Popen", popen)
    monkeypatch.setattr(module, "SHORTAGE_PAUSE_S", 0.0)
    assert run(job(tmp_path)).exit_code == exit_code
    assert len(attempts) == 3


def test_unwritable_log_is_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match=r"step/000: log .*/file/0.log cannot be written: Not a directory"):
        open_log(job(tmp_path, log=tmp_path / "file" / "0.log"))


def test_second_attempt_appends_to_log(tmp_path: Path) -> None:
    one = job(tmp_path, "echo", "hello")
    run(one)
    again = start(Admitted(0, one), dict(os.environ), is_retry=True)
    assert isinstance(again, RunningJob)
    assert again.reap().tail() == ["hello", "hello"]
    assert run(one).tail() == ["hello"]


@pytest.mark.parametrize(("program", "is_silent"), [("true", True), ("echo x", False), ("printf x >&2", False)])
def test_result_reports_silent_program(tmp_path: Path, program: str, is_silent: bool) -> None:
    result = run(job(tmp_path, "sh", "-c", program))
    assert result.is_silent is is_silent
    assert bool(list(result.output())) is not is_silent


def test_second_attempt_is_never_silent(tmp_path: Path) -> None:
    again = start(Admitted(0, job(tmp_path, "true")), dict(os.environ), is_retry=True)
    assert isinstance(again, RunningJob)
    assert not again.reap().is_silent


def test_session_members_ignores_zombies_and_odd_names(tmp_path: Path) -> None:
    for pid, stat in {
        "10": "10 (a) b (c) S 1 10 7 0",
        "11": "11 (zombie) Z 1 11 7 0",
        "12": "12 (other) R 1 12 8 0",
        "self": "13 (self) R 1 13 7 0",
    }.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "stat").write_text(stat)
    (tmp_path / "14").mkdir()  # it ended: its directory is going away
    assert session_members([7], tmp_path) == [10]


def test_signal_to_ended_process_is_harmless() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        send_signal([process.pid], signal.SIGTERM)
