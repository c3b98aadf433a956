"""A runner for LOFAR-style generic pipelines, and the imaging pipelines that run on it."""

__version__ = "0.1.0"
