"""Where images come from, in their headers: written when a job has ended, and nothing is done before that."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.engine.provenance import write_image_record, write_provenance
from lofarpipe.jobs import Job, JobResult
from lofarpipe.programs.base import KNOWN_PROGRAMS
from small_sets import SetShape, make_set

pytestmark = pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")
SMALL = SetShape(nantennas=3, ntimes=6)


def job_of(here: Path, *options: str) -> tuple[PlannedJob, JobResult]:
    argv = (str(shutil.which("wsclean")), *options, "-name", f"{here}/a b", f"{here}/A.MS")
    job = Job("image/000", argv, here, here / "log", label=f"[{here}/A.MS]")
    result = JobResult("image/000", 0, 1.7e9, 65.0, 1.0, 1.0, job.log, argv)
    return PlannedJob(job, 0, ([], {}), (), {}, None), result


def written(here: Path, *options: str, entries: str = "[]") -> fits.Header:
    image = here / "image.fits"
    fits.writeto(image, np.ones((2, 2), np.float32), overwrite=True)
    names = [str(image), f"{here}/none.fits", f"{here}/sources.txt", f"{here}/odd.fits"]
    (here / "odd.fits").write_text("odd")
    assert write_provenance(names, *job_of(here, *options), KNOWN_PROGRAMS["wsclean"], entries) is None
    assert (here / "odd.fits").read_text() == "odd"
    return fits.getheader(image)


def test_header_has_command_versions_and_observation(tmp_path: Path) -> None:
    make_set(tmp_path / "A.MS", SMALL)
    entries = "[OBS_ID=N1+N2,SPW=SW03,HISTORY=a%2C b]"
    header = written(tmp_path, "-niter", "0", entries=entries)
    assert (header["OBS_ID"], header["SPW"], header["TELESCOP"], header["EXPTIME"]) == ("N1+N2", "SW03", "LOFAR", 60)
    history = "\n".join(header["HISTORY"])
    joined = history.replace("\n", "")
    assert f"command: {shutil.which('wsclean')} -niter 0 -name '{tmp_path}/a b' {tmp_path}/A.MS" in joined
    assert "\nprogram: WSClean 3." in history
    assert "\nrunner: genericpipeline " in history
    assert f"\nhost: {os.uname().nodename}, 1 cores" in history
    assert "\ntime: 2023-11-14T22:13:20Z, 1 min 5 s" in history
    assert "\na, b" in history


@pytest.mark.parametrize("option", ["-interval", "-intervals-out", "-even-timesteps", "-odd-timesteps"])
def test_partial_image_omits_observation_times(tmp_path: Path, option: str) -> None:
    make_set(tmp_path / "A.MS", SMALL)
    header = written(tmp_path, option, "2")
    assert "EXPTIME" not in header
    assert header["TELESCOP"] == "LOFAR"


def test_remote_set_adds_no_telescope(tmp_path: Path) -> None:
    header = written(tmp_path)
    assert "TELESCOP" not in header
    assert "HISTORY" in header


def test_unwritable_header_is_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lofarpipe.engine.provenance.extend_header", full)
    (tmp_path / "a.fits").touch()
    planned, result = job_of(tmp_path)
    problem = write_provenance([f"{tmp_path}/a.fits"], planned, replace(result), KNOWN_PROGRAMS["wsclean"], "")
    assert (
        problem
        == f"{tmp_path}/a.fits: its header cannot be written: No space left on device; nothing is left of this image"
    )
    assert write_provenance([f"{tmp_path}/none.fits"], planned, result, KNOWN_PROGRAMS["wsclean"], "") is None


def test_record_has_command_versions_and_log(tmp_path: Path) -> None:
    planned, result = job_of(tmp_path, "-size", "8", "8")
    (tmp_path / "log").write_text("cleaned\n")
    write_image_record(tmp_path / "a.image.log", planned, result, KNOWN_PROGRAMS["wsclean"])
    lines = (tmp_path / "a.image.log").read_text().splitlines()
    assert lines[0].startswith("command: /")
    assert "-size 8 8" in lines[0]
    assert any(line.startswith("program: WSClean 3") for line in lines)
    assert any(line.startswith("runner: genericpipeline ") for line in lines)
    assert "cleaned" in lines
    write_image_record(tmp_path / "b.log", planned, replace(result, log=tmp_path / "none"), KNOWN_PROGRAMS["wsclean"])
    assert (tmp_path / "b.log").is_file()
