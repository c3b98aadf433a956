"""The file of a cube: header, planes, tables, and the name that only a whole one has."""

import math
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.cubes import cube as module
from lofarpipe.imaging.cubes.beams import Beam
from lofarpipe.imaging.cubes.cube import plane_checksum, verify_cube, write_cube
from lofarpipe.imaging.cubes.grid import FrequencyGrid
from lofarpipe.imaging.cubes.header import (
    BEAMS,
    ORIGINAL_BEAMS,
    CubeError,
    beam_table,
    cube_header,
    frequency_table,
)
from made_images import sky_header

GRID = FrequencyGrid(888e6, 1e6, 3, (0, 1, 2), 0.0)
BEAM = Beam(15, 12, 30)


def image_header(**cards):
    header = sky_header(5)
    header.update({"NAXIS": 4, "NAXIS1": 5, "NAXIS2": 4, "NAXIS3": 1, "NAXIS4": 1} | cards)
    return header


def made_planes(number, shape=(4, 5)):
    return [np.full(shape, float(index), np.float32) for index in range(number)]


def test_frequency_and_polarisation_axes_are_swapped():
    image = image_header(CSYER3=7.0, PC3_3=2.0, PC4_1=0.5, PV4_1=9.0, CNAME4="stokes", RESTFRQ=1e9)
    header = cube_header(image, GRID, ["Q"], BEAM, {"HIERARCH INSTRUMENT_RECEPTOR_ANGLE": 90.0})
    assert [header[f"NAXIS{number}"] for number in range(1, 5)] == [5, 4, 1, 3]
    assert [header[f"CTYPE{number}"] for number in range(1, 5)] == ["RA---SIN", "DEC--SIN", "STOKES", "FREQ"]
    assert [header[f"{key}4"] for key in ("CRPIX", "CRVAL", "CDELT", "CUNIT")] == [1, 888e6, 1e6, "Hz"]
    assert [header[f"{key}3"] for key in ("CRPIX", "CRVAL", "CDELT", "CUNIT")] == [1, 2, 1, ""]
    assert (header["CSYER4"], header["PC4_4"], header["PC3_1"], header["PV3_1"]) == (7, 2, 0.5, 9)
    assert (header["CNAME3"], header["RESTFRQ"], header["INSTRUMENT_RECEPTOR_ANGLE"]) == ("stokes", 1e9, 90)
    assert "CSYER3" not in header
    assert [header[key] for key in ("BMAJ", "BMIN", "BPA")] == [15 / 3600, 12 / 3600, 30]
    assert header["BUNIT"] == "JY/BEAM"


def test_polarisation_axis_can_be_last():
    header = cube_header(image_header(), GRID, ["I", "Q", "U", "V"], None, {"BUNIT": "Jy/beam"}, stokes_last=True)
    assert [header[f"CTYPE{number}"] for number in (3, 4)] == ["FREQ", "STOKES"]
    assert [header[f"NAXIS{number}"] for number in (3, 4)] == [3, 4]
    assert (header["CRVAL4"], header["CDELT4"], header["CASAMBM"], header["BUNIT"]) == (1, 1, True, "Jy/beam")
    assert "BMAJ" not in header


def test_header_keeps_history_without_scaling():
    image = image_header(BSCALE=2.0, BZERO=1.0, BLANK=-1, DATAMAX=3.0)
    image.add_history("made by hand")
    header = cube_header(image, GRID, ["I"], BEAM, {})
    assert list(header["HISTORY"]) == ["made by hand"]
    assert not {"BSCALE", "BZERO", "BLANK", "DATAMAX"} & set(header)


@pytest.mark.parametrize("cards", [{"CTYPE3": "VELO"}, {"NAXIS": 2}, {"CTYPE4": ""}])
def test_wrong_axes_are_refused(cards):
    with pytest.raises(CubeError, match="RA, DEC, FREQ and STOKES are needed"):
        cube_header(image_header(**cards), GRID, ["I"], BEAM, {})


def test_uneven_polarisations_are_refused():
    with pytest.raises(CubeError, match="no FITS axis has the polarisations I, Q, V"):
        cube_header(image_header(), GRID, ["I", "Q", "V"], BEAM, {})
    assert cube_header(image_header(), GRID, ["Q", "V"], BEAM, {})["CDELT3"] == 2


def test_cube_has_its_planes_in_order(tmp_path):
    header = cube_header(image_header(), GRID, ["I", "Q", "U", "V"], BEAM, {})
    planes = made_planes(12)
    planes[4:8] = [None] * 4
    checksums = write_cube(tmp_path / "a.fits", header, planes, [frequency_table([1e6, 2e6, 4e6])])
    with fits.open(tmp_path / "a.fits") as units:
        units.verify("exception")
        assert units[0].data.shape == (3, 4, 4, 5)
        assert units[0].data[2, 1].tolist() == planes[9].tolist()
        assert np.isnan(units[0].data[1]).all()
        assert units["FREQUENCIES"].data["FREQUENCY"].tolist() == [1e6, 2e6, 4e6]
    assert checksums[9] == plane_checksum(planes[9])
    assert checksums[4] == plane_checksum(np.full((4, 5), np.nan, np.float32))
    verify_cube(tmp_path / "a.fits", checksums)
    assert [path.name for path in tmp_path.iterdir()] == ["a.fits"]


