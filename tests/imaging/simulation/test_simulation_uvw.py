"""Baseline coordinates compared with LOFAR's own."""

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.simulation.stations import itrf_to_j2000, station_uvw_m, uvw_axes


@pytest.mark.parametrize("name", ["tNDPPP-generic.MS.tgz", "tDDECal.in_MS.tgz"])
def test_uvw_equals_recorded_sets_to_millimetre(shared_set, name):
    path = str(shared_set(name))
    with ct.table(path, ack=False) as table, ct.table(f"{path}/ANTENNA", ack=False) as antennas:
        with ct.table(f"{path}/FIELD", ack=False) as field:
            centre_rad = tuple(field.getcell("PHASE_DIR", 0)[0])
        positions_m = antennas.getcol("POSITION")
        times_s, slots = np.unique(table.getcol("TIME"), return_inverse=True)
        uvw_m = station_uvw_m(times_s, positions_m, positions_m[0], centre_rad)
        ours = uvw_m[slots, table.getcol("ANTENNA2")] - uvw_m[slots, table.getcol("ANTENNA1")]
        assert np.abs(table.getcol("UVW")).max() > 20e3  # a baseline of tens of kilometres is among them
        assert np.abs(ours - table.getcol("UVW")).max() < 1e-3


def test_axes_at_origin_are_cartesian():
    assert uvw_axes((0.0, 0.0)) == pytest.approx(np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]]))


def test_axes_are_orthonormal():
    axes = uvw_axes((1.2, 0.7))
    assert axes @ axes.T == pytest.approx(np.eye(3))


def test_conversion_preserves_lengths_and_rotates():
    reference_m = np.array([3826577.0, 461022.9, 5064892.8])
    now, later = (itrf_to_j2000(time_s, reference_m, (3.8, 0.8)) for time_s in (5e9, 5e9 + 86164.0905 / 2))
    # Lengths to 1e-4: the conversion includes aberration.
    assert now.T @ now == pytest.approx(np.eye(3), abs=3e-4)
    # Half a sidereal day later everything across the axis has turned round, but for aberration and precession.
    assert later[:2, :2] == pytest.approx(-now[:2, :2], abs=1e-2)
    assert later[2, 2] == pytest.approx(now[2, 2], abs=1e-2)
