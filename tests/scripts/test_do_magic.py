"""The script that decides: on real data, by its command line, and on bad input."""

import ast
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from loading import load_script
from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct
from small_sets import SetShape, count_reading, drop_column, make_set

SCRIPT = Path(__file__).parents[2] / "scripts" / "do_magic.py"


@pytest.fixture(scope="module")
def do_magic():
    return load_script("do_magic")


def run(do_magic, ms_input, folder, **options):
    result = do_magic.main(ms_input, "do_magic.datamap", str(folder), **{"cellsize_highres_deg": "0.01", **options})
    return result, json.loads(Path(result["plan"]).read_text())


def only_entry(path):
    (product,) = DataMap.load(path).data
    return product.file


def test_literal_outputs_name_every_key(do_magic, hba_set_generic, tmp_path):
    (assignment,) = (
        node
        for node in ast.parse(SCRIPT.read_text()).body
        if isinstance(node, ast.Assign) and node.targets[0].id == "OUTPUTS"
    )
    result, _ = run(do_magic, str(hba_set_generic), tmp_path)
    assert set(ast.literal_eval(assignment.value)) == set(result)
    assert all(Path(path).is_file() for path in result.values())


def test_hba_data_are_measured_with_everybeam(do_magic, hba_set_generic, tmp_path):
    result, plan = run(do_magic, str(hba_set_generic), tmp_path)
    numbers = {name: quantity["value"] for name, quantity in plan["quantities"].items()}
    assert numbers["beam_source"] == "everybeam"
    # the beam of the 8 stations is 4.6 deg; 1.5 times that in cells of 0.01 deg is 690
    assert only_entry(result["deep_high_size_mapfile"]) == "700 700"
    assert numbers["beam_fwhm_x_deg"] == pytest.approx(4.6, abs=0.1)
    assert numbers["input_timestep_s"] == pytest.approx(10.0139)
    assert only_entry(result["single_mapfile"]) == str(hba_set_generic)
    assert plan["predicted_loss"]["image_edge"]["averaged"]["worst_angle"] < 0.05


def test_flagged_dish_array_is_refused(do_magic, dish_set, tmp_path):
    with pytest.raises(PipelineError, match="are flagged; there is nothing to image"):
        run(do_magic, str(dish_set), tmp_path)


def test_set_without_flag_category_has_everybeam_width(do_magic, hba_set_generic, tmp_path):
    path = tmp_path / "a.MS"
    shutil.copytree(hba_set_generic, path)
    drop_column(str(path), "FLAG_CATEGORY")
    assert run(do_magic, str(path), tmp_path)[1]["quantities"]["beam_source"]["value"] == "everybeam"


def test_historical_averaging_is_reproduced(do_magic, hba_set_generic, tmp_path):
    result, plan = run(do_magic, str(hba_set_generic), tmp_path, averaging="historical", y_axis_stretch="1.2")
    assert only_entry(result["freqstep"]) == "97656.25"  # half of 195312.5: an image is made of two channels at least
    assert only_entry(result["nchansout_clean1"]) == "2"
    assert float(only_entry(result["timestep"])) == pytest.approx(2 * 10.0139008)
    # 4.924 deg * 1.5 / 0.01 = 738 -> 750, times 1.2 = 900
    assert only_entry(result["deep_high_size_mapfile"]) == "750 900"
    assert any("historical" in text for text in plan["warnings"])


@pytest.mark.parametrize("kind", ["list", "text", "map", "one entry"])
def test_sets_come_as_lists_and_mapfiles(do_magic, tmp_path, kind):
    sets = [
        make_set(tmp_path / f"{first_mhz}.MS", SetShape(ntimes=4, timestep_s=1, first_channel_hz=first_mhz * 1e6))
        for first_mhz in (146, 144)
    ]
    mapfile = tmp_path / "sets.mapfile"
    entries = [f"[{sets[0]},{sets[1]}]"] if kind == "one entry" else sets
    skipped = DataProduct("localhost", "/nowhere.MS", True)
    DataMap([DataProduct("localhost", entry, False) for entry in entries] + [skipped]).save(str(mapfile))
    given = {"list": sets, "text": f"[{sets[0]},{sets[1]}]"}.get(kind, str(mapfile))
    result, _ = run(do_magic, given, tmp_path / "maps")
    assert [product.file for product in DataMap.load(result["single_mapfile"]).data] == sets[::-1]


