"""The metadata file for the archive: its text, key by key, and products without a description."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.archive.feedback import (
    FeedbackError,
    common_keys,
    correlated_keys,
    feedback_parset,
    instrument_model_keys,
    product_keys,
    read_back,
    serialise,
    sky_image_keys,
)
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.tables import MeasurementSetError
from lofarpipe.support.parset import Parset
from made_images import measured

# Every key of doc/spec/lofarpipe.md, section 9.3.
REQUIRED = """
    size fileFormat filename location percentageWritten storageWriter storageWriterVersion numberOfAxes
    nrOfDirectionCoordinates nrOfSpectralCoordinates nrOfPolarizationCoordinates coordinateTypes locationFrame timeFrame
    restoringBeamMajorValue restoringBeamMajorUnit restoringBeamMinorValue restoringBeamMinorUnit rmsNoiseValue
    rmsNoiseUnit npix cellsize imagerIntegrationTime Pointing DirectionCoordinate.nrOfDirectionLinearAxes
    DirectionCoordinate.PC0_0 DirectionCoordinate.PC0_1 DirectionCoordinate.PC1_0 DirectionCoordinate.PC1_1
    DirectionCoordinate.equinox DirectionCoordinate.projection DirectionCoordinate.raDecSystem
    DirectionCoordinate.projectionParameters DirectionCoordinate.longitudePole DirectionCoordinate.latitudePole
    DirectionCoordinate.DirectionLinearAxis[0] DirectionCoordinate.DirectionLinearAxis[1]
    SpectralCoordinate.spectralAxisType SpectralCoordinate.spectralQuantityType
    SpectralCoordinate.spectralQuantityValue SpectralCoordinate.SpectralLinearAxis
    PolarizationCoordinate.polarizationType PolarizationCoordinate.PolarizationTabularAxis
