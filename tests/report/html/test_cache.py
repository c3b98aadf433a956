"""Costly parts of the page: made once, and again when their sources change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.report.html import page as html_pieces
from lofarpipe.report.html.page import (
    NotDrawnError,
    Pieces,
    figures,
    image_directories,
    image_paths,
    pictures,
    read_json,
    stamp_of,
)
from made_images import write_image
from made_jobs import write_images

NUMBERS = {"expected_jy": None, "predicted": [], "measured": [], "beam_arcsec": None}


class Counter:
    """Makes a piece, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> int:
        self.made += 1
        return self.made


def test_changed_source_renews_cached_piece(tmp_path: Path) -> None:
    make = Counter()
    assert [Pieces(tmp_path).get("a", {"of": 1}, make) for _ in range(3)] == [1, 1, 1]
    assert Pieces(tmp_path).get("a", {"of": 2}, make) == 2
    assert Pieces(tmp_path).get("b", {"of": 2}, make) == 3


def test_new_version_renews_cached_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = Counter()
    Pieces(tmp_path).get("a", {}, make)
    monkeypatch.setattr(html_pieces, "VERSION", -1)
    assert Pieces(tmp_path).get("a", {}, make) == 2


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("odd"), PipelineError("bad"), MemoryError("full")])
def test_failed_piece_is_omitted_and_reported(tmp_path: Path, error: Exception) -> None:
    def fail() -> None:
        raise error

    pieces = Pieces(tmp_path)
    assert pieces.get("a", {}, fail) is None
    assert pieces.problems == [f"a: {error}"]
    assert Pieces(tmp_path).get("a", {}, Counter()) == 1  # it is tried again


def test_damaged_cache_file_is_replaced(tmp_path: Path) -> None:
    make = Counter()
    Pieces(tmp_path).get("a", {}, make)
    (tmp_path / html_pieces.KEPT_IN / "a.json").write_text('{"mark":')
    assert Pieces(tmp_path).get("a", {}, make) == 2


def test_unwritable_cache_directory_disables_caching(tmp_path: Path) -> None:
    (tmp_path / "jobs").write_text("a file")
    make = Counter()
    assert [Pieces(tmp_path).get("a", {}, make) for _ in range(2)] == [1, 2]


def test_stamps_change_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert stamp_of(path) == ""
    path.write_text("one")
    first = stamp_of(path)
    os.utime(path, ns=(0, 0))
    assert stamp_of(path) not in ("", first)


@pytest.mark.parametrize("content", ["", "[1]", "{", "\udcff", "[" * 100_000])
def test_invalid_json_reads_as_empty(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content, errors="surrogateescape")
    assert read_json(tmp_path / "a.json") == {}
    assert read_json(tmp_path / "b.json") == {}


def test_measured_images_are_chosen(tmp_path: Path) -> None:
    for name in ("x-MFS-image.fits", "x-MFS-primary-beam.fits", "y-MFS-image.fits", "corrected.fits"):
        (tmp_path / name).touch()
    quality = {"image": str(tmp_path / "x-MFS-image.fits"), "image_pb": str(tmp_path / "corrected.fits")}
    found = image_paths([tmp_path], quality)
    assert {name: path.name for name, path in found.items()} == {
        "flat": "x-MFS-image.fits", "corrected": "corrected.fits", "beam": "x-MFS-primary-beam.fits"
    }  # fmt: skip


