"""Data products -> the keys with which the LOFAR long-term archive takes them in.

The text form is a LOFAR parset. A key that cannot be read from the product is an error: nothing here is a default.
Source: doc/spec/lofarpipe.md, sections 9.2 and 9.3.
"""

from __future__ import annotations

import datetime
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError, nearest
from lofarpipe.imaging.quality.sky_image import (
    FLUX_PER_BEAM,
    INTEGRATION_TIME_KEY,
    RMS_KEY,
    RMS_METHOD_KEY,
    Axis,
    SkyImage,
    SkyImageError,
)
from lofarpipe.pipeline.options import NO_PREFIX

# FITS SPECSYS -> the archive's locationFrame. Source: FITS standard 4.0, table 27; doc/spec/lofarpipe.md, section 9.3.
LOCATION_FRAMES = {
    "TOPOCENT": "TOPOCENTER",
    "GEOCENTR": "GEOCENTER",
    "BARYCENT": "BARYCENTER",
    "HELIOCEN": "HELIOCENTER",
    "LSRK": "LSRK",
    "LSRD": "LSRD",
    "GALACTOC": "GALACTIC",
    "LOCALGRP": "LOCAL_GROUP",
}
EQUINOXES = {2000.0: "J2000", 1950.0: "B1950"}
COORDINATE_TYPES = {"RA": "direction", "FREQ": "spectral", "STOKES": "stokes"}  # DEC belongs to RA's


def describe_sky_image(image: SkyImage) -> Keys:
    """Return the archive's keys of an image: angles in radians but for the beam (arcsec) and the poles (degrees).

    The rms noise and the integration time are those that measure_quality.py wrote into the header.

    Raises
    ------
    SkyImageError
        If the header lacks a key, or has a value that the archive does not know.
    """
    return _scalars(image) | {
        "Pointing": _pointing(image),
        "DirectionCoordinate": _direction_coordinate(image),
        "SpectralCoordinate": _spectral_coordinate(image),
        "PolarizationCoordinate": _polarization_coordinate(image),
    }


def _scalars(image: SkyImage) -> Keys:
    """Return the keys that are single values."""
    if image.unit != FLUX_PER_BEAM:
        raise SkyImageError(f"{image.path}: FITS key BUNIT is {image.unit!r}; the archive takes {FLUX_PER_BEAM} only")
    if not image.has_beam:
        raise SkyImageError(
            f"{image.path}: FITS key BMAJ is 0; make the image with WSClean's -make-psf or -theoretic-beam"
        )
    kinds = [COORDINATE_TYPES[axis.kind] for axis in image.axes if axis.kind in COORDINATE_TYPES]
    return {
        "numberOfAxes": len(image.axes),
        "nrOfDirectionCoordinates": kinds.count("direction"),
        "nrOfSpectralCoordinates": kinds.count("spectral"),
        "nrOfPolarizationCoordinates": kinds.count("stokes"),
        "coordinateTypes": kinds,
        "locationFrame": _named(image, "SPECSYS", LOCATION_FRAMES),
        "timeFrame": _time_frame(image),
        "restoringBeamMajorValue": image.beam_major_arcsec,
        "restoringBeamMajorUnit": "arcsec",
        "restoringBeamMinorValue": image.beam_minor_arcsec,
        "restoringBeamMinorUnit": "arcsec",
        "restoringBeamPositionAngleValue": image.beam_angle_deg,
        "restoringBeamPositionAngleUnit": "deg",
        "rmsNoiseValue": image.number(RMS_KEY),
        "rmsNoiseUnit": image.unit,
        "rmsNoiseMethod": str(image.value(RMS_METHOD_KEY)),
        "npix": image.axis("DEC").length,
        # Negative, as the increment of right ascension is: that is how the archive has always got it.
        "cellsize": f"{math.radians(image.axis('RA').increment)}rad",
        "imagerIntegrationTime": image.number(INTEGRATION_TIME_KEY),
    }


def _named(image: SkyImage, key: str, names: Mapping[Any, str]) -> str:
    """Return the archive's word for a header value."""
    value = image.value(key)
    if value not in names:
        known = ", ".join(map(str, names))
        raise SkyImageError(f"{image.path}: FITS key {key} is {value!r}; the archive knows only {known}")
    return names[value]


def _time_frame(image: SkyImage) -> str:
    """Return the frame of the observing date: UTC where the header does not say, by the FITS standard, 4.0, 9.2.1."""
    image.value("DATE-OBS")
    return str(image.header.get("TIMESYS", "UTC")).strip()


