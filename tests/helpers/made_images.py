"""Sky images for tests: real ones by WSClean, and made-up ones with any header."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

REPOSITORY = Path(__file__).resolve().parents[2]
CELL_DEG = 10 / 3600
BEAM_DEG = 40 / 3600  # 4 pixels


def image_with_wsclean(ms: Path | str, root: Path, *options: str) -> Path:
    """Image a measurement set with the installed WSClean and return <root>-MFS-image.fits."""
    wsclean = shutil.which("wsclean")
    if wsclean is None:
        pytest.skip("wsclean is not installed")
    argv = [wsclean, "-name", str(root), "-pol", "I", "-weight", "briggs", "0", "-use-wgridder", "-channels-out", "2"]
    argv += ["-join-channels", "-no-update-model-required", "-j", "2", *options, str(ms)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=root.parent, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    return Path(f"{root}-MFS-image.fits")


def image_of_real_data(ms: Path, folder: Path) -> Path:
    """A small cleaned image of the real HBA set with four known sources."""
    sizes = ("-size", "256", "256", "-scale", "60asec", "-niter", "200", "-mgain", "0.8", "-auto-mask", "5")
    return image_with_wsclean(ms, folder / "real", "-data-column", "foursources_DATA", *sizes)


def sky_header(npix: int = 128, beam_deg: float = BEAM_DEG) -> fits.Header:
    """A header as WSClean writes it."""
    header = fits.Header()
    header.update(BSCALE=1.0, BZERO=0.0, BUNIT="JY/BEAM", BMAJ=2 * beam_deg, BMIN=beam_deg, BPA=30.0, EQUINOX=2000.0)
    header.update(BTYPE="Intensity", TELESCOP="LOFAR", SPECSYS="TOPOCENT")
    header["DATE-OBS"] = "2013-03-29T13:59:53.0"
    header.update(CTYPE1="RA---SIN", CRPIX1=npix // 2 + 1, CRVAL1=-142.0, CDELT1=-CELL_DEG, CUNIT1="deg")
    header.update(CTYPE2="DEC--SIN", CRPIX2=npix // 2 + 1, CRVAL2=34.5, CDELT2=CELL_DEG, CUNIT2="deg")
    header.update(CTYPE3="FREQ", CRPIX3=1.0, CRVAL3=144e6, CDELT3=48e6, CUNIT3="Hz")
    header.update(CTYPE4="STOKES", CRPIX4=1.0, CRVAL4=1.0, CDELT4=1.0, CUNIT4="")
    return header


def write_image(path: Path, plane: np.ndarray | None = None, without: tuple[str, ...] = (), **header: object) -> Path:
    """Write a made-up image: noise of 1 mJy unless ``plane`` is given; ``without`` keys, with others changed."""
    if plane is None:
        plane = np.random.default_rng(7).normal(0, 1e-3, (128, 128))
    cards = sky_header(plane.shape[-1])
    cards.update(header)
    for key in without:
        del cards[key]
    pixels = np.asarray(plane, np.float32).reshape(1, 1, *plane.shape[-2:])
    fits.PrimaryHDU(pixels, cards).writeto(path, overwrite=True)
    return path


def measured(path: Path, **header: object) -> Path:
    """A made-up image that measure_quality.py has been at."""
    return write_image(path, MEANRMS=1e-3, RMSMETH="by hand", XPOSURE=3600.0, DYNRANGE=77.0, **header)


def gaussian_sources(npix: int, sources) -> np.ndarray:
    """Sources (Jy, pixels right of and above the middle) with the beam of the made-up header."""
    rows, columns = np.mgrid[:npix, :npix] - npix // 2
    angle, plane = math.radians(30), np.zeros((npix, npix))
    for jy, x, y in sources:
        east, north = -(columns - x), rows - y
        along = north * math.cos(angle) + east * math.sin(angle)
        across = east * math.cos(angle) - north * math.sin(angle)
        major, minor = 2 * BEAM_DEG / CELL_DEG, BEAM_DEG / CELL_DEG
        plane += jy * np.exp(-4 * math.log(2) * ((along / major) ** 2 + (across / minor) ** 2))
    return plane
