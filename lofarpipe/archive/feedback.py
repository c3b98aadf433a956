"""Keys of data products for the LOFAR long-term archive.

The text form is a LOFAR parset. There are no defaults: a key that the product lacks is an error.
Source: doc/spec/lofarpipe.md, sections 9.2 and 9.3.
"""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.pipeline.options import NO_PREFIX

Keys = dict[str, Any]
READ_BYTES = 1 << 20
FULLY_WRITTEN = 100  # percent
UNKNOWN_WRITER = {"storageWriter": "UNKNOWN", "storageWriterVersion": "UNKNOWN"}  # the archive's word for FITS
SECONDS_PER_DAY = 86400.0


class FeedbackError(PipelineError):
    """A product cannot be described for the archive."""


# ---- text


def serialise(keys: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (key, text) of nested keys.

    A scalar is its text, a flat list and a flat record their Python texts; anything nested is unrolled into
    ``key.name`` and ``key[index]``.
    """
    for name, value in keys.items():
        yield from _serialise_value(f"{path}.{name}" if path else name, value)


def _serialise_value(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and any(map(_is_nested, value.values())):
        yield from serialise(value, key)
    elif isinstance(value, list) and any(map(_is_nested, value)):
        for index, item in enumerate(value):
            yield from _serialise_value(f"{key}[{index}]", item)
    else:
        yield key, str(value)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping | list)


def feedback_parset(product_type: str, prefix: str, products: Sequence[Mapping[str, Any]]) -> str:
    """Return the metadata text of products of one type: their number, then the keys, one a line.

    ``prefix`` and a dot precede every key; empty or ``none`` for no prefix.

    Raises
    ------
    FeedbackError
        If a value contains a line break.
    """
    start = "" if prefix in ("", NO_PREFIX) else f"{prefix.rstrip('.')}."
    lines = [f"{start}nrOfOutput_{product_type}_={len(products)}"]
    for index, keys in enumerate(products):
        lines += [f"{start}Output_{product_type}_[{index}].{key}={text}" for key, text in serialise(keys)]
    for line in lines:
        if len(line.splitlines()) != 1:
            raise FeedbackError(f"metadata line {line!r}: a value may not hold a line break; rename the product")
    return "\n".join(lines) + "\n"


# ---- common keys


def read_back(path: Path) -> int:
    """Read a product entirely, file or directory, and return its size in bytes.

    Raises
    ------
    FeedbackError
        If it is missing, empty, or partly unreadable.
    """
    size_bytes = 0
    try:
        files = [path] if path.is_file() else [Path(top, name) for top, _, names in os.walk(path) for name in names]
        for file in files:
            with file.open("rb") as stream:
                while block := stream.read(READ_BYTES):
                    size_bytes += len(block)
    except OSError as err:
        raise FeedbackError(f"{path}: cannot be read back: {err}; the archive must not get it; make it again") from err
    if size_bytes == 0:
        raise FeedbackError(f"{path}: {'is empty' if path.exists() else 'no such product'}; nothing to describe")
    return size_bytes


def common_keys(path: Path, host: str, file_format: str) -> Keys:
    """Return the keys that every product has; the product is read entirely, so it is known to be 100 % written.

    Raises
    ------
    FeedbackError
        If it cannot be read.
    """
    absolute = path.absolute()
    return {
        "size": read_back(path),
        "fileFormat": file_format,
        "filename": absolute.name,
        "location": f"{host}:{absolute.parent}",
        "percentageWritten": FULLY_WRITTEN,
        **UNKNOWN_WRITER,
    }


# ---- products by type


def sky_image_keys(path: str | Path, host: str) -> Keys:
    """Return all keys of a sky image, read from the FITS file itself.

    Raises
    ------
    SkyImageError
        If the file is not a FITS image, is cut off, or its header lacks a key or has one that the archive does not
        know; the key is named.
    FeedbackError
        If it cannot be read back.
    """
    from lofarpipe.archive.sky_image_keys import describe_sky_image
    from lofarpipe.imaging.quality.sky_image import read_sky_image

    return common_keys(Path(path), host, "FITS") | describe_sky_image(read_sky_image(path))


def correlated_keys(path: str | Path, host: str) -> Keys:
    """Return the keys of a measurement set.

    Raises
    ------
    MeasurementSetError
        If the value is invalid.
    FeedbackError
        If its name has no subband number, or it cannot be read back.
    """
    from lofarpipe.imaging.ms.measurement_set import read_metadata

    metadata = read_metadata(str(path))
    subband = re.search(r"SB(\d+)", Path(path).name)
    if subband is None:
        raise FeedbackError(f"{path}: the name of the set does not say its subband; SB and a number are needed in it")
    start_days = metadata.start_s / SECONDS_PER_DAY
    return common_keys(Path(path), host, "AIPS++/CASA") | {
        "startTime": _utc_text(start_days),
        "duration": metadata.end_s - metadata.start_s,
        "integrationInterval": metadata.timestep_s,
        "centralFrequency": float(metadata.frequencies_hz.mean()),
        "channelWidth": metadata.channel_width_hz,
        "channelsPerSubband": len(metadata.frequencies_hz),
        "subband": int(subband.group(1)),
    }


def _utc_text(modified_julian_days: float) -> str:
    """Return a UTC date as ``yyyy-mm-ddTHH:MM:SS.ffffff``."""
    epoch = datetime.datetime(1858, 11, 17)  # the text has no zone
    return (epoch + datetime.timedelta(days=modified_julian_days)).isoformat(timespec="microseconds")


def instrument_model_keys(path: str | Path, host: str) -> Keys:
    """Return the keys of calibration solutions, which are the common ones only.

    Raises
    ------
    FeedbackError
        If they cannot be read.
    """
    return common_keys(Path(path), host, "HDF5" if str(path).endswith(".h5") else "AIPS++/CASA")


DESCRIBE: dict[str, Callable[[str | Path, str], Keys]] = {
    "SkyImage": sky_image_keys,
    "Correlated": correlated_keys,
    "InstrumentModel": instrument_model_keys,
}


def product_keys(product_type: str, path: str | Path, host: str) -> Keys:
    """Return the keys of a product of any type.

    Raises
    ------
    FeedbackError
        If the type is unknown, or the product cannot be described.
    """
    if product_type not in DESCRIBE:
        product_types = ", ".join(DESCRIBE)
        raise FeedbackError(
            f"product type {product_type!r} is none of {product_types}{nearest(product_type, DESCRIBE)}"
        )
    return DESCRIBE[product_type](path, host)