def _pointing(image: SkyImage) -> Keys:
    """Return the direction of the phase centre, which is where WSClean puts the reference value."""
    right_ascension_deg, declination_deg = image.phase_centre_deg
    return {
        "equinox": _named(image, "EQUINOX", EQUINOXES),
        "coordType": "RA-DEC",
        "angle1": math.radians(right_ascension_deg % 360),
        "angle2": math.radians(declination_deg),
    }


def _direction_coordinate(image: SkyImage) -> Keys:
    """Return the description of the sky axes; what the header leaves out is as the FITS standard has it."""
    wcs = image.celestial.wcs
    matrix = wcs.get_pc()
    parameters = {index: float(value) for axis, index, value in wcs.get_pv() if axis == wcs.lat + 1}
    return {
        "nrOfDirectionLinearAxes": 2,
        "DirectionLinearAxis": [
            _linear_axis(image.axis("RA"), "Right Ascension", "rad", math.radians(1)),
            _linear_axis(image.axis("DEC"), "Declination", "rad", math.radians(1)),
        ],
        "PC0_0": float(matrix[0, 0]),
        "PC0_1": float(matrix[0, 1]),
        "PC1_0": float(matrix[1, 0]),
        "PC1_1": float(matrix[1, 1]),
        "equinox": _named(image, "EQUINOX", EQUINOXES),
        "raDecSystem": str(wcs.radesys),
        "projection": image.axis("RA").ctype.split("-")[-1],
        "projectionParameters": [parameters.get(1, 0.0), parameters.get(2, 0.0)],
        "longitudePole": float(wcs.lonpole),
        "latitudePole": float(wcs.latpole),
    }


def _linear_axis(axis: Axis, name: str, units: str, factor: float) -> Keys:
    """Return one axis in the archive's terms: the reference pixel counts from 0, values are times ``factor``."""
    return {
        "name": name,
        "units": units,
        "length": axis.length,
        "increment": axis.increment * factor,
        "referencePixel": axis.reference_pixel - 1,
        "referenceValue": axis.reference_value * factor,
    }


def _spectral_coordinate(image: SkyImage) -> Keys:
    """Return the description of the frequency axis."""
    axis = image.axis("FREQ")
    return {
        "spectralAxisType": "Linear",
        "spectralQuantityType": "Frequency",
        "spectralQuantityValue": axis.reference_value,
        "SpectralLinearAxis": _linear_axis(axis, "Frequency", "Hz", 1.0),
    }


def _polarization_coordinate(image: SkyImage) -> Keys:
    """Return the description of the Stokes axis."""
    length = image.axis("STOKES").length
    return {
        "polarizationType": list(image.stokes),
        "PolarizationTabularAxis": {"name": "Stokes", "units": "", "length": length},
    }


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
    """Return the metadata file of products of one type: their number, then all keys of each, one a line.

    ``prefix`` stands before every key, with a dot; empty or ``none`` for no prefix.

    Raises
    ------
    FeedbackError
        If a value would need more than one line.
    """
    start = "" if prefix in ("", NO_PREFIX) else f"{prefix.rstrip('.')}."
    lines = [f"{start}nrOfOutput_{product_type}_={len(products)}"]
    for index, keys in enumerate(products):
        lines += [f"{start}Output_{product_type}_[{index}].{key}={text}" for key, text in serialise(keys)]
    for line in lines:
        if len(line.splitlines()) != 1:
            raise FeedbackError(f"metadata line {line!r}: a value may not hold a line break; rename the product")
    return "\n".join(lines) + "\n"


# ---- what all products have


def read_back(path: Path) -> int:
    """Read a product entirely, file or directory, and return its size in bytes.

    Raises
    ------
    FeedbackError
        If it does not exist, is empty, or a part of it cannot be read.
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
    from lofarpipe.imaging.quality.sky_image import read_sky_image

    return common_keys(Path(path), host, "FITS") | describe_sky_image(read_sky_image(path))


def correlated_keys(path: str | Path, host: str) -> Keys:
    """Return the keys of a measurement set.

    Raises
    ------
    MeasurementSetError
        If it is not one.
    FeedbackError
        If its name does not say which subband it holds, or it cannot be read back.
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
    """Return the keys of calibration solutions: those that all products have.

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
        If there is no such type, or the product cannot be described.
    """
    if product_type not in DESCRIBE:
        known = ", ".join(DESCRIBE)
        raise FeedbackError(f"product type {product_type!r} is none of {known}{nearest(product_type, DESCRIBE)}")
    return DESCRIBE[product_type](path, host)
