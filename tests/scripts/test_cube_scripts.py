"""Scripts of the ASKAP pipeline: FixMS, the common beam, cubes with weights."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from array_feed_sets import SHAPE, make_beam_set, write_sources
from channel_images import write_channel
from loading import load_script
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.beams import Beam
from lofarpipe.imaging.ms.fix_ms import beam_direction
from lofarpipe.support.utilities import files_of, list_text
from made_images import image_with_wsclean

BEAMS = [Beam(15, 12, 30), Beam(14.5, 11.6, 30)]
NAME = "image.CDFS_2_5.contcube.beam03"


@pytest.fixture
def root(tmp_path):
    """Images of I and of Q and U, as an imager names them: of two channels and of the band, with residuals."""
    for stokes, letter in (("I", ""), ("Q", "-Q"), ("U", "-U")):
        for number, beam in enumerate(BEAMS):
            for kind, peak in (("image", 1.0), ("residual", 0.0)):
                path = tmp_path / f"{NAME}-{number:04d}{letter}-{kind}.fits"
                write_channel(path, beam, 888e6 + number * 1e6, stokes, peak)
        write_channel(tmp_path / f"{NAME}-MFS{letter}-image.fits", Beam(90, 80), 888.5e6, stokes)
    return str(tmp_path / NAME)


@pytest.fixture
def beam_file(root, tmp_path):
    return load_script("common_beam").main(root, f"{tmp_path}/beam.json")["beam"]


def test_common_beam_covers_channels_and_polarisations(root, beam_file, capsys):
    load_script("common_beam").main(root, beam_file)
    assert capsys.readouterr().out == f"{root}: common beam 15 x 12 arcsec at 30 deg, of 6 of 6 images\n"


def test_cutoff_excludes_large_beams(root, tmp_path, capsys):
    script = load_script("common_beam")
    script.main(root, f"{tmp_path}/b.json", cutoff_arcsec="14.7")
    assert "14.5 x 11.6 arcsec at 30 deg, of 3 of 6 images" in capsys.readouterr().out
    with pytest.raises(ValueError, match="cutoff_arcsec is 'small'"):
        script.main(root, f"{tmp_path}/b.json", cutoff_arcsec="small")


def test_cubes_and_weights_are_named(root, beam_file, tmp_path):
    made = load_script("make_cube").main(root, beam_file, output_dir=f"{tmp_path}/out", angle_deg="75")
    names = [f"{tmp_path}/out/image.restored.{letter}.CDFS_2_5.contcube.beam03.conv.fits" for letter in "iqu"]
    assert files_of(made["cubes"]) == names
    assert files_of(made["weights"]) == [name.replace("image.", "weights.").replace(".fits", ".txt") for name in names]
    header = fits.getheader(names[1])
    assert (header["CRVAL3"], header["INSTRUMENT_RECEPTOR_ANGLE"], header["NAXIS4"]) == (2, 75, 2)


def test_residual_cubes_use_only_listed_files(root, beam_file, tmp_path):
    listed = [f"{root}-0000-image.fits", f"{root}-0001-image.fits", f"{root}-0000-residual.fits"]
    made = load_script("make_cube").main(root, beam_file, list_text(listed), residuals="True")
    cubes = [path.removeprefix(f"{tmp_path}/") for path in files_of(made["cubes"])]
    assert cubes == [f"image.{kind}.i.CDFS_2_5.contcube.beam03.conv.fits" for kind in ("restored", "residual")]
    assert fits.getheader(f"{tmp_path}/{cubes[1]}")["NAXIS4"] == 1
    assert "INSTRUMENT_RECEPTOR_ANGLE" not in fits.getheader(f"{tmp_path}/{cubes[0]}")


def test_single_image_becomes_a_cube(tmp_path, capsys):
    root = f"{tmp_path}/{NAME}"
    write_channel(tmp_path / f"{NAME}-image.fits", BEAMS[0], 888e6, "V")
    beam = load_script("common_beam").main(root, f"{tmp_path}/beam.json")["beam"]
    made = load_script("make_cube").main(root, beam)
    assert files_of(made["cubes"]) == [f"{tmp_path}/image.restored.v.CDFS_2_5.contcube.beam03.conv.fits"]
    assert "1 planes at 15 x 12" in capsys.readouterr().out


def test_blank_planes_and_odd_frequencies_are_named(tmp_path, capsys):
    root = f"{tmp_path}/{NAME}"
    for number, (beam, frequency) in enumerate([(BEAMS[0], 888e6), (None, 890.5e6), (BEAMS[1], 893.5e6)]):
        write_channel(tmp_path / f"{NAME}-{number:04d}-image.fits", beam, frequency)
    beam = load_script("common_beam").main(root, f"{tmp_path}/beam.json")["beam"]
    load_script("make_cube").main(root, beam)
    out = capsys.readouterr().out
    assert "blank: 1\n" in out
    assert "WARNING: " in out


def test_report_facts_are_written(root, beam_file, tmp_path):
    made = load_script("make_cube").main(root, beam_file, residuals="True", facts_dir=str(tmp_path))
    facts = json.loads((tmp_path / f"{NAME}.cubes.json").read_text())
    assert (facts["name"], facts["beam"]["major_arcsec"]) == ("CDFS_2_5 beam 03", 15)
    assert [cube["stokes"] for cube in facts["cubes"]] == ["I", "Q", "U"]
    assert facts["cubes"][0]["frequencies_hz"] == [888e6, 889e6]
    weights = np.loadtxt(files_of(made["weights"])[0])[:, 1]
    assert facts["cubes"][0]["rms_jy"] == pytest.approx(weights**-0.5)
    assert facts["cubes"][0]["thumbnail"]


def test_missing_images_are_named(tmp_path):
    with pytest.raises(PipelineError, match="there is no image of a channel; was the imager run"):
        load_script("common_beam").main(f"{tmp_path}/{NAME}", f"{tmp_path}/beam.json")


def test_sets_are_fixed_checked_and_restored(tmp_path, capsys):
    path, script = make_beam_set(tmp_path / "a.ms"), load_script("fix_ms")
    with pytest.raises(PipelineError, match="has no column CORRECTED_DATA"):
        script.main(path, skip="True")
    made = script.main(path)
    assert made["ms"] == path
    assert float(made["angle_deg"]) == pytest.approx(75)
    assert script.main(path, skip="True") == made
    script.main(path)
    assert capsys.readouterr().out.count("nothing to change") == 2
    script.main(path, restore="True")
    assert "FIELD.PHASE_DIR" in capsys.readouterr().out


def test_cubes_have_the_angle_of_the_set(root, beam_file, tmp_path):
    path = make_beam_set(tmp_path / "a.ms")
    made = load_script("make_cube").main(root, beam_file, ms_input=path)
    assert fits.getheader(files_of(made["cubes"])[0])["INSTRUMENT_RECEPTOR_ANGLE"] == pytest.approx(75)


def test_command_lines_run_the_scripts(root, tmp_path, capsys):
    path = make_beam_set(tmp_path / "a.ms")
    assert load_script("fix_ms").command_line([path, "--column", "FIXED_DATA"]) == 0
    assert load_script("fix_ms").command_line([path, "--restore"]) == 0
    assert load_script("common_beam").command_line([root, f"{tmp_path}/b.json", "--cutoff-arcsec", "20"]) == 0
    assert load_script("make_cube").command_line([root, f"{tmp_path}/b.json", "--residuals", "--ms-input", path]) == 0
    assert load_script("make_cube").command_line([root, f"{tmp_path}/no.json"]) == 1
    assert "no.json: is no common beam" in capsys.readouterr().err
    assert len(list(tmp_path.glob("weights.*.txt"))) == 6


CELL_DEG = 15 / 3600
SOURCES = [(0.0, 0.0, 2.0, 0.3, -0.2, 0.05), (*np.radians([20 * CELL_DEG, -30 * CELL_DEG]), 1.0, -0.1, 0.15, 0.0)]


@pytest.mark.parametrize(("beam", "receptor_deg"), [(0, -45.0), (4, 12.34)])
def test_wsclean_cubes_preserve_position_and_polarisation(tmp_path, beam, receptor_deg):
    shape = replace(SHAPE, nantennas=10, ntimes=24, timestep_s=600.0, extent_m=500.0)
    path, root = make_beam_set(tmp_path / "a.ms", beam, receptor_deg, shape=shape), str(tmp_path / NAME)
    write_sources(path, 45 - receptor_deg, SOURCES)
    load_script("fix_ms").main(path)
    options = ["-size", "128", "128", "-scale", f"{CELL_DEG}deg", "-niter", "2000", "-mgain", "0.8", "-nmiter", "5"]
    options += ["-auto-threshold", "1", "-data-column", "CORRECTED_DATA", "-join-polarizations", "-pol", "IQUV"]
    image_with_wsclean(path, tmp_path / NAME, *options)
    beam_file = load_script("common_beam").main(root, f"{tmp_path}/beam.json")["beam"]
    made = load_script("make_cube").main(root, beam_file, ms_input=path)
    centre = np.degrees(beam_direction((SHAPE.ra_rad, SHAPE.dec_rad), tuple(np.radians((0.7, -1.1)))))
    for stokes, cube in zip(range(2, 6), files_of(made["cubes"]), strict=True):
        with fits.open(cube) as units:
            header, planes = units[0].header, units[0].data[:, 0]
        assert (header["CRVAL1"], header["CRVAL2"]) == pytest.approx(tuple(centre), abs=1e-9)
        assert header["INSTRUMENT_RECEPTOR_ANGLE"] == pytest.approx(45 - receptor_deg)
        for plane in planes:
            assert plane[64, 64] == pytest.approx(SOURCES[0][stokes], abs=0.03 * 2.0)
            assert plane[34, 44] == pytest.approx(SOURCES[1][stokes], abs=0.03 * 1.0)
