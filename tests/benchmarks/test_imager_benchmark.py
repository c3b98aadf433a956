"""The yardstick of imagers: its sky, its set, its measures of made-up images, and its limits."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from loading import load_script

pytest.importorskip("numba")

from yardstick_measures import channel_weights, fit_peak, limits, measure, worse_measures
from yardstick_set import Observation, Truth, make_yardstick, predict, truth_path
from yardstick_sky import SkySource, apparent_fluxes, draw_sky

TINY = Observation(stations=5, pairs=2, blocks=2, slots=3, noise=0)
FREQUENCIES_HZ = np.array([130e6, 150e6])
CELL_ARCSEC, SIZE, BEAM_PIXELS = 20.0, 401, 5.0


@pytest.fixture(scope="module")
def benchmark():
    return load_script("imager")


def write_perfect_images(name: Path, truth: Truth, scale: float = 1.0, noise_jy: float = 1e-3) -> None:
    """Write the images of a perfect imager for point sources, with fluxes times ``scale``."""
    y, x = np.mgrid[:SIZE, :SIZE]
    residual = np.random.default_rng(1).normal(0, noise_jy, (SIZE, SIZE))
    image, model = residual.copy(), np.zeros((SIZE, SIZE))
    fluxes = scale * apparent_fluxes(truth.sources, FREQUENCIES_HZ).mean(axis=1)
    cell = np.radians(CELL_ARCSEC / 3600)
    for source, flux in zip(truth.sources, fluxes, strict=True):
        column, row = SIZE // 2 - source.l / cell, SIZE // 2 + source.m / cell
        image += flux * np.exp(-4 * np.log(2) * ((x - column) ** 2 + (y - row) ** 2) / BEAM_PIXELS**2)
        if 0 <= row < SIZE and 0 <= column < SIZE:
            model[round(row), round(column)] += flux
    header = fits.Header({"CDELT1": -CELL_ARCSEC / 3600, "CRPIX1": SIZE // 2 + 1, "CRPIX2": SIZE // 2 + 1, "BPA": 0.0})
    header.update(dict.fromkeys(("BMAJ", "BMIN"), BEAM_PIXELS * CELL_ARCSEC / 3600))
    for kind, plane in (("image", image), ("residual", residual), ("model", model)):
        fits.writeto(f"{name}-MFS-{kind}.fits", plane[None, None].astype(np.float32), header)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Measures of images without faults, and of images whose fluxes are 3 % too high."""
    folder = tmp_path_factory.mktemp("perfect")
    truth = Truth("pts", draw_sky("pts"), FREQUENCIES_HZ.tolist(), SIZE, CELL_ARCSEC, 2000.0)
    weights = FREQUENCIES_HZ, np.ones(2)
    for label, scale in (("right", 1.0), ("high", 1.03)):
        write_perfect_images(folder / label, truth, scale)
    return tuple(measure(folder / label, truth, weights) for label in ("right", "high"))


def test_skies_have_their_sources():
    assert len(draw_sky("pts")) == 40
    assert [one.major for one in draw_sky("ext")][40:] == [60, 120, 180, 300, 480, 720, 90, 240]
    real = draw_sky("real", seed=2)
    assert len(real) == 1500
    assert 0.08 < np.mean([one.major > 0 for one in real]) < 0.16
    assert min(one.flux for one in real) >= 0.004
    assert draw_sky("pts", 1) != draw_sky("pts", 2)


def test_set_holds_fourier_sum_of_its_sky(tmp_path):
    from casacore.tables import table

    truth = make_yardstick(tmp_path / "tiny.ms", "ext", TINY, (64, 60.0, 500.0))
    assert Truth.load(truth_path(tmp_path / "tiny.ms")) == truth
    with table(str(tmp_path / "tiny.ms"), ack=False) as ms:
        uvw_m, cells = ms.getcol("UVW"), ms.getcol("DATA")
        assert len(np.unique(ms.getcol("TIME"))) == 6
    assert cells.shape == (60, 4, 4)
    assert not cells[..., 1:3].any()
    wavelengths = uvw_m[:, None] * TINY.frequencies_hz[:, None] / 299792458.0
    points = truth.sources[:40]
    expected = np.zeros(wavelengths.shape[:2], complex)
    for source, fluxes in zip(points, apparent_fluxes(points, TINY.frequencies_hz), strict=True):
        n = np.sqrt(1 - source.l**2 - source.m**2)
        expected += fluxes * np.exp(2j * np.pi * wavelengths @ [source.l, source.m, n - 1])
    np.testing.assert_allclose(predict(uvw_m, points, TINY.frequencies_hz), expected, atol=1e-6)
    assert abs(cells[..., 0] - expected).max() > 1  # of the extended sources
    np.testing.assert_allclose(cells[..., 3], predict(uvw_m, truth.sources, TINY.frequencies_hz), rtol=1e-5, atol=1e-5)


