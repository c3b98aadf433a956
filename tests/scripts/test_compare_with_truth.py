"""The script that compares: its table, its errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from loading import load_script
from lofarpipe.imaging.simulation.sky import write_truth
from made_sources import NPIX, restored
from made_truth import TRUTH, write

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare_with_truth.py"


@pytest.fixture(scope="module")
def script():
    return load_script("compare_with_truth")


@pytest.fixture
def run_directory(tmp_path):
    """An image and its truth."""
    noise = np.random.default_rng(2).normal(0, 1e-3, (NPIX, NPIX))
    write(tmp_path / "full-MFS-image-pb.fits", restored(1.25, 218.0, 48.0).pixels + noise)
    write_truth(tmp_path / "truth.json", TRUTH)
    return tmp_path


def test_main_returns_the_table_and_the_rms(script, run_directory):
    kept = run_directory / "table.txt"
    made = script.main(
        str(run_directory / "full-MFS-image-pb.fits"), str(run_directory / "truth.json"), table=str(kept)
    )
    assert tuple(made) == script.OUTPUTS
    assert float(made["rms_jy"]) == pytest.approx(1e-3, rel=0.1)
    assert kept.read_text() == made["table"] + "\n"
    assert "near" in made["table"]


def test_command_line_prints_table_and_rms(run_directory):
    image, truth = run_directory / "full-MFS-image-pb.fits", run_directory / "truth.json"
    argv = [sys.executable, str(SCRIPT), str(image), str(truth), "--flat", str(image)]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].split()[:2] == ["source", "distance"]
    assert lines[-1].startswith("rms ")


def test_missing_image_gives_one_line(run_directory):
    argv = [sys.executable, str(SCRIPT), "nothing.fits", str(run_directory / "truth.json")]
    finished = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr == "compare_with_truth.py: nothing.fits: no such image\n"
