"""Hundreds of tiny measurement sets, for tests and benchmarks: simulated for each block of time, and linked.

Each set has a subband of its own; everything else that it holds is the same file as in the others of its block.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from casacore.tables import table

REPOSITORY = Path(__file__).resolve().parents[2]
LOWEST_HZ, SUBBAND_HZ = 120.2e6, 195312.5
TINY = ("--nsubbands=1", "--nchannels=1", "--nstations=6", "--slots-per-block=4", "--timestep-s=10", "--nsources=1")
SPAN_S = 3000


def make_many_sets(directory: Path, nsubbands: int, nblocks: int = 1) -> list[Path]:
    """Make sets of ``nsubbands`` adjacent subbands at ``nblocks`` times below a directory; return them."""
    simulated = directory / "simulated"
    script = REPOSITORY / "scripts" / "simulate_observation.py"
    span_s = SPAN_S if nblocks > 1 else 0
    command = [sys.executable, script, simulated, *TINY, f"--nblocks={nblocks}", f"--span-s={span_s}"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    blocks = sorted(simulated.glob("*.MS"))
    assert len(blocks) == nblocks
    return [
        _subband(block, directory / f"L628614_T{number}_SB{subband:03d}.MS", LOWEST_HZ + subband * SUBBAND_HZ)
        for number, block in enumerate(blocks)
        for subband in range(nsubbands)
    ]


def _subband(block: Path, path: Path, frequency_hz: float) -> Path:
    path.mkdir()
    for entry in block.iterdir():
        if entry.name == "SPECTRAL_WINDOW":
            shutil.copytree(entry, path / entry.name)
        elif entry.is_dir():
            (path / entry.name).symlink_to(entry)
        elif entry.name.startswith("table.f"):
            (path / entry.name).hardlink_to(entry)
        else:
            shutil.copy(entry, path / entry.name)
    with table(f"{path}/SPECTRAL_WINDOW", readonly=False, ack=False) as window:
        window.putcell("CHAN_FREQ", 0, [frequency_hz])
        window.putcell("REF_FREQUENCY", 0, frequency_hz)
    return path
