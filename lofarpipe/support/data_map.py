"""Mapfiles: ordered lists of data products, as text on disk. The text is parsed, never evaluated."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Self, SupportsIndex, overload

from lofarpipe.support.lofarexceptions import DataMapError, MapFileError
from lofarpipe.support.map_text import list_literal_texts, read_entries
from lofarpipe.support.utilities import files_of, uncollected, write_atomically

__all__ = [
    "DataMap",
    "DataMapError",
    "DataProduct",
    "MultiDataMap",
    "MultiDataProduct",
    "align_data_maps",
    "load_data_map",
    "store_data_map",
    "tally_data_map",
    "validate_data_maps",
]

Filename = str | PathLike[str]
COMPONENT = "DataProducts"


class DataProduct:
    """A file (or any value as text) on a host; skipped products are not worked on. All three may be changed."""

    def __init__(self, host: object, file: object, skip: object = True) -> None:
        self.host = str(host)
        self.file: Any = file if type(file) is str else str(_plain(file))
        self.skip = bool(skip)

    def __repr__(self) -> str:
        return f"{{'host': {str(self.host)!r}, 'file': {_plain(self.file)!r}, 'skip': {bool(self.skip)}}}"

    def __str__(self) -> str:
        return f"{self.host}:{self.file}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DataProduct):
            return NotImplemented
        return (self.host, self.file, self.skip) == (other.host, other.file, other.skip)

    __hash__ = None  # type: ignore[assignment]  # products change


def _plain(value: object) -> object:
    """Return a value made of builtin types only, so that its repr can be read back; numpy's scalars become Python's."""
    if isinstance(value, list | tuple):
        return type(value)(_plain(item) for item in value) if type(value) in (list, tuple) else str(value)
    if type(value) in (str, int, float, bool, type(None)):
        return value
    return value.item() if hasattr(value, "item") else str(value)


class DataMap:
    """An ordered list of data products.

    ``data`` is the list itself; ``iterator`` chooses the items of an iteration: ``iter`` (every product),
    ``SkipIterator`` (those not skipped), ``TupleIterator`` (host, file). Subclasses may redefine ``data`` with
    ``@DataMap.data.setter``, and call ``_set_data`` with a ``dtype`` of their own.

    Raises
    ------
    DataMapError
        If an element of ``data`` is not a product, and not the dict or tuple of one.

    Source: doc/spec/lofarpipe.md, sections 5.1 and 5.2.
    """

    class SkipIterator:
        """Iterator over products without skipped ones."""

        def __init__(self, data: Iterable[DataProduct]) -> None:
            self.iterator = iter(data)

        def __iter__(self) -> Iterator[DataProduct]:
            return self

        def __next__(self) -> DataProduct:
            product = next(self.iterator)
            while product.skip:
                product = next(self.iterator)
            return product

    class TupleIterator:
        """Iterator over ``(host, file)`` of every product."""

        def __init__(self, data: Iterable[DataProduct]) -> None:
            self.iterator = iter(data)

        def __iter__(self) -> Iterator[tuple[str, Any]]:
            return self

        def __next__(self) -> tuple[str, Any]:
            product = next(self.iterator)
            return product.host, product.file

    def __init__(self, data: Any = None, iterator: Callable[[Any], Iterator[Any]] = iter) -> None:
        self._data: list[Any] = []
        self.data = [] if data is None else data
        self.iterator = iterator

    def __repr__(self) -> str:
        return repr(self.data)

    def __iter__(self) -> Iterator[Any]:
        return self.iterator(self.data)

    def __len__(self) -> int:
        return len(self.data)

    @overload
    def __getitem__(self, index: SupportsIndex) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Any:
        return self.data[index]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, DataMap) and self.data == other.data

    __hash__ = None  # type: ignore[assignment]  # maps change

    @classmethod
    def load(cls, filename: Filename) -> Self:
        """Return the map in a file: a list literal of dicts, or of ``(host, file[, skip])``.

        An entry whose file is a list becomes the text of that list; a missing skip means skipped. Time and memory are
        proportional to the file, up to the limits of ``map_text``.

        Raises
        ------
        DataMapError
            If the file cannot be read, is not such a list, or is over a limit; it is also what Python raises for that,
            an OSError, SyntaxError or NameError.
        """
        with uncollected():
            entries = read_entries(Path(filename))
            try:
                return cls(entries)
            except DataMapError as err:
                raise DataMapError(f"{filename}: not a mapfile: {err}") from err

    def save(self, filename: Filename) -> None:
        """Write the map to a file atomically."""
        try:
            write_atomically(Path(filename), repr(self.data))
        except OSError as err:
            raise MapFileError(f"{filename}: cannot be written: {err.strerror}", err) from err

    @property
    def data(self) -> Any:
        """The list of products itself."""
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        self._set_data(data)

    def _set_data(self, data: Any, dtype: type[DataProduct] = DataProduct) -> None:
        """Replace the products by an iterable of ``dtype``, dict or tuple, not mixed."""
        if not isinstance(data, Iterable):
            raise DataMapError(f"expected a list of products, of dicts or of tuples; found {data!r}")
        items = data if isinstance(data, list) else list(data)
        if not all(isinstance(item, dtype) for item in items):
            items = _products(items, dtype)
        self._data = items

    def append(self, item: Any, dtype: type[DataProduct] = DataProduct) -> None:
        """Add a product, or a tuple ``(host, file)`` or ``(host, file, skip)``; skip is False by default."""
        if isinstance(item, tuple) and len(item) in (2, 3):
            host, file, *skip = item
            item = dtype(host, file, skip[0] if skip else False)
        if not isinstance(item, dtype):
            raise DataMapError(f"cannot append {item!r} to a map; expected a {dtype.__name__} or (host, file[, skip])")
        self.data.append(item)


def _products(items: list[Any], dtype: type[DataProduct]) -> list[DataProduct]:
    """Return dicts, or tuples, as products."""
    try:
        if all(isinstance(item, dict) for item in items):
            return [dtype(**item) for item in items]
        if all(isinstance(item, tuple) for item in items):
            return [dtype(*item) for item in items]
    except TypeError as err:
        raise DataMapError(f"an entry does not have just host, file and skip: {err}") from err
    kinds = ", ".join(sorted({type(item).__name__ for item in items}))
    raise DataMapError(f"expected a list of products, of dicts or of tuples; found {kinds}")


class MultiDataProduct(DataProduct):
    """Several files on one host; ``file`` is a list, and ``file_skip`` has one flag per file, ``skip`` if not given.

    Raises
    ------
    TypeError
        If ``file_skip`` has items other than flags, or differs in length from ``file``.
    """

    def __init__(
        self, host: object, file: Any, skip: object = True, file_skip: bool | list[bool] | None = None
    ) -> None:
        super().__init__(host, "", skip)
        self.file = [str(name) for name in file] if isinstance(file, list | tuple) else _names(str(file))
        flag = self.skip if file_skip is None else file_skip
        self.file_skip = [*flag] if isinstance(flag, list) else [bool(flag)] * len(self.file)
        if len(self.file_skip) != len(self.file) or not all(isinstance(flag, bool) for flag in self.file_skip):
            raise TypeError(
                f"file_skip is {self.file_skip}; one True or False for each of {len(self.file)} files needed"
            )

    def __repr__(self) -> str:
        names, flags = str(_plain(self.file)), _plain(self.file_skip)
        return f"{{'host': {str(self.host)!r},  'skip': {self.skip}, 'file': {names!r}, 'file_skip' : {flags!r}}}"

    def __eq__(self, other: object) -> bool:
        same = isinstance(other, MultiDataProduct) and self.file_skip == other.file_skip
        return same and super().__eq__(other) is True

    __hash__ = None


def _names(text: str) -> list[str]:
    """Return the names in a text as ``files_of`` does; the usual text takes a tenth of the time."""
    names = list_literal_texts(text)
    return files_of(text) if names is None else [name for name in names if name]


class MultiDataMap(DataMap):
    """A map of products with several files each."""

    def _set_data(self, data: Any, dtype: type[DataProduct] = MultiDataProduct) -> None:
        super()._set_data(data, dtype)

    def append(self, item: Any, dtype: type[DataProduct] = MultiDataProduct) -> None:
        """Add a product, or a tuple ``(host, files[, skip[, file_skip]])``; without ``skip`` it is skipped."""
        super().append(_products([item], dtype)[0] if isinstance(item, tuple) else item, dtype)

    def split_list(self, number: int) -> None:
        """Split each product into products of at most ``number`` files."""
        if number < 1:
            raise DataMapError(f"cannot split a map into products of {number} files; at least 1 is needed")
        self.data = [chunk for product in self.data for chunk in _chunks(product, number)]


def _chunks(product: MultiDataProduct, number: int) -> Iterator[MultiDataProduct]:
    for start in range(0, len(product.file), number):
        part = slice(start, start + number)
        yield MultiDataProduct(product.host, product.file[part], product.skip, product.file_skip[part])


def validate_data_maps(*maps: DataMap) -> bool:
    """Return whether all maps, or lists of products, have the same length, and the same host at each place."""
    if len({len(data_map) for data_map in maps}) != 1:
        return False
    return all(len({data_map[place].host for data_map in maps}) == 1 for place in range(len(maps[0])))


def align_data_maps(*maps: DataMap) -> None:
    """Skip a product in all maps if it is skipped in one.

    Raises
    ------
    DataMapError
        For fewer than two maps, or maps that differ in length or hosts.
    """
    if len(maps) < 2:
        raise DataMapError(f"{len(maps)} map given; aligning needs at least two")
    if not validate_data_maps(*maps):
        lengths = ", ".join(str(len(data_map)) for data_map in maps)
        raise DataMapError(f"maps of {lengths} entries differ in length or hosts; they need the same hosts in order")
    for row in zip(*(data_map[:] for data_map in maps), strict=True):
        skip = any(product.skip for product in row)
        for product in row:
            product.skip = skip


def load_data_map(filename: Filename) -> DataMap:
    """Return the map in a file; going through it gives ``(host, file)``. Deprecated: use ``DataMap.load``."""
    _warn_deprecated("load_data_map", "DataMap.load")
    data_map = DataMap.load(filename)
    data_map.iterator = DataMap.TupleIterator
    return data_map


def store_data_map(filename: Filename, data: Any) -> None:
    """Write a map, or the list of its entries, to a file. Deprecated: use ``DataMap(data).save``."""
    _warn_deprecated("store_data_map", "DataMap.save")
    (data if isinstance(data, DataMap) else DataMap(data)).save(filename)


def tally_data_map(data: Any, pattern: str, logger: Any = None) -> list[bool]:
    """Return for each product whether its file exists here and matches a pattern. Deprecated."""
    _warn_deprecated("tally_data_map", "os.path.exists")
    present = set(glob.glob(pattern))  # noqa: PTH207 - the pattern may be absolute
    matches = [product.file in present for product in DataMap(data).data]
    if logger:
        logger.debug(f"{sum(matches)} of {len(matches)} products match {pattern}")
    return matches


def _warn_deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old} is deprecated; use {new}", DeprecationWarning, stacklevel=3)


def save_map(products: Iterable[DataProduct], mapfile_dir: Filename, filename: str) -> dict[str, str]:
    """Write the map of a plugin, and return its path as the output ``mapfile``."""
    path = str(Path(mapfile_dir) / filename)
    DataMap(products).save(path)
    return {"mapfile": path}


def products_of_parset(filename: str | Path, identifier: str) -> list[DataProduct]:
    """Return the products under ``DataProducts.<identifier>`` of a parset: its locations, filenames and skip.

    A location is ``host:directory``. Where no skip is given, no product is skipped.

    Raises
    ------
    DataMapError
        If the parset lacks the products, the lists differ in length, or a location has no host.
    """
    from lofarpipe.support.parset import Parset

    parset = Parset.read(filename)
    parts = next((key.split(".") for key in parset.keywords() if COMPONENT in key.split(".")), [COMPONENT])
    prefix = ".".join([*parts[: parts.index(COMPONENT) + 1], identifier])
    if f"{prefix}.locations" not in parset or f"{prefix}.filenames" not in parset:
        raise DataMapError(f"{filename}: no {COMPONENT}.{identifier}.locations and .filenames; correct the identifier")
    locations, names = parset.vector(f"{prefix}.locations"), parset.vector(f"{prefix}.filenames")
    skip = parset.getBoolVector(f"{prefix}.skip") if f"{prefix}.skip" in parset else [False] * len(names)
    if not len(locations) == len(names) == len(skip):
        counts = f"{len(locations)} locations, {len(names)} filenames, {len(skip)} skip"
        raise DataMapError(f"{filename}: {prefix} has {counts}; one of each per product is needed")
    products = []
    for location, name, flag in zip(locations, names, skip, strict=True):
        host, colon, directory = location.partition(":")
        if not colon:
            raise DataMapError(f"{prefix}.locations: '{location}' names no host; host:directory is needed")
        products.append(DataProduct(host, f"{directory.rstrip('/')}/{name}", flag))
    return products
