"""Stations from lofarantpos against real measurement sets."""

import sys

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.stations import load_stations, station_names

# As LOFAR wrote them into a set of 2013: DISH_DIAMETER and position in m, and of two stations the first tile, the
# last of its dipoles and the tiles that HBA_DUAL_INNER uses.
WRITTEN_BY_LOFAR = {
    "CS001HBA0": (31.2625, (3826896.23, 460979.46, 5064658.20)),
    "CS002HBA0": (31.2609, (3826600.96, 460953.40, 5064881.14)),
    "CS002HBA1": (31.2600, (3826565.59, 460958.11, 5064907.26)),
    "CS004HBA1": (31.2611, (3826579.49, 460917.48, 5064900.50)),
    "RS106HBA": (31.2612, (3829205.60, 469142.53, 5062181.00)),
    "RS208HBA": (31.2614, (3847753.31, 466962.81, 5048397.24)),
    "RS305HBA": (31.2613, (3828732.72, 454692.42, 5063850.33)),
    "RS307HBA": (31.2611, (3837964.52, 449627.26, 5057357.58)),
}
AXES = [[-0.119595, 0.992823, 3.3e-05], [-0.791954, -0.095419, 0.603078], [0.598753, 0.072099, 0.797682]]
TILES_OF_LOFAR = {
    "CS002HBA0": ([-8.908, 7.549, 6.005], [2.123, -0.070, -1.587], {*range(24)}),
    "RS208HBA": (
        [-15.254, -3.628, 11.778],
        [1.727, 1.421, -1.425],
        {5, 6, 10, 11, 12, 13, 17, 18, 19, 20, 21, 22, 25, 26, 27, 28, 29, 30, 34, 35, 36, 37, 41, 42},
    ),
}


def test_few_stations_reach_from_core_to_remote():
    assert station_names(3) == ["CS001HBA0", "CS103HBA0", "RS509HBA"]
    assert len(set(station_names(38))) == 38
    assert sum(name.startswith("RS") for name in station_names(38)) == 14


def test_all_stations_have_both_fields():
    names = station_names(62)
    assert len(set(names)) == 62
    assert {"CS001HBA0", "CS001HBA1", "RS106HBA"} <= set(names)


@pytest.mark.parametrize("count", [1, 63])
def test_impossible_number_of_stations_is_refused(count):
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


def test_station_names_are_split():
    station = load_stations(2, "HBA_DUAL")[0]
    assert (station.name, station.family, station.field) == ("CS001HBA0", "CS001", "HBA0")


def test_stations_equal_recorded_set(hba_set_generic):
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


def test_stations_equal_lofar_records():
    ours = {station.name: station for station in load_stations(62, "HBA_DUAL_INNER")}
    for name, (diameter_m, position_m) in WRITTEN_BY_LOFAR.items():
        assert ours[name].diameter_m == pytest.approx(diameter_m, abs=2e-3)
        assert ours[name].position_m == pytest.approx(position_m, abs=0.5)
    for name, (tile_m, dipole_m, in_use) in TILES_OF_LOFAR.items():
        assert ours[name].axes == pytest.approx(np.array(AXES), abs=2e-6)
        assert ours[name].tiles_m[0] == pytest.approx(tile_m, abs=1e-3)
        assert ours[name].dipoles_m[15] == pytest.approx(dipole_m, abs=2e-3)
        assert {*np.flatnonzero(~ours[name].tile_unused)} == in_use


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lofarantpos.db", None)
    with pytest.raises(PipelineError, match=r"pip install 'lofarantpos>=0.8'"):
        load_stations(2, "HBA_DUAL")
