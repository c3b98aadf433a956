"""WSClean's arguments for full-Stokes images, and the images that it wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.programs.wsclean.stokes import (
    BandRequest,
    ChannelRequest,
    StokesImaging,
    band_words,
    channel_arguments,
    images_by_stokes,
    is_empty,
    stokes_images,
)

IMAGING = StokesImaging(512, 2.0, 1000, 0.8, (0, 3), "auto", 300.0)
BAND = BandRequest((0, 30), (9.5e8, 1.05e9))


def test_channel_is_weighted_and_joined() -> None:
    request = ChannelRequest(("/s/window0.ms", "/s/window1.ms"), "DATA", 0, 2, 5, -0.5)
    keywords, flags = channel_arguments(IMAGING, request, Path("/s/image"), Path("/s"))
    assert keywords["weight"] == "briggs -0.5"
    assert (keywords["pol"], keywords["channel-range"], keywords["minuv-l"]) == ("iquv", "2 5", "300.0")
    assert {"-join-polarizations", "-reorder", "-no-update-model-required"} <= set(flags)
    assert flags[-2:] == ["/s/window0.ms", "/s/window1.ms"]
    assert flags[flags.index("-auto-mask") + 1 :][:3] == ["5", "-auto-threshold", "1"]
    plain = StokesImaging(512, 2.0, 1000, 0.8, (), "1e-4")
    keywords, flags = channel_arguments(plain, request, Path("/s/image"), Path("/s"))
    assert "minuv-l" not in keywords
    assert "-multiscale" not in flags
    assert flags[flags.index("-threshold") + 1] == "1e-4"


def test_noise_threshold_has_higher_mask() -> None:
    deep, shallow = (StokesImaging(512, 2.0, 1000, 0.8, (), f"{sigma} sigma") for sigma in (3, 6))
    assert deep.threshold_words() == ["-auto-mask", "5", "-auto-threshold", "3"]
    assert deep.threshold_words(with_mask=False) == ["-auto-threshold", "3"]
    assert shallow.threshold_words() == ["-auto-threshold", "6"]


def test_total_intensity_has_own_fit_and_mask() -> None:
    words = band_words(IMAGING, BAND, in_total=True)
    assert words[:4] == ["-channel-range", "0", "30", "-channels-out"]
    assert words[words.index("-channel-division-frequencies") + 1] == "950000000.0,1050000000.0"
    assert {"-join-channels", "-fit-spectral-pol", "-multiscale", "-auto-mask"} <= set(words)
    assert not {"-join-polarizations", "-squared-channel-joining"} & set(words)


def test_polarised_images_have_no_fit_or_mask() -> None:
    words = band_words(IMAGING, BAND, in_total=False)
    assert {"-join-polarizations", "-join-channels", "-squared-channel-joining", "-auto-threshold"} <= set(words)
    assert not {"-fit-spectral-pol", "-multiscale", "-auto-mask"} & set(words)


@pytest.mark.parametrize("in_total", [True, False])
def test_single_channel_is_not_joined(in_total: bool) -> None:
    words = band_words(IMAGING, BandRequest((0, 1), ()), in_total)
    assert words[words.index("-channels-out") + 1] == "1"
    assert not {"-join-channels", "-fit-spectral-pol", "-squared-channel-joining"} & set(words)


def test_band_images_are_found(tmp_path: Path) -> None:
    names = ["a-0000-image.fits", "a-MFS-image.fits", "a-MFS-psf.fits"]
    assert stokes_images("a", names) == {"I": "a-MFS-image.fits"}
    assert stokes_images("a", ["a-MFS-Q-image.fits", "a-0001-Q-image.fits"]) == {"Q": "a-MFS-Q-image.fits"}
    for name in ("c-I-image.fits", "c-V-image.fits", "c-V-dirty.fits"):
        (tmp_path / name).touch()
    assert sorted(images_by_stokes(tmp_path / "c")) == ["I", "V"]


@pytest.mark.parametrize(
    ("header", "empty"),
    [({"WSCVWSUM": 0.0, "BMAJ": 1.0}, True), ({"WSCVWSUM": 3.0}, True), ({"WSCVWSUM": 3.0, "BMAJ": 0.1}, False)],
)
def test_image_without_visibilities_is_detected(header: dict[str, float], empty: bool) -> None:
    assert is_empty(header) == empty
