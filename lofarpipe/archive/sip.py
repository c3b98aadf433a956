"""A sky image as a Submission Information Package of the LOFAR long-term archive, in XML.

Only the root element is in the archive's namespace; other elements have none.
Source: LTA-SIP.xsd of the archive, versions 2.6.1 and 2.7.2.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lofarpipe import __version__
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.options import NONE, sip_items
from lofarpipe.programs.base import KNOWN_PROGRAMS, cleaned
from lofarpipe.state.events import JOURNAL
from lofarpipe.state.journal import read_state
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.utilities import files_of, write_atomically

Values = Mapping[str, Any]
BLOCK_BYTES = 1 << 20


def write_sips(values: Values, described: Sequence[Values], job_directory: Path, pipeline: str) -> list[str]:
    """Write one SIP per image, and return the paths; names of the second and later end in ``-1``, ``-2``.

    Parameters
    ----------
    values: of the control keys of the feedback step.
    described: the archive's keys of each image.
    pipeline: the name of the pipeline.

    Raises
    ------
    PipelineError
        If the numbers of identifiers and images differ, or a file cannot be read.
    """
    identifiers = sip_items(values["sip_product_identifiers"])
    if len(identifiers) != len(described):
        raise PipelineError(
            f"sip_product_identifiers: {len(identifiers)} for {len(described)} images; one for each is needed"
        )
    run = sip_run(values, job_directory, pipeline, len(described))
    paths = []
    for place, (identifier, keys) in enumerate(zip(identifiers, described, strict=True)):
        image = Path(keys["location"].partition(":")[2], keys["filename"])
        _check_telescope(image)
        version = str(values["sip_schema_version"])
        text = sip_text(version, keys, checksums_of(image), identifier, project_of(values), run)
        paths.append(_write(Path(str(values["sip_file"])).absolute(), place, text))
    return paths


def _write(path: Path, place: int, text: str) -> str:
    if place:
        path = path.with_name(f"{path.stem}-{place}{path.suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    return str(path)


def project_of(values: Values) -> SipProject:
    """Return the user's options."""
    ticket = str(values.get("sip_storage_ticket") or "")
    return SipProject(
        code=str(values["sip_project_code"]),
        primary_investigator=str(values["sip_primary_investigator"]),
        co_investigators=sip_items(values.get("sip_co_investigators")),
        contact_author=str(values["sip_contact_author"]),
        description=str(values["sip_project_description"]),
        identifier_source=str(values["sip_identifier_source"]),
        process_identifier=str(values["sip_process_identifier"]),
        observation_id=str(values["sip_observation_id"]),
        source_identifiers=sip_items(values["sip_source_identifiers"]),
        strategy_name=str(values["sip_strategy_name"]),
        strategy_description=str(values["sip_strategy_description"]),
        storage_ticket="" if ticket == NONE else ticket,
    )


def sip_run(values: Values, job_directory: Path, pipeline: str, images: int) -> SipRun:
    """Return the facts of the run; it began with the first of its steps, and goes on."""
    now_s = time.time()
    state = read_state(job_directory / JOURNAL)
    starts = [state.started_s, *(state.steps[name].started_s for name in state.current)]
    start_s = min((start_s for start_s in starts if start_s is not None), default=now_s)
    frequency_step, time_step = _steps(str(values.get("sip_plan_file") or ""))
    cycles = major_cycles(Path(str(values.get("sip_cleaned_image") or "")))
    return SipRun(pipeline, start_s, now_s - start_s, cycles, images, frequency_step, time_step)


def _steps(plan_file: str) -> tuple[int | None, int | None]:
    """Return the averaging factors along frequency and time in a plan.json; None without a plan."""
    if not plan_file:
        return None, None
    try:
        quantities = json.loads(Path(plan_file).read_text(encoding="utf-8"))["quantities"]
        return int(quantities["freqstep"]["value"]), int(quantities["timestep"]["value"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise PipelineError(f"sip_plan_file: {plan_file} says no freqstep and timestep: {err!r}") from err


def major_cycles(image: Path) -> int:
    """Return how many major cycles WSClean made, from the header of a residual or channel image of the run.

    ``image`` may also be the mapfile of all outputs of WSClean; a dirty image has no residual, and describes itself.

    Raises
    ------
    PipelineError
        If the image is missing, or its header lacks the key.
    """
    if image.suffix == ".mapfile":
        image_paths = [Path(name) for one in DataMap.load(str(image)).data for name in files_of(one.file)]
        image = cleaned(image_paths) or image
    header = _header(image, "sip_cleaned_image")
    for program in KNOWN_PROGRAMS.values():
        if (count := program.major_cycles(header)) is not None:
            return count
    raise PipelineError(
        f"sip_cleaned_image: {image} has no WSCMAJOR, the number of WSClean's major cycles; name its residual image"
    )


def _check_telescope(image: Path) -> None:
    telescope = str(_header(image, "sip_file").get("TELESCOP", ""))
    if telescope.strip().upper() != "LOFAR":
        raise PipelineError(f"sip_file: {image} is of '{telescope}'; the archive takes LOFAR only; set sip_file = none")


def _header(image: Path, key: str) -> Mapping[str, Any]:
    from astropy.io import fits

    try:
        return dict(fits.getheader(image))
    except (OSError, ValueError) as err:
        raise PipelineError(f"{key}: {image} cannot be read as FITS: {err}") from err


def checksums_of(path: Path) -> dict[str, str]:
    """Return the archive's checksums, MD5 and Adler32, as hexadecimal digits."""
    md5, adler = hashlib.md5(usedforsecurity=False), 1
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            md5.update(block)
            adler = zlib.adler32(block, adler)
    return {"MD5": md5.hexdigest(), "Adler32": f"{adler:08x}"}


Keys = Mapping[str, Any]

NAMESPACE = "http://www.astron.nl/SIP-Lofar"
INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
PREFIX = "sip"
STORAGE_WRITER_VERSIONS = ("2.7.2",)  # the schema before had no storageWriter
DEGREES, RADIANS = "degrees", "radians"


@dataclass(frozen=True)
class SipRun:
    """Facts of a pipeline run."""

    name: str  # of the pipeline
    start_s: float  # s since 1970 UTC
    duration_s: float
    major_cycles: int
    images: int  # delivered images
    frequency_step: int | None = None  # channels averaged into one; None: unknown
    time_step: int | None = None  # time slots averaged into one


@dataclass(frozen=True)
class SipProject:
    """Facts supplied by the user; lists have at least one item, except the co-investigators."""

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
    keys: description of the image, from sky_image_keys.
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
    """Add the common elements of data products, in the order of the schema."""
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
    """Add a linear axis, or a tabular axis, without increment and reference."""
    element = SubElement(parent, name)
    _add(element, "number", number)
    for key in ("name", "units", "length", "increment", "referencePixel", "referenceValue"):
        if key in facts:
            _add(element, key, facts[key])


#: Kind of a coordinate -> function to add it, number of axes.
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
