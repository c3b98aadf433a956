"""Images in I, Q, U and V, their smoothing, and cubes of them with blank channels, beams and manifest."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.beams import Beam
from lofarpipe.imaging.cubes.stokes_cube import CubeChannel, common_target, manifest, write_smoothed, write_stokes_cube
from lofarpipe.imaging.cubes.stokes_images import (
    StokesFacts,
    band_image,
    blank_record,
    channel_image,
    cube_file,
    header_of,
    image_record,
    recipe_in,
    write_stokes_image,
    write_threshold_mask,
)

SIZE, CELL_ARCSEC = 64, 2.0
LEVELS = {"I": 1.0, "Q": 0.2, "U": -0.1, "V": 0.01}


def write_plane(path: Path, level: float, beam: Beam, seed: int = 0, size: int = SIZE) -> Path:
    """Write an image as the imager does: axes RA, Dec, frequency, Stokes; a source of a beam in the middle."""
    y, x = np.mgrid[:size, :size] - size // 2
    width = beam.major_arcsec / CELL_ARCSEC
    noise = np.random.default_rng(seed).normal(0, 1e-4, (size, size))
    pixels = level * np.exp(-4 * np.log(2) * (x**2 + y**2) / width**2) + noise
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CTYPE3": "FREQ", "CTYPE4": "STOKES"})
    header.update({"CDELT1": -CELL_ARCSEC / 3600, "CDELT2": CELL_ARCSEC / 3600, "CRVAL1": 150.0, "CRVAL2": 2.0})
    header.update({"CRPIX1": size / 2 + 1, "CRPIX2": size / 2 + 1, "CUNIT1": "deg", "CUNIT2": "deg", "CRVAL3": 9e8})
    header.update({"EQUINOX": 2000.0, "BUNIT": "JY/BEAM", "TELESCOP": "MeerKAT", **beam.cards})
    fits.PrimaryHDU(pixels[None, None].astype(np.float32), header).writeto(path)
    return path


def write_image(path: Path, beam: Beam, recipe: str = "r1", effective_hz: float = 9.05e8) -> Path:
    """Write an image of four planes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    planes = {
        name: write_plane(path.with_suffix(f".{name}"), level, beam, seed)
        for seed, (name, level) in enumerate(LEVELS.items())
    }
    write_stokes_image(path, planes, StokesFacts(9.1e8, 2e7, recipe, 0.0, "COSMOS", effective_hz, 0.25, ("wsclean",)))
    return path


