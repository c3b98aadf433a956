"""imgpipe on LOFAR, MeerKAT and simulated sets of two windows: killed, resumed, and as typed by hand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from doc_pages import REPOSITORY
from imgpipe_site import ImgpipeSite

pytestmark = pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")
TOML = """
[wsclean]
data-column = '{column}'
size = 128
scale = '30asec'
niter = 20
j = 1
channels-out = 'every 2'
out-dir = 'images/$ms_basename$'
"""


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the sets of two subbands at two times, four channels each."""
    here = tmp_path_factory.mktemp("windows")
    script = REPOSITORY / "scripts" / "simulate_observation.py"
    shape = ("--nstations=6", "--nsubbands=2", "--nblocks=2", "--slots-per-block=4", "--nchannels=4", "--nsources=3")
    done = subprocess.run([sys.executable, script, here / "sets", *shape], capture_output=True, text=True, check=False)
    if done.returncode and "not found" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return here / "sets"


def site_of(tmp_path: Path, *sets: Path, column: str = "DATA") -> tuple[ImgpipeSite, list[str]]:
    """Return a directory with copies of sets, and their names."""
    site = ImgpipeSite(tmp_path)
    for path in sets:
        shutil.copytree(path, tmp_path / path.name)
    site.write(TOML.format(column=column))
    return site, [path.name for path in sets]


def same_by_hand(site: ImgpipeSite, command: list[str], parts: list[str]) -> None:
    """Run a command of a dry run with another name, and compare all of its images, bit for bit."""
    made = command[command.index("-name") + 1]
    words = [str(site.here / "hand") if word == made else word for word in command]
    Path(words[words.index("-temp-dir") + 1]).mkdir()
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run(words, cwd=site.here, env=environment, check=True, capture_output=True)
    for part in parts:
        for kind in ("image", "residual", "psf"):
            ours, typed = (fits.getdata(f"{root}{part}-{kind}.fits") for root in (made, site.here / "hand"))
            assert ours.tobytes() == typed.tobytes()


def sets_of(windows: Path) -> list[Path]:
    found = sorted(path for path in windows.iterdir() if (path / "table.dat").is_file())
    assert len(found) == 4
    return found


def test_windows_are_imaged_separately_and_jointly(windows: Path, tmp_path: Path) -> None:
    site, names = site_of(tmp_path, *sets_of(windows))
    commands = site.commands(site.run("img.toml", *names, "--dry-run"))
    assert "4 of 4 images made" in site.run("img.toml", *names)
    assert [command[command.index("-channels-out") + 1] for command in commands] == ["2"] * 4
    same_by_hand(site, commands[3], ["-0000", "-0001", "-MFS"])
    (command,) = site.commands(site.run("img.toml", *names, "--combine", "--dry-run", "-s", "wsclean.out-dir=all"))
    assert command[command.index("-channels-out") + 1] == "4"  # two subbands of four channels, at two times
    assert "1 of 1 images made" in site.run("img.toml", *names, "--combine", "-s", "wsclean.out-dir=all")
    same_by_hand(site, command, ["-0000", "-0003", "-MFS"])
    names_of_headers = ("all/img-MFS-image.fits", f"images/{names[0]}/img-MFS-image.fits")
    together, alone = (fits.getheader(tmp_path / name) for name in names_of_headers)
    assert together["EXPTIME"] == pytest.approx(2 * alone["EXPTIME"], abs=0.01)


@pytest.mark.parametrize(("fixture", "column"), [("hba_set", "DATA"), ("hba_set_generic", "CORRECTED_DATA")])
def test_lofar_sets_are_imaged(request: pytest.FixtureRequest, tmp_path: Path, fixture: str, column: str) -> None:
    site, names = site_of(tmp_path, request.getfixturevalue(fixture), column=column)
    (command,) = site.commands(site.run("img.toml", *names, "--dry-run"))
    assert "1 of 1 images made" in site.run("img.toml", *names)
    count = int(command[command.index("-channels-out") + 1])
    same_by_hand(site, command, ["-0000", f"-{count - 1:04d}", "-MFS"] if count > 1 else [""])


def test_fully_flagged_set_fails_with_reason(dish_set: Path, tmp_path: Path, hba_set: Path) -> None:
    site, names = site_of(tmp_path, dish_set, hba_set)
    printed = site.run("img.toml", *names, expected=1)
    assert f"{tmp_path}/{names[0]}: " in printed
    assert "the image is empty or undefined" in printed
    assert "1 of 2 images made" in printed
    assert not list(tmp_path.glob(f"images/{names[0]}/*"))


def test_killed_run_resumes_missing_images(windows: Path, tmp_path: Path) -> None:
    site, names = site_of(tmp_path, *sets_of(windows))
    site.write("[worker]\nmax_concurrent = 1\n" + TOML.format(column="DATA"))
    process = site.start("img.toml", *names)
    end = time.monotonic() + 120
    while not site.jobs_done():
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done = site.jobs_done()
    assert len(done) < 4
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob(f"images/{names[0]}/*.fits")}
    assert "4 of 4 images made" in site.run("img.toml", *names)
    assert sorted([*done, *site.jobs_run()]) == [f"image/{number:03d}" for number in range(4)]
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert list(tmp_path.glob("**/.*.part")) == []
    assert list(tmp_path.glob("images/**/.*")) == []
    assert list(tmp_path.glob("**/*.tmp")) == []
    assert np.isfinite(fits.getdata(tmp_path / "images" / names[3] / "img-MFS-image.fits")).all()
