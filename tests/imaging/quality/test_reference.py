"""References of images: truths of simulations, and sky models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.quality.reference import AUTO, NONE, find_reference, fluxes_jy, read_reference
from lofarpipe.imaging.simulation.sky import Source, Truth, write_truth
from lofarpipe.imaging.simulation.stations import ObservationSettings

MODEL = """\
FORMAT = Name, Type, Patch, Ra, Dec, I, MajorAxis, MinorAxis, Orientation, ReferenceFrequency='150e6', SpectralIndex='[]', LogarithmicSI
, , p0, 00:00:00, +00.00.00
a, POINT, p0, 14:31:54.4, +47.30.00.0, 2.0, , , , 150e6, [-0.5], true
b, GAUSSIAN, p0, 00:00:01.0, -10.00.00.0, 4.0, 60, 30, 20, 100e6, [0.5, 1.0], false
"""  # noqa: E501 - one line of the format


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """A truth of two sources, beside sets."""
    sources = (Source("s0", 218.0, 48.0, 2.0, -1.0), Source("s1", 219.0, 47.0, 1.0, 0.0))
    write_truth(tmp_path / "truth.json", Truth(ObservationSettings(), sources, ("a.MS",), True, {}))
    return tmp_path / "truth.json"


def test_truth_is_found_beside_the_sets(truth: Path) -> None:
    beside = [str(truth.parent / "a.MS")]
    assert find_reference(AUTO, beside) == truth
    assert find_reference(AUTO, [str(truth.parent / "elsewhere" / "a.MS")]) is None
    assert find_reference(AUTO, []) is None
    assert find_reference(NONE, beside) is None
    assert find_reference("/d/sky.model", beside) == Path("/d/sky.model")


def test_foreign_truth_file_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "truth.json").write_text('{"what": "somebody else\'s"}')
    assert find_reference(AUTO, [str(tmp_path / "a.MS")]) is None


def test_truth_is_scaled_to_image_frequency(truth: Path) -> None:
    reference = read_reference(truth, 300e6)
    assert reference.flux_jy.tolist() == [1.0, 1.0]  # 2 Jy at 150 MHz with index -1
    assert reference.names == ["s0", "s1"]
    assert reference.right_ascension_deg.tolist() == [218.0, 219.0]
    assert reference.is_point.all()
    assert reference.kind == "the simulation's truth"


def test_sky_model_is_read(tmp_path: Path) -> None:
    pytest.importorskip("lsmtool", reason="LSMTool is not installed: pip install 'genericpipeline[lsmtool]'")
    (tmp_path / "sky.model").write_text(MODEL)
    reference = read_reference(tmp_path / "sky.model", 600e6)
    assert reference.names == ["a", "b"]
    # 14 h 31 min 54.4 s x 15; 1 s x 15 / 3600.
    assert reference.right_ascension_deg == pytest.approx([217.976667, 0.00416667], abs=1e-6)
    assert reference.declination_deg == pytest.approx([47.5, -10.0])
    # 2 x 4^-0.5; 4 + 0.5 x 5 + 1 x 25.
    assert reference.flux_jy == pytest.approx([1.0, 31.5])
    assert reference.is_point.tolist() == [True, False]


def columns(**more: Any) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in {"I": [1.0, 2.0], **more}.items()}


def test_fluxes_without_spectra_are_unchanged() -> None:
    assert fluxes_jy(columns(), 1e9).tolist() == [1.0, 2.0]
    assert fluxes_jy(columns(SpectralIndex=[[1.0], [1.0]]), 1e9).tolist() == [1.0, 2.0]
    no_frequency = columns(SpectralIndex=[[1.0], [1.0]], ReferenceFrequency=[0.0, 5e8])
    assert fluxes_jy(no_frequency, 1e9).tolist() == [1.0, 4.0]


def test_curved_spectra_are_logarithmic_by_default() -> None:
    given = columns(SpectralIndex=[[-1.0, 0.5], [np.nan, 0.0]], ReferenceFrequency=[1e8, 1e8])
    # log10 x = 1: 10^(-1 + 0.5 x 1); no index, no change.
    assert fluxes_jy(given, 1e9) == pytest.approx([10**-0.5, 2.0])


@pytest.fixture
def fake_lsmtool(monkeypatch: pytest.MonkeyPatch):
    """Put a module in the place of LSMTool."""

    def put(module: object) -> None:
        monkeypatch.setitem(sys.modules, "lsmtool", module)

    return put


def test_missing_lsmtool_names_the_package(tmp_path: Path, fake_lsmtool: Any) -> None:
    fake_lsmtool(None)
    (tmp_path / "sky.model").write_text(MODEL)
    with pytest.raises(PipelineError, match=r"LSMTool, which reads sky models, cannot be imported .*\[lsmtool\]"):
        read_reference(tmp_path / "sky.model", 1e8)


def test_unreadable_sky_model_is_refused(tmp_path: Path, fake_lsmtool: Any) -> None:
    class Tool:
        @staticmethod
        def load(path: str) -> None:
            raise KeyError("no\nformat line")

    fake_lsmtool(Tool)
    (tmp_path / "sky.model").write_text("nothing")
    with pytest.raises(PipelineError, match=r"sky\.model: LSMTool cannot read it as a sky model: .*format line"):
        read_reference(tmp_path / "sky.model", 1e8)


def test_missing_references_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"none\.model: no such sky model; correct reference_skymodel"):
        read_reference(tmp_path / "none.model", 1e8)
    with pytest.raises(PipelineError, match=r"none\.json"):
        read_reference(tmp_path / "none.json", 1e8)


def test_reference_without_sources_is_refused(truth: Path) -> None:
    content = json.loads(truth.read_text())
    truth.write_text(json.dumps(content | {"sources": []}))
    with pytest.raises(PipelineError, match=r"truth\.json: has no sources to compare with"):
        read_reference(truth, 1e8)
