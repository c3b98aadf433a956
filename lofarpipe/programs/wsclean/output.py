"""What a WSClean job writes: the name of its images, the sets that it changes, and how much disk it takes."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from lofarpipe.programs.argv import OutputArgument
from lofarpipe.programs.wsclean.arguments import flag_name, given_options, number
from lofarpipe.programs.wsclean.products import option_products
from lofarpipe.support.utilities import files_of

CARD_BYTES, BLOCK_BYTES = 80, 2880  # of the FITS standard 4.0, section 3
MOST_BLOCKS = 1000  # of a header
CHUNK_BYTES = 1 << 20
TYPES = {-32: "f", -64: "d"}  # BITPIX -> type of array
ENDING, OF_THE_BAND = "-image.fits", "-MFS-"
SMALL = b"\1\0"


def blank_images(paths: Iterable[Path]) -> list[str]:
    """Return the names of the images of a run of WSClean if none of them has a finite pixel; else none.

    Where there are images of the whole band they alone count: a channel in which all is flagged is blank, too.
    """
    images = [path for path in paths if path.name.endswith(ENDING)]
    images = [path for path in images if OF_THE_BAND in path.name] or images
    return [path.name for path in images] if all(map(is_blank, images)) else []


def is_blank(path: Path) -> bool:
    """Return whether a FITS image of floating-point numbers has pixels, and no finite one; False for any other file."""
    try:
        with path.open("rb") as stream:
            kind, count = _layout(stream)
            return count > 0 and not any(map(_has_number, _chunks(stream, kind, count)))
    except (OSError, ValueError, KeyError):
        return False


def _layout(stream: BinaryIO) -> tuple[str, int]:
    """Return the type and the number of the pixels, and leave the stream at the first one."""
    cards: dict[bytes, bytes] = {}
    for _ in range(MOST_BLOCKS):
        block = stream.read(BLOCK_BYTES)
        lines = [block[start : start + CARD_BYTES] for start in range(0, len(block), CARD_BYTES)]
        cards |= {line[:8].strip(): line[10:].partition(b"/")[0].strip() for line in lines}
        if len(block) < BLOCK_BYTES or b"END" in cards:
            break
    axes = [int(cards[b"NAXIS%d" % axis]) for axis in range(1, int(cards[b"NAXIS"]) + 1)]
    return TYPES[int(cards[b"BITPIX"])], math.prod(axes) if axes else 0


def _chunks(stream: BinaryIO, kind: str, count: int) -> Iterator[array[float]]:
    """Yield the pixels, those of the middle first."""
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
    if content == content[:size] * (len(content) // size):  # as blank images are: one pixel says it
        content = content[:size]
    pixels.frombytes(content[: len(content) // size * size])
    if array("H", SMALL)[0] == SMALL[0]:  # FITS has the high byte first
        pixels.byteswap()
    return pixels


def _has_number(pixels: array[float]) -> bool:
    return any(map(math.isfinite, pixels))


# With these, images of the same name are read that an earlier run made.
READS_IMAGES = frozenset({"continue", "predict", "restore", "restore-list", "reuse-primary-beam"})
WITHOUT_SETS = frozenset({"restore", "restore-list"})
WRITES_NOTHING = "dry-run"
NEVER_UPDATES = frozenset({"no-update-model-required", "make-psf-only"})
PIXEL_BYTES = 4

Options = Mapping[str, Sequence[str]]


def image_name_argument(argv: Sequence[str], workdir: Path) -> OutputArgument | None:  # noqa: ARG001 - as for other programs
    """Return the argument that names the images; None if there is none, or if images of this name are read."""
    flags = [flag_name(argument) for argument in argv]
    places = [index + 1 for index, flag in enumerate(flags) if flag == "name"]
    if READS_IMAGES & set(flags) or len(places) != 1 or places[0] >= len(argv) or flags[places[0]]:
        return None
    return OutputArgument(places[0], "", argv[places[0]], None if WRITES_NOTHING in flags else "-*.fits")


def written_sets(keywords: Mapping[str, str], positionals: Sequence[str], workdir: Path = Path()) -> list[str]:
    """Return the measurement sets into which a call writes: model visibilities, or imaging weights.

    WSClean fills MODEL_DATA after cleaning unless ``-no-update-model-required`` is there, and with ``-predict`` always.
    """
    options = given_options(keywords, positionals)
    if WITHOUT_SETS & set(options):
        return []
    cleans = _first(options, "niter") > 0 and not NEVER_UPDATES & set(options)
    writes = cleans or "predict" in options or "store-imaging-weights" in options
    return input_sets(positionals, workdir) if writes else []


def input_sets(positionals: Sequence[str], workdir: Path = Path()) -> list[str]:
    """Return the measurement sets among the positionals: what is a directory."""
    names = [name for text in positionals for name in files_of(text)]
    return [name for name in names if (workdir / name).is_dir()]


def image_bytes(keywords: Mapping[str, str], positionals: Sequence[str]) -> float | None:
    """Return what the images take, those included that WSClean removes at its end; None if they have no size.

    Models, residuals and psfs of several channels or polarisations are there twice for a while; with IDG there is one
    image of the beam, or of the psf, more for each channel. Source: the files of WSClean 3.1 during runs with 1, 2
    and 4 channels, I and IQUV, with wgridder, IDG and -apply-primary-beam.
    """
    options = given_options(keywords, positionals)
    size = [number(text) for text in list(options.get("size", ()))[:2]]
    if len(size) != 2 or not all(size):
        return None
    channels, polarisations = max(1.0, _first(options, "channels-out", 1)), polarisation_count(options)
    written = [one for one in option_products(options) if one.path.endswith(".fits")]
    # No version has written the matrix of the whole band's beam.
    planes = float(sum(channels == 1 or one.channel is not None or one.element is None for one in written))
    if channels * polarisations > 1:
        cleans, idg = _first(options, "niter") > 0, int(_uses_idg(options))
        temporary = 2 * polarisations + 1 + idg if cleans else 2 * idg
        planes += channels * temporary * max(1.0, _first(options, "intervals-out", 1))
    width, height = size
    return planes * (width or 0) * (height or 0) * PIXEL_BYTES


def reordered_bytes(keywords: Mapping[str, str], positionals: Sequence[str], workdir: Path) -> float | None:
    """Return what the reordered visibilities take in the temporary directory; None where that cannot be known."""
    options = given_options(keywords, positionals)
    several = _first(options, "channels-out", 1) > 1 or polarisation_count(options) > 1
    if "no-reorder" in options or not (several or "reorder" in options):
        return 0.0
    from lofarpipe.programs.disk_space import present_volume

    volume = present_volume([str(workdir / name) for name in input_sets(positionals, workdir)])
    if volume is None:
        return None
    cleans = _first(options, "niter") > 0 and _first(options, "mgain", 1) < 1
    return volume.reordered_bytes(4 if _uses_idg(options) else polarisation_count(options), cleans)


def _uses_idg(options: Options) -> bool:
    return "use-idg" in options or options.get("gridder") == ["idg"]


def polarisation_count(options: Options) -> int:
    """Return how many polarisations are imaged: ``I``, ``IQUV`` and ``XX,YY`` are 1, 4 and 2."""
    text = "".join(options.get("pol", ["I"])).upper()
    if "," in text:
        return len([name for name in text.split(",") if name])
    return len(text) if set(text) <= set("IQUV") else 1


def gpu_count(options: Options) -> int:
    """Return how many graphics processors the options ask for: IDG takes one, unless it runs on the CPU."""
    return int("".join(options.get("idg-mode", ())[:1]) in ("hybrid", "gpu"))


def _first(options: Options, name: str, default: float = 0.0) -> float:
    """Return the number that an option was given, or a default."""
    value = number("".join(options.get(name, ())[:1]))
    return default if value is None else value
