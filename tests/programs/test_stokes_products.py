"""Products of a full-Stokes run: images of the band, smoothed images, cubes, statistics, and missing ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.beams import Beam
from lofarpipe.imaging.cubes.stokes_images import StokesFacts, channel_image, write_stokes_image
from lofarpipe.programs.stokes_products import (
    image_numbers,
    missing_bands,
    missing_cubes,
    read_plan,
    remove_channel_images,
    smooth_band,
    smooth_channels,
    stokes_quality,
    target_of,
    write_band_image,
    write_cube_product,
)

ROUND = Beam(8, 8)
OPTIONS = {
    "cube_format": "plain",
    "imsize": 32,
    "cell_arcsec": 2.0,
    "niter": 10,
    "mgain": 0.8,
    "scales": [],
    "threshold_mfs_jy": "auto",
    "threshold_channel_jy": "auto",
    "mfs_minuv_lambda": 0.0,
    "channel_minuv_lambda": 0.0,
    "overwrite": False,
    "common_beam_arcsec": "18",
    "mfs_robust": [0.0],
    "channel_robust": [0.0],
}


def plan_of(here: Path, **options: Any) -> dict[str, Any]:
    """Return a plan of three channels, the last without data."""
    channels = [
        {
            "index": n,
            "label": f"00{n}",
            "low_hz": 9e8,
            "high_hz": 9.2e8,
            "frequency_hz": 9.1e8 + (n - 1) * 2e7,
            "members": [[0, n]] if n < 3 else [],
            "reason": "" if n < 3 else "no data",
        }
        for n in (1, 2, 3)
    ]
    return {
        "options": OPTIONS | options,
        "set": {"path": "/a.ms", "base": "a", "stamp": "1", "data_column": "DATA", "field_id": 0, "field": "F"},
        "products": str(here / "out"),
        "channels": channels,
        "batches": [[1, 2]],
        "channel_width_hz": 2e7,
        "mfs": {"channel_range": [0, 4], "edges_hz": [9.1e8]},
    }


def write_plane(path: Path, beam: Beam, seed: int) -> Path:
    """Write one image as the imager does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "CTYPE3": "FREQ", "CTYPE4": "STOKES"})
    header.update({"CDELT1": -2 / 3600, "CDELT2": 2 / 3600, "CRVAL3": 9.1e8, "CDELT3": 2e7, **beam.cards})
    pixels = np.random.default_rng(seed).normal(size=(1, 1, 32, 32)).astype(np.float32)
    fits.PrimaryHDU(pixels, header).writeto(path, overwrite=True)
    return path


def band_files(root: Path, beam: Beam = ROUND, polarised: Beam = ROUND) -> tuple[list[str], list[str]]:
    """Write the files of both runs of the band; return their names."""
    total = [f"{root}_I-MFS-{kind}.fits" for kind in ("image", "psf", "residual", "model", "dirty")]
    others = [
        f"{root}_QUV-MFS-{name}-{kind}.fits" for name in "QUV" for kind in ("image", "residual", "model", "dirty")
    ]
    for number, name in enumerate(total):
        write_plane(Path(name), beam, number)
    for number, name in enumerate(others):
        write_plane(Path(name), polarised, 100 + number)
    return total, others


def write_channel(plan: dict[str, Any], here: Path, label: str, width_arcsec: float) -> Path:
    """Write the image of a channel."""
    path = channel_image(Path(plan["products"]), "a", label, 0.0, 32)
    planes = {name: write_plane(here / name, Beam(width_arcsec, width_arcsec), n) for n, name in enumerate("IQUV")}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_stokes_image(path, planes, StokesFacts(9.1e8, 2e7, label, 0.0, "F", 9.1e8, 0.0))
    return path


def test_unreadable_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="the plan cannot be read"):
        read_plan(tmp_path / "plan.json")


def test_band_image_has_all_planes(tmp_path: Path) -> None:
    plan, root = plan_of(tmp_path), tmp_path / "mfs_0p0"
    total, polarised = band_files(root)
    path = write_band_image(plan, 0.0, str(root), total, polarised, keep_all=True)
    assert fits.getdata(path).shape == (1, 4, 32, 32)
    assert fits.getheader(path)["CRVAL4"] == 9.1e8
    kept = sorted(one.name for one in path.parent.iterdir() if one != path)
    assert len(kept) == 4 * 3 + 1
    assert {"a_mfs_I_0.0_32-psf.fits", "a_mfs_V_0.0_32-model.fits"} <= set(kept)
    before = path.stat().st_mtime_ns
    write_band_image(plan, 0.0, str(root), total, polarised, keep_all=False)
    assert path.stat().st_mtime_ns == before
    with pytest.raises(PipelineError, match="set overwrite = True"):
        write_band_image(plan_of(tmp_path, niter=11), 0.0, str(root), total, polarised, keep_all=False)
    write_band_image(plan_of(tmp_path, niter=11, overwrite=True), 0.0, str(root), total, polarised, keep_all=False)
    assert path.stat().st_mtime_ns != before


