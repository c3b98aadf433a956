"""True beams for tests: a point source seen through the station beams by DP3, and imaged by WSClean."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.beam.station import find_coefficients

CELL_DEG = 20 / 3600
NPIX = 1024
REFERENCE_HZ = 140e6
PADDING, MIN_LAMBDA, MAX_LAMBDA = 1.4, 80.0, 4000.0
CHANNELS = ["-join-channels", "-channels-out", "2"]


def program(name: str) -> str:
    """Return the path of a program, beside this Python or on PATH; skip the test where it is not installed."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def environment() -> dict[str, str]:
    """Return the environment in which DP3 and WSClean find tables and coefficients."""
    import casacore

    home = Path(casacore.__file__).parent
    tables = {"AIPSPATH": str(home), "CASACORE_DATADIR": str(home / "data")}
    return {**os.environ, **tables, "EVERYBEAM_DATADIR": str(find_coefficients()), "OPENBLAS_NUM_THREADS": "1"}


def run(*argv: str) -> None:
    """Run a program, and show its output if it fails."""
    done = subprocess.run(argv, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def shifted_copy(source: Path, target: Path, hours: float) -> Path:
    """Copy a set, and move it in time; its uvw stay, which is as good an array as any other.

    Weights become equal over the correlations, as they are in every set that was stored with Dysco.
    """
    shutil.copytree(source, target)
    with ct.table(str(target), readonly=False, ack=False) as table:
        for column in ("TIME", "TIME_CENTROID"):
            table.putcol(column, table.getcol(column) + 3600 * hours)
        weights = table.getcol("WEIGHT_SPECTRUM")
        table.putcol("WEIGHT_SPECTRUM", np.broadcast_to(weights[..., :1], weights.shape).copy())
    return target


def spread_channels(path: Path, first_hz: float, step_hz: float) -> None:
    """Give a set channels far apart, so that its beam differs between them."""
    with ct.table(f"{path}/SPECTRAL_WINDOW", readonly=False, ack=False) as table:
        frequencies_hz = first_hz + step_hz * np.arange(table.getcell("NUM_CHAN", 0))
        table.putcell("CHAN_FREQ", 0, frequencies_hz)
        table.putcell("REF_FREQUENCY", 0, float(frequencies_hz.mean()))
        for column in ("CHAN_WIDTH", "EFFECTIVE_BW", "RESOLUTION"):
            table.putcell(column, 0, np.full(len(frequencies_hz), step_hz))


def direction_deg(path: Path, x: int, y: int) -> tuple[float, float]:
    """Return right ascension and declination of a pixel, counted from the centre of the image."""
    with ct.table(f"{path}/FIELD", ack=False) as table:
        ra, dec = table.getcell("PHASE_DIR", 0)[0]
    l, m = -x * np.radians(CELL_DEG), y * np.radians(CELL_DEG)  # noqa: E741
    n = np.sqrt(1 - l * l - m * m)
    there = np.arcsin(m * np.cos(dec) + n * np.sin(dec))
    return np.degrees(ra + np.arctan2(l, n * np.cos(dec) - m * np.sin(dec))), np.degrees(there)


def put_source(path: Path, x: int, y: int, index: float = 0.0, corrected: str = "full") -> None:
    """Replace DATA by a source at a pixel, seen through the beams and corrected for them, or parts, at the centre.

    It has 1 Jy at REFERENCE_HZ, and a spectral index. Corrected for nothing: the correction is taken back.
    """
    ra, dec = direction_deg(path, x, y)
    sky = path.with_suffix(".skymodel")
    columns = f"Name, Type, Ra, Dec, I, ReferenceFrequency='{REFERENCE_HZ:.0f}', SpectralIndex='[{index}]'"
    sky.write_text(f"FORMAT = {columns}\n\nS, POINT, {ra:.9f}deg, {dec:.9f}deg, 1.0\n")
    run(
        program("DP3.py"), f"msin={path}", "msout=.", "steps=[predict,applybeam]", f"predict.sourcedb={sky}",
        "predict.usebeammodel=true", "predict.beam_interval=0",
        "applybeam.invert=true", "applybeam.updateweights=false",
        f"applybeam.beammode={'full' if corrected == 'none' else corrected}",
    )  # fmt: skip
    if corrected == "none":
        back = ("applybeam.invert=false", "applybeam.updateweights=false")
        run(program("DP3.py"), f"msin={path}", "msout=.", "steps=[applybeam]", *back)


def image(sets: Sequence[Path], root: Path, channels: Sequence[str] = CHANNELS, more: Sequence[str] = ()) -> None:
    """Image sets with WSClean; dirty by default."""
    run(
        program("wsclean"), "-name", str(root), "-size", str(NPIX), str(NPIX), "-scale", f"{CELL_DEG * 3600}asec",
        "-weight", "briggs", "0", "-minuv-l", str(MIN_LAMBDA), "-maxuv-l", str(MAX_LAMBDA), "-padding", str(PADDING),
        "-use-wgridder", "-no-update-model-required", "-j", "1", "-quiet", "-niter", "0", *channels, *more,
        *map(str, sets),
    )  # fmt: skip


def pixel(path: Path | str, x: int, y: int) -> float:
    """Return one pixel of an image, counted from its centre."""
    return float(fits.getdata(path)[0, 0, NPIX // 2 + y, NPIX // 2 + x])
