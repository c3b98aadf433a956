"""The version of the feedback of the last LOFAR release, for scripts that write it. Source: LOFAR 3.1, feedback."""

from __future__ import annotations

MAJOR_VERSION, MINOR_VERSION, PATCH_NUMBER = 3, 1, 0
VERSION = f"{MAJOR_VERSION:02d}.{MINOR_VERSION:02d}.{PATCH_NUMBER:02d}"
