"""Outputs of a WSClean command: files by their documented names, changed sets, and their size.

A command is known before it runs::

    products = command_products(["wsclean", "-name", "/a/full", "-niter", "9", "-size", ...])

These are possible names; the actual outputs of a job are known when it has ended (its step has the output
``products.mapfile``: the list of them). Who has that list, and the root name, asks what they are::

    products = read_products("/a/full", ["/a/full-0000-image.fits", "/a/full-MFS-image.fits", ...])
    images = select(products, "image")  # of the whole band first, then by channel
    select(products, "beam", channel=3)

The directory is not searched for such names, as files may be of an earlier run.

Sources: https://wsclean.readthedocs.io (making image cubes, snapshot imaging, primary beam correction, component
list); the files that WSClean 3.1 wrote, without and with IDG and EveryBeam (tests/programs/wsclean/test_outputs.py).
"""

from __future__ import annotations

import glob
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import BinaryIO

from lofarpipe.errors import PipelineError
from lofarpipe.programs.argv import OutputArgument
from lofarpipe.programs.base import FLAT, MFS
from lofarpipe.programs.wsclean.options import (
    POLARISATIONS,
    Options,
    first_number,
    flag_name,
    number,
    option_words,
    polarization_names,
)
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.fits_header import read_header
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import files_of

DEFAULT_ROOT = "wsclean"
JONES_ELEMENTS = 16  # elements of the Mueller matrix of -apply-primary-beam, one image each
# Each kind of image with its beam-corrected version.
CORRECTED_KINDS = {name: f"{name}-pb" for name in ("image", "model", "residual", "psf", "sources")}
OF_A_POLARISATION = (
    *("dirty", "first-residual", "image", "model", "residual", "image-pb", "model-pb", "residual-pb"),
    *("uv-real", "uv-imag"),
)
OF_THE_FIRST_POLARISATION = ("uvpsf-real", "uvpsf-imag")
OF_A_CHANNEL = ("psf", "psf-pb", "beam", "weights")
NEVER_MFS = frozenset({"first-residual", "uv-real", "uv-imag", *OF_THE_FIRST_POLARISATION, "weights"})
OF_THE_RUN = ("sources", "sources-pb")  # text
WRITES_NO_IMAGES = frozenset({"dry-run", "predict", "restore", "restore-list", "version"})
# Spellings that WSClean takes as well.
OTHER_SPELLINGS = {"channelsout": "channels-out", "intervalsout": "intervals-out"}
_KINDS = "|".join(sorted((*OF_A_POLARISATION, *OF_THE_FIRST_POLARISATION, *OF_A_CHANNEL), key=len, reverse=True))
_NAME = lazy_pattern(
    r"(?:-t(?P<interval>\d{4,}))?(?:-(?P<channel>\d{4,}|MFS))?(?:-(?P<stokes>[IQUV]|[XYRL]{2}i?))?"
    rf"-(?P<kind>{_KINDS})(?:-(?P<element>\d+))?\.fits|-(?P<text>sources(?:-pb)?)\.txt"
)


@dataclass(frozen=True)
class Product:
    """One output file of WSClean.

    Attributes
    ----------
    kind: image, dirty, model, residual, psf, beam, weights, sources ...; with ``-pb`` where the beam is divided out.
    channel: number of the output channel; None for the whole band: the MFS image, or the only one.
    interval: number of the output interval; None for a single one.
    stokes: polarisation in the name, such as Q, XX or XYi; "" for a single polarisation, or for all.
    element: element of a matrix beam.
    """

    path: str
    kind: str
    channel: int | None = None
    interval: int | None = None
    stokes: str = ""
    element: int | None = None


def command_products(argv: Sequence[str]) -> tuple[Product, ...]:
    """Return the possible outputs of a WSClean command; the names are as in its ``-name``."""
    return option_products(option_words({}, argv))


def option_products(given_words: Options) -> tuple[Product, ...]:
    """Return the possible outputs of WSClean with some options (`given_options`): option -> the words after it.

    Without the ``-aterm-*`` images of -save-aterms, whose number depends on the data.
    """
    options = {OTHER_SPELLINGS.get(name, name): words for name, words in given_words.items()}
    if WRITES_NO_IMAGES & options.keys():
        return ()
    root, kinds = (options.get("name") or [DEFAULT_ROOT])[0], _kinds(options)
    polarisations = _polarisations(options)
    products = [Product(f"{root}-{kind}.txt", kind) for kind in OF_THE_RUN if kind in kinds]
    for interval, channel in product(_numbers(options, "intervals-out"), _channels(options)):
        place = f"{root}{'' if interval is None else f'-t{interval:04d}'}{channel}"
        number_of = int(channel[1:]) if channel[1:].isdigit() else None
        for kind in kinds:
            if channel == f"-{MFS}" and kind in NEVER_MFS:
                continue
            for ending, stokes, element in _files_of_kind(kind, polarisations, options):
                products.append(Product(f"{place}{ending}.fits", kind, number_of, interval, stokes, element))
    return tuple(products)


