"""The part of an executor that tests of jobs do not look at."""

from __future__ import annotations

from lofarpipe.jobs import Resources


class IdleExecutor:
    """An executor of two cores that has nothing to cancel or to close."""

    def capacity(self, partition: str = "") -> Resources:
        return Resources(2, 4.0)

    def cancel(self) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing is kept."""
