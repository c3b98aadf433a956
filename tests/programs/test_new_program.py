"""A third program is one module in programs/: the one that doc/add_a_step.md shows, in whole small runs."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from doc_pages import REPOSITORY, blocks
from lofarpipe import programs
from lofarpipe.cli import main
from lofarpipe.errors import PipelineError
from lofarpipe.programs import base as registry
from lofarpipe.programs.base import KNOWN_PROGRAMS, Progress, program_key
from lofarpipe.programs.find import find
from lofarpipe.programs.logs import ProgressReader, hint_for
from lofarpipe.support.data_map import DataMap, DataProduct

FOLDER = Path(__file__).parent / "new_program"
STEPS_PAGE = REPOSITORY / "doc" / "add_a_step.md"
# An imager of sets that are text files; of a set that says so it diverges, fails, or kills the runner.
SKETCH = """\
#!{python} -IS
import os, sys, time
if sys.argv[1:] == ["--version"]:
    sys.exit(print("sketch 1.5"))
options = dict(word[2:].split("=", 1) for word in sys.argv[2:])
text = open(sys.argv[1]).read()
print(*sys.argv[1:], sep="\\n")
if "diverges" in text:
    print("residual 7 Jy\\nresidual 900 Jy", flush=True)
    time.sleep(60)
if options.get("subtract") == "yes":
    open(sys.argv[1], "a").write("subtracted\\n")
if "kills" in text:
    os.kill(os.getppid(), 9)
if "fails" in text:
    sys.exit(print("GridError: no such grid", flush=True) or 3)
open(options["name"] + "-map.fits", "w").write(text)
"""
CONFIG = "[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n"


class Site:
    """A directory with the program on PATH, one set, and a parset with one step that images it."""

    def __init__(self, here: Path) -> None:
        self.here = here
        (here / "bin").mkdir()
        program = here / "bin" / "sketch"
        program.write_text(SKETCH.format(python=sys.executable))
        program.chmod(0o755)
        (here / "pipeline.cfg").write_text(CONFIG.format(here=here))
        DataMap([DataProduct("localhost", f"{here}/set.txt", False)]).save(f"{here}/sets.mapfile")
        (parset,) = [block.text for block in blocks(STEPS_PAGE) if "= sketch" in block.text]
        (here / "new.parset").write_text(parset.replace("/data/", f"{here}/"))
        self.log = here / "new" / "logs" / "image" / "000.log"

    def run(self, text: str, *arguments: str) -> int:
        """Image a set with this text; ``arguments`` are set on the step, or options."""
        (self.here / "set.txt").write_text(text)
        return self.again(*arguments)

    def again(self, *arguments: str) -> int:
        return main(self.arguments(*arguments))

    def arguments(self, *arguments: str) -> list[str]:
        words = [word if word.startswith("-") else f"--set=image.{word}" for word in arguments]
        return [f"{self.here}/new.parset", "-c", f"{self.here}/pipeline.cfg", *words]


@pytest.fixture
def site(tmp_path, monkeypatch):
    """The example module is added to the package, as if it had been put there."""
    monkeypatch.setattr(programs, "__path__", [*programs.__path__, str(FOLDER)])
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    registry._load.cache_clear()
    importlib.invalidate_caches()
    yield Site(tmp_path)
    registry._load.cache_clear()
    sys.modules.pop("lofarpipe.programs.sketch", None)


def test_documentation_shows_tested_module():
    (shown,) = [block.text for block in blocks(STEPS_PAGE) if "class Sketch" in block.text]
    assert shown == (FOLDER / "sketch.py").read_text().strip()


def test_job_writes_map_with_completed_arguments(site):
    assert site.run("sky", "control.cores=1", "control.list_products=True") == 0
    assert (site.here / "new" / "field-map.fits").read_text() == "sky"
    said = site.log.read_text().splitlines()
    assert {"--size=64", "--threads=1", str(site.here / "set.txt")} <= set(said)
    assert any(line.startswith("--name=") and ".incomplete/" in line for line in said)
    (products,) = DataMap.load(f"{site.here}/new/mapfiles/image.products.mapfile").data
    assert products.file == f"[{site.here}/new/field-map.fits]"
    record = json.loads((site.here / "new" / "run.json").read_text())
    (program,) = record["software"]["programs"]
    assert (program["name"], program["version"]) == ("Sketch", "1.5")


@pytest.mark.parametrize(
    ("argument", "what"),
    [
        ("argument.size=20", "step 'image': size is '20'; a multiple of 8 is needed"),
        ("argument.mask=none.fits", "mask: there is no"),
        ("control.max_residual=many", "image.control.max_residual: is 'many'; a number is needed"),
        ("control.max_residua=5", "no such control key for a 'sketch' step; did you mean 'max_residual'?"),
    ],
)
def test_wrong_argument_is_found_before_run(site, argument, what, capfd):
    assert site.run("sky", argument) != 0
    assert what in capfd.readouterr().err
    assert not site.log.exists()


def test_small_disk_is_found_before_job(site, capfd):
    assert site.run("sky", "argument.size=80000000") != 0
    assert "the map" in capfd.readouterr().err


def test_diverged_job_is_ended(site, capfd):
    assert site.run("diverges") != 0
    assert "the residual is 900 Jy, beyond max_residual = 100 Jy" in capfd.readouterr().err
    assert not (site.here / "new" / "field-map.fits").exists()


def test_failure_names_remedy(site, capfd):
    assert site.run("fails") != 0
    assert "Sketch says: no such grid; make size a multiple of 8" in capfd.readouterr().err
    assert hint_for(["GridError: no such grid"]) == "no such grid; make size a multiple of 8"


def test_killed_run_protects_half_changed_set(site, capfd):
    (site.here / "set.txt").write_text("kills\n")
    code = f"from lofarpipe import cli, programs; programs.__path__.append({str(FOLDER)!r}); cli.main({{!r}})"
    command = [sys.executable, "-c", code.format(site.arguments("argument.subtract=yes"))]
    assert subprocess.run(command, cwd=REPOSITORY, check=False).returncode == -signal.SIGKILL
    assert site.again("argument.subtract=yes") != 0
    assert f"image/000 was cut off while it changed {site.here}/set.txt in place" in capfd.readouterr().err
    assert (site.here / "set.txt").read_text() == "kills\nsubtracted\n"


def test_progress_is_read_from_log(site):
    assert ProgressReader().feed("cycle 1 of 4\n") == Progress("cycle 1 of 4", 0.25)


def test_program_is_found_under_its_names(site):
    assert "sketch" in set(KNOWN_PROGRAMS)
    assert program_key("Sketch") == "sketch"
    assert find("scribble") == site.here / "bin" / "sketch"
    (site.here / "bin" / "sketch").unlink()
    with pytest.raises(PipelineError, match=r"scribble: no such program .*; pip install sketch"):
        find("scribble")


def test_modules_without_program_are_ignored():
    assert set(KNOWN_PROGRAMS) == {"dp3", "lofar_clean", "wsclean"}
    assert len(KNOWN_PROGRAMS) == 3
    for name in ("argv", "nosuch", "", "a.b", "../x"):
        assert name not in KNOWN_PROGRAMS
