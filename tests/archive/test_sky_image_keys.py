"""Sky images as the archive has them, number by number."""

from __future__ import annotations

import math

import pytest

from lofarpipe.archive.sky_image_keys import describe_sky_image
from lofarpipe.imaging.quality.sky_image import SkyImageError, read_sky_image, write_facts
from made_images import image_of_real_data, measured, write_image

CELL_RAD = math.radians(10 / 3600)


@pytest.fixture
def keys(tmp_path):
    return describe_sky_image(read_sky_image(measured(tmp_path / "a.fits")))


def test_sky_image_has_scalar_keys(keys):
    assert keys["numberOfAxes"] == 4
    assert keys["coordinateTypes"] == ["direction", "spectral", "stokes"]
    assert [keys[f"nrOf{kind}Coordinates"] for kind in ("Direction", "Spectral", "Polarization")] == [1, 1, 1]
    assert (keys["locationFrame"], keys["timeFrame"]) == ("TOPOCENTER", "UTC")
    assert keys["npix"] == 128
    assert keys["imagerIntegrationTime"] == 3600.0


def test_sky_image_has_beam_and_noise(keys):
    assert (keys["restoringBeamMajorValue"], keys["restoringBeamMajorUnit"]) == (pytest.approx(80), "arcsec")
    assert (keys["restoringBeamMinorValue"], keys["restoringBeamMinorUnit"]) == (pytest.approx(40), "arcsec")
    assert (keys["restoringBeamPositionAngleValue"], keys["restoringBeamPositionAngleUnit"]) == (30, "deg")
    assert (keys["rmsNoiseValue"], keys["rmsNoiseUnit"], keys["rmsNoiseMethod"]) == (1e-3, "Jy/beam", "by hand")


def test_cell_is_the_increment_of_right_ascension(keys):
    assert keys["cellsize"].endswith("rad")
    assert float(keys["cellsize"].removesuffix("rad")) == pytest.approx(-CELL_RAD)


def test_pointing_is_in_radians_and_positive(keys):
    assert keys["Pointing"] == {
        "equinox": "J2000",
        "coordType": "RA-DEC",
        "angle1": pytest.approx(math.radians(218)),
        "angle2": pytest.approx(math.radians(34.5)),
    }


def test_direction_coordinate_is_complete(keys):
    direction = keys["DirectionCoordinate"]
    assert direction["nrOfDirectionLinearAxes"] == 2
    assert [direction[f"PC{row}_{column}"] for row in (0, 1) for column in (0, 1)] == [1, 0, 0, 1]
    assert (direction["equinox"], direction["raDecSystem"], direction["projection"]) == ("J2000", "FK5", "SIN")
    assert direction["projectionParameters"] == [0.0, 0.0]
    assert (direction["longitudePole"], direction["latitudePole"]) == (180.0, 34.5)
    assert direction["DirectionLinearAxis"][1] == {
        "name": "Declination",
        "units": "rad",
        "length": 128,
        "increment": pytest.approx(CELL_RAD),
        "referencePixel": 64.0,
        "referenceValue": pytest.approx(math.radians(34.5)),
    }
    assert direction["DirectionLinearAxis"][0]["name"] == "Right Ascension"


def test_spectral_and_polarization_coordinates_are_complete(keys):
    spectral = keys["SpectralCoordinate"]
    assert (spectral["spectralQuantityType"], spectral["spectralQuantityValue"]) == ("Frequency", 144e6)
    assert spectral["spectralAxisType"] == "Linear"
    assert spectral["SpectralLinearAxis"]["increment"] == 48e6
    assert keys["PolarizationCoordinate"]["polarizationType"] == ["I"]
    assert keys["PolarizationCoordinate"]["PolarizationTabularAxis"] == {"name": "Stokes", "units": "", "length": 1}


def test_reference_frames_come_from_header(tmp_path):
    said = {"RADESYS": "ICRS", "TIMESYS": "TAI", "SPECSYS": "LSRK", "PV2_1": 0.25, "EQUINOX": 2000}
    keys = describe_sky_image(read_sky_image(measured(tmp_path / "a.fits", **said)))
    assert keys["DirectionCoordinate"]["raDecSystem"] == "ICRS"
    assert keys["DirectionCoordinate"]["projectionParameters"] == [0.25, 0.0]
    assert (keys["timeFrame"], keys["locationFrame"]) == ("TAI", "LSRK")


MEASURED = {"MEANRMS": 1.0, "RMSMETH": "x", "XPOSURE": 1.0}
WRITTEN_BY_WSCLEAN = ("BMAJ", "BMIN", "BPA", "BUNIT", "SPECSYS", "DATE-OBS", "EQUINOX", "CRVAL1", "CDELT3", "CTYPE4")


@pytest.mark.parametrize("key", [*MEASURED, *WRITTEN_BY_WSCLEAN])
def test_no_key_has_a_default(tmp_path, key):
    path = write_image(tmp_path / "a.fits", without=(key,), **MEASURED)
    with pytest.raises(SkyImageError, match=rf"a\.fits: FITS header has no {key}; \w+"):
        describe_sky_image(read_sky_image(path))


def test_missing_rms_names_the_remedy(tmp_path):
    with pytest.raises(SkyImageError, match=r"no MEANRMS; measure the image first: measure_quality\.py"):
        describe_sky_image(read_sky_image(write_image(tmp_path / "a.fits")))


@pytest.mark.parametrize(("key", "word"), [("SPECSYS", "CMBDIPOL"), ("EQUINOX", 1875.0)])
def test_unknown_archive_values_are_refused(tmp_path, key, word):
    with pytest.raises(SkyImageError, match=rf"FITS key {key} is .*; the archive knows only"):
        describe_sky_image(read_sky_image(measured(tmp_path / "a.fits", **{key: word})))


def test_unsupported_units_are_refused(tmp_path):
    with pytest.raises(SkyImageError, match="BUNIT is 'K'"):
        describe_sky_image(read_sky_image(measured(tmp_path / "a.fits", BUNIT="K")))


def test_real_image_has_archive_keys(hba_set, tmp_path):
    path = image_of_real_data(hba_set, tmp_path)
    write_facts(path, {"MEANRMS": (1.5, ""), "RMSMETH": ("x", ""), "XPOSURE": (41.5, "")}, [])
    keys = describe_sky_image(read_sky_image(path))
    assert keys["npix"] == 256
    assert keys["Pointing"]["angle1"] == pytest.approx(0.42624575, abs=1e-6)
    assert keys["SpectralCoordinate"]["spectralQuantityValue"] == pytest.approx(134.3735e6, rel=1e-5)


def test_image_without_beam_is_refused(tmp_path):
    image = read_sky_image(write_image(tmp_path / "dirty.fits", BMAJ=0.0, BMIN=0.0, **MEASURED))
    with pytest.raises(SkyImageError, match="BMAJ is 0; make the image with WSClean's -make-psf"):
        describe_sky_image(image)