def read_products(root: str, paths: Iterable[str]) -> tuple[Product, ...]:
    """Return the products in files of a root name; files that WSClean does not name so are left out."""
    products = []
    for path in paths:
        match = _NAME.fullmatch(path[len(root) :]) if path.startswith(root) else None
        if match is None:
            continue
        interval, channel, element = (match[key] for key in ("interval", "channel", "element"))
        products.append(
            Product(
                path,
                match["kind"] or match["text"],
                int(channel) if channel not in (None, MFS) else None,
                int(interval) if interval else None,
                match["stokes"] or "",
                int(element) if element else None,
            )
        )
    return tuple(products)


def other_names(letter: str, without_psf: bool) -> list[str]:
    """Return renames of outputs, as ``control.rename`` takes them.

    Parameters
    ----------
    letter: polarisation to add to image names, if WSClean images a single, unnamed one; "" for none.
    without_psf: whether to drop images of the point spread function.
    """
    psf = [r"-psf\.fits$=>"] if without_psf else []
    images = [rf"^(.*?)(-[0-9][0-9][0-9][0-9]|-{MFS})?-([a-z]+)\.fits$=>\1\2-{letter}-\3.fits"] if letter else []
    return [*psf, *images]


def select(products: Iterable[Product], kind: str, **attributes: int | str | None) -> list[Product]:
    """Return the products of one kind, whole band first, then by channel; filters: ``channel=3``, ``stokes="Q"``.

    ``channel=None`` selects the whole band.
    """
    matching = [
        one
        for one in products
        if one.kind == kind and all(getattr(one, key) == value for key, value in attributes.items())
    ]
    return sorted(matching, key=_order)


def band_images(root: str, files: str | Sequence[str]) -> list[str]:
    """Return the images of the whole band, in all polarisations, among the files of a root name."""
    products = read_products(root, files_of(files) if isinstance(files, str) else files)
    return [one.path for one in select(products, "image", channel=None, interval=None)]


def channel_images(root: str, files: str | Sequence[str] = "", kind: str = "image") -> list[str]:
    """Return the channel images by number, in all polarisations; for a run without channels its only image.

    ``files`` are the outputs of this root name's runs, a list or its text; by default all existing files.

    Raises
    ------
    PipelineError
        If there are no images.
    """
    paths = files_of(files) if isinstance(files, str) else list(files)
    if not paths:
        folder = Path(root).parent
        paths = [f"{folder}/{path.name}" for path in sorted(folder.glob(f"{glob.escape(Path(root).name)}-*.fits"))]
        root = f"{folder}/{Path(root).name}"
    products = select(read_products(root, paths), kind)
    images = [one.path for one in products if one.channel is not None]
    images = images or [one.path for one in products if not one.path.startswith(f"{root}-{MFS}-")]
    if not images:
        raise PipelineError(f"{root}: there is no {kind} of a channel; was the imager run?")
    return images


def _order(one: Product) -> tuple[int, int, int, int]:
    numbers = (-1 if value is None else value for value in (one.interval, one.channel, one.element))
    interval, channel, element = numbers
    stokes = POLARISATIONS.index(one.stokes.removesuffix("i")) if one.stokes else -1
    return interval, channel, stokes, element


def is_corrected_by_wsclean(options: Options) -> bool:
    """Return whether WSClean itself divides by the beam: with IDG while it grids, else in the image."""
    in_image = {"apply-primary-beam", "apply-facet-beam", "apply-facet-solutions"} & options.keys()
    return bool(in_image) or _grids_with_beam(options)


def _asks_for_idg(options: Options) -> bool:
    return "use-idg" in options or list(options.get("gridder", ())[:1]) == ["idg"]


def _grids_with_beam(options: Options) -> bool:
    return _asks_for_idg(options) and bool({"grid-with-beam", "aterm-config"} & options.keys())


