"""The applied beam of sets: keywords as DP3 writes them, and the remaining correction."""

import math
import shutil

import casacore.tables as ct
import numpy as np
import pytest
from astropy.io import fits

from beam_sky import MAX_LAMBDA, MIN_LAMBDA, PADDING, image, pixel, put_source
from lofarpipe.imaging.beam.applied import AppliedBeam, imaged_column, read_applied_beam
from lofarpipe.imaging.beam.station import StationBeams, make_grid
from lofarpipe.imaging.ms.inputs import check_sets
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.ms.tables import MeasurementSetError
from lofarpipe.programs.wsclean.beam_images import BeamRequest, write_beam_images
from lofarpipe.programs.wsclean.beams import products_by_header
from small_sets import SetShape, make_set

PLACE = (-100, 130)
CENTRE_RAD = (1.0, 0.9)


def set_keywords(path, mode, direction_rad=CENTRE_RAD, frame="J2000", column="DATA"):
    """Write the keywords of a corrected column, as DP3 does."""
    ra, dec = ({"value": angle, "unit": "rad"} for angle in direction_rad)
    with ct.table(str(path), readonly=False, ack=False) as table:
        table.putcolkeyword(column, "LOFAR_APPLIED_BEAM_MODE", mode)
        direction = {"type": "direction", "refer": frame, "m0": ra, "m1": dec}
        table.putcolkeyword(column, "LOFAR_APPLIED_BEAM_DIR", direction)


@pytest.fixture
def plain(tmp_path):
    return make_set(tmp_path / "plain.MS", SetShape(nantennas=4, ntimes=3), with_data=True)


ALIKE = {"Full": ("full", "DEFAULT"), "ArrayFactor": ("arrayfactor", "array_factor"), "Element": ("ELEMENT",)}
ALIKE |= {"None": ("none", "NONE")}


@pytest.mark.parametrize(("text", "mode"), [(text, mode) for mode, texts in ALIKE.items() for text in (mode, *texts)])
def test_modes_ignore_letter_case(text, mode, plain):
    set_keywords(plain, text)
    assert read_applied_beam(plain) == AppliedBeam("DATA", mode, None if mode == "None" else CENTRE_RAD)


def test_missing_keywords_count_as_corrected(plain):
    applied = read_applied_beam(plain)
    assert applied == AppliedBeam("DATA", "")
    assert applied.is_complete_at(CENTRE_RAD)
    assert "assumed" in applied.reference
    assert str(applied) == "absent"


def test_unknown_mode_is_a_finding(plain):
    set_keywords(plain, "Tile")
    with pytest.raises(
        MeasurementSetError, match="LOFAR_APPLIED_BEAM_MODE of DATA is 'Tile'; one of Full, ArrayFactor"
    ):
        read_applied_beam(plain)
    assert any("is 'Tile'" in finding for finding in check_sets([plain], "DATA")[1])


def test_correction_without_a_direction_is_a_finding(plain):
    with ct.table(str(plain), readonly=False, ack=False) as table:
        table.putcolkeyword("DATA", "LOFAR_APPLIED_BEAM_MODE", "Full")
    with pytest.raises(
        MeasurementSetError, match="DATA is Full, and it has no LOFAR_APPLIED_BEAM_DIR, as EveryBeam needs"
    ):
        read_applied_beam(plain)
    with ct.table(str(plain), readonly=False, ack=False) as table:
        table.putcolkeyword("DATA", "LOFAR_APPLIED_BEAM_MODE", "None")
    assert read_applied_beam(plain).mode == "None"


def test_topocentric_direction_is_ignored(plain):
    set_keywords(plain, "Full", frame="AZELGEO")
    assert read_applied_beam(plain).direction_rad is None
    with ct.table(plain, readonly=False, ack=False) as table:
        table.putcolkeyword("DATA", "LOFAR_APPLIED_BEAM_DIR", {"refer": "J2000"})
    assert read_applied_beam(plain).direction_rad is None


def test_direction_is_read_in_fixed_frames(plain):
    set_keywords(plain, "Full")
    with ct.table(plain, readonly=False, ack=False) as table:
        ra, dec = ({"value": math.degrees(angle), "unit": "deg"} for angle in CENTRE_RAD)
        direction = {"type": "direction", "refer": "J2000", "m0": ra, "m1": dec}
        table.putcolkeyword("DATA", "LOFAR_APPLIED_BEAM_DIR", direction)
    assert read_applied_beam(plain).is_complete_at(CENTRE_RAD)
    set_keywords(plain, "Full", frame="ICRS")
    assert read_applied_beam(plain).is_complete_at(CENTRE_RAD)
    set_keywords(plain, "Full", frame="B1950")
    assert not read_applied_beam(plain).is_complete_at(CENTRE_RAD)


