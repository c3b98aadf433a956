"""The same sets imaged with WSClean and with the imager of this package: weights, dirty and cleaned images."""

import subprocess

import numpy as np
import pytest

pytest.importorskip("ducc0")

from astropy.io import fits

from imager_runs import CELL_ARCSEC, MAX_UV, SIZE, make_set, pixel_source, run_settings
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.imager.run import image_sets
from lofarpipe.programs.find import find

# WSClean makes its images on a coarse grid, too, and errs by 0.2 of the peak at their edges where a few baselines are
# imaged; without it both agree to the accuracy of the gridders.
EXACT = ("-use-wgridder", "-no-small-inversion", "-wgridder-accuracy", "1e-5", "-no-update-model-required")


def run_wsclean(name, ms, *options):
    try:
        program = find("wsclean")
    except PipelineError as err:
        pytest.skip(str(err))
    argv = [program, "-j", "2", "-name", name, *EXACT, *options, ms]
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("weighting", [("briggs", 0.0), "uniform"], ids=str)
def test_channel_weights_agree_with_wsclean(tmp_path, weighting):
    ms = make_set(tmp_path / "a.ms", [pixel_source(128, 128, 3.0)], noise=0.1)
    shape = ("-size", SIZE, SIZE, "-scale", f"{CELL_ARCSEC}asec", "-padding", 1.2, "-minuv-l", 40, "-maxuv-l", MAX_UV)
    words = ("uniform",) if weighting == "uniform" else weighting
    run_wsclean(tmp_path / "w", ms, *shape, "-weight", *words, "-channels-out", 2, "-join-channels", "-niter", 0)
    options = {"min_uv_lambda": 40.0, "niter": 0, "averaging_loss": 0.0, "auto_mask": 0.0}
    settings = run_settings(ms, tmp_path / "o", weighting=weighting, **options)
    image_sets(settings)
    weights, counts = (
        np.array([[fits.getheader(tmp_path / f"{name}-000{chan}-image.fits")[key] for chan in (0, 1)] for name in "wo"])
        for key in ("WSCIMGWG", "WSCNVIS")
    )
    assert weights[1] / weights[0] == pytest.approx((weights[1] / weights[0])[0], rel=2e-4)
    if counts[0].all():
        assert counts[1] == pytest.approx(counts[0])
    dirty = [fits.getdata(tmp_path / f"{name}-MFS-dirty.fits").squeeze() for name in "wo"]
    assert np.abs(dirty[1] - dirty[0]).max() < 1e-3 * dirty[0].max()


@pytest.fixture(scope="module")
def real_images(hba_set, tmp_path_factory):
    """Dirty and cleaned images of a real set by both imagers: the stem of their names."""
    folder = tmp_path_factory.mktemp("real")
    shape = ("-size", 512, 512, "-scale", "20asec", "-maxuv-l", 3000, "-padding", 1.2, "-weight", "briggs", 0)
    cleaning = ("-niter", 2000, "-mgain", 0.8, "-auto-threshold", 3, "-auto-mask", 5)
    run_wsclean(folder / "w", hba_set, *shape, *cleaning)
    settings = run_settings(
        *(str(hba_set), folder / "o"),
        size=(512, 512),
        cell_rad=np.radians(20 / 3600),
        max_uv_lambda=3000.0,
        channels_out=1,
        niter=2000,
        column="DATA",
    )
    image_sets(settings)
    return folder


def test_real_dirty_images_agree(real_images):
    one, other = (fits.getdata(real_images / f"{name}-dirty.fits").squeeze() for name in "wo")
    assert np.abs(one - other).max() < 1e-3 * np.abs(one).max()


def test_real_cleaned_images_agree_within_noise(real_images):
    one, other = (fits.getdata(real_images / f"{name}-residual.fits").squeeze() for name in "wo")
    assert (one - other).std() < one.std()