def _kinds(options: Options) -> list[str]:
    """Return the kinds of files that some options make."""
    only_psf, cleans = "make-psf-only" in options, first_number(options, "niter") > 0
    kinds = [] if only_psf else ["image"]
    kinds += [] if only_psf or "no-dirty" in options else ["dirty"]
    kinds += ["model", "residual"] if cleans and not only_psf else []
    makes_psf = only_psf or cleans or "make-psf" in options or _grids_with_beam(options)
    kinds += ["psf"] if makes_psf else []
    kinds += ["sources"] if "save-source-list" in options and cleans and not only_psf else []
    kinds += ["first-residual"] if "save-first-residual" in options and cleans and not only_psf else []
    kinds += ["weights"] if "save-weights" in options else []
    if "save-uv" in options:
        kinds += ["uv-real", "uv-imag"] if not only_psf else []
        kinds += ["uvpsf-real", "uvpsf-imag"] if makes_psf else []
    if not is_corrected_by_wsclean(options) or (only_psf and not _grids_with_beam(options)):
        return kinds
    pairs = [CORRECTED_KINDS[kind] for kind in kinds if kind in CORRECTED_KINDS]
    return [*kinds, "beam", *(kind for kind in pairs if kind != "psf-pb" or "save-psf-pb" in options)]


def _files_of_kind(kind: str, polarisations: Sequence[str], options: Options) -> Iterator[tuple[str, str, int | None]]:
    """Yield (name suffix, polarisation, element) for the files of one kind."""
    if kind in OF_A_POLARISATION or kind in OF_THE_FIRST_POLARISATION:
        several = len(polarisations) > 1
        for stokes in polarisations if kind in OF_A_POLARISATION else polarisations[:1]:
            yield f"-{stokes}-{kind}" if several else f"-{kind}", stokes if several else "", None
    elif kind == "beam" and not _grids_with_beam(options):
        yield from ((f"-{kind}-{element}", "", element) for element in range(JONES_ELEMENTS))
    elif kind in OF_A_CHANNEL:
        yield f"-{kind}", "", None


def _channels(options: Options) -> list[str]:
    """Return the name parts of each output channel, and of the whole band."""
    numbers = _numbers(options, "channels-out")
    return [""] if numbers == [None] else [*(f"-{channel:04d}" for channel in numbers), f"-{MFS}"]


def _numbers(options: Options, name: str) -> Sequence[int | None]:
    count = int(first_number(options, name, 1))
    return [None] if count <= 1 else list(range(count))


def _polarisations(options: Options) -> list[str]:
    """Return the polarisations in image names: XY and YX have a real and an imaginary image."""
    names = list(dict.fromkeys(polarization_names(options)))
    both = {"XY", "YX"} <= set(names)
    return ["XYi" if both and name == "YX" else name for name in names]


CHUNK_BYTES = 1 << 20
TYPES = {-32: "f", -64: "d"}  # BITPIX -> type of array
SMALL = b"\1\0"


def blank_images(paths: Iterable[Path]) -> list[str]:
    """Return the image names of a run of WSClean if all images are blank; else an empty list.

    If there are images of the whole band, only these count, as a fully flagged channel is blank, too.
    """
    images = [path for path in paths if path.name.endswith(FLAT)]
    images = [path for path in images if f"-{MFS}-" in path.name] or images
    return [path.name for path in images] if all(map(is_blank, images)) else []


def is_blank(path: Path) -> bool:
    """Return whether a floating-point FITS image has only non-finite pixels; False for any other file."""
    try:
        with path.open("rb") as stream:
            kind, count = _layout(stream)
            return count > 0 and not any(map(_has_number, _chunks(stream, kind, count)))
    except (OSError, ValueError, KeyError):
        return False


def _layout(stream: BinaryIO) -> tuple[str, int]:
    """Return type and number of the pixels, with the stream at the first one."""
    header = read_header(stream)
    axes = [int(header.number(f"NAXIS{axis}")) for axis in range(1, int(header.number("NAXIS")) + 1)]
    return TYPES[int(header.number("BITPIX"))], math.prod(axes) if axes else 0


def _chunks(stream: BinaryIO, kind: str, count: int) -> Iterator[array[float]]:
    """Yield the pixels, the middle ones first."""
    size = array(kind).itemsize
    start, middle, end = stream.tell(), stream.tell() + count // 2 * size, stream.tell() + count * size
    for first, last in ((middle, end), (start, middle)):
        stream.seek(first)
        while first < last and (content := stream.read(min(CHUNK_BYTES, last - first))):
            first += len(content)
            yield _pixels(content, kind)


