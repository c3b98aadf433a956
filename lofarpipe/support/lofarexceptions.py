"""The exceptions that third-party plugins and scripts import by name, and their base classes."""

# ruff: noqa: N818 - the names are historical
from __future__ import annotations

from lofarpipe.errors import PipelineError


class PipelineException(PipelineError):
    """The pipeline cannot go on."""


class PipelineRecipeFailed(PipelineException):
    """A step failed."""


class PipelineQuit(PipelineException):
    """The pipeline was asked to stop."""


class ClusterError(PipelineException):
    """The machines that should do the work cannot be used."""


class ExecutableMissing(PipelineException):
    """A program is not installed, or may not be executed."""


class DataMapError(PipelineException):
    """A mapfile, or the data for one, does not describe data products."""


class MapFileError(DataMapError, OSError):
    """A mapfile cannot be read or written; ``errno`` and ``filename`` are as in an OSError."""

    def __init__(self, text: str, cause: OSError) -> None:
        super().__init__(text)
        self.errno, self.filename = cause.errno, cause.filename

    def __str__(self) -> str:
        return str(self.args[0])  # OSError would show number and name


class MapSyntaxError(DataMapError, SyntaxError):
    """The text of a mapfile, where to evaluate it would be a SyntaxError."""


class MapNameError(DataMapError, NameError):
    """The text of a mapfile, where to evaluate it would be a NameError: names without quotes."""
