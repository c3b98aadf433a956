"""A sky image as a Submission Information Package of the LOFAR long-term archive, in XML.

Only the root element is in the archive's namespace; the elements below it have none.
Source: LTA-SIP.xsd of the archive, versions 2.6.1 and 2.7.2.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lofarpipe import __version__

Keys = Mapping[str, Any]

NAMESPACE = "http://www.astron.nl/SIP-Lofar"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
PREFIX = "sip"
STORAGE_WRITER_VERSIONS = ("2.7.2",)  # the schema before had no storageWriter
DEGREES, RADIANS = "degrees", "radians"


@dataclass(frozen=True)
class SipRun:
    """What a pipeline run knows of itself."""

    name: str  # of the pipeline
    start_s: float  # s since 1970 UTC
    duration_s: float
    major_cycles: int
    images: int  # that are delivered
    frequency_step: int | None = None  # channels averaged into one; None: not known
    time_step: int | None = None  # time slots averaged into one


@dataclass(frozen=True)
class SipProject:
    """What only people know; lists have at least one item, but for the co-investigators."""

    code: str
    primary_investigator: str
    co_investigators: Sequence[str]
    contact_author: str
    description: str
    identifier_source: str
    process_identifier: str
    observation_id: str
    source_identifiers: Sequence[str]
    strategy_name: str
    strategy_description: str
    storage_ticket: str = ""


def sip_text(
    version: str, keys: Keys, checksums: Mapping[str, str], identifier: str, project: SipProject, run: SipRun
) -> str:
    """Return the SIP of one image.

    Parameters
    ----------
    version: of the schema, 2.7.2 or 2.6.1.
    keys: what describes the image, as sky_image_keys returns it.
    checksums: algorithm (MD5, Adler32) -> value.
    identifier: of the image.
    """
    root = Element(f"{PREFIX}:ltaSip", {f"xmlns:{PREFIX}": NAMESPACE, "xmlns:xsi": INSTANCE})
    _add(root, "sipGeneratorVersion", f"genericpipeline {__version__}")
    _project(root, project)
    product = _typed(root, "dataProduct", "SkyImageDataProduct")
    _data_product(product, version, keys, checksums, identifier, project)
    _pixel_map(product, keys)
    _sky_image(product, keys)
    _pipeline_run(root, keys, project, run)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


# ---- small things


def _add(parent: Element, name: str, value: object, **attributes: str) -> None:
    SubElement(parent, name, attributes).text = _text(value)


def _text(value: object) -> str:
    """Return a value as XML Schema writes it."""
    return repr(value) if isinstance(value, float) else str(value)


def _typed(parent: Element, name: str, type_name: str) -> Element:
    return SubElement(parent, name, {"xsi:type": f"{PREFIX}:{type_name}"})


def _identifier(parent: Element, name: str, source: str, identifier: str) -> None:
    element = SubElement(parent, name)
    _add(element, "source", source)
    _add(element, "identifier", identifier)


def duration_iso(seconds: float) -> str:
    """Return a duration as XML Schema writes it: ``PT4980.250S``."""
    return f"PT{max(0.0, seconds):.3f}S"


def time_iso(seconds: float) -> str:
    """Return a time, s since 1970 UTC, as XML Schema writes it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# ---- project, run


def _project(root: Element, project: SipProject) -> None:
    element = SubElement(root, "project")
    _add(element, "projectCode", project.code)
    _add(element, "primaryInvestigator", project.primary_investigator)
    for name in project.co_investigators:
        _add(element, "coInvestigator", name)
    _add(element, "contactAuthor", project.contact_author)
    _add(element, "telescope", "LOFAR")
    _add(element, "projectDescription", project.description)


def _pipeline_run(root: Element, keys: Keys, project: SipProject, run: SipRun) -> None:
    element = _typed(root, "pipelineRun", "ImagingPipeline")
    _identifier(element, "processIdentifier", project.identifier_source, project.process_identifier)
    _identifier(element, "observationId", project.identifier_source, project.observation_id)
    _add(element, "strategyName", project.strategy_name)
    _add(element, "strategyDescription", project.strategy_description)
    _add(element, "startTime", time_iso(run.start_s))
    _add(element, "duration", duration_iso(run.duration_s))
    SubElement(element, "relations")
    _add(element, "pipelineName", run.name)
    _add(element, "pipelineVersion", __version__)
    sources = SubElement(element, "sourceData")
    for identifier in project.source_identifiers:
        _identifier(sources, "dataProductIdentifier", project.identifier_source, identifier)
    if run.frequency_step is not None:
        _add(element, "frequencyIntegrationStep", run.frequency_step)
    if run.time_step is not None:
        _add(element, "timeIntegrationStep", run.time_step)
    _add(element, "imagerIntegrationTime", keys["imagerIntegrationTime"], units="s")
    _add(element, "numberOfMajorCycles", run.major_cycles)
    _add(element, "numberOfInstrumentModels", 0)  # this pipeline delivers images alone
    _add(element, "numberOfCorrelatedDataProducts", 0)
    _add(element, "numberOfSkyImages", run.images)


