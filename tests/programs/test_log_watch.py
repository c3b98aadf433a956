"""When a job is given up; recorded logs of WSClean 3.1 and DP3 6.6, and some written by hand."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from beam_sky import environment, program
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.logs import detector_of, sign_in
from small_sets import SetShape, make_set

LOGS = Path(__file__).parent / "logs"
NAN_SEEN = "the peak of the residual image is nan Jy: the deconvolution diverged; lower mgain"
NO_NOISE = "the noise of the residual image is inf Jy"


def judged(lines: Iterable[str], program: str = "wsclean", **limits: str) -> str | None:
    """Return the verdict on these lines of a program; ``limits`` as in ``Job.watch``."""
    detector = detector_of(KNOWN_PROGRAMS[program], limits)
    assert detector is not None
    return sign_in(lines, detector)


def seen_in(log: str, program: str = "wsclean", **limits: str) -> str | None:
    return judged((LOGS / log).read_text().splitlines(keepends=True), program, **limits)


def deconvolution(peaks: Iterable[str], noises: Iterable[str] = (), lowest: str = "") -> list[str]:
    """Return WSClean's output for these peaks, one major iteration each."""
    lines = []
    noise_of = dict(enumerate(noises, 1))
    for major, peak in enumerate(peaks, 1):
        noise = [f"Estimated standard deviation of background noise: {noise_of[major]}"] if major in noise_of else []
        lines += [f" == Deconvolving ({major}) ==", *noise, *([lowest] if lowest else [])]
        lines += [f"Initial peak: {peak} at 1,2", "Stopped on peak 1 mJy, because the threshold was reached."]
    return lines


@pytest.mark.parametrize("log", ["wsclean_good.log", "wsclean_multiscale.log"])
def test_good_deconvolution_continues(log: str) -> None:
    assert seen_in(log) is None


def test_impossible_peak_is_divergence() -> None:
    seen = seen_in("wsclean_diverged.log")
    assert seen == (
        "the peak of the residual image is 3.93e+05 MJy in major iteration 4, beyond max_peak_jy = 100000 Jy; "
        "lower mgain, or allow more"
    )
    assert seen_in("wsclean_diverged.log", max_peak_jy="0") is None


@pytest.mark.parametrize("local_rms", [[], ["-local-rms"]])
def test_impossible_dirty_image_blames_data(tmp_path: Path, local_rms: list[str]) -> None:
    """One visibility of 1e22 Jy; with a local noise WSClean finds no peak at all."""
    path = make_set(tmp_path / "a.MS", SetShape(nantennas=8, ntimes=6, nchan=4, extent_m=400.0), with_data=True)
    with ct.table(path, readonly=False, ack=False) as main:
        visibilities = main.getcell("DATA", 20)
        main.putcell("DATA", 20, np.full_like(visibilities, 1e22))
    options = ["-niter", "20", "-mgain", "0.8", "-auto-mask", "5", "-size", "64", "64", "-scale", "0.05", *local_rms]
    argv = [program("wsclean"), "-j", "1", "-name", str(tmp_path / "x"), *options, path]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(), check=True)
    seen = judged(done.stdout.splitlines()) or ""
    assert re.match(r"the (noise|peak) of the dirty image is [0-9.e+]+ MJy, beyond max_peak_jy = 100000 Jy: ", seen)
    assert seen.endswith(
        "the data are not in Jy, or some have values that no source has: calibrate or flag them, or correct data_column"
    )


def test_impossible_dirty_noise_is_detected() -> None:
    seen = judged(deconvolution(["1 Jy"], ["2 MJy"])) or ""
    assert seen.startswith("the noise of the dirty image is 2 MJy")
    assert judged(deconvolution(["1 Jy"], ["2 MJy"]), max_peak_jy="0") is None
    assert (judged(deconvolution(["3 MJy"], ["1 Jy"])) or "").startswith("the peak of the dirty image is 3 MJy")


