"""Differences between the products of two runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from casacore.tables import table
from PIL import Image

from lofarpipe.archive import compare
from lofarpipe.archive.checksums import describe_files
from lofarpipe.archive.compare import Compared, compare_products, is_repeated, product_names, report_lines


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """The directories of two runs."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path / "one", tmp_path / "two"


def record(place: Path, *more: Path) -> dict:
    paths = [str(path) for path in (*sorted(place.iterdir()), *more)]
    run = {"job_directory": str(place), "working_directory": str(place)}
    return {"run": run, "products": describe_files(paths, 10**9)}


def only(places: tuple[Path, Path]) -> tuple[str, str, str]:
    (found,) = compare_products(*map(record, places))
    return found.name, found.result, found.detail


def image(path: Path, plane: object, **cards: object) -> None:
    fits.PrimaryHDU(np.asarray(plane, np.float32), fits.Header(cards)).writeto(path)


def test_product_names_are_relative_to_run(tmp_path: Path) -> None:
    files = ["work/field/a.fits", "jobs/field/b.json", "out/c.fits"]
    entries = [{"path": str(tmp_path / name)} for name in files]
    run = {"job_directory": f"{tmp_path}/jobs/field", "working_directory": f"{tmp_path}/work/field"}
    assert list(product_names({"run": run, "products": entries})) == ["a.fits", "b.json", f"{tmp_path}/out/c.fits"]


def test_products_are_same_missing_or_new(places: tuple[Path, Path]) -> None:
    one, two = places
    for place in places:
        (place / "a").write_text("same")
    (one / "b").touch()
    (two / "c").touch()
    found = compare_products(record(one), record(two))
    assert [(f.name, f.result) for f in found] == [("a", "same"), ("b", "missing"), ("c", "new")]
    assert not is_repeated(found)
    assert is_repeated(found[:1])


def test_delivered_files_are_matched_by_order(places: tuple[Path, Path], tmp_path: Path) -> None:
    for name, number in (("a.fits", 1), ("b.fits", 2), ("c.fits", 1), ("d.fits", 3)):
        image(tmp_path / name, [[number, 0]])
    (tmp_path / "a.xml").touch()
    old = record(places[0], tmp_path / "a.fits", tmp_path / "b.fits", tmp_path / "a.xml")
    new = record(places[1], tmp_path / "c.fits", tmp_path / "d.fits")
    assert [(one.name.replace(f"{tmp_path}/", ""), one.result) for one in compare_products(old, new)] == [
        ("a.fits -> c.fits", "same"),
        ("b.fits -> d.fits", "differs"),
        ("a.xml", "missing"),
    ]


def test_texts_may_contain_run_directory(places: tuple[Path, Path]) -> None:
    for place in places:
        (place / "a.json").write_text(f'"{place}/image.fits"')
    assert only(places) == ("a.json", "same content", "but for where the runs were")
    (places[1] / "a.json").write_text("other")
    assert only(places)[1] == "differs"


def test_texts_may_contain_delivered_names(places: tuple[Path, Path], tmp_path: Path) -> None:
    # The second name contains the first one: a replacement is not replaced again.
    for place, name in zip(places, ("a.fits", "aa.fits"), strict=True):
        image(tmp_path / name, [[1, 0]])
        (place / "b.parset").write_text(f"filename={name}\npath={tmp_path / name}\n")
    found = compare_products(record(places[0], tmp_path / "a.fits"), record(places[1], tmp_path / "aa.fits"))
    assert [one.result for one in found] == ["same content", "same"]


def test_large_texts_are_not_read(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "LARGEST_TEXT_BYTES", 10)
    for place in places:
        (place / "a").write_text(f"{place}/image.fits")
    size = len(f"{places[0]}/image.fits")
    assert only(places) == ("a", "differs", f"{size} and {size} bytes")


def test_missing_first_product_leaves_checksums(places: tuple[Path, Path]) -> None:
    (places[0] / "a").write_text("1")
    before = record(places[0])
    (places[0] / "a").unlink()
    (places[1] / "a").write_text("2")
    (found,) = compare_products(before, record(places[1]))
    assert found == Compared("a", "differs", "the first one is not there any more, so that only checksums tell")


def test_equal_pixels_make_images_the_same(places: tuple[Path, Path]) -> None:
    for number, place in enumerate(places):
        image(place / "a.fits", [[1, np.nan], [3, 4]], RUN=number)
    assert only(places) == ("a.fits", "same content", "all pixels are equal; the headers are not")


