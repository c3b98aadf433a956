"""sip.xml beside the delivered images: what their files and the run say, and what the user gave."""

from __future__ import annotations

import hashlib
import json
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lofarpipe.archive.sip import SipProject, SipRun, sip_text
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.sip_options import NONE, items
from lofarpipe.programs.image_names import cleaned
from lofarpipe.programs.registry import KNOWN_PROGRAMS
from lofarpipe.state.journal import read_state
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.utilities import files_of, write_atomically

Values = Mapping[str, Any]

BLOCK_BYTES = 1 << 20


def write_sips(values: Values, described: Sequence[Values], job_directory: Path, pipeline: str) -> list[str]:
    """Write one SIP for each image, and return their paths; the second and later have ``-1``, ``-2`` in their names.

    Parameters
    ----------
    values: of the control keys of the feedback step.
    described: the archive's keys of each image.
    pipeline: the name of the pipeline.

    Raises
    ------
    PipelineError
        If there is not one identifier for each image, or a file cannot be read.
    """
    identifiers = items(values["sip_product_identifiers"])
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
    """Return what the user gave."""
    ticket = str(values.get("sip_storage_ticket") or "")
    return SipProject(
        code=str(values["sip_project_code"]),
        primary_investigator=str(values["sip_primary_investigator"]),
        co_investigators=items(values.get("sip_co_investigators")),
        contact_author=str(values["sip_contact_author"]),
        description=str(values["sip_project_description"]),
        identifier_source=str(values["sip_identifier_source"]),
        process_identifier=str(values["sip_process_identifier"]),
        observation_id=str(values["sip_observation_id"]),
        source_identifiers=items(values["sip_source_identifiers"]),
        strategy_name=str(values["sip_strategy_name"]),
        strategy_description=str(values["sip_strategy_description"]),
        storage_ticket="" if ticket == NONE else ticket,
    )


def sip_run(values: Values, job_directory: Path, pipeline: str, images: int) -> SipRun:
    """Return what the run knows of itself; it began with the first of the steps that it is made of, and goes on."""
    now_s = time.time()
    state = read_state(job_directory / "journal.jsonl")
    starts = [state.started_s, *(state.steps[name].started_s for name in state.current)]
    start_s = min((start_s for start_s in starts if start_s is not None), default=now_s)
    frequency_step, time_step = _steps(str(values.get("sip_plan_file") or ""))
    cycles = major_cycles(Path(str(values.get("sip_cleaned_image") or "")))
    return SipRun(pipeline, start_s, now_s - start_s, cycles, images, frequency_step, time_step)


def _steps(plan_file: str) -> tuple[int | None, int | None]:
    """Return the averaging steps along frequency and time of a plan.json; None where no plan is named."""
    if not plan_file:
        return None, None
    try:
        quantities = json.loads(Path(plan_file).read_text(encoding="utf-8"))["quantities"]
        return int(quantities["freqstep"]["value"]), int(quantities["timestep"]["value"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise PipelineError(f"sip_plan_file: {plan_file} says no freqstep and timestep: {err!r}") from err


def major_cycles(image: Path) -> int:
    """Return how many major cycles WSClean made, from the header of a residual or channel image of the run.

    ``image`` may also be the mapfile of all that WSClean wrote; a dirty image has no residual, and says itself.

    Raises
    ------
    PipelineError
        If there is no such image, or its header does not say.
    """
    if image.suffix == ".mapfile":
        written = [Path(name) for one in DataMap.load(str(image)).data for name in files_of(one.file)]
        image = cleaned(written) or image
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
    """Return the checksums that the archive knows, as hexadecimal digits: MD5 and Adler32."""
    md5, adler = hashlib.md5(usedforsecurity=False), 1
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            md5.update(block)
            adler = zlib.adler32(block, adler)
    return {"MD5": md5.hexdigest(), "Adler32": f"{adler:08x}"}
