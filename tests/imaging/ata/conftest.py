"""A tiny session, made once."""

import pytest

from ata_session import MadeSession, copied, make_session


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> MadeSession:
    return make_session(tmp_path_factory.mktemp("ata") / "project", dead="5b")


@pytest.fixture
def own(made, tmp_path) -> MadeSession:
    """One that a test may change."""
    return copied(made, tmp_path / "own")