def test_multiscale_divergence_is_detected() -> None:
    assert "in major iteration 2, beyond" in (seen_in("wsclean_multiscale_diverged.log") or "")
    seen = seen_in("wsclean_multiscale_diverged.log", max_peak_jy="0")
    assert seen == (
        "the peak of the residual image rose from 4.25 Jy to 3.336e+05 MJy over major iterations 1 to 2, by more than "
        "max_rise = 2; lower mgain, or allow more"
    )
    assert seen_in("wsclean_multiscale_diverged.log", max_peak_jy="0", max_rise="0") is None


def test_undefined_residual_needs_no_threshold() -> None:
    seen = seen_in("wsclean_nan.log", max_peak_jy="0", max_rise="0")
    assert (
        seen == "the peak of the residual image is nan Jy in major iteration 1: the deconvolution diverged; lower mgain"
    )


def test_rise_over_two_major_iterations_is_divergence() -> None:
    lines = deconvolution(["4 Jy", "900 mJy", "120 mJy", "-500 mJy", "900 mJy"])
    assert judged(lines[:-3]) is None  # one rise alone happens
    assert judged(lines) == (
        "the peak of the residual image rose from 120 mJy to 900 mJy over major iterations 3 to 5, by more than "
        "max_rise = 2; lower mgain, or allow more"
    )
    assert judged(lines, max_rise="10") is None
    assert judged(lines, max_rise="0") is None


@pytest.mark.parametrize(
    ("first", "later", "is_divergence"),
    [
        ("1.02 Jy", "1.5 KJy", True),
        ("1.02 Jy", "999 Jy", False),
        ("1.3 KJy", "1.4 KJy", False),  # a bright source
        ("900 Jy", "1.1 KJy", False),
    ],
)
def test_minor_iteration_far_above_first_peak(first: str, later: str, is_divergence: bool) -> None:
    seen = judged([f"Initial peak: {first} at 1,1", f"Iteration 100, scale 0 px : {later} at 10,10"])
    assert bool(seen) == is_divergence
    assert seen is None or seen == (
        "the peak of a minor iteration is 1.5 kJy, far above the first peak, 1.02 Jy: the deconvolution diverged; "
        "lower mgain"
    )


def test_small_rise_continues() -> None:
    assert judged(deconvolution(["4 Jy", "100 mJy", "150 mJy", "190 mJy"])) is None


@pytest.mark.parametrize("peaks", [["100 mJy", "300 mJy", "90 mJy", "280 mJy"], ["100 mJy", "90 mJy", "300 mJy"]])
def test_single_rises_continue(peaks: list[str]) -> None:
    assert judged(deconvolution(["4 Jy", *peaks])) is None


def test_residual_above_dirty_image_is_divergence() -> None:
    seen = judged(deconvolution(["4 Jy", "1 Jy", "9 Jy"]))
    assert seen is not None
    assert "rose from 4 Jy to 9 Jy over major iterations 1 to 3" in seen


def test_local_noise_mask_judges_by_noise() -> None:
    lowest = "Lowest RMS in image: 1 mJy"
    # The most significant pixel need not be the brightest.
    rising = ["100 mJy", "1 Jy", "4 Jy"]
    assert judged(deconvolution(rising, ["3 mJy", "2 mJy", "1 mJy"], lowest)) is None
    seen = judged(deconvolution(rising, ["3 mJy", "5 mJy", "9 mJy"], lowest))
    assert seen is not None
    assert "the noise of the residual image rose from 3 mJy to 9 mJy" in seen
    assert judged(deconvolution(rising, [], lowest)) is None


def test_parallel_divergence_is_detected() -> None:
    seen = seen_in("wsclean_parallel_diverged.log")
    assert (
        seen == "the peak of the residual image is nan Jy in major iteration 1: the deconvolution diverged; lower mgain"
    )


