"""The line in the head of a log that describes the end of the job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lofarpipe.executors.local.process import LINE_BYTES, RunningJob, end_line, start, usage_text, write_end
from lofarpipe.executors.local.resources import Admitted
from lofarpipe.jobs import NOTE, Job, JobResult


def run(one: Job, gpus: tuple[str, ...] = (), is_retry: bool = False) -> JobResult:
    running = start(Admitted(0, one, gpus), dict(os.environ), is_retry)
    return running.reap() if isinstance(running, RunningJob) else running


def job(here: Path, *argv: str) -> Job:
    return Job("step/000", argv, here, here / "0.log", label="L1.MS")


def test_end_line_has_fixed_length() -> None:
    for text in ("", "not yet", "exited with 0", "x" * 1000, "é" * 1000, "a\nb"):
        line = end_line(text)
        assert len(line) == LINE_BYTES
        assert line.count(b"\n") == 1
    assert end_line("x" * 1000).rstrip().endswith(b"xxx...")
    assert end_line("é" * 1000).decode().rstrip().endswith("é...")
    assert end_line("a\n  b").decode().rstrip() == f"{NOTE}end: a b"


def test_running_job_has_open_end(tmp_path: Path) -> None:
    running = start(Admitted(0, job(tmp_path, "cat"), ()), dict(os.environ))
    assert isinstance(running, RunningJob)
    assert (tmp_path / "0.log").read_text().splitlines()[1].rstrip() == f"{NOTE}end: not yet"
    running.reap()
    assert "exited with 0" in (tmp_path / "0.log").read_text().splitlines()[1]


def test_head_repeats_last_line_in_place(tmp_path: Path) -> None:
    result = run(job(tmp_path, "sh", "-c", "echo one; echo two >&2; exit 4"))
    title, end, command, *output, last = result.log.read_text().splitlines()
    assert title.startswith(f"{NOTE}step/000 L1.MS on localhost, 2")
    assert end.rstrip().endswith(usage_text(result))
    assert command == f"{NOTE}cd {tmp_path} && sh -c 'echo one; echo two >&2; exit 4'"
    assert (output, last) == (["one", "two"], NOTE + usage_text(result))
    assert result.tail() == ["one", "two"]
    assert list(result.output()) == ["one\n", "two\n"]


def test_second_attempt_overwrites_end(tmp_path: Path) -> None:
    run(job(tmp_path, "sh", "-c", "exit 4"))
    run(job(tmp_path, "sh", "-c", "exit 5"), is_retry=True)
    assert "exited with 5" in (tmp_path / "0.log").read_text().splitlines()[1]


def test_missing_program_is_noted(tmp_path: Path) -> None:
    run(job(tmp_path, "/no/such/program"))
    assert "/no/such/program: cannot be started" in (tmp_path / "0.log").read_text().splitlines()[1]


def test_devices_are_noted(tmp_path: Path) -> None:
    result = run(job(tmp_path, "true"), gpus=("0", "2"))
    assert f"{NOTE}CUDA_VISIBLE_DEVICES=0,2" in result.log.read_text().splitlines()


@pytest.mark.parametrize(
    "text", ["", f"{NOTE}title\nno such line\n", f"{NOTE}title\n{NOTE}end: of a program\nmore\n", f"{NOTE}end: first\n"]
)
def test_text_without_head_stays_unchanged(tmp_path: Path, text: str) -> None:
    (tmp_path / "log").write_text(text)
    write_end(tmp_path / "log", "exited with 0")
    assert (tmp_path / "log").read_text() == text


def test_missing_log_is_ignored(tmp_path: Path) -> None:
    write_end(tmp_path / "none" / "log", "exited with 0")
    assert not (tmp_path / "none").exists()
