"""Findings of the early check of the ASKAP pipeline about options, sets, folders and WSClean."""

from __future__ import annotations

from pathlib import Path

import pytest
from casacore.tables import table

from array_feed_sets import make_beam_set
from lofarpipe.pipeline.plugins import call
from wsclean_stubs import make_stub

CHECK = Path(__file__).parents[2] / "plugins" / "PipelineCheck_askap_input.py"


@pytest.fixture(scope="module")
def site(tmp_path_factory, wsclean) -> Path:
    here = tmp_path_factory.mktemp("askap")
    (here / "in").mkdir()
    make_beam_set(here / "in/a.ms", 0)
    make_stub(here / "bin", wsclean)
    return here


def findings(site: Path, **changes: str) -> list[str]:
    options = {
        "msdir": f"{site}/in",
        "datadir": f"{site}/out",
        "ms_glob_pattern": "*.ms",
        "num_beams": "1",
        "data_column": "CORRECTED_DATA",
        "skip_fix_ms": "False",
        "pols": "IQU",
        "nchan": "4",
        "auto_mask": "3",
        "auto_threshold": "1",
        "multiscale_scales": "0,2,4,8,16,32,64,128",
        "local_wsclean": f"{site}/bin/wsclean",
        "hosted_wsclean": "docker://a/b",
        "mpi": "False",
        "gridder": "none",
        "image_i.argument.flags": "[-no-update-model-required, beam_set]",
        "image_i.argument.niter": "100",
        "image_i.argument.nmiter": "none",
        "image_i.argument.grid-with-beam": "False",
    }
    return call(CHECK, "check", {**options, **changes}, {"method": "local"})


def test_valid_options_create_no_files(site):
    assert findings(site) == []
    assert sorted(path.name for path in site.iterdir()) == ["bin", "in"]


def test_unused_option_need_not_exist(site):
    reference = {"image_polarisation.argument.force-mask-rounds": "find_beams.output.taper", "multiscale": "False"}
    assert findings(site, **reference, taper="none") == []
    assert "has no option -force-mask-rounds" in findings(site, **reference, taper="5")[0]


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"pols": "IXZ"}, "pols: is 'IXZ'"),
        ({"auto_mask": "1"}, "auto_mask: is 1, and auto_threshold is 1; WSClean needs a mask above"),
        (
            {"auto_mask": "0.05", "auto_threshold": "0.04", "taper": "none", "multiscale": "False"},
            "auto_mask: is 0.05, and auto_threshold is 0.04; their squares, in hundredths, are 0.01 and 0.01",
        ),
        ({"multiscale_scales": "0,x"}, "multiscale_scales: is '0,x'; numbers >= 0"),
        (
            {"local_rms": "False", "local_rms_window": "30"},
            "WARNING: local_rms_window: is 30, and has no effect without",
        ),
        ({"multiscale": "False", "multiscale_scales": "0,4"}, "multiscale_scales: is 0,4, and has no effect without"),
        ({"multiscale": "False", "multiscale_scale_bias": "0.7"}, "multiscale_scale_bias: is 0.7, and has no effect"),
        ({"hosted_wsclean": "me/w", "local_wsclean": "none"}, "hosted_wsclean: is 'me/w'; a reference is needed"),
        ({"multiscale_scales": "0,inf"}, "multiscale_scales: is '0,inf'"),
        ({"num_beams": "36"}, "num_beams: 1 measurement sets match *.ms in"),
        ({"msdir": "/nowhere"}, "msdir: there is no folder /nowhere"),
        ({"nchan": "12"}, "nchan: is 12, and "),
        ({"datadir": "/proc/out"}, "datadir: /proc/out cannot be written"),
        ({"temp_dir_wsclean": "$NO_SUCH_PLACE/x"}, "temp_dir_wsclean: is $NO_SUCH_PLACE/x, and there is no such var"),
        ({"skip_fix_ms": "True"}, "has no column CORRECTED_DATA"),
        ({"local_wsclean": "/nosuch.sif"}, "local_wsclean: there is no container or program /nosuch.sif"),
        ({"gridder": "tuned-wgridder"}, "gridder: is tuned-wgridder, which WSClean 3.1.0 does not have; it has "),
        ({"image_i.argument.force-mask-rounds": "8"}, "local_wsclean: WSClean 3.1.0 has no option -force-mask-rounds"),
        ({"image_polarisation.argument.flags": "[-nosuch, x]"}, "WSClean 3.1.0 has no option -nosuch"),
    ],
)
def test_wrong_option_gives_one_finding(site, changes, finding):
    found = findings(site, **changes)
    assert len(found) == 1
    assert finding in found[0]


