"""A sky image in the terms of the LOFAR long-term archive.

Source: doc/spec/lofarpipe.md, section 9.3.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from lofarpipe.imaging.quality.sky_image import (
    FLUX_PER_BEAM,
    INTEGRATION_TIME_KEY,
    RMS_KEY,
    RMS_METHOD_KEY,
    Axis,
    SkyImage,
    SkyImageError,
)

Keys = dict[str, Any]

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

    The rms noise and the integration time are header keys written by measure_quality.py.

    Raises
    ------
    SkyImageError
        If the header lacks a key, or has a value unknown to the archive.
    """
    return _scalars(image) | {
        "Pointing": _pointing(image),
        "DirectionCoordinate": _direction_coordinate(image),
        "SpectralCoordinate": _spectral_coordinate(image),
        "PolarizationCoordinate": _polarization_coordinate(image),
    }


def _scalars(image: SkyImage) -> Keys:
    """Return the keys with single values."""
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
        "locationFrame": _archive_word(image, "SPECSYS", LOCATION_FRAMES),
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
        # Negative, as the increment of right ascension, by the archive's convention.
        "cellsize": f"{math.radians(image.axis('RA').increment)}rad",
        "imagerIntegrationTime": image.number(INTEGRATION_TIME_KEY),
    }


def _archive_word(image: SkyImage, key: str, names: Mapping[Any, str]) -> str:
    """Return the archive's word for a header value."""
    value = image.value(key)
    if value not in names:
        words = ", ".join(map(str, names))
        raise SkyImageError(f"{image.path}: FITS key {key} is {value!r}; the archive knows only {words}")
    return names[value]


def _time_frame(image: SkyImage) -> str:
    """Return the time scale of the observing date, by default UTC. Source: FITS standard 4.0, 9.2.1."""
    image.value("DATE-OBS")
    return str(image.header.get("TIMESYS", "UTC")).strip()


def _pointing(image: SkyImage) -> Keys:
    """Return the direction of the phase centre, WSClean's reference value."""
    right_ascension_deg, declination_deg = image.phase_centre_deg
    return {
        "equinox": _archive_word(image, "EQUINOX", EQUINOXES),
        "coordType": "RA-DEC",
        "angle1": math.radians(right_ascension_deg % 360),
        "angle2": math.radians(declination_deg),
    }


def _direction_coordinate(image: SkyImage) -> Keys:
    """Return the description of the sky axes; missing keys have the defaults of the FITS standard."""
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
        "equinox": _archive_word(image, "EQUINOX", EQUINOXES),
        "raDecSystem": str(wcs.radesys),
        "projection": image.axis("RA").ctype.split("-")[-1],
        "projectionParameters": [parameters.get(1, 0.0), parameters.get(2, 0.0)],
        "longitudePole": float(wcs.lonpole),
        "latitudePole": float(wcs.latpole),
    }


def _linear_axis(axis: Axis, name: str, units: str, factor: float) -> Keys:
    """Return the keys of one axis: the reference pixel counts from 0, values are scaled by ``factor``."""
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
