"""Beam images against the truth: sources seen through the beams by DP3, imaged by WSClean."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from beam_sky import (
    CHANNELS,
    MAX_LAMBDA,
    MIN_LAMBDA,
    PADDING,
    REFERENCE_HZ,
    image,
    pixel,
    put_source,
    shifted_copy,
    spread_channels,
)
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.beam.station import BeamError
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.quality.sky_image import write_facts
from lofarpipe.programs.wsclean.beam_images import BeamRequest, images_of, write_beam_images
from lofarpipe.programs.wsclean.beams import products_by_header
from lofarpipe.programs.wsclean.outputs import read_products

# Pixels of 20 arcsec from the centre: 0.9, 1.6 and 2.5 degrees, where the beam is about 0.9, 0.65 and 0.3.
PLACES = [(-100, 130), (220, -190), (-280, -350)]


def write(root, *sets, index="-0.7", products=None):
    """Correct the images that WSClean wrote under a root name."""
    metadata = [read_metadata(str(path)) for path in sets]
    request = BeamRequest(metadata, 0.0, PADDING, MIN_LAMBDA, MAX_LAMBDA, None, index)
    return write_beam_images(str(root), products or products_by_header(str(root)), request)


def write_fakes(root, *sets, **more):
    """Correct images that no WSClean wrote: all that are there under a root name."""
    names = sorted(map(str, root.parent.glob("*.fits")))
    return write(root, *sets, products=read_products(str(root), names), **more)


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
    header["CTYPE4"], header["CRVAL4"], header["CDELT4"], header["CRPIX4"] = "STOKES", 1, 1, 1
    header["BMAJ"], header["BUNIT"] = 0.01, "JY/BEAM"
    header.update(keys)
    fits.writeto(path, pixels[None, None].astype(np.float32), header, overwrite=True)


@pytest.mark.parametrize(("place", "index"), [*((place, -0.7) for place in PLACES), (PLACES[2], -1.2), (PLACES[2], 0)])
def test_corrected_sources_have_their_true_flux(place, index, blocks, tmp_path):
    for path in blocks:
        put_source(path, *place, index)
    root = tmp_path / "field"
    image(blocks, root)
    written = write(root, *blocks, index=str(index))
    assert written.source == "everybeam"
    assert (written.image, written.image_pb) == (
        tmp_path / "field-MFS-image.fits",
        tmp_path / "field-MFS-image-pb.fits",
    )
    apparent = pixel(written.image, *place)
    assert apparent < 0.95
    for name in ("MFS", "0000", "0001"):
        true = (fits.getval(f"{root}-{name}-image-pb.fits", "CRVAL3") / REFERENCE_HZ) ** index
        assert pixel(f"{root}-{name}-image-pb.fits", *place) == pytest.approx(true, rel=0.005)
        assert pixel(f"{root}-{name}-primary-beam.fits", 0, 0) == pytest.approx(1, abs=0.02)
    headers = [fits.getheader(f"{root}-{name}-image.fits") for name in ("0000", "0001")]
    beams = [pixel(f"{root}-{name}-primary-beam.fits", *place) for name in ("0000", "0001")]
    weights = [header["WSCIMGWG"] * beam for header, beam in zip(headers, beams, strict=True)]
    effective_hz = np.average([header["CRVAL3"] for header in headers], weights=weights)
    # Within each channel it falls outwards as well, by less.
    assert effective_hz * 0.995 < pixel(written.effective_frequency, *place) < effective_hz
    assert effective_hz < fits.getval(written.image, "CRVAL3") * 0.999


def test_single_block_has_different_beam(blocks, tmp_path):
    beams = []
    for path in blocks:
        put_source(path, *PLACES[1])
        image([path], tmp_path / path.stem)
        beams.append(pixel(write(tmp_path / path.stem, path, index="0").beam, *PLACES[1]))
        assert pixel(tmp_path / f"{path.stem}-MFS-image.fits", *PLACES[1]) == pytest.approx(beams[-1], rel=0.005)
    assert abs(beams[0] - beams[1]) > 0.01


@pytest.mark.parametrize("product", ["image", "residual", "model"])
def test_mfs_image_is_weighted_channel_mean(product, blocks, tmp_path):
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


def test_single_channel_gets_mfs_names(blocks, tmp_path):
    put_source(blocks[0], *PLACES[0])
    image(blocks[:1], tmp_path / "one", [])
    written = write(tmp_path / "one", blocks[0], index="0")
    assert written.image.name == "one-MFS-image.fits"
    assert np.array_equal(fits.getdata(written.image), fits.getdata(tmp_path / "one-image.fits"))
    assert pixel(written.image_pb, *PLACES[0]) == pytest.approx(1, rel=0.005)
    again = write(tmp_path / "one", blocks[0], index="0")  # a second run finds the copy, and its own products
    assert again == written
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_stokes_i_beam_divides_all_stokes(blocks, tmp_path):
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


def test_headers_record_beam_correction(dish_set, tmp_path):
    fake_image(tmp_path / "dish-image.fits", np.ones((200, 240)))
    written = write_fakes(tmp_path / "dish", dish_set)
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


def test_measurements_of_earlier_attempt_are_dropped(dish_set, tmp_path):
    fake_image(tmp_path / "dish-image.fits", np.ones((20, 20)))
    write_facts(tmp_path / "dish-image.fits", {"MEANRMS": (1.0, "of the image before")}, ["of the image before"])
    written = write_fakes(tmp_path / "dish", dish_set)
    for path in (written.beam, written.image_pb):
        header = fits.getheader(path)
        assert "MEANRMS" not in header
        assert "of the image before" not in str(header["HISTORY"])


def test_weak_beam_is_blank(dish_set, tmp_path):
    fake_image(tmp_path / "dish-image.fits", np.ones((480, 480)))
    written = write_fakes(tmp_path / "dish", dish_set)
    for path in (written.beam, written.image_pb):
        plane = fits.getdata(path)[0, 0]
        assert np.isnan(plane[0, 0])
        assert np.isnan(plane[240, 4])  # 2.36 deg
        assert np.isfinite(plane[240, 240 + 200])  # 2.0 deg


CHANNELS_HZ, CHANNEL_WEIGHTS = (0.86e9, 1.1e9, 1.3e9), (1.0, 2.0, 0.5)


def gaussian(width, centre=1.0):
    y, x = np.mgrid[-50:50, -50:50]
    return centre * np.exp(-(x**2 + y**2) / width**2)


def fake_channels(root, beams, write_beam, flux=2.0, index=-0.7):
    """Write the images of channels that see one flux everywhere, and their mean; returns f0 and the flux there."""
    weights, frequencies = np.array(CHANNEL_WEIGHTS), np.array(CHANNELS_HZ)
    f0 = float(np.average(frequencies, weights=weights))
    flat = [flux * (hz / f0) ** index * beam for hz, beam in zip(frequencies, beams, strict=True)]
    for number, (hz, weight) in enumerate(zip(frequencies, weights, strict=True)):
        stem = f"{root}-{number:04d}"
        fake_image(Path(f"{stem}-image.fits"), flat[number], CRVAL3=hz, WSCIMGWG=weight, CRVAL4=1)
        # What WSClean itself corrects with this beam says V where it is I.
        for kind in ("image", "model", "residual"):
            fake_image(Path(f"{stem}-{kind}-pb.fits"), flat[number], CRVAL3=hz, CRVAL4=4)
        write_beam(stem, beams[number], hz)
    fake_image(Path(f"{root}-MFS-image.fits"), np.average(flat, axis=0, weights=weights), CRVAL3=1.08e9, CRVAL4=1)
    return f0


def idg_beam(stem, beam, hz):
    fake_image(Path(f"{stem}-beam.fits"), beam, CRVAL3=hz)


def mueller_beam(stem, beam, hz):
    """Write the matrix of a beam whose Jones matrices are turned by half a right angle: XX and YY see half of each."""
    for element in range(16):
        fake_image(Path(f"{stem}-beam-{element}.fits"), beam / 2 if element in (0, 9, 15) else 0 * beam, CRVAL3=hz)


@pytest.mark.parametrize(("centre", "write_beam"), [(1.0, idg_beam), (0.85, mueller_beam)])
def test_wsclean_beams_are_normalised_at_centre(centre, write_beam, dish_set, tmp_path):
    beams = [gaussian(width, centre) for width in (30.0, 24.0, 20.0)]
    f0 = fake_channels(tmp_path / "idg", [beam / centre for beam in beams], lambda *_: None)
    for number, beam in enumerate(beams):
        write_beam(f"{tmp_path}/idg-{number:04d}", beam, CHANNELS_HZ[number])
    if write_beam is idg_beam:  # as WSClean 3.4 does
        fake_image(tmp_path / "idg-MFS-beam.fits", np.mean(beams, axis=0), CRVAL3=1.08e9)
    written = write_fakes(tmp_path / "idg", dish_set)
    assert written.source == "wsclean"
    assert len(written.warnings) == (centre != 1)
    for name, frequency in (("MFS", f0), *((f"{number:04d}", hz) for number, hz in enumerate(CHANNELS_HZ))):
        plane, header = (read(tmp_path / f"idg-{name}-image-pb.fits") for read in (fits.getdata, fits.getheader))
        seen = np.isfinite(plane)
        assert plane[seen] == pytest.approx(2.0 * (frequency / f0) ** -0.7, rel=1e-5)
        assert not seen[0, 0, 0, 0]
        assert (header["CRVAL4"], header["PBSOURCE"], header["PBCUT"]) == (1, "wsclean", pytest.approx(0.005, rel=0.03))
        assert (
            header["CRVAL3"] == fits.getval(tmp_path / f"idg-{name}-image.fits", "CRVAL3") == pytest.approx(frequency)
        )
        assert header["PBINDEX"] == -0.7
        assert "primary beam: WSClean" in str(header["HISTORY"]).replace("\n", "")
        assert "for the spectral index -0.7" in str(header["HISTORY"]).replace("\n", "")
    assert fits.getval(tmp_path / "idg-0001-residual-pb.fits", "CRVAL4") == 4  # no flat one to go by
    expected = np.average(beams, axis=0, weights=CHANNEL_WEIGHTS * (np.array(CHANNELS_HZ) / f0) ** -0.7) / centre
    beam = fits.getdata(written.beam)[0, 0]
    assert beam[50, 80] == pytest.approx(expected[50, 80], rel=0.02)
    again = write_fakes(tmp_path / "idg", dish_set)
    assert np.array_equal(fits.getdata(again.image_pb), fits.getdata(written.image_pb), equal_nan=True)


def test_effective_frequency_falls_outwards(dish_set, tmp_path):
    beams = [gaussian(width) for width in (30.0, 24.0, 20.0)]
    f0 = fake_channels(tmp_path / "idg", beams, idg_beam, index=-2.0)
    written = write_fakes(tmp_path / "idg", dish_set, index="0")
    plane, header = fits.getdata(written.effective_frequency)[0, 0], fits.getheader(written.effective_frequency)
    assert (header["BUNIT"], header["BTYPE"], "BMAJ" in header) == ("Hz", "Frequency", False)
    weights = np.array(CHANNEL_WEIGHTS)[:, None, None] * beams
    expected = np.average(np.broadcast_to(np.array(CHANNELS_HZ)[:, None, None], weights.shape), axis=0, weights=weights)
    assert plane[50, 50] == pytest.approx(f0, rel=1e-6)
    assert plane[50, 80] == pytest.approx(expected[50, 80], rel=1e-6)
    assert np.isnan(plane[0, 0])
    # With the index 0 the image has the flux that each source has at that frequency, nearly.
    corrected = fits.getdata(written.image_pb)[0, 0]
    assert corrected[50, 75] == pytest.approx(2 * (plane[50, 75] / f0) ** -2, rel=0.06)
    assert corrected[50, 75] > 2.2


def test_spectral_index_map_is_read_by_direction(dish_set, tmp_path):
    beams = [gaussian(width) for width in (30.0, 24.0, 20.0)]
    fake_channels(tmp_path / "idg", beams, idg_beam, index=-1.5)
    indices = np.full((60, 60), -1.5)
    indices[:, :10] = np.nan  # there the default is taken, and where the map ends
    fake_image(tmp_path / "map.fits", indices)
    written = write_fakes(tmp_path / "idg", dish_set, index=str(tmp_path / "map.fits"))
    corrected, header = fits.getdata(written.image_pb)[0, 0], fits.getheader(written.image_pb)
    assert corrected[50, 30:79] == pytest.approx(np.full(49, 2.0), rel=1e-5)
    assert corrected[50, [25, 85]] == pytest.approx(2.0, rel=0.2)
    assert (np.abs(corrected[50, [25, 85]] - 2.0) > 0.02).all()
    assert str(header["PBINDEX"]).endswith("map.fits")


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        ("six", "neither a number nor a file"),
        ("-7", "from -5 to 5"),
        ("pyproject.toml", "relative"),
        (__file__, "no FITS"),
    ],
)
def test_invalid_spectral_index_is_refused(index, reason, dish_set, tmp_path):
    fake_image(tmp_path / "dish-image.fits", np.ones((20, 20)))
    with pytest.raises(PipelineError, match=f"spectral_index: .*{reason}"):
        write_fakes(tmp_path / "dish", dish_set, index=index)


def test_wsclean_leakage_correction_stays(dish_set, tmp_path):
    beam = gaussian(24.0, 0.5)
    for stokes, corrected in (("I", 9.0), ("Q", 3.0)):
        fake_image(tmp_path / f"q-{stokes}-image.fits", beam)
        fake_image(tmp_path / f"q-{stokes}-image-pb.fits", np.full((100, 100), corrected))
    mueller_beam(f"{tmp_path}/q", beam, 9e8)
    for _ in range(2):
        write_fakes(tmp_path / "q", dish_set)
        assert fits.getdata(tmp_path / "q-MFS-I-image-pb.fits")[0, 0, 50, 50] == pytest.approx(0.5)
        assert fits.getdata(tmp_path / "q-MFS-Q-image-pb.fits")[0, 0, 50, 50] == pytest.approx(1.5)


def test_invalid_beams_are_refused(dish_set, tmp_path):
    fake_image(tmp_path / "idg-MFS-image.fits", np.ones((20, 20)))
    fake_image(tmp_path / "idg-beam.fits", -np.ones((20, 20)))
    with pytest.raises(BeamError, match="at the centre; expected a positive one"):
        write_fakes(tmp_path / "idg", dish_set)
    (tmp_path / "idg-beam.fits").write_text("cut off")
    with pytest.raises(BeamError, match=r"idg-beam\.fits: WSClean's beam cannot be read"):
        write_fakes(tmp_path / "idg", dish_set)


def test_channel_without_beam_is_refused(dish_set, tmp_path):
    fake_channels(tmp_path / "idg", [gaussian(24.0)] * 3, idg_beam)
    (tmp_path / "idg-0001-beam.fits").unlink()
    with pytest.raises(BeamError, match=r"idg-0001-image\.fits: WSClean has made the beams of other channels"):
        write_fakes(tmp_path / "idg", dish_set)


def test_root_without_images_is_refused(tmp_path):
    (tmp_path / "field-MFS-residual.fits").touch()
    (tmp_path / "field2-MFS-image.fits").touch()
    with pytest.raises(BeamError, match=r"no field-MFS-image\.fits and no field-image\.fits"):
        images_of(str(tmp_path / "field"), read_products(str(tmp_path / "field"), map(str, tmp_path.iterdir())))


def test_invalid_images_are_refused(dish_set, tmp_path):
    fake_image(tmp_path / "field-MFS-image.fits", np.ones((20, 20)), CTYPE1="RA---TAN")
    with pytest.raises(BeamError, match="expected RA---SIN"):
        write_fakes(tmp_path / "field", dish_set)
    fake_image(tmp_path / "field-MFS-image.fits", np.ones((20, 20)))
    fits.update(tmp_path / "field-MFS-image.fits", np.ones((20, 20)), fits.getheader(tmp_path / "field-MFS-image.fits"))
    with pytest.raises(BeamError, match="not a FITS image with the axes"):
        write_fakes(tmp_path / "field", dish_set)


def test_channels_without_weight_are_refused(dish_set, tmp_path):
    for name in ("MFS", "0000", "0001"):
        fake_image(tmp_path / f"field-{name}-image.fits", np.ones((20, 20)), WSCIMGWG=0.0)
    with pytest.raises(BeamError, match="no channel image has a positive WSCIMGWG"):
        write_fakes(tmp_path / "field", dish_set)


def test_empty_channel_is_excluded_from_mean(hba_set, tmp_path):
    ra, dec = np.degrees(read_metadata(str(hba_set)).phase_centre_rad)
    place = {"CRVAL1": ra, "CRVAL2": dec, "CDELT3": 1e6}
    for name, frequency_hz, weight in (("MFS", 134.4e6, 3.0), ("0000", 134.4e6, 3.0), ("0001", 150e6, 0.0)):
        fake_image(
            tmp_path / f"f-{name}-image.fits", np.ones((100, 100)), CRVAL3=frequency_hz, WSCIMGWG=weight, **place
        )
    written = write_fakes(tmp_path / "f", hba_set)
    assert written.warnings == ("output channel 1 has no unflagged data; its beam is NaN",)
    assert np.isnan(fits.getdata(tmp_path / "f-0001-primary-beam.fits")).all()
    channel_beam = fits.getdata(tmp_path / "f-0000-primary-beam.fits")
    assert fits.getdata(written.beam) == pytest.approx(channel_beam, rel=1e-6, nan_ok=True)


def test_partial_files_of_killed_attempt_are_replaced(dish_set, tmp_path):
    fake_image(tmp_path / "dish-image.fits", np.ones((20, 20)))
    for name in ("dish-MFS-image", "dish-MFS-image-pb", "dish-MFS-primary-beam"):
        (tmp_path / f".{name}.fits.part").write_text("half")
    write_fakes(tmp_path / "dish", dish_set)
    assert list(tmp_path.glob(".*.part")) == []
    assert fits.getdata(tmp_path / "dish-MFS-image.fits").sum() == 400


def test_failure_leaves_no_partial_file(dish_set, tmp_path, monkeypatch):
    fake_image(tmp_path / "dish-MFS-image.fits", np.ones((20, 20)))
    before = sorted(tmp_path.iterdir())

    def full(self, name, **_):
        shutil.copy(tmp_path / "dish-MFS-image.fits", name)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.PrimaryHDU, "writeto", full)
    with pytest.raises(OSError, match="No space left"):
        write_fakes(tmp_path / "dish", dish_set)
    assert sorted(tmp_path.iterdir()) == before
