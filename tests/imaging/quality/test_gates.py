"""Limits that an image has to keep."""

import json
from pathlib import Path

import pytest

from loading import load_script
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.quality.gates import Gates, broken_gates

QUALITY = {"measured_over_expected": {"value": 2.0}, "source_count": {"value": 12}, "flagged_fraction": {"value": 0.3}}
COMPARISON = {"summary": {"median_ratio": 0.9}}


@pytest.mark.parametrize(
    ("gates", "broken"),
    [
        (Gates(), []),
        (Gates(max_noise_ratio=2.0, min_sources=12, max_flagged_fraction=0.3, max_flux_error=0.11), []),
        (Gates(max_noise_ratio=1.5), ["measured_over_expected is 2, above max_noise_ratio = 1.5"]),
        (Gates(min_sources=13), ["source_count is 12, below min_sources = 13"]),
        (Gates(max_flux_error=0.05), ["the error of the flux scale is 0.1, above max_flux_error = 0.05"]),
        (
            Gates(min_dynamic_range=5),
            ["dynamic_range is not known, and min_dynamic_range = 5; measure it, or set min_dynamic_range = 0"],
        ),
    ],
)
def test_exceeded_limits_are_listed(gates: Gates, broken: list[str]) -> None:
    assert broken_gates(gates, QUALITY, COMPARISON) == broken


def test_flux_error_needs_a_reference() -> None:
    (text,) = broken_gates(Gates(max_flux_error=0.1), QUALITY, {})
    assert text.startswith("the error of the flux scale is not known")


def test_images_and_cubes_are_held_to_their_limits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = {"mfs_0.0/a.fits": {"dynamic_range": 40.0}, "mfs_0.0/b.fits": {"dynamic_range": None}}
    content = {"images": images, "cubes": {"0.0": {"channels": 4, "blank": {"3": "flagged"}}}}
    path = tmp_path / "quality.json"
    path.write_text(json.dumps(content))
    script = load_script("check_quality")
    assert script.main(str(path), min_dynamic_range="50", max_blank_fraction="0.2") == {"broken": "3"}
    assert capsys.readouterr().out.splitlines() == [
        "WARNING: mfs_0.0/a.fits: dynamic_range is 40, below min_dynamic_range = 50",
        "WARNING: mfs_0.0/b.fits: dynamic_range is not known, and min_dynamic_range = 50; "
        "measure it, or set min_dynamic_range = 0",
        "WARNING: cube at robust 0.0: blank_fraction is 0.25, above max_blank_fraction = 0.2",
    ]
    assert script.main(str(path)) == {"broken": "0"}


def test_script_warns_or_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script, path = load_script("check_quality"), tmp_path / "quality.json"
    path.write_text(json.dumps(QUALITY))
    (tmp_path / "comparison.json").write_text(json.dumps(COMPARISON))
    arguments = [str(path), str(tmp_path / "comparison.json")]
    assert script.main(*arguments, max_noise_ratio="1.5", max_flux_error="0.2") == {"broken": "1"}
    assert capsys.readouterr().out == "WARNING: measured_over_expected is 2, above max_noise_ratio = 1.5\n"
    with pytest.raises(PipelineError, match="does not keep its limits: source_count is 12, below min_sources = 20"):
        script.main(*arguments, action="fail", min_sources="20")
    assert script.command_line([str(path), "--min-sources", "3"]) == 0
    assert script.command_line([str(tmp_path / "nowhere"), "--min-sources", "3"]) == 1
    assert "nowhere: cannot be read" in capsys.readouterr().err
