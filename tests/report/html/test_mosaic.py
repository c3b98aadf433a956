"""The section of the page with all beams of an array feed."""

from __future__ import annotations

import json

import pytest

from lofarpipe.report.html.mosaic import CHART, mosaic
from lofarpipe.report.html.page import page, write_page
from lofarpipe.state.run_state import FAILED, JobState, RunState, StepState
from made_images import write_image
from made_jobs import HOSTILE, finished_run, write_journal

PICTURE = "iVBORw0KGgo="


def cube(stokes="I", rms_jy=(1e-4, None, 3e-4), thumbnail=PICTURE):
    frequencies_hz = [888e6 + 1e6 * number for number in range(len(rms_jy))]
    return {"stokes": stokes, "frequencies_hz": frequencies_hz, "rms_jy": list(rms_jy), "thumbnail": thumbnail}


def entry(name="CDFS 03", *cubes):
    beam = {"major_arcsec": 15.04, "minor_arcsec": 12.0, "angle_deg": 30.25}
    return {"name": name, "beam": beam, "cubes": list(cubes or [cube()])}


def test_beam_has_picture_noise_and_size():
    (beam,) = mosaic([entry()], RunState())["beams"]
    assert (beam["name"], beam["size"]) == ("CDFS 03", "15.0 × 12.0 arcsec, 30.25°")
    (cell,) = beam["cells"]
    assert cell["picture"] == f"data:image/png;base64,{PICTURE}"
    assert (cell["rms"], cell["channels"]) == ("rms 200 µJy/beam", "2 of 3 channels")


def test_blank_cube_has_neither_noise_nor_picture():
    found = mosaic([entry("a", cube(rms_jy=[None, None], thumbnail=""))], RunState())
    (cell,) = found["beams"][0]["cells"]
    assert (cell["picture"], cell["rms"], found["chart"]) == ("", "blank", {})


def test_chart_goes_from_zero_to_the_highest_noise():
    chart = mosaic([entry("a", cube("I"), cube("Q", [2e-4]))], RunState())["chart"]
    width, height = CHART
    assert chart["lines"][0][2] == f"0.0,{height * (1 - 1 / 3.3):.1f} {width:.1f},{height * (1 - 1 / 1.1):.1f}"
    assert [stokes for stokes, _ in chart["legend"]] == ["I", "Q"]
    assert (chart["frequencies"], chart["top"]) == (["888 MHz", "890 MHz"], "330 µJy/beam")


def test_chart_cuts_outlying_channel():
    chart = mosaic([entry("a", cube(rms_jy=[1e-4, 1e-4, 1e-4, 1.0]))], RunState())["chart"]
    assert chart["top"] == "440 µJy/beam"
    assert chart["lines"][0][2].endswith(",0.0")


def test_single_frequency_is_in_the_middle():
    chart = mosaic([entry("a", cube(rms_jy=[1e-4]))], RunState())["chart"]
    assert chart["lines"][0][2].startswith(f"{CHART[0] / 2:.1f},")


@pytest.mark.parametrize(
    "damaged",
    [{}, {"name": "a"}, entry() | {"beam": None}, entry() | {"cubes": [{}]}, entry() | {"cubes": None},
     entry() | {"cubes": [cube() | {"rms_jy": [1.0]}]}, entry() | {"cubes": [cube() | {"rms_jy": ["x", 1, 1]}]}],
)  # fmt: skip
def test_damaged_file_is_omitted(damaged):
    assert mosaic([damaged], RunState()) == {}
    assert len(mosaic([damaged, entry()], RunState())["beams"]) == 1


def test_damaged_picture_is_omitted():
    (beam,) = mosaic([entry("a", cube(thumbnail='" onload="alert(1)'))], RunState())["beams"]
    assert beam["cells"][0]["picture"] == ""


def test_page_shows_beams_and_failed_jobs(tmp_path):
    write_journal(tmp_path, finished_run(tmp_path))
    (tmp_path / "image.a.cubes.json").write_text(json.dumps(entry(HOSTILE, cube("I"), cube("Q"))))
    write_image(tmp_path / "image.a-MFS-image.fits")  # of one beam: no large picture
    text = page(tmp_path)
    assert '<section id="beams">' in text
    assert text.count("data:image/png;base64,") == 2
    assert "average/001 (" in text
    assert HOSTILE not in text
    assert "<polyline" in text


@pytest.mark.parametrize(
    ("label", "problem", "line"),
    [
        (
            "/in/s.beam07_cal.ms",
            "exited with 3: no\nmore",
            "beam 07: cube/000 (/in/s.beam07_cal.ms): exited with 3: no",
        ),
        ("/in/s.beam123.ms", "", "cube/000 (/in/s.beam123.ms)"),
        ("", "killed by SIGKILL", "cube/000: killed by SIGKILL"),
    ],
)
def test_failed_job_is_named_by_its_beam(label, problem, line):
    job = JobState("cube/000", label=label, problem=problem, state=FAILED)
    state = RunState(steps={"cube": StepState("cube", jobs={"cube/000": job})})
    assert mosaic([entry()], state)["failed"] == [line]


def test_page_without_cubes_has_no_beams(tmp_path):
    write_journal(tmp_path, finished_run(tmp_path))
    assert "Beams" not in write_page(tmp_path).read_text()


def test_planes_beams_and_blank_channels_are_shown(tmp_path):
    more = {
        "slices": {"labels": ["channel 1", "channel 3"], "pictures": {"I": [PICTURE, ""], "P": [PICTURE, PICTURE]}},
        "blank": ["2 (flagged)"],
        "axes": [{"name": "major", "frequencies_hz": [9e8, 9.2e8], "arcsec": [9.0, None]}],
    }
    found = mosaic([entry() | more], RunState())
    (beam,) = found["beams"]
    assert (beam["slices"]["labels"], beam["blank"]) == (["channel 1", "channel 3"], ["2 (flagged)"])
    assert (found["axes"]["top"], found["axes"]["legend"][0][0]) == ("9.9 arcsec", "major")


@pytest.mark.parametrize("pictures", [{"I": [PICTURE]}, {"I": ["<script>", ""]}])
def test_invalid_slices_omit_the_entry(pictures):
    slices = {"labels": ["a", "b"], "pictures": pictures}
    assert mosaic([entry() | {"slices": slices}], RunState()) == {}
