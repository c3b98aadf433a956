"""Headers of FITS without a library: round trips with astropy; pixels stay."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.support.fits_header import (
    HISTORY_BEGIN,
    HISTORY_END,
    FitsHeader,
    extend_header,
    extended_cards,
    other_history,
    read_header,
    wrapped,
)

PIXELS = np.arange(12, dtype=np.float32).reshape(3, 4) * math.pi


def write(path: Path, **keywords: object) -> Path:
    header = fits.Header(keywords)
    header.add_history("by another program")
    fits.HDUList([fits.PrimaryHDU(PIXELS, header), fits.ImageHDU(PIXELS * 2)]).writeto(path)
    return path


def test_values_of_astropy_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", TEXT="it's / 'quoted'", NUMBER=-1.5e-7, COUNT=3)
    with path.open("rb") as stream:
        header = read_header(stream)
        assert stream.tell() % 2880 == 0
    assert header.text("TEXT") == "it's / 'quoted'"
    assert header.number("NUMBER") == -1.5e-7
    assert header.text("COUNT") == "3"
    assert header.text("NONE") is None
    assert header.history == ["by another program"]
    with pytest.raises(ValueError, match="has no NONE"):
        header.number("NONE")
    assert FitsHeader((b"A       = 1.5D2".ljust(80),)).number("A") == 150


@pytest.mark.parametrize("content", [b"", b"a" * 2880, b"END".ljust(2880), b"SIMPLE  = T".ljust(2880)])
def test_invalid_files_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="no FITS file"):
        read_header(io.BytesIO(content))


def test_extension_keeps_pixels(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.fits", OBJECT="kept", OBSERVER="", TELESCOP="LOFAR", **{"DATE-OBS": "1858-11-17T00:00:00.0"}
    )
    (tmp_path / "link.fits").symlink_to("a.fits")
    before = path.read_bytes()
    words = {
        "OBJECT": ("other", ""),
        "OBSERVER": ("O'Brien", "observer"),
        "DATE-OBS": ("2020-01-02T03:04:05.000", ""),
        "EXPTIME": (60.25, "[s] time"),
        "COUNT": (3, ""),
    }
    extend_header(tmp_path / "link.fits", words, ["first time"])
    extend_header(tmp_path / "link.fits", words, [f"line {'x' * 200} é"])
    assert (tmp_path / "link.fits").is_symlink()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.fits", "link.fits"]
    with fits.open(path) as opened:
        opened.verify("exception")
        header = opened[0].header
        assert np.array_equal(opened[0].data, PIXELS)
        assert np.array_equal(opened[1].data, PIXELS * 2)
    assert [header[key] for key in words] == ["kept", "O'Brien", "2020-01-02T03:04:05.000", 60.25, 3]
    lines = list(header["HISTORY"])
    assert lines[:2] == ["by another program", HISTORY_BEGIN]
    assert "".join(lines[2:-1]) == f"line {'x' * 200} \\xe9"
    assert lines[-1] == HISTORY_END
    assert path.read_bytes().endswith(before[2880:])


def test_failure_leaves_file_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(b"no FITS")
    with pytest.raises(ValueError, match="no FITS file"):
        extend_header(path, {}, [])
    assert path.read_bytes() == b"no FITS"
    assert [one.name for one in tmp_path.iterdir()] == ["a.fits"]


def test_history_without_end_stays() -> None:
    assert other_history(["a", HISTORY_BEGIN, "b"]) == ["a", HISTORY_BEGIN, "b"]


@given(st.text(max_size=300))
def test_wrapped_lines_rejoin(text: str) -> None:
    line = f"begin {text} end"
    parts = list(wrapped(line))
    assert all(len(part) <= 72 for part in parts)
    assert not any(part.endswith(" ") for part in parts[:-1] if part.strip())
    joined = "".join(parts)
    assert joined.isascii()
    assert joined.isprintable()
    assert text.isascii() is False or not text.isprintable() or joined == line


@given(st.text(max_size=100))
def test_any_text_becomes_card(text: str) -> None:
    (card, *_) = extended_cards(FitsHeader(()), {"OBJECT": (text, "field")}, [])
    assert len(card) == 80
    value = fits.Card.fromstring(card).value
    assert isinstance(value, str)
    assert len(value) <= 68
