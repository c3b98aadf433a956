"""Closure phases: gains drop out, structure and noise stay."""

import itertools

import numpy as np
import pytest

from lofarpipe.imaging.calibration.closure import closure_phases_deg

BASELINES = np.array(list(itertools.combinations(range(5), 2)))


def visibilities(structure_rad=0.0):
    """Visibilities (row, chan, pol) of a point with any gains; the phase of one baseline is off."""
    rng = np.random.default_rng(1)
    gains = rng.uniform(0.5, 2, (5, 4, 2)) * np.exp(1j * rng.uniform(-3, 3, (5, 4, 2)))
    values = gains[BASELINES[:, 0]] * np.conj(gains[BASELINES[:, 1]])
    values[0] *= np.exp(1j * structure_rad)
    return values


def test_closure_phases_cancel_gains():
    assert closure_phases_deg(visibilities(), *BASELINES.T, 5) == pytest.approx(np.zeros((10, 2)), abs=1e-9)


def test_structure_affects_only_its_triangles():
    found = closure_phases_deg(visibilities(0.5), *BASELINES.T, 5)
    assert found[:3] == pytest.approx(np.full((3, 2), np.degrees(0.5)))
    assert found[3:] == pytest.approx(np.zeros((7, 2)), abs=1e-9)


def test_flagged_baselines_have_no_closure():
    values = visibilities()
    values[0], values[1, :2] = np.nan, np.nan
    found = closure_phases_deg(values, *BASELINES.T, 5)
    assert np.isnan(found[:3]).all()
    assert found[3:] == pytest.approx(np.zeros((7, 2)), abs=1e-9)
