"""Solution files: round trips in the layout of DP3."""

import builtins

import numpy as np
import pytest

from lofarpipe.imaging.calibration.h5parm import (
    H5parmError,
    SolutionTable,
    complex_gains,
    gain_tables,
    read_h5parm,
    write_h5parm,
)

h5py = pytest.importorskip("h5py", reason="h5py, of the extra ata, is not installed")
AXES = {"time": [5.0e9], "freq": [1e9, 2e9], "ant": ["1a", "2b", "5c"], "pol": ["XX", "YY"]}


def test_gains_survive_a_round_trip(tmp_path):
    gains = np.array([1 + 1j, 2, -3j]).reshape(1, 1, 3, 1) * np.ones((1, 2, 3, 2))
    gains[0, 1, 2, 0] = np.nan
    write_h5parm(tmp_path / "new" / "a.h5", gain_tables(gains, AXES), dict.fromkeys(AXES["ant"], (1.0, 2.0, 3.0)))
    found, axes = complex_gains(read_h5parm(tmp_path / "new" / "a.h5"))
    assert np.allclose(found, gains, equal_nan=True)
    assert axes["ant"] == AXES["ant"]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.h5"]


def test_names_are_wider_than_the_longest(tmp_path):
    table = SolutionTable("clock000", {"ant": ["1a"], "pol": ["XX"]}, np.zeros((1, 1)), np.ones((1, 1)))
    write_h5parm(tmp_path / "a.h5", [table], {"1a": (0, 0, 0)})
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["sol000/clock000/ant"].dtype == "S16"
        assert file["sol000/antenna"].dtype["name"] == "S16"
        assert file["sol000/clock000"].attrs["TITLE"] == b"clock"
        assert file["sol000/clock000/val"].attrs["AXES"] == b"ant,pol"


def test_axes_are_reordered():
    table = SolutionTable("phase000", AXES, np.arange(12.0).reshape(1, 2, 3, 2), np.ones((1, 2, 3, 2)))
    values, weights = table.arranged("ant", "pol", "freq")
    assert values.shape == weights.shape == (3, 2, 2)
    assert values[2, 1, 0] == 5


@pytest.mark.parametrize("content", [None, b"no HDF5"])
def test_invalid_h5parm_is_named(tmp_path, content):
    path = tmp_path / "bad.h5"
    if content:
        path.write_bytes(content)
    with pytest.raises(H5parmError, match=r"bad\.h5: cannot be read as an H5parm"):
        read_h5parm(path)


def test_missing_h5py_names_the_package(tmp_path, monkeypatch):
    load = builtins.__import__

    def without(name, *arguments, **keywords):
        if name == "h5py":
            raise ImportError("no h5py")
        return load(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(H5parmError, match=r"pip install 'genericpipeline\[ata\]'"):
        read_h5parm(tmp_path / "a.h5")
