"""Channel images of a beam, their common beam as a file, and the cube of a polarisation."""

import json
import math
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits

from channel_images import gaussian, write_channel
from lofarpipe.imaging.cubes import convolution, cube
from lofarpipe.imaging.cubes.beams import Beam, CommonBeamError
from lofarpipe.imaging.cubes.channel_cube import noise_warnings, write_channel_cube
from lofarpipe.imaging.cubes.channels import find_common_beam, read_channel, read_common_beam, write_common_beam
from lofarpipe.imaging.cubes.header import CubeError

BEAMS = [Beam(15, 12, 30), Beam(14.5, 11.6, 30), Beam(14, 11.2, 30)]


def write_channels(folder, beams=BEAMS, stokes="I", frequencies_mhz=(888, 889, 890), **options):
    return [
        str(write_channel(folder / f"{stokes}{number}.fits", beam, frequency * 1e6, stokes, **options))
        for number, (beam, frequency) in enumerate(zip(beams, frequencies_mhz, strict=True))
    ]


def write_all(folder, paths, cutoff=None, **options):
    """The cube, its header and its facts, at the common beam of the same images."""
    common = find_common_beam(paths, cutoff)
    facts = write_channel_cube(paths, common, f"{folder}/cube.fits", f"{folder}/weights.txt", **options)
    with fits.open(f"{folder}/cube.fits") as units:
        return units[0].data.copy(), units[0].header, facts


def test_convolved_planes_preserve_fluxes(tmp_path):
    pixels, header, facts = write_all(tmp_path, write_channels(tmp_path, peak=2.0), angle_deg=75.0)
    assert pixels.shape == (3, 1, 32, 32)
    assert pixels[:, 0, 16, 16] == pytest.approx(2.0, abs=0.03)
    for plane in pixels[:, 0]:
        assert np.abs(plane - gaussian(32, BEAMS[0], 16, 16, 2.0)).max() < 0.05
    assert (header["BMAJ"] * 3600, header["BPA"]) == (pytest.approx(15), 30)
    assert [header[f"{key}4"] for key in ("CTYPE", "CRPIX", "CRVAL", "CDELT")] == ["FREQ", 1, 888e6, 1e6]
    assert header["INSTRUMENT_RECEPTOR_ANGLE"] == 75
    assert (facts.frequencies_hz, facts.blank, facts.warnings) == ((888e6, 889e6, 890e6), (), ())


def test_weights_follow_from_planes(tmp_path):
    pixels, _, facts = write_all(tmp_path, write_channels(tmp_path))
    for plane, weight in zip(pixels[:, 0], facts.weights, strict=True):
        deviation = np.median(np.abs(plane - np.median(plane)))
        assert weight == pytest.approx((1.482602218505602 * deviation) ** -2, rel=1e-5)
    assert (tmp_path / "weights.txt").read_text().splitlines()[1] == f"0 {facts.weights[0]!r}"


def test_plane_with_the_common_beam_is_copied(tmp_path):
    paths = write_channels(tmp_path)
    pixels, _, _ = write_all(tmp_path, paths)
    assert pixels[0, 0].tobytes() == fits.getdata(paths[0])[0, 0].astype(">f4").tobytes()


def test_excluded_images_become_blank_planes(tmp_path):
    pixels, header, facts = write_all(tmp_path, write_channels(tmp_path, [*BEAMS[:2], None]), cutoff=14.7)
    assert np.isnan(pixels[[0, 2]]).all()
    assert np.isfinite(pixels[1]).all()
    assert facts.blank == (0, 2)
    assert [math.isnan(weight) for weight in facts.weights] == [True, False, True]
    assert [rms is None for rms in facts.rms_jy] == [True, False, True]
    assert header["BMAJ"] * 3600 == pytest.approx(14.5)


def test_missing_channel_is_a_blank_plane(tmp_path):
    paths = write_channels(tmp_path, frequencies_mhz=(891, 888, 889))
    pixels, header, facts = write_all(tmp_path, paths)
    assert (len(pixels), facts.blank, facts.frequencies_hz[2]) == (4, (2,), 890e6)
    assert (header["CRVAL4"], header["CDELT4"]) == (888e6, 1e6)
    with fits.open(tmp_path / "cube.fits") as units:
        beams = units["ORIGINAL_BEAMS"].data["BMAJ"]
        assert [len(units), *beams[[0, 1, 3]]] == pytest.approx([2, 14.5, 14, 15])
    assert math.isnan(beams[2])


def test_channels_off_the_grid_keep_their_frequencies(tmp_path):
    pixels, _, facts = write_all(tmp_path, write_channels(tmp_path, frequencies_mhz=(888, 890.5, 893.5)))
    assert len(pixels) == 3
    (warning,) = facts.warnings
    assert "up to 0.1667 MHz off the axis in the header (step 2.75 MHz)" in warning
    with fits.open(tmp_path / "cube.fits") as units:
        assert units["FREQUENCIES"].data["FREQUENCY"].tolist() == [888e6, 890.5e6, 893.5e6]


