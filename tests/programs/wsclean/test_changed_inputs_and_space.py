"""Outputs and changed inputs of a WSClean job."""

from pathlib import Path

import pytest

from lofarpipe.programs.wsclean.options import polarization_names
from lofarpipe.programs.wsclean.outputs import (
    gpu_count,
    image_bytes,
    image_name_argument,
    input_sets,
    reordered_bytes,
    written_sets,
)
from small_sets import SetShape, make_set

WORKDIR = Path("/work-that-is-not-there")
PLANE = 100 * 50 * 4  # bytes
SIZE = {"size": "100 50"}
CLEAN = {**SIZE, "niter": "10"}


def test_image_name_is_found():
    argv = ["wsclean", "-size", "10", "10", "-name", "/o/x", "a.ms"]
    output = image_name_argument(argv, WORKDIR)
    assert (output.index, output.name) == (5, "/o/x")
    assert output.ending == "-*.fits"
    assert image_name_argument([*argv, "-make-psf-only"], WORKDIR).ending == "-*.fits"
    assert image_name_argument(["wsclean", "-dry-run", *argv[1:]], WORKDIR).ending is None
    assert output.renamed(argv, "/s/x") == ("wsclean", "-size", "10", "10", "-name", "/s/x", "a.ms")


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.ms"],
        ["-name"],
        ["-name", "-size"],
        ["-name", "x", "-name", "y", "a.ms"],
        ["-predict", "-name", "x", "a.ms"],
        ["-continue", "-name", "x", "a.ms"],
        ["-reuse-primary-beam", "-name", "x", "a.ms"],
    ],
)
def test_unnamed_images_are_none(arguments):
    assert image_name_argument(["wsclean", *arguments], WORKDIR) is None


@pytest.mark.parametrize(
    ("keywords", "flags", "changes"),
    [
        ({"niter": "10"}, [], True),
        ({}, ["-niter", "10"], True),
        ({"niter": "10"}, ["-no-update-model-required"], False),
        ({"niter": "0"}, [], False),
        ({}, [], False),
        ({}, ["-predict"], True),
        ({"niter": "10"}, ["-no-update-model-required", "-store-imaging-weights"], True),
        ({"niter": "10"}, ["-make-psf-only"], False),
        ({"niter": "10"}, ["-restore", "a", "b", "c"], False),
    ],
)
def test_model_update_changes_inputs(tmp_path, keywords, flags, changes):
    for name in ("a.ms", "b.ms"):
        (tmp_path / name).mkdir()
    given = [*flags, f"[{tmp_path}/a.ms,{tmp_path}/b.ms]", "none.ms"]
    assert written_sets(keywords, given) == ([f"{tmp_path}/a.ms", f"{tmp_path}/b.ms"] if changes else [])


def test_relative_sets_lie_in_working_directory(tmp_path):
    (tmp_path / "a.ms").mkdir()
    assert input_sets(["-size", "a.ms", "none"], tmp_path) == ["a.ms"]


IDG_WITH_BEAM = ["-use-idg", "-grid-with-beam"]


@pytest.mark.parametrize(
    ("keywords", "flags", "planes"),
    [
        (SIZE, [], 2),  # dirty, image
        (SIZE, ["-no-dirty"], 1),
        (CLEAN, [], 5),  # dirty, psf, model, residual, image
        ({**CLEAN, "channels-out": "4", "intervals-out": "1"}, [], 5 * 5 + 3 * 4),  # 36.3 were seen, and 25 at the end
        ({**CLEAN, "pol": "IQUV"}, [], 4 * 4 + 1 + 2 * 4 + 1),  # 17 at the end, 24.2 at least on the way
        ({**CLEAN, "intervals-out": "3"}, [], 15),
        ({"niter": "10"}, ["-size", "100", "50"], 5),
        # At the end, with the beam of the whole band that 3.4 writes, and on the way: 34.1, 61.9, 60.2, 109.2 and 18.1
        # planes were seen of 3.1.
        ({**CLEAN, "channels-out": "2"}, IDG_WITH_BEAM, 27 + 8),
        ({**CLEAN, "channels-out": "2"}, ["-apply-primary-beam"], 56 + 6),
        ({**CLEAN, "channels-out": "4"}, IDG_WITH_BEAM, 45 + 16),
        ({**CLEAN, "channels-out": "2", "pol": "IQUV"}, IDG_WITH_BEAM, 90 + 20),
        ({**SIZE, "niter": "0", "channels-out": "2"}, IDG_WITH_BEAM, 15 + 4),
        (CLEAN, IDG_WITH_BEAM, 9),
    ],
)
def test_size_of_images_is_estimated(keywords, flags, planes):
    assert image_bytes(keywords, flags) == planes * PLANE


@pytest.mark.parametrize("keywords", [{}, {"size": "100"}, {"size": "a b"}])
def test_unknown_image_size_is_none(keywords):
    assert image_bytes(keywords, []) is None


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A set of 780 rows (12 antennas with autocorrelations, 10 times) and 8 channels."""
    return make_set(tmp_path_factory.mktemp("sets") / "a.ms", SetShape(ntimes=10))


@pytest.mark.parametrize(
    ("keywords", "flags", "expected"),
    [
        ({}, [], 0),
        ({}, ["-reorder"], 780 * 38 + 6240 * 12),
        ({"channels-out": "2"}, [], 780 * 38 + 6240 * 12),
        ({"channels-out": "2"}, ["-no-reorder"], 0),
        ({"channels-out": "2", "niter": "10"}, [], 780 * 38 + 6240 * 12),
        ({"channels-out": "2", "niter": "10", "mgain": "0.8"}, [], 780 * 38 + 6240 * 20),
        ({"pol": "IQUV"}, [], 780 * 38 + 6240 * 12 * 4),
        ({"channels-out": "2"}, ["-use-idg"], 780 * 38 + 6240 * 12 * 4),
    ],
)
def test_size_of_reordered_visibilities_is_estimated(small, keywords, flags, expected):
    assert reordered_bytes(keywords, [*flags, small], WORKDIR) == pytest.approx(expected)


def test_two_sets_double_size(small):
    assert reordered_bytes({}, ["-reorder", small, small], WORKDIR) == pytest.approx(2 * (780 * 38 + 6240 * 12))


def test_unreadable_sets_have_no_size():
    assert reordered_bytes({}, ["-reorder", "none.ms"], WORKDIR) is None


@pytest.mark.parametrize(
    ("text", "count"), [("I", 1), ("iquv", 4), ("IV", 2), ("XX,YY", 2), ("XX", 1), ("I,", 1), ("RR,RL,LR,LL", 4)]
)
def test_polarisations_are_counted(text, count):
    assert len(polarization_names({"pol": [text]})) == count
    assert polarization_names({}) == ["I"]


@pytest.mark.parametrize(("mode", "count"), [(["hybrid"], 1), (["gpu"], 1), (["cpu"], 0), ([], 0), (None, 0)])
def test_idg_mode_needs_gpu(mode, count):
    assert gpu_count({} if mode is None else {"idg-mode": mode}) == count
