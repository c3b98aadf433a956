"""Rounds of self-calibration: solutions, the end, the best round."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.ata import selfcal
from lofarpipe.imaging.ata.averaged import facts_path, verify_averaged
from lofarpipe.imaging.ata.images import Images, write_plan
from lofarpipe.imaging.ata.selfcal import (
    Round,
    all_targets_stopped,
    best_round,
    brightest_source,
    image_round,
    is_better,
    read_rounds,
    record_path,
    round_rows,
    solving_mode,
    stop_reason,
    sure_sources,
    write_rounds,
)
from lofarpipe.imaging.ata.session import SessionOptions, read_session
from lofarpipe.imaging.ata.uvh5 import read_scan
from made_images import write_image


def made_round(number: int, peak_jy: float, dynamic_range: float) -> Round:
    return Round(number, "scalarphase", 0, peak_jy, peak_jy / dynamic_range, dynamic_range, 0.1, "x.fits")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, ("scalarphase", 16)),
        (2, ("scalarphase", 8)),
        (3, ("scalarphase", 4)),
        (4, ("scalarphase", 2)),
        (5, ("diagonal", 16)),
    ],
)
def test_intervals_are_halved_and_amplitudes_come_last(number, expected):
    assert solving_mode(number, 16) == expected


@pytest.mark.parametrize(
    ("peak", "dynamic_range", "expected"),
    [(1.05, 100, True), (1.0, 104, True), (1.02, 102, False), (1.2, 90, False), (0.9, 200, False)],
)
def test_better_round_improves_peak_or_range(peak, dynamic_range, expected):
    assert is_better(made_round(1, peak, dynamic_range), made_round(0, 1.0, 100)) is expected


def test_rounds_end_with_a_reason():
    rounds = [made_round(0, 1.0, 100), made_round(1, 1.1, 150), made_round(2, 1.11, 152)]
    assert stop_reason(rounds[:1], 6) == stop_reason(rounds[:2], 6) == ""
    assert stop_reason(rounds, 6) == "peak or dynamic range gained less than 3% in round 2"
    assert stop_reason([*rounds[:2], made_round(2, 1.2, 90)], 6) == "peak or dynamic range fell in round 2"
    assert stop_reason(rounds[:2], 2) == "2 rounds were made"
    assert best_round([*rounds[:2], made_round(2, 1.2, 90)]) == 1


def test_noise_is_not_solved():
    assert stop_reason([made_round(0, 0.01, 5)], 6).startswith("nothing is above 6 times the noise")


def test_brightest_source_is_in_the_beam_of_the_dish(tmp_path):
    header = {"CRVAL3": 3e9, "CDELT1": -100 / 3600, "CDELT2": 100 / 3600}
    image = write_image(tmp_path / "i.fits", sky({(60, 70): 0.5, (10, 10): 0.9}), **header)
    inside = brightest_source(str(image))
    assert inside[60, 70]
    assert not inside[10, 10]


@pytest.mark.parametrize(("hole", "number"), [(-0.05, 1), (-0.09, 0)])
def test_source_is_higher_than_the_deepest_hole(tmp_path, hole, number):
    residual = write_image(tmp_path / "r.fits", sky({(60, 70): 0.1, (80, 20): hole}))
    assert sure_sources(str(residual)).sum() == number


def test_rounds_of_earlier_run_are_ignored(tmp_path):
    rounds = [made_round(0, 1.0, 100), dataclasses.replace(made_round(1, 1.1, 150), solutions=("a.h5",))]
    write_rounds(tmp_path / "s.json", rounds, "why")
    assert read_rounds(tmp_path / "s.json", 2) == rounds
    assert read_rounds(tmp_path / "s.json", 1) == rounds[:1]
    assert read_rounds(tmp_path / "none.json", 3) == []
    entry = json.loads((tmp_path / "s.json").read_text())
    assert (entry["best_round"], entry["stop_reason"]) == (1, "why")
    assert "positions may have shifted" in entry["warning"]


@pytest.fixture(scope="module")
def session(made, tmp_path_factory):
    """A session of which the target's scan was read; its averaged and calibrated sets are the full one."""
    described = read_session(made.directory, tmp_path_factory.mktemp("out"), SessionOptions(tunings=("b",)))
    scan = described.scans_of("target")[0]
    full = Path(described.set_path(scan, "b"))
    notes = read_scan(Path(scan.folder), "b", full, facts_path(full))
    for ending in ("_averaged", "_calibrated", "_selfcal1"):
        shutil.copytree(full, described.set_path(scan, "b", ending))
    verify_averaged(described.set_path(scan, "b", "_averaged"), notes, 1, 1)
    record = record_path(described, "SWIFT_J1727", "")
    record.parent.mkdir(parents=True)
    dirty = write_image(record.parent / "dirty-image.fits", sky({(64, 64): 1.0}))
    rounds = [{"islands": 2, "dirty": str(dirty)}]
    write_plan(record.parent, {"root": "r", "cell_arcsec": 10.0, "size": 128, "rounds": rounds})
    return described


def sky(pixels):
    """Noise of 1 mJy with some pixels of other values."""
    plane = np.random.default_rng(1).normal(0, 1e-3, (128, 128))
    for place, value in pixels.items():
        plane[place] = value
    return plane


def masked(path):
    return fits.getdata(path).squeeze() > 0


def make_imager(peak_jy, *left):
    """Return an imager of images with a peak, and in the residual of each the next one of some pixels."""
    cleans = iter(left)

    def imager(sets):
        assert all(Path(ms).is_dir() for ms in sets)

        def image(root, grid, cleaning):
            assert cleaning.mask == f"{root}_mask.fits"
            assert masked(cleaning.mask)[64, 64]
            write_image(Path(f"{root}-image.fits"), sky({(64, 64): peak_jy}))
            write_image(Path(f"{root}-residual.fits"), sky(next(cleans, {})))
            return Images(f"{root}-image.fits", f"{root}-residual.fits", "")

        return image

    return imager


def test_rounds_are_recorded_until_they_end(session):
    scan = session.scans_of("target")[0]
    present = {session.set_path(scan, "b", "_calibrated")}
    path = record_path(session, "SWIFT_J1727", "")
    assert round_rows(session, present, 0, 6, "{}-sources.txt".format) == []
    first = image_round(session, "SWIFT_J1727", 0, 6, present, make_imager(1.0))[str(path)]
    assert (first[0].mode, first[0].flagged_fraction) == ("", pytest.approx(0.14, abs=0.05))
    assert not all_targets_stopped(session, 0, 6)
    (row,) = round_rows(session, present, 1, 6, "{}-sources.txt".format)
    assert row[0] in present
    assert row[1] == f"{path.parent}/selfcal/round0-sources.txt"
    assert row[2].endswith("_b_selfcal1.h5")
    assert row[4:] == ("scalarphase", "10")
    assert masked(path.parent / "selfcal" / "round0_mask.fits").sum() < 120
    found = {(90, 64): 0.2, (30, 30): -0.1}
    second = image_round(session, "SWIFT_J1727", 1, 6, present, make_imager(1.01, found))[str(path)]
    assert masked(path.parent / "selfcal" / "round1_mask.fits")[90, 64]
    assert [one.number for one in second] == [0, 1]
    assert second[1].solutions == (row[2],)
    assert all_targets_stopped(session, 1, 6)
    assert round_rows(session, present, 2, 6, str) == []
    assert image_round(session, "SWIFT_J1727", 2, 6, present, make_imager(9.0))[str(path)] == second
    assert selfcal.read_rounds(path, 9) == second
