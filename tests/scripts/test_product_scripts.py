"""The scripts that make products: called as the engine does, and from a shell."""

import ast
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from casacore.tables import table

from loading import REPOSITORY, load_script
from lofarpipe.archive.feedback import sky_image_keys
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.sky import Source, Truth, write_truth
from lofarpipe.imaging.simulation.stations import ObservationSettings
from lofarpipe.programs import find as programs
from made_images import image_of_real_data, write_image


@pytest.fixture(scope="module")
def real_image(hba_set, tmp_path_factory):
    return image_of_real_data(hba_set, tmp_path_factory.mktemp("real"))


@pytest.fixture
def images(real_image, tmp_path):
    """Flat-noise image and its corrected version, to be changed by the test."""
    flat, corrected = tmp_path / "a-MFS-image.fits", tmp_path / "a-MFS-image-pb.fits"
    flat.write_bytes(real_image.read_bytes())
    with fits.open(real_image) as opened:
        opened[0].data *= 1.5
        opened[0].data[..., :10] = np.nan
        opened.writeto(corrected)
    return flat, corrected


def shell(name, *arguments):
    argv = [sys.executable, str(REPOSITORY / "scripts" / f"{name}.py"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(argv, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("name", "outputs"),
    [
        ("measure_quality", ("quality",)),
        ("plot_image", ("plot",)),
        ("plot_uvcov", ("plot",)),
        ("make_source_list", ("source_list", "number")),
    ],
)
def test_outputs_are_literals(name, outputs):
    tree = ast.parse((REPOSITORY / "scripts" / f"{name}.py").read_text())
    values = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "OUTPUTS"]
    assert [ast.literal_eval(value) for value in values] == [outputs]


# ---- measure_quality


def test_quality_and_headers_are_written(images, hba_set, tmp_path):
    (tmp_path / "commands.txt").write_text("wsclean/000: wsclean -name a -size 256 256 a.MS\n")
    returned = load_script("measure_quality").main(
        str(images[0]), str(images[1]), f"['{hba_set}']", str(tmp_path / "quality.json"),
        commands_file=str(tmp_path / "commands.txt"), robust="0", minuv_lambda="80", maxuv_lambda="7000", padding="1.2",
    )  # fmt: skip
    assert returned == {"quality": str(tmp_path / "quality.json")}
    facts = json.loads((tmp_path / "quality.json").read_text())
    assert facts["versions"][1].startswith("WSClean version")
    for path in images:
        header = fits.getheader(path)
        assert header["MEANRMS"] == facts["rms"]["value"]
        assert header["RMSMETH"] == facts["rms"]["source"]
        assert header["XPOSURE"] == pytest.approx(41.49, abs=0.01)
        history = list(header["HISTORY"])
        assert "wsclean/000: wsclean -name a -size 256 256 a.MS" in history
        assert any(line.startswith("DP3 6.") for line in history)
    assert sky_image_keys(images[1], "here")["imagerIntegrationTime"] == pytest.approx(41.49, abs=0.01)


def test_failed_sets_add_no_integration_time(images, hba_set, tmp_path):
    later = tmp_path / "later.MS"
    shutil.copytree(hba_set, later)
    with table(str(later), readonly=False, ack=False) as opened:
        opened.putcol("TIME", opened.getcol("TIME") + 1000.0)
    target = tmp_path / "quality.json"
    load_script("measure_quality").main(
        str(images[0]), str(images[1]), str(hba_set), str(target), ms_recorded=f"[{hba_set},{later}]"
    )
    facts = json.loads(target.read_text())
    assert facts["integration_time"]["value"] == pytest.approx(41.49, abs=0.01)  # as of the first alone
    assert facts["sets_left_out"]["value"] == 1
    assert facts["sets_left_out"]["source"].endswith(f"not in the image: {later}")


def test_measuring_twice_is_idempotent(images, hba_set, tmp_path):
    arguments = (str(images[0]), str(images[1]), str(hba_set), str(tmp_path / "quality.json"))
    load_script("measure_quality").main(*arguments)
    once = [path.read_bytes() for path in images]
    load_script("measure_quality").main(*arguments)
    assert [path.read_bytes() for path in images] == once


def test_image_is_compared_with_reference(images, hba_set, tmp_path):
    centre = fits.getval(images[1], "CRVAL1") % 360, fits.getval(images[1], "CRVAL2")
    source = Source("s0", *centre, flux_jy=100.0, spectral_index=0.0)
    truth = tmp_path / "truth.json"
    write_truth(truth, Truth(ObservationSettings(), (source,), (str(hba_set),), True, {}))
    target, quality = tmp_path / "comparison.json", tmp_path / "quality.json"
    quality.write_text('{"rms": {"value": 0.01, "unit": "Jy/beam"}}')
    arguments = [*map(str, images[:2]), str(quality), str(target)]
    script = load_script("compare_fluxes")
    assert script.main(*arguments, reference_skymodel=str(truth)) == {"comparison": str(target)}
    compared = json.loads(target.read_text())
    assert compared["summary"]["reference_sources"] == 1
    assert compared["reference"] == str(truth)
    assert script.command_line([*arguments, "none"]) == 0  # nothing to compare with any more
    assert not target.exists()


def test_comparison_names_missing_reference(images, hba_set, tmp_path):
    script, target = load_script("compare_fluxes"), str(tmp_path / "comparison.json")
    (tmp_path / "quality.json").write_text("{}")
    with pytest.raises(PipelineError, match="/nowhere: no such sky model"):
        script.main(*map(str, images[:2]), str(tmp_path / "quality.json"), target, "/nowhere")
    write_truth(
        tmp_path / "truth.json",
        Truth(
            ObservationSettings(),
            (Source("s0", 10.0, 50.0, flux_jy=1.0, spectral_index=0.0),),
            (str(hba_set),),
            True,
            {},
        ),
    )
    with pytest.raises(PipelineError, match=r"quality\.json: has no noise of the image \('rms'\); measure the image"):
        script.main(*map(str, images[:2]), str(tmp_path / "quality.json"), target, str(tmp_path / "truth.json"))


def test_quality_is_measured_without_wsclean(images, hba_set, tmp_path, monkeypatch):
    def find(name):
        raise PipelineError(f"{name}: no such program")

    script = load_script("measure_quality")
    monkeypatch.setattr(script, "find", find)
    script.main(str(images[0]), str(images[0]), str(hba_set), str(tmp_path / "quality.json"))
    assert "wsclean: not found on this machine" in json.loads((tmp_path / "quality.json").read_text())["versions"]


@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("robust", "3", "robust is 3; it must be between -2 and 2"),
        ("padding", "0.5", "padding is 0.5"),
        ("maxuv_lambda", "far", "maxuv_lambda is 'far'; a number is needed"),
        ("commands_file", "/nowhere", "/nowhere: the commands of this run cannot be read"),
    ],
)
def test_bad_argument_leaves_the_images_alone(images, hba_set, tmp_path, keyword, value, reason):
    before = images[0].read_bytes()
    with pytest.raises((ValueError, PipelineError), match=reason):
        load_script("measure_quality").main(
            str(images[0]), str(images[1]), str(hba_set), str(tmp_path / "q.json"),
            **{keyword: value},
        )  # fmt: skip
    assert images[0].read_bytes() == before
    assert not (tmp_path / "q.json").exists()