def test_plan_file_option_sets_the_path(do_magic, tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(ntimes=4))
    result, _ = run(do_magic, path, tmp_path / "maps", plan_file=str(tmp_path / "products" / "plan.json"))
    assert result["plan"] == str(tmp_path / "products" / "plan.json")


@pytest.mark.parametrize(
    ("changes", "options", "problem"),
    [
        ({}, {"cellsize_highres_deg": "0"}, "cellsize_highres_deg: 0 is out of range"),
        ({}, {"fieldsize": "1"}, "fieldsize: no such option"),
        ({"dec_rad": -1.2}, {}, r"a.MS: the field is not up all the time: its elevation falls to -\d"),
        ({"dish_diameter_m": 0.0, "telescope": "ACME"}, {}, "DISH_DIAMETER"),
        ({}, {"minuv_lambda": "90000", "maxuv_lambda": "100000"}, "between 90000 and 100000 wavelengths"),
    ],
    ids=["cellsize", "name", "horizon", "diameter", "uv-range"],
)
def test_bad_input_is_named(do_magic, tmp_path, changes, options, problem):
    path = make_set(tmp_path / "a.MS", SetShape(ntimes=4, **changes))
    with pytest.raises((PipelineError, ValueError), match=problem):
        run(do_magic, path, tmp_path / "maps", **options)
    assert not (tmp_path / "maps").exists()  # nothing half-made


def test_repeated_and_missing_sets_are_refused(do_magic, tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(ntimes=4))
    with pytest.raises(PipelineError, match=r"a.MS: given twice"):
        run(do_magic, [path, f"{tmp_path}/../{tmp_path.name}/a.MS"], tmp_path)
    with pytest.raises(PipelineError, match="no measurement sets were given"):
        run(do_magic, [], tmp_path)


def test_command_line_prints_plan_and_warnings(do_magic, tmp_path, capsys):
    path = make_set(tmp_path / "a.MS", SetShape(ntimes=4))
    arguments = [path, "cellsize_highres_deg=0.01", "--mapfile-dir", str(tmp_path / "maps")]
    assert do_magic._command_line(arguments) == 0
    shown = capsys.readouterr().out
    first, second = shown.splitlines()[:2]
    assert first.startswith("WARNING: cellsize_highres_deg is 0.01 deg (36 arcsec), wider than ")
    assert second.startswith("WARNING: the width of the beam is by formula")
    assert shown.count("by formula") == 1
    assert "\nImage " in shown
    assert str(tmp_path / "maps" / "plan.json") in shown
    assert do_magic._command_line([path, "robust=x"]) == 1
    assert capsys.readouterr().err == "robust: 'x' is not a number\n"


def test_planning_reads_grow_linearly_with_sets(do_magic, tmp_path, monkeypatch):
    """Each of 244 subbands is opened as often as one alone, and some thousand rows of all together are read."""
    import casacore.tables as ct

    first = make_set(tmp_path / "000.MS", SetShape(ntimes=4, nchan=2, channel_width_hz=97656.25))
    paths = [first]
    for number in range(1, 244):
        path = shutil.copytree(first, tmp_path / f"{number:03d}.MS")
        with ct.table(f"{path}/SPECTRAL_WINDOW", readonly=False, ack=False) as table:
            table.putcell("CHAN_FREQ", 0, table.getcell("CHAN_FREQ", 0) + number * 195312.5)
            table.putcell("REF_FREQUENCY", 0, table.getcell("REF_FREQUENCY", 0) + number * 195312.5)
        paths.append(str(path))
    reading = count_reading(monkeypatch)
    run(do_magic, first, tmp_path / "one")
    alone = replace(reading)
    assert min(alone.opened, alone.rows) > 0
    result, _ = run(do_magic, paths, tmp_path / "maps")
    assert reading.opened - alone.opened <= 244 * alone.opened
    assert reading.rows - alone.rows <= 244 * alone.rows
    assert len(DataMap.load(result["single_mapfile"]).data) == 244
    assert only_entry(result["nbands"]) == "24"
    assert only_entry(result["nchansout_clean1"]) == "5"  # 144 to 191.7 MHz: ln(1.33) / 0.06 = 4.8
