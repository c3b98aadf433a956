"""The image pipeline on real data: eight stations and a minute, so it must run clean and make every product."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import casacore.tables
import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.support.data_map import DataMap
from lofarpipe.support.parset import Parset
from pipeline_runner import run_pipeline

PRODUCTION = Path(__file__).with_name("production.parset")
SMALL = ["-s", "cellsize_highres_deg=0.02", "-s", "niter=50", "-s", "maxlambda_highres=3000"]

pytestmark = pytest.mark.usefixtures("programs")


@pytest.fixture(scope="module")
def run(tmp_path_factory, hba_set):
    """One run of image.parset, with two names for the image."""
    here = tmp_path_factory.mktemp("image")
    delivered = f"[{here}/out/first.fits,{here}/out/second.fits]"
    finished = run_pipeline(
        here,
        "image.parset",
        *("-s", f"data_input_filenames=[{hba_set}]", "-s", "data_column=foursources_DATA"),
        *("-s", f"image_output_filenames={delivered}", "-s", "parset_prefix=LOFAR.DataProducts"),
        *SMALL,
    )
    assert finished.returncode == 0, finished.stderr + finished.stdout
    return here


def test_every_product_exists(run):
    job = run / "image"
    for name in (
        "fullband-MFS-image.fits",
        "fullband-MFS-image-pb.fits",
        "fullband-MFS-primary-beam.fits",
        "fullband-MFS-image-pb.png",
        "uv_coverage.png",
        "plan.json",
        "quality.json",
        "images.metadata",
        "commands.txt",
        "journal.jsonl",
        "mapfiles/do_magic.datamap_single",
    ):
        assert (job / name).stat().st_size > 0, name


def test_image_is_delivered_as_copy_and_link(run):
    first, second = run / "out" / "first.fits", run / "out" / "second.fits"
    assert not first.is_symlink()
    assert second.is_symlink()
    assert second.resolve() == first
    assert first.read_bytes() == (run / "image" / "fullband-MFS-image-pb.fits").read_bytes()


def test_metadata_describe_delivered_images(run):
    keys = Parset(str(run / "image" / "images.metadata"))
    product = keys.subset("LOFAR.DataProducts.Output_SkyImage_[0]")
    header = fits.getheader(run / "out" / "first.fits")
    assert keys["LOFAR.DataProducts.nrOfOutput_SkyImage_"] == "2"
    assert product["percentageWritten"] == "100"
    assert product["fileFormat"] == "FITS"
    assert int(product["size"]) == (run / "out" / "first.fits").stat().st_size
    assert float(product["restoringBeamMajorValue"]) == pytest.approx(header["BMAJ"] * 3600)
    assert float(product["rmsNoiseValue"]) == pytest.approx(header["MEANRMS"])
    assert float(product["imagerIntegrationTime"]) == pytest.approx(header["XPOSURE"])
    assert float(product["SpectralCoordinate.spectralQuantityValue"]) == pytest.approx(header["CRVAL3"])


def test_history_has_versions_and_commands(run):
    history = "".join(str(line) for line in fits.getheader(run / "image" / "fullband-MFS-image-pb.fits")["HISTORY"])
    assert "WSClean version" in history
    assert "DP3 6" in history
    commands = (run / "image" / "commands.txt").read_text().splitlines()
    wsclean = next(line for line in commands if line.startswith("wsclean_high_deep/000"))
    assert wsclean.replace(" ", "") in history.replace(" ", "")


def test_wsclean_gets_job_resources_and_directory(run):
    (command,) = re.findall(r"wsclean_high_deep/000: (.*)", (run / "image" / "commands.txt").read_text())
    assert re.search(r" -j \d+ ", command)
    assert re.search(r" -abs-mem [\d.]+ ", command)
    (temporary,) = re.findall(r"-temp-dir (\S+)", command)
    assert "wsclean_high_deep-000" in temporary
    assert not Path(temporary).exists()


def test_plan_gives_units_sources_and_reasons(run):
    plan = json.loads((run / "image" / "plan.json").read_text())
    assert all({"value", "unit", "source", "reason"} <= set(number) for number in plan["quantities"].values())
    assert plan["quantities"]["beam_source"]["value"] == "everybeam"
    assert set(plan["predicted_loss"]) >= {"half_fwhm", "image_edge", "image_corner"}


def test_second_run_repeats_nothing(run):
    stamp = (run / "image" / "fullband-MFS-psf.fits").stat().st_mtime_ns
    finished = run_pipeline(
        run,
        "image.parset",
        *("-s", f"data_input_filenames=[{_input(run)}]", "-s", "data_column=foursources_DATA"),
        *("-s", f"image_output_filenames=[{run}/out/first.fits,{run}/out/second.fits]"),
        *("-s", "parset_prefix=LOFAR.DataProducts"),
        *SMALL,
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("not run again") == 11
    assert (run / "image" / "fullband-MFS-psf.fits").stat().st_mtime_ns == stamp


def _input(run):
    return DataMap.load(str(run / "image" / "mapfiles" / "create_ms_map.mapfile")).data[0].file


def _columns(path):
    with casacore.tables.table(str(path), ack=False) as main_table:
        return {name: main_table.getcol(name) for name in ("TIME", "UVW", "DATA", "FLAG", "WEIGHT_SPECTRUM")}


def test_fused_averaging_equals_two_passes(tmp_path, hba_set):
    sets = [_shifted(hba_set, tmp_path / f"SB{i}.MS", i) for i in range(3)]
    steps = "create_ms_map, combine_mapfile, do_magic, do_magic_maps, concat_fused_{{ fuse_average_concat }}"
    products = {}
    for fused in ("True", "False"):
        finished = run_pipeline(
            tmp_path,
            *("image.parset", "-j", fused, "-s", f"data_input_filenames=[{','.join(map(str, sets))}]"),
            *("-s", f"fuse_average_concat={fused}", "-s", f"pipeline.steps=[{steps}]", *SMALL),
        )
        assert finished.returncode == 0, finished.stderr
        name = "average_dpppconcat" if fused == "True" else "dpppconcat"
        products[fused] = _columns(DataMap.load(str(tmp_path / fused / "mapfiles" / f"{name}.mapfile")).data[0].file)
    for name, column in products["True"].items():
        assert np.array_equal(column, products["False"][name], equal_nan=column.dtype.kind in "fc"), name


def _shifted(source, target, number):
    """Return a copy of a set one or more subbands higher, with flags and weights of its own."""
    shutil.copytree(source, target)
    with casacore.tables.table(f"{target}::SPECTRAL_WINDOW", readonly=False, ack=False) as window:
        for name in ("CHAN_FREQ", "REF_FREQUENCY"):
            window.putcol(name, window.getcol(name) + number * 195312.5)
    rng = np.random.default_rng(number)
    with casacore.tables.table(str(target), readonly=False, ack=False) as main_table:
        shape = main_table.getcol("FLAG").shape
        weights = rng.uniform(0.5, 2.0, (*shape[:2], 1)).astype(np.float32)
        main_table.putcol("WEIGHT_SPECTRUM", np.broadcast_to(weights, shape).copy())
        main_table.putcol("FLAG", main_table.getcol("FLAG") | (rng.random((*shape[:2], 1)) < 0.1))
    return target


def test_production_parset_runs(tmp_path, hba_set_generic, repository):
    finished = run_pipeline(
        tmp_path,
        PRODUCTION,
        *("-s", f"data_input_filenames=[{hba_set_generic}]", "-s", f"scripts={repository}/scripts"),
        *("-s", f"image_output_filenames=[{tmp_path}/delivered.fits]", "-s", "cellsize_highres_deg=0.02"),
    )
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "delivered.fits").is_file()
    assert "Output_SkyImage_[0].percentageWritten=100" in (tmp_path / "production" / "images.metadata").read_text()
    assert (tmp_path / "production" / "tNDPPP-generic.average").is_dir()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-s", "data_input_filenames=[nowhere.MS]"], "nowhere.MS: no such measurement set"),
        (["-s", "data_input_filenames=[]"], "at least one measurement set is needed"),
        (["-s", "data_input_filenames=[plain]"], "plain: not a measurement set"),
        (["-s", "data_input_filenames=[{hba}, {hba}]"], "is given twice"),
        (["-s", "data_input_filenames=[{dish}]"], "every visibility is flagged"),
        (["-s", "data_input_filenames=[{hba}]", "-s", "data_column=NOSUCH"], "has no column NOSUCH"),
        (["-s", "data_input_filenames=[{hba}]", "-s", "celsize_highres_deg=1"], "did you mean 'cellsize_highres_deg'?"),
        (["-s", "data_input_filenames=[{hba}]", "-s", "cellsize_highres_deg=0"], "is '0'; a number > 0 <= 1 is needed"),
        (["-s", "data_input_filenames=[{hba}]", "-s", "idg_mode=gpx"], "idg_mode is 'gpx'; one of cpu, hybrid"),
        (["-s", "data_input_filenames=[{hba}]", "-s", "gridder=idg"], "install a WSClean that was built with IDG"),
        (["-s", "data_input_filenames=[{hba}]", "-s", "wsclean_high_deep.argument.mgian=1"], "did you mean"),
        (["-s", "data_input_filenames=[{hba}]", "-s", "wsclean_high_deep.control.executable=wsclaen"], "wsclaen"),
        (
            ["-s", "data_input_filenames=[{hba}]", "-s", "wsclean_high_deep.argument.channels-out=4"],
            "the input key 'nchansout_clean1' stands in no argument and no flag",
        ),
        (["-s", "data_input_filenames=[{hba}]", "-s", "image_output_filenames=[/proc/x.fits]"], "/proc"),
        (["-s", "data_input_filenames=[{hba}]", "-s", "average_dpppconcat.argument.msout="], "msout"),
    ],
)
def test_bad_input_gives_one_error(tmp_path, hba_set, dish_set, arguments, message):
    (tmp_path / "plain").write_text("not a set")
    filled = [argument.format(hba=hba_set, dish=dish_set) for argument in arguments]
    finished = run_pipeline(tmp_path, "image.parset", *filled)
    assert finished.returncode == 1, finished.stdout
    assert message in finished.stderr
    assert "Traceback" not in finished.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain"]


def test_failed_program_shows_its_command(tmp_path, hba_set):
    finished = run_pipeline(
        tmp_path,
        *("image.parset", "-s", f"data_input_filenames=[{hba_set}]", *SMALL),
        *("-s", "average_dpppconcat.argument.avg.timestp=2"),
    )
    assert finished.returncode == 1
    assert "avg.timestp" in finished.stderr
    assert "000.log" in finished.stderr
    (command,) = re.findall("^To repeat this job by hand: (.*)", finished.stderr, re.MULTILINE)
    by_hand = subprocess.run(["env", "-i", "bash", "-c", command], capture_output=True, text=True, check=False)
    assert by_hand.returncode == 1
    log = (tmp_path / "image/logs/average_dpppconcat/000.log").read_text()
    assert by_hand.stderr.splitlines()[-1] in log.splitlines()


def test_missing_diameter_and_low_field_are_refused(tmp_path, hba_set):
    copy = tmp_path / "copy.MS"
    shutil.copytree(hba_set, copy)
    with casacore.tables.table(f"{copy}::ANTENNA", readonly=False, ack=False) as antennas:
        antennas.putcol("DISH_DIAMETER", np.zeros(antennas.nrows()))
    with casacore.tables.table(f"{copy}::FIELD", readonly=False, ack=False) as field:
        for name in ("PHASE_DIR", "DELAY_DIR", "REFERENCE_DIR"):
            field.putcol(name, field.getcol(name) * [1, -1] - [0, 0.9])
    finished = run_pipeline(tmp_path, "image.parset", "-s", f"data_input_filenames=[{copy}]")
    assert finished.returncode == 1
    assert "ANTENNA.DISH_DIAMETER" in finished.stderr
    assert "below the horizon" in finished.stderr


def test_dry_run_prints_every_command(run, tmp_path):
    """Sizes, averaging, channels and all; nothing is made, and the measurement set is as it was."""
    measurement_set = Path(_input(run))
    before = {path: path.stat().st_mtime_ns for path in [measurement_set, *measurement_set.rglob("*")]}
    finished = run_pipeline(
        tmp_path,
        "--dry-run",
        "image.parset",
        *("-s", f"data_input_filenames=[{measurement_set}]", "-s", "data_column=foursources_DATA"),
        *("-s", f"image_output_filenames=[{tmp_path}/out/first.fits,{tmp_path}/out/second.fits]"),
        *("-s", "parset_prefix=LOFAR.DataProducts"),
        *SMALL,
    )
    assert finished.returncode == 0, finished.stderr
    assert list(tmp_path.iterdir()) == []
    assert {path: path.stat().st_mtime_ns for path in [measurement_set, *measurement_set.rglob("*")]} == before
    printed = [line for line in finished.stdout.splitlines() if not line.startswith("#")]
    assert "not predictable without the outputs" not in finished.stdout
    assert [_comparable(line, tmp_path) for line in printed] == [
        _comparable(line, run) for line in (run / "image" / "commands.txt").read_text().splitlines()
    ]


def _comparable(command, here):
    """Return a command without its directory and scratch directory, which differ from run to run."""
    return re.sub(r"-temp-dir \S+", "-temp-dir ...", command.replace(str(here), "HERE"))
