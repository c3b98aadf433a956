"""The recipes of doc/recipes.md work as they are written, on a small field."""

import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from doc_pages import REPOSITORY, blocks
from fork_server import ForkServer

RECIPES = [block for block in blocks(REPOSITORY / "doc" / "recipes.md") if block.kind == "parset"]
# Small, and with as many channels after averaging as a recipe asks for.
SMALL = ("cellsize_highres_deg=0.02", "maxlambda_highres=1500", "fieldsize_highres=0.4", "max_peak_smearing=0.0001")

pytestmark = pytest.mark.usefixtures("programs")


@pytest.fixture(scope="module")
def images(tmp_path_factory, repository):
    """Run every recipe; return the directory of its run, and its output, by a word of the recipe."""
    here = tmp_path_factory.mktemp("recipes")
    simulate = [sys.executable, str(repository / "scripts" / "simulate_observation.py"), "observation", "--nblocks=1"]
    simulate += ["--nstations=9", "--nsources=3", "--nsubbands=2", "--nchannels=4", "--slots-per-block=8"]
    subprocess.run(simulate, cwd=here, check=True, capture_output=True)
    texts = {text.rpartition(" = ")[0].split()[-1]: text for text in (recipe.text for recipe in RECIPES)}
    (here / "site.cfg").write_text("[DEFAULT]\nruntime_directory = .\nworking_directory = .\n[report]\nhtml = False\n")
    runs = {}
    with ForkServer() as server:
        for name, text in texts.items():
            job = name.rpartition(".")[2]
            text = text.replace("/data/L628614_SB*.MS", f"{here}/observation/*.MS")
            (here / f"{job}.parset").write_text(text.replace("/data/mask.fits", f"{here}/mask.fits"))
            options = [word for option in SMALL for word in ("-s", option)]
            finished = server.run(here, f"{job}.parset", "-c", "site.cfg", *options)
            assert finished.returncode == 0, f"{text}\n{finished.stderr}"
            if job == "niter":  # the first; its brightest pixels are a mask for another
                with fits.open(here / "niter" / "fullband-MFS-image.fits") as opened:
                    opened[0].data = (opened[0].data > 0.5 * opened[0].data.max()).astype(np.float32)
                    opened.writeto(here / "mask.fits")
            runs[job] = (here / job, finished.stdout)
    return runs


def _pixels(path):
    return fits.getdata(path)[0, 0]


def test_every_recipe_finishes(images):
    assert list(images) == ["niter", "multiscale-max-scales", "fits-mask", "pol", "taper-gaussian", "save-source-list"]
    for job, _ in images.values():
        assert (job / "images.metadata").stat().st_size > 0, job


def test_dirty_image_has_a_beam(images):
    job, said = images["niter"]
    assert fits.getheader(job / "fullband-MFS-image-pb.fits")["BMAJ"] > 0
    assert _pixels(job / "fullband-MFS-psf.fits").max() == pytest.approx(1.0, abs=0.01)
    assert np.array_equal(_pixels(job / "fullband-MFS-image.fits"), _pixels(job / "fullband-MFS-dirty.fits"))
    assert "niter is 0, so WSClean would make no PSF, and not know the beam: -make-psf is added" in said


def test_multiscale_with_local_rms_ends_well(images):
    job, _ = images["multiscale-max-scales"]
    assert " -multiscale " in (job / "commands.txt").read_text()
    assert "Multi-scale" in (job / "logs" / "wsclean_high_deep" / "000.log").read_text()


def test_components_are_within_the_mask(images):
    job, _ = images["fits-mask"]
    found = _pixels(job / "fullband-MFS-model.fits") != 0
    assert found.any()
    assert not found[_pixels(job.parent / "mask.fits") == 0].any()


def test_stokes_parameters_are_imaged_and_i_delivered(images):
    job, said = images["pol"]
    for number, stokes in enumerate("IQUV", 1):
        assert fits.getheader(job / f"fullband-MFS-{stokes}-image-pb.fits")["CRVAL4"] == number
    assert "polarizationType=['I']" in (job / "images.metadata").read_text()
    assert "-join-polarizations is added" in said


def test_taper_widens_the_beam(images):
    beams = [
        fits.getheader(images[name][0] / "fullband-MFS-image.fits")["BMIN"] for name in ("niter", "taper-gaussian")
    ]
    assert beams[1] > beams[0]


def test_source_list_covers_many_channels(images):
    job, _ = images["save-source-list"]
    assert len(list(job.glob("fullband-0*-image-pb.fits"))) == 8
    assert "Name, Type" in (job / "fullband-sources.txt").read_text()
