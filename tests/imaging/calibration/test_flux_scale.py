"""The flux scale: its values, its names, and the sky models."""

import math

import pytest

from lofarpipe.imaging.calibration.flux_scale import (
    FluxScaleError,
    flux_scale,
    is_position_name,
    is_primary,
    polarised_stokes,
    primary_calibrator,
    unit_source,
)


@pytest.mark.parametrize(
    ("name", "hz", "jy"), [("3C286", 3.0e9, 9.9085), ("3c286", 3.0155e9, 9.878), ("3C48", 1e9, 21.1495)]
)
def test_fluxes_equal_published_values(name, hz, jy):
    assert primary_calibrator(name).flux_jy(hz) == pytest.approx(jy, rel=1e-4)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("1331+305", "3C286"),
        ("J1331+3030", "3C286"),
        ("0137+331", "3C48"),
        ("0542+498", "3C147"),
        ("0521+166", "3C138"),
        ("1411+522", "3C295"),
    ],
)
def test_aliases_are_found(alias, name):
    assert primary_calibrator(alias).name == name
    assert is_primary(f" {alias.lower()} ")


def test_unknown_source_lists_known_ones():
    with pytest.raises(
        FluxScaleError,
        match=r"'3C287': is not in the scale Perley-Butler 2017, which has 3C286, .*did you mean '3C286'",
    ):
        primary_calibrator("3C287")


def test_scale_has_every_source():
    standard, reference, sources = flux_scale()
    assert standard == "Perley-Butler 2017"
    assert "ApJS 230" in reference
    assert len({source.name for source in sources.values()}) == 10


def test_warnings_name_range_extent_and_variability():
    assert "0.2 to 4 GHz" in primary_calibrator("3C353").warnings(5e9, 6e9)[0]
    assert "extended" in " ".join(primary_calibrator("Cygnus A").warnings(1e9, 2e9))
    assert "varies" in primary_calibrator("3C48").warnings(1e9, 2e9)[0]
    assert primary_calibrator("3C286").warnings(1e9, 2e9) == []


def test_sky_model_has_coefficients_as_logarithmic_index():
    line = primary_calibrator("3C286").sky_model(0.1, -0.05).splitlines()[1]
    assert line.startswith(
        "3C286, POINT, 13:31:08.288, +30.30.32.96, 17.705166, 1.7705166, -0.88525829, 0, 1e9, [-0.4507,"
    )
    assert line.endswith("0.0357], true")


def test_unit_source_is_one_jansky_at_its_place():
    line = unit_source("1733-130", math.radians(263.261274), math.radians(-13.08043)).splitlines()[1]
    assert line == "1733_130, POINT, 17:33:02.705760, -13.04.49.548000, 1, 0, 0, 0, 1e9, [0], true"


def test_polarised_source_raises_one_feed():
    q, u = polarised_stokes(0.095, 33.0, math.radians(33.0))
    assert (q, u) == pytest.approx((0.095, 0.0))
    assert polarised_stokes(0.1, 0.0, math.radians(45.0)) == pytest.approx((0.0, -0.1))


@pytest.mark.parametrize(
    ("name", "expected"), [("1733-130", True), ("J1733-1304", True), ("3c286", False), ("SWIFT_J1727", False)]
)
def test_position_names_are_recognised(name, expected):
    assert is_position_name(name) is expected
