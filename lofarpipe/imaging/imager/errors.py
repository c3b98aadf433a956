"""The error of the imager."""

from __future__ import annotations

from lofarpipe.errors import PipelineError


class ImagerError(PipelineError):
    """An image cannot be made as the settings ask; the message names the setting or set, and the remedy."""