@pytest.mark.parametrize(
    ("plane", "detail"),
    [
        ([[1, 2], [3, 4.5]], "pixels by up to 0.5, where the largest is 4"),
        ([[1, 2, 3]], "not images of one size"),
        ([[1, 2], [3, np.nan]], "pixels by up to 0, where the largest is 4"),
    ],
)
def test_different_images_show_the_difference(places: tuple[Path, Path], plane: object, detail: str) -> None:
    image(places[0] / "a.fits", [[1, 2], [3, 4]])
    image(places[1] / "a.fits", plane)
    assert only(places) == ("a.fits", "differs", detail)


def test_images_and_measurements_have_a_tolerance(places: tuple[Path, Path]) -> None:
    for place, last, rms in zip(places, (1.0, 1.01), ("0.0030411", "0.0030412"), strict=True):
        image(place / "a.fits", [[-2, -1, -1], [0, 0, 0], [1, 2, last]])  # the noise is 1.48: 5 % of it are 0.074
        (place / "b.json").write_text(f'{{"image": "{place}/a.fits", "rms": {rms}}}')
        Image.new("L", (3, 3), int(100 * last)).save(place / "c.png")
    found = compare_products(*map(record, places))
    assert [(one.name, one.result, one.detail) for one in found] == [
        ("a.fits", "same to rounding", "pixels by up to 0.01, where the largest is 2"),
        ("b.json", "same to rounding", ""),
        ("c.png", "same to rounding", ""),
    ]
    assert is_repeated(found)
    assert not is_repeated(found, exactly=True)


def test_different_drawings_differ(places: tuple[Path, Path]) -> None:
    for place, level in zip(places, (100, 110), strict=True):
        Image.new("L", (3, 3), level).save(place / "c.png")
    assert only(places) == ("c.png", "differs", "")


def test_invalid_image_is_reported(places: tuple[Path, Path]) -> None:
    image(places[0] / "a.fits", [[1, 2], [3, 4]])
    (places[1] / "a.fits").write_text("no image")
    assert only(places)[2].startswith("cannot be read as FITS: ")


@pytest.fixture
def tables(places: tuple[Path, Path], hba_set: Path) -> tuple[Path, Path]:
    """Two copies of a measurement set; the second has a keyword more."""
    for place in places:
        shutil.copytree(hba_set, place / "a.MS")
    with table(str(places[1] / "a.MS"), readonly=False, ack=False) as changed:
        changed.putkeyword("RUN", "two")
    return places


def test_equal_columns_make_tables_the_same(tables: tuple[Path, Path]) -> None:
    assert only(tables) == ("a.MS", "same content", "all columns are equal; keywords or subtables are not")


def test_different_tables_name_the_column(tables: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "ROWS", 7)  # more than one piece
    with table(str(tables[1] / "a.MS"), readonly=False, ack=False) as changed:
        last = changed.nrows() - 1
        changed.putcell("FLAG_ROW", last, not changed.getcell("FLAG_ROW", last))
    assert only(tables) == ("a.MS", "differs", "in FLAG_ROW")
    with table(str(tables[1] / "a.MS"), readonly=False, ack=False) as changed:
        changed.addrows(1)
    assert only(tables) == ("a.MS", "differs", "other columns or rows")
    monkeypatch.setattr(compare, "LARGEST_TABLE_BYTES", 10)
    assert "too large to compare" in only(tables)[2]


def test_invalid_table_is_reported(tables: tuple[Path, Path]) -> None:
    (tables[1] / "a.MS" / "table.dat").write_text("no table")
    assert only(tables)[2].startswith("cannot be read as a table: ")


def test_unwritten_cells_are_compared(places: tuple[Path, Path]) -> None:
    class Column:
        def __init__(self, cells: object) -> None:
            self.cells = cells

        def nrows(self) -> int:
            return 1

        def getcol(self, *_: object) -> object:
            if self.cells is None:
                raise RuntimeError("no array in row 0")
            return self.cells

    def same(one: object, other: object) -> bool:
        return compare._same_column(Column(one), Column(other), "x")

    assert same(None, None)
    assert not same(None, ["a"])
    assert same(["a"], ["a"])
    assert not same(["a"], ["b"])
    assert same(np.array([np.nan]), np.array([np.nan]))


def test_report_lists_differences_first() -> None:
    compared = [Compared("c", "same"), Compared("b", "same content", "why"), Compared("a", "differs", "how")]
    assert report_lines(compared) == [
        "differs       a: how",
        "same content  b: why",
        "3 products: 1 same, 1 same content, 1 differs",
    ]
    assert report_lines([]) == ["0 products: none"]
