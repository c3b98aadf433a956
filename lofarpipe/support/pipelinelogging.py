"""Logging helpers that third-party scripts import. Source: doc/spec/lofarpipe.md, section 5.3."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

__all__ = ["CatchLog4CPlus", "CatchLog4CXX", "getSearchingLogger", "log_process_output", "log_time"]


def getSearchingLogger(name: str) -> logging.Logger:  # noqa: N802 - the names are historical
    """Return the logger of this name."""
    return logging.getLogger(name)


@contextmanager
def log_time(logger: Any) -> Iterator[None]:
    """Log, as debug, how many seconds the block took, also when it fails."""
    start_s = time.monotonic()
    try:
        yield
    finally:
        logger.debug(f"Total time {time.monotonic() - start_s:.4f} s")


@contextmanager
def CatchLog4CPlus(working_dir: str, logger_name: str, executable_name: str) -> Iterator[logging.Logger]:  # noqa: N802
    """Return a logger for the output of a program; programs now write to the log of their job themselves."""
    logger = logging.getLogger(logger_name)
    logger.debug(f"{executable_name} runs in {working_dir}")
    yield logger


def CatchLog4CXX(working_dir: str, logger_name: str) -> AbstractContextManager[logging.Logger]:  # noqa: N802
    """Return a logger for the output of a program of ASKAP."""
    return CatchLog4CPlus(working_dir, logger_name, "askap")


def log_process_output(process_name: str, sout: str, serr: str, logger: Any) -> None:
    """Log the output of a program: standard output as debug, standard error as warning."""
    if sout:
        logger.debug(f"{process_name} stdout: {sout}")
    if serr:
        logger.warning(f"{process_name} stderr: {serr}")
