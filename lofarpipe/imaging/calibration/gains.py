"""Delays, bandpass and gains from calibrator solutions, and flux bootstrapping between calibrators."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lofarpipe.support.dataclass import dataclass

Floats = NDArray[np.float64]
Complex = NDArray[np.complex128]

PADDING = 16  # zero padding of the transform in the delay search
CLIP_SIGMA = 4.0  # Source: doc/spec/calibration.md, section 2
MAD_TO_SIGMA = 1.4826
LEAST_SPREAD = 0.05  # of amplitudes over the band: smaller deviations are never flagged
LEAST_SCAN_SPREAD = 0.25  # the same for gains from scan to scan
SOLVED_FRACTION = 0.8  # of the channels, required of a reference antenna
FEWEST_CHANNELS = 3


@dataclass(frozen=True, eq=False)
class Bandpass:
    """Factorised gains of one scan (ant, pol, chan): delay, phase and bandpass.

    A delay is positive if the gain's phase rises with frequency: + 2 pi f tau.
    """

    phases_rad: Floats  # (ant, pol)
    delays_s: Floats  # (ant, pol)
    rest: Complex  # (ant, pol, chan), NaN where flagged

    @property
    def solved(self) -> NDArray[np.bool_]:
        """Mask of existing solutions (ant, pol, chan)."""
        return np.isfinite(self.rest)


def split_gains(gains: Complex, frequencies_hz: Floats, reference: int) -> Bandpass:
    """Factorise gains (ant, pol, chan), phases relative to the reference antenna, into delays, phases and bandpass.

    Source: doc/spec/calibration.md, section 2.
    """
    relative = gains * np.exp(-1j * np.angle(gains[reference]))
    antennas, pols, _ = gains.shape
    delays_s = np.zeros((antennas, pols))
    for antenna, pol in np.ndindex(antennas, pols):
        delays_s[antenna, pol] = fit_delay(relative[antenna, pol], frequencies_hz)
    rest = relative * np.exp(-2j * np.pi * delays_s[:, :, None] * frequencies_hz)
    phases_rad = np.angle(np.nansum(np.exp(1j * np.angle(rest)), axis=2))
    return Bandpass(phases_rad, delays_s, rest * np.exp(-1j * phases_rad[:, :, None]))


def fit_delay(gains: Complex, frequencies_hz: Floats) -> float:
    """Fit the delay, s, of gains (chan): the peak of their transform, refined by a straight line through the phases.

    0 if fewer than three channels are solved. Channels are evenly spaced.
    """
    good = np.isfinite(gains)
    if good.sum() < FEWEST_CHANNELS:
        return 0.0
    turns = np.where(good, gains / np.where(good, np.abs(gains), 1), 0)
    width_hz = float(np.median(np.diff(frequencies_hz)))
    size = PADDING * len(gains)
    spectrum = np.fft.fft(turns, size)
    delay_s = float(np.fft.fftfreq(size, width_hz)[np.argmax(np.abs(spectrum))])
    middle = frequencies_hz - frequencies_hz[good].mean()
    for _ in range(2):
        residual = turns * np.exp(-2j * np.pi * delay_s * middle)
        residual = residual * np.exp(-1j * np.angle(residual.sum()))
        slope = np.polynomial.polynomial.polyfit(middle[good] / 1e6, np.angle(residual[good]), 1)[1]
        delay_s += float(slope) / (2e6 * np.pi)
    return delay_s


def flag_channels(gains: Complex) -> Complex:
    """Flag gains (ant, pol, chan), as NaN, with amplitudes beyond 4 sigma (MAD) of the antenna's median over channels.

    Source: doc/spec/calibration.md, section 2.
    """
    return _flag_outliers(gains, axis=2, least=LEAST_SPREAD)


def flag_scans(gains: Complex) -> Complex:
    """Flag gains (scan, ant, pol), as NaN, with amplitudes beyond 4 sigma (MAD) of the antenna's median over scans."""
    return _flag_outliers(gains, axis=0, least=LEAST_SCAN_SPREAD)


def _flag_outliers(gains: Complex, axis: int, least: float) -> Complex:
    amplitude = np.abs(gains)
    middle = _nanmedian(amplitude, axis)
    spread = MAD_TO_SIGMA * _nanmedian(np.abs(amplitude - middle), axis)
    limit = np.maximum(CLIP_SIGMA * spread, least * middle)
    return np.where(np.abs(amplitude - middle) <= limit, gains, np.nan)


def _nanmedian(values: Floats, axis: int) -> Floats:
    """Return the median along an axis, kept with length 1; NaN where all values are NaN."""
    has_value = np.isfinite(values).any(axis=axis, keepdims=True)
    return np.where(has_value, np.nanmedian(np.where(has_value, values, 0), axis=axis, keepdims=True), np.nan)


