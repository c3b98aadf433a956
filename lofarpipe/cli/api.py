"""The pipelines from Python: ``from lofarpipe import image; result = image(sets, cellsize_arcsec=7.5)``."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from lofarpipe.cli import work
from lofarpipe.cli.arguments import read_command_line
from lofarpipe.config import Settings
from lofarpipe.errors import UsageError
from lofarpipe.jobs import Executor
from lofarpipe.support.config_file import parset_value
from lofarpipe.support.dataclass import dataclass

Name = str | os.PathLike[str]
ARCSEC = 3600.0  # in a degree
#: Files of a job directory -> their names among the paths of a result.
FILES = {"report": "report.html", "record": "run.json", "plan": "plan.json", "quality": "quality.json"}
NO_VALUE = "none"  # stands in an option for None


@dataclass(frozen=True)
class ImageResult:
    """The outcome of a run.

    Attributes
    ----------
    paths: ``job_directory``; ``image``, corrected for the primary beam; ``flat_image``, before that; ``report``,
        ``record``, ``plan``, ``quality``: contents of the JSON files, if present.
    quality: quality.json: the numbers of the image, each with ``value``, ``unit`` and ``source``.
    plan: plan.json: ``summary``, ``warnings``, and ``quantities``, each with value, unit, source and reason.
    """

    paths: Mapping[str, Path]
    quality: Mapping[str, Any]
    plan: Mapping[str, Any]


def image(
    sets: Name | Iterable[Name],
    *,
    cellsize_arcsec: float | None = None,
    name: str = "image",
    directory: Name = ".",
    parset: Name = "image.parset",
    config: Name | None = None,
    executor: Executor | None = None,
    quiet: bool = True,
    **options: object,
) -> ImageResult:
    """Make the image of measurement sets; finished steps are not run again.

    Parameters
    ----------
    sets: paths of calibrated measurement sets, or glob patterns such as ``/data/L628614_SB*.MS``.
    cellsize_arcsec: width of a pixel; None for the pipeline's own.
    name, directory: the run works in ``directory/name``; ``config`` is the site's pipeline.cfg.
    parset: the pipeline, or a field parset on top of one.
    executor: replaces the executor of ``config``; the caller closes it.
    quiet: whether only failures are shown.
    options: any option of the pipeline; ``None`` is ``none``.

    Raises
    ------
    UsageError
        If an option's value is invalid.
    CheckFailed
        If a check before the first job fails; ``findings`` lists every problem.
    PipelineError
        If the run fails.
    """
    if cellsize_arcsec is not None:
        if "cellsize_highres_deg" in options:
            raise UsageError("cellsize_arcsec: cellsize_highres_deg is given too; give one of them")
        if not isinstance(cellsize_arcsec, Real) or not 0 < cellsize_arcsec <= ARCSEC:
            raise UsageError(f"cellsize_arcsec is {cellsize_arcsec!r}; a number of arcsec > 0 <= {ARCSEC:g} is needed")
        options["cellsize_highres_deg"] = f"{cellsize_arcsec / ARCSEC:.10g}"
    paths = [sets] if isinstance(sets, str | os.PathLike) else [*sets]
    values = {"data_input_filenames": [str(Path(path).absolute()) for path in paths], **options}
    words = [os.fspath(parset), f"--job-name={name}", *(["--quiet"] if quiet else [])]
    words += [f"--{place}-directory={Path(directory).absolute()}" for place in ("runtime", "working")]
    words += [] if config is None else [f"--config={os.fspath(config)}"]
    read = read_command_line([*words, *(f"--set={key}={_text(key, value)}" for key, value in values.items())])
    places: list[Path] = []

    def record_place(_: object, settings: Settings, *__: object) -> list[object]:
        places.append(settings.job_directory)
        return []

    read.executor, read.reporters = executor, record_place
    work(read)
    return _result(places[0])


def _text(key: str, value: object) -> str:
    """Return the value of an option as a parset has it.

    Raises
    ------
    UsageError
        If a parset value cannot have this type.
    """
    if value is None:
        return NO_VALUE
    try:
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return parset_value([_text(key, one) for one in value])
        if isinstance(value, os.PathLike):
            return str(Path(value))
        return parset_value(value.item() if hasattr(value, "item") else value)  # a number of numpy
    except ValueError as err:
        raise UsageError(f"{key}: {err}") from err


def _result(job_directory: Path) -> ImageResult:
    """Return the results of a run, from its job directory."""
    quality, plan = (_facts(job_directory / FILES[name]) for name in ("quality", "plan"))
    paths = {"job_directory": job_directory}
    for key, kind in (("image", "image_pb"), ("flat_image", "image")):
        paths |= {key: Path(quality[kind])} if quality.get(kind) else {}
    files = {name: job_directory / file for name, file in FILES.items()}
    return ImageResult(paths | {name: path for name, path in files.items() if path.is_file()}, quality, plan)


def _facts(path: Path) -> dict[str, Any]:
    """Return the contents of a JSON file; empty if the pipeline writes none."""
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
