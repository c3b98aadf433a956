"""One tiny observation per session, made by the real DP3; and the script that makes it."""

import pytest

from loading import load_script

pytest.importorskip("lofarantpos", reason="station positions are needed: pip install lofarantpos")

TINY = {
    "seed": "7",
    "nstations": "6",
    "nsubbands": "2",
    "nchannels": "2",
    "nblocks": "2",
    "slots_per_block": "4",
    "span_s": "3600",
    "nsources": "3",
}


@pytest.fixture(scope="session")
def script():
    return load_script("simulate_observation")


@pytest.fixture(scope="session")
def tiny():
    return dict(TINY)


@pytest.fixture(scope="session")
def tiny_observation(script, tmp_path_factory):
    """Directory of an observation with beam and noise: 2 blocks, 2 subbands. Shared: do not change it."""
    directory = tmp_path_factory.mktemp("tiny_observation")
    script.main(str(directory), **TINY)
    return directory


@pytest.fixture(scope="session")
def silent_observation(script, tmp_path_factory):
    """Directory of one set without beam, noise and flags: nothing but the sky. Shared: do not change it."""
    directory = tmp_path_factory.mktemp("silent_observation")
    quiet = {"nsubbands": "1", "nblocks": "1", "noise_scale": "0", "flagged_fraction": "0"}
    script.main(str(directory), beam="False", **TINY | quiet)
    return directory
