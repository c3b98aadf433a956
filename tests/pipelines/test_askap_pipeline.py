"""The ASKAP pipeline on two simulated beams, with the installed WSClean."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from array_feed_sky import PolarisedSource, beam_centre, make_observed_beam
from copy_pipeline import journalled
from pipeline_runner import run_pipeline

pytestmark = pytest.mark.usefixtures("programs")

ARCMIN = np.radians(1 / 60)
SOURCES = (
    PolarisedSource(3 * ARCMIN, -5 * ARCMIN, (1.0, 0.3, -0.2, 0.05)),
    PolarisedSource(-6 * ARCMIN, 2 * ARCMIN, (0.5, -0.1, 0.15, 0.0)),
)
#: Offset of the beam, and angle of its receptors, degrees.
BEAMS = {0: ((0.5, -0.25), -45.0), 1: ((-0.4, 0.6), 20.0)}
SCALE_ARCSEC, SIZE = 12, 160
PARSET = f"""\
pipeline.base = askap.parset
! msdir = {{here}}/in
! datadir = {{here}}/out
! num_beams = {{beams}}
! local_wsclean = {{wsclean}}
! nchan = 2
! size = {SIZE}
! scale = {SCALE_ARCSEC}
! niter = 300
! auto_mask = 4
! temp_dir_wsclean = {{here}}/scratch
! temp_dir_images = {{memory}}
"""
CONFIG = "[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n[remote]\ncores = 1\n"
FOREIGN = "foreign.fits"


def names(folder):
    return {path.name for path in folder.iterdir()}


def make_site(here, memory, wsclean, beams):
    """Make the sets of some beams, a run of them, and foreign files in its temporary folders."""
    (here / "in").mkdir()
    for beam in beams:
        offset, receptor = BEAMS[beam]
        path = here / f"in/scienceData.beam{beam:02d}_averaged_cal.leakage.ms"
        make_observed_beam(path, SOURCES, beam, receptor, offset)
    (here / "scratch").mkdir()
    for folder in (here / "scratch", memory):
        (folder / FOREIGN).write_text("of somebody else")
    values = {"here": here, "beams": len(beams), "wsclean": wsclean, "memory": memory}
    (here / "beams.parset").write_text(PARSET.format(**values))
    (here / "pipeline.cfg").write_text(CONFIG.format(here=here))


@pytest.fixture(scope="module")
def memory():
    """A folder in memory, where there is one."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory, memory, wsclean):
    """Both beams, from sets to cubes."""
    here = tmp_path_factory.mktemp("askap")
    make_site(here, memory, wsclean, BEAMS)
    finished = run_pipeline(here, "beams.parset", "-c", "pipeline.cfg")
    assert finished.returncode == 0, finished.stderr + finished.stdout
    assert names(memory) == {FOREIGN}
    return here


def cube(here, stokes, beam):
    return fits.open(here / f"out/image.restored.{stokes}.CDFS_2_5.contcube.beam{beam:02d}.conv.fits")


@pytest.mark.parametrize("beam", BEAMS)
def test_cubes_reproduce_fluxes_and_positions(run, beam):
    for number, stokes in enumerate("iqu"):
        with cube(run, stokes, beam) as hdus:
            planes, sky = hdus[0].data[:, 0], WCS(hdus[0].header).celestial
            angle = hdus[0].header["INSTRUMENT_RECEPTOR_ANGLE"]
        centre = np.degrees(beam_centre(BEAMS[beam][0]))
        for source in SOURCES:
            offset = np.degrees([source.l_rad / np.cos(np.radians(centre[1])), source.m_rad])
            x, y = (round(float(value)) for value in sky.world_to_pixel_values(*(centre + offset)))
            patch = planes[:, y - 1 : y + 2, x - 1 : x + 2].reshape(2, -1)
            truth = source.fluxes_jy[number]
            peak = patch[np.arange(2), np.abs(patch).argmax(axis=1)]
            assert peak == pytest.approx([truth] * 2, rel=0.03)
        assert angle == pytest.approx(45 - BEAMS[beam][1])


def test_only_products_remain(run):
    found = names(run / "out")
    root = "image.CDFS_2_5.contcube.beam00"
    assert {f"{root}-0000-Q-image.fits", f"{root}-MFS-psf.fits", f"{root}-0001-residual.fits"} <= found
    assert "weights.restored.u.CDFS_2_5.contcube.beam01.conv.txt" in found
    assert {f"{root}.image_i.log", f"{root}.image_polarisation.log"} <= found
    assert all(name.endswith((".fits", ".txt", ".log")) for name in found)
    assert names(run / "in") == {f"scienceData.beam0{beam}_averaged_cal.leakage.ms" for beam in BEAMS}
    assert names(run / "scratch") == {FOREIGN}


