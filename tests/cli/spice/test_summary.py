"""The final summary: beams, failures."""

from pathlib import Path

import pytest

from lofarpipe.cli.spice.summary import beam_lines, failures, write_beam_table
from lofarpipe.state.run_state import DONE, FAILED, JobState, RunState, StepState


def job(name: str, label: str, state: str = DONE, **facts: object) -> JobState:
    return JobState(name, state, 1, label, log=f"/logs/{name}.log", **facts)  # type: ignore[arg-type]


def run_of(*jobs: JobState) -> RunState:
    state = RunState()
    for one in jobs:
        step = one.name.partition("/")[0]
        state.steps.setdefault(step, StepState(step)).jobs[one.name] = one
    return state


STATE = run_of(
    job("image_i/000", "/in/s.beam00_x.ms", duration_s=61.0),
    job(
        "image_i/001", "/in/s.beam01_x.ms", FAILED, exit_code=-9, problem="killed by signal 9 (probably out of memory)"
    ),
    job(
        "image_polarisation/000",
        "/in/s.beam00_x.ms",
        FAILED,
        exit_code=255,
        problem="exited with 255 after 3 s: out of luck",
    ),
    job("cube/000", "[/out/a.fits,/out/b.fits]", FAILED, problem="no beam is below psf_cutoff\nmore"),
)


def test_table_has_line_per_beam() -> None:
    lines = beam_lines(STATE)
    assert lines[0].split() == ["beam", "image_i", "image_polarisation", "cube"]
    assert [line.split()[0] for line in lines[1:]] == ["beam00", "beam01", "a.fits"]
    assert "done, 1 min 1 s" in lines[1] or "done, 61 s" in lines[1]
    assert beam_lines(RunState()) == []


def test_every_failure_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = [
        "beam01: image_i, Stokes I: signal 9, killed by signal 9 (probably out of memory); log: /logs/image_i/001.log",
        "beam00: image_polarisation, Stokes UQ: exit code 255 after 3 s: out of luck; "
        "log: /logs/image_polarisation/000.log",
        "a.fits: cube, Stokes UQI: no beam is below psf_cutoff; log: /logs/cube/000.log",
    ]
    assert failures(STATE, "uqi") == wanted
    assert write_beam_table(STATE, is_quiet=True, pols="uqi") == 1
    assert capsys.readouterr().out.splitlines() == wanted
    assert write_beam_table(run_of(job("image_i/000", "x.beam00.ms")), is_quiet=False, pols="I") == 0
    assert "beam00" in capsys.readouterr().out


def test_last_log_line_gives_reason(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("### cube/000\nstarted\nno beam is below psf_cutoff\n")
    failed = JobState("cube/000", FAILED, 1, "x.beam02.ms", log=f"{tmp_path}/log", exit_code=1, problem="exited with 1")
    (line,) = failures(run_of(failed), "I")
    assert line == f"beam02: cube, Stokes I: exit code 1: no beam is below psf_cutoff; log: {tmp_path}/log"
