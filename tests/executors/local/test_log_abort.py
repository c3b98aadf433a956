"""Hopeless jobs end early, others go on; recorded logs of WSClean are replayed by a shell."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.executors.local import executor as giving_up
from lofarpipe.executors.local.executor import LocalExecutor
from lofarpipe.executors.local.process import WORTHLESS
from lofarpipe.jobs import Job, JobResult, Resources, Staged
from lofarpipe.programs.find import job_environment
from lofarpipe.programs.logs import LogWatch, output_fault
from lofarpipe.programs.wsclean.log import Deconvolution
from made_images import write_image
from small_sets import SetShape, make_set

LOGS = Path(__file__).parents[2] / "programs" / "logs"
WATCH = {"program": "wsclean", "max_rise": "2", "max_peak_jy": "1e5"}
NAN = "the peak of the residual image is nan Jy in major iteration 1: the deconvolution diverged; lower mgain"


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(giving_up, "LOOK_S", 0.0)


def make_job(tmp_path: Path, script: str, number: int = 0, **changes: object) -> Job:
    log = tmp_path / "logs" / f"{number:03}.log"
    facts = {"name": f"clean/{number:03}", "argv": ("sh", "-c", script), "workdir": tmp_path, "log": log}
    return Job(**{**facts, "watch": WATCH, **changes})  # type: ignore[arg-type]


def run(*jobs: Job) -> list[JobResult]:
    return LocalExecutor(Resources(2, 4.0), grace_s=0.3).run(jobs)


def test_only_diverged_job_is_stopped(tmp_path: Path) -> None:
    waiting = f"until [ -e {tmp_path}/stopped ]; do sleep 0.05; done"
    hopeless = f"trap 'touch {tmp_path}/stopped; exit 3' TERM; cat {LOGS}/wsclean_nan.log; while :; do sleep 0.05; done"
    stopped, other = run(make_job(tmp_path, hopeless), make_job(tmp_path, waiting, 1))
    assert stopped.exit_code == 3
    assert stopped.reason().startswith("stopped after ")
    assert stopped.reason().endswith(f" s: {NAN}")
    assert f"### stopped: {NAN}\n" in stopped.log.read_text()
    assert (other.exit_code, other.problem) == (0, "")


def test_job_ignoring_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = f"trap '' TERM; cat {LOGS}/wsclean_diverged.log; while :; do sleep 0.05; done"
    (result,) = run(make_job(tmp_path, deaf))
    assert result.exit_code == -signal.SIGKILL
    assert "beyond max_peak_jy" in result.problem


def test_stopped_program_failed_despite_status_0(tmp_path: Path) -> None:
    polite = f"trap 'exit 0' TERM; cat {LOGS}/wsclean_nan.log; while :; do sleep 0.05; done"
    (result,) = run(make_job(tmp_path, polite))
    assert (result.exit_code, result.ok) == (-signal.SIGTERM, False)


def test_worthless_output_fails_job(tmp_path: Path) -> None:
    stage = tmp_path / ".stage"
    script = f"cat {LOGS}/wsclean_nan.log; touch {stage}/image.fits"
    staged = Staged(("sh", "-c", script), stage, tmp_path)
    (result,) = run(make_job(tmp_path, script, staged=staged))
    assert result.exit_code == WORTHLESS
    assert result.problem.startswith("ended with 0 after ")
    assert result.problem.endswith(f", but {NAN}")
    assert not (tmp_path / "image.fits").exists()


@pytest.mark.parametrize("program", ["wsclean", "other"])
def test_images_of_nan_are_worthless(tmp_path: Path, program: str) -> None:
    stage = tmp_path / ".stage"
    for name in ("x-I-image.fits", "x-V-image.fits"):
        write_image(tmp_path / f"made-{name}", np.full((8, 8), np.nan))
    script = f"for name in I V; do cp made-x-$name-image.fits {stage}/x-$name-image.fits; done"
    staged = Staged(("sh", "-c", script), stage, tmp_path)
    (result,) = run(make_job(tmp_path, script, staged=staged, watch={"program": program}))
    assert (tmp_path / "x-I-image.fits").exists() is result.ok is (program == "other")
    if program == "wsclean":
        assert result.exit_code == WORTHLESS
        assert "but every pixel of x-I-image.fits and 1 more is NaN; look at the weights" in result.problem


def test_missing_stage_has_no_images(tmp_path: Path) -> None:
    staged = Staged(("true",), tmp_path / "gone", tmp_path)
    assert output_fault(make_job(tmp_path, "", staged=staged)) == ""


def test_stalled_solver_fails_job(tmp_path: Path) -> None:
    said = "        Converged: 0, stalled: 3, non converged: 0, failed: 0"
    (result,) = run(make_job(tmp_path, f"echo '{said}'", watch={"program": "dp3"}))
    assert "of 3 solutions of DP3 3 stalled and 0 failed: max_stalled = 1 of them" in result.problem


def test_failing_program_keeps_its_exit_code(tmp_path: Path) -> None:
    (result,) = run(make_job(tmp_path, f"cat {LOGS}/wsclean_nan.log; exit 7"))
    # It may have been seen before it ended.
    assert result.exit_code == 7


def test_unwatched_job_continues(tmp_path: Path) -> None:
    (result,) = run(make_job(tmp_path, f"cat {LOGS}/wsclean_nan.log", watch={}))
    assert result.ok


def test_good_log_continues_job(tmp_path: Path) -> None:
    slowly = f'while read -r line; do echo "$line"; done < {LOGS}/wsclean_good.log; sleep 0.2'
    (result,) = run(make_job(tmp_path, slowly))
    assert result.ok


@pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")
def test_real_wsclean_is_not_stopped(tmp_path: Path) -> None:
    shape = SetShape(nantennas=8, ntimes=10, nchan=2)
    ms = make_set(tmp_path / "a.ms", shape, with_data=True)
    with ct.table(ms, readonly=False, ack=False) as table:
        noise = np.random.default_rng(1).normal(size=(table.nrows(), 2, 4))
        table.putcol("DATA", 1.0 + 0.1 * noise.astype(np.complex64))  # 1 Jy in the middle
    options = "-size 128 128 -scale 20asec -niter 200 -mgain 0.8 -auto-threshold 3 -no-update-model-required -j 1"
    argv = ("wsclean", "-name", "small", *options.split(), ms)
    (result,) = run(make_job(tmp_path, "", argv=argv, env=job_environment()))
    assert result.ok, result.log.read_text()
    assert "Deconvolving (1)" in result.log.read_text()
    assert (tmp_path / "small-image.fits").exists()


# What was appended, and nothing else


def test_watch_reads_appended_lines_only(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log_watch = LogWatch(log, Deconvolution().read)
    assert log_watch.check_log() is None  # it is not there yet
    with log.open("w") as stream:
        stream.write("Initial peak: 1 Jy at 1,2\nInitial peak: na")
        stream.flush()
        assert log_watch.check_log() is None
        assert log_watch.check_log() is None
        stream.write("n Jy at 1,2\n")
        stream.flush()
        assert "nan" in (log_watch.check_log() or "")
    os.truncate(log, 0)
    assert log_watch.check_log() is None


def test_endless_line_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lofarpipe.programs.logs.LONGEST_LINE_BYTES", 10)
    log = tmp_path / "a.log"
    log.write_bytes(b"." * 100_000 + b"\nInitial peak: nan Jy at 1,2\n")
    assert "nan" in (LogWatch(log, Deconvolution().read).check_log() or "")
