"""Data products that an observation's parset lists."""

from __future__ import annotations

from pathlib import Path

from lofarpipe.support.data_map import DataProduct
from lofarpipe.support.lofarexceptions import DataMapError
from lofarpipe.support.parset import Parset
from lofarpipe.support.parset_text import boolean

COMPONENT = "DataProducts"


def products_of_parset(filename: str | Path, identifier: str) -> list[DataProduct]:
    """Return the products under ``DataProducts.<identifier>`` of a parset: its locations, filenames and skip.

    A location is ``host:directory``. Where no skip is given, no product is skipped.

    Raises
    ------
    DataMapError
        If the parset has no such products, or the lists differ in length, or a location names no host.
    """
    parset = Parset.read(filename)
    prefix = _prefix(parset, identifier)
    if f"{prefix}.locations" not in parset or f"{prefix}.filenames" not in parset:
        raise DataMapError(f"{filename}: no {COMPONENT}.{identifier}.locations and .filenames; correct the identifier")
    locations, names = parset.vector(f"{prefix}.locations"), parset.vector(f"{prefix}.filenames")
    skip = parset.vector(f"{prefix}.skip") if f"{prefix}.skip" in parset else ["false"] * len(names)
    if not len(locations) == len(names) == len(skip):
        counts = f"{len(locations)} locations, {len(names)} filenames, {len(skip)} skip"
        raise DataMapError(f"{filename}: {prefix} has {counts}; one of each per product is needed")
    return [_product(where, name, flag, prefix) for where, name, flag in zip(locations, names, skip, strict=True)]


def _prefix(parset: Parset, identifier: str) -> str:
    """Return the first key, in byte order, up to its component DataProducts, and the identifier."""
    for key in parset.keywords():
        parts = key.split(".")
        if COMPONENT in parts:
            return ".".join([*parts[: parts.index(COMPONENT) + 1], identifier])
    return f"{COMPONENT}.{identifier}"


def _product(location: str, name: str, skip: str, prefix: str) -> DataProduct:
    host, colon, directory = location.partition(":")
    if not colon:
        raise DataMapError(f"{prefix}.locations: '{location}' names no host; host:directory is needed")
    return DataProduct(host, f"{directory.rstrip('/')}/{name}", boolean(skip))
