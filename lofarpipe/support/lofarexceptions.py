"""The exceptions that third-party plugins and scripts import by name."""

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
