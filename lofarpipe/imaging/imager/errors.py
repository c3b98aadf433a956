"""The error of the imager."""

from __future__ import annotations

from lofarpipe.errors import PipelineError


class ImagerError(PipelineError):
    """The requested image cannot be made; the message names the setting or set, and the remedy."""