def test_multiscale_with_squared_polarisations_warns(site):
    options = {"multiscale": "True", "multiscale_scale_bias": "0.7", "taper": "none"}
    found = findings(site, **options, pols="qu")
    assert len(found) == 1
    assert (
        "WARNING: multiscale: is True, and has no effect: all channels of pols are joined by their squares" in found[0]
    )
    assert findings(site, **options, pols="IQ") == findings(site, **options, pols="QU", nchan="1") == []


@pytest.mark.parametrize("option", ["datadir", "temp_dir_wsclean", "temp_dir_images"])
@pytest.mark.parametrize("below", ["", "/deep/er"])
def test_folder_inside_set_is_refused(site, option, below):
    found = findings(site, **{option: f"{site}/in/a.ms{below}"})
    expected = f"{option}: {site}/in/a.ms{below} is in the measurement set {site}/in/a.ms; name a folder beside it"
    assert found == [expected]


def test_findings_are_collected(site):
    found = findings(site, pols="X", auto_mask="0", nchan="12", datadir="/proc/out")
    assert [line.partition(":")[0] for line in found] == ["pols", "auto_mask", "datadir", "nchan"]


def test_remote_temporary_folders_are_not_checked(site):
    options = {"temp_dir_wsclean": "$NO_SUCH_PLACE/x", "msdir": f"{site}/in", "datadir": f"{site}/out"}
    assert call(CHECK, "check", options, {"method": "slurm"}) == []


def test_unreadable_set_is_reported_once(site, tmp_path):
    (tmp_path / "b.ms").mkdir()
    found = findings(site, msdir=str(tmp_path))
    assert len(found) == 1
    assert str(tmp_path / "b.ms") in found[0]


def test_wrong_options_are_not_checked_again(site):
    assert call(CHECK, "check", {"datadir": f"{site}/out"}, {}) == []


def test_missing_container_engine_falls_back_to_path(site, monkeypatch):
    monkeypatch.setenv("PATH", f"{site}/bin:/usr/bin:/bin")
    for engine in ("apptainer", "singularity", "docker"):
        import shutil

        if shutil.which(engine):
            pytest.skip(f"there is a {engine}")
    default = "docker://alecthomson/wsclean:latest"
    found = findings(site, local_wsclean="none", hosted_wsclean=default)
    assert found == [f"WARNING: hosted_wsclean: there is no container engine; {site}/bin/wsclean is used"]
    assert "no container engine on PATH" in findings(site, local_wsclean="none")[0]


def test_different_channels_prevent_common_grid(site, tmp_path):
    (tmp_path / "in").mkdir()
    for beam, name in enumerate("ab"):
        make_beam_set(tmp_path / f"in/{name}.ms", beam)
    grid = {"msdir": f"{tmp_path}/in", "num_beams": "2", "channel_grid": "True"}
    assert findings(site, **grid) == []
    with table(f"{tmp_path}/in/b.ms::SPECTRAL_WINDOW", readonly=False, ack=False) as window:
        window.putcell("CHAN_FREQ", 0, window.getcell("CHAN_FREQ", 0) + 1e6)
    (found,) = findings(site, **grid)
    assert found.endswith(f"has other channels than {tmp_path}/in/a.ms; image them by themselves, or leave it out")
    assert "channel_grid" not in "".join(findings(site, **{**grid, "nchan": "1"}))