def test_shell_measures_quality(images, hba_set, tmp_path):
    done = shell("measure_quality", *images, tmp_path / "q.json", hba_set, "--maxuv-lambda", "7000")
    said, result = done.stdout.splitlines()
    assert (done.returncode, result) == (0, f"{tmp_path}/q.json")
    assert said.startswith("WARNING: the noise is ")
    done = shell("measure_quality", *images, tmp_path / "q.json", tmp_path / "nowhere.MS")
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path}/nowhere.MS: no such measurement set\n"


# ---- plots


def test_image_is_plotted(images, tmp_path):
    outfile = str(tmp_path / "a.png")
    assert load_script("plot_image").main(str(images[1]), outfile) == {"plot": outfile}
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_zero_noise_is_refused(images, tmp_path):
    with pytest.raises(ValueError, match="rms is 0"):
        load_script("plot_image").main(str(images[1]), str(tmp_path / "a.png"), rms="0")


def test_shell_plots_image(images, tmp_path):
    done = shell("plot_image", images[0], tmp_path / "a.png", "--rms", "2")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/a.png\n")
    done = shell("plot_image", tmp_path / "nowhere.fits", tmp_path / "b.png")
    assert (done.returncode, done.stderr) == (1, f"{tmp_path}/nowhere.fits: no such image\n")


