"""Every documented value of an option of the image pipeline runs, at the ends of its domain and beside others.

A run ends in one of two ways: it makes the image with all that belongs to it, or it is refused before the first job.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from fork_server import ForkServer
from lofarpipe.pipeline.options import Option, read_options
from lofarpipe.support.parset import Parset
from pairwise import pairwise

SITE = """\
[DEFAULT]
runtime_directory = {here}
working_directory = {here}
recipe_directories = []
[report]
html = False
"""
# Sets, each smaller than the other in some way: slots of 4 s, channels, blocks of time.
OBSERVATIONS = {
    "subbands": {"nsubbands": 2, "nchannels": 4, "slots_per_block": 8},
    "channel": {"nsubbands": 1, "nchannels": 1, "slots_per_block": 8},
    "slot": {"nsubbands": 2, "nchannels": 4, "slots_per_block": 1},
    "blocks": {"nsubbands": 2, "nchannels": 2, "slots_per_block": 4, "nblocks": 2},
}
SMALL = {"cellsize_highres_deg": "0.02", "maxlambda_highres": "1500"}
# The ends of the domains, or distant values where a domain has no end. {here} is the directory of the run.
VALUES = {
    "observation": [*OBSERVATIONS],
    "niter": ["0", "1", "100"],
    "robust": ["-2", "2"],
    "image_padding": ["1", "4"],
    "axis_stretch": ["0.1", "1", "10"],
    "fieldsize_highres": ["0.01", "0.4"],
    "cellsize_highres_deg": ["0.02", "0.04"],
    "minlambda_highres": ["0", "100"],
    "maxlambda_highres": ["1500", "1e9"],
    "averaging": ["physics", "historical"],
    "max_peak_smearing": ["0.0001", "0.5"],
    "smearing_criterion": ["peak", "worst"],
    "fuse_average_concat": ["True", "False"],
    "station_diameter_m": ["0", "1000"],
    "gridder": ["auto", "wgridder"],
    "idg_mode": ["cpu", "hybrid"],
    "mgain": ["0.01", "1"],
    "auto_mask, auto_threshold": ["0.02, 0.01", "1e9, 1e8"],
    "local_rms": ["True", "False"],
    "max_rise": ["0", "1000"],
    "max_peak_jy": ["0", "1e9"],
    "rank_filter": ["0", "1e-6"],
    "channels_out": ["0", "1"],
    "spectral_index": ["0", "-0.7"],
    "local_scratch_dir": ["/tmp", "{here}"],
    "error_tolerance": ["True", "False"],
    "rerun_on_upgrade": ["True", "False"],
    "optional_failures": ["warn", "fail"],
    "quality_gate, min_sources": ["warn, 1000000", "fail, 0"],
    "max_noise_ratio, min_dynamic_range": ["0, 0", "1e9, 1e-9"],
    "max_flagged_fraction, max_blank_fraction, max_flux_error": ["0, 0, 0", "1, 1, 0"],
    "keep, removed_planes": ["all, none", "products, psf,dirty,model,residual", "images, none"],
    "reference_skymodel": ["none", "{observation}/truth.json"],
    "image_output_filenames": ["[]", "[{here}/out/{job}.fits, {here}/out/{job}-again.fits]"],
    "images_metadata_file": ["{here}/{job}/images.metadata", "{here}/out/{job}.metadata"],
    "image_rootname": ["input.output.job_directory/fullband", "{here}/{job}/other name"],
    "parset_prefix": ["none", "LOFAR.DataProducts"],
    "sip_file, sip_schema_version": ["none, 2.7.2", "{here}/out/{job}.xml, 2.6.1"],
}
# Options with tests elsewhere: texts for the archive, the input itself, an extra.
ELSEWHERE = {"data_input_filenames", "data_column", "field", "make_source_list", "imager"}
ARCHIVE = {
    "sip_project_code": "LC0_001",
    "sip_primary_investigator": "A Person",
    "sip_contact_author": "A Person",
    "sip_project_description": "a project",
    "sip_identifier_source": "test",
    "sip_product_identifiers": "[1]",
    "sip_process_identifier": "2",
    "sip_observation_id": "3",
    "sip_source_identifiers": "[4]",
    "sip_strategy_name": "imaging",
    "sip_strategy_description": "imaging",
}
ROWS = pairwise(VALUES)
FIELDS = {"fieldsize_highres": "0.4", **SMALL}

pytestmark = pytest.mark.usefixtures("programs")


@pytest.fixture(scope="module")
def observations(tmp_path_factory, repository):
    """The directories of simulated observations, by name."""
    here = tmp_path_factory.mktemp("observations")
    simulate = repository / "scripts" / "simulate_observation.py"
    common = {"nstations": 9, "nsources": 3, "nblocks": 1, "lowest_frequency_hz": 144e6, "highest_frequency_hz": 150e6}
    for name, settings in OBSERVATIONS.items():
        words = [f"--{key.replace('_', '-')}={value}" for key, value in (common | settings).items()]
        subprocess.run([sys.executable, str(simulate), str(here / name), *words], check=True, capture_output=True)
    return {name: here / name for name in OBSERVATIONS}


@pytest.fixture(scope="module")
def server():
    with ForkServer() as forking:
        yield forking


@pytest.fixture
def image(tmp_path, observations, server):
    """Return a function that runs the image pipeline with options, and gives the run's end, job directory, options."""
    (tmp_path / "site.cfg").write_text(SITE.format(here=tmp_path))

    def run(**options: str):
        given = {key: text for keys, texts in options.items() for key, text in _split(keys, texts)}
        observation = observations[given.pop("observation", "subbands")]
        places = {"here": tmp_path, "job": "image", "observation": observation}
        given = {key: text.format(**places) for key, text in given.items()}
        given.setdefault("data_input_filenames", f"[{observation}/*.MS]")
        words = [word for key, text in given.items() for word in ("-s", f"{key}={text}")]
        return server.run(tmp_path, "image.parset", "-c", "site.cfg", *words), tmp_path / "image", given

    return run


