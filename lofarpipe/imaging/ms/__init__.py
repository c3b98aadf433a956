"""Measurement sets: metadata, survey, rows, groups of frequencies, uv coverage."""