def test_gaussian_has_its_fwhm():
    half_uv = 2 * np.log(2) / np.pi / np.radians(600 / 3600)  # of a FWHM of 600 arcsec
    uvw_m = np.array([[half_uv, 0, 0], [0, half_uv, 0]]) * 299792458.0 / 144e6
    sources = [SkySource(0, 0, 1.0, 0, 600, 300, 90)]  # along right ascension
    values = predict(uvw_m, sources, np.array([144e6]))[:, 0]
    assert values.real == pytest.approx([0.5, 0.5**0.25])


def test_perfect_image_has_true_fluxes(measured):
    right, _ = measured
    assert right["rms off sources, mJy"] == pytest.approx(1, rel=0.02)
    assert right["aperture/true > 0.5 Jy"] == pytest.approx(1, abs=2e-3)
    assert right["peak/true > 0.5 Jy"] == pytest.approx(1, abs=2e-3)
    assert right["model/true"] == pytest.approx(1, abs=1e-3)
    assert right["position rms, arcsec > 0.5 Jy"] < 0.05
    assert right["sources > 7 sigma missed"] <= 2  # beside brighter ones
    assert right["false sources > 5 sigma"] <= 1


def test_worse_images_exceed_limits(measured):
    right, high = measured
    assert worse_measures(right, right) == []
    assert {line.split("/")[0] for line in worse_measures(right, high)} == {
        *("error of aperture", "error of model", "error of peak")
    }
    noisy = right | {"rms off sources, mJy": 1.04, "false sources > 5 sigma": 99, "position rms, arcsec": np.nan}
    assert [line.split(" exceeds")[0] for line in worse_measures(right, noisy)] == [
        *("rms off sources, mJy 1.04", "position rms, arcsec nan", "false sources > 5 sigma 99")
    ]


def test_limits_of_extended_sources_and_rings():
    base = {"rms off sources, mJy": 1.0, "residual MAD, mJy": 1.0, "false sources > 5 sigma": 1}
    base |= {"sources > 7 sigma missed": 0, "extended 60 arcsec: aperture/true": 0.95, "brightest (6 Jy), rms": 4.0}
    most = limits(base | {"extended 60 arcsec: model/true": 0.5})
    assert most["extended 60 arcsec: aperture/true"] == pytest.approx(0.06)
    assert most["brightest (6 Jy), rms"] == pytest.approx(4.6)
    assert "extended 60 arcsec: model/true" not in most


def test_peak_of_inclined_beam_is_found():
    y, x = np.mgrid[-1:2, -1:2]
    u, v = x - 0.3, y + 0.2
    assert fit_peak(2 * np.exp(-(0.5 * u * u + 0.4 * u * v + 0.3 * v * v))) == pytest.approx((0.3, -0.2, 2))
    assert fit_peak(np.ones((3, 3))) == (0, 0, 1)


def test_channel_weights_come_from_headers(tmp_path):
    truth = Truth("pts", [], [1e8, 2e8], 4, 1.0, 1.0)
    assert [list(one) for one in channel_weights(tmp_path / "a", truth)] == [[1e8, 2e8], [1, 1]]
    fits.writeto(tmp_path / "a-MFS-image.fits", np.zeros(1))
    for number, weight in ((1, 3.0), (0, 2.0)):
        header = fits.Header({"CRVAL3": 1e8 + number, "WSCIMGWG": weight})
        fits.writeto(tmp_path / f"a-000{number}-image.fits", np.zeros(1), header)
    assert [list(one) for one in channel_weights(tmp_path / "a", truth)] == [[1e8, 1e8 + 1], [2, 3]]


