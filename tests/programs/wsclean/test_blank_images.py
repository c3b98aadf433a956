"""Images that have no number in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.programs.wsclean import outputs as blank_images
from lofarpipe.programs.wsclean.outputs import is_blank
from made_images import write_image

NAN = np.full((128, 128), np.nan)


def with_number(row: int, column: int, number: float = 1.0) -> np.ndarray:
    plane = NAN.copy()
    plane[row, column] = number
    return plane


@pytest.mark.parametrize("place", [(0, 0), (127, 127), (64, 0), (63, 127)])
def test_single_finite_pixel_suffices(tmp_path: Path, place: tuple[int, int]) -> None:
    assert not is_blank(write_image(tmp_path / "a.fits", with_number(*place)))


@pytest.mark.parametrize("number", [np.nan, -np.nan, np.inf, -np.inf])
def test_non_finite_pixels_are_blank(tmp_path: Path, number: float) -> None:
    assert is_blank(write_image(tmp_path / "a.fits", with_number(3, 4, number)))


def test_zero_pixels_are_not_blank(tmp_path: Path) -> None:
    assert not is_blank(write_image(tmp_path / "a.fits", np.zeros((128, 128))))


@pytest.mark.parametrize("chunk_bytes", [8, 4096])
def test_large_images_are_read_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk_bytes: int) -> None:
    monkeypatch.setattr(blank_images, "CHUNK_BYTES", chunk_bytes)
    assert is_blank(write_image(tmp_path / "a.fits", NAN))
    assert not is_blank(write_image(tmp_path / "b.fits", with_number(5, 77)))


def test_double_precision_image_is_read(tmp_path: Path) -> None:
    for name, plane, blank in (("a.fits", NAN, True), ("b.fits", with_number(9, 9), False)):
        fits.PrimaryHDU(plane.astype(np.float64)).writeto(tmp_path / name)
        assert is_blank(tmp_path / name) is blank


def test_long_header_is_read(tmp_path: Path) -> None:
    header = fits.Header()
    for number in range(200):
        header["HISTORY"] = f"line {number} / of END"
    for name, plane, blank in (("a.fits", NAN, True), ("b.fits", with_number(0, 0), False)):
        fits.PrimaryHDU(plane.astype(np.float32), header).writeto(tmp_path / name)
        assert is_blank(tmp_path / name) is blank


def test_unreadable_image_is_not_blank(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((4, 4), np.int16)).writeto(tmp_path / "integers.fits")
    fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    write_image(tmp_path / "cut.fits", NAN)
    for name, content in {"text.fits": b"hello", "none.fits": b"", "long.fits": b" " * 5760}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "odd.fits").write_bytes(
        (tmp_path / "cut.fits").read_bytes().replace(b"NAXIS1  =      ", b"NAXIS1  = x    ")
    )
    names = ("integers", "empty", "text", "none", "long", "odd", "missing")
    assert [name for name in names if is_blank(tmp_path / f"{name}.fits")] == []


def names_of_blank(folder: Path, **planes: np.ndarray | None) -> list[str]:
    for name, plane in planes.items():
        write_image(folder / f"x-{name.replace('_', '-')}.fits", plane)
    return sorted(blank_images.blank_images(sorted(folder.iterdir())))


def test_channel_may_be_blank(tmp_path: Path) -> None:
    assert names_of_blank(tmp_path, **{"0000_image": NAN, "0001_image": None, "MFS_image": None}) == []


def test_blank_band_image_is_reported(tmp_path: Path) -> None:
    planes = {"0000_image": None, "MFS_image": NAN, "MFS_psf": None, "MFS_model": None}
    assert names_of_blank(tmp_path, **planes) == ["x-MFS-image.fits"]


def test_single_finite_polarisation_suffices(tmp_path: Path) -> None:
    assert names_of_blank(tmp_path, I_image=NAN, V_image=NAN) == ["x-I-image.fits", "x-V-image.fits"]
    assert names_of_blank(tmp_path, Q_image=None) == []


def test_directory_without_images_has_none_blank(tmp_path: Path) -> None:
    assert names_of_blank(tmp_path, psf=NAN, model=NAN) == []
