"""The image pipeline with a WSClean that has IDG and EveryBeam: the same fluxes on every route, and the same words."""

import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from fork_server import ForkServer
from lofarpipe.imaging.quality.comparison import FluxCheck, check_image
from lofarpipe.imaging.simulation.sky import read_truth
from lofarpipe.support.parset import Parset

SIZE = ["--nstations=24", "--nsubbands=4", "--nchannels=2", "--slots-per-block=30", "--timestep-s=10.013901"]
SIZE += ["--nblocks=1", "--span-s=0", "--nsources=6", "--noise-scale=0.02", "--lowest-frequency-hz=130e6"]
SIZE += ["--highest-frequency-hz=160e6"]
STEPS = "create_ms_map, combine_mapfile, do_magic, do_magic_maps, average_dpppconcat, combine_mapfile_concat"
STEPS += ", wsclean_high_deep, make_primary_beam, measure_quality, copy_output_images, make_image_metadata"
OPTIONS = ["data_input_filenames=[observation/*.MS]", "cellsize_highres_deg=0.015", "maxlambda_highres=1000"]
OPTIONS += ["channels_out=2", "image_output_filenames=[image.fits]", f"pipeline.steps=[{STEPS}]"]
SIP = {"project_code": "LC1_001", "primary_investigator": "A", "contact_author": "B", "project_description": "C"}
SIP |= {"identifier_source": "MoM", "product_identifiers": "[1]", "process_identifier": "2", "observation_id": "3"}
SIP |= {"source_identifiers": "[4]", "strategy_name": "D", "strategy_description": "E"}
ROUTES = {
    "wgridder": ["gridder=wgridder"],
    "idg": ["gridder=auto", "sip_file=sip.xml", *(f"sip_{name}={value}" for name, value in SIP.items())],
    "idg, one channel": ["gridder=idg", "channels_out=1"],
    "in the image": [
        "gridder=wgridder",
        *(f"wsclean_high_deep.argument.{flag}=True" for flag in ("apply-primary-beam", "use-differential-lofar-beam")),
    ],
}

pytestmark = [pytest.mark.usefixtures("programs"), pytest.mark.slow]


@dataclass(frozen=True)
class Made:
    """Products of one route, read before the next one reused the job directory."""

    fluxes: FluxCheck
    headers: dict[str, fits.Header]
    beam: np.ndarray
    ratio: np.ndarray
    metadata: Parset
    sip: str


def read_products(here: Path) -> Made:
    job = here / "image"
    root = job / "fullband-MFS"
    names = sorted(path.name for path in job.glob("fullband-*.fits"))
    planes = {kind: fits.getdata(f"{root}-{kind}.fits")[0, 0] for kind in ("image", "image-pb", "primary-beam")}
    sip = here / "sip.xml"
    return Made(
        check_image(
            Path(f"{root}-image-pb.fits"), read_truth(here / "observation" / "truth.json"), Path(f"{root}-image.fits")
        ),
        {name: fits.getheader(job / name) for name in names},
        planes["primary-beam"],
        planes["image"] / planes["image-pb"],
        Parset(str(job / "images.metadata")).subset("Output_SkyImage_[0]"),
        sip.read_text() if sip.exists() else "",
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory, repository, wsclean_with_idg):
    """One small field imaged on each route, one after the other in the same job directory."""
    here = tmp_path_factory.mktemp("routes")
    simulate = repository / "scripts" / "simulate_observation.py"
    subprocess.run([sys.executable, simulate, "observation", *SIZE], cwd=here, check=True, capture_output=True)
    found = {}
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("PATH", str(wsclean_with_idg), prepend=":")
        runner = stack.enter_context(ForkServer())
        for route, options in ROUTES.items():
            given = [word for option in [*OPTIONS, *options] for word in ("-s", option)]
            done = runner.run(here, "image.parset", *given)
            assert done.returncode == 0, done.stdout + done.stderr
            found[route] = read_products(here)
    return found


def test_routes_agree_on_fluxes(made):
    expected = {one.source.name: one.fit.flux_jy for one in made["wgridder"].fluxes.select_sources(10.0)}
    assert len(expected) >= 4
    for route in ROUTES:
        # One channel of 30 MHz has the beam of its middle, and sources whose spectra nothing models.
        limit = 0.07 if route == "idg, one channel" else 0.03
        bright = [one for one in made[route].fluxes.sources if one.source.name in expected]
        assert [one.ratio for one in bright] == pytest.approx([1.0] * len(bright), abs=limit), route
        ratios = [one.fit.flux_jy / expected[one.source.name] for one in bright]
        assert ratios == pytest.approx([1.0] * len(bright), abs=limit), route


@pytest.mark.parametrize("route", ROUTES)
def test_image_beam_and_keywords_agree(route, made):
    products = made[route]
    seen = np.isfinite(products.beam)
    assert products.ratio[seen] == pytest.approx(products.beam[seen], rel=1e-3)
    middle = products.beam.shape[0] // 2
    assert products.beam[middle, middle] == pytest.approx(1, abs=0.01)
    assert products.beam[seen].min() >= 0.005
    source = "everybeam" if route == "wgridder" else "wsclean"
    channels = ["MFS", "0000", "0001"] if route != "idg, one channel" else ["MFS"]
    for name in channels:
        header, flat = (products.headers[f"fullband-{name}-{kind}.fits"] for kind in ("image-pb", "image"))
        assert (header["CRVAL4"], header["PBSOURCE"], header["PBINDEX"]) == (1, source, -0.7)
        assert header["PBCUT"] == pytest.approx(0.005, rel=0.01)
        assert header["CRVAL3"] == flat["CRVAL3"] == products.headers[f"fullband-{name}-primary-beam.fits"]["CRVAL3"]
        assert "primary beam: " in str(header["HISTORY"])
    assert all(header["CRVAL4"] == 1 for name, header in products.headers.items() if "-pb.fits" in name)
    assert products.metadata["PolarizationCoordinate.polarizationType"] == "['I']"
    frequency_hz = float(products.metadata["SpectralCoordinate.spectralQuantityValue"])
    assert frequency_hz == products.headers["fullband-MFS-image-pb.fits"]["CRVAL3"]


def test_frequency_is_weighted_mean_of_channels(made):
    headers = made["idg"].headers
    channels = [headers[f"fullband-{number:04d}-image.fits"] for number in range(2)]
    mean = np.average([one["CRVAL3"] for one in channels], weights=[one["WSCIMGWG"] for one in channels])
    assert headers["fullband-MFS-image-pb.fits"]["CRVAL3"] == pytest.approx(mean, rel=1e-9)
    assert headers["fullband-MFS-image-pb.fits"]["BANDMID"] != pytest.approx(mean, rel=1e-5)


def test_archive_description_names_stokes_i(made):
    assert "<polarization>I</polarization>" in made["idg"].sip.replace(" ", "").lower().replace(
        "polarization>i<", "polarization>I<"
    )
    frequency_hz = made["idg"].headers["fullband-MFS-image-pb.fits"]["CRVAL3"]
    assert f"{frequency_hz}" in made["idg"].sip


def test_routes_agree_on_beams(made):
    reference = made["wgridder"].beam
    for route in ROUTES:
        beam = made[route].beam
        both = np.isfinite(beam) & np.isfinite(reference) & (reference > 0.2)
        assert np.abs(beam[both] / reference[both] - 1).max() < 0.06, route
    assert np.nanmax(reference) == pytest.approx(1, abs=0.01)
