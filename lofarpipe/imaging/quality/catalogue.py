"""A list of the sources in an image, made by PyBDSF, in the text format of makesourcedb, DP3 and WSClean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.quality.sky_image import INDEX_KEY
from lofarpipe.imaging.quality.statistics import ISLAND_SIGMA, PEAK_SIGMA
from lofarpipe.support.utilities import unfinished_directory

# The head of a list without sources; PyBDSF writes none then.
EMPTY_LIST = (
    "FORMAT = Name, Type, Patch, Ra, Dec, I, Q, U, V, MajorAxis, MinorAxis, Orientation, "
    "ReferenceFrequency='{frequency_hz:.6g}', SpectralIndex='[]'\n"
)


class CatalogueError(PipelineError):
    """A source list cannot be made."""


@dataclass(frozen=True)
class FindingOptions:
    """How sources are found: thresholds in units of the local rms, boxes as (size, step) in pixels.

    Source of the defaults: doc/spec/imaging.md, section 6.1.
    """

    threshold_island: float = ISLAND_SIGMA
    threshold_peak: float = PEAK_SIGMA
    rms_box: tuple[int, int] = (60, 20)
    rms_box_bright: tuple[int, int] = (35, 7)
    adaptive_rms_box: bool = True
    adaptive_threshold: float = 150.0

    def keywords(self) -> dict[str, Any]:
        """Return PyBDSF's names for these options, with those that are not the user's."""
        return {
            "thresh": "hard",
            "thresh_isl": self.threshold_island,
            "thresh_pix": self.threshold_peak,
            "rms_box": self.rms_box,
            "rms_box_bright": self.rms_box_bright,
            "adaptive_rms_box": self.adaptive_rms_box,
            "adaptive_thresh": self.adaptive_threshold,
            "mean_map": "zero",
            "rms_map": True,
            "atrous_do": False,
        }


def pybdsf() -> ModuleType:
    """Return PyBDSF.

    Raises
    ------
    CatalogueError
        If it is not installed; it says how to install it.
    """
    try:
        import bdsf
    except ImportError as err:
        raise CatalogueError(
            f"PyBDSF, which makes the source list, cannot be imported ({err}); "
            "pip install 'genericpipeline[catalogue]', or set make_source_list = False"
        ) from err
    return bdsf  # type: ignore[no-any-return]


def write_source_list(
    image_pb: str | Path,
    image_flat: str | Path,
    outfile: str | Path,
    options: FindingOptions | None = None,
    cores: int = 1,
) -> int:
    """Write the sources of an image, each a patch of its Gaussians, and return their number.

    Sources are detected in ``image_flat``, whose noise is the same everywhere, and measured in ``image_pb``, which has
    true fluxes. The list appears under its name only when complete.

    Raises
    ------
    CatalogueError
        If PyBDSF is not installed, or fails.
    """
    keywords = (options or FindingOptions()).keywords() | {"ncores": cores, "quiet": True}
    target = Path(outfile).absolute()
    # PyBDSF puts logs beside the image: it gets links in a directory of its own.
    with unfinished_directory(target) as folder:
        links = {name: folder / f"{name}.fits" for name in ("true_sky", "flat_noise")}
        links["true_sky"].symlink_to(Path(image_pb).resolve())
        links["flat_noise"].symlink_to(Path(image_flat).resolve())
        found = _find_sources(links, keywords)
        unfinished = folder / "sources"
        if found.ngaus == 0:
            unfinished.write_text(EMPTY_LIST.format(frequency_hz=found.frequency))
        elif not found.write_catalog(
            outfile=str(unfinished), format="bbs", bbs_patches="source", srcroot="source", clobber=True
        ):
            raise CatalogueError(f"{outfile}: PyBDSF could not write the source list; is the disk full?")
        _name_spectral_index(unfinished, links["true_sky"])
        unfinished.replace(target)
    return int(found.nsrc) if found.ngaus else 0


def _name_spectral_index(source_list: Path, image: Path) -> None:
    """Give a list the spectral index that its fluxes hold for: so they are right at the frequency measured, too."""
    from astropy.io import fits

    index = fits.getheader(image).get(INDEX_KEY)
    if isinstance(index, float):
        text = source_list.read_text()
        source_list.write_text(text.replace("SpectralIndex='[]'", f"SpectralIndex='[{index:g}]'", 1))


def _find_sources(links: Mapping[str, Path], keywords: Mapping[str, Any]) -> Any:
    """Run PyBDSF and return its image object."""
    try:
        return pybdsf().process_image(
            str(links["true_sky"]),
            detection_image=str(links["flat_noise"]),
            outdir=str(links["true_sky"].parent),
            **keywords,
        )
    except (RuntimeError, ValueError, IndexError, OSError) as err:
        image = links["true_sky"].resolve()
        raise CatalogueError(f"{image}: PyBDSF failed: {err}; are rms_box and the thresholds right for it?") from err
