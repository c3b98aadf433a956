"""The figures of the page: what is in them, and what cannot be drawn."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lofarpipe.report.html import figures as html_figures
from lofarpipe.report.html.sky import NoPictureError
from made_images import write_image

SOURCE = {"distance_deg": 1.0, "ratio": 1.02, "ratio_error": 0.01, "east_arcsec": 0.5, "north_arcsec": -0.2}
SOURCE |= {"peak_loss": 0.01, "peak_loss_error": 0.002}


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that are drawn, before they become text."""
    figures: list[Any] = []

    def keep(figure: Any, kind: str) -> str:
        figure.canvas.draw()
        figures.append(figure)
        return kind

    monkeypatch.setattr(html_figures, "_uri", keep)
    return figures


def text_of(uri: str) -> str:
    kind, content = uri.split(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(content).decode()


def picture_of(uri: str) -> np.ndarray:
    kind, content = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB")).astype(int)


def beam_plane(side: int = 128) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2
    return np.exp(-(x**2 + y**2) / (2 * (side / 4) ** 2))


def red_pixels(picture: np.ndarray) -> int:
    red, green, blue = np.moveaxis(picture, -1, 0)
    return int(((red > 180) & (green < 60) & (blue < 90)).sum())


def test_beam_has_a_half_power_contour(tmp_path: Path) -> None:
    assert red_pixels(picture_of(html_figures.beam_figure(write_image(tmp_path / "b.fits", beam_plane())))) > 500


@pytest.mark.filterwarnings("error")
def test_beam_that_never_falls_to_half_has_none(tmp_path: Path) -> None:
    flat = write_image(tmp_path / "b.fits", 0.8 + 0.2 * beam_plane())
    assert red_pixels(picture_of(html_figures.beam_figure(flat))) == 0


def test_blank_beam_is_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(NoPictureError, match="every pixel is blank"):
        html_figures.beam_figure(write_image(tmp_path / "b.fits", np.full((8, 8), np.nan)))


def test_noise_of_tiles_is_that_of_their_pixels(tmp_path: Path) -> None:
    plane = np.random.default_rng(1).normal(0, 1e-3, (480, 480))
    plane[:240] *= 3  # the southern half
    noise, distance_deg, extent = html_figures.noise_tiles(write_image(tmp_path / "a.fits", plane))
    assert noise.shape == (24, 24)
    assert np.median(noise[:12]) == pytest.approx(3e-3, rel=0.05)
    assert np.median(noise[12:]) == pytest.approx(1e-3, rel=0.05)
    # 480 cells of 10 arcsec, the reference pixel is 241: from +240.5 to -239.5 cells along right ascension.
    assert extent == pytest.approx(np.array([240.5, -239.5, -240.5, 239.5]) * 10 / 3600)
    assert distance_deg[0, 0] == pytest.approx(np.hypot(230.5, -230.5) * 10 / 3600)


def test_of_a_large_image_some_rows_and_columns_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_figures, "NOISE_PIXELS", 10_000)
    plane = np.random.default_rng(1).normal(0, 1e-3, (300, 300))
    plane[:, 1::3] = plane[:, 2::3] = plane[1::3] = plane[2::3] = 7.0  # every = isqrt(90000 // 10000) = 3
    noise, _, _ = html_figures.noise_tiles(write_image(tmp_path / "a.fits", plane))
    assert np.median(noise) == pytest.approx(1e-3, rel=0.1)


def test_noise_is_drawn_against_what_is_expected(tmp_path: Path) -> None:
    image = write_image(tmp_path / "a.fits")
    chart, expected = html_figures.noise_figures(image, 1e-3)
    assert picture_of(chart).size
    assert "expected thermal noise" in text_of(expected)
    assert "expected thermal noise" not in text_of(html_figures.noise_figures(image, None)[1])


def test_image_without_noise(tmp_path: Path) -> None:
    with pytest.raises(NoPictureError, match="no part of it has noise"):
        html_figures.noise_figures(write_image(tmp_path / "a.fits", np.zeros((64, 64))), None)


def test_smearing_is_drawn_with_and_without_measurements() -> None:
    predicted = [(0.0, 0.0), (1.0, 0.01), (2.0, 0.03)]
    assert "measured" not in text_of(html_figures.smearing_figure(predicted, []))
    text = text_of(html_figures.smearing_figure(predicted, [SOURCE]))
    assert "predicted" in text
    assert "measured" in text


def test_fluxes_and_positions_are_drawn() -> None:
    assert "measured / reference flux" in text_of(html_figures.flux_figure([SOURCE]))
    assert "a tenth of the beam" in text_of(html_figures.position_figure([SOURCE], 40.0))
    assert "a tenth of the beam" not in text_of(html_figures.position_figure([SOURCE], None))


def test_figures_have_nothing_that_changes_from_page_to_page() -> None:
    assert html_figures.flux_figure([SOURCE]) == html_figures.flux_figure([SOURCE])


def test_pictures_are_made_smaller_and_never_larger(tmp_path: Path) -> None:
    for side, expected in ((300, (100, 50)), (60, (60, 30))):
        Image.new("RGB", (side, side // 2), "blue").save(tmp_path / "p.png")
        picture = picture_of(html_figures.shrunk_picture(tmp_path / "p.png", 100))
        assert picture.shape == (expected[1], expected[0], 3)
        assert picture[5, 5].tolist() == [0, 0, 255]


def test_what_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "p.png").write_text("no picture")
    with pytest.raises(NoPictureError, match=r"p\.png: cannot be read as a picture"):
        html_figures.shrunk_picture(tmp_path / "p.png")


def test_legend_leaves_the_middle_free(drawn: list[Any]) -> None:
    html_figures.position_figure([SOURCE], 40.0)
    (axes,) = drawn[0].axes
    left, _, right, top = axes.get_legend().get_window_extent().transformed(axes.transAxes.inverted()).extents
    assert left < right < 0.5 < top


@pytest.mark.parametrize("distance_deg", [0.0, 0.2])
def test_one_source_is_seen_from_the_centre(drawn: list[Any], distance_deg: float) -> None:
    html_figures.flux_figure([SOURCE | {"distance_deg": distance_deg}])
    left, right = drawn[0].axes[0].get_xlim()
    assert left == 0.0
    assert distance_deg < right
