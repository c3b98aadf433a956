"""The files that WSClean writes: predicted names against real ones."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.observation import simulate
from lofarpipe.imaging.simulation.stations import ObservationSettings
from lofarpipe.jobs import Staged
from lofarpipe.programs.dp3 import predict_argv
from lofarpipe.programs.find import find, job_environment
from lofarpipe.programs.wsclean.options import option_words
from lofarpipe.programs.wsclean.outputs import (
    Product,
    band_images,
    command_products,
    is_corrected_by_wsclean,
    option_products,
    other_names,
    read_products,
    select,
)
from small_sets import SetShape, make_set

IMAGING = ["-size", "32", "32", "-scale", "0.05", "-no-update-model-required", "-j", "1", "-abs-mem", "1"]
JOINED = "-channels-out 2 -join-channels"
BEAM = "-use-idg -idg-mode cpu -grid-with-beam"

PLAIN = [
    "",
    "-niter 0",
    "-niter 0 -make-psf -channels-out 2",
    "-niter 9",
    "-niter 9 -no-dirty",
    "-make-psf-only -save-uv -save-weights -channels-out 2",
    f"-niter 9 {JOINED}",
    "--channelsout 2 -pol IQ",
    "-niter 9 -channels-out 2 -pol I,V -intervals-out 2",
    "-niter 9 -pol IQUV -join-polarizations",
    "-niter 9 -pol XX,XY,YX,YY -join-polarizations",
    "-niter 9 -pol XX",
    "-intervalsout 2 -niter 1 -save-source-list",
    "-niter 3 -save-uv -save-weights -pol IQ -channels-out 2",
    "-niter 3 -mgain 0.5 -save-first-residual -channels-out 2",
    f"-niter 3 -save-source-list -fit-spectral-pol 2 {JOINED}",
    "-niter 3 -subtract-model -multiscale -interval 0 2 -channel-range 0 1",
    "-niter 3 -dry-run -save-source-list",
    "-version",
]
WITH_BEAM = [
    "-niter 3 -use-idg -idg-mode cpu -pol IQUV -join-polarizations",
    f"-niter 0 {BEAM}",
    f"-niter 3 {BEAM}",
    f"-niter 3 {BEAM} {JOINED} -pol IQUV -join-polarizations -intervals-out 2",
    f"-niter 3 {BEAM} {JOINED} -save-source-list -save-psf-pb -no-dirty -fit-spectral-pol 2",
    f"-make-psf-only {BEAM}",
    "-niter 0 -apply-primary-beam -use-wgridder",
    f"-niter 3 -apply-primary-beam -use-wgridder {JOINED} -save-psf-pb -save-source-list -fit-spectral-pol 2",
    "-niter 3 -apply-primary-beam -use-wgridder -pol IQUV -join-polarizations -intervals-out 2",
    "-make-psf-only -apply-primary-beam -use-wgridder",
]


@pytest.fixture(scope="module")
def bright_set(tmp_path_factory):
    """A small set with something in it."""
    import casacore.tables as ct

    path = make_set(tmp_path_factory.mktemp("bright") / "a.MS", SetShape(nantennas=6, ntimes=4), with_data=True)
    with ct.table(path, readonly=False, ack=False) as table:
        table.putcol("DATA", table.getcol("DATA") + 1)
    return path


@pytest.fixture(scope="module")
def lofar_set(tmp_path_factory):
    """A small set of stations that EveryBeam knows."""

    def run(commands):
        for argv in commands:
            subprocess.run(argv, env=os.environ | job_environment(), check=True, capture_output=True)

    settings = ObservationSettings(nstations=6, nsubbands=1, nchannels=2, slots_per_block=4, nblocks=1, nsources=2)
    try:
        return simulate(
            tmp_path_factory.mktemp("lofar"), settings, partial(predict_argv, str(find("DP3"))), run, False
        ).sets[0]
    except PipelineError as err:
        pytest.skip(str(err))


def written_and_known(program: Path, options: str, ms: str, folder: Path) -> tuple[list[str], list[str]]:
    argv = [str(program), "-name", f"{folder}/x", *IMAGING, *options.split(), ms]
    environment = os.environ | job_environment()
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:]
    return sorted(map(str, folder.iterdir())), sorted(product.path for product in command_products(argv))


@pytest.mark.parametrize("options", PLAIN)
def test_predicted_names_match_wsclean(options, bright_set, tmp_path):
    try:
        program = find("wsclean")
    except PipelineError as err:
        pytest.skip(str(err))
    written, known = written_and_known(program, options, bright_set, tmp_path)
    assert known == written


@pytest.mark.parametrize("options", WITH_BEAM)
def test_predicted_beam_names_match_wsclean(options, wsclean_with_idg, lofar_set, tmp_path):
    written, known = written_and_known(wsclean_with_idg / "wsclean", options, lofar_set, tmp_path)
    # WSClean 3.4 writes the beam of all of the band as well, 3.1 does not.
    assert [path for path in known if "MFS-beam" not in path] == written


@pytest.mark.parametrize("options", [*PLAIN, *WITH_BEAM])
def test_file_name_gives_product_kind(options):
    products = option_products(option_words({}, ["wsclean", "-name", "/o/x-0001", *options.split()]))
    assert read_products("/o/x-0001", [product.path for product in products]) == products


def test_foreign_names_are_not_products():
    names = ["x-image.fits", "x-2-image.fits", "x-MFS-image.fits.bak", "y-image.fits", "x-MFS-image-pb.png", "x.fits"]
    assert read_products("x", names) == (Product("x-image.fits", "image"),)


def test_products_are_selected_whole_band_first():
    argv = ["wsclean", "-name", "x", "-channels-out", "2", "-pol", "IQ", "-niter", "1", "-apply-primary-beam"]
    products = command_products(argv)
    names = ["x-MFS-I-image.fits", "x-MFS-Q-image.fits", "x-0000-I-image.fits", "x-0000-Q-image.fits"]
    assert [one.path for one in select(products, "image")][:4] == names
    assert [one.path for one in select(products, "image-pb", channel=1, stokes="Q")] == ["x-0001-Q-image-pb.fits"]
    assert [one.element for one in select(products, "beam", channel=0)] == list(range(16))
    assert select(products, "sources") == []


def test_unnamed_images_have_default_name():
    assert [one.path for one in command_products(["wsclean", "-no-dirty", "a.MS"])] == ["wsclean-image.fits"]


@pytest.mark.parametrize(
    ("options", "is_corrected"),
    [
        ("-use-wgridder", False),
        ("-apply-primary-beam", True),
        ("-use-idg", False),
        (BEAM, True),
        ("-gridder idg -grid-with-beam", True),
        ("-gridder idg -aterm-config a", True),
        ("-gridder wgridder -aterm-config a", False),
        ("-facet-regions a -apply-facet-beam", True),
    ],
)
def test_flags_tell_wsclean_beam_correction(options, is_corrected):
    assert is_corrected_by_wsclean(option_words({}, options.split())) == is_corrected


@pytest.mark.parametrize(
    ("letter", "without_psf", "name", "expected"),
    [
        ("V", True, "image.image7.beam05-0000-image.fits", "image.image7.beam05-0000-V-image.fits"),
        ("V", True, "a-MFS-residual.fits", "a-MFS-V-residual.fits"),
        ("V", True, "a-image.fits", "a-V-image.fits"),
        ("V", True, "a-0003-psf.fits", ""),
        ("", True, "a-0003-psf.fits", ""),
        ("", True, "a-0003-Q-image.fits", "a-0003-Q-image.fits"),
        ("", False, "a-0003-psf.fits", "a-0003-psf.fits"),
    ],
)
def test_single_stokes_letter_enters_names(letter, without_psf, name, expected):
    pairs = (text.partition("=>") for text in other_names(letter, without_psf))
    staged = Staged((), Path(), Path(), renames=tuple((pattern, new) for pattern, _, new in pairs))
    assert staged.final_name(name) == expected


def test_band_images_are_selected():
    files = [
        "/o/a-0000-image.fits",
        "/o/a-MFS-Q-image.fits",
        "/o/a-MFS-image.fits",
        "/o/a-MFS-psf.fits",
        "/o/b-image.fits",
    ]
    assert band_images("/o/a", files) == ["/o/a-MFS-image.fits", "/o/a-MFS-Q-image.fits"]
    assert band_images("/o/a", "[/o/a-image.fits,/o/a-psf.fits]") == ["/o/a-image.fits"]
