"""PSF patches, which the minor cycle subtracts around a component.

The response varies over the field. Each tile of the image has its own patch between point sources; between scales
the patch of the image centre is used. A patch is normalised to its central value.

A tile's patch is the image centre's from all visibilities, plus the difference of the two from a sample of them. The
difference is small, hence so is the sampling error, and the cost does not depend on the number of visibilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.channels import Channel
from lofarpipe.imaging.imager.operators import Gridder
from lofarpipe.imaging.imager.scales import smooth
from lofarpipe.support.dataclass import dataclass

Plane = NDArray[np.float32]

TILE_EPSILON = 1e-2
TILE_ROWS = 50_000  # sampled rows per channel for the tiles' differences
CENTRE_EPSILON = 1e-3


@dataclass(frozen=True, eq=False)
class Psfs:
    """PSF patches, with odd sides and the source in the middle.

    ``local`` (tile, y, x, chan) between point sources, tiles row by row; ``cross`` (scale, scale, y, x, chan) between
    atoms of scales; ``flux`` (scale, chan) of an atom of unit norm, Jy. ``central`` (chan, y, x) are larger patches of
    the image's centre, with the source at n // 2.
    """

    local: NDArray[np.float32]
    cross: NDArray[np.float32]
    flux: NDArray[np.float64]
    scales: tuple[float, ...]
    central: NDArray[np.float32]

    @property
    def radius(self) -> int:
        """Pixels from the middle of a patch to its edge."""
        return int(self.local.shape[1] // 2)

    @property
    def far_sidelobe(self) -> float:
        """Largest sidelobe of the mean response between the edge of the patches and twice their radius."""
        mean = np.abs(self.central.mean(axis=0))
        middle(mean, self.radius)[...] = 0
        return float(mean.max(initial=0))


def central_psfs(channels: Sequence[Channel], gridder: Gridder, radius: int) -> NDArray[np.float32]:
    """Return the responses (chan, y, x) to a source in the image's centre, within 2 ``radius`` pixels."""
    centre = gridder.ny / 2, gridder.nx / 2
    psfs = [gridder.local_psf(channel, centre, 4 * radius, CENTRE_EPSILON) for channel in channels]
    return np.array([_normalised(psf) for psf in psfs])


def make_psfs(
    channels: Sequence[Channel],
    gridder: Gridder,
    central: NDArray[np.float32],
    tiles: int,
    radius: int,
    scales: tuple[float, ...],
) -> Psfs:
    """Return the patches of ``tiles`` x ``tiles`` parts of the image, and of the scales; the first scale is 0."""
    local = np.empty((tiles * tiles, 2 * radius + 1, 2 * radius + 1, len(channels)), np.float32)
    for number, (channel, psf) in enumerate(zip(channels, central, strict=True)):
        local[..., number] = local_patches(channel, gridder, middle(psf, radius), tiles)
    flux, cross = between_scales(central, radius, scales, gridder.threads)
    return Psfs(local, cross, flux, scales, central)


def local_patches(channel: Channel, gridder: Gridder, central: Plane, tiles: int) -> NDArray[np.float32]:
    """Return the patches (tile, y, x) of a channel, of the size of the ``central`` one."""
    patches = np.repeat(central[None], tiles * tiles, axis=0)
    if tiles == 1:
        return patches
    radius, part = central.shape[0] // 2, channel.sample(TILE_ROWS)
    centre = gridder.ny / 2, gridder.nx / 2
    at_centre, *at_tiles = (
        _normalised(middle(gridder.local_psf(part, place, 4 * radius, TILE_EPSILON), radius))
        for place in [centre, *tile_centres((gridder.ny, gridder.nx), tiles)]
    )
    for patch, at_tile in zip(patches, at_tiles, strict=True):
        patch += at_tile - at_centre
    return patches


def tile_centres(shape: tuple[int, int], tiles: int) -> list[tuple[int, int]]:
    """Return the middle pixels (y, x) of the tiles, row by row."""
    ys, xs = (((np.arange(tiles) + 0.5) * size / tiles).astype(int) for size in shape)
    return [(int(y), int(x)) for y in ys for x in xs]


def middle(psf: Plane, radius: int) -> Plane:
    """Return the part within ``radius`` pixels of the source at n // 2."""
    y, x = (size // 2 for size in psf.shape[-2:])
    return psf[..., y - radius : y + radius + 1, x - radius : x + radius + 1]


def _normalised(psf: Plane) -> Plane:
    top = psf[psf.shape[0] // 2, psf.shape[1] // 2]
    return psf / top if top > 0 else psf


def between_scales(
    central: NDArray[np.float32], radius: int, scales: Sequence[float], threads: int
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the flux of the atoms (scale, chan), and the patches between them (scale, scale, y, x, chan).

    Convolving Gaussians of FWHM s and t gives one of sqrt(s^2 + t^2).
    """
    count, side = len(scales), 2 * radius + 1
    norms = np.ones((count, len(central)))
    cross = np.empty((count, count, side, side, len(central)), np.float32)
    for chan, psf in enumerate(central):
        for one, fwhm in enumerate(scales):
            for other in range(one, count):
                patch = middle(smooth(psf, float(np.hypot(fwhm, scales[other])), threads), radius)
                cross[one, other, :, :, chan] = cross[other, one, :, :, chan] = patch
            top = float(cross[one, one, radius, radius, chan])
            norms[one, chan] = top if top > 0 else 1.0  # 1 for a channel without visibilities
    for one in range(count):
        for other in range(count):
            cross[one, other] /= np.sqrt(norms[one] * norms[other]).astype(np.float32)
    return 1 / np.sqrt(norms), cross