def test_distant_correction_is_incomplete_at_centre():
    there = AppliedBeam("DATA", "Full", (CENTRE_RAD[0], CENTRE_RAD[1] + math.radians(0.5)))
    assert not there.is_complete_at(CENTRE_RAD)
    assert not AppliedBeam("DATA", "Element", CENTRE_RAD).is_complete_at(CENTRE_RAD)


def test_wsclean_images_the_corrected_column():
    assert imaged_column(["DATA", "CORRECTED_DATA"]) == "CORRECTED_DATA"
    assert imaged_column(["DATA", "MODEL_DATA"]) == "DATA"


@pytest.mark.parametrize("other", [("None", CENTRE_RAD), ("Full", (1.0, 0.89)), ("", None)])
def test_inconsistent_sets_are_refused_once(other, tmp_path):
    paths = []
    for number in range(4):
        shape = SetShape(nantennas=4, ntimes=3, first_channel_hz=140e6 + 1e6 * number)
        paths.append(make_set(tmp_path / f"SB{number}.MS", shape, with_data=True))
        if number < 2 or other[0]:
            set_keywords(paths[-1], *(("Full", CENTRE_RAD) if number < 2 else other))
    findings = [line for line in check_sets(paths, "DATA")[1] if "BEAM_MODE" in line]
    assert len(findings) == 1
    assert findings[0].startswith(paths[2])
    assert "(and 1 other: SB3.MS)" in findings[0]
    assert f"Full at 57.2958, 51.5662 deg in {paths[0]}" in findings[0]


def test_mode_determines_missing_correction(hba_set, tmp_path):
    path = tmp_path / "set.MS"
    shutil.copytree(hba_set, path)
    metadata = read_metadata(str(path))
    grid = make_grid(metadata.phase_centre_rad, 0.05, 0.05, 134.375e6)
    weights, centre = np.triu(np.ones((8, 8)), 1), grid.nodes // 2
    found = {}
    for mode in ("Full", "ArrayFactor", "Element", "None"):
        set_keywords(path, mode, metadata.phase_centre_rad)
        power = StationBeams(str(path)).power(grid, metadata.start_s, 134.375e6, weights)
        found[mode] = power[centre, centre], power[centre, centre + 4]
    assert found["Full"][0] == pytest.approx(1, abs=1e-5)
    assert found["Element"][0] == pytest.approx(1, abs=0.01)  # the array factor, where the stations look
    assert found["None"][0] < 0.95
    assert found["ArrayFactor"][0] == pytest.approx(found["None"][0], rel=0.01)
    assert [off / at for at, off in found.values()] == pytest.approx([found["Full"][1]] * 4, rel=0.05)


@pytest.mark.parametrize("corrected", ["none", "array_factor", "element"])
def test_missing_correction_is_divided_out(corrected, hba_set, tmp_path):
    path = tmp_path / "set.MS"
    shutil.copytree(hba_set, path)
    with ct.table(str(path), readonly=False, ack=False) as table:  # as in every set that was stored with Dysco
        weights = table.getcol("WEIGHT_SPECTRUM")
        table.putcol("WEIGHT_SPECTRUM", np.broadcast_to(weights[..., :1], weights.shape).copy())
    put_source(path, *PLACE, corrected=corrected)
    image([path], tmp_path / "one", [])
    request = BeamRequest([read_metadata(str(path))], 0.0, PADDING, MIN_LAMBDA, MAX_LAMBDA)
    written = write_beam_images(f"{tmp_path}/one", products_by_header(f"{tmp_path}/one"), request)
    assert pixel(written.image_pb, *PLACE) == pytest.approx(1, rel=0.005)
    assert ("corrected for" in written.detail) == (corrected != "full")
    centre = pixel(written.beam, 0, 0)
    assert "the image is divided by" in written.warnings[0]
    assert (centre > 0.98) == (corrected == "element")
    assert fits.getval(written.image_pb, "PBCUT") == pytest.approx(0.005 * centre, rel=1e-3)
