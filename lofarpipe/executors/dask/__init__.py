"""Jobs on Dask workers, started on the nodes by a queue, by ssh or by the site."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from lofarpipe.errors import PipelineError

if TYPE_CHECKING:
    from lofarpipe.config import Settings
    from lofarpipe.jobs import Executor

SECTION = "dask"
TAKES_OVER = True


def section_type() -> type:
    """Return the type of the options in section [dask]."""
    from lofarpipe.executors.dask.cluster import DaskOptions

    return DaskOptions


def make(settings: Settings) -> Executor:
    """Return an executor; no worker is started yet.

    Raises
    ------
    PipelineError
        If Dask is not installed.
    """
    from lofarpipe.executors.dask.cluster import MISSING, DaskOptions
    from lofarpipe.executors.dask.executor import DaskExecutor
    from lofarpipe.executors.factory import orders_directory, section_options

    if importlib.util.find_spec("distributed") is None:
        raise PipelineError(MISSING)
    return DaskExecutor(section_options(DaskOptions, settings, SECTION), orders_directory(settings))
