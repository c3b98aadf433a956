"""The observation report: its numbers, its page."""

import dataclasses
import json
from pathlib import Path

import pytest

from lofarpipe.imaging.ata.averaged import facts_path, verify_averaged
from lofarpipe.imaging.ata.observation import (
    beam_warnings,
    observation_of,
    observation_page,
    page_content,
    write_report,
)
from lofarpipe.imaging.ata.session import SessionOptions, read_session
from lofarpipe.imaging.ata.uvh5 import read_scan
from made_images import BEAM_DEG, write_image


@pytest.fixture(scope="module")
def session(made, tmp_path_factory):
    """A session of which the scans of two fields were read."""
    described = read_session(made.directory, tmp_path_factory.mktemp("out"), SessionOptions(tunings=("b",)))
    for scan in described.scans[:2]:
        ms = Path(described.set_path(scan, "b", "_averaged"))
        verify_averaged(str(ms), read_scan(Path(scan.folder), "b", ms, facts_path(described.set_path(scan, "b"))), 1, 1)
    return described


def test_observation_has_numbers_of_its_scans(session):
    fields = observation_of(session)["fields"]
    assert list(fields) == ["3c286", "1733-130", "SWIFT_J1727"]
    assert (fields["3c286"]["scans"], fields["3c286"]["minutes"]) == (1, pytest.approx(8 * 5 / 60, abs=0.01))
    assert 57 < fields["3c286"]["elevation_deg"][0] < fields["3c286"]["elevation_deg"][1] < 59
    shortest_m, longest_m = fields["3c286"]["uv_m"]
    assert 0 < shortest_m < longest_m < 430
    # lambda at 3.0075 GHz is 0.09968 m
    assert fields["3c286"]["resolution_arcsec"] == pytest.approx(206265 * 0.09968 / longest_m, rel=1e-3)
    assert fields["3c286"]["largest_scale_arcmin"] == pytest.approx(206265 * 0.09968 / shortest_m / 60, rel=1e-3)
    assert fields["SWIFT_J1727"]["flagged_fraction"] == 1.0


def test_low_fields_and_long_beams_warn(session):
    low = dataclasses.replace(session.scans[0], direction_rad=(3.5, -0.7))
    warnings = observation_of(dataclasses.replace(session, scans=(low, *session.scans[1:])))["warnings"]
    assert any("elevation goes down" in line for line in warnings)
    place = Path(session.outdir, "IMAGES", "x")
    place.mkdir(parents=True)
    write_image(place / "x_dirty-image.fits", BMAJ=4 * BEAM_DEG)
    write_image(place / "x_dirty-psf.fits", without=("BMAJ",))
    assert beam_warnings(session) == ["x: the beam is 160 x 40 arcsec; observe at other hour angles"]


def test_page_has_numbers_and_embedded_pictures(session):
    Path(session.outdir, "calibration.json").write_text(
        json.dumps(
            {
                "reference_antenna": "2a",
                "backend": "dp3",
                "problems": ["<odd>"],
                "scans_left_out": [{"folder": "f", "reason": "old"}],
                "tunings": {
                    "b": {
                        "phasecal_jy": 4.2,
                        "bandpass_outliers": ["5c"],
                        "bandpass_deviation": {"5c": [0.15, 0.02]},
                        "bandpass_period_mhz": {"5c": [6.4, None]},
                    }
                },
            }
        )
    )
    run_file = Path(session.outdir, "s.observation.json")
    text = write_report(session, run_file).read_text()
    content = json.loads(run_file.read_text())
    titles = [title for title, _, _ in content["tables"]]
    assert titles[:2] == ["Fields", "Calibration by dp3, reference antenna 2a"]
    assert content["tables"][2][2] == [["LoB", "5c", "15", "2", "6.4", ""]]
    assert [title for title, _ in content["pictures"]] == ["Fields, elevations and azimuths", "uv coverage"]
    assert "elevation, deg" in content["tables"][0][1]
    assert "&lt;odd&gt;" in text
    assert "http" not in text
    assert all(f'src="plots/{name}.png"' in text for name in ("tracks", "uv_coverage"))
    assert json.loads(Path(session.outdir, "observation.json").read_text())["session"] == session.name


def test_empty_page_contains_none():
    assert "<p>None.</p>" in observation_page(page_content({"session": "s", "warnings": [], "fields": {}}, {}, []))