def _split(keys: str, texts: str) -> list[tuple[str, str]]:
    """Return the options of a name such as ``a, b``, with their values."""
    names = keys.split(", ")
    return list(zip(names, texts.split(", ") if len(names) > 1 else [texts], strict=True))


def _documented() -> list[Option]:
    parset = Parset(str(Path(__file__).parents[2] / "pipeline.parset"))
    definitions = parset.definitions()
    return read_options(definitions, {name: entry for name, entry in definitions.items() if entry.comment})


def _tried(name: str) -> set[str]:
    found = [part for keys, values in VALUES.items() for text in values for part in _split(keys, text)]
    return {text for key, text in found if key == name} | {row[name] for row, _ in REFUSED if name in row}


def test_every_option_has_tested_values():
    """A new option, or a wider domain, needs values here."""
    for option in _documented():
        if option.name in ELSEWHERE or option.name in ARCHIVE or option.name.startswith("sip_"):
            continue
        tried = _tried(option.name)
        assert tried, f"{option.name} is in no row"
        if "|" in option.domain:
            words = option.domain.removeprefix("some of ").removesuffix(" or none")
            some = {word for text in tried for word in text.split(",")} if words != option.domain else tried
            assert {choice.strip() for choice in words.split("|")} <= some, option.name
        ends = re.findall(r"[<>]= (\S+)|(\S+)\.\.(\S+)", option.domain)
        numbers = {float(text) for text in tried} if option.domain.startswith(("number", "integer")) else set()
        assert {float(end) for match in ends for end in match if end} <= numbers, option.name


@pytest.mark.parametrize("row", ROWS, ids=map(str, range(len(ROWS))))
def test_values_work_together(image, row):
    archive = {} if row["sip_file, sip_schema_version"].startswith("none") else dict(ARCHIVE)
    if archive and row["image_output_filenames"] != "[]":
        archive["sip_product_identifiers"] = "[1, 2]"
    finished, job, options = image(**row, **archive)
    assert finished.returncode == 0, f"{options}\n{finished.stderr}"
    check_products(job, options)


