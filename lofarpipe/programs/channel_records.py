"""Images of channels as jobs know them: settings, fingerprints, and records beside the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.stokes_images import recipe_of
from lofarpipe.programs.wsclean.stokes import StokesImaging

RECORDS = "records"


def channel_imaging(options: Mapping[str, Any]) -> StokesImaging:
    """Return the settings of channel images."""
    return StokesImaging(
        options["imsize"],
        options["cell_arcsec"],
        options["niter"],
        options["mgain"],
        tuple(options["scales"]),
        options["threshold_channel_jy"],
        options["channel_minuv_lambda"],
    )


def channel_recipe(plan: Mapping[str, Any], entry: Mapping[str, Any], robust: float) -> str:
    """Return the fingerprint of the inputs and settings of a channel's image."""
    data = [plan["set"][key] for key in ("path", "stamp", "data_column", "field_id")]
    return recipe_of(
        data, entry["low_hz"], entry["high_hz"], entry["members"], robust, str(channel_imaging(plan["options"]))
    )


def refuse_other_product(path: Path, overwrite: bool) -> None:
    """Refuse to overwrite a product of other data or settings, unless requested."""
    if not overwrite:
        raise PipelineError(
            f"{path}: is there, and was made of other data or with other settings; set overwrite = True to replace it, "
            "or outdir to another directory"
        )


def record_file(work: Path, label: str, robust: float) -> Path:
    """Return the place of the record of an image."""
    return work / RECORDS / f"{label}_{robust}.json"


def read_image_record(work: Path, label: str, robust: float) -> dict[str, Any] | None:
    """Return the record of an image, or None."""
    try:
        record: dict[str, Any] = json.loads(record_file(work, label, robust).read_text(encoding="utf-8"))
        return record
    except (OSError, ValueError):
        return None
