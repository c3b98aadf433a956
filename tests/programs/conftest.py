"""The real DP3."""

from dp3_runs import dp3  # noqa: F401 - a fixture
