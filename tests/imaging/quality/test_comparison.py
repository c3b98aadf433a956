"""Images against references, on sources whose fluxes and places are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from doc_pages import REPOSITORY, column_words
from lofarpipe.imaging.beam.spectral import SpectralIndex
from lofarpipe.imaging.quality import comparison
from lofarpipe.imaging.quality.comparison import (
    compare_fluxes,
    is_isolated,
    read_expected,
    signal_to_noise,
    write_comparison,
)
from lofarpipe.imaging.quality.reference import Reference
from lofarpipe.imaging.quality.sky_image import SkyImage, read_sky_image
from made_images import BEAM_DEG, CELL_DEG, write_image

Images = tuple[SkyImage, SkyImage]  # corrected, flat
SIDE = 200
RMS_JY = 1e-3
# Columns and rows of sources, from 0, and their fluxes; made_images has a beam of 8 x 4 pixels at 30 degrees.
SOURCES = [(60, 60, 1.0), (140, 60, 0.5), (60, 140, 0.2), (150, 150, 2.0)]
POWER = 0.5  # of the primary beam, everywhere


def reference_of(image: SkyImage, sources: list[tuple[float, float, float]], **changes: object) -> Reference:
    """Sources at places of an image."""
    x, y, flux_jy = np.array(sources, float).reshape(-1, 3).T
    ra, dec = image.celestial.wcs_pix2world(x, y, 0)
    facts = {"names": [f"s{place}" for place in range(len(x))], "is_point": np.ones(len(x), bool), **changes}
    return Reference(
        "sky.model", "a sky model", right_ascension_deg=ra % 360, declination_deg=dec, flux_jy=flux_jy, **facts
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """Point sources as the beam shows them, corrected and flat; the last is 0.1 pixel to the east, and 3 % fainter."""
    here = tmp_path_factory.mktemp("images")
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    angle, major, minor = math.radians(30), 2 * BEAM_DEG / CELL_DEG / 2.35482, BEAM_DEG / CELL_DEG / 2.35482
    plane = np.random.default_rng(5).normal(0, 2e-4, (SIDE, SIDE))
    for place, (column, row, flux_jy) in enumerate(SOURCES):
        dx, dy = x - column + (0.1 if place == 3 else 0), y - row
        along, across = -dx * math.sin(angle) + dy * math.cos(angle), dx * math.cos(angle) + dy * math.sin(angle)
        plane += (0.97 if place == 3 else 1) * flux_jy * np.exp(-0.5 * ((along / major) ** 2 + (across / minor) ** 2))
    plane[:20, :20] = np.nan
    flat = write_image(here / "flat.fits", plane * POWER)
    return read_sky_image(write_image(here / "pb.fits", plane)), read_sky_image(flat)


def test_comparison_measures_flux_position_and_width(images: Images) -> None:
    found = compare_fluxes(*images, reference_of(images[0], SOURCES), RMS_JY)
    by_name = {source["name"]: source for source in found["sources"]}
    assert [by_name[name]["ratio"] for name in ("s0", "s1", "s2", "s3")] == pytest.approx([1, 1, 1, 0.97], abs=0.01)
    assert by_name["s3"]["east_arcsec"] == pytest.approx(1.0, abs=0.05)  # 0.1 pixel of 10 arcsec
    assert by_name["s3"]["north_arcsec"] == pytest.approx(0.0, abs=0.05)
    assert by_name["s3"]["peak_loss"] == pytest.approx(0.03, abs=0.002)
    assert by_name["s3"]["peak_loss_error"] == pytest.approx(RMS_JY / POWER / 2.0)
    assert by_name["s0"]["widening"] == pytest.approx(1, abs=0.01)
    assert by_name["s0"]["signal_to_noise"] == pytest.approx(1.0 / (RMS_JY / POWER), rel=1e-3)
    assert found["frequency_hz"] == 144e6


def test_slope_of_primary_beam_moves_no_source(images: Images, tmp_path: Path) -> None:
    corrected, _ = images
    slope = np.exp(-0.03 * np.arange(SIDE))  # per pixel, to the west; the beam is 1.7 to 3.4 pixels wide (sigma)
    flat_path = write_image(tmp_path / "flat.fits", corrected.plane.astype(float))
    pb_path = write_image(tmp_path / "pb.fits", corrected.plane / slope)
    reference = reference_of(corrected, SOURCES)
    straight, moved = (
        compare_fluxes(read_sky_image(pb_path), read_sky_image(path), reference, RMS_JY)["sources"]
        for path in (flat_path, pb_path)
    )
    assert max(abs(source["east_arcsec"]) for source in straight if source["name"] != "s3") < 0.05
    assert min(source["east_arcsec"] for source in moved) < -0.8


def test_summary_counts_reference_sources(images: Images) -> None:
    # The last is below 10 times the noise, and above 5: 12 mJy over 2 mJy.
    summary = compare_fluxes(*images, reference_of(images[0], [*SOURCES, (100, 100, 0.012)]), RMS_JY)["summary"]
    assert (summary["reference_sources"], summary["expected_above_5_sigma"]) == (5, 5)
    assert (summary["compared"], summary["measured"]) == (4, 4)
    assert summary["median_ratio"] == pytest.approx(1.0, abs=0.01)
    assert summary["ratio_scatter"] < 0.02


def test_single_source_has_no_scatter(images: Images) -> None:
    summary = compare_fluxes(*images, reference_of(images[0], SOURCES[:1]), RMS_JY)["summary"]
    assert summary["measured"] == 1
    assert "median_ratio" in summary
    assert "ratio_scatter" not in summary


def test_sources_are_sorted_by_distance(images: Images) -> None:
    distances = [
        source["distance_deg"]
        for source in compare_fluxes(*images, reference_of(images[0], SOURCES), RMS_JY)["sources"]
    ]
    assert distances == sorted(distances)


def test_missing_source_is_reported(images: Images) -> None:
    found = compare_fluxes(*images, reference_of(images[0], [(100, 30, 0.5)]), RMS_JY)
    assert found["summary"] == {"reference_sources": 1, "expected_above_5_sigma": 1, "compared": 1, "measured": 0}
    assert found["sources"][0]["found"] is False
    assert "ratio" not in found["sources"][0]
    json.dumps(found, allow_nan=False)


def test_extended_sources_have_no_loss_of_peak(images: Images) -> None:
    (source,) = compare_fluxes(*images, reference_of(images[0], SOURCES[:1], is_point=np.array([False])), RMS_JY)[
        "sources"
    ]
    assert "peak_loss" not in source
    assert source["ratio"] == pytest.approx(1, abs=0.01)


def test_smeared_source_keeps_integrated_flux(tmp_path: Path) -> None:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    width = 1.5 * BEAM_DEG / CELL_DEG / 2.35482  # round, of 6 pixels: the beam has 8 x 4, so 32 / 36 of its peak
    image = read_sky_image(write_image(tmp_path / "a.fits", 32 / 36 * np.exp(-0.5 * (x**2 + y**2) / width**2)))
    (source,) = compare_fluxes(image, image, reference_of(image, [(SIDE / 2, SIDE / 2, 1.0)]), RMS_JY)["sources"]
    assert source["ratio"] == pytest.approx(1, abs=1e-3)
    assert source["peak_loss"] == pytest.approx(1 - 32 / 36, abs=1e-3)
    assert source["widening"] == pytest.approx(math.sqrt(36 / 32), abs=1e-3)


def test_positions_outside_image_have_no_signal(images: Images) -> None:
    reference = reference_of(images[0], [(60, 60, 1.0), (10, 10, 1.0), (-5, 60, 1.0), (60, SIDE, 1.0)])
    assert signal_to_noise(*images, reference, RMS_JY) == pytest.approx([500, 0, 0, 0], rel=1e-3)


def test_antipodal_source_has_no_signal(images: Images) -> None:
    reference = reference_of(images[0], SOURCES[:1])
    opposite = Reference(
        "r",
        "k",
        ["s"],
        (reference.right_ascension_deg + 180) % 360,
        -reference.declination_deg,
        np.ones(1),
        np.ones(1, bool),
    )
    assert signal_to_noise(*images, opposite, RMS_JY).tolist() == [0.0]


def test_only_isolated_sources_are_compared(images: Images) -> None:
    beam_arcsec = images[0].beam_major_arcsec  # 8 pixels
    crowd = [(60, 60, 1.0), (70, 60, 0.04), (140, 60, 1.0), (150, 60, 0.06), (60, 140, 1.0), (77, 140, 1.0)]
    # 4 % within two beams does no harm, but it is harmed itself; 6 % does; 17 pixels are more than two beams.
    assert is_isolated(reference_of(images[0], crowd), beam_arcsec).tolist() == [True, False, False, False, True, True]


def test_brightest_sources_are_compared(images: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "MOST_SOURCES", 2)
    found = compare_fluxes(*images, reference_of(images[0], SOURCES), RMS_JY)
    assert {source["name"] for source in found["sources"]} == {"s0", "s3"}


def test_page_explains_every_entry(images: Images) -> None:
    words = column_words(REPOSITORY / "doc" / "report.md", "| entry | meaning |")
    assert words == set(compare_fluxes(*images, reference_of(images[0], SOURCES), RMS_JY))


def test_comparison_is_written_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "comparison.json"
    write_comparison(path, {"summary": {}})
    assert json.loads(path.read_text()) == {"summary": {}}
    write_comparison(path, None)
    write_comparison(path, None)
    assert not path.exists()


def test_expected_fluxes_match_image_frequency(images: Images, tmp_path: Path) -> None:
    image, _ = images
    ra, dec = image.celestial.wcs_pix2world([60, 140, 500], [60, 60, 60], 0)
    indices = (-0.7, -1.5, -1.5)
    rows = [
        f"s{k}, POINT, {a:.6f}deg, {d:.6f}deg, 2.0, [{i}]"
        for k, (a, d, i) in enumerate(zip(ra, dec, indices, strict=True))
    ]
    model = tmp_path / "sky.model"
    model.write_text(
        "\n".join(["FORMAT = Name, Type, Ra, Dec, I, SpectralIndex, ReferenceFrequency='144e6'", "", *rows]) + "\n"
    )
    pytest.importorskip("lsmtool")
    frequencies = np.full((SIDE, SIDE), 132e6)
    frequencies[60, 60] = np.nan
    measured = read_sky_image(write_image(tmp_path / "f.fits", frequencies))
    expected = read_expected(model, image, measured, SpectralIndex("-0.7", -0.7))
    # The first has no frequency there, and the last is outside; the second is 2 (132/144)^-1.5, brought back by -0.7.
    assert expected.effective_hz == pytest.approx([144e6, 132e6, 144e6])
    assert expected.reference.flux_jy == pytest.approx([2, 2 * (132 / 144) ** -0.8, 2], rel=1e-6)
    found = compare_fluxes(*images, reference_of(image, SOURCES), RMS_JY, np.array([1e8, 2e8, 3e8, 4e8]))
    named = {one["name"]: one["effective_frequency_hz"] for one in found["sources"]}
    assert named == {"s0": 1e8, "s1": 2e8, "s2": 3e8, "s3": 4e8}
