"""Concurrent programs, for scripts that start several and wait for all."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from lofarpipe.support.lofarexceptions import PipelineException
from lofarpipe.support.pipelinelogging import log_process_output

Directory = str | os.PathLike[str] | None


class SubProcessGroup:
    """Runs programs, at most ``max_concurrent_processes`` at a time; their output goes to a logger, if there is one.

    ``usageStats``, ``polling_interval`` and ``killSwitch`` are accepted, and have no effect.
    """

    def __init__(
        self,
        logger: Any = None,
        usageStats: Any = None,  # noqa: ARG002, N803 - the names are historical
        max_concurrent_processes: int = 8,
        polling_interval: float = 10,  # noqa: ARG002
        killSwitch: Any = None,  # noqa: ARG002, N803
    ) -> None:
        self.logger = logger
        self._pool = ThreadPoolExecutor(max_concurrent_processes)
        self._started: list[tuple[list[str], Future[subprocess.CompletedProcess[str]]]] = []

    def run(self, cmd_in: str | Sequence[str], unsave: bool = False, cwd: Directory = None) -> None:  # noqa: ARG002
        """Start a program: a list of words, or a text split at spaces.

        Raises
        ------
        PipelineException
            If it is neither.
        """
        if not isinstance(cmd_in, str | list | tuple):
            raise PipelineException(f"a program is a text or a list of words; {cmd_in!r} is neither")
        words = cmd_in.split() if isinstance(cmd_in, str) else list(cmd_in)
        self._started.append((words, self._pool.submit(_run, words, cwd)))

    def wait_for_finish(self) -> list[tuple[list[str], int]] | None:
        """Wait for all; return the failed programs, each with its exit status, or None.

        Raises
        ------
        OSError
            If one cannot be started.
        """
        failed = []
        for words, future in self._started:
            done = future.result()
            if self.logger is not None:
                log_process_output(words[0], done.stdout, done.stderr, self.logger)
            if done.returncode:
                failed.append((words, done.returncode))
        self._started.clear()
        return failed or None


def _run(words: list[str], cwd: Directory) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
