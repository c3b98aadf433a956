"""Catalogues of made-up images, by PyBDSF and by islands."""

import csv
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.ata.catalogue import COLUMNS, FINDERS, find_sources, write_catalogue
from made_images import gaussian_sources, write_image

SOURCES = [(1.0, 0, 0), (0.5, 40, -30)]


@pytest.mark.parametrize("finder", sorted(FINDERS))
def test_catalogue_has_the_sources(tmp_path, finder):
    if finder == "pybdsf":
        pytest.importorskip("bdsf")
    noise = np.random.default_rng(3).normal(0, 1e-3, (200, 200))
    image = write_image(tmp_path / "i.fits", noise + gaussian_sources(200, SOURCES))
    sources = FINDERS[finder](str(image))
    assert [source["flux_jy"] for source in sources] == pytest.approx([1.0, 0.5], rel=0.02)
    assert all(0 < source["flux_error_jy"] < 0.02 for source in sources)
    # the dish has a beam of 23.5 deg at 144 MHz
    assert [source["beam_power"] for source in sources] == pytest.approx([1.0, 1.0], abs=1e-3)
    path = write_catalogue(str(tmp_path / "t"), sources)
    with Path(path).open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[0]["ra_deg"]) == pytest.approx(218.0, abs=1e-3)
    assert fits.getdata(tmp_path / "t_catalogue.fits")["dec_deg"][0] == pytest.approx(34.5, abs=1e-3)
    assert (tmp_path / "t_catalogue.reg").read_text().count("point(") == 2


def test_source_at_edge_is_excluded(tmp_path):
    noise = np.random.default_rng(3).normal(0, 1e-3, (200, 200))
    image = write_image(tmp_path / "i.fits", noise + gaussian_sources(200, [*SOURCES, (0.8, 97, 0)]))
    assert len(find_sources(str(image))) == 2


@pytest.mark.parametrize("finder", sorted(FINDERS))
def test_catalogue_of_noise_is_empty(tmp_path, finder):
    if finder == "pybdsf":
        pytest.importorskip("bdsf")
    image = write_image(tmp_path / "i.fits", np.random.default_rng(3).normal(0, 1e-3, (100, 100)))
    path = write_catalogue(str(tmp_path / "t"), FINDERS[finder](str(image)))
    assert Path(path).read_text().splitlines() == [",".join(COLUMNS)]
