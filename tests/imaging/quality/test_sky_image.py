"""FITS images: reading, refusals, and facts written into headers."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.quality.sky_image import SkyImageError, read_sky_image, remove_facts, write_facts
from lofarpipe.support.fits_header import HISTORY_BEGIN, HISTORY_END
from made_images import image_of_real_data, write_image


@pytest.fixture(scope="module")
def real_image(hba_set, tmp_path_factory):
    return image_of_real_data(hba_set, tmp_path_factory.mktemp("real_image"))


def test_real_image_has_expected_facts(real_image):
    image = read_sky_image(real_image)
    assert image.plane.shape == (256, 256)
    assert image.unit == "Jy/beam"
    assert image.stokes == ("I",)
    assert [axis.kind for axis in image.axes] == ["RA", "DEC", "FREQ", "STOKES"]
    assert image.frequency_hz == pytest.approx(134.375e6, rel=1e-4)
    assert image.bandwidth_hz == pytest.approx(195312.5)
    assert image.axis("DEC").increment * 3600 == pytest.approx(60)
    assert image.phase_centre_deg == pytest.approx((24.422081, 33.159759))
    assert image.beam_major_arcsec > image.beam_minor_arcsec > 0


def test_beam_area_equals_hand_calculation(tmp_path):
    image = read_sky_image(write_image(tmp_path / "a.fits"))
    # 80 x 40 arcsec in pixels of 10 arcsec: pi * 8 * 4 / (4 ln 2)
    assert image.beam_area_pixels == pytest.approx(math.pi * 32 / (4 * math.log(2)))


def test_centre_has_expected_world_coordinates(tmp_path):
    image = read_sky_image(write_image(tmp_path / "a.fits"))
    assert image.celestial.pixel_to_world_values(64, 64) == pytest.approx((218.0 - 360, 34.5))


def test_blank_pixels_stay_blank(tmp_path):
    plane = np.zeros((16, 16))
    plane[3, 4] = np.nan
    assert np.argwhere(np.isnan(read_sky_image(write_image(tmp_path / "a.fits", plane)).plane)).tolist() == [[3, 4]]


def test_four_polarizations_are_read(tmp_path):
    path = tmp_path / "iquv.fits"
    fits.PrimaryHDU(np.zeros((4, 1, 16, 16), np.float32), fits.getheader(write_image(tmp_path / "i.fits"))).writeto(
        path
    )
    assert read_sky_image(path).stokes == ("I", "Q", "U", "V")


@pytest.mark.parametrize("key", ["BMAJ", "CRVAL3", "BUNIT", "CTYPE2", "MEANRMS"])
def test_missing_key_is_named_with_file_and_advice(tmp_path, key):
    path = write_image(tmp_path / "a.fits", MEANRMS=1.0, without=(key,))
    with pytest.raises(SkyImageError, match=rf"a\.fits: FITS header has no {key}; \w+"):
        _ = read_sky_image(path).axes, read_sky_image(path).value(key)


@pytest.mark.parametrize("value", ["wide", True])
def test_non_numeric_key_is_refused(tmp_path, value):
    image = read_sky_image(write_image(tmp_path / "a.fits", BMAJ=value))
    with pytest.raises(SkyImageError, match=rf"BMAJ is {value!r}; a number is needed"):
        _ = image.beam_major_arcsec


def test_missing_axis_is_refused(tmp_path):
    with pytest.raises(SkyImageError, match="has no FREQ axis, only RA, DEC, VELO, STOKES"):
        _ = read_sky_image(write_image(tmp_path / "a.fits", CTYPE3="VELO")).frequency_hz


def test_unknown_polarization_is_refused(tmp_path):
    with pytest.raises(SkyImageError, match="STOKES axis has value 9"):
        _ = read_sky_image(write_image(tmp_path / "a.fits", CRVAL4=9.0)).stokes


def test_missing_image_is_refused(tmp_path):
    with pytest.raises(SkyImageError, match="no such image"):
        read_sky_image(tmp_path / "nowhere.fits")


def test_text_file_is_refused(tmp_path):
    (tmp_path / "text.fits").write_text("not an image\n" * 500)
    with pytest.raises(SkyImageError, match="cannot be read as FITS"):
        read_sky_image(tmp_path / "text.fits")


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_truncated_image_reports_missing_bytes(tmp_path):
    path = write_image(tmp_path / "a.fits")
    os.truncate(path, 20_000)
    with pytest.raises(SkyImageError, match="is cut off: 20000 bytes where its header promises"):
        read_sky_image(path)


def test_fits_without_image_is_refused(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "table.fits")
    with pytest.raises(SkyImageError, match="holds no image"):
        read_sky_image(tmp_path / "table.fits")


def test_writing_facts_preserves_pixels(real_image, tmp_path):
    path = tmp_path / "copy.fits"
    path.write_bytes(real_image.read_bytes())
    command = "step/000: wsclean " + "-size 256 256 " * 20
    write_facts(path, {"MEANRMS": (0.0123, "[Jy/beam] noise")}, ["version 1", command])
    before, after = fits.open(real_image)[0], fits.open(path)[0]
    assert after.data.tobytes() == before.data.tobytes()
    assert after.header["MEANRMS"] == 0.0123
    assert after.header.comments["MEANRMS"] == "[Jy/beam] noise"
    text = "".join(line.ljust(72) for line in after.header["HISTORY"])
    assert command.strip() in text
    assert str(before.header["HISTORY"]).splitlines()[0] in str(after.header["HISTORY"])


def test_removing_facts_preserves_header(tmp_path):
    facts = {
        "MEANRMS": (1.0, ""),
        "RMSMETH": ("x", ""),
        "DYNRANGE": (2.0, ""),
        "XPOSURE": (3.0, ""),
        "PEAKSKY": (4.0, ""),
    }
    path = write_image(tmp_path / "a.fits", HISTORY="wsclean -name a")
    before = {key: value for key, value in fits.getheader(path).items() if key not in (*facts, "HISTORY")}
    write_facts(path, facts, ["command"])
    header = fits.getheader(path)
    assert set(facts) <= set(header)
    remove_facts(header)
    assert {key: value for key, value in header.items() if key != "HISTORY"} == before
    assert list(header["HISTORY"]) == ["wsclean -name a"]


def test_history_is_replaced_not_repeated(tmp_path):
    path = write_image(tmp_path / "a.fits", HISTORY="by another program")
    write_facts(path, {}, ["first time"])
    write_facts(path, {}, ["second time"])
    lines = list(fits.getheader(path)["HISTORY"])
    assert lines == ["by another program", HISTORY_BEGIN, "second time", HISTORY_END]


def test_stale_partial_file_is_replaced(tmp_path):
    path = write_image(tmp_path / "a.fits")
    (tmp_path / ".a.fits.part").write_text("half")
    write_facts(path, {"MEANRMS": (1.0, "")}, [])
    assert fits.getheader(path)["MEANRMS"] == 1.0
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.fits"]


def test_non_ascii_history_is_escaped(tmp_path):
    path = write_image(tmp_path / "a.fits")
    write_facts(path, {}, ["/data/\N{GREEK SMALL LETTER ALPHA}\tb"])
    assert "/data/\\u03b1\\x09b" in list(fits.getheader(path)["HISTORY"])


def test_link_stays_a_link(tmp_path):
    path = write_image(tmp_path / "a.fits")
    link = tmp_path / "link.fits"
    link.symlink_to(path)
    write_facts(link, {"MEANRMS": (1.0, "")}, [])
    assert link.is_symlink()
    assert fits.getheader(path)["MEANRMS"] == 1.0


def test_failed_write_preserves_image(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.fits")
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", full)
    with pytest.raises(SkyImageError, match=r"cannot be given its keywords: .*No space left"):
        write_facts(path, {}, [])
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.fits"]
