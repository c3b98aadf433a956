"""Beam images against the truth: sources seen through the beams by DP3, imaged by WSClean."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
from astropy.io import fits
from beam_sky import (
    CHANNELS,
    MAX_LAMBDA,
    MIN_LAMBDA,
    PADDING,
    image,
    pixel,
    put_source,
    shifted_copy,
    spread_channels,
)

from lofarpipe.imaging.beam_images import find_images, write_beam_images
from lofarpipe.imaging.measurement_set import read_metadata
from lofarpipe.imaging.sky_image import write_facts
from lofarpipe.imaging.station_beam import BeamError

# Pixels of 20 arcsec from the centre: 0.9, 1.6 and 2.5 degrees, where the beam is about 0.9, 0.65 and 0.3.
PLACES = [(-100, 130), (220, -190), (-280, -350)]


def write(root, *sets):
    metadata = [read_metadata(str(path)) for path in sets]
    return write_beam_images(str(root), metadata, 0.0, PADDING, MIN_LAMBDA, MAX_LAMBDA)


@pytest.fixture(scope="module")
def blocks(hba_set, tmp_path_factory):
    """Two time blocks of one field, 5 hours apart, with channels from 122 to 164 MHz."""
    folder = tmp_path_factory.mktemp("blocks")
    sets = [shifted_copy(hba_set, folder / f"block{number}.MS", hours) for number, hours in enumerate((0.0, -5.0))]
    for path in sets:
        spread_channels(path, 122e6, 6e6)
    return sets


def fake_image(path, pixels, **keys):
    """Write an image with the header keys that WSClean writes."""
    header = fits.Header()
    axes = (("RA---SIN", 10.0, -0.01, pixels.shape[1]), ("DEC--SIN", 40.0, 0.01, pixels.shape[0]))
    for axis, (kind, value, step, size) in enumerate(axes, 1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CDELT{axis}"] = kind, value, step
        header[f"CRPIX{axis}"] = size // 2 + 1
    header["CTYPE3"], header["CRVAL3"], header["CDELT3"], header["CRPIX3"] = "FREQ", 9e8, 2e6, 1
    header["BMAJ"], header["BUNIT"] = 0.01, "JY/BEAM"
    header.update(keys)
    fits.writeto(path, pixels[None, None].astype(np.float32), header, overwrite=True)


@pytest.mark.parametrize("place", PLACES)
def test_corrected_sources_have_their_true_flux(place, blocks, tmp_path):
    for path in blocks:
        put_source(path, *place)
    root = tmp_path / "field"
    image(blocks, root)
    written = write(root, *blocks)
    assert written.source == "everybeam"
    assert (written.image, written.image_pb) == (
        tmp_path / "field-MFS-image.fits",
        tmp_path / "field-MFS-image-pb.fits",
    )
    apparent = pixel(written.image, *place)
    assert apparent < 0.95
    assert pixel(written.beam, *place) == pytest.approx(apparent, rel=0.005)
    for name in ("MFS", "0000", "0001"):
        assert pixel(f"{root}-{name}-image-pb.fits", *place) == pytest.approx(1, rel=0.005)
        assert pixel(f"{root}-{name}-primary-beam.fits", 0, 0) == pytest.approx(1, abs=1e-4)


def test_each_block_alone_has_another_beam(blocks, tmp_path):
    beams = []
    for path in blocks:
        put_source(path, *PLACES[1])
        image([path], tmp_path / path.stem)
        beams.append(pixel(write(tmp_path / path.stem, path).beam, *PLACES[1]))
        assert pixel(tmp_path / f"{path.stem}-MFS-image.fits", *PLACES[1]) == pytest.approx(beams[-1], rel=0.005)
    assert abs(beams[0] - beams[1]) > 0.01


@pytest.mark.parametrize("product", ["image", "residual", "model"])
def test_mfs_image_is_the_mean_of_channels_weighted_by_wscimgwg(product, blocks, tmp_path):
    # Restored images of channels have beams of their own, so cleaned ones are compared before they are restored.
    put_source(blocks[0], *PLACES[0])
    more = [] if product == "image" else ["-niter", "50", "-mgain", "0.8"]
    image(blocks[:1], tmp_path / "field", ["-join-channels", "-channels-out", "4"], more)
    planes = [fits.getdata(tmp_path / f"field-{number:04d}-{product}.fits")[0, 0] for number in range(4)]
    weights = [fits.getheader(tmp_path / f"field-{number:04d}-{product}.fits")["WSCIMGWG"] for number in range(4)]
    mean = np.average(planes, axis=0, weights=weights)
    assert np.ptp(weights) > 0.01 * max(weights)
    assert np.abs(mean).max() > 0.1
    assert np.abs(fits.getdata(tmp_path / f"field-MFS-{product}.fits")[0, 0] - mean).max() < 2e-6


def test_one_output_channel_gets_the_names_of_several(blocks, tmp_path):
    put_source(blocks[0], *PLACES[0])
    image(blocks[:1], tmp_path / "one", [])
    written = write(tmp_path / "one", blocks[0])
    assert written.image.name == "one-MFS-image.fits"
    assert written.image.read_bytes() == (tmp_path / "one-image.fits").read_bytes()
    assert pixel(written.image_pb, *PLACES[0]) == pytest.approx(1, rel=0.005)
    again = write(tmp_path / "one", blocks[0])  # a second run finds the copy, and its own products
    assert again == written
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_all_stokes_are_divided_by_the_beam_of_stokes_i(blocks, tmp_path):
    put_source(blocks[0], *PLACES[0])
    image(blocks[:1], tmp_path / "pol", CHANNELS, ["-pol", "IQ", "-join-polarizations"])
    written = write(tmp_path / "pol", blocks[0])
    assert [path.name for path in (written.image, written.image_pb, written.beam)] == [
        "pol-MFS-I-image.fits",
        "pol-MFS-I-image-pb.fits",
        "pol-MFS-primary-beam.fits",
    ]
    beam = fits.getdata(written.beam)
    ratio = fits.getdata(tmp_path / "pol-0001-Q-image.fits") / fits.getdata(tmp_path / "pol-0001-Q-image-pb.fits")
    expected = fits.getdata(tmp_path / "pol-0001-primary-beam.fits")
    assert np.nanmax(np.abs(ratio - expected)) < 1e-5
    assert (np.isnan(beam) | (beam >= 0.005)).all()


def test_headers_say_what_was_done(dish_set, tmp_path):
    fake_image(tmp_path / "dish-image.fits", np.ones((200, 240)))
    written = write(tmp_path / "dish", dish_set)
    assert written.source == "formula"
    assert "Gaussian by formula" in written.warnings[0]
    beam, header = fits.getdata(written.beam)[0, 0], fits.getheader(written.beam)
    assert (header["PBSOURCE"], header["BUNIT"], header["BTYPE"]) == ("formula", "", "Beam")
    assert "BMAJ" not in header
    assert fits.getheader(written.image_pb)["BMAJ"] == 0.01
    assert "primary beam: Gaussian" in str(fits.getheader(written.image_pb)["HISTORY"]).replace("\n", "")
    assert beam[100, 120] == pytest.approx(1, abs=1e-5)
    # 1.555 deg wide at 900 MHz: half at 0.7775 deg; 0.5 % at 0.7775 * sqrt(ln 200 / ln 2) = 2.15 deg, off the image
    offset = math.degrees(math.asin(math.radians(0.01) * 78))
    assert beam[100, 120 + 78] == pytest.approx(2 ** -((offset / 0.7775) ** 2), abs=2e-3)


def test_numbers_measured_in_an_earlier_try_are_not_taken_over(dish_set, tmp_path):
    fake_image(tmp_path / "dish-image.fits", np.ones((20, 20)))
    write_facts(tmp_path / "dish-image.fits", {"MEANRMS": (1.0, "of the image before")}, ["of the image before"])
    written = write(tmp_path / "dish", dish_set)
    for path in (written.beam, written.image_pb):
        header = fits.getheader(path)
        assert "MEANRMS" not in header
        assert "of the image before" not in str(header["HISTORY"])


def test_the_beam_is_blank_where_it_is_weak(dish_set, tmp_path):
    fake_image(tmp_path / "dish-image.fits", np.ones((480, 480)))
    written = write(tmp_path / "dish", dish_set)
    for path in (written.beam, written.image_pb):
        plane = fits.getdata(path)[0, 0]
        assert np.isnan(plane[0, 0])
        assert np.isnan(plane[240, 4])  # 2.36 deg
        assert np.isfinite(plane[240, 240 + 200])  # 2.0 deg


def test_wscleans_own_correction_is_scaled_to_the_centre(dish_set, tmp_path):
    y, x = np.mgrid[-50:50, -50:50]
    beam = 0.85 * np.exp(-(x**2 + y**2) / 2000.0)
    flat = np.random.default_rng(1).normal(size=(100, 100))
    flat[0, 0] = 0
    fake_image(tmp_path / "idg-MFS-image.fits", flat)
    fake_image(tmp_path / "idg-MFS-image-pb.fits", flat / beam)
    written = write(tmp_path / "idg", dish_set)
    assert written.source == "wsclean"
    assert "scaled to 1" in written.warnings[0]
    made = fits.getdata(written.beam)[0, 0]
    assert made[50, 50] == pytest.approx(1, abs=5e-3)
    assert np.isnan(made[0, 0])
    assert made[50, 80] == pytest.approx(math.exp(-900 / 2000), rel=5e-3)
    assert fits.getdata(written.image_pb)[0, 0, 50, 80] == pytest.approx(flat[50, 80] / made[50, 80], rel=1e-5)
    again = write(tmp_path / "idg", dish_set)
    assert again.warnings == ()
    assert fits.getdata(again.beam)[0, 0, 50, 80] == pytest.approx(made[50, 80], rel=1e-5)


def test_an_empty_correction_by_wsclean_is_refused(dish_set, tmp_path):
    fake_image(tmp_path / "idg-MFS-image.fits", np.ones((20, 20)))
    fake_image(tmp_path / "idg-MFS-image-pb.fits", -np.ones((20, 20)))
    with pytest.raises(BeamError, match="at the centre; expected a positive beam"):
        write(tmp_path / "idg", dish_set)


def test_a_root_without_images_is_refused(tmp_path):
    (tmp_path / "field-MFS-residual.fits").touch()
    (tmp_path / "field2-MFS-image.fits").touch()
    with pytest.raises(BeamError, match=r"no field-MFS-image\.fits or field-image\.fits there"):
        find_images(str(tmp_path / "field"))


def test_images_that_are_none_are_refused(dish_set, tmp_path):
    fake_image(tmp_path / "field-MFS-image.fits", np.ones((20, 20)), CTYPE1="RA---TAN")
    with pytest.raises(BeamError, match="expected RA---SIN"):
        write(tmp_path / "field", dish_set)
    fake_image(tmp_path / "field-MFS-image.fits", np.ones((20, 20)))
    fits.writeto(tmp_path / "field-MFS-image-pb.fits", np.ones((20, 20)))
    with pytest.raises(BeamError, match="not a FITS image with the axes"):
        write(tmp_path / "field", dish_set)


def test_channels_without_weight_are_refused(dish_set, tmp_path):
    for name in ("MFS", "0000", "0001"):
        fake_image(tmp_path / f"field-{name}-image.fits", np.ones((20, 20)), WSCIMGWG=0.0)
    with pytest.raises(BeamError, match="no channel image has a positive WSCIMGWG"):
        write(tmp_path / "field", dish_set)


def test_an_empty_channel_is_blank_and_the_mean_goes_without(hba_set, tmp_path):
    ra, dec = np.degrees(read_metadata(str(hba_set)).phase_centre_rad)
    place = {"CRVAL1": ra, "CRVAL2": dec, "CDELT3": 1e6}
    for name, frequency_hz, weight in (("MFS", 134.4e6, 3.0), ("0000", 134.4e6, 3.0), ("0001", 150e6, 0.0)):
        fake_image(
            tmp_path / f"f-{name}-image.fits", np.ones((100, 100)), CRVAL3=frequency_hz, WSCIMGWG=weight, **place
        )
    written = write(tmp_path / "f", hba_set)
    assert written.warnings == ("output channel 1 has no unflagged data; its beam is NaN",)
    assert np.isnan(fits.getdata(tmp_path / "f-0001-primary-beam.fits")).all()
    assert np.array_equal(
        fits.getdata(written.beam), fits.getdata(tmp_path / "f-0000-primary-beam.fits"), equal_nan=True
    )


def test_what_a_killed_try_left_is_replaced(dish_set, tmp_path):
    fake_image(tmp_path / "dish-image.fits", np.ones((20, 20)))
    for name in ("dish-MFS-image", "dish-MFS-image-pb", "dish-MFS-primary-beam"):
        (tmp_path / f".{name}.fits.part").write_text("half")
    write(tmp_path / "dish", dish_set)
    assert list(tmp_path.glob(".*.part")) == []
    assert fits.getdata(tmp_path / "dish-MFS-image.fits").sum() == 400


def test_nothing_half_written_is_left(dish_set, tmp_path, monkeypatch):
    fake_image(tmp_path / "dish-MFS-image.fits", np.ones((20, 20)))
    before = sorted(tmp_path.iterdir())

    def full(self, name, **_):
        shutil.copy(tmp_path / "dish-MFS-image.fits", name)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.PrimaryHDU, "writeto", full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path / "dish", dish_set)
    assert sorted(tmp_path.iterdir()) == before
