"""The shared data sets match their fixtures."""

import os
import subprocess
import sys
from types import SimpleNamespace

import casacore.tables
import numpy as np
import pytest

from twin_sets import JY_PER_UNIT


@pytest.mark.parametrize("name", ["hba_set", "hba_set_generic", "dish_set"])
def test_fixture_is_measurement_set(name, request):
    path = request.getfixturevalue(name)
    assert path.suffix == ".MS"
    assert (path / "table.dat").is_file()
    assert (path / "ANTENNA").is_dir()


def test_only_lofar_set_has_beam_tables(hba_set, dish_set):
    assert (hba_set / "LOFAR_ANTENNA_FIELD").is_dir()
    assert not (dish_set / "LOFAR_ANTENNA_FIELD").exists()


def test_set_is_unpacked_once(shared_set, hba_set):
    assert shared_set("tDDECal.in_MS.tgz") == hba_set


def test_twins_replace_absent_sets(tmp_path, repository):
    tests = "tests/test_shared_data.py::test_fixture_is_measurement_set"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "-rs", tests]
    environment = {**os.environ, "LOFARPIPE_TEST_SETS": str(tmp_path)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert "3 passed" in done.stdout, done.stdout


def test_twin_has_raw_and_calibrated_data(hba_twin):
    assert (hba_twin / "LOFAR_ANTENNA_FIELD").is_dir()
    with casacore.tables.table(str(hba_twin), ack=False) as main_table:
        raw, calibrated = main_table.getcol("DATA"), main_table.getcol("foursources_DATA")
        assert main_table.getcol("FLAG").mean() == pytest.approx(52 / 168)
    assert np.allclose(raw * JY_PER_UNIT, calibrated)
    assert np.abs(calibrated).max() > 1


def test_absent_archive_skips_with_reason(shared_set):
    with pytest.raises(pytest.skip.Exception, match=r"nothing\.tgz is not there; this test needs real data"):
        shared_set("nothing.tgz")


def test_last_line_counts_skipped_tests(request: pytest.FixtureRequest) -> None:
    (conftest,) = (one for one in request.config.pluginmanager.get_plugins() if hasattr(one, "IDG_BUILD"))
    lines: list[str] = []
    skipped = [
        SimpleNamespace(longrepr=("f.py", 1, f"Skipped: {reason}")) for reason in ("no sshd", "no data", "no data")
    ]
    reporter = SimpleNamespace(stats={"skipped": skipped}, write_line=lines.append)
    plugins = SimpleNamespace(get_plugin=lambda name: reporter)
    conftest.pytest_unconfigure(SimpleNamespace(pluginmanager=plugins))
    assert lines == ["3 tests were skipped: 2 because no data; 1 because no sshd"]
    conftest.pytest_unconfigure(SimpleNamespace(pluginmanager=plugins, workerinput={}))
    assert len(lines) == 1