def test_image_has_four_planes_in_order(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.fits", Beam(8, 8))
    with fits.open(path, checksum=True) as hdus:
        header, pixels = hdus[0].header, hdus[0].data
    assert pixels.shape == (1, 4, SIZE, SIZE)
    assert pixels[0, :, SIZE // 2, SIZE // 2] == pytest.approx(list(LEVELS.values()), abs=1e-3)
    assert [header[f"CTYPE{axis}"] for axis in (3, 4)] == ["STOKES", "FREQ"]
    assert (header["CRVAL4"], header["CDELT4"], header["RESTFRQ"], header["EFFFREQ"]) == (9.1e8, 2e7, 9.1e8, 9.05e8)
    assert (header["BUNIT"], header["RADESYS"], header["SPECSYS"]) == ("Jy/beam", "FK5", "TOPOCENT")
    assert header["RMS_V"] == pytest.approx(1e-4, rel=0.1)
    assert header["HISTORY"][0] == "wsclean"


def test_missing_or_unequal_planes_are_refused(tmp_path: Path) -> None:
    facts = StokesFacts(9.1e8, 2e7, "r", 0.0, "COSMOS")
    planes = {name: write_plane(tmp_path / name, 1, Beam(8, 8)) for name in "IQU"}
    with pytest.raises(PipelineError, match="no image of Stokes V"):
        write_stokes_image(tmp_path / "a.fits", planes, facts)
    planes["V"] = write_plane(tmp_path / "V", 1, Beam(8, 8), size=32)
    with pytest.raises(PipelineError, match="not of one size"):
        write_stokes_image(tmp_path / "a.fits", planes, facts)


def test_mask_covers_the_source(tmp_path: Path) -> None:
    image = write_plane(tmp_path / "i.fits", 1.0, Beam(8, 8))
    assert 20 < write_threshold_mask(image, tmp_path / "mask.fits", 8) < 400
    with fits.open(image, mode="update") as hdus:
        hdus[0].data[:] = np.nan
    with pytest.raises(PipelineError, match="has no finite pixel; flag visibilities with weights that are NaN"):
        write_threshold_mask(image, tmp_path / "mask.fits", 8)
    mask = fits.getdata(tmp_path / "mask.fits")
    assert mask[0, 0, SIZE // 2, SIZE // 2] == 1
    assert set(np.unique(mask)) == {0, 1}


def test_smoothing_keeps_the_peak(tmp_path: Path) -> None:
    path, smoothed = write_image(tmp_path / "a.fits", Beam(8, 8)), tmp_path / "a.smoothed.fits"
    assert write_smoothed(path, smoothed, Beam(18, 18)) == ""
    header, pixels = header_of(smoothed), fits.getdata(smoothed)
    assert pixels[0, :, SIZE // 2, SIZE // 2] == pytest.approx(list(LEVELS.values()), abs=2e-3)
    assert (header["BMAJ"], header["BMIN"]) == (18 / 3600, 18 / 3600)
    before = smoothed.stat().st_mtime_ns
    assert write_smoothed(path, smoothed, Beam(18, 18)) == ""
    assert smoothed.stat().st_mtime_ns == before  # it is there already
    assert write_smoothed(path, smoothed, Beam(19, 19)) == ""
    assert smoothed.stat().st_mtime_ns != before


def test_larger_beam_has_no_smoothed_image(tmp_path: Path) -> None:
    path, smoothed = write_image(tmp_path / "a.fits", Beam(20.8, 20.8)), tmp_path / "a.smoothed.fits"
    smoothed.write_text("of an earlier run")
    reason = write_smoothed(path, smoothed, Beam(18, 18))
    assert reason == "beam 20.8 x 20.8 arcsec is larger than the common beam of 18 arcsec"
    assert not smoothed.exists()
    with pytest.raises(PipelineError, match="cannot be read"):
        write_smoothed(tmp_path / "missing.fits", smoothed, Beam(18, 18))


def test_image_without_a_beam_is_not_smoothed(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a.fits", Beam(8, 8))
    fits.setval(path, "BMAJ", value=0.0)
    assert write_smoothed(path, tmp_path / "b.fits", Beam(18, 18)) == "no beam"


def test_images_have_common_target_beam(tmp_path: Path) -> None:
    images = [write_image(tmp_path / f"{width}.fits", Beam(width, width)) for width in (8, 9, 9.5, 30)]
    assert common_target("none", images) is None
    assert common_target("18", []) == Beam(18, 18)
    assert common_target("auto", images) == Beam(9.5, 9.5)  # 30 is above 1.5 times the median


def channels_of(tmp_path: Path) -> list[CubeChannel]:
    """Return three channels, the middle one without data."""
    entries = [
        {"index": n, "low_hz": 9e8, "high_hz": 9.2e8, "frequency_hz": 9.1e8 + (n - 1) * 2e7, "members": [[0, n]]}
        for n in (1, 2, 3)
    ]
    first, last = (write_image(tmp_path / f"{n}.fits", Beam(8 + n, 8 + n), f"r{n}") for n in (1, 3))
    blank = blank_record("flagged")
    return [CubeChannel(entries[0], first, {}), CubeChannel(entries[1], None, blank), CubeChannel(entries[2], last, {})]


def test_native_cube_has_beams_and_blank_planes(tmp_path: Path) -> None:
    channels, path = channels_of(tmp_path), tmp_path / "cubes" / "c.fits"
    assert write_stokes_cube(path, channels, 2e7, None)
    with fits.open(path) as hdus:
        header, pixels, beams = hdus[0].header, hdus[0].data, hdus["BEAMS"]
        majors_arcsec = beams.data["BMAJ"].tolist()
    assert pixels.shape == (3, 4, SIZE, SIZE)
    assert [bool(np.isnan(plane).all()) for plane in pixels] == [False, True, False]
    assert np.array_equal(pixels[2], fits.getdata(channels[2].image)[0])
    assert (header["CRVAL4"], header["CDELT4"], header["CRPIX4"], header["CASAMBM"]) == (9.1e8, 2e7, 1.0, True)
    assert "BMAJ" not in header
    assert "EFFFREQ" not in header
    assert majors_arcsec[:8] == [9.0] * 8  # the blank one has that of the nearest
    assert (beams.header["NCHAN"], beams.header["NPOL"]) == (3, 4)
    assert not write_stokes_cube(path, channels, 2e7, None)  # of the same images


def test_smoothed_cube_has_one_beam(tmp_path: Path) -> None:
    channels, path = channels_of(tmp_path), tmp_path / "c.fits"
    write_stokes_cube(path, channels, 2e7, Beam(18, 18))
    with fits.open(path) as hdus:
        assert len(hdus) == 1
        assert hdus[0].header["BMAJ"] == 18 / 3600
        assert recipe_in(path)


@pytest.fixture(scope="module")
def cubes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A cube of two channels and a blank one between, as it is and in tiles."""
    folder = tmp_path_factory.mktemp("cubes")
    channels, made = channels_of(folder), {"plain": folder / "plain.fits", "tiled": folder / "tiled.fits"}
    for kind, path in made.items():
        write_stokes_cube(path, channels, 2e7, None, kind == "tiled")
    return made


def test_tiled_cube_has_the_same_planes(cubes: dict[str, Path]) -> None:
    with fits.open(cubes["plain"]) as plain, fits.open(cubes["tiled"]) as tiled:
        assert isinstance(tiled[1], fits.CompImageHDU)
        assert np.array_equal(tiled[1].data, plain[0].data, equal_nan=True)
        assert [tiled[1].header[key] for key in ("CTYPE4", "CRVAL4", "CASAMBM")] == ["FREQ", 9.1e8, True]
        assert tiled["BEAMS"].data["BMAJ"].tolist() == plain["BEAMS"].data["BMAJ"].tolist()
    assert recipe_in(cubes["tiled"]) != recipe_in(cubes["plain"])  # another format is another cube


@pytest.mark.parametrize("kind", ["plain", "tiled"])
def test_cubes_have_valid_checksums(cubes: dict[str, Path], kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(cubes[kind], checksum=True, disable_image_compression=True) as hdus:
            hdus.verify("exception")
            assert all({"CHECKSUM", "DATASUM"} <= set(hdu.header) for hdu in hdus[int(kind == "tiled") :])


@pytest.mark.parametrize(("kind", "unit"), [("plain", 0), ("tiled", 1)])
def test_spectral_cube_opens_cubes(cubes: dict[str, Path], kind: str, unit: int) -> None:
    spectral_cube = pytest.importorskip("spectral_cube")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cube = spectral_cube.StokesSpectralCube.read(cubes[kind], hdu=unit)
        assert sorted(map(str, cube.components)) == ["I", "Q", "U", "V"]
        assert cube.I.shape == (3, SIZE, SIZE)
        assert float(cube.Q[2][SIZE // 2, SIZE // 2].value) == pytest.approx(LEVELS["Q"], abs=1e-3)


def test_casa_imports_cube(cubes: dict[str, Path], tmp_path: Path) -> None:
    if importlib.util.find_spec("casatasks") is None:
        pytest.skip("casatasks is not installed: pip install 'genericpipeline[casa]'")
    code = (
        "import sys; from casatasks import importfits, imhead; importfits(fitsimage=sys.argv[1], imagename='i');"
        "head = imhead('i'); beams = head['perplanebeams']['nChannels'];"
        "print(list(map(int, head['shape'])), beams, bool(head['hasmask']))"
    )
    done = subprocess.run([sys.executable, "-c", code, cubes["plain"]], cwd=tmp_path, capture_output=True, text=True)
    if "measures data is not available" in done.stderr:
        pytest.skip("CASA has no measures data")
    assert done.stdout.splitlines()[-1:] == [f"[{SIZE}, {SIZE}, 4, 3] 3 True"], done.stderr


def test_cube_without_images_is_refused(tmp_path: Path) -> None:
    blank = CubeChannel({"index": 1, "frequency_hz": 9e8}, None, blank_record("no data"))
    with pytest.raises(PipelineError, match=r"none of its 1 channels has an image \(no data\)"):
        write_stokes_cube(tmp_path / "c.fits", [blank], 2e7, None)


def test_manifest_names_reasons(tmp_path: Path) -> None:
    channels = channels_of(tmp_path)
    unreached = CubeChannel(channels[2].entry, None, {"smoothed_reason": "beam 11 x 11 arcsec is larger"})
    facts = manifest(channels, [channels[0], channels[1], unreached], Beam(18, 18), 0.0, tmp_path)
    first, blank, last = facts["channels"]
    assert (facts["robust"], facts["stokes"], facts["common_beam_arcsec"]) == (0.0, ["I", "Q", "U", "V"], 18)
    assert (first["status"], first["reason"], first["smoothed_status"], first["smoothed_reason"]) == (
        "ok",
        None,
        "ok",
        None,
    )
    assert (first["effective_frequency_hz"], first["flagged_fraction"], first["file"]) == (9.05e8, 0.25, "1.fits")
    assert first["beam"]["bmaj_arcsec"] == pytest.approx(9)
    assert set(first["rms_jy"]) == set("IQUV")
    assert first["weight_per_jy2"] == pytest.approx(2 / (first["rms_jy"]["Q"] ** 2 + first["rms_jy"]["U"] ** 2))
    assert (blank["status"], blank["reason"], blank["smoothed_reason"], blank["beam"]) == (
        "blank",
        "flagged",
        "flagged",
        None,
    )
    assert (last["status"], last["smoothed_status"]) == ("ok", "blank")
    assert first["input_channels"] == [[0, 1]]


def test_missing_image_has_no_record(tmp_path: Path) -> None:
    assert header_of(tmp_path / "missing.fits") is None
    assert recipe_in(tmp_path / "missing.fits") is None
    path = write_image(tmp_path / "a.fits", Beam(8, 8))
    assert image_record(path, header_of(path), tmp_path)["rms_jy"]["I"] > 0


def test_products_have_documented_names() -> None:
    out = Path("/out/cosmos")
    assert str(band_image(out, "cosmos", -0.5, 512)) == "/out/cosmos/mfs_-0.5/cosmos_mfs_IQUV_-0.5_512.fits"
    name = "/out/cosmos/chan_imgs/007/cosmos.chan007_IQUV_0.0_512.smoothed.fits"
    assert str(channel_image(out, "cosmos", "007", 0.0, 512, True)) == name
    assert str(cube_file(out, "cosmos", 0.0, 512)) == "/out/cosmos/cubes/cosmos_cube_IQUV_0.0_512.fits"
