"""Facts on DP3 and WSClean beyond their arguments."""

from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.programs.base import KNOWN_PROGRAMS
from lofarpipe.programs.find import find
from lofarpipe.support.disk import Need
from small_sets import SetShape, make_set
from wsclean_stubs import make_stub

DP3, WSCLEAN = KNOWN_PROGRAMS["dp3"], KNOWN_PROGRAMS["wsclean"]
NOWHERE = Path("/nowhere")


@pytest.fixture(scope="module")
def help_of():
    try:
        return find("wsclean")
    except PipelineError as err:
        pytest.skip(str(err))


@pytest.mark.parametrize(("text", "cores"), [("4", 4), ("", 0), ("many", 0)])
def test_dp3_threads_are_read(text, cores):
    assert DP3.requested_resources(NOWHERE, {"numthreads": text}, []) == (cores, 0)


@pytest.mark.parametrize(("keywords", "flags"), [({"j": "3"}, []), ({}, ["-j", "3", "a.ms"])])
def test_wsclean_threads_are_read(keywords, flags):
    assert WSCLEAN.requested_resources(NOWHERE, keywords, flags) == (3, 0)


@pytest.mark.parametrize(
    ("keywords", "gpus"),
    [
        ({"gridder": "idg", "idg-mode": "hybrid"}, 1),
        ({"gridder": "auto", "idg-mode": "hybrid", "size": "1000 1000"}, 1),
        ({"gridder": "auto", "idg-mode": "hybrid", "size": "1000 2000"}, 0),  # IDG makes squares only
        ({"gridder": "auto", "idg-mode": "hybrid", "size": "10 10"}, 0),  # it loses flux in small images
        ({"gridder": "wgridder", "idg-mode": "hybrid"}, 0),
        ({"gridder": "idg", "idg-mode": "cpu"}, 0),
        ({"gridder": "idg"}, 0),
    ],
)
def test_idg_mode_sets_gpus(help_of, tmp_path, keywords, gpus):
    with_idg = make_stub(tmp_path / "idg", help_of, parts=("IDG", "WGridder"))
    without = make_stub(tmp_path / "no_idg", help_of)
    assert WSCLEAN.requested_resources(with_idg, keywords, [])[1] == gpus
    assert WSCLEAN.requested_resources(without, keywords, [])[1] == 0


def test_programs_declare_outputs():
    assert DP3.output(["DP3", "msin=a.ms", "msout=b.ms"], NOWHERE).name == "b.ms"
    assert WSCLEAN.output(["wsclean", "-name", "x", "a.ms"], NOWHERE).name == "x"


def test_in_place_inputs_are_listed(tmp_path):
    (tmp_path / "a.ms").mkdir()
    assert DP3.in_place({"msin": "a.ms", "msout": ".", "steps": "[predict]"}, []) == ["a.ms"]
    assert WSCLEAN.in_place({"niter": "5"}, ["a.ms"], tmp_path) == ["a.ms"]
    assert WSCLEAN.in_place({"niter": "5"}, ["-no-update-model-required", "a.ms"], tmp_path) == []


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """780 rows, 8 channels, 4 correlations."""
    return make_set(tmp_path_factory.mktemp("sets") / "a.ms", SetShape(ntimes=10))


def test_space_for_set_is_estimated(small, tmp_path):
    keywords = {"msin": small, "msout": "out/b.ms", "steps": "[]"}
    size = 780 * 45 + 6240 * 48.5
    assert DP3.needs(keywords, [], tmp_path) == [Need(tmp_path / "out", size, "the measurement set")]
    assert DP3.needs({**keywords, "msout": "."}, [], tmp_path) == []
    assert DP3.needs({**keywords, "msin": "none"}, [], tmp_path) == []


def test_space_for_images_is_estimated(small, tmp_path):
    keywords = {"name": "out/x", "size": "10 20", "channels-out": "2", "temp-dir": "/scratch"}
    images, reordered = WSCLEAN.needs(keywords, [small], tmp_path)
    assert images == Need(tmp_path / "out", 2 * 3 * 800.0, "the images")
    assert reordered == Need(Path("/scratch"), 780 * 38 + 6240 * 12.0, "the reordered visibilities", True)
    assert WSCLEAN.needs({"size": "10 20"}, [small], tmp_path) == [Need(tmp_path, 1600.0, "the images")]
    assert WSCLEAN.needs({}, [small], tmp_path) == []
