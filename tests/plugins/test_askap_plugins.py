"""Maps of beams: existing ones, and those with images of all runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from array_feed_sets import make_beam_set
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.plugins import run_plugin
from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.utilities import list_text

PLUGINS = Path(__file__).parents[2] / "plugins"
OPTIONS = {
    "ms_glob_pattern": "*.ms",
    "num_beams": "2",
    "pols": "IV",
    "nchan": "4",
    "auto_mask": "3",
    "auto_threshold": "1",
    "taper": "none",
    "multiscale": "False",
    "multiscale_scale_bias": "none",
    "multiscale_scales": "0",
    "temp_dir_wsclean": "none",
    "local_wsclean": "/opt/wsclean",
    "hosted_wsclean": "docker://a/b",
}


def entries(path: object) -> list[tuple[str, bool]]:
    return [(product.file, product.skip) for product in DataMap.load(str(path)).data]


def find_beams(tmp_path: Path, **changes: str) -> dict[str, object]:
    places = {"mapfile_dir": str(tmp_path), "msdir": str(tmp_path / "in"), "datadir": str(tmp_path / "out")}
    return run_plugin(PLUGINS / "PipelineStep_findBeams.py", [], {**places, **OPTIONS, **changes})


@pytest.fixture
def two_beams(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for beam in (0, 1):
        make_beam_set(tmp_path / f"in/{beam}.ms", beam)
    return tmp_path


def test_beams_have_maps_of_both_runs(two_beams: Path) -> None:
    outputs = find_beams(two_beams)
    roots = [(f"{two_beams}/out/image.CDFS_2_5.contcube.beam{beam:02d}", False) for beam in (0, 1)]
    assert entries(outputs["mapfile"]) == [(f"{two_beams}/in/{beam}.ms", False) for beam in (0, 1)]
    assert entries(outputs["images_i.mapfile"]) == roots
    assert entries(outputs["images_polarisation.mapfile"]) == roots
    assert outputs["temp_dir_wsclean"] == outputs["datadir"] == f"{two_beams}/out"
    assert outputs["container"] == "/opt/wsclean"
    assert "-V-" in str(outputs["rename"])
    assert "-psf" in str(outputs["rename"])


def test_absent_run_is_skipped(two_beams: Path) -> None:
    outputs = find_beams(two_beams, pols="V", temp_dir_wsclean="$SCRATCH")
    assert [skip for _, skip in entries(outputs["images_i.mapfile"])] == [True, True]
    assert (outputs["rename"], outputs["temp_dir_wsclean"]) == ("[]", "$SCRATCH")


def test_missing_beams_end_the_run(two_beams: Path) -> None:
    with pytest.raises(PipelineError, match="num_beams is 36"):
        find_beams(two_beams, num_beams="36")


def whole_beams(tmp_path: Path, *runs: tuple[list[bool], list[tuple[str, ...]]]) -> dict[str, object]:
    """Call the plugin for runs, each given as its skipped beams and the files of its jobs."""
    names = []
    for number, (skips, written) in enumerate(runs):
        roots = [DataProduct("localhost", f"/out/beam{beam:02d}", skip) for beam, skip in enumerate(skips)]
        products = [DataProduct("localhost", list_text(list(files)), False) for files in written]
        for kind, made in (("roots", roots), ("products", products)):
            DataMap(made).save(str(tmp_path / f"{kind}{number}"))
        names.append((f"{tmp_path}/roots{number}", f"{tmp_path}/products{number}"))
    roots, products = (list_text([pair[place] for pair in names]) for place in (0, 1))
    keywords = {"roots": roots, "products": products, "mapfile_dir": str(tmp_path), "directory": "/job"}
    return run_plugin(PLUGINS / "PipelineStep_wholeBeams.py", [], keywords)


def test_beam_without_a_run_is_skipped(tmp_path: Path) -> None:
    of_i = [("/out/beam00-image.fits",), ("/out/beam01-image.fits", "/out/beam01-psf.fits")]
    outputs = whole_beams(tmp_path, ([False, False], of_i), ([False, False], [("/out/beam01-Q-image.fits",)]))
    assert entries(outputs["mapfile"]) == [("/out/beam00", True), ("/out/beam01", False)]
    images = entries(outputs["images.mapfile"])[1][0]
    assert images == "[/out/beam01-image.fits,/out/beam01-psf.fits,/out/beam01-Q-image.fits]"
    assert entries(outputs["beams.mapfile"])[1] == ("/job/beam01.common_beam.json", False)


def test_absent_run_does_not_skip_beams(tmp_path: Path) -> None:
    outputs = whole_beams(tmp_path, ([False], [("/out/beam00-image.fits",)]), ([True], []))
    assert entries(outputs["mapfile"]) == [("/out/beam00", False)]
    assert entries(whole_beams(tmp_path, ([True], []))["mapfile"]) == [("/out/beam00", True)]
