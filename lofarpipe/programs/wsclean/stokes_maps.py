"""The maps of a full-Stokes pipeline: one entry per band image, batch of channels, and cube."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lofarpipe.imaging.cubes.stokes_images import recipe_of
from lofarpipe.programs.channel_records import channel_recipe
from lofarpipe.programs.wsclean.stokes import POLARISED, TOTAL, BandRequest, StokesImaging, band_words
from lofarpipe.support.data_map import DataMap, DataProduct

NATIVE, SMOOTHED = "native", "smoothed"


def band_imaging(options: Mapping[str, Any]) -> StokesImaging:
    """Return the settings of multi-frequency images."""
    return StokesImaging(
        options["imsize"],
        options["cell_arcsec"],
        options["niter"],
        options["mgain"],
        tuple(options["scales"]),
        options["threshold_mfs_jy"],
        options["mfs_minuv_lambda"],
    )


def band_recipe(plan: Mapping[str, Any], robust: float) -> str:
    """Return the fingerprint of the inputs and settings of a multi-frequency image."""
    data = [plan["set"][key] for key in ("path", "stamp", "data_column", "field_id")]
    return recipe_of(data, plan["mfs"], robust, str(band_imaging(plan["options"])))


def write_stokes_maps(plan: Mapping[str, Any], mapfile_dir: Path, work: Path) -> dict[str, str]:
    """Write all maps below a directory; return the name of each by its key.

    Those of the band have an entry for each robust value: ``robusts``, ``sets``, ``roots`` of the images that WSClean
    writes below ``work``, ``weights``, ``total_words`` and ``polarised_words``. ``batches``, ``smooth``,
    ``smooth_mfs`` and ``cubes`` name the task of one job, with the fingerprint of its inputs.
    """
    options, imaging = plan["options"], band_imaging(plan["options"])
    band = BandRequest(tuple(plan["mfs"]["channel_range"]), tuple(plan["mfs"]["edges_hz"]))
    robusts = options["mfs_robust"]
    roots = [str(work / f"mfs_{str(robust).replace('.', 'p')}") for robust in robusts]
    batches = list(_batch_names(plan))
    cubes = recipe_of(batches, plan["channels"], options["common_beam_arcsec"], options["cube_format"])
    of_robust = {
        "robusts": [str(robust) for robust in robusts],
        "sets": [plan["set"]["path"] for _ in robusts],
        "roots": roots,
        "roots_i": [f"{root}{TOTAL}" for root in roots],
        "roots_quv": [f"{root}{POLARISED}" for root in roots],
        "weights": [f"briggs {robust}" for robust in robusts],
        "sizes": [f"{imaging.imsize} {imaging.imsize}" for _ in robusts],
        "cells": [f"{imaging.cell_arcsec}asec" for _ in robusts],
        "columns": [plan["set"]["data_column"] for _ in robusts],
        "fields": [str(plan["set"]["field_id"]) for _ in robusts],
        "total_words": [str(band_words(imaging, band, in_total=True)) for _ in robusts],
        "polarised_words": [str(band_words(imaging, band, in_total=False)) for _ in robusts],
    }
    jobs = {
        "batches": batches,
        "smooth": batches,
        "smooth_mfs": [f"mfs_{robust}_{band_recipe(plan, robust)}" for robust in robusts],
        "cubes": [f"{robust}_{kind}_{cubes}" for robust in options["channel_robust"] for kind in _kinds(options)],
    }
    mapfiles = {}
    for key, entries in (of_robust | jobs).items():
        path = mapfile_dir / f"stokes_{key}.mapfile"
        DataMap([DataProduct("localhost", entry, False) for entry in entries]).save(str(path))
        mapfiles[key] = str(path)
    return mapfiles


def _batch_names(plan: Mapping[str, Any]) -> Iterator[str]:
    entries = {entry["index"]: entry for entry in plan["channels"]}
    for number, indices in enumerate(plan["batches"]):
        recipes = [
            channel_recipe(plan, entries[index], robust)
            for index in indices
            for robust in plan["options"]["channel_robust"]
        ]
        labels = "-".join(dict.fromkeys((entries[indices[0]]["label"], entries[indices[-1]]["label"])))
        yield f"{number:03d}_ch{labels}_{recipe_of(recipes)}"


def _kinds(options: Mapping[str, Any]) -> tuple[str, ...]:
    return (NATIVE,) if options["common_beam_arcsec"] == "none" else (NATIVE, SMOOTHED)
