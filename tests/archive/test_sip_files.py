"""sip.xml beside an image: its checksums, times, cycles and steps come from files, or are refused."""

from __future__ import annotations

import json
import time
from xml.etree.ElementTree import parse

import pytest

from copy_pipeline import list_step
from lofarpipe.archive.feedback import sky_image_keys
from lofarpipe.archive.sip import checksums_of, major_cycles, project_of, sip_run, write_sips
from lofarpipe.cli import main
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.options import SIP_REQUIRED
from made_images import measured, write_image
from sip_schema import problems

STEPS = """\
pipeline.steps = [list, describe]
describe.control.kind = feedback
describe.control.mapfile_in = list.output.mapfile
describe.control.metadata_file = images.metadata
describe.control.sip_file = sip.xml
describe.control.sip_cleaned_image = residual.fits
"""
PARSET = STEPS + list_step("[one.fits, two.fits]")


@pytest.fixture
def values(tmp_path):
    """Values for one image, and the images."""
    measured(tmp_path / "one.fits")
    measured(tmp_path / "two.fits")
    write_image(tmp_path / "residual.fits", WSCMAJOR=7.0)
    given = dict.fromkeys(SIP_REQUIRED, "7")
    lists = {"sip_product_identifiers": ["1"], "sip_source_identifiers": ["5", "6"], "sip_co_investigators": []}
    files = {"sip_file": str(tmp_path / "sip.xml"), "sip_cleaned_image": str(tmp_path / "residual.fits")}
    return {**given, **lists, **files, "sip_schema_version": "2.7.2", "sip_storage_ticket": "none"}


def described(path):
    return sky_image_keys(path, "node042")


