"""Whole runs: masks, local noise, files for the visibilities, a killed run that goes on, and the model in the sets."""

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ducc0")

from astropy.io import fits
from casacore.tables import table

from imager_runs import CELL_ARCSEC, MAX_UV, SIZE, make_set, pixel_source, run_settings
from lofarpipe.imaging.imager import memory
from lofarpipe.imaging.imager.errors import ImagerError
from lofarpipe.imaging.imager.session import add_channel_beams, make_images
from yardstick_set import fourier_sum
from yardstick_sky import apparent_fluxes

SOURCES = [pixel_source(128, 128, 3.0), pixel_source(60, 170, 2.0), pixel_source(200, 90, 1.0)]


def plane(name, kind, label="-MFS"):
    return fits.getdata(f"{name}{label}-{kind}.fits").squeeze()


@pytest.fixture(scope="module")
def ms(tmp_path_factory):
    return make_set(tmp_path_factory.mktemp("session") / "a.ms", SOURCES, noise=0.1)


@pytest.fixture(scope="module")
def cleaned(ms, tmp_path_factory):
    """The settings of a run that was not disturbed, and the lines of its log."""
    settings, lines = run_settings(ms, tmp_path_factory.mktemp("cleaned") / "image", majors=8), []
    make_images(settings, lines.append)
    return settings, lines


def test_run_finds_fluxes_and_leaves_no_state(cleaned):
    settings, lines = cleaned
    model = plane(settings.name, "model")
    for source in SOURCES:
        x, y = SIZE // 2 - source.l / settings.cell_rad, SIZE // 2 + source.m / settings.cell_rad
        near = model[round(y) - 12 : round(y) + 13, round(x) - 12 : round(x) + 13].sum()
        assert near == pytest.approx(
            apparent_fluxes([source], np.array([144e6])).item(), rel=0.12
        )  # sparse: clean ends early
    assert not Path(f"{settings.name}-state.npz").exists()
    assert lines[0].startswith("Memory: about ")


def test_scratch_files_give_equal_images(cleaned, tmp_path):
    settings, _ = cleaned
    need = memory.estimate(settings)
    limit = int((need.in_files + need.in_memory) / 2)
    lines = []
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    limited = replace(settings, name=str(tmp_path / "image"), memory_bytes=limit, scratch=str(scratch))
    make_images(limited, lines.append)
    assert f"go to files in {scratch}" in lines[0]
    assert list(scratch.iterdir()) == []
    for kind in ("image", "residual", "psf"):
        difference = plane(limited.name, kind) - plane(settings.name, kind)
        assert np.abs(difference).max() < 1e-5 * plane(settings.name, "image").max()


def test_planes_beyond_memory_are_refused(cleaned):
    settings, _ = cleaned
    with pytest.raises(ImagerError, match=r"2 planes of 256 x 256 pixels .* need 0\.\d GB, and 0\.2 GB may be used"):
        make_images(replace(settings, memory_bytes=200_000_000), print)


def test_full_directory_is_refused(cleaned, monkeypatch, tmp_path):
    settings, _ = cleaned
    need = memory.estimate(settings)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    limited = replace(settings, memory_bytes=int((need.in_files + need.in_memory) / 2), scratch=str(tmp_path))
    with pytest.raises(ImagerError, match=rf"{tmp_path}: .* GB of visibilities do not fit into the 0\.0 GB"):
        make_images(limited, print)


def test_estimate_counts_visibilities(cleaned):
    settings, lines = cleaned
    used = int(next(line for line in lines if "visibilities in" in line).split()[0])
    assert memory.estimate(settings).count == pytest.approx(used, rel=0.05)


def test_killed_run_resumes(cleaned, tmp_path):
    settings, _ = cleaned
    name = tmp_path / "image"
    argv = [sys.executable, "-c", "from lofarpipe.cli.lofar_clean import main; raise SystemExit(main())"]
    argv += ["-name", str(name), "-size", str(SIZE), str(SIZE), "-scale", f"{CELL_ARCSEC}asec", "-maxuv-l", str(MAX_UV)]
    argv += ["-weight", "briggs", "0", "-channels-out", "2", "-join-channels", "-niter", "10000", "-nmiter", "4"]
    argv += ["-auto-mask", "5", "-auto-threshold", "3", "-j", "2", *settings.sets]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "Deconvolving (2)" in line:
                process.send_signal(signal.SIGTERM)
        words = process.stderr.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert "interrupted by SIGTERM: the last major cycle was saved; run again to resume" in words
    assert Path(f"{name}-state.npz").exists()
    again = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "Going on after major cycle 1 of an earlier run" in again.stdout
    assert "Deconvolving (1)" not in again.stdout
    assert "Deconvolving (2)" in again.stdout
    assert not Path(f"{name}-state.npz").exists()
    assert np.abs(plane(name, "residual")).max() < 0.1 * plane(name, "dirty").max()


