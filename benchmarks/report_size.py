#!/usr/bin/env python3
"""Cost of report.html: size, time to write, and time to open in a browser.

benchmarks/report_size.py [--subbands 244] [--steps 6] [--side 20000] [--directory DIR]

Two made-up job directories: a run of so many jobs with logs of 30 kB each, and an image of so many pixels, corrected
and not, with its primary beam (5 GB of disk at 20,000). Each page is written twice: the second time the pictures are
taken over. Ends with 1 where a page is larger than 10 MB, or takes longer than a second to open.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests" / "helpers"))

from made_images import sky_header  # noqa: E402 - tests make the same job directories
from made_jobs import finished_run, large_run, write_journal  # noqa: E402

MAX_BYTES = 10e6
MAX_OPEN_S = 1.0
FIELD_DEG = 4.0
STRIP_ROWS = 500
FITS_BLOCK_BYTES = 2880


def write_large_images(job: Path, side: int) -> None:
    """Write a flat-noise image, the corrected one and the beam, a strip of rows at a time."""
    job.mkdir(parents=True, exist_ok=True)
    images = [empty_image(job / f"fullband-MFS-{name}.fits", side) for name in ("image", "image-pb", "primary-beam")]
    noise = np.random.default_rng(1).normal(0, 1e-3, (STRIP_ROWS, side)).astype(np.float32)
    x = (np.arange(side) - side / 2) / (side / 4)
    for first in range(0, side, STRIP_ROWS):
        rows = slice(first, min(side, first + STRIP_ROWS))
        beam = np.exp(-0.5 * (x[rows, np.newaxis] ** 2 + x**2))
        flat = np.roll(noise[: beam.shape[0]], first, axis=1)
        flat[::97, ::89] += 0.05  # sources
        for image, pixels in zip(images, (flat, flat / beam, beam), strict=True):
            image[rows] = pixels


def empty_image(path: Path, side: int) -> np.memmap:
    """Return the pixels of a new FITS file, (y, x), to be written through."""
    header = sky_header(side)
    header["CDELT1"], header["CDELT2"] = -FIELD_DEG / side, FIELD_DEG / side
    axes = {"SIMPLE": True, "BITPIX": -32, "NAXIS": 4, "NAXIS1": side, "NAXIS2": side, "NAXIS3": 1, "NAXIS4": 1}
    text = (fits.Header(axes) + header).tostring().encode("ascii")
    with path.open("wb") as stream:
        stream.write(text)
        size = side * side * 4
        stream.truncate(len(text) + -(-size // FITS_BLOCK_BYTES) * FITS_BLOCK_BYTES)
    return np.memmap(path, ">f4", "r+", offset=len(text), shape=(side, side))


def write_page(job: Path) -> float:
    """Write the page as in a run, and return the duration, s."""
    began_s = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "lofarpipe.report.html.page", str(job)], check=True, stdout=subprocess.DEVNULL
    )
    return time.monotonic() - began_s


def open_page(path: Path) -> float | None:
    """Return the time until a browser has the page ready, its images drawn, s; None without a browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    from playwright.sync_api import sync_playwright

    ready = "document.querySelectorAll('.window').length === document.querySelectorAll('.drawn-on').length"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        began_s = time.monotonic()
        page.goto(path.as_uri())
        page.wait_for_function(ready)
        opened_s = time.monotonic() - began_s
        browser.close()
    return opened_s


def measure(name: str, job: Path) -> bool:
    """Print the cost of one page; return whether it is within the limits."""
    first_s, again_s = write_page(job), write_page(job)
    memory_gb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    path = job / "report.html"
    size, opened_s = path.stat().st_size, open_page(path.absolute())
    shown = "no browser" if opened_s is None else f"opens in {opened_s:.2f} s"
    print(f"{name}: {size / 1e6:.2f} MB; written in {first_s:.2f} s, again in {again_s:.2f} s; {shown}")
    print(f"  largest process so far: {memory_gb:.2f} GB, pages of the images among it that the system may take back")
    return size < MAX_BYTES and (opened_s is None or opened_s < MAX_OPEN_S)


def main(subbands: int, steps: int, side: int, directory: Path) -> int:
    """Measure both pages; return the exit status."""
    jobs = large_run(directory / "jobs", subbands, steps)
    image = directory / "image"
    write_large_images(image, side)
    write_journal(image, finished_run(image, "field"))
    kept = [measure(f"{subbands} x {steps} jobs", jobs), measure(f"{side} x {side} pixels", image)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option, default in (("subbands", 244), ("steps", 6), ("side", 20_000)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--directory", type=Path, help="where the made-up runs go; default: a temporary one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(main(given.subbands, given.steps, given.side, given.directory or Path(scratch)))
