"""Stations from lofarantpos against real measurement sets."""

from __future__ import annotations

import sys

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.stations import load_stations, station_names


def test_few_stations_reach_from_core_to_remote():
    assert station_names(3) == ["CS001HBA0", "CS103HBA0", "RS509HBA"]
    assert len(set(station_names(38))) == 38
    assert sum(name.startswith("RS") for name in station_names(38)) == 14


def test_all_stations_have_both_fields():
    names = station_names(62)
    assert len(set(names)) == 62
    assert {"CS001HBA0", "CS001HBA1", "RS106HBA"} <= set(names)


@pytest.mark.parametrize("count", [1, 63])
def test_impossible_number_of_stations(count):
    with pytest.raises(ValueError, match=f"number of stations is {count}; it must be between 2 and 62"):
        station_names(count)


def test_tiles_in_use_depend_on_the_antenna_set():
    def tiles(antenna_set):
        return {station.name: (~station.tile_unused).sum() for station in load_stations(62, antenna_set)}

    inner, dual = tiles("HBA_DUAL_INNER"), tiles("HBA_DUAL")
    assert {inner["CS001HBA0"], inner["CS001HBA1"], inner["RS106HBA"], dual["CS001HBA0"]} == {24}
    assert dual["RS106HBA"] == 48


def test_ears_use_different_tiles():
    unused = {station.name: station.tile_unused for station in load_stations(62, "HBA_DUAL")}
    assert (unused["CS001HBA0"] != unused["CS001HBA1"]).all()


def test_names_are_split():
    station = load_stations(2, "HBA_DUAL")[0]
    assert (station.name, station.family, station.field) == ("CS001HBA0", "CS001", "HBA0")


def test_stations_equal_those_of_a_real_set(hba_set_generic):
    """Axes, tiles, dipoles and DISH_DIAMETER as LOFAR wrote them, to the millimetre that it rounds to."""
    path = str(hba_set_generic)
    ours = {station.name: station for station in load_stations(62, "HBA_DUAL_INNER")}
    with (
        ct.table(f"{path}/ANTENNA", ack=False) as antennas,
        ct.table(f"{path}/LOFAR_ANTENNA_FIELD", ack=False) as fields,
    ):
        for row, name in enumerate(antennas.getcol("NAME")):
            station = ours[name]
            # ETRS and ITRF differ by plate motion: the same half metre for all stations
            assert np.abs(station.position_m - antennas.getcell("POSITION", row)).max() < 0.5
            assert station.diameter_m == pytest.approx(antennas.getcell("DISH_DIAMETER", row), abs=2e-3)
            assert np.abs(station.axes - fields.getcell("COORDINATE_AXES", row)).max() < 2e-6
            assert np.abs(station.tiles_m - fields.getcell("ELEMENT_OFFSET", row)).max() < 1e-3
            theirs = np.sort(fields.getcell("TILE_ELEMENT_OFFSET", row), axis=0)
            assert np.abs(np.sort(station.dipoles_m, axis=0) - theirs).max() < 2e-3


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lofarantpos.db", None)
    with pytest.raises(PipelineError, match=r"pip install 'lofarantpos>=0.8'"):
        load_stations(2, "HBA_DUAL")
