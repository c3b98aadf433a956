"""The archive's schema for sky images as tables: names in order, multiplicity, and allowed content.

Facts of LTA-SIP.xsd, version 2.7.2; version 2.6.1 has no storageWriter, and any text as identifier.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

SIP, XSI = "{http://www.astron.nl/SIP-Lofar}", "{http://www.w3.org/2001/XMLSchema-instance}"
DOUBLE, SHORT, LONG = r"-?\d+(\.\d+)?([eE][-+]?\d+)?", r"\d{1,5}", r"\d{1,20}"
TEXT, TIME, DURATION = r"(?s).*", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", r"PT\d+(\.\d+)?S"

#: Type -> its elements: name, type, and "" for one, "?" none or one, "*" any number, "+" at least one, "2" two.
TYPES = {
    "LTASip": "sipGeneratorVersion:text project:Project dataProduct:DataProduct pipelineRun:PipelineRun*",
    "Project": "projectCode:text primaryInvestigator:text coInvestigator:text* contactAuthor:text telescope:LOFAR "
    "projectDescription:text",
    "IdentifierType": "source:text identifier:identifier",
    "DataProduct": "dataProductType:SkyImage dataProductIdentifier:IdentifierType storageTicket:text? size:long "
    "checksum:Checksum* fileName:text fileFormat:FITS storageWriter:Unknown storageWriterVersion:text "
    "processIdentifier:IdentifierType",
    "Checksum": "algorithm:algorithm value:text",
    "SkyImageDataProduct": "<DataProduct> numberOfAxes:short numberOfCoordinates:short coordinate:Coordinate+ "
    "locationFrame:frame timeFrame:text observationPointing:Pointing restoringBeamMajor:Angle "
    "restoringBeamMinor:Angle rmsNoise:Pixel",
    "Pointing": "rightAscension:Angle declination:Angle equinox:equinox",
    "LinearAxis": "number:short name:text units:text length:long increment:double referencePixel:double "
    "referenceValue:double",
    "TabularAxis": "number:short name:text units:text length:long",
    "DirectionCoordinate": "directionLinearAxis:LinearAxis2 PC0_0:double PC0_1:double PC1_0:double PC1_1:double "
    "equinox:text raDecSystem:system projection:text projectionParameters:doubles longitudePole:Angle "
    "latitudePole:Angle",
    "SpectralCoordinate": "spectralLinearAxis:LinearAxis spectralQuantity:SpectralQuantity",
    "SpectralQuantity": "type:Frequency value:double",
    "PolarizationCoordinate": "polarizationTabularAxis:TabularAxis polarization:stokes+",
    "ImagingPipeline": "processIdentifier:IdentifierType observationId:IdentifierType strategyName:text "
    "strategyDescription:text startTime:time duration:duration relations:Relations pipelineName:text "
    "pipelineVersion:text sourceData:DataSources frequencyIntegrationStep:short? timeIntegrationStep:short? "
    "imagerIntegrationTime:Time numberOfMajorCycles:short numberOfInstrumentModels:short "
    "numberOfCorrelatedDataProducts:short numberOfSkyImages:short",
    "Relations": "",
    "DataSources": "dataProductIdentifier:IdentifierType+",
}
SIMPLE = {
    "text": TEXT, "double": DOUBLE, "short": SHORT, "long": LONG, "time": TIME, "duration": DURATION,
    "identifier": r"\d+", "LOFAR": "LOFAR", "SkyImage": "Sky Image", "FITS": "FITS", "Unknown": "Unknown",
    "Frequency": "Frequency", "algorithm": "MD5|Adler32", "equinox": "J2000|B1950", "stokes": "[IQUV]",
    "system": "ICRS|FK5|FK4|FK4-NO-E|GAPPT", "doubles": f"({DOUBLE} ?)+",
    "frame": "GEOCENTER|BARYCENTER|HELIOCENTER|TOPOCENTER|LSRK|LSRD|GALACTIC|LOCAL_GROUP|RELOCATABLE",
}  # fmt: skip
UNITS = {"Angle": "radians|degrees|arcsec", "Pixel": "Jy/beam", "Time": "s|ms|us|ns"}
_FIELD = re.compile(r"(?P<name>\w+):(?P<type>[A-Za-z]+)(?P<many>[?*+2]?)")


def problems(root: Element, version: str = "2.7.2") -> list[str]:
    """Return the faults of a SIP."""
    wrong = [] if root.tag == f"{SIP}ltaSip" else [f"root is {root.tag}"]
    return [*wrong, *_complex(root, "LTASip", "ltaSip", version)]


def _complex(element: Element, type_name: str, path: str, version: str) -> Iterator[str]:
    type_name = element.get(f"{XSI}type", type_name).removeprefix("sip:")
    if type_name not in TYPES:
        yield f"{path}: no type {type_name}"
        return
    text = TYPES[type_name].replace("<DataProduct>", TYPES["DataProduct"])
    if version == "2.6.1":
        text = text.replace("storageWriter:Unknown storageWriterVersion:text ", "")
    fields = [match.groupdict() for match in _FIELD.finditer(text)]
    quantity = {"": "", "?": "?", "*": "*", "+": "+", "2": "{2}"}
    order = "".join(f"(?:{field['name']} ){quantity[field['many']]}" for field in fields)
    names = "".join(f"{child.tag} " for child in element)
    if not re.fullmatch(order, names):
        yield f"{path}: has {names}, not {order}"
    types = {field["name"]: field["type"] for field in fields}
    for child in element:
        yield from _child(child, types.get(child.tag, "?"), f"{path}/{child.tag}", version)


def _child(child: Element, type_name: str, path: str, version: str) -> Iterator[str]:
    if type_name in UNITS:
        if not re.fullmatch(UNITS[type_name], child.get("units", "")) or not re.fullmatch(DOUBLE, child.text or ""):
            yield f"{path}: {child.text} {child.attrib}"
    elif type_name in SIMPLE:
        allowed = TEXT if type_name == "identifier" and version == "2.6.1" else SIMPLE[type_name]
        if not re.fullmatch(allowed, child.text or "") or len(child):
            yield f"{path}: {child.text!r} is no {type_name}"
    else:
        yield from _complex(child, type_name, path, version)
