"""What users are told, written into the journal as well."""

from __future__ import annotations

from lofarpipe.report.events import Reporter
from lofarpipe.state.history import History


class Journalled(Reporter):
    """Records notices and warnings; the runner itself records all else, with more than reporters hear."""

    def __init__(self, journal: History) -> None:
        self._journal = journal

    def notice(self, text: str) -> None:
        """Record a decision."""
        self._journal.record("notice", text=text)

    def warning(self, text: str) -> None:
        """Record a warning."""
        self._journal.record("warning", text=text)
