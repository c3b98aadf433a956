"""meerkat.parset on a small set: products with the sky's Stokes parameters, kill and resume, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from band_sets import OFFSET_JY, OFFSET_RAD, STOKES_JY, BandShape, make_band_set
from copy_pipeline import journalled
from lofarpipe.programs.find import find
from lofarpipe.state.scratch import MARKER, Marker
from pipeline_runner import run_pipeline
from slurm_cluster import Cluster

SMALL = """
pipeline.base = meerkat.parset
! vis                 = {here}/cosmos.ms
! outdir              = {here}/out
! imsize              = 96
! cell_arcsec         = 8
! frequency_range_mhz = 900~1000
! channel_width_mhz   = 20
! mfs_range_mhz       = 900~1000
! mfs_minuv_lambda    = 0
! mfs_robust          = [0.0]
! channel_robust      = [0.0]
! mfs_channels_out    = 2
! multiscale_scales   = []
! common_beam_arcsec  = auto
! channels_per_job    = 2
! scratch_dir         = {here}/scratch
"""
CONFIG = """[DEFAULT]
runtime_directory = {here}/runs
working_directory = {here}/runs
"""
SLURM = """[remote]
method = slurm
[slurm]
array_limit = 1
poll_s = 0.5
queue_poll_s = 1
"""


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """A directory with a set of which one channel is flagged, a field parset, and a configuration."""
    make_band_set(tmp_path / "cosmos.ms", BandShape(flagged=((0, 2), (0, 3))))
    (tmp_path / "field.parset").write_text(SMALL.format(here=tmp_path))
    (tmp_path / "site.cfg").write_text(CONFIG.format(here=tmp_path))
    for name in ("runs", "scratch"):
        (tmp_path / name).mkdir()
    return tmp_path


def run(field: Path, *options: str) -> subprocess.CompletedProcess[str]:
    settings = [word for option in options for word in ("-s", option)]
    return run_pipeline(field, "field.parset", "-c", "site.cfg", *settings)


def killed_run(field: Path, log: str) -> None:
    """Start a run and kill it, with all that it has started, once a job has written a log."""
    command = [sys.executable, "-m", "lofarpipe.cli", "field.parset", "-c", "site.cfg"]
    with (field / "killed.log").open("w") as output:
        process = subprocess.Popen(command, cwd=field, stdout=output, stderr=output, start_new_session=True)
    while not (field / "runs" / "field" / "logs" / log).is_file():
        assert process.poll() is None, (field / "killed.log").read_text()
        time.sleep(0.05)
    time.sleep(1.0)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


BREAKABLE = """#!/bin/sh
case "$*" in *"briggs -1.0"*) test -e {here}/broken && exit 1;; esac
exec {wsclean} "$@"
"""


@pytest.fixture
def breakable(field: Path, programs: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file; while it exists, images at robust -1.0 fail."""
    wrapper = field / "bin" / "wsclean"
    wrapper.parent.mkdir()
    wrapper.write_text(BREAKABLE.format(here=field, wsclean=find("wsclean")))
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}{os.pathsep}{os.environ['PATH']}")
    return field / "broken"


def test_killed_run_resumes_to_all_products(field: Path, breakable: Path) -> None:
    killed_run(field, "image_channels/001.log")
    done = run(field)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "image_mfs_quv: done before" in done.stdout + done.stderr
    products = field / "out" / "cosmos"
    with fits.open(products / "cubes" / "cosmos_cube_IQUV_0.0_96.fits") as hdus:
        pixels = hdus[0].data
        assert [bool(np.isnan(plane).all()) for plane in pixels] == [False, True, True, False, False]
        assert pixels[[0, 3, 4], :, 48, 48] == pytest.approx(np.tile(STOKES_JY, (3, 1)), abs=0.03)
    with fits.open(products / "cubes" / "cosmos_cube_IQUV_0.0_96.smoothed.fits") as hdus:
        width_rad = np.radians(hdus[0].header["BMAJ"])
        assert hdus[0].header["BMAJ"] == hdus[0].header["BMIN"]
        of_the_other = OFFSET_JY * np.exp(-4 * np.log(2) * (np.hypot(*OFFSET_RAD) / width_rad) ** 2)
        peaks_jy = [STOKES_JY[0] + of_the_other, *STOKES_JY[1:]]  # the beam reaches the source beside it
        assert hdus[0].data[0, :, 48, 48] == pytest.approx(peaks_jy, abs=0.05)
    band = fits.getdata(products / "mfs_0.0" / "cosmos_mfs_IQUV_0.0_96.fits")
    assert band[0, :, 48, 48] == pytest.approx(list(STOKES_JY), abs=0.03)
    manifest = json.loads((products / "cubes" / "cosmos_cube_IQUV_0.0_96.json").read_text())
    assert [channel["reason"] for channel in manifest["channels"]] == [None, "flagged", "no data", None, None]
    cleanup = json.loads((products / "cleanup.json").read_text())
    assert cleanup["verified"] is True
    assert list((field / "scratch").iterdir()) == []
    assert list((field / "runs" / "field").glob("mfs_*")) == []
    check_failed_band(field, products, breakable)
    check_further_runs(field, products)


