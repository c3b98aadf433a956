"""A small observation, and its image after an undisturbed run."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chaos_products import names, products
from chaos_site import Site
from copy_pipeline import copy_step, list_step
from lofarpipe.errors import PipelineError
from lofarpipe.programs.find import find

SIZE = {"nstations": 10, "nsubbands": 2, "nchannels": 4, "slots-per-block": 8, "nblocks": 2, "nsources": 3}
# One core: with several threads WSClean adds in an order of its own, and the last bits of pixels differ.
SHARE = ["--cores", "1", "--memory-gb", "2"]
OPTIONS = {"cellsize_highres_deg": 0.04, "maxlambda_highres": 1200, "niter": 100}
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run."""

    site: Site
    products: dict[str, Any]
    names: set[str]
    duration_s: float


@pytest.fixture(scope="session")
def observation(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Two subbands, two time blocks, ten stations, three sources; skips where DP3 or WSClean is not installed."""
    for name in ("wsclean", "DP3"):
        try:
            find(name)
        except PipelineError as err:
            pytest.skip(str(err))
    directory = tmp_path_factory.mktemp("chaos_observation") / "sets"
    simulate = repository / "scripts" / "simulate_observation.py"
    size = [f"--{key}={value}" for key, value in SIZE.items()]
    subprocess.run([sys.executable, str(simulate), str(directory), *size], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="session")
def image_site(observation: Path) -> Callable[[Path], Site]:
    """Return a function that makes a place for the image of the observation; scratch files go to scratch/ there."""

    def make(here: Path, *more: str) -> Site:
        options = {
            **OPTIONS,
            "data_input_filenames": f"[{observation}/*.MS]",
            "local_scratch_dir": here / "scratch",
            "make_source_list": importlib.util.find_spec("bdsf") is not None,
        }
        return Site(here, ["image.parset", *SHARE, *(f"--set={key}={value}" for key, value in options.items()), *more])

    return make


@pytest.fixture(scope="session")
def undisturbed(image_site: Callable[[Path], Site], tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """The image of the observation, made in one go."""
    site = image_site(tmp_path_factory.mktemp("chaos_undisturbed") / "site")
    began = time.monotonic()
    site.finish()
    return Undisturbed(site, products(site.job), names(site.job), time.monotonic() - began)


@pytest.fixture
def small_site(tmp_path: Path) -> Site:
    """Three files of a megabyte, copied one after the other, and those copies once more."""
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for number in range(3):
        (inputs / f"{number}.txt").write_bytes(f"{number}".encode() * MEGABYTE)
    steps = list_step(f"[{inputs}/0.txt, {inputs}/1.txt, {inputs}/2.txt]") + copy_step() + copy_step("again", "copy")
    (tmp_path / "small.parset").write_text("pipeline.steps = [list, copy, again]\n" + steps)
    return Site(tmp_path / "site", [str(tmp_path / "small.parset"), "--cores", "1"])