def test_newest_image_is_chosen_without_measurements(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old")):
        (tmp_path / f"{name}-MFS-image.fits").touch()
        os.utime(tmp_path / f"{name}-MFS-image.fits", (1000 - age, 1000 - age))
    gone = {"image": "/nowhere/image.fits", "image_pb": 3}
    assert image_paths([tmp_path], gone) == {"flat": tmp_path / "new-MFS-image.fits"}
    assert image_paths([tmp_path / "empty"], {}) == {}


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["x-image.fits", "x-image-pb.fits", "y-dirty.fits"], ["x-image.fits", "x-image-pb.fits"]),
        (["x-0000-image.fits", "x-0001-image.fits", "x-MFS-image.fits", "other-image.fits"], ["x-MFS-image.fits"]),
        (["x-I-image.fits", "x-Q-image.fits", "x-XY-image.fits", "x-t0003-0001-I-image.fits"], ["x-I-image.fits"]),
        (["x-MFS-I-image.fits", "x-MFS-V-image.fits"], ["x-MFS-I-image.fits"]),
        (["x-t0001-image.fits", "x-t0001-image-pb.fits"], ["x-t0001-image.fits", "x-t0001-image-pb.fits"]),
        (["x-I-image.fits", "x-I-image-pb.fits", "x-I-primary-beam.fits"], None),
    ],
)
def test_wsclean_image_names_are_recognised(tmp_path: Path, names: list[str], shown: list[str] | None) -> None:
    (tmp_path / "work").mkdir()
    for age, name in enumerate(names):  # the wrong ones are newer
        (tmp_path / "work" / name).touch()
        os.utime(tmp_path / "work" / name, (1000 + age, 1000 + age))
    record = {"run": {"working_directory": str(tmp_path / "work")}}
    found = image_paths(image_directories(tmp_path, record), {})
    assert [path.name for path in found.values()] == (shown or names)


def test_uncorrected_image_is_listed_once(tmp_path: Path) -> None:
    image = tmp_path / "x-MFS-image.fits"
    image.touch()
    assert image_paths([tmp_path], {"image": str(image), "image_pb": str(image)}) == {"flat": image}


def test_every_image_has_a_picture(tmp_path: Path) -> None:
    write_images(tmp_path)
    made = pictures(Pieces(tmp_path), image_paths([tmp_path], {}))
    assert list(made) == ["flat", "corrected"]
    assert all(made["flat"][name].startswith("data:image/png") for name in ("greys", "drawn"))
    kept = pictures(Pieces(tmp_path), image_paths([tmp_path], {}))
    assert kept["flat"]["greys"] == made["flat"]["greys"]


def test_incomplete_image_is_omitted(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "fullband-MFS-image-pb.fits").write_bytes(b"SIMPLE  =")
    pieces = Pieces(tmp_path)
    assert list(pictures(pieces, image_paths([tmp_path], {}))) == ["flat"]
    assert "fullband-MFS-image-pb.fits: cannot be read as FITS" in pieces.problems[0]


def test_available_inputs_select_the_figures(tmp_path: Path) -> None:
    write_images(tmp_path)
    pieces = Pieces(tmp_path)
    assert set(figures(pieces, tmp_path, image_paths([tmp_path], {}), NUMBERS)) == {"beam", "noise"}
    assert figures(pieces, tmp_path, {}, NUMBERS) == {}
    source = {"distance_deg": 1.0, "ratio": 1.0, "ratio_error": 0.1, "east_arcsec": 0.1, "north_arcsec": 0.1}
    numbers = NUMBERS | {"predicted": [(0.0, 0.0), (1.0, 0.1)], "measured": [source]}
    assert set(figures(pieces, tmp_path, {}, numbers)) == {"smearing", "fluxes", "positions"}
    assert pieces.problems == []


def test_plotted_uv_coverage_is_reused(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (20, 20)).save(tmp_path / "uv_coverage.png")
    assert set(figures(Pieces(tmp_path), tmp_path, {}, NUMBERS)) == {"uv"}


def test_changed_expectation_redraws_noise(tmp_path: Path) -> None:
    paths = {"flat": write_image(tmp_path / "a.fits")}
    first = figures(Pieces(tmp_path), tmp_path, paths, NUMBERS)
    assert figures(Pieces(tmp_path), tmp_path, paths, NUMBERS | {"expected_jy": 1e-3}) != first


def test_frugal_cache_makes_no_costly_piece(tmp_path: Path) -> None:
    frugal = Pieces(tmp_path, draws=False)
    with pytest.raises(NotDrawnError, match="a"):
        frugal.get("a", {}, lambda: 1)
    assert frugal.get("b", {}, lambda: 2, is_costly=False) == 2
    assert Pieces(tmp_path).get("a", {}, lambda: 1) == 1
    assert frugal.get("a", {}, lambda: 3) == 1
