"""Round trips of the truth, and refused files."""

import json

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.sky import Source, Truth, read_truth, write_truth
from lofarpipe.imaging.simulation.stations import ObservationSettings

TRUTH = Truth(
    ObservationSettings(nsubbands=1), (Source("a", 1.5, 2.5, 3.5, -0.5),), ("/x/a.MS",), True, {"CS001": (9.0,)}
)


def test_truth_survives_a_round_trip(tmp_path):
    write_truth(tmp_path / "truth.json", TRUTH)
    assert read_truth(tmp_path / "truth.json") == TRUTH
    assert [path.name for path in tmp_path.iterdir()] == ["truth.json"]


def test_units_are_written(tmp_path):
    write_truth(tmp_path / "truth.json", TRUTH)
    content = json.loads((tmp_path / "truth.json").read_text())
    assert content["units"]["flux"] == "Jy, Stokes I"
    assert content["reference_frequency_hz"] == 150e6
    assert content["frequencies_hz"] == TRUTH.settings.subband_frequencies_hz()


def test_phase_centre_is_in_degrees():
    assert TRUTH.phase_centre_deg == (218.0, 48.0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": {"seed": -4}}', '{"settings": {"colour": 1}}'])
def test_foreign_files_are_refused(tmp_path, text):
    (tmp_path / "truth.json").write_text(text)
    with pytest.raises(PipelineError, match="not the truth of a simulated observation"):
        read_truth(tmp_path / "truth.json")


def test_missing_truth_is_refused(tmp_path):
    with pytest.raises(PipelineError, match=r"nothing.json: No such file or directory; name the truth.json"):
        read_truth(tmp_path / "nothing.json")
