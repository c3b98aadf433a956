"""Progress output of programs; the logs were recorded from WSClean 3.1 and DP3 6.6."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lofarpipe.programs.base import Progress
from lofarpipe.programs.logs import ProgressReader, percent_done
from lofarpipe.programs.wsclean.log import peak_in
from lofarpipe.support.utilities import flux_text, printable

LOGS = Path(__file__).parent / "logs"


def told(name: str) -> list[Progress]:
    """Return the progress from a recorded log, line by line, without repetitions."""
    reader, seen = ProgressReader(), [Progress("")]
    for line in (LOGS / name).read_text().splitlines(keepends=True):
        progress = reader.feed(line)
        if progress != seen[-1]:
            seen.append(progress)
    return seen[1:]


def test_wsclean_progress_has_iterations_and_peaks() -> None:
    seen = [(progress.major_iteration, progress.peak_jy) for progress in told("wsclean_good.log")]
    peaks = [(1, 4.01), (1, 0.78951), (2, 0.7648), (2, -0.15272), (3, -0.18951), (3, 0.09186)]
    named = [pair for pair in dict.fromkeys(seen) if pair[1] is not None]
    assert [major for major, _ in named] == [major for major, _ in peaks]
    assert [peak for _, peak in named] == pytest.approx([peak for _, peak in peaks])


def test_wsclean_progress_names_phases() -> None:
    texts = [progress.text for progress in told("wsclean_good.log")]
    assert "making the point spread function" in texts
    start = texts.index("major iteration 1")
    assert texts[start : start + 7] == [
        "major iteration 1",
        "major iteration 1, peak 4.01 Jy",
        "major iteration 1, peak 789.5 mJy",
        "predicting after major iteration 1, peak 789.5 mJy",
        "gridding after major iteration 1, peak 789.5 mJy",
        "major iteration 2",
        "major iteration 2, peak 764.8 mJy",
    ]
    assert texts[-1] == "3 major iterations done"


def test_multiscale_progress_has_peaks() -> None:
    texts = [progress.text for progress in told("wsclean_multiscale.log")]
    assert "major iteration 1, peak 4.01 Jy" in texts
    assert "major iteration 3, peak 92.25 mJy" in texts  # "(7) Iteration 1072, scale 12 px : 92.25 mJy at 55,109"


def test_dp3_ends_with_its_slowest_step() -> None:
    progress = told("dp3_gaincal.log")[-1]
    assert (progress.text, progress.fraction) == ("done in 0.04 s, 42% in MsReader", 1.0)


def test_dots_give_progress() -> None:
    reader = ProgressReader()
    fractions = [reader.feed(text).fraction for text in ("Processing 6 time slots ...\n\n0%", "..", "..10", "....20..")]
    assert fractions == pytest.approx([0.0, 0.04, 0.10, 0.24])
    assert reader.progress.text == "24%"
    assert reader.feed("....100%\nFinishing processing ...\n") == Progress("finishing", 1.0)


@pytest.mark.parametrize(
    "line", ["0%" + "9" * 5000, "Initial peak: ... Jy", "Initial peak: 5 NJy", f" == Deconvolving ({'1' * 5000}) =="]
)
def test_odd_output_is_accepted(line: str) -> None:
    assert ProgressReader().feed(f"{line}\n").text
    done = "Total DP3 time  1.0 real\n"
    assert ProgressReader().feed(f"{done}   1.2.3% (  38 ms) MsReader\n").text == "done in 1.0 s"


def test_percentage_names_its_phase() -> None:
    assert ProgressReader().feed("Reordering: 0%....10%....20%") == Progress("reordering 20%", 0.2)


@pytest.mark.parametrize(
    ("line", "fraction"),
    [
        ("0%", 0.0),
        ("0%....10....20....30....40....50....60....70....80....90....100%", 1.0),
        ("0%....10....20.", 0.22),
        ("Writing: 0%....10%..", 0.14),
        ("  [0,0,0,0] out of 1344 visibilities   [0%, 0%, 0%, 0%]", None),
        ("    5.1% (   38 ms) MsReader", None),
        ("", None),
    ],
)
def test_percentage_gives_fraction(line: str, fraction: float | None) -> None:
    assert percent_done(line) == (None if fraction is None else pytest.approx(fraction))


@pytest.mark.parametrize(
    ("line", "peak_jy"),
    [
        ("Initial peak: 106.93 µJy at 475,186", 106.93e-6),
        ("Initial peak: -45.07 Jy at 322,349", -45.07),
        ("Starting multi-scale cleaning. Start peak=3.33645e+08 KJy, major iteration threshold=1 KJy", 3.33645e11),
        ("(8) Iteration 552, scale 0 px : -156.19 mJy at 129,265", -0.15619),
        ("Iteration 10: 12 nJy at 1,2", 12e-9),
        ("Next major iteration at: 865.22 mJy", None),
        ("Lowest RMS in image: 25.21 µJy", None),
        ("No peak found.", None),
    ],
)
def test_peak_is_read(line: str, peak_jy: float | None) -> None:
    assert peak_in(line) == (None if peak_jy is None else pytest.approx(peak_jy))


def test_peak_may_be_undefined() -> None:
    peak = peak_in("Stopped on peak -nan Jy, because the threshold was reached.")
    assert peak is not None
    assert math.isnan(peak)


@pytest.mark.parametrize(
    ("value_jy", "text"),
    [
        (0.0, "0 Jy"),
        (math.nan, "nan Jy"),
        (4.01, "4.01 Jy"),
        (-0.18951, "-189.5 mJy"),
        (0.99999, "1 Jy"),
        (2.5e-6, "2.5 µJy"),
        (23000.0, "23 kJy"),
        (3.9e14, "3.9e+08 MJy"),
    ],
)
def test_flux_is_formatted(value_jy: float, text: str) -> None:
    assert flux_text(value_jy) == text


def test_unknown_program_line_is_progress_text() -> None:
    reader = ProgressReader()
    assert reader.feed("### cd /w && prog\nstep 1\nstep") == Progress("step")
    assert reader.feed(" 2\n\n### exited with 0\n").text == "step 2"


def test_control_characters_are_removed() -> None:
    assert printable("\x1b[2J\x1b[31mred\x07\ta\x9b1mb ") == "red a1mb"
    assert ProgressReader().feed("50 %\r75 %\r").text == "75 %"


def test_very_long_line_is_cut() -> None:
    reader = ProgressReader()
    for _ in range(5):
        reader.feed("x" * 9000)
    assert len(reader.progress.text) <= 10_000
