"""Implausible numbers give a warning with the likely cause; plausible ones give none."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.ms.inputs import summarise_findings
from lofarpipe.imaging.ms.survey import survey_set
from lofarpipe.imaging.quality.plausibility import highest_peak_jy, image_warnings, scatter_ratio, set_warnings
from small_sets import SetShape, make_set

SHAPE = SetShape(nantennas=12, ntimes=3, nchan=8)
# One polarization of two core stations with 24 tiles at 144 MHz: 2960 / sqrt(2 x 24414 Hz x 10 s) Jy, by hand.
NOISE_JY = 2960 / np.sqrt(2 * 24414.0625 * 10)
ELSEWHERE_DEG, CYG_A_DEG = (180.0, 45.0), (300.0, 41.0)


def add_column(path: str, name: str, values: np.ndarray) -> None:
    with ct.table(path, readonly=False, ack=False) as main:
        if name not in main.colnames():
            description = ct.makearrcoldesc(name, 0j, 2, list(values.shape[1:]), valuetype="complex")
            main.addcols(
                ct.maketabdesc([description]), {"TYPE": "StandardStMan", "NAME": name, "SEQNR": 99, "SPEC": {}}
            )
        main.putcol(name, values.astype(np.complex64))


def noise(shape: SetShape, sigma_jy: float) -> np.ndarray:
    """Noise of this width in real and imaginary part, (row, chan, corr)."""
    random = np.random.default_rng(1)
    rows = shape.ntimes * shape.nantennas * (shape.nantennas + 1) // 2
    parts = random.normal(0, sigma_jy, (2, rows, shape.nchan, len(shape.correlations)))
    return np.asarray(parts[0] + 1j * parts[1])


@pytest.fixture
def noisy(tmp_path: Path) -> Callable[..., str]:
    """A function that makes a set of noise."""

    def make(sigma_jy: float = NOISE_JY, **options: object) -> str:
        shape = replace(SHAPE, **options)
        path = make_set(tmp_path / "a.MS", shape, with_data=True)
        add_column(path, "DATA", noise(shape, sigma_jy))
        return path

    return make


def warned(path: str, data_column: str = "DATA") -> list[str]:
    return summarise_findings(set_warnings([survey_set(path, data_column)], data_column))


# ---- before the run


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_calibrated_noise_passes(noisy: Callable[..., str], factor: float) -> None:
    assert warned(noisy(NOISE_JY * factor)) == []


@pytest.mark.parametrize(
    ("factor", "without"), [(1e-5, ", or was simulated without noise"), (0.1, ", or was"), (10, "")]
)
def test_implausible_noise_gives_a_warning(noisy: Callable[..., str], factor: float, without: str) -> None:
    path = noisy(NOISE_JY * factor)
    (said,) = warned(path)
    assert said.startswith(f"{path}: the noise of its visibilities in DATA is ")
    assert float(said.split(" times ")[0].split()[-1]) == pytest.approx(factor, rel=0.1)
    assert f"it does not look calibrated to Jy{without}" in said
    assert ("simulated" in said) == bool(without)


def test_strong_sources_do_not_count_as_noise(noisy: Callable[..., str]) -> None:
    """Sources of 100 times the noise, whose phases differ from channel to channel, are in the parallel hands."""
    path, sky = noisy(), noise(SHAPE, 100 * NOISE_JY)
    sky[:, :, 1:3] = 0
    add_column(path, "DATA", noise(SHAPE, NOISE_JY) + sky)
    assert warned(path) == []
    with ct.table(path, ack=False) as main:
        columns = [main.getcol(name) for name in ("DATA", "ANTENNA1", "ANTENNA2")]
    ratio, limits = scatter_ratio(survey_set(path, "DATA").metadata, columns[0], (columns[1], columns[2]))
    assert ratio == pytest.approx(1, rel=0.1)
    assert limits == (0.2, 5.0)


@pytest.mark.parametrize(("factor", "number"), [(1.0, 0), (20.0, 0), (1e4, 1), (1e-3, 1)])
def test_noise_is_judged_without_cross_hands(noisy: Callable[..., str], factor: float, number: int) -> None:
    assert len(warned(noisy(NOISE_JY * factor, correlations=(9, 12)))) == number


@pytest.mark.parametrize(("sefd_jy", "number"), [(2e-3, 1), (400.0, 0), (1e6, 0), (1e10, 1)])
def test_noise_is_judged_for_unknown_telescopes(noisy: Callable[..., str], sefd_jy: float, number: int) -> None:
    found = warned(noisy(sefd_jy * NOISE_JY / 2960, telescope="MeerKAT"))
    assert len(found) == number
    assert all("times that of a station of 1 Jy" in said for said in found)


def test_uninformative_sets_give_no_warning(noisy: Callable[..., str]) -> None:
    """Sets of zeros, of one channel, and with everything flagged."""
    assert warned(noisy(0.0)) == []
    with ct.table(noisy(1e9), readonly=False, ack=False) as main:
        main.putcol("FLAG", np.ones((main.nrows(), SHAPE.nchan, 4), bool))
        path = main.name()
    assert warned(path) == []
    assert warned(noisy(1e9, nchan=1)) == []


def test_noise_ignores_bad_values(noisy: Callable[..., str]) -> None:
    path, values = noisy(), noise(SHAPE, NOISE_JY)
    values[:, 3] = np.nan
    values[::5, 4] = np.inf
    add_column(path, "DATA", values)
    assert warned(path) == []


def test_calibrated_column_beside_is_named(noisy: Callable[..., str]) -> None:
    path = noisy(1e-5)
    add_column(path, "CORRECTED_DATA", noise(SHAPE, NOISE_JY))
    beside, scale = warned(path)
    assert "the set has CORRECTED_DATA beside it, with other values; set data_column = CORRECTED_DATA, unless" in beside
    assert "does not look calibrated" in scale
    assert warned(path, "CORRECTED_DATA") == []
    assert warned(path, "NOSUCH") == []


@pytest.mark.parametrize("factor", [0, 1])
def test_copied_column_is_not_suggested(noisy: Callable[..., str], factor: int) -> None:
    """One that is empty, or a copy, also where a visibility that is flagged differs."""
    path, values = noisy(), noise(SHAPE, NOISE_JY)
    add_column(path, "CORRECTED_DATA", factor * values)
    assert warned(path) == []
    if factor:
        values[:, 2] += 5
        with ct.table(path, readonly=False, ack=False) as main:
            flags = main.getcol("FLAG")
            flags[:, 2] = True
            main.putcol("FLAG", flags)
        add_column(path, "CORRECTED_DATA", values)
        assert warned(path) == []


def test_unwritten_column_is_not_suggested(noisy: Callable[..., str]) -> None:
    """Also one of another shape, and a copy altered only by compression."""
    path = noisy()
    with ct.table(path, readonly=False, ack=False) as main:
        description = ct.makearrcoldesc("CORRECTED_DATA", 0j, 2, valuetype="complex")
        main.addcols(ct.maketabdesc([description]), {"TYPE": "StandardStMan", "NAME": "C", "SEQNR": 98, "SPEC": {}})
    assert warned(path) == []
    add_column(path, "CORRECTED_DATA", np.ones((len(noise(SHAPE, 1.0)), 2, 4)))
    assert warned(path) == []
    add_column(path, "CORRECTED_DATA", noise(SHAPE, NOISE_JY) * 1.001)
    assert warned(path) == []


def test_vanished_set_is_reported(noisy: Callable[..., str]) -> None:
    path = noisy()
    survey = survey_set(path, "DATA")
    shutil.rmtree(path)
    assert summarise_findings(set_warnings([survey], "DATA")) == [f"{path}: no such measurement set"]


def test_common_warning_is_reported_once(noisy: Callable[..., str], tmp_path: Path) -> None:
    other = make_set(tmp_path / "b.MS", SHAPE, with_data=True)
    add_column(other, "DATA", noise(SHAPE, 2e3 * NOISE_JY))
    surveys = [survey_set(path, "DATA") for path in (noisy(1e3 * NOISE_JY), other)]
    (said,) = summarise_findings(set_warnings(surveys, "DATA"))
    assert "a.MS (and 1 other: b.MS): the noise" in said


def test_check_warns_and_passes(hba_set_generic: Path, tmp_path: Path) -> None:
    """A real set whose DATA was never calibrated: one warning for each sign of it, and nothing wrong."""
    options = [f"--set=data_input_filenames=[{hba_set_generic}]", "--set=cellsize_highres_deg=0.02"]
    command = [sys.executable, "-m", "lofarpipe.cli", "--check", "image.parset", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "set data_column = CORRECTED_DATA" in said[0]
    assert "does not look calibrated to Jy" in said[1]
    assert "nothing wrong" in done.stdout


# ---- after the run


def test_run_reports_uncalibrated_data(small_image: Path) -> None:
    """In run.json and in the report; from the check, and from the numbers of the image."""
    warnings = json.loads((small_image / "run.json").read_text())["warnings"]
    assert any("does not look calibrated to Jy" in text for text in warnings)
    assert any(text.startswith("measure_quality: the noise is ") for text in warnings)
    report = (small_image / "report.html").read_text()
    assert "measure_quality: the noise is " in report
    assert "does not look calibrated to Jy" in report


def facts(
    ratio: float | None = 1.0, peak_jy: float = 1.0, frequency_hz: float = 150e6, beam: float = 20.0
) -> dict[str, Any]:
    values = {"measured_over_expected": ratio, "peak": peak_jy, "frequency": frequency_hz, "beam_major": beam}
    return {name: {"value": value} for name, value in values.items()}


BOTH = frozenset({"DATA", "CORRECTED_DATA"})


@pytest.mark.parametrize("ratio", [None, 0.2, 1.0, 5.0])
def test_plausible_numbers_pass(ratio: float | None) -> None:
    assert image_warnings(facts(ratio), ELSEWHERE_DEG, "DATA", BOTH) == []


@pytest.mark.parametrize(
    ("ratio", "column", "columns", "said"),
    [
        (
            5.5e-5,
            "DATA",
            BOTH,
            "5.5e-05 times the expected one: the data do not look calibrated; set data_column = CORR",
        ),
        (
            0.19,
            "DATA",
            frozenset({"DATA"}),
            "0.19 times the expected one: the data do not look calibrated; calibrate th",
        ),
        (0.19, "CORRECTED_DATA", BOTH, "the data do not look calibrated; calibrate the data"),
        (5.1, "DATA", BOTH, "cleaning ended early (niter, auto_threshold); set data_column = CORRECTED_DATA"),
        (1.5e6, "CORRECTED_DATA", BOTH, "1.5e+06 times the expected one: the data are not, or not well, calibrated"),
    ],
)
def test_impossible_image_noise_warns(ratio: float, column: str, columns: frozenset[str], said: str) -> None:
    (found,) = image_warnings(facts(ratio), ELSEWHERE_DEG, column, columns)
    assert said in found


def test_dirty_image_noise_is_not_judged() -> None:
    assert image_warnings(facts(50.0), ELSEWHERE_DEG, "DATA", BOTH, is_cleaned=False) == []
    assert len(image_warnings(facts(0.1), ELSEWHERE_DEG, "DATA", BOTH, is_cleaned=False)) == 1


def test_impossible_peak_warns() -> None:
    """Tau A has 1838 Jy at 150 MHz: 10 ** (3.915 - 0.299 * 2.1761); twice that is too much."""
    assert highest_peak_jy(150e6, ELSEWHERE_DEG) == pytest.approx(2 * 1838, rel=1e-3)
    assert image_warnings(facts(peak_jy=3600.0), ELSEWHERE_DEG, "DATA", BOTH) == []
    (said,) = image_warnings(facts(peak_jy=3700.0), ELSEWHERE_DEG, "DATA", frozenset())
    assert said.startswith("the peak is 3.7 kJy, and no source in this direction is brighter than 3.676 kJy: ")


def test_brightest_known_sources_pass() -> None:
    """Cas A had 13.7 kJy at 150 MHz: 10 ** (5.625 - 0.634 * 2.1761 - 0.023 * 2.1761 ** 2)."""
    assert highest_peak_jy(150e6, CYG_A_DEG) == pytest.approx(2 * 13_680, rel=1e-2)
    assert image_warnings(facts(peak_jy=11e3), CYG_A_DEG, "DATA", BOTH) == []
    assert image_warnings(facts(peak_jy=43e3, frequency_hz=30e6), (351.0, 59.0), "DATA", BOTH) == []
    assert len(image_warnings(facts(peak_jy=11e3), ELSEWHERE_DEG, "DATA", BOTH)) == 1


def test_wide_beams_allow_galactic_flux() -> None:
    assert image_warnings(facts(peak_jy=1e5, beam=7200.0), ELSEWHERE_DEG, "DATA", BOTH) == []
