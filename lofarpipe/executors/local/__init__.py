"""Jobs as children of this process, on this machine: the default method."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lofarpipe.config import Settings
    from lofarpipe.jobs import Executor

SECTION = ""


def make(settings: Settings) -> Executor:
    """Return an executor with the run's share of this machine."""
    from lofarpipe.executors.local.executor import LocalExecutor
    from lofarpipe.executors.local.resources import engine_resources

    share, limit = engine_resources(settings.cores, settings.memory_gb)
    executor = LocalExecutor(share)
    executor.notices += [f"{limit}; --cores and --memory-gb say otherwise"] if limit else []
    return executor