def parallel(majors: Iterable[Sequence[str]], noises: Iterable[str]) -> list[str]:
    """Return WSClean's output for sub-images: the peaks of the shown ones, each major iteration."""
    lines = []
    for major, (peaks, noise) in enumerate(zip(majors, noises, strict=True), 1):
        lines += [f" == Deconvolving ({major}) ==", f"Estimated standard deviation of background noise: {noise}"]
        lines += [f" Initial peak: {peak} at 1,2" for peak in peaks]
        lines += ["Subimage 1 has maximum peak of 0 Jy.", "P1: Sub-image 1 finished its deconvolution iteration."]
    return lines


def test_parallel_deconvolution_judges_by_noise() -> None:
    # Seen with -parallel-deconvolution: which sub-images are shown is left to chance.
    majors = [["212.99 mJy", "100 mJy"], ["440.89 mJy", "411 mJy"], ["928.16 mJy"]]
    assert judged(parallel(majors, ["52 mJy", "36 mJy", "21 mJy"])) is None
    seen = judged(parallel(majors, ["52 mJy", "60 mJy", "110 mJy"]))
    assert seen is not None
    assert seen.startswith("the noise of the residual image rose from 52 mJy to 110 mJy over major iterations 1 to 3")
    assert judged(parallel(majors, ["52 mJy", "60 mJy", "110 mJy"]), max_rise="0") is None
    assert "is 2 MJy in major iteration 2" in (judged(parallel([["2 Jy"], ["2 MJy"]], ["1 Jy", "1 Jy"])) or "")


def test_missing_peaks_judge_by_noise() -> None:
    # As IUWT does.
    lines = parallel([[], [], []], ["3 mJy", "5 mJy", "9 mJy"])
    said = [line for line in lines if "peak" not in line]
    assert (judged(said) or "").startswith("the noise of the residual image rose from 3 mJy to 9 mJy")


def test_next_channel_resets_watch() -> None:
    faint, bright = deconvolution(["1 mJy", "0.1 mJy"]), deconvolution(["4 Jy", "1 Jy", "100 mJy"])
    assert judged(faint + bright + faint) is None
    assert judged(deconvolution(["1 mJy"], ["0.1 mJy"]) + bright) is None  # the next time interval


@pytest.mark.parametrize(("noise", "major"), [("-nan Jy", 2), ("inf Jy", 1), ("0 Jy", 1)])
def test_undefined_noise_is_divergence(noise: str, major: int) -> None:
    lines = deconvolution(["1 Jy"] * major, ["1 mJy"] * (major - 1) + [noise])
    assert (judged(lines) or "").endswith(f" Jy in major iteration {major}")  # what that means the log is asked


def test_noise_of_zero_later_is_not_judged() -> None:
    assert judged(deconvolution(["1 Jy", "1 mJy"], ["1 mJy", "0 Jy"])) is None


def test_runner_notes_are_ignored() -> None:
    assert judged(["### Initial peak: nan Jy"]) is None
    assert judged(["Initial peak: nan Jy"]) == NAN_SEEN


def test_log_is_read_in_pieces() -> None:
    detector = detector_of(KNOWN_PROGRAMS["wsclean"], {})
    lines = deconvolution(["4 Jy", "1 Jy", "9 Jy"])
    assert [sign_in([line], detector) is None for line in lines] == [True] * (len(lines) - 2) + [False, True]


ODD = ["..", "1.2.3", "-", "1e", "5 N", "5 g", "5 \u212a", "\u0665", "1" * 5000]


@pytest.mark.parametrize("start", ["Initial peak: ", "Stopped on peak ", "Iteration 5: ", "Iteration 5, scale 0 px : "])
@pytest.mark.parametrize("number", ODD)
def test_invalid_numbers_are_ignored(start: str, number: str) -> None:
    for end in ("Jy", " Jy", " mJy at 1,2"):
        assert judged([f"{start}{number}{end}"], max_peak_jy="0") in (None, NAN_SEEN.replace("nan", "inf"))
        assert judged([f"Estimated standard deviation of background noise: {number}{end}"]) in (None, NO_NOISE)
    assert judged([f" == Deconvolving ({number}) =="]) is None