def test_beam_table_follows_casa_layout():
    beams = [[BEAM, None], [None, None], [Beam(13, 11, 20), Beam(13.5, 11, 20)]]
    table = beam_table(beams, BEAMS)
    assert (table.header["EXTNAME"], table.header["NCHAN"], table.header["NPOL"]) == ("BEAMS", 3, 2)
    assert [(column.name, column.unit) for column in table.columns][:3] == [
        ("BMAJ", "arcsec"),
        ("BMIN", "arcsec"),
        ("BPA", "deg"),
    ]
    assert table.data["CHAN"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table.data["POL"].tolist() == [0, 1, 0, 1, 0, 1]
    assert table.data["BMAJ"].tolist() == [15, 13.5, 15, 13.5, 13, 13.5]  # of the nearest channel that has one


def test_polarisation_without_beam_borrows_one():
    table = beam_table([[None, BEAM], [None, None]], BEAMS)
    assert table.data["BMIN"].tolist() == [12] * 4


def test_original_beam_table_has_blank_beams():
    table = beam_table([[BEAM], [None]], ORIGINAL_BEAMS)
    assert table.data["BMAJ"][0] == 15
    assert all(math.isnan(table.data[key][1]) for key in ("BMAJ", "BMIN", "BPA"))
    assert np.isnan(beam_table([[None]], BEAMS).data["BMAJ"][0])


@pytest.mark.parametrize(("number", "expected"), [(2, "2 planes came for a cube of 3"), (4, "4 planes came")])
def test_wrong_number_of_planes_makes_no_cube(tmp_path, number, expected):
    with pytest.raises(CubeError, match=expected):
        write_cube(tmp_path / "a.fits", cube_header(image_header(), GRID, ["I"], BEAM, {}), made_planes(number))
    assert list(tmp_path.iterdir()) == []


def test_plane_of_another_size_is_refused(tmp_path):
    with pytest.raises(CubeError, match="planes differ in size: 3 x 4 pixels and 5 x 4 pixels"):
        write_cube(
            tmp_path / "a.fits", cube_header(image_header(), GRID, ["I"], BEAM, {}), made_planes(3, shape=(4, 3))
        )


def test_failing_plane_leaves_the_former_cube(tmp_path):
    def failing():
        yield np.zeros((4, 5), np.float32)
        raise KeyboardInterrupt

    (tmp_path / "a.fits").write_text("former")
    with pytest.raises(KeyboardInterrupt):
        write_cube(tmp_path / "a.fits", cube_header(image_header(), GRID, ["I"], BEAM, {}), failing())
    assert [path.name for path in tmp_path.iterdir()] == ["a.fits"]
    assert (tmp_path / "a.fits").read_text() == "former"


def test_full_disk_is_named(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CubeError, match=r"a.fits: cannot be written: No space left on device"):
        write_cube(tmp_path / "a.fits", cube_header(image_header(), GRID, ["I"], BEAM, {}), made_planes(3))
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
import numpy as np
from astropy.io import fits
from lofarpipe.imaging.cubes.cube import write_cube
def planes():
    yield np.zeros((4, 5), np.float32)
    os.kill(os.getpid(), signal.SIGKILL)
header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 3, "NAXIS1": 5, "NAXIS2": 4, "NAXIS3": 2})
write_cube(sys.argv[1], header, planes())
"""


def test_killed_writer_leaves_no_cube(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, f"{tmp_path}/a.fits"], check=False)
    assert done.returncode == -signal.SIGKILL
    (rest,) = tmp_path.iterdir()
    assert rest.name.startswith(".a.fits.")
    write_cube(tmp_path / "a.fits", cube_header(image_header(), GRID, ["I"], BEAM, {}), made_planes(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.fits"]  # and the next one clears up


def spoil(path: Path, place: int, content: bytes = b"\x01") -> None:
    with path.open("r+b") as stream:
        stream.seek(place)
        stream.write(content)


def test_verification_finds_changed_planes(tmp_path):
    path = tmp_path / "a.fits"
    checksums = write_cube(path, cube_header(image_header(), GRID, ["I"], BEAM, {}), made_planes(3))
    with pytest.raises(CubeError, match="has 3 planes where 2 were written"):
        verify_cube(path, checksums[:2])
    with fits.open(path) as units:
        begin = units[0].fileinfo()["datLoc"]
    spoil(path, begin + 80 + 7)
    with pytest.raises(CubeError, match=r"plane 1 is not as it was written \(1 of 3\)"):
        verify_cube(path, checksums)
    os.truncate(path, begin + 100)
    with pytest.warns(UserWarning, match="truncated"), pytest.raises(CubeError, match="read back: it ends early"):
        verify_cube(path, checksums)
    path.write_text("no FITS")
    with pytest.raises(CubeError, match=r"a.fits: cannot be read back"):
        verify_cube(path, checksums)


def test_lossy_disk_leaves_no_cube(tmp_path, monkeypatch):
    synchronise, header = os.fsync, cube_header(image_header(), GRID, ["I"], BEAM, {})

    def losing(descriptor):
        synchronise(descriptor)
        (unfinished,) = tmp_path.iterdir()
        spoil(unfinished, len(header.tostring()) + 6)

    monkeypatch.setattr(os, "fsync", losing)
    with pytest.raises(CubeError, match=r"a.fits: plane 0 is not as it was written"):
        write_cube(tmp_path / "a.fits", header, made_planes(3))
    assert list(tmp_path.iterdir()) == []


def test_writer_memory_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PLANE_BLOCK_BYTES", 1 << 14)
    plane = np.zeros((256, 256), np.float32)
    grid = FrequencyGrid(888e6, 1e6, 40, tuple(range(40)), 0.0)
    header = cube_header(image_header(NAXIS1=256, NAXIS2=256), grid, ["I"], BEAM, {})
    tracemalloc.start()
    write_cube(tmp_path / "a.fits", header, (plane if number % 2 else None for number in range(40)))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 1.5 * plane.nbytes  # of a cube of 40 planes
