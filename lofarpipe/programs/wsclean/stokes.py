"""WSClean's arguments for images in I, Q, U and V: of a narrow channel, and of a whole band in two runs.

Source of each choice: doc/spec/meerkat.md, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.programs.wsclean.outputs import read_products, select
from lofarpipe.support.dataclass import dataclass

STOKES = "IQUV"
AUTO = "auto"
SIGMA = " sigma"
MASK_SIGMA, THRESHOLD_SIGMA = 5.0, 1.0
# Box of the beam fit in theoretical beams: the main lobe, not the pedestal of a PSF without long baselines.
BEAM_BOX = "1.5"
FIT_TERMS = "2"  # of the spectrum of total intensity
TOTAL, POLARISED = "_I", "_QUV"  # suffixes of the root name of both runs of the band
KINDS = ("psf", "residual", "model", "dirty")  # beside the image


@dataclass(frozen=True)
class StokesImaging:
    """Settings of all images of a pipeline; ``threshold_jy`` is a number, ``<number> sigma``, or ``auto``."""

    imsize: int
    cell_arcsec: float
    niter: int
    mgain: float
    scales: tuple[int, ...]
    threshold_jy: str
    minuv_lambda: float = 0.0

    def scale_words(self) -> list[str]:
        """Return the flags of multi-scale cleaning."""
        return ["-multiscale", "-multiscale-scales", ",".join(map(str, self.scales))] if self.scales else []

    def threshold_words(self, with_mask: bool = True) -> list[str]:
        """Return the flags for the depth of cleaning, and for automatic masks."""
        if self.threshold_jy != AUTO and not self.threshold_jy.endswith(SIGMA):
            return ["-threshold", self.threshold_jy]
        sigma = THRESHOLD_SIGMA if self.threshold_jy == AUTO else float(self.threshold_jy.removesuffix(SIGMA))
        has_mask = with_mask and sigma < MASK_SIGMA
        return [*(["-auto-mask", f"{MASK_SIGMA:g}"] if has_mask else []), "-auto-threshold", f"{sigma:g}"]


@dataclass(frozen=True)
class BandRequest:
    """The channels of a multi-frequency image: range among the distinct frequencies, inner edges of groups."""

    channel_range: tuple[int, int]
    edges_hz: tuple[float, ...]


@dataclass(frozen=True)
class ChannelRequest:
    """One output channel: the sets, their column and field, and the range among their distinct frequencies."""

    sets: tuple[str, ...]
    data_column: str
    field_id: int
    first: int
    behind: int
    robust: float


def channel_arguments(
    imaging: StokesImaging, request: ChannelRequest, name: Path, scratch: Path
) -> tuple[dict[str, str], list[str]]:
    """Return keywords and flags to image one channel in all Stokes parameters."""
    keywords = {
        "name": str(name),
        "temp-dir": str(scratch),
        "size": f"{imaging.imsize} {imaging.imsize}",
        "scale": f"{imaging.cell_arcsec}asec",
        "weight": f"briggs {request.robust}",
        "pol": "iquv",
        "niter": str(imaging.niter),
        "mgain": str(imaging.mgain),
        "gridder": "wgridder",
        "data-column": request.data_column,
        "field": str(request.field_id),
        "channel-range": f"{request.first} {request.behind}",
    }
    keywords["beam-fitting-size"] = BEAM_BOX
    if imaging.minuv_lambda:
        keywords["minuv-l"] = str(imaging.minuv_lambda)
    flags = ["-join-polarizations", "-no-update-model-required", "-reorder", *imaging.scale_words()]
    flags += imaging.threshold_words()
    return keywords, [*flags, *request.sets]


def band_words(imaging: StokesImaging, band: BandRequest, in_total: bool) -> list[str]:
    """Return the words of a multi-frequency run that follow from the plan: of total intensity, or of Q, U and V.

    Total intensity has a spectral fit and an automatic mask; Q, U and V have neither, but the mask of total intensity.
    """
    words = ["-channel-range", *map(str, band.channel_range), "-channels-out", str(len(band.edges_hz) + 1)]
    words += ["-beam-fitting-size", BEAM_BOX, *([] if in_total else ["-join-polarizations"])]
    if band.edges_hz:
        words += ["-join-channels", "-channel-division-frequencies", ",".join(f"{edge:.1f}" for edge in band.edges_hz)]
        words += ["-fit-spectral-pol", FIT_TERMS] if in_total else ["-squared-channel-joining"]
    scales = imaging.scale_words() if in_total else []  # in the small mask it adds a large scale for ever (3.1)
    return [*words, *scales, *imaging.threshold_words(with_mask=in_total)]


def stokes_images(root: str, paths: Sequence[str], kind: str = "image") -> dict[str, str]:
    """Return Stokes parameter -> image of the whole band among a run's files; a single parameter is I."""
    return {
        one.stokes or "I": one.path for one in select(read_products(root, paths), kind, channel=None, interval=None)
    }


def images_by_stokes(name: Path, kind: str = "image") -> dict[str, str]:
    """Return Stokes parameter -> image for a run with one output channel."""
    return stokes_images(str(name), [str(path) for path in name.parent.glob(f"{name.name}-*.fits")], kind)


def is_empty(header: Mapping[str, object]) -> bool:
    """Whether an image is of no visibility: the sum of its weights is 0, or it has no beam."""
    return not header.get("WSCVWSUM", 1) or not header.get("BMAJ")