@pytest.mark.parametrize(
    ("peak", "seen"),
    [
        ("3e2 kJy", "300 kJy"),
        ("1.5E+09 mJy", "1.5 MJy"),
        ("-2e+11 µJy", "200 kJy"),
        ("2e+11 \u03bcJy", "200 kJy"),
        ("1E15 nJy", "1 MJy"),
        ("3 MJy", "3 MJy"),
        (".5 MJy", "500 kJy"),
        ("150. KJy", "150 kJy"),
    ],
)
def test_every_flux_notation_is_read(peak: str, seen: str) -> None:
    for line in (f"Initial peak: {peak} at 1,2", f"Iteration 100, scale 0 px : {peak} at 1,2"):
        assert (judged([line]) or "").startswith(f"the peak of the residual image is {seen}, beyond max_peak_jy")


# DP3


@pytest.mark.parametrize("taken", [", , ", "1 2", "1,,2", "1" * 5000])
def test_malformed_iterations_are_ignored(taken: str) -> None:
    assert judged(["  max iter:            4", f"Iterations taken: [{taken}]"], "dp3") is None


@pytest.mark.parametrize("number", ["1" * 5000, "\u0663"])
def test_malformed_counts_are_ignored(number: str) -> None:
    lines = [f"  max iter:   {number}", f"Converged: {number}, stalled: 1, non converged: 0, failed: 0"]
    assert judged(lines, "dp3", min_converged="1") is None


@pytest.mark.parametrize("log", ["dp3_gaincal.log", "dp3_ddecal.log"])
def test_unconverged_solutions_are_accepted_by_default(log: str) -> None:
    assert seen_in(log, "dp3") is None


def test_too_few_converged_solutions_fail() -> None:
    # "max iter: 4", and "Iterations taken: [5,5,5]"
    assert seen_in("dp3_ddecal.log", "dp3", min_converged="0.3") == (
        "0 of 3 solutions of DP3 converged, less than min_converged = 0.3 of them; use more data for each, "
        "or accept fewer"
    )


def test_enough_converged_solutions_pass() -> None:
    lines = ["DDECal cal.", "  max iter:            50", "Iterations taken: [51,48,50, 12]"]
    assert judged(lines, "dp3", min_converged="0.75") is None
    assert "3 of 4" in (judged(lines, "dp3", min_converged="0.8") or "")
    assert seen_in("dp3_gaincal.log", "dp3", min_converged="1") is None  # Converged: 3, and no others


def test_iterations_without_their_limit_are_not_judged() -> None:
    assert judged(["Iterations taken: [51,48]"], "dp3", min_converged="1") is None


@pytest.mark.parametrize(
    ("counts", "limit", "seen"),
    [
        ("Converged: 0, stalled: 2, non converged: 0, failed: 1", "1", True),
        ("Converged: 0, stalled: 2, non converged: 0, failed: 1", "0", False),
        ("Converged: 0, stalled: 2, non converged: 1, failed: 0", "1", False),
        ("Converged: 7, stalled: 2, non converged: 0, failed: 1", "0.3", True),
        ("Converged: 7, stalled: 2, non converged: 0, failed: 1", "0.31", False),
        ("Converged: 0, stalled: 0, non converged: 0, failed: 0", "1", False),
    ],
)
def test_stalled_solver_is_detected(counts: str, limit: str, seen: bool) -> None:
    lines = ["GainCal cal.", "  max iter:            300", f"        {counts}", f"        Iters {counts.lower()}"]
    found = judged(lines, "dp3", max_stalled=limit)
    assert bool(found) is seen
    assert f"2 stalled and 1 failed: max_stalled = {limit} of them" in (found or "") or not seen
    assert limit != "1" or judged(lines, "dp3") == found, "that is the default"


def test_thresholds_must_be_numbers() -> None:
    with pytest.raises(ValueError, match="could not convert"):
        judged([], max_peak_jy="many")
