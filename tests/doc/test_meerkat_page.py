"""The page of meerkat.parset: its commands make cubes, its tables list every option and step."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from band_sets import make_band_set
from doc_pages import REPOSITORY, blocks, table

PAGE = REPOSITORY / "doc" / "pipelines" / "meerkat.md"
PARSET = REPOSITORY / "pipelines" / "meerkat.parset"
OPTION = re.compile(r"! (\w+)\s*=\s*(.*?)\s+## \{[^}]*\} (.*)")
SMALL = """
! imsize              = 96
! cell_arcsec         = 15
! frequency_range_mhz = 900~1000
! channel_width_mhz   = 20
! mfs_range_mhz       = 900~1000
! mfs_minuv_lambda    = 0
! mfs_robust          = [0.0]
! mfs_channels_out    = 2
! multiscale_scales   = []
! common_beam_arcsec  = auto
! jobs_at_once        = 2
"""


def test_page_lists_every_option() -> None:
    rows = [[cell.strip("`") for cell in row] for row in table(PAGE, "| option |")]
    options = [match.groups() for line in PARSET.read_text().splitlines() if (match := OPTION.match(line))]
    assert [tuple(row) for row in rows] == options


def test_page_lists_every_step() -> None:
    (steps,) = re.findall(r"^pipeline\.steps = \[(.*)\]", PARSET.read_text(), re.M)
    plugins = {"set", "planned", "scratch_nodes", "merge_{{ write_merged_set }}"}
    named = set(re.findall(r"`(\w+)`", PAGE.read_text()))
    assert set(steps.split(", ")) - plugins <= named


@pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")
def test_commands_of_the_page_make_cubes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    make_band_set(data / "cosmos.ms")
    own, shell, _ = blocks(PAGE)
    (tmp_path / own.file).write_text(own.text.replace("/data/", f"{data}/") + SMALL + f"! scratch_dir = {tmp_path}\n")
    shutil.copy(REPOSITORY / "cfg" / "pipeline.cfg", tmp_path)
    for line in shell.text.splitlines():
        command = [sys.executable, "-m", "lofarpipe.cli", *shlex.split(line)[1:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    products = data / "products" / "cosmos"
    manifest = json.loads((products / "cubes" / "cosmos_cube_IQUV_0.0_96.json").read_text())
    assert [channel["status"] for channel in manifest["channels"]] == ["ok", "ok", "blank", "ok", "ok"]
    assert {path.name for path in products.glob("*.json")} == {"plan.json", "quality.json", "cleanup.json"}
    report = (products / "report.html").read_text()
    assert report.count('<figure class="slices">') == 1
    assert "3 (no data)" in report