def _pixels(content: bytes, kind: str) -> array[float]:
    pixels: array[float] = array(kind)
    size = pixels.itemsize
    if content == content[:size] * (len(content) // size):  # equal pixels, as in blank images: one suffices
        content = content[:size]
    pixels.frombytes(content[: len(content) // size * size])
    if array("H", SMALL)[0] == SMALL[0]:  # FITS has the high byte first
        pixels.byteswap()
    return pixels


def _has_number(pixels: array[float]) -> bool:
    return any(map(math.isfinite, pixels))


# Options that read an earlier run's images of the same name.
READS_IMAGES = frozenset({"continue", "predict", "restore", "restore-list", "reuse-primary-beam"})
WITHOUT_SETS = frozenset({"restore", "restore-list"})
WRITES_NOTHING = "dry-run"
NEVER_UPDATES = frozenset({"no-update-model-required", "make-psf-only"})
PIXEL_BYTES = 4


def image_name_argument(argv: Sequence[str], workdir: Path) -> OutputArgument | None:  # noqa: ARG001 - as for other programs
    """Return the argument for the name of the images; None without one, or if images of this name are read."""
    flags = [flag_name(argument) for argument in argv]
    places = [index + 1 for index, flag in enumerate(flags) if flag == "name"]
    if READS_IMAGES & set(flags) or len(places) != 1 or places[0] >= len(argv) or flags[places[0]]:
        return None
    return OutputArgument(places[0], "", argv[places[0]], None if WRITES_NOTHING in flags else "-*.fits")


def written_sets(keywords: Mapping[str, str], positionals: Sequence[str], workdir: Path = Path()) -> list[str]:
    """Return the measurement sets changed by a call, with model visibilities or imaging weights.

    WSClean fills MODEL_DATA after cleaning unless ``-no-update-model-required`` is set, and with ``-predict`` always.
    """
    options = option_words(keywords, positionals)
    if WITHOUT_SETS & set(options):
        return []
    cleans = first_number(options, "niter") > 0 and not NEVER_UPDATES & set(options)
    writes = cleans or "predict" in options or "store-imaging-weights" in options
    return input_sets(positionals, workdir) if writes else []


def input_sets(positionals: Sequence[str], workdir: Path = Path()) -> list[str]:
    """Return the measurement sets among the positionals: the directories."""
    names = [name for text in positionals for name in files_of(text)]
    return [name for name in names if (workdir / name).is_dir()]


def image_bytes(keywords: Mapping[str, str], positionals: Sequence[str]) -> float | None:
    """Return the bytes of the images, including temporary ones; None without a size.

    Models, residuals and psfs of several channels or polarisations exist twice for a while; with IDG there is one
    image of the beam, or of the psf, more for each channel. Source: the files of WSClean 3.1 during runs with 1, 2
    and 4 channels, I and IQUV, with wgridder, IDG and -apply-primary-beam.
    """
    options = option_words(keywords, positionals)
    size = [number(text) for text in list(options.get("size", ()))[:2]]
    if len(size) != 2 or not all(size):
        return None
    channels, polarisations = max(1.0, first_number(options, "channels-out", 1)), len(polarization_names(options))
    images = [one for one in option_products(options) if one.path.endswith(".fits")]
    # No version has written the matrix of the whole band's beam.
    planes = float(sum(channels == 1 or one.channel is not None or one.element is None for one in images))
    if channels * polarisations > 1:
        cleans, idg = first_number(options, "niter") > 0, int(_asks_for_idg(options))
        temporary = 2 * polarisations + 1 + idg if cleans else 2 * idg
        planes += channels * temporary * max(1.0, first_number(options, "intervals-out", 1))
    width, height = size
    return planes * (width or 0) * (height or 0) * PIXEL_BYTES


def reordered_bytes(keywords: Mapping[str, str], positionals: Sequence[str], workdir: Path) -> float | None:
    """Return the bytes of the reordered visibilities in the temporary directory; None if unknown."""
    options = option_words(keywords, positionals)
    several = first_number(options, "channels-out", 1) > 1 or len(polarization_names(options)) > 1
    if "no-reorder" in options or not (several or "reorder" in options):
        return 0.0
    from lofarpipe.programs.disk_space import present_volume

    volume = present_volume([str(workdir / name) for name in input_sets(positionals, workdir)])
    if volume is None:
        return None
    cleans = first_number(options, "niter") > 0 and first_number(options, "mgain", 1) < 1
    return volume.reordered_bytes(4 if _asks_for_idg(options) else len(polarization_names(options)), cleans)


def gpu_count(options: Options) -> int:
    """Return the number of graphics processors requested: 1 for IDG, unless it runs on the CPU."""
    return int("".join(options.get("idg-mode", ())[:1]) in ("hybrid", "gpu"))
