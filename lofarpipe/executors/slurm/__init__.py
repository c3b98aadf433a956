"""Jobs as Slurm arrays, on nodes with a shared file system."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.errors import PipelineError

if TYPE_CHECKING:
    from lofarpipe.config import Settings
    from lofarpipe.jobs import Executor

SECTION = "slurm"
TAKES_OVER = True


def section_type() -> type:
    """Return the type of the options in section [slurm]."""
    from lofarpipe.executors.slurm.client import SlurmOptions

    return SlurmOptions


def make(settings: Settings) -> Executor:
    """Return an executor, without a call to Slurm."""
    from lofarpipe.executors.factory import orders_directory, section_options
    from lofarpipe.executors.slurm.client import SlurmOptions
    from lofarpipe.executors.slurm.executor import SlurmExecutor

    return SlurmExecutor(section_options(SlurmOptions, settings, SECTION), orders_directory(settings))


def end_earlier(orders: Path) -> None:
    """End jobs of earlier runs in Slurm's queue.

    Raises
    ------
    PipelineError
        If such jobs are possible, and Slurm does not answer.
    """
    from lofarpipe.executors.slurm.arrays import ARRAYS, SlurmQueue, adopt_tasks
    from lofarpipe.executors.slurm.client import SlurmClient, SlurmOptions, SlurmRefused

    arrays, client = orders / ARRAYS, SlurmClient()
    if not any(arrays.glob("*.list")):
        return
    try:
        adopt_tasks(SlurmQueue(arrays, SlurmOptions(), client), client, [])
    except SlurmRefused as err:
        raise PipelineError(
            f"jobs of an earlier run may still be in Slurm's queue, see {arrays}: {err}; run again where Slurm "
            "answers, or make sure that none of them is there and remove that directory"
        ) from err
