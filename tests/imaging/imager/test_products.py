"""Images as WSClean names and describes them, and the restoring beam."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.imager.products import (
    CleaningFacts,
    HeaderFacts,
    OutputBand,
    ProductWriter,
    own_version,
    read_observation,
    whole_band,
)
from lofarpipe.imaging.imager.restore import RestoringBeam, convolve_model, fit_beam
from lofarpipe.imaging.imager.settings import ImagerSettings
from small_sets import SetShape, make_set

CELL_RAD = math.radians(5 / 3600)
BEAM = RestoringBeam(6 * CELL_RAD, 4 * CELL_RAD, 30.0)
# Keywords of w-0000-image.fits of WSClean 3.1: -size 200 200 -scale 30asec -niter 1000 -mgain 0.8 -channels-out 2
# -auto-threshold 3 -auto-mask 5 -join-channels -weight briggs 0 -no-update-model-required -name w a.ms
RECORDED = """
SIMPLE BITPIX NAXIS NAXIS1 NAXIS2 NAXIS3 NAXIS4 EXTEND BSCALE BZERO BUNIT BMAJ BMIN BPA EQUINOX BTYPE TELESCOP ORIGIN
CTYPE1 CRPIX1 CRVAL1 CDELT1 CUNIT1 CTYPE2 CRPIX2 CRVAL2 CDELT2 CUNIT2 CTYPE3 CRPIX3 CRVAL3 CDELT3 CUNIT3 CTYPE4 CRPIX4
CRVAL4 CDELT4 CUNIT4 SPECSYS DATE-OBS WSCDATAC WSCVDATE WSCVERSI WSCWEIGH WSCENVIS WSCFIELD WSCGAIN WSCGKRNL WSCIMGWG
WSCMAJOR WSCMGAIN WSCMINOR WSCNEGCM WSCNEGST WSCNITER WSCNORMF WSCNVIS WSCNWLAY WSCTHRES WSCVWSUM HISTORY
"""
BANDS = (OutputBand(143.5e6, 147.5e6, 1.0, 10, beam=BEAM), OutputBand(147.5e6, 151.5e6, 3.0, 30, beam=BEAM))
EMPTY = OutputBand(151.5e6, 155.5e6, 0.0, 0)


def settings(folder: Path, **changes: object) -> ImagerSettings:
    given = {"name": str(folder / "w"), "sets": ("a.ms",), "size": (64, 48), "cell_rad": CELL_RAD, "channels_out": 2}
    return ImagerSettings(**{**given, **changes})


def writer(folder: Path, bands: tuple[OutputBand, ...] = BANDS, **changes: object) -> ProductWriter:
    sky = HeaderFacts(57.3, 51.6, "DATA", {"TELESCOP": ("LOFAR", "telescope"), "DATE-OBS": ("2017-04-27T08:53:50", "")})
    return ProductWriter(settings(folder, **changes), sky, bands, whole_band(bands, BEAM), ["lofar-clean -size 64 48"])


def cubes(value: float = 1.0, channels: int = 2) -> list[np.ndarray]:
    return [np.full((48, 64), value * (channel + 1), np.float32) for channel in range(channels)]


def header(path: Path) -> fits.Header:
    return fits.getheader(path)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def gaussian(beam: RestoringBeam, shape: tuple[int, int] = (129, 129)) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    y, x = y - shape[0] // 2, x - shape[1] // 2
    a, b, c = beam.curvature(CELL_RAD)
    return np.exp(-(a * x * x + b * x * y + c * y * y))


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("products")
    products = writer(folder)
    products.write_planes("dirty", cubes())
    products.write_planes("psf", cubes())
    models = [np.zeros((48, 64), np.float32) for _ in range(2)]
    models[1][20, 30] = 2.0
    products.write_cleaned(cubes(0.0), models, CleaningFacts(3, 700))
    return folder


def test_header_has_every_wsclean_key(cleaned: Path) -> None:
    assert set(RECORDED.split()) - set(header(cleaned / "w-0000-image.fits")) == set()
    assert set(RECORDED.split()) - {"WSCMAJOR", "WSCMINOR"} <= set(header(cleaned / "w-0001-dirty.fits"))


def test_names_agree_with_wsclean(cleaned: Path) -> None:
    kinds = ("dirty", "psf", "residual", "model", "image")
    assert names(cleaned) == {f"w-{label}-{kind}.fits" for label in ("0000", "0001", "MFS") for kind in kinds}


def test_band_is_weighted_mean(cleaned: Path) -> None:
    assert fits.getdata(cleaned / "w-MFS-dirty.fits").shape == (1, 1, 48, 64)
    assert np.allclose(fits.getdata(cleaned / "w-MFS-dirty.fits"), (1 * 1 + 3 * 2) / 4)


def test_header_describes_sky_and_band(cleaned: Path) -> None:
    keys = header(cleaned / "w-MFS-image.fits")
    assert [keys[f"CRPIX{axis}"] for axis in (1, 2, 3, 4)] == [33, 25, 1, 1]
    assert (keys["CRVAL3"], keys["CDELT3"], keys["WSCIMGWG"], keys["WSCNVIS"]) == (147.5e6, 8e6, 4.0, 40)
    assert (keys["CDELT1"], keys["CDELT2"]) == pytest.approx((-5 / 3600, 5 / 3600))
    assert (keys["BMAJ"], keys["BMIN"], keys["BPA"]) == pytest.approx((30 / 3600, 20 / 3600, 30))
    assert (keys["WSCMAJOR"], keys["WSCMINOR"], keys["WSCWEIGH"]) == (3, 700, "uniform")
    assert keys["ORIGIN"] == own_version()
    assert list(keys["HISTORY"]) == [own_version(), "lofar-clean -size 64 48"]
    assert header(cleaned / "w-MFS-model.fits")["BUNIT"] == "JY/PIXEL"


def test_restored_source_has_its_flux_as_peak(cleaned: Path) -> None:
    image = fits.getdata(cleaned / "w-0001-image.fits")[0, 0]
    assert image[20, 30] == pytest.approx(2.0, rel=1e-5)
    assert fits.getdata(cleaned / "w-MFS-image.fits").max() == pytest.approx(1.5, rel=1e-5)


def test_polarizations_are_named(tmp_path: Path) -> None:
    products = writer(tmp_path, pol=("I", "Q"), products=("dirty", "psf"), channel_products=False)
    for stokes in "IQ":
        products.write_planes("dirty", cubes(), stokes)
    products.write_planes("psf", cubes())
    products.write_cleaned(cubes(), cubes(), CleaningFacts(1, 1), "Q")  # no kind of it is wanted
    assert names(tmp_path) == {"w-MFS-I-dirty.fits", "w-MFS-Q-dirty.fits", "w-MFS-psf.fits"}
    assert header(tmp_path / "w-MFS-Q-dirty.fits")["CRVAL4"] == 2


def test_single_channel_has_no_number(tmp_path: Path) -> None:
    products = writer(tmp_path, BANDS[:1], channel_products=False)
    products.write_cleaned(cubes(channels=1), cubes(channels=1), CleaningFacts(1, 1))
    assert names(tmp_path) == {"w-image.fits", "w-model.fits", "w-residual.fits"}
    assert products.paths == [str(tmp_path / f"w-{kind}.fits") for kind in ("residual", "model", "image")]


def test_source_list_is_written_once(tmp_path: Path) -> None:
    products = writer(tmp_path, pol=("I", "Q"), products=(), component_list=True)
    for stokes in "IQ":
        products.write_cleaned(cubes(0.0), cubes(0.0), CleaningFacts(1, 1), stokes)
    assert names(tmp_path) == {"w-sources.txt"}
    assert products.paths == [str(tmp_path / "w-sources.txt")]


def test_empty_channel_has_no_weight(tmp_path: Path) -> None:
    products = writer(tmp_path, (*BANDS, EMPTY))
    planes = [*cubes(), np.full((48, 64), np.nan, np.float32)]
    products.write_planes("dirty", planes)
    products.write_cleaned(planes, planes, CleaningFacts(1, 0))
    assert np.allclose(fits.getdata(tmp_path / "w-MFS-dirty.fits"), 7 / 4)
    assert header(tmp_path / "w-0002-image.fits")["BMAJ"] == 0
    assert header(tmp_path / "w-0002-image.fits")["WSCIMGWG"] == 0


def test_observation_is_read(tmp_path: Path) -> None:
    path = make_set(tmp_path / "a.ms", SetShape(nantennas=3, ntimes=2))
    sky = read_observation([path], 0, "DATA")
    assert (sky.ra_deg, sky.dec_deg) == pytest.approx((math.degrees(1.0), math.degrees(0.9)))
    assert sky.keywords["TELESCOP"][0] == "LOFAR"
    with pytest.raises(PipelineError, match="field 3 is not there; it has 0 to 0"):
        read_observation([path], 3, "DATA")


@pytest.mark.parametrize(
    "beam", [BEAM, RestoringBeam(40 * CELL_RAD, 20 * CELL_RAD, 100.0), RestoringBeam(2 * CELL_RAD, 1.5 * CELL_RAD, 0.0)]
)
def test_beam_of_gaussian_is_found(beam: RestoringBeam) -> None:
    found = fit_beam(gaussian(beam), CELL_RAD)
    assert (found.major_rad, found.minor_rad) == pytest.approx((beam.major_rad, beam.minor_rad), rel=1e-4)
    assert math.sin(math.radians(found.angle_deg - beam.angle_deg)) == pytest.approx(0, abs=1e-3)


def test_plateau_does_not_widen_beam() -> None:
    found = fit_beam(0.8 * gaussian(BEAM) + 0.2 * gaussian(RestoringBeam(60 * CELL_RAD, 60 * CELL_RAD, 0)), CELL_RAD)
    assert found.major_rad < 1.25 * BEAM.major_rad


def test_psf_without_lobe_is_refused() -> None:
    with pytest.raises(PipelineError, match="not finite"):
        fit_beam(np.full((33, 33), np.nan), CELL_RAD)
    with pytest.raises(PipelineError, match="no main lobe"):
        fit_beam(2 - gaussian(BEAM), CELL_RAD)


def test_convolved_source_does_not_wrap() -> None:
    model = np.zeros((50, 40), np.float32)
    model[0, 20] = 1.0
    image = convolve_model(model, BEAM, CELL_RAD, 1)
    y, x = np.mgrid[:50, :40].astype(float)
    a, b, c = BEAM.curvature(CELL_RAD)
    assert np.allclose(image, np.exp(-(a * (x - 20) ** 2 + b * (x - 20) * y + c * y * y)), atol=1e-5)
    assert abs(image[-5:]).max() < 1e-5