IMAGER = """
import shutil, sys
print("cleaning")
for kind in ("image", "residual", "model"):
    shutil.copy(f"{sys.argv[1]}-MFS-{kind}.fits", f"{sys.argv[2]}-MFS-{kind}.fits")
"""


def test_compare_prints_table_of_imagers(benchmark, tmp_path, monkeypatch, capsys):
    truth = Truth("pts", draw_sky("pts"), FREQUENCIES_HZ.tolist(), SIZE, CELL_ARCSEC, 2000.0)
    truth.save(truth_path(tmp_path / "a.ms"))
    write_perfect_images(tmp_path / "right", truth)
    write_perfect_images(tmp_path / "high", truth, 1.03)
    argv = [sys.executable, str(tmp_path / "copy.py"), str(tmp_path / "right"), str(tmp_path / "out" / "wsclean")]
    monkeypatch.setattr(benchmark, "wsclean_argv", lambda *_: argv)
    (tmp_path / "copy.py").write_text(IMAGER)
    imagers = [f"{sys.executable} {tmp_path}/copy.py {tmp_path}/{kind} {{name}}" for kind in ("right", "high")]
    words = ["compare", str(tmp_path / "a.ms"), "--out", str(tmp_path / "out"), "--quality-only"]
    assert benchmark.main([*words, "--imager", imagers[0]]) == 0
    assert "all limits held" in capsys.readouterr().out
    assert benchmark.main([*words, *(f"--imager={one}" for one in imagers)]) == 1
    assert "imager2: error of aperture/true 0.03" in capsys.readouterr().out
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert table["imager1"]["memory, MB"] > 0
    assert table["imager2"]["aperture/true"] == pytest.approx(1.03, abs=0.01)
    assert (tmp_path / "out" / "imager1.log").read_text() == "cleaning\n"
    assert benchmark.main(["evaluate", str(tmp_path / "a.ms"), str(tmp_path / "out" / "imager2")]) == 0
    assert "rms off sources" in capsys.readouterr().out


def test_failing_imager_ends_comparison(benchmark, tmp_path):
    with pytest.raises(SystemExit, match=r"ended with 3; last lines of .*log:\nno memory"):
        benchmark.run([sys.executable, "-c", "print('no memory'); raise SystemExit(3)"], tmp_path / "log")


def test_costs_above_limits_are_named(benchmark, measured):
    right, _ = measured
    reference = right | {"CPU seconds": 100.0, "memory, MB": 100.0}
    cost = right | {"CPU seconds": 12.0, "memory, MB": 151.0}
    assert benchmark.excesses("pts", reference, cost) == ["memory, MB: 1.510 of WSClean's exceeds 1.5"]
    assert benchmark.excesses("ext", reference, cost)[0] == "CPU seconds: 0.120 of WSClean's exceeds 0.1"
    assert benchmark.excesses("ext", reference, cost, cpu=False) == []


def test_both_imagers_get_same_options(benchmark, tmp_path, monkeypatch):
    chosen = []
    monkeypatch.setattr(benchmark, "compare", lambda options: chosen.append(options) or 0)
    benchmark.main(["compare", str(tmp_path / "a.ms"), "--threads", "1", "--wsclean=-no-dirty"])
    truth = Truth("ext", [], [], 100, 2.5, 900.0)
    reference = benchmark.wsclean_argv(truth, tmp_path / "w", tmp_path / "a.ms", chosen[0])
    own = benchmark.imager_argv("", truth, tmp_path / "w", tmp_path / "a.ms", chosen[0])
    assert own[0].endswith("lofar-clean")
    assert "-multiscale" in own
    assert own[own.index("-scale") + 1] == "2.5asec"
    assert set(own[1:]) < set(reference)
    assert reference[-2:] == ["-no-dirty", str(tmp_path / "a.ms")]
    template = benchmark.imager_argv("x {npix} {name}", truth, tmp_path / "w", tmp_path / "a.ms", chosen[0])
    assert template == ["x", "100", str(tmp_path / "w")]


def test_small_set_is_made(benchmark, tmp_path, capsys):
    path = tmp_path / "small.ms"
    assert benchmark.main(["make", str(path), "--small", "--stations", "3", "--slots", "1", "--noise", "0"]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: 40 sources")
    assert Truth.load(truth_path(path)).pixels == 1024