def test_checksums_agree_with_the_standards(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    # RFC 1321, appendix 5; adler32: a = 1 + 97 + 98 + 99 = 0x127, b = 98 + 196 + 295 = 0x24d
    assert checksums_of(tmp_path / "abc") == {"MD5": "900150983cd24fb0d6963f7d28e17f72", "Adler32": "024d0127"}


def test_images_have_separate_files(tmp_path, values):
    values["sip_product_identifiers"] = ["1", "2"]
    images = [described(tmp_path / "one.fits"), described(tmp_path / "two.fits")]
    assert write_sips(values, images, tmp_path, "image") == [f"{tmp_path}/sip.xml", f"{tmp_path}/sip-1.xml"]
    first, second = parse(tmp_path / "sip.xml").getroot(), parse(tmp_path / "sip-1.xml").getroot()
    assert problems(first) == problems(second) == []
    assert [root.findtext("dataProduct/fileName") for root in (first, second)] == ["one.fits", "two.fits"]
    assert second.findtext("dataProduct/dataProductIdentifier/identifier") == "2"
    assert second.findtext("pipelineRun/numberOfSkyImages") == "2"
    assert second.find("dataProduct/storageTicket") is None


def test_identifiers_must_match_images(tmp_path, values):
    values["sip_product_identifiers"] = ["1", "2"]
    with pytest.raises(PipelineError, match="sip_product_identifiers: 2 for 1 images; one for each is needed"):
        write_sips(values, [described(tmp_path / "one.fits")], tmp_path, "image")
    assert not (tmp_path / "sip.xml").exists()


def test_unknown_telescope_is_refused(tmp_path, values):
    measured(tmp_path / "one.fits", TELESCOP="VLA")
    with pytest.raises(PipelineError, match=r"one.fits is of 'VLA'; the archive takes LOFAR only"):
        write_sips(values, [described(tmp_path / "one.fits")], tmp_path, "image")


@pytest.mark.parametrize(("is_used", "start_s"), [(True, 100.0), (False, 500.0)])
def test_run_begins_with_its_first_used_step(tmp_path, values, is_used, start_s):
    """Steps of an earlier run count if they were reused, not if they ran again."""
    began = float(int(time.time() - 1000))
    events = [
        ("run_started", 0, {}),
        ("step_started", 100, {"step": "average"}),
        ("step_done", 200, {"step": "average"}),
        ("run_started", 500, {}),
        *([("step_skipped", 510, {"step": "average"})] if is_used else [("step_started", 510, {"step": "average"})]),
    ]
    lines = [json.dumps({"event": kind, "time_s": began + time_s, **facts}) for kind, time_s, facts in events]
    (tmp_path / "journal.jsonl").write_text("\n".join([*lines, ""]))
    run = sip_run(values, tmp_path, "image", 1)
    assert (run.name, run.start_s - began, run.major_cycles, run.images) == ("image", start_s, 7, 1)
    assert run.duration_s >= 500
    assert (run.frequency_step, run.time_step) == (None, None)
    assert sip_run(values, tmp_path / "none", "image", 1).duration_s == 0


def test_averaging_steps_come_from_the_plan(tmp_path, values):
    values["sip_plan_file"] = str(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text(
        json.dumps({"quantities": {"freqstep": {"value": 4}, "timestep": {"value": 3}}})
    )
    run = sip_run(values, tmp_path, "image", 1)
    assert (run.frequency_step, run.time_step) == (4, 3)
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(PipelineError, match=r"sip_plan_file: .*plan.json says no freqstep and timestep: KeyError"):
        sip_run(values, tmp_path, "image", 1)


@pytest.mark.parametrize(
    ("names", "cycles"), [(("a-MFS-image", "a-MFS-residual"), 7), (("a-dirty", "a-I-image", "a-V-image"), 0)]
)
def test_major_cycles_are_read_from_products(tmp_path, names, cycles):
    """A dirty image has no residual; the MFS image of several channels has no WSCMAJOR."""
    for name in names:
        told = {"WSCMAJOR": cycles} if name.endswith(("residual", "I-image")) else {}
        write_image(tmp_path / f"{name}.fits", **told)
    files = ",".join(f"{tmp_path}/{name}.fits" for name in names)
    mapfile = tmp_path / "products.mapfile"
    mapfile.write_text(repr([{"host": "localhost", "file": f"[{files}]", "skip": False}]))
    assert major_cycles(mapfile) == cycles


def test_missing_major_cycles_are_an_error(tmp_path, values):
    with pytest.raises(PipelineError, match=r"sip_cleaned_image: .*one.fits has no WSCMAJOR"):
        major_cycles(tmp_path / "one.fits")
    with pytest.raises(PipelineError, match=r"sip_cleaned_image: .*none.fits cannot be read as FITS"):
        major_cycles(tmp_path / "none.fits")


def test_optional_project_values_are_read(values):
    assert project_of(values).storage_ticket == ""
    project = project_of({**values, "sip_storage_ticket": "T1", "sip_co_investigators": ["B. One"]})
    assert (project.storage_ticket, project.co_investigators) == ("T1", ["B. One"])


# ---- the step


def given(*without):
    values = {**dict.fromkeys(SIP_REQUIRED, "7"), "sip_product_identifiers": "[1, 2]"}
    return [
        word
        for name, text in values.items()
        if name not in without
        for word in ("-s", f"describe.control.{name}={text}")
    ]


@pytest.fixture
def here(tmp_path, values, monkeypatch):
    """The current directory with a parset that describes two images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "field.parset").write_text(PARSET)
    return tmp_path


def test_step_writes_feedback_and_sip(here):
    assert main(["field.parset", "-q", *given()]) == 0
    for name in ("sip.xml", "sip-1.xml"):
        root = parse(here / name).getroot()
        assert problems(root) == []
        assert root.findtext("pipelineRun/pipelineName") == "field"
    assert (here / "images.metadata").is_file()


def test_step_without_a_sip(here):
    assert main(["field.parset", "-q", "-s", "describe.control.sip_file=none"]) == 0
    assert not (here / "sip.xml").exists()


def test_missing_values_are_found_before_jobs(here, capsys):
    assert main(["field.parset", "--check", *given("sip_project_code", "sip_strategy_name")]) == 1
    said = capsys.readouterr().err
    assert "field.parset:5: describe.control.sip_file: the archive needs 2 more values" in said
    assert "sip_project_code (code of the project that owns the data), sip_strategy_name (" in said
    assert not (here / "field").exists()


def test_missing_values_end_lenient_run_late(here, capsys):
    assert main(["field.parset", "-q", "--lenient", *given("sip_project_code")]) == 1
    assert "step 'describe': sip_file: the archive needs 1 more value, which only you know" in capsys.readouterr().err
    assert not (here / "images.metadata").exists()
