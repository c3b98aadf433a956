"""The origin of an image in its FITS header: command, versions, host, times, and the observation of its sets."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from lofarpipe import __version__
from lofarpipe.engine.job_builder import PlannedJob
from lofarpipe.jobs import JobResult, duration_text
from lofarpipe.programs.base import Program
from lofarpipe.support.fits_header import LONGEST_TEXT, extend_header
from lofarpipe.support.utilities import files_of, write_atomically

HISTORY = "HISTORY"  # entry of a job for a HISTORY card
COMMENTS = {"OBS_ID": "observation", "SPW": "spectral window, as it was selected"}
OF_ALL_TIMES = ("DATE-OBS", "DATE-BEG", "DATE-END", "EXPTIME")  # invalid for an image of part of the observation


def write_provenance(
    paths: Iterable[str], planned: PlannedJob, result: JobResult, program: Program, entries: str
) -> str | None:
    """Write the origin of images into their headers; return the problem, or None.

    Parameters
    ----------
    paths: the images; missing files and files that are not FITS are ignored.
    entries: text of a list of KEYWORD=value, with the special characters of lists percent-encoded.
    """
    images = [path for name in paths if name.endswith(".fits") and (path := Path(name)).is_file()]
    if not images:
        return None
    pairs = [(key, unquote(value)) for key, _, value in (entry.partition("=") for entry in files_of(entries)) if value]
    keywords = {key: (value[:LONGEST_TEXT], COMMENTS.get(key, "")) for key, value in pairs if key != HISTORY}
    history = [*history_of(planned, result, program), *(value for key, value in pairs if key == HISTORY)]
    observed = observation(files_of(planned.job.label), program.covers_all_times(planned.job.argv))
    for image in images:
        try:
            extend_header(image, observed | keywords, history)
        except ValueError:  # not a valid image
            continue
        except OSError as err:
            return f"{image}: its header cannot be written: {err.strerror}; nothing is left of this image"
    return None


def write_image_record(path: Path, planned: PlannedJob, result: JobResult, program: Program) -> None:
    """Write command, versions and log of a job beside its outputs."""
    text = result.log.read_text(errors="replace") if result.log.is_file() else ""
    write_atomically(path, "".join(f"{line}\n" for line in [*history_of(planned, result, program), "", text]))


def observation(sets: Sequence[str], has_all_times: bool) -> dict[str, tuple[str | int | float, str]]:
    """Return the header keywords of an observation, from the measurement sets readable on this machine."""
    present = [name for name in sets if Path(name).is_dir()]
    if len(present) < len(sets):
        return {}
    from lofarpipe.imaging.ms.observation import observation_keywords

    return {
        key: pair for key, pair in observation_keywords(present).items() if has_all_times or key not in OF_ALL_TIMES
    }


def history_of(planned: PlannedJob, result: JobResult, program: Program) -> list[str]:
    """Return the versions of the run's programs, the host and the time."""
    job = planned.job
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(result.start_s))
    return [
        f"command: {shlex.join(job.argv)}",
        f"directory: {job.workdir}",
        f"program: {program.name} {program.version(Path(job.argv[0]))}",
        f"runner: genericpipeline {__version__}, Python {sys.version.split()[0]}",
        f"host: {result.node or os.uname().nodename}, {job.cores} cores",
        f"time: {moment}, {duration_text(result.duration_s)}",
        f"log: {result.log}",
    ]
