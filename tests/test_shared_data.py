"""The shared data sets are what their fixtures say."""

import pytest


@pytest.mark.parametrize("name", ["hba_set", "hba_set_generic", "dish_set"])
def test_fixture_is_a_measurement_set(name, request):
    path = request.getfixturevalue(name)
    assert path.suffix == ".MS"
    assert (path / "table.dat").is_file()
    assert (path / "ANTENNA").is_dir()


def test_sets_with_and_without_beam_tables(hba_set, dish_set):
    assert (hba_set / "LOFAR_ANTENNA_FIELD").is_dir()
    assert not (dish_set / "LOFAR_ANTENNA_FIELD").exists()


def test_set_is_unpacked_once(shared_set, hba_set):
    assert shared_set("tDDECal.in_MS.tgz") == hba_set


def test_absent_archive_skips_with_a_reason(shared_set):
    with pytest.raises(pytest.skip.Exception, match=r"nothing\.tgz is not there; this test needs real data"):
        shared_set("nothing.tgz")