def test_residuals_have_the_beams_of_their_images(tmp_path):
    (tmp_path / "residuals").mkdir()
    common = find_common_beam(write_channels(tmp_path), None)
    residuals = write_channels(tmp_path / "residuals", [None] * 3, plane=np.ones((32, 32)))
    write_channel_cube(residuals, common, f"{tmp_path}/cube.fits")
    pixels = fits.getdata(tmp_path / "cube.fits")
    assert pixels[:, 0, 5, 5] == pytest.approx([1.0, 180 / (14.5 * 11.6), 180 / (14 * 11.2)], rel=1e-6)


def test_image_unknown_to_common_beam_is_refused(tmp_path):
    common = find_common_beam(write_channels(tmp_path), None)
    (tmp_path / "other").mkdir()
    other = write_channels(tmp_path / "other", BEAMS[:1], frequencies_mhz=[887])
    with pytest.raises(CubeError, match=r"Stokes I at 887.000 MHz is not among the 3 images of the common beam"):
        write_channel_cube(other, common, f"{tmp_path}/cube.fits")


def test_polarisations_are_not_mixed(tmp_path):
    paths = [*write_channels(tmp_path), *write_channels(tmp_path, stokes="Q")]
    common = find_common_beam(paths, None)
    with pytest.raises(CubeError, match="images of I, Q cannot be in one cube"):
        write_channel_cube(paths, common, f"{tmp_path}/cube.fits")
    assert list(common.group_by_stokes(paths[::-1])) == ["I", "Q"]
    assert common.group_by_stokes(paths)["Q"] == paths[3:]


def test_images_of_several_sizes_are_refused(tmp_path):
    paths = write_channels(tmp_path)
    write_channel(tmp_path / "I1.fits", BEAMS[1], 889e6, npixels=30)
    with pytest.raises(CubeError, match="planes differ in size"):
        write_all(tmp_path, paths)
    assert not (tmp_path / "cube.fits").exists()


def test_too_large_beam_names_its_image(tmp_path):
    paths = write_channels(tmp_path)
    common = find_common_beam(paths[2:], None)
    common = type(common)(common.beam, None, find_common_beam(paths, None).images)
    with pytest.raises(CommonBeamError, match=r"I0.fits: the beam 15 x 12 arcsec .* does not fit"):
        write_channel_cube(paths, common, f"{tmp_path}/cube.fits")


def test_common_beam_is_read_back(tmp_path):
    common = find_common_beam(write_channels(tmp_path, [*BEAMS[:2], None]), 14.7)
    write_common_beam(common, tmp_path / "beam.json")
    assert read_common_beam(tmp_path / "beam.json") == common
    entries = json.loads((tmp_path / "beam.json").read_text())["images"]
    assert [entry["used"] for entry in entries] == [False, True, False]


@pytest.mark.parametrize("text", [None, "{", "{}", '{"images": [{"beam": null}]}'])
def test_file_without_common_beam_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "beam.json").write_text(text)
    with pytest.raises(CommonBeamError, match=r"is no common beam: .* make it again with common_beam.py"):
        read_common_beam(tmp_path / "beam.json")


def test_file_without_channel_image_is_refused(tmp_path):
    with pytest.raises(CommonBeamError, match=r"no.fits: is no image of a channel: No such file"):
        read_channel(f"{tmp_path}/no.fits")
    (tmp_path / "a.fits").write_text("text")
    with pytest.raises(CommonBeamError, match=r"a.fits: is no image of a channel: is no FITS file; make it again"):
        read_channel(f"{tmp_path}/a.fits")
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "b.fits")
    with pytest.raises(CommonBeamError, match="it has no FREQ axis"):
        read_channel(f"{tmp_path}/b.fits")
    path = write_channel(tmp_path / "c.fits", BEAMS[0], 888e6)
    fits.writeto(tmp_path / "d.fits", np.zeros((1, 2, 4, 4)), fits.getheader(path))
    with pytest.raises(CommonBeamError, match="its FREQ axis has 2 planes, and one is needed"):
        read_channel(f"{tmp_path}/d.fits")


def test_memory_does_not_grow_with_channels(tmp_path, monkeypatch):
    monkeypatch.setattr(convolution, "BLOCK_VALUES", 1000)
    monkeypatch.setattr(cube, "PLANE_BLOCK_BYTES", 1 << 14)
    plane = np.ones((512, 512), np.float32)
    plane[:3] = np.nan
    peaks_bytes = []
    for channels in (2, 2, 8):  # the first one imports
        beams = [Beam(15, 12, 30), *[Beam(14, 11, 20)] * (channels - 1)]
        paths = write_channels(tmp_path, beams, frequencies_mhz=range(888, 888 + channels), plane=plane)
        common = find_common_beam(paths, None)
        tracemalloc.start()
        write_channel_cube(paths, common, f"{tmp_path}/cube.fits")
        peaks_bytes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks_bytes[2] < 5 * plane.nbytes
    assert peaks_bytes[2] - peaks_bytes[1] < plane.nbytes


def test_implausible_noise_gives_a_warning(tmp_path):
    rng = np.random.default_rng(1)
    beam = Beam(15.0, 12.0, 30.0)
    quiet = write_channel(tmp_path / "quiet.fits", beam, 888e6)
    loud = write_channel(tmp_path / "loud.fits", beam, 888e6, plane=rng.normal(0, 3.0, (32, 32)))
    blank = write_channel(tmp_path / "blank.fits", None, 888e6)
    (warning,) = noise_warnings(map(str, (quiet, loud, blank)))
    assert warning.startswith(f"{loud}: its noise is ")
