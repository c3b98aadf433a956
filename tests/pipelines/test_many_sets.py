"""An observation of full size, but for its data: 244 subbands with long names at three times, 1024 open files."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from made_sets import make_many_sets
from pipeline_runner import run_pipeline

SUBBANDS, BLOCKS = 244, 3
SMALL = ["-s", "cellsize_highres_deg=0.02", "-s", "maxlambda_highres=1500", "-s", "niter=20", "-s", "mgain=0.5"]
LONGEST_LINE = 4000  # characters


@pytest.fixture(scope="module")
def observation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of sets; the path of each has 300 characters."""
    top = tmp_path_factory.mktemp("many")
    directory = top / ("d" * 130)
    directory /= "e" * (300 - len(str(directory)) - len("/L628614_T0_SB000.MS") - 1)
    directory.mkdir(parents=True)
    sets = make_many_sets(directory, SUBBANDS, BLOCKS)
    assert len(sets) == SUBBANDS * BLOCKS
    assert {len(str(path)) for path in sets} == {300}
    return directory


@pytest.fixture
def few_open_files():
    """The soft limit that a login usually has."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_full_observation_is_imaged(programs, observation, tmp_path, few_open_files):
    needed = 100 + 32 * SUBBANDS
    if (hard := resource.getrlimit(resource.RLIMIT_NOFILE)[1]) != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"the hard limit of open files is {hard}, and {needed} are needed")
    finished = run_pipeline(tmp_path, "image.parset", "-s", f"data_input_filenames=[{observation}/*.MS]", *SMALL)
    assert finished.returncode == 0, finished.stderr
    lines = [*finished.stdout.splitlines(), *finished.stderr.splitlines()]
    assert max(map(len, lines)) < LONGEST_LINE
    job = tmp_path / "image"
    assert max(map(len, (job / "commands.txt").read_text().splitlines())) < LONGEST_LINE
    header = fits.getheader(job / "fullband-MFS-image-pb.fits")
    middle_hz = 120.2e6 + (SUBBANDS - 1) / 2 * 195312.5
    assert header["CRVAL3"] == pytest.approx(middle_hz, rel=0.01)
    quality = json.loads((job / "quality.json").read_text())
    assert quality["bandwidth"]["value"] == pytest.approx(SUBBANDS * 195312.5, rel=1e-6)
    record = json.loads((job / "run.json").read_text())
    assert {str(path) for path in observation.glob("*.MS")} <= {entry["path"] for entry in record["inputs"]}
    _assert_by_hand(job, observation)


def _assert_by_hand(job: Path, observation: Path) -> None:
    """The command of a job that reads a file of sets can be typed."""
    commands = dict(line.split(": ", 1) for line in (job / "commands.txt").read_text().splitlines())
    command = commands["average_dpppconcat/000"]
    words = command.split()
    assert words[1] == f"{job}/jobs/average_dpppconcat/000.parset"
    text = Path(words[1]).read_text()
    assert text.count(str(observation)) == SUBBANDS
    assert text.startswith("msin=[")


def test_failure_gives_short_lines(programs, observation, tmp_path, few_open_files):
    sets = sorted(observation.glob("*_T0_*.MS"))[:60]
    finished = run_pipeline(
        tmp_path,
        *("image.parset", "-s", f"data_input_filenames=[{','.join(map(str, sets))}]", *SMALL),
        *("-s", "average_dpppconcat.argument.avg.timestp=2"),
    )
    assert finished.returncode == 1
    assert "avg.timestp" in finished.stderr
    assert max(map(len, finished.stderr.splitlines())) < LONGEST_LINE


def test_open_file_limit_is_checked_before_run(observation, tmp_path):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 2000));"
        "from lofarpipe.cli import main; sys.exit(main())"
    )
    sets = sorted(observation.glob("*_T0_*.MS"))[:60]
    words = ["--check", "image.parset", "-s", f"data_input_filenames=[{','.join(map(str, sets))}]", *SMALL]
    finished = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 1
    assert "DP3 has the 60 sets of a time block open together, some 2020 files, and this machine allows 2000" in (
        finished.stderr
    )
