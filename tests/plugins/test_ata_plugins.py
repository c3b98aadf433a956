"""The plugins of the ATA pipeline: maps of sessions, and the check before the first job."""

import importlib.util
import json
from pathlib import Path

import pytest

from ata_session import make_session
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ata.maps import FIELDS, READING, SOLVING
from lofarpipe.support.data_map import DataMap, DataProduct

PLUGINS = Path(__file__).parents[2] / "plugins"


def plugin(name):
    spec = importlib.util.spec_from_file_location(name, PLUGINS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_session(tmp_path_factory.mktemp("ata") / "project")


OPTIONS = {
    **dict.fromkeys(("fluxcal", "phasecal"), "auto"),
    "target": "[auto]",
    "fluxcal_scans": "last",
    "tunings": "[b, c]",
    "runs": "[*]",
    "strategy": "generic-default.lua",
}


def files(path):
    return [product.file for product in DataMap.load(path).data]


def scans(made, tmp_path, **options):
    given = {**OPTIONS, "project": str(made.project), "outdir": str(tmp_path / "out"), **options}
    return plugin("PipelineStep_ataScans").plugin_main(None, mapfile_dir=str(tmp_path), filename="m", **given)


def test_maps_list_every_scan_and_tuning(made, tmp_path):
    outputs = scans(made, tmp_path)
    assert {*outputs} == {*(f"{name}.mapfile" for name in READING), "strategy"}
    assert files(outputs["tunings.mapfile"]) == ["b", "c"] * 4
    assert files(outputs["averaged.mapfile"])[0] == (
        f"{tmp_path}/out/{made.name}/{made.folders[1]}_measure_sets/{made.folders[1]}_b_averaged.ms"
    )
    assert outputs["strategy"].endswith("strategies/generic-default.lua")
    assert plugin("PipelineStep_ataScans").plugin_looks_at(project="/data") == ["/data"]


def test_skipped_sets_are_not_solved(made, tmp_path):
    first = scans(made, tmp_path)
    averaged = DataMap.load(first["averaged.mapfile"])
    averaged.data[0].skip = True
    averaged.save(str(tmp_path / "averaged"))
    outputs = plugin("PipelineStep_ataSolving").plugin_main(
        None, first["sessions.mapfile"], str(tmp_path / "averaged"), str(tmp_path), "s"
    )
    assert {*outputs} == {f"{name}.mapfile" for name in SOLVING}
    assert [len(files(outputs[f"{name}_sets.mapfile"])) for name in ("fluxcal", "calibrator", "apply")] == [1, 5, 7]


def test_roles_select_the_fields(made, tmp_path):
    first = scans(made, tmp_path)
    outputs = plugin("PipelineStep_ataFields").plugin_main(
        None, first["sessions.mapfile"], "[fluxcal, target]", str(tmp_path), "f"
    )
    assert {*outputs} == {f"{name}.mapfile" for name in FIELDS}
    assert files(outputs["field_names.mapfile"]) == ["3c286", "SWIFT_J1727"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tunings": "[b, e]"}, "'e' is none"),
        ({"strategy": "generic-defalt.lua"}, "did you mean 'generic-default.lua'"),
    ],
)
def test_wrong_options_end_the_step(made, tmp_path, options, message):
    with pytest.raises(PipelineError, match=message):
        scans(made, tmp_path, **options)


def test_first_self_calibration_round_solves_nothing(made, tmp_path, monkeypatch):
    first = scans(made, tmp_path)
    module = plugin("PipelineStep_ataSelfcal")
    monkeypatch.setattr("lofarpipe.imaging.ata.selfcal.bands_of", lambda *_: [])
    maps = (first["sessions.mapfile"], first["averaged.mapfile"], first["averaged.mapfile"])
    outputs = module.plugin_main(None, *maps, "0", "6", str(tmp_path), "r")
    assert {*outputs, "break"} == {*module.OUTPUTS}
    assert files(outputs["sets.mapfile"]) == []
    assert module.plugin_main(None, *maps, "0", "6", str(tmp_path), "r", part="end") == {"break": True}


def check(made, **options):
    given = {**OPTIONS, "project": str(made.project), "outdir": "/out", "fluxcal_polarisation": "[]"}
    given |= {"reference_antenna": "2a", "reference_antennas": "[]", **options}
    return plugin("PipelineCheck_ata_input").check(given, {})


def test_good_options_have_no_findings(made):
    assert check(made) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"project": ""}, "project: is empty"),
        ({"project": "/nowhere"}, "project: there is no directory /nowhere"),
        ({"tunings": "[x]"}, "tunings: is [x]"),
        ({"fluxcal": "3C287"}, "flux calibrator '3C287': is not in the scale"),
        ({"target": "[SWIFT]"}, "target: there is no field 'SWIFT'"),
        ({"fluxcal_polarisation": "[9, 33]"}, "fluxcal_polarisation: is [9, 33]"),
        ({"fluxcal_polarisation": "[0.1]"}, "fluxcal_polarisation: is [0.1]"),
        ({"strategy": "/no.lua"}, "strategy: there is no file /no.lua"),
        ({"reference_antenna": "9z"}, "WARNING: reference_antenna: 9z is not in session"),
    ],
)
def test_check_finds_wrong_options(made, options, message):
    assert any(message in line for line in check(made, **options))


def test_findings_are_collected(made):
    assert len(check(made, strategy="/no.lua", fluxcal_polarisation="[9]", target="[SWIFT]")) == 3


def test_session_below_the_horizon_is_refused(made, tmp_path, monkeypatch):
    monkeypatch.setattr("lofarpipe.imaging.ata.session.SITE_DEG_M", (58.5, -40.8, 0.0))
    assert any("below the horizon" in line for line in check(made))


def test_session_map_points_to_json(made, tmp_path):
    session = json.loads(Path(files(scans(made, tmp_path)["sessions.mapfile"])[0]).read_text())
    assert session["roles"]["fluxcal"] == "3c286"
    assert DataProduct("localhost", "b", False) in DataMap.load(str(tmp_path / "m.tunings.mapfile")).data
