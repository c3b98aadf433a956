"""Fixtures of the tests of parsets, plugins and tools of the LOFAR engine."""

import re

import pytest

from recording_site import Site


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return Site(tmp_path)


@pytest.fixture
def error(capsys):
    """Return a function that gives stderr so far, on one line."""
    return lambda: re.sub(r"\s+", " ", capsys.readouterr().err)
