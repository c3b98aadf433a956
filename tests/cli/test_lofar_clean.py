"""The command lofar-clean: words to settings, errors, and one small image."""

from __future__ import annotations

import math
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.cli.lofar_clean import main, split_words
from lofarpipe.errors import UsageError
from lofarpipe.programs.lofar_clean import options
from lofarpipe.programs.lofar_clean.settings import make_settings
from small_sets import C_M_S, SetShape, make_set

COMMAND = Path(sys.executable).with_name("lofar-clean")
HELP_CPU_S = 0.15  # 0.04 on a machine that is not busy
SHAPE = SetShape(nantennas=10, ntimes=12, timestep_s=600.0, nchan=4, channel_width_hz=1e6, extent_m=1500.0)
CELL_ASEC = 60
CELL_RAD = math.radians(CELL_ASEC / 3600)
PLACE = 14 * CELL_RAD, 21 * CELL_RAD  # l and m of the source
IMAGE = ["-size", "96", "64", "-scale", f"{CELL_ASEC}asec", "-channels-out", "2", "-join-channels", "-j", "1"]
CLEAN = ["-niter", "500", "-auto-threshold", "3", "-auto-mask", "5", "-mgain", "0.8", "-weight", "briggs", "0"]


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A set with one source of 2 Jy and noise."""
    path = make_set(tmp_path_factory.mktemp("set") / "a.ms", SHAPE, with_data=True)
    rng = np.random.default_rng(1)
    direction = [*PLACE, math.sqrt(1 - PLACE[0] ** 2 - PLACE[1] ** 2) - 1]
    with ct.table(path, readonly=False, ack=False) as table:
        visibilities = table.getcol("DATA")
        delay = table.getcol("UVW") @ direction
        phase = 2 * np.exp(2j * np.pi * delay[:, None] * SHAPE.frequencies_hz / C_M_S)
        visibilities[..., 0] = visibilities[..., 3] = phase
        visibilities += 0.1 * (rng.standard_normal(visibilities.shape) + 1j * rng.standard_normal(visibilities.shape))
        table.putcol("DATA", visibilities)
    return path


def error(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Return exit status and message."""
    status = main(words)
    return status, capsys.readouterr().err.removeprefix("lofar-clean: ").rstrip()


def settings(*words: str) -> Mapping[str, object]:
    given, sets = split_words([*IMAGE, *words, "a.ms"])
    return vars(make_settings(given, sets))


def test_image_shows_source_at_its_position(
    observation: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*IMAGE, *CLEAN, "-name", str(tmp_path / "a"), observation]) == 0
    log = capsys.readouterr().out
    assert log.startswith(f"{options.VERSION}\n-mgain has no effect: ")
    assert " == Deconvolving (1) ==\nInitial peak: " in log
    image, header = fits.getdata(tmp_path / "a-MFS-image.fits")[0, 0], fits.getheader(tmp_path / "a-MFS-image.fits")
    y, x = np.unravel_index(image.argmax(), image.shape)
    assert (x - 48, y - 32) == (-14, 21)
    assert image.max() == pytest.approx(2, rel=0.05)
    command = "".join(header["HISTORY"][1:])
    assert command.startswith("lofar-clean -size 96 64 -scale 60asec")
    assert len(list(tmp_path.glob("a-*.fits"))) == 15


def test_quiet_run_prints_nothing(observation: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*IMAGE, "-quiet", "-no-dirty", "-name", str(tmp_path / "a"), observation]) == 0
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.glob("*-dirty.fits"))


def test_words_become_settings() -> None:
    more = ["--minuv-l", "80", "-taper-gaussian", "2amin", "-pol", "iq", "-abs-mem", "2", "-nmiter", "0"]
    more += ["-average-channels", "-station-beams", "1.5"]
    given = settings(*CLEAN, *more)
    assert (given["size"], given["channels_out"], given["pol"]) == ((96, 64), 2, ("I", "Q"))
    assert given["weighting"] == ("briggs", 0.0)
    assert given["cell_rad"] == pytest.approx(math.radians(1 / 60))
    assert given["taper_gaussian_rad"] == pytest.approx(math.radians(2 / 60))
    assert (given["min_uv_lambda"], given["majors"], given["memory_bytes"], given["threads"]) == (80, 20, 2 * 10**9, 1)
    assert (given["auto_mask"], given["auto_threshold"], given["niter"], given["mgain"]) == (5, 3, 500, 0.8)
    assert given["sets"] == ("a.ms",)
    assert (given["average_channels"], given["station_beams_jy"]) == (True, 1.5)


def test_defaults_equal_settings() -> None:
    given = settings("-multiscale", "-multiscale-scales", "0,6,12", "-local-rms-window", "30", "-mem", "50", "-j", "3")
    assert (given["weighting"], given["name"], given["majors"], given["field_id"]) == ("uniform", "wsclean", 8, 0)
    assert (given["scales"], given["local_rms"], given["threads"]) == ((0, 6, 12), True, 3)
    assert given["memory_bytes"] > 10**8
    assert given["save_model_data"] is False
    assert settings("-weight", "natural", "-update-model-required")["save_model_data"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-nither", "3"], "-nither: no such option; did you mean 'niter'?; see lofar-clean -help"),
        (["-size", "100", "-scale"], "-size is '100 -scale'; an integer >= 16 and"),
        (
            [*IMAGE, "-use-idg", "a.ms"],
            "-use-idg: there is no IDG, and there are no a-terms; remove it, or",
        ),
        ([*IMAGE], "no measurement set is named; give one or more behind the options"),
        ([*IMAGE, "no.ms"], "no.ms: there is no such measurement set"),
        ([*IMAGE, "a.ms", "-niter", "3"], "-niter: stands behind the measurement set a.ms; put it before"),
    ],
)
def test_wrong_usage_is_reported(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = error(words, capsys)
    assert status == 2
    assert said.startswith(message)


def test_missing_package_is_reported(
    observation: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*IMAGE, "-dry-run", observation]) == 0
    monkeypatch.setattr(options, "PACKAGES", ("no_such_package",))
    assert error([*IMAGE, observation], capsys) == (
        1,
        "no_such_package: not installed; pip install 'genericpipeline[imager]', or use another imager",
    )


def test_version_and_help_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-j", "2", "-version"]) == 0
    assert main(["-help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{options.VERSION}\n{options.VERSION}\nMakes cleaned images")
    with pytest.raises(UsageError, match="-: no such option"):
        split_words(["-"])


@pytest.mark.parametrize("word", ["--version", "--help"])
def test_version_and_help_are_fast(word: str) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run([COMMAND, word], capture_output=True, text=True, check=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert said.startswith(options.VERSION)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < HELP_CPU_S
