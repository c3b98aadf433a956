"""Differences in the products of two runs: of bytes, and where these differ of the content."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern

NOISE_PART = 0.05  # of the image's noise: invisible
LARGEST_PART = 1e-5  # of the largest pixel, for images without noise, such as models
NUMBER_PART = 1e-3  # relative tolerance of a number in a text, for results computed from pixels
LARGEST_NUMBER = 1e5  # larger numbers are times, frequencies and sizes, which must be equal
LEVELS = 2  # of 255, of a drawing
_NUMBER = lazy_pattern(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def are_close_images(one: Any, other: Any) -> bool:
    """Whether no pixel of two images of one shape differs by more than 5 % of the noise, and the same ones are blank.

    Images with mostly equal pixels have no noise; for these the tolerance is 1e-5 of the largest pixel.
    """
    import numpy as np

    from lofarpipe.imaging.quality.statistics import robust_rms

    is_finite = np.isfinite(one)
    if not np.array_equal(is_finite, np.isfinite(other)) or not is_finite.any():
        return False
    try:
        limit = NOISE_PART * robust_rms(one)
    except ValueError:
        limit = LARGEST_PART * float(np.abs(one[is_finite]).max())
    return bool(np.abs(one[is_finite].astype(float) - other[is_finite]).max() <= limit)


def are_close_texts(one: str, other: str) -> bool:
    """Whether two texts are the same but for numbers with a decimal point, and these differ by 0.1 % at most."""
    if _NUMBER.sub("0", one) != _NUMBER.sub("0", other):
        return False
    pairs = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(_are_close_numbers(*pair) for pair in pairs)


def _are_close_numbers(one: str, other: str) -> bool:
    if one == other:
        return True
    if one.lstrip("+-").isdigit() or other.lstrip("+-").isdigit() or abs(float(one)) > LARGEST_NUMBER:
        return False
    return math.isclose(float(one), float(other), rel_tol=NUMBER_PART)


def are_close_drawings(one: str, other: str) -> bool:
    """Whether two picture files differ by at most 2 of 255 levels in each pixel; False if one is not a picture."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(one) as first, Image.open(other) as second:
            levels = [np.asarray(picture.convert("RGBA"), np.int16) for picture in (first, second)]
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return False
    return levels[0].shape == levels[1].shape and int(np.abs(levels[0] - levels[1]).max(initial=0)) <= LEVELS


Facts = dict[str, Any]

SAME, SAME_CONTENT, DIFFERS, MISSING, NEW = "same", "same content", "differs", "missing", "new"
ROUNDED = "same to rounding"
LARGEST_TEXT_BYTES = 50_000_000
LARGEST_TABLE_BYTES = 2_000_000_000
ROWS = 100_000  # of a table, compared at a time


@dataclass(frozen=True)
class Compared:
    """The comparison of one product of two runs."""

    name: str
    result: str
    detail: str = ""


def product_names(record: Facts) -> dict[str, Facts]:
    """Return the products by names without the place of the run: relative to its directories, else as they are."""
    run = record["run"]
    places = sorted({run["job_directory"], run["working_directory"]}, key=len, reverse=True)
    products = {}
    for entry in record["products"]:
        place = next((place for place in places if entry["path"].startswith(f"{place}/")), None)
        products[entry["path"].removeprefix(f"{place}/") if place else entry["path"]] = entry
    return products


def compare_products(old_record: Facts, new_record: Facts) -> list[Compared]:
    """Return each product of either run with its comparison."""
    old, new = product_names(old_record), product_names(new_record)
    moved = _moved(old, new)
    places = (
        _places(old_record, new_record) | moved | {Path(name).name: Path(other).name for name, other in moved.items()}
    )
    comparisons = [
        _compared(f"{name} -> {moved[name]}" if name in moved else name, entry, new.get(moved.get(name, name)), places)
        for name, entry in old.items()
    ]
    return comparisons + [Compared(name, NEW) for name in new if name not in old and name not in moved.values()]


def _moved(old: Mapping[str, Facts], new: Mapping[str, Facts]) -> dict[str, str]:
    """Return pairs of products delivered outside the runs to different places, matched by kind and order."""
    moved: dict[str, str] = {}
    for name in (name for name in old if name.startswith("/") and name not in new):
        others = (other for other in new if other.startswith("/") and other not in old)
        same_kind = (other for other in others if Path(other).suffix == Path(name).suffix)
        match = next((other for other in same_kind if other not in moved.values()), None)
        if match is not None:
            moved[name] = match
    return moved


def _places(old_record: Facts, new_record: Facts) -> dict[str, str]:
    """Return directories of the first run -> directories of the second."""
    return {old_record["run"][key]: new_record["run"][key] for key in ("working_directory", "job_directory")}


def _compared(name: str, old: Facts, new: Facts | None, places: Mapping[str, str]) -> Compared:
    if new is None:
        return Compared(name, MISSING)
    if old["checksum"] == new["checksum"]:
        return Compared(name, SAME)
    if not Path(old["path"]).exists():
        return Compared(name, DIFFERS, "the first one is not there any more, so that only checksums tell")
    if old["kind"] == "table":
        return _tables(name, old, new)
    if old["path"].endswith(".fits"):
        return _images(name, old["path"], new["path"])
    return _texts(name, old, new, places)


