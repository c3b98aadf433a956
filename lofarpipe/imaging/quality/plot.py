"""A standard plot of a sky image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lofarpipe.imaging.quality.figures import BLANK_COLOUR, STYLE, draw_beam, label_sky, save_figure
from lofarpipe.imaging.quality.sky_image import (
    DYNAMIC_RANGE_KEY,
    INTEGRATION_TIME_KEY,
    PEAK_KEY,
    RMS_KEY,
    SkyImage,
    SkyImageError,
)
from lofarpipe.imaging.quality.statistics import central_part, robust_rms

# Grey scale in units of the rms. Source: doc/spec/imaging.md, section 6.1.
DARKEST_RMS, BRIGHTEST_RMS = -4.0, 16.0
INCHES = 9.0
MIN_DPI, MAX_DPI = 150, 400


def plot_rms(image: SkyImage) -> tuple[float, str]:
    """Return the noise for the grey scale, in the image's unit, and its origin.

    The header's value, measured on the flat-noise image, or else the noise at the centre of this image.

    Raises
    ------
    SkyImageError
        If the image is blank or constant.
    """
    if RMS_KEY in image.header:
        return image.number(RMS_KEY), "flat-noise image"
    try:
        return robust_rms(central_part(image.plane)), "middle of this image"
    except ValueError as err:
        raise SkyImageError(f"{image.path}: {err}; there is nothing to draw") from err


def format_flux(flux_jy: float) -> str:
    """Format a flux per beam with SI prefix and three digits: ``1.39 mJy/beam``."""
    prefixes = ((1.0, ""), (1e-3, "m"), (1e-6, "\N{GREEK SMALL LETTER MU}"))
    scale, prefix = next((choice for choice in prefixes if abs(flux_jy) >= choice[0]), prefixes[-1])
    return f"{flux_jy / scale:.3g} {prefix}Jy/beam"


def image_title(image: SkyImage, rms: float, origin: str) -> str:
    """Return three title lines: name and numbers of the image, as far as the header has them.

    Dynamic range and peak are the header's: the highest pixel of a corrected image may be noise where the beam is low.
    """
    name = Path(image.path).name
    exposure = dynamic_range = ""
    if INTEGRATION_TIME_KEY in image.header:
        exposure = f"   {image.number(INTEGRATION_TIME_KEY) / 3600:.2f} h unflagged"
    if DYNAMIC_RANGE_KEY in image.header:
        dynamic_range = f"   dynamic range {image.number(DYNAMIC_RANGE_KEY):.0f}"
    peak = f"highest pixel {format_flux(float(np.nanmax(image.plane)))}"
    if RMS_KEY in image.header:  # it was measured
        peak = f"peak {format_flux(image.number(PEAK_KEY))}" if PEAK_KEY in image.header else "no source above 5 rms"
    beam = "not known: no PSF was made"
    if image.has_beam:
        size = f"{image.beam_major_arcsec:.1f}\N{DOUBLE PRIME} x {image.beam_minor_arcsec:.1f}\N{DOUBLE PRIME}"
        beam = f"{size}, PA {image.beam_angle_deg:.0f}\N{DEGREE SIGN}"
    width_hz = image.bandwidth_hz
    bandwidth = f"{width_hz / 1e6:.2f} MHz" if width_hz >= 1e6 else f"{width_hz / 1e3:.1f} kHz"
    band = f"{image.frequency_hz / 1e6:.3f} MHz, {bandwidth} wide"
    return "\n".join(
        [
            f"{name}   Stokes {image.stokes[0]}   {band}{exposure}",
            f"rms {format_flux(rms)} ({origin})   {peak}{dynamic_range}",
            f"beam {beam}",
        ]
    )


def draw_image(image: SkyImage, rms: float, origin: str) -> Figure:
    """Return the figure: grey scale from -4 to 16 rms, world coordinates, colour bar, beam and numbers.

    Raises
    ------
    SkyImageError
        If the image is blank, or its header lacks beam, frequency or coordinates.
    """
    if not np.isfinite(image.plane).any():
        raise SkyImageError(f"{image.path}: every pixel is blank; there is nothing to draw")
    with mpl.rc_context(STYLE):
        height, width = image.plane.shape
        figure = Figure(figsize=(INCHES, 1.6 + (INCHES - 2.2) * min(2.0, max(0.5, height / width))))
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(projection=image.celestial)
        grey = mpl.colormaps["gray_r"].with_extremes(bad=BLANK_COLOUR)
        limits = {"vmin": DARKEST_RMS * rms, "vmax": BRIGHTEST_RMS * rms}
        picture = axes.imshow(image.plane, origin="lower", cmap=grey, interpolation="antialiased", **limits)
        label_sky(axes)
        if image.has_beam:
            beam_pixels = (image.beam_major_arcsec / image.cell_arcsec, image.beam_minor_arcsec / image.cell_arcsec)
            draw_beam(axes, width, beam_pixels, image.beam_angle_deg)
        axes.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
        _draw_colour_bar(figure, axes, picture, rms)
        axes.set_title(image_title(image, rms, origin), fontsize=9.5, loc="left", linespacing=1.5)
    return figure


def _draw_colour_bar(figure: Figure, axes: Any, picture: Any, rms: float) -> None:
    """Draw the colour bar: flux per beam on the right, multiples of the rms on the left."""
    scale, unit = (1.0, "Jy/beam") if rms >= 0.1 else (1e3, "mJy/beam") if rms >= 1e-5 else (1e6, "μJy/beam")
    bar = figure.colorbar(picture, ax=axes, pad=0.02, fraction=0.046, aspect=30, extend="both")
    steps = np.arange(DARKEST_RMS, BRIGHTEST_RMS + 1, 4)
    bar.set_ticks(list(steps * rms), labels=[f"{step * rms * scale:.3g}  ({step:.0f} rms)" for step in steps])
    bar.set_label(unit)


def plot_image(image: SkyImage, outfile: str | Path, rms: float | None = None) -> None:
    """Write a PNG of an image, which appears only when complete.

    ``rms`` sets the grey scale, in the image's unit; None takes it from the header or from the image itself.

    Raises
    ------
    SkyImageError
        If the image is blank, or its header lacks beam, frequency or coordinates.
    """
    chosen, origin = (rms, "as given") if rms is not None else plot_rms(image)
    figure = draw_image(image, chosen, origin)
    # About one dot per image pixel, within reason.
    dpi = int(min(MAX_DPI, max(MIN_DPI, image.plane.shape[1] / (INCHES * 0.75))))
    save_figure(figure, outfile, dpi)
