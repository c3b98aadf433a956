"""The major-cycle loop: minor cycles with PSF patches, and exact residuals between them.

A major cycle has up to four turns. Each turn measures the noise, sets the thresholds, runs the minor cycle down to
them, and subtracts the components from the residual planes with the same patches. The exact residual follows. The
patches are accurate to about 1 % of a component's sidelobes, and lack those beyond their edge: a major cycle ends
above the far sidelobes of its brightest peak (the first one at 0.5 % of the peak at least), or at the noise.

The threshold is ``auto_mask`` sigma until all peaks above it are found, then ``auto_threshold`` sigma within the
mask: pixels with a component, and pixels that later rise above ``auto_mask`` sigma. The loop ends when the exact
residual within the mask is at the noise, no component is found, or the residual rises. At the noise, minor cycles
with the patches alone go on down to the threshold; without them the model may err by 1 % of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.active import join_scales, select_pixels, tile_grid
from lofarpipe.imaging.imager.channels import Channel
from lofarpipe.imaging.imager.masks import robust_sigma
from lofarpipe.imaging.imager.minor_cycle import Patches, Rules, find_components
from lofarpipe.imaging.imager.operators import Gridder
from lofarpipe.imaging.imager.psf import Psfs
from lofarpipe.imaging.imager.scales import gaussian_patch, scale_maps, stride
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.imager.spectra import spectral_fits
from lofarpipe.imaging.imager.stamps import add_patches
from lofarpipe.support.dataclass import dataclass

Plane = NDArray[np.float32]
Cube = NDArray[np.float32]  # (pol, chan, y, x)
Mask = NDArray[np.bool_]

TURNS = 4  # minor cycles per major cycle
EDGE = 8  # pixels at the edges kept free of components: the prediction errs there
LEAST_DEPTH = 0.5  # of the brightest peak: every major cycle goes at least this deep
FAR_MARGIN = 1.2  # times the far sidelobes of the brightest peak: fainter components could be sidelobes
NEAR = 1.2  # thresholds: a fainter peak is not worth a turn
END_SIGMAS = 2.0  # auto_thresholds: a lower exact residual is clean
STEP_WITHOUT_NOISE = 0.2  # of the peak: end of a turn without a threshold in units of noise
AT_THRESHOLD = "the residual is at the threshold"
MOST_RISES = 2  # successive rises of the exact residual's peak that count as divergence
EPSILONS = 1e-4, 3e-3  # nominal, of the exact residual: the most and the least accurate
EPSILON_SIGMAS = 4  # noise over the brightest source, nominal: the largest error is a tenth of the noise
NOISE_SAMPLES = 1_000_000


@dataclass(eq=False)
class State:
    """State of a deconvolution: all that a run needs to resume, apart from the visibilities.

    ``model`` (pol, chan, y, x), Jy/pixel; ``component_masks`` has the pixels with components of each scale.
    ``residual_peaks_jy`` are the peaks of the exact residual after each major cycle.
    """

    model: Cube
    component_masks: list[Mask] = field(default_factory=list)
    is_masked: bool = False
    majors: int = 0
    iterations: int = 0
    brightest_jy: float = 0.0
    sigma_jy: float = 0.0
    residual_peaks_jy: list[float] = field(default_factory=list)
    reason: str = ""  # of the end


def _ignore_line(line: str) -> None:
    """Do nothing with a progress line."""


def _ignore_state(pols: Sequence[int], state: State) -> None:
    """Do nothing with a state."""


@dataclass(frozen=True, eq=False)
class Hooks:
    """Callbacks of the loop.

    ``notice`` gets progress lines; ``save`` the Stokes parameters cleaned together, and their state after each
    major cycle; ``load`` returns the saved state or None. ``mask`` (y, x) is where components may be.
    ``local_factors(image, sigma_jy)`` returns sigma over the local noise (y, x).
    ``beyond(pol, chan, model plane, visibilities)`` changes the model's visibilities before they are subtracted.
    """

    notice: Callable[[str], None] = _ignore_line
    save: Callable[[Sequence[int], State], None] = _ignore_state
    load: Callable[[Sequence[int], tuple[int, ...]], State | None] | None = None
    mask: Mask | None = None
    local_factors: Callable[[Plane, float], Plane] | None = None
    beyond: Callable[[int, int, Plane, NDArray[np.complex64]], None] | None = None


@dataclass(frozen=True, eq=False)
class ScaleView:
    """The residual at one scale, on every ``step``-th pixel: planes (plane, y, x), and detection strength (y, x)."""

    planes: NDArray[np.float32]
    strength: Plane
    factors: Plane | None
    sigma_jy: float
    step: int
    edge: int  # pixels of the map at each side kept free of components

    def peak(self, mask: Mask | None) -> float:
        """Return the largest strength inside the edges and the mask."""
        inner = slice(self.edge, -self.edge)
        strength = self.strength[inner, inner]
        return float((strength if mask is None else np.where(mask[inner, inner], strength, 0)).max(initial=0))


def noise(image: Plane) -> float:
    """Return the standard deviation of an image's noise, from the median absolute deviation."""
    samples = image.ravel()[:: max(1, image.size // NOISE_SAMPLES)]
    return robust_sigma(samples)


def channel_weights(channels: Sequence[Channel]) -> NDArray[np.float64]:
    """Return the normalised weight of each channel in the band's mean."""
    sums = np.array([channel.weight_sum for channel in channels])
    total = sums.sum()
    return sums / total if total > 0 else np.full(len(sums), 1 / len(sums))


class MajorCycles:
    """Cleans residual planes of some Stokes parameters together."""

    def __init__(
        self,
        channels: Sequence[Channel],
        gridder: Gridder,
        settings: ImagerSettings,
        psfs: Psfs,
        residual: Cube,
        hooks: Hooks,
        pols: Sequence[int] = (0,),
    ):
        """Prepare to clean ``residual`` (pol, chan, y, x), which holds the dirty images of the parameters ``pols``."""
        self.channels, self.gridder, self.settings, self.psfs = channels, gridder, settings, psfs
        self.residual, self.hooks, self.pols = residual, hooks, pols
        self.weights = channel_weights(channels)
        self.state = State(np.zeros_like(residual))
        steps = [stride(self.shape, fwhm) for fwhm in psfs.scales]
        mask = hooks.mask
        self.masks = [] if mask is None else [np.ascontiguousarray(mask[::step, ::step]) for step in steps]
        frequencies_hz = np.array([channel.frequency_hz for channel in channels])
        self.far_sidelobe = psfs.far_sidelobe
        self.start_jy = 0.0  # the brightest peak at the start of a major cycle
        self.fits = spectral_fits(frequencies_hz, self.weights, settings.fit_spectral_terms, settings.beams)

    @property
    def shape(self) -> tuple[int, int]:
        """The rows and columns of an image."""
        return self.gridder.ny, self.gridder.nx

    def run(self) -> State:
        """Clean to the end, resuming a saved state if any; return the final state."""
        saved = self.hooks.load(self.pols, self.state.model.shape) if self.hooks.load else None
        if saved is not None:
            self.state = saved
            self.hooks.notice(f"Going on after major cycle {saved.majors} of an earlier run")
            self.update_residual()
        while not self.state.reason:
            self.hooks.notice(f" == Deconvolving ({self.state.majors + 1}) ==")
            iterations = self.state.iterations
            self.clean_turns()
            self.update_residual()
            self.state.majors += 1
            self.measure_residual()
            self.state.reason = self.reason_to_stop(found_nothing=self.state.iterations == iterations)
            self.hooks.save(self.pols, self.state)
        if self.state.reason == AT_THRESHOLD:
            self.clean_turns()  # so faint a residual that the patches' errors are below the noise
            self.state.sigma_jy = noise(self._mean())
        self.hooks.notice(f"{self.state.majors} major iterations were performed.")
        self.hooks.notice(f"Cleaning ended: {self.state.reason}.")
        return self.state

    # The turns of a major cycle.

    def clean_turns(self) -> None:
        """Run minor cycles until all peaks are near their thresholds."""
        for turn in range(TURNS):
            views = self.view_scales()
            self.grow_mask(views, turn)
            peaks = [view.peak(self.mask_of(scale)) for scale, view in enumerate(views)]
            self.start_jy = max(peaks) if turn == 0 else self.start_jy
            self.state.brightest_jy = self.state.brightest_jy or max(peaks)
            thresholds = self.thresholds(views, peaks)
            if turn == 0:
                self.hooks.notice(f"Initial peak: {1e3 * max(peaks):.6g} mJy")
                sigma_mjy = 1e3 * views[0].sigma_jy
                self.hooks.notice(f"Estimated standard deviation of background noise: {sigma_mjy:.6g} mJy")
            if all(peak <= NEAR * threshold for peak, threshold in zip(peaks, thresholds, strict=True)):
                if self.state.is_masked or not self.can_mask or not self.is_at_noise(views):
                    return
                self.state.is_masked = True  # all peaks above the mask level are found: continue inside the mask
                continue
            if self.state.iterations >= self.settings.niter:
                return
            self.minor_cycle(views, thresholds)

    @property
    def can_mask(self) -> bool:
        """Whether there is a mask level, and a component to build the mask from."""
        return self.settings.auto_mask > 0 and any(mask.any() for mask in self.state.component_masks)

    @property
    def floor_jy(self) -> float:
        """Lowest flux above the errors of the patches in this major cycle, Jy."""
        depth = self.settings.depth if self.state.majors == 0 else 0.0
        return max(depth, min(FAR_MARGIN * self.far_sidelobe, LEAST_DEPTH)) * self.start_jy

    def is_at_noise(self, views: Sequence[ScaleView]) -> bool:
        """Whether this major cycle reaches the mask level; never in the first one."""
        return self.state.majors > 0 and self.floor_jy <= self.settings.auto_mask * views[0].sigma_jy

    def view_scales(self) -> list[ScaleView]:
        """Return the residual at each scale."""
        planes = self.residual.reshape(-1, *self.shape)
        flux = np.tile(self.psfs.flux, (1, len(self.pols)))
        maps = scale_maps(planes, self.psfs.scales, flux, self.gridder.threads)
        factors = self.local_factors(maps[0])
        views = [self._view(*pair, factors) for pair in zip(maps, self.psfs.scales, strict=True)]
        if not self.state.component_masks:
            self.state.component_masks = [np.zeros(view.strength.shape, np.bool_) for view in views]
        return views

    def local_factors(self, planes: NDArray[np.float32]) -> Plane | None:
        """Return the ratio (y, x) of the thresholds' noise to the local noise; None for 1."""
        if self.hooks.local_factors is None:
            return None
        mean = self.mean_planes(planes)[0]
        return np.asarray(self.hooks.local_factors(mean, noise(mean)), np.float32)

    def mean_planes(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the weighted mean over channels (pol, y, x) of planes (plane, y, x)."""
        cube = planes.reshape(len(self.pols), len(self.channels), *planes.shape[1:])
        weights = self.weights.astype(np.float32)
        return np.stack([np.tensordot(weights, one, 1) for one in cube])

    def _view(self, planes: NDArray[np.float32], fwhm: float, factors: Plane | None) -> ScaleView:
        step = stride(self.shape, fwhm)
        means = self.mean_planes(planes)
        sigma_jy = noise(means[0])
        strength = np.abs(means[0]) if len(means) == 1 else np.sqrt((means**2).sum(axis=0))
        near = None if factors is None else factors[::step, ::step]
        if near is not None:
            strength *= near
        edge = min(max(EDGE, int(fwhm)) // step + 1, min(strength.shape) // 2 - 1)
        return ScaleView(planes, strength, near, sigma_jy, step, edge)

    def mask_of(self, scale: int) -> Mask | None:
        """Return the mask of a scale's components; None for everywhere."""
        user_mask = self.masks[scale] if self.masks else None
        if not self.state.is_masked:
            return user_mask
        components = self.state.component_masks[scale]
        return components if user_mask is None else components & user_mask

    def grow_mask(self, views: Sequence[ScaleView], turn: int) -> None:
        """Extend the mask by pixels above its level, from the second turn of a major cycle down to the noise on."""
        level = self.settings.auto_mask
        if level <= 0 or not (turn == 1 or self.state.is_masked):
            return
        if turn > 0 and not self.is_at_noise(views):  # far sidelobes may exceed the level
            return
        self.state.is_masked = True
        for mask, view in zip(self.state.component_masks, views, strict=True):
            mask |= view.strength > level * view.sigma_jy

    def thresholds(self, views: Sequence[ScaleView], peaks: Sequence[float]) -> list[float]:
        """Return each scale's threshold for this turn, in units of its atoms."""
        settings, noise_jy = self.settings, views[0].sigma_jy
        level = settings.auto_threshold
        if settings.auto_mask > 0 and not self.state.is_masked:
            level = max(level, settings.auto_mask)
        least = self.floor_jy
        if level <= 0:
            least = max(least, STEP_WITHOUT_NOISE * max(peaks))
        absolute = settings.threshold_jy / noise_jy if noise_jy > 0 else 0.0
        return [max(level * view.sigma_jy, absolute * view.sigma_jy, least) for view in views]

    def minor_cycle(self, views: Sequence[ScaleView], thresholds: Sequence[float]) -> None:
        """Move components above the thresholds from the residual to the model."""
        tiles, selections, values, factors = tile_grid(self.shape), [], [], []
        for scale, (view, threshold) in enumerate(zip(views, thresholds, strict=True)):
            selection = select_pixels(view.strength, self.mask_of(scale), threshold, view.step, view.edge, tiles)
            y, x = selection[0] // view.step, selection[1] // view.step
            selections.append(selection)
            values.append(np.ascontiguousarray(view.planes[:, y, x].T))
            factors.append(np.ones(len(y), np.float32) if view.factors is None else view.factors[y, x])
        pixels = join_scales(selections, values, factors)
        if len(pixels.y) == 0:
            return
        rules = self.rules(thresholds)
        patches = Patches(self.psfs.local, self.psfs.cross)
        most = self.settings.niter - self.state.iterations
        components, iterations = find_components(pixels, patches, rules, most)
        self.state.iterations += iterations
        for scale, view in enumerate(views):
            inside = slice(int(pixels.starts[scale, 0]), int(pixels.starts[scale, -1]))
            self.move_components(scale, view.step, pixels.y[inside], pixels.x[inside], components[inside])

    def rules(self, thresholds: Sequence[float]) -> Rules:
        """Return the rules of a minor cycle for these thresholds."""
        return Rules(
            self.weights.astype(np.float32),
            self.fits,
            self.psfs.flux.astype(np.float32),
            np.array(thresholds, np.float32),
            np.float32(self.settings.gain),
            self.shape,
            tile_grid(self.shape),
        )

    def move_components(
        self, scale: int, step: int, ys: NDArray[np.int32], xs: NDArray[np.int32], components: NDArray[np.float32]
    ) -> None:
        """Subtract the components of a scale from the residual, and add them to the model."""
        nonzero = np.flatnonzero((components != 0).any(axis=1))
        ys, xs, amplitudes = ys[nonzero], xs[nonzero], components[nonzero]
        self.state.component_masks[scale][ys // step, xs // step] = True
        flux_jy = amplitudes * np.tile(self.psfs.flux[scale], len(self.pols)).astype(np.float32)
        residual, model = (cube.reshape(-1, *self.shape) for cube in (self.residual, self.state.model))
        if scale == 0:
            model[:, ys, xs] += flux_jy.T
            add_patches(ys, xs, -amplitudes, self.psfs.local, round(len(self.psfs.local) ** 0.5), residual)
            return
        add_patches(ys, xs, flux_jy, gaussian_patch(self.psfs.scales[scale])[None, :, :, None], 1, model)
        add_patches(ys, xs, -amplitudes, self.psfs.cross[scale, :1], 1, residual)

    # Between major cycles.

    def update_residual(self) -> None:
        """Replace the residual by the exact one of the model."""
        brightest = self.state.brightest_jy
        share = EPSILON_SIGMAS * noise(self._mean()) / brightest if brightest > 0 else 0.0
        epsilon = float(np.clip(share, *EPSILONS))
        for place, pol in enumerate(self.pols):
            for chan, channel in enumerate(self.channels):
                model = self.state.model[place, chan]
                beyond = partial(self.hooks.beyond, pol, chan, model) if self.hooks.beyond else None
                self.gridder.residual(channel, pol, model, epsilon, self.residual[place, chan], beyond)

    def _mean(self) -> Plane:
        """Return the first Stokes parameter's residual, weighted mean over channels."""
        mean: Plane = np.tensordot(self.weights.astype(np.float32), self.residual[0], 1)
        return mean

    def measure_residual(self) -> None:
        """Record noise and peak of the exact residual: the largest of all scales in units of their noise."""
        views = self.view_scales()
        self.state.sigma_jy = sigma_jy = views[0].sigma_jy
        peaks_jy = [view.peak(self.mask_of(scale)) for scale, view in enumerate(views)]
        ratios = [sigma_jy / view.sigma_jy if view.sigma_jy > 0 else 1.0 for view in views]
        peak_jy = max(peak * ratio for peak, ratio in zip(peaks_jy, ratios, strict=True))
        self.state.residual_peaks_jy.append(peak_jy)
        flux_jy = float(self.weights @ self.state.model[0].sum(axis=(1, 2), dtype=np.float64))
        self.hooks.notice(
            f"Major cycle {self.state.majors}: noise {1e3 * sigma_jy:.4g} mJy, peak {1e3 * peak_jy:.4g} mJy, "
            f"model {flux_jy:.6g} Jy in {self.state.iterations} components"
        )

    def reason_to_stop(self, found_nothing: bool) -> str:
        """Return the reason to stop after this major cycle; "" to go on."""
        state, settings = self.state, self.settings
        peaks = state.residual_peaks_jy
        end_jy = max(END_SIGMAS * settings.auto_threshold * state.sigma_jy, settings.threshold_jy)
        if found_nothing:
            return "nothing is left above the threshold"
        if (state.is_masked or settings.auto_mask <= 0) and peaks[-1] <= end_jy:
            return AT_THRESHOLD
        if state.iterations >= settings.niter:
            return f"{settings.niter} components were made"
        if state.majors >= settings.majors:
            return f"{settings.majors} major cycles were made"
        last = peaks[-MOST_RISES - 1 :]
        if len(last) > MOST_RISES and all(one < other for one, other in pairwise(last)):
            return f"the residual rose in {MOST_RISES} major cycles: it diverges"
        return ""
