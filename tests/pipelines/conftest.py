"""Fixtures of whole pipelines."""

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.programs.find import find


@pytest.fixture(scope="session")
def programs():
    """Skip where DP3 or WSClean is not installed."""
    for name in ("wsclean", "DP3"):
        try:
            find(name)
        except PipelineError as err:
            pytest.skip(str(err))
