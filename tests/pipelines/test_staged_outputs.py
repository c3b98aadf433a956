"""DP3 and WSClean write under temporary names until complete; their outputs are the same."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest
from astropy.io import fits

from copy_pipeline import list_step
from pipeline_runner import run_pipeline
from small_sets import SetShape, make_set

pytestmark = pytest.mark.usefixtures("programs")

LIMIT_S = 60.0
STEPS = """\
pipeline.steps = [maps, average, image]
average.control.type = dp3
average.control.mapfile_in = maps.output.mapfile
average.control.inputkey = msfile
average.argument.msin = msfile
average.argument.msout.overwrite = True
average.argument.steps = [avg]
average.argument.avg.type = average
average.argument.avg.freqstep = 2
image.control.type = wsclean
image.control.mapfile_in = average.output.mapfile
image.control.inputkey = msfile
image.control.inplace = True
image.argument.flags = [-no-update-model-required, -join-channels, msfile]
image.argument.name = {images}/x
image.argument.size = 256 256
image.argument.scale = 20asec
image.argument.channels-out = 2
image.argument.niter = {niter}
image.argument.mgain = 0.8
image.argument.pol = I
# more threads add numbers in another order each time
image.argument.j = 1
"""
PARSET = STEPS + list_step("[{sets}]", "maps")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 3120 rows with a source in the middle, and noise."""
    path = tmp_path_factory.mktemp("sets") / "a.ms"
    make_set(path, SetShape(), with_data=True)
    rng = np.random.default_rng(1)
    with ct.table(str(path), readonly=False, ack=False) as table:
        shape = table.getcol("DATA").shape
        table.putcol("DATA", 1 + 0.1 * (rng.normal(size=shape) + 1j * rng.normal(size=shape)))
    return path


def write_parset(here: Path, recorded: Path, niter: int = 20) -> None:
    (here / "images").mkdir()
    text = PARSET.format(sets=recorded, images=here / "images", niter=niter)
    (here / "p.parset").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_staged_outputs_equal_unstaged_outputs(tmp_path: Path, recorded: Path) -> None:
    strict, lenient = tmp_path / "strict", tmp_path / "lenient"
    for here, option in ((strict, []), (lenient, ["--lenient"])):
        here.mkdir()
        write_parset(here, recorded)
        done = run_pipeline(here, "p.parset", "-r", here, "-w", here, *option)
        assert done.returncode == 0, done.stdout + done.stderr
    assert names(strict / "images") == names(lenient / "images")
    assert "x-MFS-image.fits" in names(strict / "images")
    for name in names(strict / "images"):
        assert np.array_equal(fits.getdata(strict / "images" / name), fits.getdata(lenient / "images" / name))
    tables = [ct.table(str(here / "p" / "a.average"), ack=False) for here in (strict, lenient)]
    for column in ("DATA", "FLAG", "WEIGHT_SPECTRUM", "UVW", "TIME"):
        assert np.array_equal(*(table.getcol(column) for table in tables)), column
    assert [path.name for path in (strict / "p").iterdir() if "incomplete" in path.name] == []
    assert "until they are complete, outputs are below" in (strict / "p/logs/image/000.log").read_text()
    commands = (strict / "p/commands.txt").read_text()
    assert f"-name {strict}/images/x" in commands
    assert "incomplete" not in commands


def test_second_run_replaces_the_set(tmp_path: Path, recorded: Path) -> None:
    write_parset(tmp_path, recorded, niter=0)
    assert run_pipeline(tmp_path, "p.parset", "-r", tmp_path, "-w", tmp_path).returncode == 0
    output = tmp_path / "p" / "a.average"
    before = output.stat().st_ino
    assert run_pipeline(tmp_path, "p.parset", "--forget", "average", "-r", tmp_path, "-w", tmp_path).returncode == 0
    assert run_pipeline(tmp_path, "p.parset", "-r", tmp_path, "-w", tmp_path).returncode == 0
    assert output.stat().st_ino != before
    assert ct.table(str(output), ack=False).nrows() == 3120


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGUSR1])
def test_killed_wsclean_leaves_no_files(tmp_path: Path, recorded: Path, number: signal.Signals) -> None:
    write_parset(tmp_path, recorded, niter=100_000_000)
    command = [sys.executable, "-m", "lofarpipe.cli", "p.parset", "-r", str(tmp_path), "-w", str(tmp_path)]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    wait_for(lambda: list(tmp_path.glob("images/.x.*/x-*dirty*")) and list(tmp_path.rglob("*.tmp")))
    process.send_signal(number)
    if number == signal.SIGINT:
        process.send_signal(number)  # the second one is harmless
    assert process.wait(timeout=LIMIT_S) in (-number, 128 + number)
    wait_for(lambda: names(tmp_path / "images") == [])
    wait_for(
        lambda: not list(tmp_path.rglob("*.tmp")) and not [path for path in names(tmp_path / "p") if "-image-" in path]
    )
    assert not [path for path in names(recorded.parent) if path != "a.ms"]


def wait_for(happened) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