def _texts(name: str, old: Facts, new: Facts, places: Mapping[str, str]) -> Compared:
    """Compare two files but for the places of the runs in them, and two drawings."""
    if max(old["bytes"], new["bytes"]) > LARGEST_TEXT_BYTES:
        return Compared(name, DIFFERS, f"{old['bytes']} and {new['bytes']} bytes")
    if old["path"].endswith(".png"):
        return Compared(name, ROUNDED if are_close_drawings(old["path"], new["path"]) else DIFFERS)
    names = {os.fsencode(one): os.fsencode(other) for one, other in places.items()}
    any_name = b"|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    old_content, new_content = Path(old["path"]).read_bytes(), Path(new["path"]).read_bytes()
    old_content = re.sub(any_name, lambda match: names[match[0]], old_content)
    if old_content == new_content:
        return Compared(name, SAME_CONTENT, "but for where the runs were")
    if are_close_texts(old_content.decode("utf-8", "replace"), new_content.decode("utf-8", "replace")):
        return Compared(name, ROUNDED)
    return Compared(name, DIFFERS, f"{old['bytes']} and {new['bytes']} bytes")


def _images(name: str, old: str, new: str) -> Compared:
    """Compare the pixels of two FITS images; blank pixels are equal."""
    import numpy as np
    from astropy.io import fits

    try:
        one, other = fits.getdata(old), fits.getdata(new)
    except (OSError, ValueError, TypeError, IndexError) as err:
        return Compared(name, DIFFERS, f"cannot be read as FITS: {err}")
    if one is None or other is None or one.shape != other.shape or one.dtype.fields or other.dtype.fields:
        return Compared(name, DIFFERS, "not images of one size")
    if np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
        return Compared(name, SAME_CONTENT, "all pixels are equal; the headers are not")
    largest = float(np.nanmax(np.abs(one.astype(float) - other.astype(float)), initial=0.0))
    peak = float(np.nanmax(np.abs(one), initial=0.0))
    result = ROUNDED if one.dtype.kind == "f" and are_close_images(one, other) else DIFFERS
    return Compared(name, result, f"pixels by up to {largest:.3g}, where the largest is {peak:.3g}")


def _tables(name: str, old: Facts, new: Facts) -> Compared:
    """Compare the columns of two main tables; their subtables and keywords may depend on the run, as HISTORY does."""
    if max(old["bytes"], new["bytes"]) > LARGEST_TABLE_BYTES:
        return Compared(name, DIFFERS, f"{old['bytes']} and {new['bytes']} bytes; too large to compare its columns")
    from casacore.tables import table

    try:
        with table(old["path"], ack=False) as one, table(new["path"], ack=False) as other:
            if sorted(one.colnames()) != sorted(other.colnames()) or one.nrows() != other.nrows():
                return Compared(name, DIFFERS, "other columns or rows")
            wrong = [column for column in one.colnames() if not _same_column(one, other, column)]
    except RuntimeError as err:
        return Compared(name, DIFFERS, f"cannot be read as a table: {err}")
    if wrong:
        return Compared(name, DIFFERS, f"in {', '.join(wrong)}")
    return Compared(name, SAME_CONTENT, "all columns are equal; keywords or subtables are not")


def _same_column(one: Any, other: Any, column: str) -> bool:
    return all(
        _equal(_cells(one, column, start), _cells(other, column, start)) for start in range(0, one.nrows(), ROWS)
    )


def _cells(table: Any, column: str, start: int) -> Any:
    """Return some cells of a column; None if they are unwritten or differ in shape."""
    try:
        return table.getcol(column, start, min(ROWS, table.nrows() - start))
    except RuntimeError:
        return None


def _equal(one: Any, other: Any) -> bool:
    import numpy as np

    if one is None or other is None:
        return one is None and other is None
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    return bool(one == other)


def report_lines(compared: list[Compared]) -> list[str]:
    """Return the table for people: differences first, and a last line with counts."""
    order = (DIFFERS, MISSING, NEW, ROUNDED, SAME_CONTENT, SAME)
    width = max((len(one.result) for one in compared if one.result != SAME), default=0)
    lines = [
        f"{one.result:{width}}  {one.name}{f': {one.detail}' if one.detail else ''}"
        for one in sorted(compared, key=lambda one: (order.index(one.result), one.name))
        if one.result != SAME
    ]
    counts = [(result, sum(one.result == result for one in compared)) for result in reversed(order)]
    counted = ", ".join(f"{number} {result}" for result, number in counts if number)
    return [*lines, f"{len(compared)} products: {counted or 'none'}"]


def is_repeated(compared: list[Compared], exactly: bool = False) -> bool:
    """Whether all products agree; ``exactly``: without a tolerance for rounding."""
    good = (SAME, SAME_CONTENT) if exactly else (SAME, SAME_CONTENT, ROUNDED)
    return all(one.result in good for one in compared)
