"""The files that a WSClean command writes, by its documented names, and what each of them is.

How to use it. A command is known before it runs::

    products = command_products(["wsclean", "-name", "/a/full", "-niter", "9", "-size", ...])

These are the names that it may write; what a job did write is known when it has ended (its step has the output
``products.mapfile``: the list of them). Who has that list, and the root name, asks what they are::

    products = read_products("/a/full", ["/a/full-0000-image.fits", "/a/full-MFS-image.fits", ...])
    images = select(products, "image")  # of the whole band first, then by channel
    select(products, "beam", channel=3)

Nobody looks for files that have such names: they may be of an earlier run.

Sources: https://wsclean.readthedocs.io (making image cubes, snapshot imaging, primary beam correction, component
list); the files that WSClean 3.1 wrote, without and with IDG and EveryBeam (tests/programs/wsclean/test_products.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from lofarpipe.programs.wsclean.arguments import given_options, number

Options = Mapping[str, Sequence[str]]

MFS = "MFS"
DEFAULT_ROOT = "wsclean"
JONES_ELEMENTS = 16  # of the Mueller matrix that -apply-primary-beam writes, one image each
# Each kind of image with its beam-corrected version.
CORRECTED = {name: f"{name}-pb" for name in ("image", "model", "residual", "psf", "sources")}
OF_A_POLARISATION = (
    *("dirty", "first-residual", "image", "model", "residual", "image-pb", "model-pb", "residual-pb"),
    *("uv-real", "uv-imag"),
)
OF_THE_FIRST_POLARISATION = ("uvpsf-real", "uvpsf-imag")
OF_A_CHANNEL = ("psf", "psf-pb", "beam", "weights")
NEVER_MFS = frozenset({"first-residual", "uv-real", "uv-imag", *OF_THE_FIRST_POLARISATION, "weights"})
OF_THE_RUN = ("sources", "sources-pb")  # text
POLARISATIONS = ("XX", "XY", "YX", "YY", "RR", "RL", "LR", "LL", "I", "Q", "U", "V")
WRITES_NO_IMAGES = frozenset({"dry-run", "predict", "restore", "restore-list", "version"})
# Spellings that WSClean takes as well.
OTHER_SPELLINGS = {"channelsout": "channels-out", "intervalsout": "intervals-out"}

_KINDS = "|".join(sorted((*OF_A_POLARISATION, *OF_THE_FIRST_POLARISATION, *OF_A_CHANNEL), key=len, reverse=True))
_NAME = re.compile(
    r"(?:-t(?P<interval>\d{4,}))?(?:-(?P<channel>\d{4,}|MFS))?(?:-(?P<stokes>[IQUV]|[XYRL]{2}i?))?"
    rf"-(?P<kind>{_KINDS})(?:-(?P<element>\d+))?\.fits|-(?P<text>sources(?:-pb)?)\.txt"
)


@dataclass(frozen=True)
class Product:
    """One file that WSClean writes.

    Attributes
    ----------
    kind: image, dirty, model, residual, psf, beam, weights, sources ...; with ``-pb`` where the beam is divided out.
    channel: number of the output channel; None for all of the band: the MFS image, or the only one.
    interval: number of the output interval; None where there is but one.
    stokes: polarisation in the name, such as Q, XX or XYi; "" where one polarisation is imaged, or for all of them.
    element: of a beam that is a matrix, which element of it.
    """

    path: str
    kind: str
    channel: int | None = None
    interval: int | None = None
    stokes: str = ""
    element: int | None = None


def command_products(argv: Sequence[str]) -> tuple[Product, ...]:
    """Return what a WSClean command, as it is run, may write; the names are as in its ``-name``."""
    return option_products(given_options({}, argv))


def option_products(given: Options) -> tuple[Product, ...]:
    """Return what WSClean may write with some options (`given_options`): option -> the words after it.

    Not the ``-aterm-*`` images of -save-aterms, of which the number follows from the data.
    """
    options = {OTHER_SPELLINGS.get(name, name): words for name, words in given.items()}
    if WRITES_NO_IMAGES & options.keys():
        return ()
    root, kinds = (options.get("name") or [DEFAULT_ROOT])[0], _kinds(options)
    polarisations = _polarisations("".join(options.get("pol", ("I",))[:1]))
    found = [Product(f"{root}-{kind}.txt", kind) for kind in OF_THE_RUN if kind in kinds]
    for interval, channel in product(_numbers(options, "intervals-out"), _channels(options)):
        place = f"{root}{'' if interval is None else f'-t{interval:04d}'}{channel}"
        number_of = int(channel[1:]) if channel[1:].isdigit() else None
        for kind in kinds:
            if channel == f"-{MFS}" and kind in NEVER_MFS:
                continue
            for ending, stokes, element in _of_kind(kind, polarisations, options):
                found.append(Product(f"{place}{ending}.fits", kind, number_of, interval, stokes, element))
    return tuple(found)


def read_products(root: str, paths: Iterable[str]) -> tuple[Product, ...]:
    """Return what files of a root name are; those that WSClean does not name so are left out."""
    found = []
    for path in paths:
        match = _NAME.fullmatch(path[len(root) :]) if path.startswith(root) else None
        if match is None:
            continue
        interval, channel, element = (match[key] for key in ("interval", "channel", "element"))
        found.append(
            Product(
                path,
                match["kind"] or match["text"],
                int(channel) if channel not in (None, MFS) else None,
                int(interval) if interval else None,
                match["stokes"] or "",
                int(element) if element else None,
            )
        )
    return tuple(found)


def select(products: Iterable[Product], kind: str, **wanted: int | str | None) -> list[Product]:
    """Return the products of one kind, those of the whole band first, then by channel; ``channel=3``, ``stokes="Q"``.

    Of the whole band are those with ``channel=None``.
    """
    matching = [
        one for one in products if one.kind == kind and all(getattr(one, key) == value for key, value in wanted.items())
    ]
    return sorted(matching, key=_order)


def _order(one: Product) -> tuple[int, int, int, int]:
    numbers = (-1 if value is None else value for value in (one.interval, one.channel, one.element))
    interval, channel, element = numbers
    stokes = POLARISATIONS.index(one.stokes.removesuffix("i")) if one.stokes else -1
    return interval, channel, stokes, element


def is_corrected_by_wsclean(options: Options) -> bool:
    """Return whether WSClean itself divides by the beam: with IDG while it grids, else in the image."""
    in_image = {"apply-primary-beam", "apply-facet-beam", "apply-facet-solutions"} & options.keys()
    return bool(in_image) or _grids_with_beam(options)


def _grids_with_beam(options: Options) -> bool:
    idg = "use-idg" in options or list(options.get("gridder", ())[:1]) == ["idg"]
    return idg and bool({"grid-with-beam", "aterm-config"} & options.keys())


def _kinds(options: Options) -> list[str]:
    """Return the kinds of files that some options make."""
    only_psf, cleans = "make-psf-only" in options, _count(options, "niter", 0) > 0
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
    pairs = [CORRECTED[kind] for kind in kinds if kind in CORRECTED]
    return [*kinds, "beam", *(kind for kind in pairs if kind != "psf-pb" or "save-psf-pb" in options)]


def _of_kind(kind: str, polarisations: Sequence[str], options: Options) -> Iterator[tuple[str, str, int | None]]:
    """Yield the end of the name, the polarisation and the element of the files of one kind."""
    if kind in OF_A_POLARISATION or kind in OF_THE_FIRST_POLARISATION:
        several = len(polarisations) > 1
        for stokes in polarisations if kind in OF_A_POLARISATION else polarisations[:1]:
            yield f"-{stokes}-{kind}" if several else f"-{kind}", stokes if several else "", None
    elif kind == "beam" and not _grids_with_beam(options):
        yield from ((f"-{kind}-{element}", "", element) for element in range(JONES_ELEMENTS))
    elif kind in OF_A_CHANNEL:
        yield f"-{kind}", "", None


def _channels(options: Options) -> list[str]:
    """Return what names have for each output channel, and for all of them."""
    numbers = _numbers(options, "channels-out")
    return [""] if numbers == [None] else [*(f"-{channel:04d}" for channel in numbers), f"-{MFS}"]


def _numbers(options: Options, name: str) -> Sequence[int | None]:
    count = _count(options, name, 1)
    return [None] if count <= 1 else list(range(count))


def _count(options: Options, name: str, default: int) -> int:
    value = number("".join(options.get(name, ())[:1]))
    return default if value is None else int(value)


def _polarisations(text: str) -> list[str]:
    """Return the polarisations of ``-pol``: ``I``, ``iqu``, ``XX,YY``; of XY and YX a real and an imaginary image."""
    names = list(dict.fromkeys(re.findall("|".join(POLARISATIONS), text.upper())))
    both = {"XY", "YX"} <= set(names)
    return ["XYi" if both and name == "YX" else name for name in names]
