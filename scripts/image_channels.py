#!/usr/bin/env python3
"""Make the images of a batch of output channels: read once to scratch, imaged at all robust values, copied out."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from lofarpipe.imaging.scripts import as_boolean, as_number

OUTPUTS = ("images",)  # numbers of new, kept and blank images


def main(
    batch: str,
    plan: str,
    run: str,
    work: str,
    scratch_dir: str,
    slots_dir: str,
    io_slots: str = "2",
    memory_gb: str = "0",
    tolerant: str = "True",
) -> dict[str, str]:
    """Make the images of a batch; ``batch`` begins with its number in ``plan``.

    Parameters
    ----------
    run: job directory of the run, for the marker of scratch directories.
    work: where records of channels and nodes go, seen by all jobs.
    memory_gb: memory of this job; 0 for a share proportional to its cores.
    slots_dir, io_slots: directory of the throttle, and how many jobs may read at the same time.

    Raises
    ------
    PipelineError
        If the batch fails; the message names the directory of its data.
    """
    from lofarpipe.jobs import Resources
    from lofarpipe.programs.channel_batch import BatchSettings, ChannelBatch

    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # slots and scratch are given back
    cores = int(os.environ.get("OMP_NUM_THREADS") or 1)
    given = Resources(cores, as_number("memory_gb", memory_gb, 0) or _share_gb(cores))
    settings = BatchSettings(
        plan=json.loads(Path(plan).read_text(encoding="utf-8")),
        run=run,
        work=Path(work),
        scratch_dir=Path(scratch_dir),
        slots_dir=Path(slots_dir),
        io_slots=int(as_number("io_slots", io_slots, 1)),
        share=given,
        tolerant=as_boolean("tolerant", tolerant),
    )
    counts = ChannelBatch(settings, int(batch.split("_")[0])).run()
    return {"images": ", ".join(f"{number} {what}" for what, number in counts.items())}


def _share_gb(cores: int) -> float:
    """Return the memory of this job, 10^9 bytes: the queue's limit, else a share proportional to its cores."""
    if os.environ.get("SLURM_MEM_PER_NODE", "").isdecimal():
        return int(os.environ["SLURM_MEM_PER_NODE"]) * 2**20 / 1e9
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return memory_gb * min(1.0, cores / (os.cpu_count() or 1))
