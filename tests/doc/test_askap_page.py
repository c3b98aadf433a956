"""The page of the ASKAP pipeline: its commands make cubes, its tables are complete."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from array_feed_sky import PolarisedSource, make_observed_beam
from doc_pages import REPOSITORY, blocks, code_words, table
from lofarpipe.cli.spice.cluster import ADAPT_KEYS, KWARGS_KEYS, WITHOUT_EFFECT
from lofarpipe.cli.spice.table import PROCESS_OPTIONS, SpiceOption, spice_options

PAGE = REPOSITORY / "doc" / "pipelines" / "askap.md"


def row(option: SpiceOption) -> list[str]:
    name = option.name if option.name in ("msdir", "datadir") else f"--{option.name}"
    return [f"`{name}`", f"`{option.default}`" if option.default else "", option.domain, option.meaning]


def tables() -> list[list[str]]:
    """Return the rows of both tables of options."""
    _, *parts = PAGE.read_text().split("| option | default | values | meaning |\n| --- | --- | --- | --- |\n")
    lines = [line for part in parts for line in part.partition("\n\n")[0].splitlines()]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_page_lists_every_option() -> None:
    wanted = [row(option) for option in (*spice_options().values(), *PROCESS_OPTIONS)]
    assert tables()[:-1] == wanted
    assert tables()[-1][0] == "`--config`"


def test_page_lists_every_cluster_key() -> None:
    listed = {word for cells in table(PAGE, "| key | meaning") for cell in cells for word in code_words(cell)}
    assert KWARGS_KEYS.keys() | ADAPT_KEYS.keys() <= listed
    text = PAGE.read_text()
    assert all(f"`{key}`" in text for keys in WITHOUT_EFFECT.values() for key in keys)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")
def test_commands_of_the_page_make_cubes(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    pytest.importorskip("radio_beam", reason="radio_beam is not installed")
    (tmp_path / "beams").mkdir()
    for beam in range(2):
        path = tmp_path / "beams" / f"scienceData.RACS_1347-37A.beam{beam:02d}_averaged_cal.leakage.ms"
        make_observed_beam(path, [PolarisedSource(1e-4, -1e-4, (1.0, 0.3, -0.2, 0.0))], beam)
    (yaml,) = [block for block in blocks(PAGE) if block.kind == "yaml"]
    (tmp_path / yaml.file).write_text(yaml.text)
    lines = [line for block in blocks(PAGE) if block.kind == "shell" for line in block.text.splitlines()]
    lines = [line for line in lines if line.startswith("spice_")]
    assert len(lines) == 4
    more = ["--local_wsclean", str(shutil.which("wsclean")), "--niter", "50", "--scale", "12"]
    printed = [run(tmp_path, *shlex.split(line), *more) for line in lines]
    assert "image_i/000" in printed[0]
    assert printed[1].count("done") >= 8
    assert "fix_ms: 2 jobs" not in printed[2]  # the sets are done; another weighting images again
    (python,) = [block for block in blocks(PAGE) if block.kind == "python"]
    assert "main(" in python.text
    names = {path.name for path in (tmp_path / "images").iterdir()}
    assert {f"image.restored.{p}.CDFS_2_5.contcube.beam0{n}.conv.fits" for p in "iqu" for n in range(2)} <= names
    assert len(list((tmp_path / "images" / "spice.runs").iterdir())) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"beams", "images", yaml.file}


def run(here: Path, *words: str) -> str:
    """Run a front end as on its page; return its output."""
    command = [sys.executable, "-m", "lofarpipe.cli", *words]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
