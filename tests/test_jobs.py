"""Texts of jobs and results."""

import resource
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from lofarpipe.jobs import NOTE, Interrupted, Job, JobResult, duration_text, result_of


def job(**changes: object) -> Job:
    facts = {"name": "average/007", "argv": ("DP3", "steps=[a b]"), "workdir": Path("/w d"), "log": Path("/l/7.log")}
    return Job(**{**facts, **changes})  # type: ignore[arg-type]


def result(**changes: object) -> JobResult:
    facts = {"name": "average/007", "exit_code": 0, "start_s": 1e9, "duration_s": 11520.0, "cpu_s": 1.0}
    facts |= {"max_rss_mb": 12340.0, "log": Path("/l/7.log"), "argv": ("DP3",)}
    return JobResult(**{**facts, **changes})  # type: ignore[arg-type]


def test_command_line_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALREADY", "so")  # here; where it is typed it may not be
    typed = job(env={"B": "2 x", "A": "1", "ALREADY": "so"}).command_line()
    assert typed == "cd '/w d' && env A=1 ALREADY=so 'B=2 x' DP3 'steps=[a b]'"


def test_command_line_without_environment() -> None:
    assert shlex.split(job().command_line()) == ["cd", "/w d", "&&", "DP3", "steps=[a b]"]


def test_command_line_makes_temporary_directory() -> None:
    assert job(tempdir=Path("/t d")).command_line() == "cd '/w d' && mkdir -p '/t d' && DP3 'steps=[a b]'"


def test_result_copies_job_facts() -> None:
    of = job(host="n1", label="a.MS", memory_gb=3.5)
    usage = resource.struct_rusage((2.0, 0.5, 1000, *[0] * 13))  # user and system time, s; memory, KiB
    found = result_of(of, 3, 1e9, 60.0, usage, node="n2")
    facts = (of.name, 3, 1e9, 60.0, 2.5, 1.024, of.log, of.argv, "n1", "a.MS", "n2", 3.5)
    assert found == JobResult(*facts)
    assert (result_of(of, 3).cpu_s, result_of(of, 3).max_rss_mb) == (0.0, 0.0)


def test_only_exit_code_zero_is_ok() -> None:
    assert result().ok
    assert not result(exit_code=1).ok
    assert not result(exit_code=-15).ok


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"exit_code": 255}, "exited with 255 after 3 h 12 min"),
        ({"exit_code": 134}, "exited with 134 (SIGABRT) after 3 h 12 min"),
        ({"exit_code": 137}, "exited with 137 (probably out of memory: it used 12.3 GB) after 3 h 12 min"),
        ({"exit_code": -9}, "killed by signal 9 (probably out of memory: it used 12.3 GB) after 3 h 12 min"),
        ({"exit_code": -15, "duration_s": 2.0}, "killed by signal 15 (SIGTERM) after 2.0 s"),
        ({"exit_code": -99, "duration_s": 2.0}, "killed by signal 99 (unknown) after 2.0 s"),
        ({"exit_code": -15, "start_s": 0.0}, "was not started"),
    ],
)
def test_result_gives_reason(changes: dict[str, object], reason: str) -> None:
    assert result(**changes).reason() == reason


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (11520, "3 h 12 min")],
)
def test_duration_is_formatted(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_tail_omits_notes_and_empty_lines(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_bytes(f"{NOTE}command\none\n\ntwo\nthr\xe9e\n{NOTE}exited with 1\n".encode("latin-1"))
    assert result(log=log).tail(2) == ["two", "thr\ufffde"]
    assert result(log=log).tail(0) == []
    assert list(result(log=log).output()) == ["one\n", "\n", "two\n", "thr\ufffde\n"]


def test_tail_reads_end_of_long_log(tmp_path: Path) -> None:
    log = tmp_path / "job.log"
    log.write_text("x" * 79 + "\n", encoding="utf-8")
    with log.open("a") as stream:
        stream.writelines(f"{number:79}\n" for number in range(100_000))
    assert [int(line) for line in result(log=log).tail(3)] == [99_997, 99_998, 99_999]
    assert len(result(log=log).tail(10_000)) < 1000


@pytest.mark.parametrize("count", [1, 30_000], ids=["short", "long"])  # of 9 bytes: more than is read at once
def test_every_line_ending_is_recognised(tmp_path: Path, count: int) -> None:
    log = tmp_path / "job.log"
    log.write_bytes(b"a\r\nb\x85c\rd\n" * count)
    assert list(result(log=log).output())[:3] == ["a\n", "b\ufffdc\n", "d\n"]


def test_missing_log_is_empty(tmp_path: Path) -> None:
    assert result(log=tmp_path / "none.log").tail() == []
    assert list(result(log=tmp_path / "none.log").output()) == []
    assert list(result(log=tmp_path).output()) == []


@pytest.mark.parametrize(
    ("log", "written"),
    [
        (f"{NOTE}a\n{NOTE}b\n", []),
        (f"{NOTE}a\n{NOTE}b", []),
        (f"x\n{NOTE}b\n", ["x\n"]),
        (f"{NOTE}a\nx", ["x"]),
        (f"{NOTE}a\n\n{NOTE}b\n", ["\n"]),
        (f"{NOTE}a\rx\n", ["x\n"]),
        ("", []),
    ],
)
def test_output_excludes_notes(tmp_path: Path, log: str, written: list[str]) -> None:
    (tmp_path / "job.log").write_bytes(log.encode())
    assert list(result(log=tmp_path / "job.log").output()) == written


def test_silent_program_log_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "job.log").write_text("x\n")
    assert list(replace(result(log=tmp_path / "job.log"), is_silent=True).output()) == []


def test_interrupted_names_signal() -> None:
    error = Interrupted(signal.SIGTERM)
    assert error.signal == 15
    assert "SIGTERM" in str(error)
    assert not isinstance(error, Exception)  # which plugins catch
