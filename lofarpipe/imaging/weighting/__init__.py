"""Imaging weights, uv density and noise."""
