"""Jobs on the hosts of a list, over ssh: workers of Dask, one for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lofarpipe.executors import dask

if TYPE_CHECKING:
    from lofarpipe.config import Settings
    from lofarpipe.jobs import Executor

SECTION, TAKES_OVER, section_type = dask.SECTION, dask.TAKES_OVER, dask.section_type


def make(settings: Settings) -> Executor:
    """Return the executor of Dask with this way to start workers."""
    return dask.make(settings, launcher="ssh")