"""
P = "LOFAR.ObsSW.Observation.DataProducts"


def test_feedback_equals_archive_sample():
    """The lines of doc/spec/lofarpipe.md, section 9.3, to the letter."""
    axis = {
        "name": "Right Ascension", "units": "rad", "length": 512, "increment": -1e-05, "referencePixel": 256.0,
        "referenceValue": 1.2,
    }  # fmt: skip
    keys = {
        "Pointing": {"equinox": "J2000", "coordType": "RA-DEC", "angle1": 1.2, "angle2": 0.5},
        "DirectionCoordinate": {"DirectionLinearAxis": [axis], "projectionParameters": [0.0, 0.0]},
        "PolarizationCoordinate": {"polarizationType": ["I"]},
    }
    start = f"{P}.Output_SkyImage_[0]."
    assert feedback_parset("SkyImage", P, [keys]).splitlines() == [
        f"{P}.nrOfOutput_SkyImage_=1",
        f"{start}Pointing={{'equinox': 'J2000', 'coordType': 'RA-DEC', 'angle1': 1.2, 'angle2': 0.5}}",
        f"{start}DirectionCoordinate.DirectionLinearAxis[0]={{'name': 'Right Ascension', 'units': 'rad', "
        "'length': 512, 'increment': -1e-05, 'referencePixel': 256.0, 'referenceValue': 1.2}",
        f"{start}DirectionCoordinate.projectionParameters=[0.0, 0.0]",
        f"{start}PolarizationCoordinate.polarizationType=['I']",
    ]


@pytest.mark.parametrize(
    ("prefix", "start"), [("", "nrOf"), ("none", "nrOf"), ("A.B", "A.B.nrOf"), ("A.B.", "A.B.nrOf")]
)
def test_prefix_gets_a_final_dot(prefix, start):
    assert feedback_parset("SkyImage", prefix, []) == f"{start}Output_SkyImage_=0\n"


scalars = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text("abc /", min_size=1, max_size=5)
)
nested = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3) | st.dictionaries(st.text("xyz", min_size=1), inner, min_size=1)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text("kqr", min_size=1), nested))
def test_nested_keys_are_flattened_without_loss(keys):
    def leaves(value):
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 1 if children is None else sum(map(leaves, children))

    found = 0
    for _, text in serialise(keys):
        value = ast.literal_eval(text) if text[0] in "[{" else text
        children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
        assert not any(isinstance(child, dict | list) for child in children)
        found += len(children)
    assert found == leaves(keys)


def test_line_break_in_value_is_refused():
    with pytest.raises(FeedbackError, match="may not hold a line break"):
        feedback_parset("SkyImage", "", [{"filename": "a\nb"}])


def test_sky_image_has_all_keys(tmp_path):
    path = measured(tmp_path / "field.fits")
    keys = sky_image_keys(path, "node042")
    assert keys["size"] == path.stat().st_size
    assert (keys["fileFormat"], keys["filename"], keys["location"]) == ("FITS", "field.fits", f"node042:{tmp_path}")
    assert keys["percentageWritten"] == 100
    (tmp_path / "images.metadata").write_text(feedback_parset("SkyImage", "none", [keys]))
    parset = Parset(str(tmp_path / "images.metadata"))
    assert parset["nrOfOutput_SkyImage_"] == "1"
    assert parset["Output_SkyImage_[0].restoringBeamMajorUnit"] == "arcsec"
    names = {key.removeprefix("Output_SkyImage_[0].") for key in parset}
    assert names >= set(REQUIRED.split())
    assert not [key for key in parset if parset[key] == ""]


def test_link_has_own_name_and_target_size(tmp_path):
    path = measured(tmp_path / "field.fits")
    (tmp_path / "delivered").mkdir()
    link = tmp_path / "delivered" / "L628614.fits"
    link.symlink_to(path)
    keys = sky_image_keys(link, "here")
    assert (keys["filename"], keys["location"]) == ("L628614.fits", f"here:{tmp_path}/delivered")
    assert keys["size"] == path.stat().st_size


@pytest.mark.filterwarnings("ignore:File may have been truncated")
def test_truncated_image_is_refused(tmp_path):
    path = measured(tmp_path / "field.fits")
    os.truncate(path, 30_000)
    with pytest.raises(PipelineError, match="is cut off"):
        sky_image_keys(path, "here")


def test_directory_is_read_entirely(tmp_path):
    (tmp_path / "a.MS" / "SUB").mkdir(parents=True)
    (tmp_path / "a.MS" / "table.f0").write_bytes(b"x" * 3_000_000)
    (tmp_path / "a.MS" / "SUB" / "table.dat").write_bytes(b"y" * 10)
    assert read_back(tmp_path / "a.MS") == 3_000_010


def test_missing_product_is_refused(tmp_path):
    with pytest.raises(FeedbackError, match=r"nowhere: no such product"):
        common_keys(tmp_path / "nowhere", "here", "FITS")


def test_empty_product_is_refused(tmp_path):
    (tmp_path / "a.fits").touch()
    with pytest.raises(FeedbackError, match=r"a\.fits: is empty"):
        read_back(tmp_path / "a.fits")


def test_unreadable_product_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FeedbackError, match=r"cannot be read back: .*; the archive must not get it"):
        read_back(tmp_path / "a")


def test_measurement_set_has_correlated_keys(hba_set, tmp_path):
    named = tmp_path / "L628614_SB012.MS"
    named.symlink_to(hba_set)
    keys = correlated_keys(named, "here")
    assert keys["startTime"].startswith("2013-03-29T13:59:")
    assert keys["duration"] == pytest.approx(6 * 10.0139, rel=1e-3)
    assert keys["integrationInterval"] == pytest.approx(10.0139, rel=1e-4)
    assert keys["centralFrequency"] == pytest.approx(134.3735e6, rel=1e-5)
    assert (keys["channelWidth"], keys["channelsPerSubband"]) == (24414.0625, 8)
    assert keys["subband"] == 12
    assert keys["fileFormat"] == "AIPS++/CASA"


def test_name_without_subband_is_refused(hba_set):
    with pytest.raises(FeedbackError, match="does not say its subband"):
        correlated_keys(hba_set, "here")


def test_invalid_measurement_set_is_refused(tmp_path):
    (tmp_path / "SB001.MS").mkdir()
    with pytest.raises(MeasurementSetError, match="not a measurement set"):
        correlated_keys(tmp_path / "SB001.MS", "here")


@pytest.mark.parametrize(("name", "kind"), [("cal.h5", "HDF5"), ("instrument", "AIPS++/CASA")])
def test_solutions_have_instrument_model_keys(tmp_path, name, kind):
    (tmp_path / name).write_bytes(np.zeros(9).tobytes())
    keys = instrument_model_keys(tmp_path / name, "here")
    assert (keys["fileFormat"], keys["size"]) == (kind, 72)


def test_misspelt_product_type_names_nearest(tmp_path):
    assert product_keys("SkyImage", measured(tmp_path / "a.fits"), "here")["npix"] == 128
    with pytest.raises(FeedbackError, match=r"'SkyImages' is none of .*; did you mean 'SkyImage'"):
        product_keys("SkyImages", tmp_path / "a.fits", "here")


def test_importing_the_text_form_is_cheap():
    """The engine imports this module for every run, --help included."""
    heavy = "[m for m in ('numpy', 'astropy', 'casacore') if m in sys.modules]"
    code = f"import lofarpipe.archive.feedback, sys; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
