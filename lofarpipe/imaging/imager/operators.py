"""Exact operators between visibilities and images of one output channel: dirty image, prediction, residual.

dirty(l, m) = 1 / W sum_k w_k Re(v_k exp(-2 pi i (u l + v m + w (n - 1)))), W the sum of the weights; the prediction is
the adjoint without weights. The w term is exact, to the accuracy ``epsilon`` of each transform. Images are (ny, nx),
with l growing to the left, as in FITS. Source: Arras et al. (2021), A&A 646, A58 (ducc0.wgridder).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ducc0.wgridder import dirty2vis, vis2dirty
from numpy.typing import NDArray

from lofarpipe.imaging.imager.channels import Channel
from lofarpipe.imaging.imager.resampler import Resampler

WINDOW_EPSILON = 1e-3  # of a prediction that is multiplied by a difference of beams
SMALLEST_SIDE = 32  # pixels, of an image of the gridder

Plane = NDArray[np.float32]
Visibilities = NDArray[np.complex64]


class Gridder:
    """Transforms between visibilities and images of nx x ny pixels, on the coarse grid of a resampler."""

    def __init__(self, size: tuple[int, int], cell_rad: float, resampler: Resampler, threads: int):
        self.nx, self.ny = size
        self.cell_rad, self.resampler, self.threads = cell_rad, resampler, threads

    @classmethod
    def for_channels(cls, channels: list[Channel], size: tuple[int, int], cell_rad: float, threads: int) -> Gridder:
        """Return a gridder with a coarse grid for all visibilities of some output channels."""
        reach = max(channel.reach(max(size) / 2 * cell_rad) for channel in channels)
        return cls(size, cell_rad, Resampler(size, cell_rad, reach, threads), threads)

    def _options(self, channel: Channel, cells_rad: tuple[float, float], epsilon: float) -> dict[str, Any]:
        return {
            "freq": channel.frequencies_hz,
            "mask": channel.mask,
            "pixsize_x": cells_rad[0],
            "pixsize_y": cells_rad[1],
            "epsilon": epsilon,
            "nthreads": self.threads,
            "flip_u": True,
            "divide_by_n": False,
        }

    def dirty(self, channel: Channel, vis: Visibilities, epsilon: float, out: Plane) -> None:
        """Write the dirty image of a channel's visibilities into ``out``; 0 for a channel without data."""
        if channel.count == 0:
            out[:] = 0
            return
        coarse = vis2dirty(
            uvw=channel.vuw_m,
            vis=vis,
            wgt=channel.weights,
            npix_x=self.resampler.shape[0],
            npix_y=self.resampler.shape[1],
            do_wgridding=True,
            **self._options(channel, self.resampler.cells_rad, epsilon),
        )
        coarse /= np.float32(channel.weight_sum)
        self.resampler.up(coarse, out)

    def predict(self, channel: Channel, model: Plane, epsilon: float) -> Visibilities:
        """Return the visibilities (row, chan) of a model image, Jy/pixel; 0 for a channel without data."""
        if channel.count == 0:
            return np.zeros(channel.weights.shape, np.complex64)
        vis = dirty2vis(
            uvw=channel.vuw_m,
            dirty=self.resampler.down(model),
            do_wgridding=True,
            **self._options(channel, self.resampler.cells_rad, epsilon),
        )
        return np.asarray(vis, np.complex64)

    def predict_window(self, channel: Channel, y: int, x: int, pixels: Plane) -> Visibilities:
        """Return the visibilities (row, chan) of a small part of a model image, from the pixel (y, x)."""
        height, width = (max(SMALLEST_SIDE, side + side % 2) for side in pixels.shape)
        window = np.zeros((height, width), np.float32)
        window[: pixels.shape[0], : pixels.shape[1]] = pixels
        vis = dirty2vis(
            uvw=channel.vuw_m,
            dirty=window,
            do_wgridding=True,
            center_x=-(y + height // 2 - self.ny // 2) * self.cell_rad,  # flip_u turns the sign of the centre as well
            center_y=(x + width // 2 - self.nx // 2) * self.cell_rad,
            **self._options(channel, (self.cell_rad, self.cell_rad), WINDOW_EPSILON),
        )
        return np.asarray(vis, np.complex64)

    def residual(
        self,
        channel: Channel,
        pol: int,
        model: Plane,
        epsilon: float,
        out: Plane,
        beyond: Callable[[Visibilities], None] | None = None,
    ) -> None:
        """Write the dirty image of a channel minus a model, whose visibilities ``beyond`` changes, into ``out``."""
        vis = self.predict(channel, model, epsilon)
        if beyond is not None:
            beyond(vis)
        np.subtract(channel.vis[pol], vis, out=vis)
        self.dirty(channel, vis, epsilon, out)

    def psf(self, channel: Channel, epsilon: float, out: Plane) -> None:
        """Write the response to a source of 1 Jy at the phase centre into ``out``."""
        self.dirty(channel, np.ones(channel.weights.shape, np.complex64), epsilon, out)

    def local_psf(self, channel: Channel, place: tuple[float, float], size: int, epsilon: float) -> Plane:
        """Return the response of ``size`` x ``size`` pixels around a source at the pixel (y, x).

        To first order in the distance from the source at (l, m), it is a transform without w term of the coordinates
        u - w l / n and v - w m / n.
        """
        m, l = (place[0] - self.ny / 2) * self.cell_rad, -(place[1] - self.nx / 2) * self.cell_rad  # noqa: E741
        n = np.sqrt(max(1 - l * l - m * m, 0.01))
        vuw_m = channel.vuw_m.copy()
        vuw_m[:, 0] -= vuw_m[:, 2] * m / n
        vuw_m[:, 1] -= vuw_m[:, 2] * l / n
        return self._flat_psf(channel, vuw_m, size, epsilon)

    def _flat_psf(self, channel: Channel, vuw_m: NDArray[np.float64], size: int, epsilon: float) -> Plane:
        if channel.count == 0:
            return np.zeros((size, size), np.float32)
        psf = vis2dirty(
            uvw=vuw_m,
            vis=np.ones(channel.weights.shape, np.complex64),
            wgt=channel.weights,
            npix_x=size,
            npix_y=size,
            do_wgridding=False,
            **self._options(channel, (self.cell_rad, self.cell_rad), epsilon),
        )
        psf /= np.float32(channel.weight_sum)
        return np.asarray(psf, np.float32)