def check_products(job: Path, options: dict[str, str]) -> None:
    """Check that all products exist and agree."""
    from astropy.io import fits

    root = Path(options["image_rootname"].replace("input.output.job_directory", str(job)))
    flat, corrected, beam = (
        root.with_name(f"{root.name}-MFS-{kind}.fits") for kind in ("image", "image-pb", "primary-beam")
    )
    header = fits.getheader(corrected)
    assert header["BMAJ"] >= header["BMIN"] > 0
    assert header["MEANRMS"] > 0
    assert header["CRVAL4"] == 1  # Stokes I
    assert fits.getdata(flat).shape == fits.getdata(beam).shape
    assert min(fits.getdata(flat).shape[-2:]) >= 16
    quality = json.loads((job / "quality.json").read_text())
    assert quality["rms"]["value"] == pytest.approx(header["MEANRMS"])
    assert corrected.with_suffix(".png").stat().st_size > 0
    assert Path(options["images_metadata_file"]).stat().st_size > 0
    assert (job / "comparison.json").exists() is (options["reference_skymodel"] != "none")
    for delivered in options["image_output_filenames"].strip("[]").split(", "):
        assert not delivered or Path(delivered).read_bytes() == corrected.read_bytes()
    if options["sip_file"] != "none":
        cycles = [one.text for one in parse(options["sip_file"]).iter() if one.tag.endswith("numberOfMajorCycles")]
        assert (cycles == ["0"]) is (options["niter"] == "0")


OWN = {"observation": "blocks", "axis_stretch": "0.5", "local_rms": "True", "sip_file": "none"}
SMALLEST_OWN = {"observation": "slot", "fieldsize_highres": "0.01", "niter": "100", "channels_out": "1"}


@pytest.mark.parametrize("more", [OWN, SMALLEST_OWN], ids=["image", "smallest"])
def test_own_imager_makes_the_products(image, more):
    from astropy.io import fits

    finished, job, _ = image(**FIELDS | more | {"imager": "own"})
    assert finished.returncode == 0, finished.stderr
    header = fits.getheader(job / "fullband-MFS-image-pb.fits")
    assert header["ORIGIN"].startswith("lofar-clean ")
    assert header["ORIGIN"] in json.loads((job / "plan.json").read_text())["quantities"]["imager"]["value"]
    programs = [one["name"] for one in json.loads((job / "run.json").read_text())["software"]["programs"]]
    assert "lofar-clean" in programs
    assert "WSClean" not in programs


@pytest.mark.parametrize("more", [{"niter": "0"}, {"niter": "100", "fieldsize_highres": "0.01"}])
def test_smallest_images_give_source_lists(image, more):
    pytest.importorskip("bdsf", reason="PyBDSF is not installed: pip install 'genericpipeline[catalogue]'")
    finished, job, _ = image(**{**FIELDS, "make_source_list": "True", **more})
    assert finished.returncode == 0, finished.stderr
    assert (job / "fullband-MFS.skymodel").stat().st_size > 0


REFUSED = [
    ({"fieldsize_highres": "20"}, "less than 80 deg of the sky can be imaged at once"),
    ({"cellsize_highres_deg": "1"}, "wider than half the fringe of the shortest baseline"),
    ({"cellsize_highres_deg": "9e-7", "fieldsize_highres": "0.01"}, "at least 1e-06 is possible"),
    ({"cellsize_highres_deg": "1e-5"}, "of memory, and jobs have"),
    ({"minlambda_highres": "1e7"}, "must be larger"),
    ({"maxlambda_highres": "1"}, "must be larger"),
    ({"maxlambda_highres": "81"}, "is 81 wavelengths, the shortest baseline of the sets is"),
    ({"auto_threshold": "5"}, "the same as auto_mask"),
    ({"gridder": "idg"}, "does not have"),
    ({"imager": "own", "gridder": "idg"}, "-gridder is 'idg'; one of wgridder"),
    ({"imager": "other"}, "one of auto, own, wsclean is needed"),
    ({"channels_out": "1000"}, "channels"),
    *(({name: "nan"}, "is needed") for name in ("robust", "mgain", "niter", "max_rise", "image_padding")),
]


@pytest.mark.parametrize(("options", "says"), REFUSED, ids=lambda value: value if isinstance(value, str) else None)
def test_impossible_values_are_refused(image, options, says, request):
    if options == {"gridder": "idg"} and "idg" in request.getfixturevalue("gridders"):
        pytest.skip("this WSClean has IDG")
    finished, job, _ = image(**{**FIELDS, **options})
    assert finished.returncode == 1
    assert "nothing was run" in finished.stderr
    assert says in finished.stderr
    assert not job.exists()


@pytest.fixture
def gridders():
    from lofarpipe.programs.find import find
    from lofarpipe.programs.wsclean.build import describe_build

    return describe_build(find("wsclean")).gridders
