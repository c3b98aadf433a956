"""The archive's description of a sky image, held by the tables of its schema."""

from __future__ import annotations

import copy
from dataclasses import replace
from xml.etree.ElementTree import Element, fromstring

import pytest

from lofarpipe import __version__
from lofarpipe.archive.feedback import sky_image_keys
from lofarpipe.archive.sip import SipProject, SipRun, duration_iso, sip_text, time_iso
from made_images import measured
from sip_schema import XSI, problems

PROJECT = SipProject(
    code="LC0_001",
    primary_investigator="A. Astronomer",
    co_investigators=("B. One", "C. Two"),
    contact_author="A. Astronomer",
    description="Fields & sources < 1 Jy",
    identifier_source="MoM",
    process_identifier="3",
    observation_id="4",
    source_identifiers=("5", "6"),
    strategy_name="imaging",
    strategy_description="full field",
)
RUN = SipRun("image", 1_500_000_000.0, 4980.25, major_cycles=7, images=1, frequency_step=4, time_step=3)
CHECKSUMS = {"MD5": "900150983cd24fb0d6963f7d28e17f72", "Adler32": "024d0127"}


@pytest.fixture
def keys(tmp_path):
    """Archive keys of a synthetic image."""
    return sky_image_keys(measured(tmp_path / "field.fits"), "node042")


def sip(keys, version="2.7.2", project=PROJECT, run=RUN) -> Element:
    return fromstring(sip_text(version, keys, CHECKSUMS, "1", project, run).encode())


@pytest.mark.parametrize("version", ["2.7.2", "2.6.1"])
def test_sip_follows_the_schema(keys, version):
    assert problems(sip(keys, version), version) == []
    bare = replace(PROJECT, co_investigators=())
    assert problems(sip(keys, version, bare, replace(RUN, frequency_step=None, time_step=None)), version) == []
    assert problems(sip(keys, version, replace(PROJECT, storage_ticket="T1")), version) == []


def test_elements_below_the_root_have_no_namespace(keys):
    root = sip(keys)
    assert root.tag == "{http://www.astron.nl/SIP-Lofar}ltaSip"
    assert not any(element.tag.startswith("{") for element in root.iter() if element is not root)
    assert root.find("dataProduct").get(f"{XSI}type") == "sip:SkyImageDataProduct"
    assert root.find("pipelineRun").get(f"{XSI}type") == "sip:ImagingPipeline"


def test_values_come_from_image_run_and_user(keys):
    root = sip(keys)
    text = {element.tag: element.text for element in root.iter()}
    assert root.findtext("sipGeneratorVersion") == f"genericpipeline {__version__}"
    assert [one.text for one in root.findall("project/coInvestigator")] == ["B. One", "C. Two"]
    assert text["projectDescription"] == "Fields & sources < 1 Jy"
    assert (text["fileName"], text["size"]) == ("field.fits", str(keys["size"]))
    assert root.findtext("dataProduct/dataProductIdentifier/identifier") == "1"
    assert root.findtext("dataProduct/processIdentifier/identifier") == "3"
    assert root.findtext("pipelineRun/processIdentifier/identifier") == "3"
    assert [one.text for one in root.findall("pipelineRun/sourceData/*/identifier")] == ["5", "6"]
    assert (text["startTime"], text["duration"]) == ("2017-07-14T02:40:00Z", "PT4980.250S")
    assert (text["numberOfMajorCycles"], text["numberOfSkyImages"]) == ("7", "1")
    assert (text["frequencyIntegrationStep"], text["timeIntegrationStep"]) == ("4", "3")
    assert float(root.findtext("dataProduct/restoringBeamMajor")) == pytest.approx(80.0)  # arcsec
    assert float(root.findtext("dataProduct/rmsNoise")) == 1e-3
    assert float(text["imagerIntegrationTime"]) == 3600.0
    checksums = root.findall("dataProduct/checksum")
    assert {one.findtext("algorithm"): one.findtext("value") for one in checksums} == CHECKSUMS


def test_axes_are_numbered_as_in_the_file(keys):
    axes = [(one.findtext("number"), one.findtext("name")) for one in sip(keys).findall(".//coordinate/*[number]")]
    assert axes == [("1", "Right Ascension"), ("2", "Declination"), ("3", "Frequency"), ("4", "Stokes")]
    keys["coordinateTypes"] = ["direction", "stokes", "spectral"]
    axes = [(one.findtext("number"), one.findtext("name")) for one in sip(keys).findall(".//coordinate/*[number]")]
    assert axes[2:] == [("3", "Stokes"), ("4", "Frequency")]


def test_times_have_iso_format():
    assert time_iso(0) == "1970-01-01T00:00:00Z"
    assert duration_iso(0.0004) == "PT0.000S"
    assert duration_iso(-1) == "PT0.000S"  # a clock that was set back
    assert duration_iso(36000.5) == "PT36000.500S"


# ---- the tables themselves


def test_tables_reject_schema_violations(keys):
    good = sip(keys)

    def wrong(change) -> list[str]:
        root = copy.deepcopy(good)
        change(root.find("dataProduct"))
        return problems(root)

    assert wrong(lambda product: product.remove(product.find("size")))
    assert wrong(lambda product: product.append(product.find("size")))
    assert wrong(lambda product: product.find("rmsNoise").set("units", "Jy"))
    assert wrong(lambda product: setattr(product.find("size"), "text", "-1"))
    assert wrong(lambda product: setattr(product.find("dataProductIdentifier/identifier"), "text", "x1"))
    assert wrong(lambda product: product.set(f"{XSI}type", "sip:NoSuchProduct"))
    assert problems(good, "2.6.1")
    assert problems(good.find("dataProduct"))


def test_older_schema_accepts_any_identifier(keys):
    root = sip(keys, "2.6.1", replace(PROJECT, process_identifier="L628614-a"))
    assert problems(root, "2.6.1") == []
