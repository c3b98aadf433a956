"""Beams of images, and the smallest one that encloses them.

The common beams were recorded with racs-tools 4.5.0 and radio_beam 0.3.10 (beamcon_2D.get_common_beam, defaults).
"""

import math

import numpy as np
import pytest

from lofarpipe.imaging.cubes import beams as module
from lofarpipe.imaging.cubes.beams import Beam, CommonBeamError, common_beam, smallest_round_beam

RECORDED = {
    "same": ([(15, 12, 30)] * 3, None, (15, 12, 30)),
    "nested": ([(15, 12, 30), (14.5, 11.6, 30), (14, 11.2, 30)], None, (15, 12, 30)),
    "turned": ([(15, 10, 0), (15, 10, 60), (14, 9, -45)], None, (15.6, 14, 30)),
    "crossed": ([(20, 10, 0), (20, 10, 90)], None, (20, 20, 90)),
    "round": ([(12, 12, 0), (13, 13, 0)], None, (13, 13, 0)),
    "one": ([(17.23, 11.11, -12.345)], None, (17.3, 11.2, -12.34)),
    "near": ([(15.0, 12.0, 30.0), (15.01, 11.99, 30.4)], None, (15.1, 12.1, 30.2)),
    "cutoff": ([(15, 12, 30), (14.5, 11.6, 30), (14, 11.2, 30)], 14.2, (14, 11.2, 30)),
    "cutoff equal": ([(15, 12, 30), (14.5, 11.6, 30)], 15.0, (15, 12, 30)),
    "random": (
        [(16.046, 10.737, -6.51), (13.331, 10.564, -70.72), (16.153, 10.542, -22.23), (16.791, 8.776, -19.72), (16.788, 9.522, 38.39)],  # noqa: E501
        None,
        (18.7, 14.0, 9.78),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_common_beam_equals_recorded_one(name):
    beams, cutoff, expected = RECORDED[name]
    if name in ("turned", "crossed", "near", "random"):
        pytest.importorskip("radio_beam", reason="radio_beam is not installed")
    found = common_beam([Beam(*axes) for axes in beams], cutoff)
    assert (found.major_arcsec, found.minor_arcsec, found.angle_deg) == expected


def test_largest_beam_avoids_the_search(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "radio_beam", None)
    assert common_beam([Beam(15, 12, 30), Beam(14, 11, 30)]) == Beam(15, 12, 30)


@pytest.mark.parametrize("seed", range(6))
def test_common_beam_encloses_every_beam(seed):
    pytest.importorskip("radio_beam", reason="radio_beam is not installed")
    rng = np.random.default_rng(seed)
    beams = []
    for _ in range(rng.integers(2, 8)):
        minor = rng.uniform(8, 12)
        beams.append(Beam(minor * rng.uniform(1, 1.8), minor, rng.uniform(-90, 90)))
    found = common_beam(beams)
    assert all(beam.fits_into(found) for beam in beams)
    # Not far above the smallest round beam, which encloses all as well.
    assert found.area_arcsec2 < (max(beam.major_arcsec for beam in beams) + 0.2) ** 2
    for axis in (found.major_arcsec, found.minor_arcsec):
        assert axis * 10 == pytest.approx(round(axis * 10), abs=1e-9)


def test_common_beam_ignores_images_without_beam():
    assert common_beam([Beam(15, 12, 30), None, Beam(14, 11.2, 30)]) == Beam(15, 12, 30)


def test_cutoff_below_all_beams_is_named():
    with pytest.raises(CommonBeamError, match="all 2 images that have one are larger than the cutoff of 10 arcsec"):
        common_beam([Beam(15, 12, 30), Beam(14.5, 11.6, 30), None], 10)
    with pytest.raises(CommonBeamError, match="none of 1 images has a beam"):
        common_beam([None], 10)


def test_failed_search_is_tried_again_with_smaller_tolerance(monkeypatch):
    radio_beam = pytest.importorskip("radio_beam", reason="radio_beam is not installed")
    search, tolerances = radio_beam.Beams.common_beam, []

    def failing(self, tolerance, **options):
        tolerances.append(tolerance)
        if len(tolerances) <= fails:
            raise radio_beam.utils.BeamError("does not converge")
        return search(self, tolerance=tolerance, **options)

    monkeypatch.setattr(radio_beam.Beams, "common_beam", failing)
    beams, fails = [Beam(15, 10, 0), Beam(15, 10, 60), Beam(14, 9, -45)], 1
    assert common_beam(beams).minor_arcsec == pytest.approx(14, abs=0.11)
    assert tolerances == [1e-4, 1e-5]
    tolerances.clear()
    fails = 2
    with pytest.raises(CommonBeamError, match="none was found around 3 beams: does not converge; set a cutoff"):
        common_beam(beams)


def test_axes_of_covariance_are_north_and_east():
    assert Beam(20, 10, 0).covariance == pytest.approx(np.diag([400.0, 100.0]))
    assert Beam(20, 10, 90).covariance == pytest.approx(np.diag([100.0, 400.0]))
    # North through east: a beam at 45 deg has its ends where both are positive, or both negative.
    assert Beam(20, 10, 45).covariance == pytest.approx(np.array([[250.0, 150.0], [150.0, 250.0]]))


def test_rotated_beam_does_not_fit():
    assert Beam(15, 12, 30).fits_into(Beam(15, 12, 30))
    assert Beam(15, 12, 30).fits_into(Beam(15, 12, 210))
    assert not Beam(15, 12, 30).fits_into(Beam(15, 12, 30.1))
    assert not Beam(15, 12, 30).fits_into(Beam(16, 11.9, 30))


@pytest.mark.parametrize("axis", [0.0, math.nan, None, "0.004"])
def test_header_without_beam_gives_none(axis):
    assert Beam.from_header({"BMAJ": axis, "BMIN": 0.003, "BPA": 30.0}) is None


def test_beam_of_header_is_rounded():
    assert Beam.from_header(Beam(14.5, 11.6, 30.0).cards) == Beam(14.5, 11.6, 30.0)
    assert Beam.from_header({"BMAJ": 0.004, "BMIN": 0.003}) == Beam(14.4, 10.8, 0.0)


def test_round_beam_excludes_outlying_channels():
    assert smallest_round_beam([Beam(10, 8), Beam(12.34, 8), None, Beam(20.8, 13.3)]) == Beam(12.4, 12.4)
    with pytest.raises(CommonBeamError, match="none of 1 images has a beam"):
        smallest_round_beam([None])


def test_rounding_ignores_floating_point_noise():
    assert module._rounded_up(13.1 + 1e-12, 10) == 13.1
    assert module._rounded_up(13.1 + 1e-6, 10) == 13.2
