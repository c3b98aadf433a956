"""Products that differ by rounding alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lofarpipe.archive.compare import are_close_drawings, are_close_images, are_close_texts

# Of these nine pixels the median is 0 and the median deviation 1, so that the noise is 1.4826 and 5 % of it 0.0741.
NOISE = np.array([[-2.0, -1.0, -1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 2.0]], np.float32)
MODEL = np.array([[0.0, 0.0], [0.0, 4.0]], np.float32)  # most pixels are 0: the limit is 4e-5


@pytest.mark.parametrize(("added", "close"), [(0.07, True), (-0.07, True), (0.08, False)])
def test_image_tolerance_scales_with_noise(added: float, close: bool) -> None:
    other = NOISE.copy()
    other[1, 1] += added
    assert are_close_images(NOISE, other) is close


@pytest.mark.parametrize(("added", "close"), [(3e-5, True), (5e-5, False)])
def test_model_tolerance_scales_with_peak(added: float, close: bool) -> None:
    other = MODEL.copy()
    other[0, 0] += added
    assert are_close_images(MODEL, other) is close


def test_blank_pixels_must_coincide() -> None:
    one, other = NOISE.copy(), NOISE.copy()
    one[0, 0] = other[0, 0] = np.nan
    assert are_close_images(one, other)
    other[0, 1] = np.nan
    assert not are_close_images(one, other)
    assert not are_close_images(np.full((2, 2), np.nan), np.full((2, 2), np.nan))


@pytest.mark.parametrize(
    ("one", "other", "close"),
    [
        ("rms = 0.0030413", "rms = 0.0030414", True),  # by 3e-5
        ("rms = 0.00304", "rms = 0.00305", False),  # by 0.3 %
        ("rms = 1.5e-3 Jy", "rms = 1.5001e-3 Jy", True),
        ("-1.0001 and 2", "-1.0000 and 2", True),
        ("offset = -1.0", "offset = 1.0", False),
        ("sources = 10000", "sources = 10001", False),  # they are counted
        ("size = 1000", "size = 1000.1", False),
        ("start = 4895000000.5", "start = 4895000003.5", False),  # a time
        ("rms = 0.003", "peak = 0.003", False),
        ("1.0 2.0", "1.0", False),
        ("", "", True),
    ],
)
def test_numbers_in_texts_have_a_tolerance(one: str, other: str, close: bool) -> None:
    assert are_close_texts(one, other) is close
    assert are_close_texts(other, one) is close


@given(st.text("0123456789.e+-ab\n "))
def test_text_is_close_only_to_itself(text: str) -> None:
    assert are_close_texts(text, text)
    assert not are_close_texts(text, f"{text}x")


def drawing(path: Path, *levels: int) -> str:
    Image.fromarray(np.array([levels], np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize(("levels", "close"), [((0, 102, 255), True), ((0, 103, 255), False), ((0, 100), False)])
def test_drawing_levels_have_a_tolerance(tmp_path: Path, levels: tuple[int, ...], close: bool) -> None:
    one, other = drawing(tmp_path / "a.png", 0, 100, 255), drawing(tmp_path / "b.png", *levels)
    assert are_close_drawings(one, other) is close


def test_invalid_drawing_is_not_close(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_text("no drawing")
    assert not are_close_drawings(drawing(tmp_path / "a.png", 1), str(tmp_path / "b.png"))
    assert not are_close_drawings(drawing(tmp_path / "a.png", 1), str(tmp_path / "none.png"))