def check_failed_band(field: Path, products: Path, breakable: Path) -> None:
    """A failed image of the band takes no other product away, and ends the run with 1; the next run repeats it.

    Of the channels another robust value makes only its own images.
    """
    breakable.touch()
    failed = run(field, "channel_robust=[0.0, 1.0]", "mfs_robust=[-1.0, 0.0]")
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "jobs failed: 1; run again to repeat them\nimage_mfs_i/" in failed.stderr
    assert "mfs_-1.0/cosmos_mfs_IQUV_-1.0_96.fits: does not exist" in failed.stderr
    assert (products / "cubes" / "cosmos_cube_IQUV_1.0_96.smoothed.fits").is_file()
    assert list(json.loads((products / "quality.json").read_text())["cubes"]) == ["0.0", "1.0"]
    logs = [path.read_text() for path in (field / "runs/field/logs/image_channels").glob("*.log")]
    assert sum("2 are kept" in log or "1 are kept" in log for log in logs) >= 1
    breakable.unlink()
    before = (products / "mfs_0.0" / "cosmos_mfs_IQUV_0.0_96.fits").stat().st_mtime_ns
    mended = run(field, "channel_robust=[0.0, 1.0]", "mfs_robust=[-1.0, 0.0]")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "image_channels: done before" in mended.stdout
    images = [
        f"mfs_{robust}/cosmos_mfs_IQUV_{robust}_96{end}.fits" for robust in ("-1.0", "0.0") for end in ("", ".smoothed")
    ]
    assert list(json.loads((products / "quality.json").read_text())["images"]) == images
    assert (products / images[2]).stat().st_mtime_ns == before
    assert list((field / "runs" / "field").glob("mfs_*")) == []


def check_further_runs(field: Path, products: Path) -> None:
    """Channel images go on request once the cubes hold them; other settings are refused."""
    image = products / "chan_imgs" / "001" / "cosmos.chan001_IQUV_0.0_96.fits"
    assert image.is_file()
    done = run(field, "channel_robust=[0.0, 1.0]", "keep_channel_images=False")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not image.exists()  # the cubes hold it
    assert (products / "cubes" / "cosmos_cube_IQUV_1.0_96.fits").is_file()
    refused = run(field, "niter=10")
    assert refused.returncode == 1
    assert "was made of other data or with other settings; set overwrite = True" in refused.stderr


@pytest.mark.usefixtures("programs")
def test_slurm_runs_channels_in_throttled_array(field: Path, slurm: Cluster) -> None:
    with (field / "site.cfg").open("a") as config:
        config.write(SLURM)
    small = ["channel_cores=1", "channel_memory_gb=1", "mfs_cores=1", "mfs_memory_gb=1", "channels=1-2"]
    done = run(field, *small, "mfs_robust=[]", "channels_per_job=1", "common_beam_arcsec=none")
    assert done.returncode == 0, done.stdout + done.stderr
    tasks = [line for line in slurm.call("scontrol", "show", "job", "-o").splitlines() if "image_channels." in line]
    assert len(tasks) == 2
    assert all("ArrayTaskThrottle=1" in task and "NumCPUs=1" in task for task in tasks)
    jobs = [job for job in journalled(field / "runs" / "field", "job_done") if job["step"] == "image_channels"]
    first, second = sorted(jobs, key=lambda job: job["start_s"])
    assert second["start_s"] >= first["start_s"] + first["duration_s"] - 0.1
    nodes = json.loads((field / "out" / "cosmos" / "cleanup.json").read_text())["nodes"]
    assert set(nodes) == {first["node"], second["node"]} <= {"n1", "n2"}
    with fits.open(field / "out" / "cosmos" / "cubes" / "cosmos_cube_IQUV_0.0_96.fits") as hdus:
        assert [bool(np.isnan(plane).all()) for plane in hdus[0].data] == [False, True]
    assert list((field / "scratch").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["vis={here}/none.ms"], "vis: .*none.ms: no such measurement set"),
        (["data_column=MODEL_DATA"], "has no column MODEL_DATA of visibilities; it has CORRECTED_DATA, DATA"),
        (["frequency_range_mhz=2000~2100"], "has no channel in it"),
        (["mfs_robust=[3]"], "mfs_robust: is '\\[3\\]'; a list of numbers from -2 to 2"),
        (["imsise=64"], "did you mean 'imsize'"),
        (["outdir=/proc/nothing"], "outdir: /proc/nothing cannot be written"),
        (["outdir=products"], "outdir: products is relative, and jobs work elsewhere; write /"),
        (["scratch_dir=/proc/nothing"], "scratch_dir: /proc/nothing cannot be written"),
        (["imsize=400000"], "imsize: an image of 400000 pixels takes about"),
    ],
)
def test_bad_input_is_found_before_the_first_job(field: Path, options: list[str], reason: str) -> None:
    import re

    done = run(field, *(option.format(here=field) for option in options))
    assert done.returncode == 1
    assert re.search(reason, done.stderr), done.stderr
    assert "nothing was run" in done.stderr


@pytest.mark.usefixtures("programs")
def test_dry_run_shows_commands_and_writes_nothing(field: Path) -> None:
    residue = field / "scratch" / "genericpipeline-image_channels-001-0"
    residue.mkdir()
    Marker(str(field / "runs" / "field"), "image_channels", "001").write(residue)
    done = run_pipeline(field, "field.parset", "-c", "site.cfg", "--dry-run")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("image_mfs_i/000: ")]
    assert "-weight briggs 0.0" in line
    assert "-data-column CORRECTED_DATA" in line
    assert "image_channels/001" in done.stdout
    assert f"# scratch_nodes: {residue}: left by image_channels/001; listed, and would be removed" in done.stdout
    assert [path.name for path in residue.iterdir()] == [MARKER]
    assert not (field / "out").exists()
    assert list((field / "runs").iterdir()) == []