def test_components_stay_inside_mask(cleaned, tmp_path):
    settings, _ = cleaned
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[100:150, 100:150] = 1
    fits.writeto(tmp_path / "mask.fits", mask)
    settings = replace(settings, name=str(tmp_path / "image"), fits_mask=str(tmp_path / "mask.fits"))
    make_images(settings, lambda _: None)
    model = plane(settings.name, "model")
    assert model[116:141, 116:141].sum() == pytest.approx(3, rel=0.25)  # the noise has the sidelobes outside the mask
    assert not model[mask == 0].any()


def test_noisy_surroundings_have_higher_thresholds(ms, tmp_path, cleaned):
    settings, _ = cleaned
    counts = {}
    for local in (False, True):
        one = replace(settings, name=str(tmp_path / f"image{local}"), local_rms=local, local_rms_window=5.0, majors=2)
        counts[local] = make_images(one, lambda _: None).iterations
    assert 0 < counts[True] != counts[False]


def test_model_data_is_fourier_sum_of_model(tmp_path, cleaned):
    settings, _ = cleaned
    ms = shutil.copytree(settings.sets[0], tmp_path / "a.ms")
    settings = replace(settings, name=str(tmp_path / "image"), sets=(str(ms),), save_model_data=True)
    make_images(settings, lambda _: None)
    with table(str(ms), ack=False) as rows, table(f"{ms}::SPECTRAL_WINDOW", ack=False) as window:
        uvw_m, cells = rows.getcol("UVW"), rows.getcol("MODEL_DATA")
        frequencies_hz = window.getcol("CHAN_FREQ")[0]
    for chan in range(2):
        model = plane(settings.name, "model", f"-000{chan}")
        y, x = np.nonzero(model)
        lm = np.column_stack([-(x - SIZE // 2), y - SIZE // 2]) * settings.cell_rad
        columns = slice(2 * chan, 2 * chan + 2)
        fluxes = np.repeat(model[y, x][:, None], 2, axis=1).astype(float)
        expected = fourier_sum(uvw_m, lm, frequencies_hz[columns], fluxes)
        short = np.abs(uvw_m).max(axis=1) * frequencies_hz.max() / 299792458.0 < 0.5 / settings.cell_rad
        for corr in (0, 3):
            assert np.abs(cells[short, columns, corr] - expected[short]).max() < 1e-3 * fluxes.sum()
    assert not cells[..., 1:3].any()


@pytest.mark.parametrize("types", [(9, 10, 11, 12), (5, 6, 7, 8)], ids=["linear", "circular"])
def test_polarised_model_survives_a_round_trip(tmp_path, types, cleaned):
    """The model of all Stokes parameters, written into a set, has the same images again, with either feed."""
    from lofarpipe.imaging.imager.model_data import write_model_data
    from lofarpipe.imaging.imager.visibilities import read_channels

    settings, _ = cleaned
    ms = shutil.copytree(settings.sets[0], tmp_path / "a.ms")
    with table(f"{ms}::POLARIZATION", readonly=False, ack=False) as subtable:
        subtable.putcol("CORR_TYPE", np.array([types], np.int32))
    settings = replace(settings, name=str(tmp_path / "image"), sets=(str(ms),), pol=tuple("IQUV"), join_pols=True)
    fluxes = {"I": 3.0, "Q": -1.0, "U": 0.5, "V": 0.25}
    models = np.zeros((4, 2, SIZE, SIZE), np.float32)
    for pol, flux in enumerate(fluxes.values()):
        models[pol, :, 140, 90] = flux
    write_model_data(settings, [one.band for one in read_channels(settings)], models)
    make_images(replace(settings, column="MODEL_DATA"), lambda _: None)
    found = {stokes: plane(settings.name, "model", f"-MFS-{stokes}")[128:153, 78:103].sum() for stokes in fluxes}
    assert found["I"] > 2
    for stokes, flux in fluxes.items():
        assert found[stokes] / found["I"] == pytest.approx(flux / 3, abs=0.005)


def test_spectra_without_beam_are_apparent(cleaned, tmp_path):
    settings, _ = cleaned
    lines = []
    one = replace(settings, name=str(tmp_path / "image"), channels_out=3, fit_spectral_terms=2, niter=50)
    make_images(one, lines.append)
    assert "Apparent spectra are fitted, without the primary beam: the sets have no beam of LOFAR's stations" in lines


def test_spectra_have_the_beam_of_lofar(hba_set, tmp_path):
    lines = []
    settings = run_settings(
        str(hba_set), tmp_path / "image", channels_out=4, fit_spectral_terms=2, max_uv_lambda=3000.0
    )
    beams = add_channel_beams(settings, lines.append).beams
    if beams is None:
        pytest.skip(lines[0])
    assert beams.shape == (4, 64, 64)
    assert beams[:, 32, 32] == pytest.approx(1, abs=1e-3)
    assert (np.diff(beams[:, 0, 0]) < 0).all()  # it falls faster at higher frequencies
