"""Source lists by the real PyBDSF, read again by DP3's rules."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.quality import catalogue
from lofarpipe.imaging.quality.catalogue import CatalogueError, FindingOptions, pybdsf, write_source_list
from made_images import CELL_DEG, write_image

SOURCES = ((60, 80, 0.5), (150, 140, 0.2))  # y, x, Jy/beam


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    """Two point sources in noise of 1 mJy; corrected for a beam of 0.5 everywhere."""
    pytest.importorskip("bdsf")
    folder = tmp_path_factory.mktemp("field")
    plane = np.random.default_rng(5).normal(0, 1e-3, (200, 200))
    rows, columns = np.indices(plane.shape)
    sigma = 4 / 2.3548
    for y, x, flux in SOURCES:
        plane += flux * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2))
    round_beam = {"BMAJ": 4 * CELL_DEG, "BMIN": 4 * CELL_DEG, "BPA": 0.0}
    flat = write_image(folder / "flat.fits", plane, **round_beam)
    return flat, write_image(folder / "pb.fits", 2 * plane, **round_beam)


def components(path):
    lines = [line.split(", ") for line in path.read_text().splitlines() if ", POINT," in line or ", GAUSSIAN," in line]
    return {fields[2]: float(fields[5]) for fields in lines}


def test_flat_image_finds_corrected_fluxes(field, tmp_path):
    flat, corrected = field
    number = write_source_list(corrected, flat, tmp_path / "sky.txt")
    assert number == 2
    fluxes = components(tmp_path / "sky.txt")
    assert sorted(fluxes.values()) == pytest.approx([0.4, 1.0], rel=0.03)
    assert all(patch.startswith("source_patch_") for patch in fluxes)
    assert [path.name for path in tmp_path.iterdir()] == ["sky.txt"]
    assert sorted(path.name for path in flat.parent.iterdir()) == ["flat.fits", "pb.fits"]


@pytest.mark.parametrize(("value", "said"), [(-0.7, "[-0.7]"), (0.0, "[0]"), ("map.fits", "[]")])
def test_source_list_names_spectral_index(value, said, field, tmp_path):
    flat, corrected = field
    named = tmp_path / "pb.fits"
    named.write_bytes(corrected.read_bytes())
    fits.setval(named, "PBINDEX", value=value)
    write_source_list(named, flat, tmp_path / "sky.txt")
    assert f"SpectralIndex='{said}'" in (tmp_path / "sky.txt").read_text().splitlines()[0]


def test_field_without_sources_gives_an_empty_list(field, tmp_path):
    empty = write_image(tmp_path / "noise.fits", np.random.default_rng(5).normal(0, 1e-3, (128, 128)))
    assert write_source_list(empty, empty, tmp_path / "sky.txt") == 0
    (line,) = (tmp_path / "sky.txt").read_text().splitlines()
    assert line.startswith("FORMAT = Name, Type, Patch, Ra, Dec, I")
    assert "ReferenceFrequency='1.44e+08'" in line


def test_finding_options_have_documented_defaults():
    keywords = FindingOptions().keywords()
    assert (keywords["thresh_isl"], keywords["thresh_pix"], keywords["thresh"]) == (4.0, 5.0, "hard")
    assert (keywords["rms_box"], keywords["rms_box_bright"], keywords["adaptive_thresh"]) == ((60, 20), (35, 7), 150.0)
    assert keywords["mean_map"] == "zero"


def test_missing_pybdsf_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "bdsf", None)
    with pytest.raises(
        CatalogueError, match=r"PyBDSF.* cannot be imported .*; pip install 'genericpipeline\[catalogue\]'"
    ):
        pybdsf()


def test_failed_pybdsf_names_the_image(field, tmp_path):
    with pytest.raises(CatalogueError, match=r"nowhere\.fits: PyBDSF failed: "):
        write_source_list(tmp_path / "nowhere.fits", field[0], tmp_path / "sky.txt")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_source_list_is_an_error(monkeypatch, tmp_path, field):
    class Found:
        ngaus = 1

        def write_catalog(self, **keywords):
            return False

    monkeypatch.setattr(catalogue, "_find_sources", lambda *arguments: Found())
    with pytest.raises(CatalogueError, match=r"sky\.txt: PyBDSF could not write the source list"):
        write_source_list(*field, tmp_path / "sky.txt")
