"""The imager: ``main`` of genericpipeline."""

from lofarpipe.cli.spice import main

__all__ = ["main"]