# ---- the image


def _data_product(
    element: Element, version: str, keys: Keys, checksums: Mapping[str, str], identifier: str, project: SipProject
) -> None:
    """Add what every data product has, in the order of the schema."""
    _add(element, "dataProductType", "Sky Image")
    _identifier(element, "dataProductIdentifier", project.identifier_source, identifier)
    if project.storage_ticket:
        _add(element, "storageTicket", project.storage_ticket)
    _add(element, "size", keys["size"])
    for algorithm, value in checksums.items():
        checksum = SubElement(element, "checksum")
        _add(checksum, "algorithm", algorithm)
        _add(checksum, "value", value)
    _add(element, "fileName", keys["filename"])
    _add(element, "fileFormat", keys["fileFormat"])
    if version in STORAGE_WRITER_VERSIONS:
        _add(element, "storageWriter", "Unknown")
        _add(element, "storageWriterVersion", "Unknown")
    _identifier(element, "processIdentifier", project.identifier_source, project.process_identifier)


def _pixel_map(element: Element, keys: Keys) -> None:
    """Add the coordinates in the order of the image's axes; the numbers of axes count from 1, as in FITS."""
    _add(element, "numberOfAxes", keys["numberOfAxes"])
    _add(element, "numberOfCoordinates", len(keys["coordinateTypes"]))
    axis = 1
    for kind in keys["coordinateTypes"]:
        add, axes = COORDINATES[kind]
        add(element, keys, axis)
        axis += axes


def _direction(element: Element, keys: Keys, axis: int) -> None:
    direction = keys["DirectionCoordinate"]
    coordinate = _typed(element, "coordinate", "DirectionCoordinate")
    for number, linear in enumerate(direction["DirectionLinearAxis"], start=axis):
        _axis(coordinate, "directionLinearAxis", number, linear)
    for name in ("PC0_0", "PC0_1", "PC1_0", "PC1_1", "equinox", "raDecSystem", "projection"):
        _add(coordinate, name, direction[name])
    _add(coordinate, "projectionParameters", " ".join(map(_text, direction["projectionParameters"])))
    _add(coordinate, "longitudePole", direction["longitudePole"], units=DEGREES)
    _add(coordinate, "latitudePole", direction["latitudePole"], units=DEGREES)


def _spectral(element: Element, keys: Keys, axis: int) -> None:
    spectral = keys["SpectralCoordinate"]
    coordinate = _typed(element, "coordinate", "SpectralCoordinate")
    _axis(coordinate, "spectralLinearAxis", axis, spectral["SpectralLinearAxis"])
    quantity = SubElement(coordinate, "spectralQuantity")
    _add(quantity, "type", spectral["spectralQuantityType"])
    _add(quantity, "value", spectral["spectralQuantityValue"])


def _polarization(element: Element, keys: Keys, axis: int) -> None:
    polarization = keys["PolarizationCoordinate"]
    coordinate = _typed(element, "coordinate", "PolarizationCoordinate")
    _axis(coordinate, "polarizationTabularAxis", axis, polarization["PolarizationTabularAxis"])
    for name in polarization["polarizationType"]:
        _add(coordinate, "polarization", name)


def _axis(parent: Element, name: str, number: int, facts: Keys) -> None:
    """Add a linear axis, or a tabular one, which has no increment and no reference."""
    element = SubElement(parent, name)
    _add(element, "number", number)
    for key in ("name", "units", "length", "increment", "referencePixel", "referenceValue"):
        if key in facts:
            _add(element, key, facts[key])


#: Kind of a coordinate -> what adds it, and how many axes it has.
COORDINATES = {"direction": (_direction, 2), "spectral": (_spectral, 1), "stokes": (_polarization, 1)}


def _sky_image(element: Element, keys: Keys) -> None:
    _add(element, "locationFrame", keys["locationFrame"])
    _add(element, "timeFrame", keys["timeFrame"])
    pointing = SubElement(element, "observationPointing")
    _add(pointing, "rightAscension", keys["Pointing"]["angle1"], units=RADIANS)
    _add(pointing, "declination", keys["Pointing"]["angle2"], units=RADIANS)
    _add(pointing, "equinox", keys["Pointing"]["equinox"])
    _add(element, "restoringBeamMajor", keys["restoringBeamMajorValue"], units=keys["restoringBeamMajorUnit"])
    _add(element, "restoringBeamMinor", keys["restoringBeamMinorValue"], units=keys["restoringBeamMinorUnit"])
    _add(element, "rmsNoise", keys["rmsNoiseValue"], units=keys["rmsNoiseUnit"])
