"""The plan of full-Stokes imaging: options as values, findings, decisions with reasons."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from band_sets import BandShape, make_band_set
from lofarpipe.imaging.ms.band import read_band
from lofarpipe.imaging.plan.stokes_options import StokesOptions, read_stokes_options
from lofarpipe.imaging.plan.stokes_plan import plan_images, set_stamp, stokes_plan_as_dict
from small_sets import change_column


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_band_set(tmp_path_factory.mktemp("band") / "a.ms", BandShape(flagged=((0, 0), (0, 1))))


def options(path: Path, **texts: str) -> StokesOptions:
    given = {"vis": str(path), "outdir": "/out", "frequency_range_mhz": "900~1000", "channel_width_mhz": "20"}
    found, findings = read_stokes_options(given | {"mfs_range_mhz": "900~1000", "imsize": "128"} | texts)
    assert findings == []
    assert found is not None
    return found


def test_texts_become_option_values() -> None:
    found = options(Path("/data/a.ms/"), mfs_robust="[-0.5, 0]", threshold_mfs_jy="4e-5", multiscale_scales="[0,3,40]")
    assert (found.vis, found.mfs_robust, found.threshold_mfs_jy) == ("/data/a.ms", (-0.5, 0.0), "4e-05")
    assert (found.scales, found.scales_left_out) == ((0, 3), (40,))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("vis", "", "is not set"),
        ("vis", "/d/a,b[1].ms", "/d/a,b[1].ms: , [ ] cannot be in a list of files"),
        ("outdir", "", "is not set"),
        ("mfs_robust", "[-3]", "numbers from -2 to 2"),
        ("mfs_robust", "[0.5, 0.50]", "names a value twice"),
        ("frequency_range_mhz", "900-1000", "such as 886~1680"),
        ("frequency_range_mhz", "1000~900", "a lowest and a higher edge"),
        ("mfs_range_mhz", "900~inf", "a lowest and a higher edge"),
        ("channel_width_mhz", "0", "a width in MHz above 0"),
        ("channel_width_mhz", "1.5 channels", "a number of channels such as"),
        ("channel_width_mhz", "x", "is needed"),
        ("mgain", "0", "a number above 0"),
        ("imsize", "129", "an even number"),
        ("imsize", "12", "at least 32"),
        ("threshold_mfs_jy", "deep", "auto, or a number above 0 in Jy, mJy, uJy or sigma, is needed"),
        ("threshold_channel_jy", "3 Sv", "auto, or a number above 0"),
        ("cell_arcsec", "0", "a number above 0"),
        ("multiscale_scales", "[a]", "whole numbers of pixels"),
        ("overwrite", "yes", "True or False"),
        ("channels_per_job", "0", "at least 1"),
        ("imsise", "128", "no such option; did you mean 'imsize'"),
    ],
)
def test_wrong_options_are_named(name: str, text: str, reason: str) -> None:
    _, findings = read_stokes_options({"vis": "/a.ms", "outdir": "/out", name: text})
    assert [line for line in findings if line.startswith(f"{name}: ") and reason in line]


def test_empty_image_lists_are_a_finding() -> None:
    _, findings = read_stokes_options({"vis": "/a.ms", "outdir": "/o", "mfs_robust": "[]", "channel_robust": "[]"})
    assert "there is nothing to image" in findings[0]


def test_plan_has_reasons(made: Path) -> None:
    plan, findings = plan_images(options(made), read_band(str(made)))
    assert findings == []
    assert plan is not None
    content = json.loads(json.dumps(stokes_plan_as_dict(plan)))
    assert [channel["reason"] for channel in content["channels"]] == ["", "", "no data", "", ""]
    assert content["batches"] == [[1], [2], [4], [5]]
    assert content["quantities"]["data_column"]["value"] == "CORRECTED_DATA"
    assert content["quantities"]["batches"]["reason"] == "the set is read once by each batch"
    assert content["mfs"]["channel_range"] == [0, 8]
    assert any("channels 1 have no usable visibility" in line for line in plan.warnings)
    assert any("parallactic" in line for line in plan.warnings)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (
            {"frequency_range_mhz": "2000~2100"},
            "frequency_range_mhz: .* has no channel in it; it covers 900.000~1000.000",
        ),
        ({"mfs_range_mhz": "2000~2100"}, "mfs_range_mhz: .* has no channel in it"),
        ({"channels": "3"}, "has no channel in it and channels 3"),
        ({"channels": "1"}, "frequency_range_mhz: .*: from 900 to 920 MHz every visibility is flagged; set a range"),
        ({"mfs_range_mhz": "900~915"}, "mfs_range_mhz: .*: from 900 to 915 MHz every visibility is flagged; set a"),
        ({"channels": "3-9"}, "channels: is '3-9', and the plan has 1-5"),
        ({"common_beam_arcsec": "2"}, "common_beam_arcsec: is 2, and the smallest beam has about .* would be blank"),
        ({"channel_width_mhz": "5e-4"}, "is 0.0005 MHz, of which frequency_range_mhz has 200000; at most 100000 ch"),
    ],
)
def test_range_without_data_is_a_finding(made: Path, texts: dict[str, str], reason: str) -> None:
    plan, findings = plan_images(options(made, **texts), read_band(str(made)))
    assert plan is None
    assert re.search(reason, findings[0])


@pytest.mark.parametrize("stage_data", ["True", "False"])
def test_weights_that_are_not_finite_are_found(tmp_path: Path, stage_data: str) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(ntimes=1))
    change_column(
        str(path), "WEIGHT_SPECTRUM", lambda weights: np.where(np.arange(len(weights)) == 3, np.inf, weights.T).T
    )
    _, (finding,) = plan_images(options(path), read_band(str(path)))
    assert "4 channels from 905 to 935 MHz with unflagged visibilities whose weight is NaN or infinite" in finding
    plan, findings = plan_images(options(path, mfs_robust="[]", stage_data=stage_data), read_band(str(path)))
    assert findings == []
    assert plan is not None
    outcome = "are flagged in the staged copy" if stage_data == "True" else "make these channels blank"
    assert any("channels 1, 2: unflagged" in line and outcome in line for line in plan.warnings)


def test_wholly_flagged_set_is_a_finding(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(ntimes=1))
    change_column(str(path), "FLAG_ROW", np.ones_like)
    assert "every visibility is flagged" in plan_images(options(path), read_band(str(path)))[1][0]


def test_set_of_nan_is_a_finding(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(ntimes=1))
    change_column(str(path), "CORRECTED_DATA", lambda cells: np.full_like(cells, np.nan))
    (line,) = plan_images(options(path), read_band(str(path)))[1]
    assert "every visibility is flagged, has weight 0, or is NaN, infinite or 0 in CORRECTED_DATA, so there is" in line


def test_set_without_uvw_is_a_finding(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(ntimes=1))
    change_column(str(path), "UVW", np.zeros_like)
    assert "UVW is 0 in every row" in plan_images(options(path), read_band(str(path)))[1][0]


def test_narrow_channels_are_a_warning(made: Path) -> None:
    plan, _ = plan_images(options(made, channel_width_mhz="2"), read_band(str(made)))
    assert plan is not None
    (line,) = [line for line in plan.warnings if line.startswith("channel_width_mhz: is 2, and")]
    assert "up to 10 MHz wide" in line


def test_width_counts_channels_of_set(made: Path, tmp_path: Path) -> None:
    plan, _ = plan_images(options(made, channel_width_mhz="2 channels"), read_band(str(made)))
    assert plan is not None
    assert [(channel.low_hz, channel.high_hz) for channel in plan.channels][:2] == [(900e6, 920e6), (920e6, 940e6)]
    path = make_band_set(tmp_path / "a.ms", BandShape(windows=((900, 4, 10), (960, 8, 5)), ntimes=1))
    _, findings = plan_images(options(path, channel_width_mhz="2 channels"), read_band(str(path)))
    assert "its windows have channels of 5, 10 MHz; give a width in MHz" in findings[0]


def test_overlapping_windows_are_not_merged(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(windows=((900, 4, 10), (920, 4, 10)), ntimes=1))
    wish = options(path, write_merged_set="True")
    assert "windows 0 and 1" in plan_images(wish, read_band(str(path)))[1][0]


def test_cell_is_compared_with_the_beam(made: Path) -> None:
    band = read_band(str(made))
    plan, _ = plan_images(options(made, cell_arcsec="60"), band)
    assert plan is not None
    assert [line for line in plan.warnings if line.startswith("cell_arcsec: is 60")]
    fine, _ = plan_images(options(made, cell_arcsec=f"{plan.beam_arcsec / 5}"), band)
    assert fine is not None
    assert not [line for line in fine.warnings if line.startswith("cell_arcsec")]


@pytest.mark.parametrize(
    ("text", "value"),
    [("auto", "auto"), ("4e-5", "4e-05"), ("0.04 mJy", "4e-05"), ("40uJy", "4e-05"), ("3 sigma", "3 sigma")],
)
def test_threshold_has_a_unit(text: str, value: str) -> None:
    assert options(Path("/data/a.ms"), threshold_channel_jy=text).threshold_channel_jy == value


def test_plan_chooses_size_and_cell(made: Path) -> None:
    band = read_band(str(made))
    plan, _ = plan_images(options(made, imsize="auto", cell_arcsec="auto"), band)
    assert plan is not None
    assert plan.beam_arcsec / plan.options.cell_arcsec == pytest.approx(5, rel=0.06)
    fwhm_deg = math.degrees(1.1 * 299792458 / 900e6 / 13.5)
    assert plan.options.imsize * plan.options.cell_arcsec / 3600 == pytest.approx(1.6 * fwhm_deg, rel=0.05)
    content = stokes_plan_as_dict(plan)["quantities"]
    assert content["imsize"]["reason"].endswith("1.6 primary beams of 1.56 deg at 900 MHz wide")
    assert (content["imsize"]["source"], content["cell"]["source"]) == ("imsize = auto", "cell_arcsec = auto")
    given, _ = plan_images(options(made, imsize="128", cell_arcsec="auto"), replace(band, dish_m=0.0))
    assert given is not None
    assert given.options.imsize == 128
    assert stokes_plan_as_dict(given)["quantities"]["imsize"]["reason"].endswith(" deg wide")
    none, findings = plan_images(options(made, imsize="auto"), replace(band, dish_m=0.0))
    assert none is None
    assert "imsize: cannot be auto" in findings[0]
    assert "station diameter is 0.0 m" in findings[0]


def test_several_fields_are_not_staged(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(fields=("A", "B"), ntimes=2))
    band = read_band(str(path), field="B")
    plan, _ = plan_images(options(path, field="B"), replace(band, receptor_angles_deg=(-90.0,)))
    assert plan is not None
    assert stokes_plan_as_dict(plan)["quantities"]["set_readings"]["value"] is None
    assert any("cannot be staged" in line for line in plan.warnings)
    assert any("RECEPTOR_ANGLE" in line for line in plan.warnings)


def test_fingerprint_changes_with_the_set(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(ntimes=1))
    before = set_stamp(str(path))
    read_band(str(path))
    assert set_stamp(str(path)) == before
    change_column(str(path), "FLAG_ROW", np.ones_like)
    assert set_stamp(str(path)) != before
