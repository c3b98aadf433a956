"""A job directory that was used before, with other options: every product is that of a fresh one."""

import os
import random
import shutil
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from lofarpipe.imaging.simulation.observation import simulate
from lofarpipe.imaging.simulation.stations import ObservationSettings
from lofarpipe.programs.dp3 import predict_argv
from lofarpipe.programs.find import find, job_environment
from pipeline_runner import run_pipeline
from same_products import differences, products

pytestmark = pytest.mark.usefixtures("programs")

# Without the plots, which take long and add nothing.
STEPS = (
    "create_ms_map, combine_mapfile, do_magic, do_magic_maps, copy_sets, concat_fused_{{ fuse_average_concat }}, "
    "combine_mapfile_concat, wsclean_high_deep, make_primary_beam, measure_quality, copy_output_images, "
    "make_image_metadata, compare_fluxes"
)
FIXED = {"pipeline.steps": f"[{STEPS}]", "cellsize_highres_deg": "0.05", "auto_threshold": "1", "auto_mask": "2"}
# Option -> values; the first of each make the runs that are always done.
CHOICES: dict[str, list[str]] = {
    "gridder": ["wgridder", "auto"],
    "robust": ["0", "-1", "2"],
    "channels_out": ["0", "1", "2", "3"],
    "fieldsize_highres": ["1.5", "1.2"],
    "subbands": ["4", "3", "1"],
    "niter": ["20", "0", "1"],
    "wsclean_high_deep.argument.pol": ["I", "IQUV"],
    "maxlambda_highres": ["1000", "600"],
    "spectral_index": ["-0.7", "0"],
    "reference_skymodel": ["auto", "none"],
    "fuse_average_concat": ["True", "False"],
}
Options = Mapping[str, str]
# In another order each time, for hypothesis begins with the first of each.
ORDER = random.SystemRandom()
option_sets = st.fixed_dictionaries(
    {name: st.sampled_from(ORDER.sample(values, len(values))) for name, values in CHOICES.items()}
)


@pytest.fixture(scope="session")
def tiny_observation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four subbands of eight stations, with three sources, their beams and noise."""

    def run(commands: list[list[str]]) -> None:
        for argv in commands:
            subprocess.run(argv, env=os.environ | job_environment(), check=True, capture_output=True)

    folder = tmp_path_factory.mktemp("observation")
    settings = ObservationSettings(nstations=8, nsubbands=4, nchannels=2, slots_per_block=4, nblocks=1, nsources=3)
    simulate(folder, settings, partial(predict_argv, str(find("DP3"))), run, True)
    return folder


class Directories:
    """One job directory that is used again and again, and a fresh one for each set of options."""

    def __init__(self, root: Path, observation: Path) -> None:
        self.root, self.sets = root, sorted(observation.glob("*.MS"))
        self.used = root / "used0"  # as long as the name of the fresh one, which stands in headers
        self.used.mkdir()

    def run(self, here: Path, options: Options) -> str:
        """Run the pipeline, and return its messages if it fails."""
        given = {**FIXED, **options}
        given["data_input_filenames"] = f"[{','.join(map(str, self.sets[: int(given.pop('subbands'))]))}]"
        words = [word for key, value in given.items() for word in ("--set", f"{key}={value}")]
        done = run_pipeline(here, "image.parset", "--cores", "1", "--memory-gb", "1", *words)
        return "" if done.returncode == 0 else done.stderr.replace(str(here), "<here>")

    def compare(self, options: Options) -> list[str]:
        """Return the differences between the used directory and a fresh one after a run with these options."""
        fresh = self.root / "fresh"
        fresh.mkdir()
        try:
            said = [self.run(here, options) for here in (self.used, fresh)]
            assert bool(said[0]) == bool(said[1]), said
            return [] if said[0] else differences(products(self.used), products(fresh))
        finally:
            shutil.rmtree(fresh)


RICH = {name: values[0] for name, values in CHOICES.items()} | {
    "channels_out": "3",
    "wsclean_high_deep.argument.pol": "IQUV",
}
BEAM = RICH | {"gridder": "auto", "wsclean_high_deep.argument.pol": "I"}
POOR = RICH | {"channels_out": "1", "subbands": "3", "wsclean_high_deep.argument.pol": "I", "robust": "-1"}
POOR |= {"reference_skymodel": "none", "fuse_average_concat": "False"}


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory, tiny_observation: Path) -> Directories:
    """A directory with many products: channels, polarisations, a comparison."""
    made = Directories(tmp_path_factory.mktemp("runs"), tiny_observation)
    assert made.run(made.used, RICH) == ""
    return made


@pytest.fixture
def with_idg(
    tmp_path: Path, tiny_observation: Path, wsclean_with_idg: Path, monkeypatch: pytest.MonkeyPatch
) -> Directories:
    """The same of a WSClean that corrects for the beam itself."""
    monkeypatch.setenv("PATH", f"{wsclean_with_idg}{os.pathsep}{os.environ['PATH']}")
    made = Directories(tmp_path, tiny_observation)
    assert made.run(made.used, BEAM) == ""
    return made


# One random set of options, which takes two runs; more with SAME_DIRECTORY_EXAMPLES=20.
EXAMPLES = int(os.environ.get("SAME_DIRECTORY_EXAMPLES") or 1)
walk = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=False,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@walk
@given(option_sets)
@example(POOR)
def test_reused_directory_gives_fresh_products(directories: Directories, options: Options) -> None:
    assert directories.compare(options) == []


def test_images_of_another_gridder_are_ignored(with_idg: Directories) -> None:
    """WSClean corrected the images of the first run for its beam; the second one makes them without."""
    assert "fullband-MFS-image-pb.fits" in products(with_idg.used)
    assert with_idg.compare(BEAM | {"gridder": "wgridder", "channels_out": "2"}) == []