def choose_reference(
    names: list[str], requested: list[str], solved: Floats, unflagged: Floats, positions_m: Floats
) -> tuple[str, str]:
    """Return the reference antenna, and the reason it is not the first requested one ("" if it is).

    Parameters
    ----------
    requested: names in order of preference.
    solved: the fraction of solved channels, by antenna.
    unflagged: the fraction of unflagged data, by antenna.
    positions_m: of the antennas, (ant, 3).

    Source: doc/spec/calibration.md, section 2.
    """
    reasons = []
    for name in requested:
        if name not in names:
            reasons.append(f"{name} is not in the data")
        elif solved[names.index(name)] <= SOLVED_FRACTION:
            reasons.append(f"{name} is solved in {solved[names.index(name)]:.0%} of the channels")
        else:
            return name, "; ".join(reasons)
    distances_m = np.linalg.norm(positions_m - np.median(positions_m, axis=0), axis=1)
    usable = [place for place in range(len(names)) if solved[place] > SOLVED_FRACTION]
    if not usable:
        return "", "; ".join(reasons)
    # Most data first; among nearly equal antennas the most central one.
    best = max(unflagged[place] for place in usable)
    near = [place for place in usable if unflagged[place] >= best - 0.02]
    return names[min(near, key=lambda place: distances_m[place])], "; ".join(reasons)


@dataclass(frozen=True)
class BootstrappedFlux:
    """Bootstrapped flux of a calibrator solved as a 1 Jy point."""

    flux_jy: float
    error_jy: float
    by_scan_jy: tuple[float, ...]


def bootstrap_flux(phase_gains: Complex, flux_gains: Complex) -> BootstrappedFlux:
    """Return the flux from gains of the phase calibrator (scan, ant, pol) and the flux calibrator (ant, pol).

    It is the mean power ratio after clipping at 4 sigma (MAD); the error is the scatter of the means by antenna
    and polarisation over the root of their number.

    Raises
    ------
    ValueError
        If fewer than two antenna-polarisation pairs have both gains.

    Source: doc/spec/calibration.md, section 2.
    """
    ratios = np.abs(phase_gains) ** 2 / np.abs(flux_gains) ** 2
    middle = np.nanmedian(ratios) if np.isfinite(ratios).any() else np.nan
    spread = MAD_TO_SIGMA * np.nanmedian(np.abs(ratios - middle)) if np.isfinite(middle) else np.nan
    ratios = np.where(np.abs(ratios - middle) <= CLIP_SIGMA * spread, ratios, np.nan)
    counts = np.isfinite(ratios).sum(axis=0)
    means = np.nansum(ratios, axis=0)[counts > 0] / counts[counts > 0]
    if len(means) < 2:
        raise ValueError("too few antennas are solved both on the flux calibrator and on this one")
    by_scan = [float(np.nanmean(scan)) if np.isfinite(scan).any() else float("nan") for scan in ratios]
    error = float(np.std(means, ddof=1) / np.sqrt(len(means)))
    return BootstrappedFlux(float(np.nanmean(ratios)), error, tuple(by_scan))


def interpolate_gains(scan_times_s: Floats, gains: Complex, times_s: Floats, method: str = "linear") -> Complex:
    """Interpolate gains of scans (scan, ant, pol) to times (time, ant, pol); NaN for an antenna without gains.

    Amplitude and unwrapped phase are linear between scans and constant outside; ``nearest`` uses the nearest scan.
    Scans without a solution are ignored.
    """
    result = np.full((len(times_s), *gains.shape[1:]), np.nan + 0j)
    for antenna, pol in np.ndindex(*gains.shape[1:]):
        series = gains[:, antenna, pol]
        good = np.isfinite(series)
        if not good.any():
            continue
        known_s, good_gains = scan_times_s[good], series[good]
        if method == "nearest":
            result[:, antenna, pol] = good_gains[np.argmin(np.abs(times_s[:, None] - known_s), axis=1)]
            continue
        amplitude = np.interp(times_s, known_s, np.abs(good_gains))
        phase = np.interp(times_s, known_s, np.unwrap(np.angle(good_gains)))
        result[:, antenna, pol] = amplitude * np.exp(1j * phase)
    return result


def bandpass_deviation(amplitudes: Floats) -> Floats:
    """Return the largest |amplitude / median - 1| (ant, pol) of amplitudes (ant, pol, chan); NaN where all are."""
    relative = np.abs(amplitudes / _nanmedian(amplitudes, 2) - 1)
    has_value = np.isfinite(relative).any(axis=2)
    return np.where(has_value, np.nanmax(np.where(np.isfinite(relative), relative, -1), axis=2), np.nan)


def ripple_period_hz(amplitudes: Floats, width_hz: float) -> float:
    """Return the period of the strongest ripple of a band (chan), Hz; NaN if too few channels are solved."""
    good = np.isfinite(amplitudes)
    if good.sum() < FEWEST_CHANNELS:
        return float("nan")
    channels = np.arange(len(amplitudes))
    filled = np.interp(channels, channels[good], amplitudes[good])
    size = PADDING * len(filled)
    power = np.abs(np.fft.rfft(filled - filled.mean(), size))
    frequencies = np.fft.rfftfreq(size, width_hz)
    return float(1 / frequencies[1 + int(np.argmax(power[1:]))])


def lost_amplitude(delay_s: float, width_hz: float) -> float:
    """Return the fractional amplitude loss of channels of this width by a delay: 1 - sinc(tau w)."""
    return float(1 - np.sinc(delay_s * width_hz))