def test_band_image_needs_every_stokes_parameter(tmp_path: Path) -> None:
    total, polarised = band_files(tmp_path / "m")
    with pytest.raises(PipelineError, match="the images of Stokes Q, U, V were not written"):
        write_band_image(plan_of(tmp_path), 0.0, str(tmp_path / "m"), total, [], keep_all=False)
    assert polarised


def test_differing_beams_are_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = band_files(tmp_path / "m", Beam(8, 8), Beam(9, 9))
    write_band_image(plan_of(tmp_path), 0.0, str(tmp_path / "m"), *names, keep_all=False)
    assert "the beam of I is" in capsys.readouterr().out


def test_band_without_beam_is_refused(tmp_path: Path) -> None:
    names = band_files(tmp_path / "m", Beam(8, 8), Beam(0, 0))
    with pytest.raises(PipelineError, match="an image of the band has no beam"):
        write_band_image(plan_of(tmp_path), 0.0, str(tmp_path / "m"), *names, keep_all=False)


def test_band_is_smoothed_or_gives_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_band_image(plan_of(tmp_path), 0.0, str(tmp_path / "m"), *band_files(tmp_path / "m"), keep_all=False)
    smooth_band(plan_of(tmp_path, common_beam_arcsec="7"), 0.0)
    assert "is not smoothed: beam 8.0 x 8.0 arcsec is larger" in capsys.readouterr().out
    smooth_band(plan_of(tmp_path), 0.0)
    assert fits.getheader(path.with_suffix("").with_suffix(".0_32.smoothed.fits"))["BMAJ"] == 18 / 3600
    plan = plan_of(tmp_path, common_beam_arcsec="auto", channel_robust=[])
    assert target_of(plan) == Beam(8, 8)  # without channels that of the band itself
    smooth_band(plan_of(tmp_path, common_beam_arcsec="none"), 0.0)


def test_unsmoothable_channel_is_blank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan, work = plan_of(tmp_path), tmp_path / "work"
    for label, width in (("001", 8), ("002", 20)):
        write_channel(plan, tmp_path, label, width)
    smooth_channels(plan, 0)
    assert "channel 002 at robust 0.0 is blank in the smoothed cube" in capsys.readouterr().out
    native = write_cube_product(plan, work, 0.0, "native")
    smoothed = write_cube_product(plan, work, 0.0, "smoothed")
    assert [bool(np.isnan(fits.getdata(path)[1]).all()) for path in (native, smoothed)] == [False, True]
    channels = json.loads(native.with_suffix(".json").read_text())["channels"]
    assert [channel["smoothed_status"] for channel in channels] == ["ok", "blank", "blank"]
    write_channel(plan, tmp_path, "001", 9)
    smooth_channels(plan, 0)
    write_cube_product(plan, work, 0.0, "native")
    options_of_another_run = plan["options"] | {"mfs_robust": [], "channel_robust": []}
    numbers = stokes_quality(plan | {"options": options_of_another_run})["cubes"]["0.0"]
    assert (numbers["channels"], numbers["blank"], list(numbers["blank_smoothed"])) == (3, {"3": "no data"}, ["2", "3"])
    assert missing_cubes(plan) == []
    (line,) = missing_bands(plan)
    assert "mfs_0.0/" in line
    assert "does not exist: the image of the band at robust 0.0 failed" in line
    assert remove_channel_images(plan) == 3
    assert not list((tmp_path / "out" / "chan_imgs").iterdir())


def test_unexplained_missing_channel_is_error(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    write_channel(plan, tmp_path, "001", 8)
    with pytest.raises(PipelineError, match=r"channel 002 at robust 0\.0 has neither an image nor a reason"):
        write_cube_product(plan, tmp_path / "work", 0.0, "native")


def test_unsmoothed_channel_is_error(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    for label in ("001", "002"):
        write_channel(plan, tmp_path, label, 8)
    with pytest.raises(PipelineError, match="run the step that smooths again"):
        write_cube_product(plan, tmp_path / "work", 0.0, "native")


def test_image_statistics_are_measured(tmp_path: Path) -> None:
    path = write_channel(plan_of(tmp_path), tmp_path, "001", 8)
    numbers = image_numbers(path)
    assert numbers["beam"]["bmaj_arcsec"] == pytest.approx(8)
    assert numbers["dynamic_range"] == pytest.approx(numbers["peak_jy"] / numbers["rms_jy"]["I"], abs=0.1)