def test_second_start_runs_nothing(run):
    started = len(journalled(run / "beams", "job_started"))
    again = run_pipeline(run, "beams.parset", "-c", "pipeline.cfg")
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(journalled(run / "beams", "job_started")) == started


def test_purge_leaves_cubes_and_images_of_the_band(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run / "out", copy)
    from lofarpipe.programs.wsclean.outputs import read_products

    root = f"{copy}/image.CDFS_2_5.contcube.beam00"
    script = Path(__file__).parents[2] / "scripts/remove_images.py"
    images = [str(path) for path in copy.glob("image.CDFS*beam00-*.fits")]
    subprocess.run([sys.executable, script, root, *images], check=True)
    left = read_products(root, [str(path) for path in copy.iterdir()])
    assert {one.channel for one in left} == {None}
    assert {one.kind for one in left} == {"image", "dirty", "model", "residual", "psf"}
    assert len(list(copy.glob("image.restored.*"))) == 6


def killed_at(here, step, delay_s):
    """Start a run, and kill it a moment after a step has begun its first job."""
    command = [sys.executable, "-m", "lofarpipe.cli", "beams.parset", "-c", "pipeline.cfg"]
    before = len(journalled(here / "beams", "job_started"))
    process = subprocess.Popen(command, cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        new = journalled(here / "beams", "job_started")[before:]
        if any(event["step"] == step for event in new):
            break
        time.sleep(0.05)
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_runs_resume_to_the_same_cubes(run, memory, tmp_path, wsclean):
    make_site(tmp_path, memory, wsclean, [0])
    moments = random.Random(14)
    for step in ("fix_ms", "image_i", "image_polarisation", "common_beam", "cube"):
        killed_at(tmp_path, step, moments.uniform(0, 0.6))
    finished = run_pipeline(tmp_path, "beams.parset", "-c", "pipeline.cfg")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    for stokes in "iqu":
        with cube(run, stokes, 0) as expected, cube(tmp_path, stokes, 0) as found:
            assert np.array_equal(found[0].data, expected[0].data, equal_nan=True)
    assert names(memory) == names(tmp_path / "scratch") == {FOREIGN}
    assert not [name for name in names(tmp_path / "out") if name.startswith(".")]


WRAPPER = """\
#!/bin/sh
case "$*" in
  *"-pol I "*) if mkdir {here}/failed 2>/dev/null; then echo out of luck; exit 3; fi
    case "$*" in *"-size {size} {size}"*)
      echo "Initial peak: 1.02 Jy at 1,1"; echo "Iteration 100, scale 0 px : 1.5 KJy at 10,10";;
    esac;;
esac
exec {wsclean} "$@"
"""


def test_failed_job_repeats_and_divergence_widens(memory, tmp_path, wsclean):
    make_site(tmp_path, memory, tmp_path / "wsclean", [0])
    (tmp_path / "wsclean").write_text(WRAPPER.format(here=tmp_path, wsclean=wsclean, size=SIZE))
    (tmp_path / "wsclean").chmod(0o755)
    with (tmp_path / "beams.parset").open("a") as parset:
        parset.write("image_i.control.wider_retry = 64\n")
    first = run_pipeline(tmp_path, "beams.parset", "-c", "pipeline.cfg")
    assert first.returncode == 1
    assert "jobs failed: 1; run again to repeat them" in first.stderr
    assert "beam00_averaged_cal.leakage.ms, Stokes I) exited with 3" in first.stderr
    assert not list((tmp_path / "out").glob("image.restored.*"))
    before = len(journalled(tmp_path / "beams", "job_started"))
    second = run_pipeline(tmp_path, "beams.parset", "-c", "pipeline.cfg")
    assert second.returncode == 0, second.stderr + second.stdout
    jobs = [event["job"] for event in journalled(tmp_path / "beams", "job_started")[before:]]
    assert jobs == ["image_i/000", "image_i/000", "common_beam/000", "cube/000"]
    assert "the deconvolution diverged; lower mgain; it is run again" in second.stdout
    with cube(tmp_path, "i", 0) as of_i, cube(tmp_path, "q", 0) as of_q:
        assert (of_i[0].data.shape[-1], of_q[0].data.shape[-1]) == (SIZE + 64, SIZE)
