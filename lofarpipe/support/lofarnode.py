"""The base of node scripts, importable only; node scripts are not run.

Source: doc/spec/lofarpipe.md, section 5.3.
"""

from __future__ import annotations

import logging
import os
import platform
from typing import Any

from lofarpipe.support.lofarexceptions import PipelineException


class LOFARnode:
    """A piece of work with a logger: ``run`` does it, and puts its results in ``outputs``."""

    def __init__(self, loghost: str | None = None, logport: int | str = 0) -> None:
        self.logger = logging.getLogger(f"node.{platform.node()}.{type(self).__name__}")
        self.loghost, self.logport = loghost, int(logport)
        self.outputs: dict[str, Any] = {}
        self.environment = os.environ

    def run_with_logging(self, *args: Any) -> Any:
        """Return the result of ``run``; it logs to the log of the process."""
        return self.run(*args)

    def run(self, *args: Any) -> Any:
        """Do the work; each script defines it."""
        raise NotImplementedError(f"{type(self).__name__} does not define run")


class LOFARnodeTCP(LOFARnode):
    """A node script with arguments from the engine, which this engine does not send.

    Raises
    ------
    PipelineException
        When it is made.
    """

    def __init__(self, job_id: object, host: object, port: object) -> None:
        raise PipelineException(
            f"{type(self).__name__}: node script for job {job_id} at {host}:{port}; there is no such server here. "
            "Write main(...) instead of run(self, ...), and call it with nodescript = python_plugin"
        )
