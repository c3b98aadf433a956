"""Images of a known sky, compared with WSClean's of the same set, and with thermal noise."""

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("ducc0")

from astropy.io import fits

from imager_runs import make_set, run_settings
from loading import load_script
from lofarpipe.imaging.imager.run import image_sets
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.imager.visibilities import read_channels
from yardstick_measures import channel_weights, measure, worse_measures
from yardstick_set import Observation, make_yardstick

# WSClean 3.1: benchmarks/imager.py make SET.MS --small; benchmarks/imager.py compare SET.MS
RECORDED = Path(__file__).with_name("wsclean_small_pts.json")


def test_small_yardstick_is_within_limits(tmp_path):
    benchmark = load_script("imager")
    observation = Observation(**benchmark.SMALL_OBSERVATION)
    truth = make_yardstick(tmp_path / "pts.ms", "pts", observation, benchmark.SMALL_IMAGE)
    settings = ImagerSettings(
        name=str(tmp_path / "image"),
        sets=(str(tmp_path / "pts.ms"),),
        threads=2,
        size=(truth.pixels, truth.pixels),
        cell_rad=math.radians(truth.cell_arcsec / 3600),
        weighting=("briggs", 0.0),
        min_uv_lambda=truth.min_uv,
        max_uv_lambda=truth.max_uv,
        channels_out=5,
        niter=1_000_000,
        auto_threshold=3.0,
        auto_mask=5.0,
    )
    image_sets(settings)
    measures = measure(tmp_path / "image", truth, channel_weights(tmp_path / "image", truth))
    assert worse_measures(json.loads(RECORDED.read_text()), measures) == []


@pytest.fixture(scope="module")
def noise_set(tmp_path_factory):
    """A set of thermal noise alone."""
    return make_set(tmp_path_factory.mktemp("noise") / "noise.ms", [], noise=1.0, stations=30)


def test_noise_is_one_over_root_of_weights(noise_set, tmp_path):
    settings = run_settings(noise_set, tmp_path / "image", weighting="natural", channels_out=1, niter=100)
    facts = image_sets(settings)
    residual = fits.getdata(f"{settings.name}-residual.fits").squeeze()
    weight_sum = fits.getheader(f"{settings.name}-residual.fits")["WSCIMGWG"]
    assert residual.std() == pytest.approx(1 / math.sqrt(weight_sum), rel=0.02)
    assert facts.reason


def test_averaging_keeps_sum_of_weights(noise_set, tmp_path):
    sums = []
    for loss in (0.0, 0.01):
        settings = run_settings(
            noise_set, tmp_path / "image", averaging_loss=loss, weighting="natural", max_uv_lambda=0
        )
        channels = read_channels(settings)
        sums.append((sum(one.weight_sum for one in channels), sum(one.count for one in channels)))
    assert sums[0][0] == pytest.approx(sums[1][0], rel=1e-6)
    assert sums[1][1] < 0.5 * sums[0][1]