def test_uv_coverage_accepts_a_list(hba_set, tmp_path):
    outfile = str(tmp_path / "uv.png")
    assert load_script("plot_uvcov").main(f"[{hba_set}]", outfile, maxuv_lambda="7000") == {"plot": outfile}
    assert (tmp_path / "uv.png").read_bytes().startswith(b"\x89PNG")


def test_uv_coverage_shows_the_given_limits(hba_set, tmp_path, monkeypatch):
    """The limits come in wavelengths, and are drawn in thousands of them; an empty text or 0 is none."""
    script, drawn = load_script("plot_uvcov"), []
    monkeypatch.setattr(script, "plot_uv_coverage", lambda coverage, outfile, *limits: drawn.append(limits))
    for limits in ({"minuv_lambda": "80", "maxuv_lambda": "5000"}, {"maxuv_lambda": "0"}, {}):
        script.main(str(hba_set), str(tmp_path / "uv.png"), **limits)
    assert drawn == [(0.08, 5.0), (0.0, 0.0), (0.0, 0.0)]


def test_shell_plots_uv_coverage(hba_set, tmp_path):
    done = shell("plot_uvcov", tmp_path / "uv.png", hba_set)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/uv.png\n")
    done = shell("plot_uvcov", tmp_path / "uv.png", hba_set, "--minuv-lambda", "-5")
    assert done.returncode == 1
    assert "minuv_lambda is -5" in done.stderr


# ---- source list


def test_dp3_reads_the_source_list(hba_set, tmp_path):
    pytest.importorskip("bdsf")
    plane = np.random.default_rng(5).normal(0, 1e-3, (160, 160))
    rows, columns = np.indices(plane.shape)
    plane += 0.5 * np.exp(-((rows - 80) ** 2 + (columns - 60) ** 2) / (2 * 1.7**2))
    image = write_image(tmp_path / "a.fits", plane, BMAJ=40 / 3600, BMIN=40 / 3600, BPA=0.0)
    outfile = tmp_path / "sky.skymodel"
    returned = load_script("make_source_list").main(str(image), str(image), str(outfile), rmsbox="(50,15)")
    assert returned == {"source_list": str(outfile), "number": "1"}
    dp3 = [str(programs.find("DP3")), f"msin={hba_set}", "msin.datacolumn=foursources_DATA", "msout="]
    steps = ["steps=[predict,null]", f"predict.sourcedb={outfile}"]
    environment = os.environ | programs.job_environment()
    done = subprocess.run([*dp3, *steps], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]


def test_shell_makes_source_list(tmp_path):
    pytest.importorskip("bdsf")
    image = write_image(tmp_path / "a.fits")
    done = shell("make_source_list", image, image, tmp_path / "sky.txt")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"{tmp_path}/sky.txt: 0 sources\n")
    done = shell("make_source_list", image, image, tmp_path / "sky.txt", "--rmsbox", "60")
    assert (done.returncode, done.stderr) == (
        1,
        "rmsbox is '60'; two positive whole numbers such as (60,20) are needed\n",
    )
