"""The rules and constants of the LOFAR image pipeline until 2019; ``averaging = historical``.

They ignore smearing, and serve to reproduce old results.
Source: prefactor (2018-2019), script do_magic; the numbers are facts of that pipeline.
"""

from __future__ import annotations

import math

from lofarpipe.imaging.plan.fft_size import smooth_even_size

ROUNDED_SPEED_OF_LIGHT_M_S = 3.0e8
BEAM_ALPHA = 1.1
TARGET_WIDTH_HZ = 0.2e6
TARGET_TIMESTEP_S = 16.0
DAY_S = 86400.0


def beam_fwhm_deg(ref_frequency_hz: float, dish_diameter_m: float, mean_elevation_rad: float) -> float:
    """Return the width of the station beam, degrees, the same for both axes.

    1.1 wavelength / diameter, over the sine of the mean elevation.

    Raises
    ------
    ValueError
        If the diameter is not positive, or the field is below the horizon.
    """
    if not dish_diameter_m > 0:
        raise ValueError(f"station diameter is {dish_diameter_m} m; ANTENNA.DISH_DIAMETER must be positive")
    if not 0 < mean_elevation_rad <= math.pi / 2:
        raise ValueError(f"mean elevation is {math.degrees(mean_elevation_rad):.1f} deg; the field is not up")
    wavelength_m = ROUNDED_SPEED_OF_LIGHT_M_S / ref_frequency_hz
    return math.degrees(BEAM_ALPHA * wavelength_m / dish_diameter_m) / math.sin(mean_elevation_rad)


def historical_image_sizes(
    fieldsize: float, fwhm_deg: float, cellsize_deg: float, padding: float, stretch: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the image size and the padded image size, each (width, height) in pixels.

    Raises
    ------
    ValueError
        If a size is 0.
    """
    width = smooth_even_size(int(fieldsize * fwhm_deg / cellsize_deg))
    size = (width, smooth_even_size(int(width * stretch)))
    padded = (smooth_even_size(int(width * padding)), smooth_even_size(int(width * padding * stretch)))
    return size, padded


def count_bands(nfrequencies: int) -> int:
    """Return the number of bands: one for every ten distinct frequencies."""
    return nfrequencies // 10


def historical_channels_out(nfrequencies: int) -> int:
    """Return the number of output channels; it is not monotonic (49 -> 4, 50 -> 2)."""
    nbands = count_bands(nfrequencies)
    if nbands > 8:
        nbands //= 4
    elif nbands > 4:
        nbands //= 2
    return max(2, nbands)


def freqstep(nchan: int, channel_width_hz: float, least_channels: int = 1) -> int:
    """Return how many channels to average: the divisor of ``nchan`` nearest to 0.2 MHz, the larger one in a tie.

    At least ``least_channels`` remain, if there are as many.
    """
    ideal = min(max(round(TARGET_WIDTH_HZ / channel_width_hz), 1), nchan)
    divisors = [step for step in range(max(1, nchan // least_channels), 0, -1) if nchan % step == 0]
    return min(divisors, key=lambda step: abs(step - ideal))


def timestep(sample_s: float) -> int:
    """Return how many time slots to average: the integer nearest to 16 s, at least 1."""
    return max(1, round(TARGET_TIMESTEP_S / sample_s))


def nwavelengths(cellsize_deg: float, timestep_s: float) -> int:
    """Return the length, in wavelengths, for baseline-dependent averaging in WSClean; 0 turns it off.

    The distance that a baseline of a third of the inverse cell size moves in a quarter of ``timestep_s``.
    """
    baseline_lambda = 1 / (3 * math.radians(cellsize_deg))
    return int(baseline_lambda * 2 * math.pi * timestep_s / DAY_S / 4)
