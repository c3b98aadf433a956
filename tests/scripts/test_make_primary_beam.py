"""The primary beam as a step and as a command."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from loading import load_script
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.names import named_sets
from lofarpipe.support.data_map import DataMap


@pytest.fixture(scope="module")
def script():
    return load_script("make_primary_beam")


@pytest.fixture
def root(tmp_path):
    header = fits.Header()
    for axis, (kind, value, step) in enumerate((("RA---SIN", 52.0, -0.02), ("DEC--SIN", -27.6, 0.02)), 1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CDELT{axis}"] = kind, value, step
        header[f"CRPIX{axis}"] = 33
    header["CTYPE3"], header["CRVAL3"], header["CDELT3"], header["CRPIX3"] = "FREQ", 9e8, 2e6, 1
    fits.writeto(tmp_path / "field-image.fits", np.ones((1, 1, 64, 64), np.float32), header)
    return str(tmp_path / "field")


def test_result_names_the_products(script, root, dish_set, capsys):
    result = script.main(f"[{dish_set}]", root, robust="0", minuv_lambda="80", maxuv_lambda="7000", padding="1.4")
    assert tuple(result) == script.OUTPUTS
    assert result["image"] == f"{root}-MFS-image.fits"
    assert result["beam_source"] == "formula"
    assert all(Path(result[key]).is_file() for key in ("image", "image_pb", "beam"))
    assert capsys.readouterr().out.startswith("WARNING: ")


def test_sets_come_as_list_text_or_mapfile(script, tmp_path):
    mapfile = tmp_path / "sets.mapfile"
    entries = [
        {"host": "localhost", "file": "[/a.MS,/b.MS]", "skip": False},
        {"host": "localhost", "file": "/c.MS", "skip": True},
    ]
    mapfile.write_text(str(entries))
    assert len(DataMap.load(str(mapfile))) == 2
    assert named_sets(str(mapfile)) == ["/a.MS", "/b.MS"]
    assert named_sets("[/a.MS,/b.MS]") == named_sets(["/a.MS", "/b.MS"]) == ["/a.MS", "/b.MS"]
    assert named_sets("/a.MS") == ["/a.MS"]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("robust", "much", "robust is 'much'; a number is needed"),
        ("padding", "0.5", "padding is 0.5; it must be between 1 and inf"),
        ("maxuv_lambda", "inf", "maxuv_lambda is inf; it must be between 0 and 1e"),
        ("minuv_lambda", "nan", "minuv_lambda is nan"),
        ("station_diameter_m", "-1", "station_diameter_m is -1; it must be between 0"),
    ],
)
def test_bad_options_are_refused(script, root, dish_set, name, text, expected):
    with pytest.raises(ValueError, match=expected):
        script.main(str(dish_set), root, **{name: text})


def test_no_sets_are_refused(script, root):
    with pytest.raises(PipelineError, match="names no measurement set"):
        script.main("[]", root)


def test_sets_without_diameter_are_refused_with_advice(script, root, dish_set, monkeypatch):
    def refuse(*_):
        raise ValueError("station diameter is 0.0 m, so the beam width is undefined")

    monkeypatch.setattr("lofarpipe.programs.wsclean.beam_images.write_beam_images", refuse)
    with pytest.raises(PipelineError, match=r"diameter is 0\.0 m.*set station_diameter_m"):
        script.main(str(dish_set), root)


def test_command_line_writes_the_beam(script, root, dish_set, capsys):
    assert script._command_line([root, str(dish_set), "--robust=-0.5", "--station-diameter-m", "13.5"]) == 0
    assert "primary-beam.fits" in capsys.readouterr().out
    assert script._command_line([root, "/no/such.MS"]) == 1
    assert "/no/such.MS: no such measurement set" in capsys.readouterr().err
