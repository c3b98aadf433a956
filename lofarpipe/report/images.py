"""The images written by jobs: selection, numbers, thumbnails."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lofarpipe.programs.base import FLAT, rank
from lofarpipe.state.run_state import JobState, RunState
from lofarpipe.support.utilities import files_of, flux_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIDE_PIXELS = 256
SOFTENING_RMS, LOWEST_RMS = 2.0, -10.0  # of an asinh scale, as in the large picture of an image
LEVELS = 254  # 255, white, is blank
MOST_PICTURES = 200  # on a page


def image_of(state: RunState, job: JobState) -> Path | None:
    """Return a job's image of the whole band, else another of its images; None without images."""
    end = state.work.last_job(job.name)
    names = [name for name in (end.written if end else ()) if name.endswith(FLAT)]
    return Path(min(names, key=rank)) if names else None


def images_by_step(state: RunState) -> Iterator[list[tuple[Path, JobState]]]:
    """Yield for each step the images of its jobs, with these."""
    for step in state.steps.values():
        yield [(image, job) for job in step.jobs.values() if (image := image_of(state, job)) is not None]


def quality_texts(image: Path) -> Sequence[str]:
    """Return noise, peak and beam of an image as text; "" for missing values."""
    from lofarpipe.imaging.quality.glance import glance_at

    glance = glance_at(image)
    major, minor = glance.beam_arcsec
    is_wide = minor >= 60
    beam = f"{major / 60:.1f}' x {minor / 60:.1f}'" if is_wide else f'{major:.1f}" x {minor:.1f}"'
    fluxes = ["" if math.isnan(flux_jy) else flux_text(flux_jy) for flux_jy in (glance.noise_jy, glance.peak_jy)]
    return [*fluxes, "" if math.isnan(major + minor) else beam]


def card(image: Path, label: str) -> dict[str, Any]:
    """Return the entry of an image for a page: its name, its sets, a picture, and its numbers."""
    numbers = zip(("noise", "peak", "beam"), quality_texts(image), strict=True)
    return {
        "path": str(image),
        "sets": [Path(name).name for name in files_of(label)],
        "picture": small_picture(image),
        "numbers": [f"{name} {value}" for name, value in numbers if value],
    }


def small_picture(image: Path) -> str:
    """Return a grey-scale picture of an image as a data URI, north up; "" for an empty image."""
    import numpy as np

    from lofarpipe.imaging.quality.glance import mapped_plane, noise_of

    try:
        pixels = shrunk(mapped_plane(image)[0])
    except (OSError, ValueError, KeyError):
        return ""
    noise = noise_of(pixels)
    is_finite = np.isfinite(pixels)
    if math.isnan(noise) or not is_finite.any():
        return ""
    companded = np.arcsinh(np.maximum(pixels / noise, LOWEST_RMS) / SOFTENING_RMS)
    lowest, highest = float(companded[is_finite].min()), float(companded[is_finite].max())
    part = np.where(is_finite, (companded - lowest) / ((highest - lowest) or 1.0), 0.0)
    greys = np.where(is_finite, LEVELS - np.rint(part * LEVELS), 255).astype(np.uint8)
    return f"data:image/png;base64,{base64.b64encode(_png(np.flipud(greys))).decode('ascii')}"


def shrunk(plane: NDArray[Any]) -> NDArray[np.float64]:
    """Return a plane of `SIDE_PIXELS` at most, each pixel the mean of a square; some are cut off at the edge."""
    import numpy as np

    factor = max(1, math.ceil(max(plane.shape) / SIDE_PIXELS))
    height, width = (max(1, size // factor) for size in plane.shape)
    step = [min(factor, size) for size in plane.shape]
    rows = (plane[row * step[0] : (row + 1) * step[0], : width * step[1]] for row in range(height))
    return np.stack([np.asarray(row, np.float64).reshape(step[0], width, step[1]).mean(axis=(0, 2)) for row in rows])


def _png(greys: NDArray[np.uint8]) -> bytes:
    """Return a picture of 8 bits of grey as PNG. Source: PNG specification, 3rd edition, sections 5 and 11."""
    height, width = greys.shape
    rows = b"".join(b"\0" + row.tobytes() for row in greys)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 6)),
        (b"IEND", b""),
    )
    parts = (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
