"""Every bad input of an imaging pipeline gives one clear line, all of them together, and nothing is made."""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from casacore.tables import table

from loading import load_script
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.inputs import check_sets
from small_sets import SetShape, add_field, change_column, count_reading, keep_rows, make_set, set_flags

SHAPE = SetShape(nantennas=8, ntimes=6)


@pytest.fixture(scope="module")
def plugin():
    return load_script("PipelineCheck_imaging_input")


@pytest.fixture
def made(tmp_path):
    """A function that makes one more small set, and returns its path."""

    def make(name="a.MS", shape=SHAPE, **kwargs):
        return make_set(tmp_path / name, shape, with_data=True, **kwargs)

    return make


@pytest.fixture
def check(plugin, tmp_path):
    """Check with the options of a complete pipeline, some of them changed."""
    site = {"working_directory": str(tmp_path), "job_directory": str(tmp_path / "job"), "cores": "2", "gpus": "0"}
    usual = {
        "data_column": "DATA",
        "image_output_filenames": f"[{tmp_path}/out/a.fits]",
        "images_metadata_file": f"{tmp_path}/images.metadata",
        "image_rootname": "input.output.job_directory/fullband",
        "local_scratch_dir": str(tmp_path),
        "cellsize_highres_deg": "0.00208",
        "fieldsize_highres": "1.5",
        "axis_stretch": "1.0",
        "maxlambda_highres": "7000",
        "minlambda_highres": "80",
        "gridder": "auto",
        "idg_mode": "cpu",
        "auto_mask": "3.3",
        "auto_threshold": "0.5",
        "averaging": "physics",
    }

    def run(*paths, site=site, **options):
        before = sorted(tmp_path.rglob("*"))
        given = {**usual, **options}
        if paths:
            given["data_input_filenames"] = f"[{', '.join(map(str, paths))}]"
        findings = plugin.check(given, site)
        assert sorted(tmp_path.rglob("*")) == before  # nothing half-made
        return findings

    return run


NO_OUTPUTS = {"images_metadata_file": "", "image_rootname": "", "local_scratch_dir": ""}


def only(findings):
    """Return the single finding."""
    (finding,) = findings
    return finding


def test_good_sets_pass(check, made):
    assert check(made()) == []


def test_several_subbands_and_time_blocks_pass(check, made):
    later = SetShape(nantennas=8, ntimes=6, start_s=SHAPE.start_s + 600)
    higher = SetShape(nantennas=8, ntimes=6, first_channel_hz=146e6)
    assert check(made("a.MS"), made("b.MS", later), made("c.MS", higher)) == []


def test_recorded_set_passes(check, hba_set, hba_set_generic):
    """Their visibilities are not in Jy, which is warned of."""
    (scale,) = check(hba_set)
    assert scale.startswith(f"WARNING: {hba_set}: the noise of its visibilities in DATA is ")
    beside, scale = check(hba_set_generic)
    assert "data_column = CORRECTED_DATA" in beside
    assert "does not look calibrated" in scale


def test_pattern_is_expanded_in_current_directory(check, made, tmp_path, monkeypatch):
    made()
    monkeypatch.chdir(tmp_path)
    assert check("*.MS") == []


def test_missing_options_are_not_checked(plugin, made):
    assert plugin.check({}, {}) == []
    assert plugin.check({"data_input_filenames": f"[{made()}]"}, {}) == []


# ---- the reference of the image


@pytest.mark.parametrize("name", ["auto", "none"])
def test_reference_is_optional(check, made, name):
    assert check(made(), reference_skymodel=name) == []


def test_missing_reference_is_found(check, made, tmp_path):
    (tmp_path / "truth.json").touch()
    assert check(made(), reference_skymodel=f"{tmp_path}/truth.json") == []
    finding = only(check(made("b.MS"), reference_skymodel=f"{tmp_path}/none.model"))
    assert finding.startswith(f"reference_skymodel: there is no file {tmp_path}/none.model; name a sky model")


def test_relative_reference_is_refused(check, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert only(check(made(), reference_skymodel="sky.model")) == (
        f"reference_skymodel: sky.model is relative, and jobs work elsewhere; write {tmp_path}/sky.model"
    )


def test_sky_model_needs_lsmtool(check, made, tmp_path, monkeypatch):
    (tmp_path / "sky.model").touch()
    find_spec = importlib.util.find_spec
    for there in (True, False):
        monkeypatch.setattr(
            importlib.util, "find_spec",
            lambda name, there=there: (there or None) if name == "lsmtool" else find_spec(name),
        )  # fmt: skip
        found = check(made(f"{there}.MS"), reference_skymodel=f"{tmp_path}/sky.model")
        assert bool(found) is not there
    assert "is missing; pip install 'genericpipeline[lsmtool]', or set it to none" in only(found)


# ---- the sets


@pytest.mark.parametrize(
    ("options", "finding"),
    [  # ^: the finding begins so; $: it ends so
        ({"data_input_filenames": "[]"}, "^data_input_filenames: is '[]'; at least one measurement set is needed"),
        ({"data_input_filenames": ""}, "^data_input_filenames: is ''; at least one measurement set is needed"),
        ({"data_input_filenames": "[a.MS, 'b.MS]"}, "^data_input_filenames: "),
        ({"maxlambda_highres": "80"}, "^maxlambda_highres: is "),
        ({"minlambda_highres": "9000"}, "^maxlambda_highres: is "),
        ({"auto_threshold": "5"}, "^auto_threshold: is 5, above auto_mask, 3.3"),
        (
            {"image_output_filenames": "[/proc/nosuch/a.fits]"},
            "^image_output_filenames: /proc/nosuch cannot be written",
        ),
        ({"reference_skymodel": "/" + "a" * 300}, "there is no file /"),
        ({"site": {"working_directory": "/proc/nosuch"}}, "^working_directory: /proc/nosuch"),
        (
            {"site": {"working_directory": "/tmp/caf\udce9"}},
            r"^working_directory: DP3 cannot write to '/tmp/caf\udce9', whose name is not UTF-8; use another name$",
        ),
        *(
            (
                {"site": {"working_directory": f"/tmp/a{sign}b"}},
                f"^working_directory: DP3 cannot write to /tmp/a{sign}b, for it takes {sign} off a name",
            )
            for sign in "'\""
        ),
    ],
)
def test_invalid_options_are_found(check, options, finding):
    assert finding in f"^{only(check(**options))}$"


@pytest.mark.parametrize(
    ("options", "finding"),
    [
        ({"data_column": "DATTA"}, "has no column DATTA; did you mean 'DATA'?"),
        ({"data_column": "DATTA"}, "correct data_column"),
        ({"data_column": "FLAG"}, "its column FLAG holds no visibilities; it has DATA; correct data_column"),
        ({"data_column": ""}, "^data_column: is empty; name the column"),
        ({"minlambda_highres": "6000"}, "^minlambda_highres: is 6000 wavelengths, the longest"),
        (
            {"fieldsize_highres": "20", "cellsize_highres_deg": "0.02"},
            "^fieldsize_highres: with 20 times the width of the beam the image is about 83.8 deg wide",
        ),
        ({"fieldsize_highres": "0"}, "how much disk"),
    ],
)
def test_options_must_suit_the_sets(check, made, options, finding):
    assert finding in f"^{only(check(made(), **options))}"


@pytest.mark.parametrize(
    ("shape", "finding"),
    [
        ({"correlations": (9, 12)}, "has 2 correlations (XX, YY), and DP3 reads sets with four"),
        ({"correlations": (1,)}, "has 1 correlation (I), and DP3 reads sets with four"),
        ({"dec_rad": -1.2}, "the field is below the horizon"),
    ],
)
def test_unusable_set_is_refused(check, made, shape, finding):
    assert finding in only(check(made(shape=replace(SHAPE, **shape))))


@pytest.mark.parametrize(
    ("shape", "finding"), [({"nchan": 4}, "has 4 channels"), ({"ra_rad": 1.01}, "phase centre is")]
)
def test_incompatible_sets_are_refused(check, made, shape, finding):
    other = replace(SHAPE, first_channel_hz=146e6, **shape)
    assert finding in only(check(made(), made("b.MS", other)))


def second_window(path):
    with table(f"{path}/SPECTRAL_WINDOW", readonly=False, ack=False) as windows:
        windows.addrows(1)


def averaged_by_baseline(path):
    with table(path, readonly=False, ack=False) as main:
        main.putkeyword("BDA_TIME_AXIS", f"Table: {path}/FIELD")


def times_of_rows(path):
    change_column(path, "TIME", lambda times_s: times_s + np.arange(len(times_s)) / 64)


def unknown_field(path):
    change_column(path, "FIELD_ID", np.ones_like)


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (second_window, "has 2 spectral windows and 1 data description"),
        (averaged_by_baseline, "its time slots depend on the baseline"),
        (times_of_rows, "its time slots depend on the baseline"),
        (unknown_field, "FIELD_ID of some rows is 1, and its FIELD table has 1"),
    ],
)
def test_unsupported_table_layout_is_refused(check, made, spoil, finding):
    path = made()
    spoil(path)
    assert finding in only(check(path))


def test_missing_set_is_refused(check, made, tmp_path):
    assert only(check(made(), tmp_path / "b.MS")) == f"{tmp_path}/b.MS: no such measurement set"


def test_unbracketed_list_of_sets_is_refused(check, made):
    one, other = made(), made("b.MS")
    finding = only(check(data_input_filenames=f"{one}, {other}"))
    assert finding == f"data_input_filenames: is '{one}, {other}'; several sets are a list: [{one}, {other}]"
    for text in (f"{one} {other}", f"[{one} {other}]"):
        said = f"data_input_filenames: '{one} {other}' has no comma between the names; write [{one}, {other}]"
        assert only(check(data_input_filenames=text)) == said
    assert "no such measurement set" in only(check(data_input_filenames=f"[{one} {other}x]"))


def test_unmatched_pattern_is_refused(check, tmp_path):
    finding = f"{tmp_path}/L*.MS: no measurement set matches this pattern; correct data_input_filenames"
    assert only(check(f"{tmp_path}/L*.MS")) == finding


def test_comma_in_name_is_refused(check, made):
    assert "a comma in a name" in only(check(data_input_filenames=f"['{made('a,b.MS')}']"))


@pytest.mark.parametrize("sign", ["'", '"', "[", "]", "{", "}", "(", ")"])
def test_unreadable_characters_in_name_are_refused(made, sign):
    path = made(f"a{sign}b.MS")
    assert only(check_sets([path], "DATA")[1]) == f"{path}: DP3 cannot read a name with {sign} in it; rename it"


def test_readable_special_characters_pass(made):
    assert check_sets([made("a (b) <c>;&$#ä.MS")], "DATA")[1] == []


def test_casacore_needs_a_home(check, made, monkeypatch):
    monkeypatch.delenv("HOME")
    assert only(check(made(), made("b.MS"))).startswith(
        "HOME is not set, and casacore, DP3 and WSClean need it; export"
    )


def test_plain_directory_is_refused(check, tmp_path):
    (tmp_path / "b.MS").mkdir()
    assert "not a measurement set" in only(check(tmp_path / "b.MS"))


def test_empty_set_is_refused(check, tmp_path, made):
    with table(made(), ack=False) as main, main.query("ANTENNA1 < 0") as nothing:
        nothing.copy(str(tmp_path / "b.MS"), deep=True).close()
    assert "has no rows" in only(check(tmp_path / "b.MS"))


def test_missing_data_columns_are_reported(check, tmp_path):
    assert "it has no data column" in only(check(make_set(tmp_path / "a.MS", SHAPE)))


def test_fully_flagged_set_is_refused(check, made):
    path = made()
    set_flags(path, np.ones((SHAPE.ntimes * 36, SHAPE.nchan), bool))
    assert only(check(path)) == f"{path}: every visibility is flagged, so there is nothing to image; leave it out"


def test_zero_weights_are_refused(check, made):
    path = made(weight=0.0)
    assert only(check(path)).startswith(f"{path}: every visibility is flagged, or of weight 0, so there is nothing")


def test_nan_visibilities_are_refused(check, made):
    path = made()
    with table(path, readonly=False, ack=False) as opened:
        opened.putcol("DATA", np.full((SHAPE.ntimes * 36, SHAPE.nchan, 4), np.nan + 0j, np.complex64))
    assert "every visibility is flagged, of weight 0, or not a finite number" in only(check(path))


def test_damaged_set_is_refused(check, hba_set, tmp_path):
    copy = tmp_path / "damaged.MS"
    shutil.copytree(hba_set, copy)
    with table(str(copy), ack=False) as opened:
        number = opened.getdminfo("DATA")["SEQNR"]
    os.truncate(max(copy.glob(f"table.f{number}*"), key=lambda path: path.stat().st_size), 1000)
    finding = only(check(copy))
    assert finding.startswith(f"{copy}: cannot be read: ")
    assert finding.endswith("; it is damaged: copy it again, or leave it out")


def test_flagged_recorded_set_is_refused(check, dish_set):
    assert "every visibility is flagged" in only(check(dish_set))


def test_repeated_set_is_refused_through_links(check, made, tmp_path):
    path = made()
    (tmp_path / "link.MS").symlink_to(path)
    assert only(check(path, path)) == f"{path}: is given twice; give each measurement set once"
    assert f"is given twice, the same as {path}" in only(check(path, tmp_path / "link.MS"))


def test_overlapping_sets_are_refused(check, made, tmp_path):
    shutil.copytree(made(), tmp_path / "b.MS")
    assert "covers the same time and frequency" in only(check(tmp_path / "a.MS", tmp_path / "b.MS"))


def test_missing_dish_diameter_is_refused(check, made):
    path = made(shape=SetShape(nantennas=8, ntimes=6, dish_diameter_m=0.0))
    finding = only(check(path))
    assert finding.startswith(f"{path}: ANTENNA.DISH_DIAMETER of CS000HBA0 and 7 others is 0 m")
    assert check(path, station_diameter_m="31") == []


def test_unused_stations_need_no_diameter(check, made):
    path = made()
    with table(f"{path}/ANTENNA", readonly=False, ack=False) as antennas:
        antennas.putcol("DISH_DIAMETER", np.where(np.arange(8) < 2, 0.0, 31.0))
        antennas.putcell("NAME", 1, "")
    assert only(check(path)).startswith(f"{path}: ANTENNA.DISH_DIAMETER of CS000HBA0 and 1 other is 0 m")
    with table(path, ack=False) as main:
        of_them = (main.getcol("ANTENNA1") < 2) | (main.getcol("ANTENNA2") < 2)
    set_flags(path, np.repeat(of_them[:, None], SHAPE.nchan, axis=1))
    assert check(path) == []


def test_unnamed_station_is_numbered(check, made):
    path = made()
    with table(f"{path}/ANTENNA", readonly=False, ack=False) as antennas:
        antennas.putcell("DISH_DIAMETER", 3, 0.0)
        antennas.putcell("NAME", 3, "")
    assert "ANTENNA.DISH_DIAMETER of antenna 3 is 0 m" in only(check(path))


def test_common_fault_is_reported_once(check, made):
    paths = [made(f"{mhz}.MS", SetShape(nantennas=8, ntimes=6, first_channel_hz=mhz * 1e6)) for mhz in range(144, 149)]
    finding = only(check(*paths, data_column="CORRECTED_DATA"))
    assert finding.startswith(f"{paths[0]} (and 4 others: 145.MS, 146.MS, 147.MS ... and 1 more): has no column CORR")


def test_several_fields_are_listed_for_choice(check, made):
    path = made()
    add_field(path, "NGC 5194", dec_offset_rad=0.005)
    change_column(path, "FIELD_ID", lambda ids: np.where(np.arange(len(ids)) < 72, 0, 1).astype(ids.dtype))
    finding = only(check(path))
    assert finding.startswith(f"{path}: holds 2 fields: 0 '' (72 rows), 1 'NGC 5194' (144 rows); choose one by number")
    assert check(path, field="NGC 5194") == check(path, field="0") == []
    assert "has no rows of a field 'M 51'" in only(check(path, field="M 51"))


def test_missing_history_and_data_are_reported(check, made):
    path = made()
    with table(path, readonly=False, ack=False) as main:
        main.removekeyword("HISTORY")
        main.renamecol("DATA", "CORRECTED_DATA")
    no_history, no_data = check(path, data_column="CORRECTED_DATA")
    assert "has no HISTORY subtable, which DP3 needs" in no_history
    remedy = no_data.partition("rename one: ")[2].partition(", and correct")[0]
    subprocess.run([sys.executable, "-c", remedy], check=True, capture_output=True)
    assert check(path) == [no_history]


def test_long_time_gap_is_refused(check, made):
    path = made()
    change_column(path, "TIME", lambda times_s: times_s + np.where(np.arange(len(times_s)) < 108, 0, 365.0 * 86400))
    finding = only(check(path))
    assert finding.startswith(f"{path}: has 6 time slots within 8760 h, and DP3 fills all of that with slots of 10 s")
    assert "split it at its gaps, of which the longest has 8760.0 h" in finding


def test_conflicting_duplicate_rows_are_refused(check, made):
    path = made()
    keep_rows(path, np.repeat(np.arange(216), 2))
    assert check(path) == []
    change_column(path, "DATA", lambda values: values + np.arange(432)[:, None, None])
    assert only(check(path)).startswith(f"{path}: 216 rows have time and baseline of another row, and other values")


def test_foreign_station_names_are_reported(check, hba_set_generic, tmp_path):
    path = f"{tmp_path}/a.MS"
    shutil.copytree(hba_set_generic, path)
    change_column(f"{path}/ANTENNA", "NAME", lambda names: [f"ANT{number}" for number, _ in enumerate(names)])
    finding = only(check(path))
    assert finding.startswith(f"{path}: ANT0, ANT1, ANT2 ... and ")
    assert "EveryBeam knows stations of LOFAR by names such as CS002HBA0, and none of these is one" in finding


def test_unnamed_station_is_reported(check, hba_set_generic, tmp_path):
    path = f"{tmp_path}/a.MS"
    shutil.copytree(hba_set_generic, path)
    change_column(f"{path}/ANTENNA", "NAME", lambda names: [names[0], "", *names[2:]])
    assert only(check(path)).startswith(f"{path}: ANTENNA.NAME of antenna 1 is empty, and EveryBeam knows stations of")


def test_superstation_remedy_works(check, hba_set_generic, tmp_path, repository):
    path = f"{tmp_path}/a.MS"
    shutil.copytree(hba_set_generic, path)
    change_column(f"{path}/ANTENNA", "NAME", lambda names: [*names[:-1], "ST001"])
    finding = only(check(path))
    assert finding.startswith(f"{path}: ST001: made from several stations, for which EveryBeam has no beam")
    words = finding.partition("leave such stations out: DP3 ")[2].replace("<new>", f"{tmp_path}/b.MS")
    dp3 = shutil.which("DP3.py", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not dp3:
        pytest.skip("DP3 is not installed")
    subprocess.run([dp3, *shlex.split(words)], check=True, capture_output=True, cwd=tmp_path)
    assert not any("several stations" in line for line in check(f"{tmp_path}/b.MS"))


def test_horizon_is_checked_once_per_time(check, made):
    low = {"nantennas": 8, "ntimes": 6, "dec_rad": -1.2}
    paths = [made(shape=SetShape(**low)), made("b.MS", SetShape(**low, first_channel_hz=146e6))]
    assert "below the horizon" in only(check(*paths))


def test_findings_are_collected(check, made, tmp_path):
    found = check(made(), tmp_path / "no.MS", data_column="X", axis_stretch="1.2", gridder="idg")
    assert [line.split(":")[0] for line in found] == ["axis_stretch", f"{tmp_path}/a.MS", f"{tmp_path}/no.MS"]


# ---- options against each other


def test_idg_refuses_axis_stretch(check):
    found = check(axis_stretch="1.2", gridder="idg")
    assert only(found).startswith("axis_stretch: is 1.2 with gridder = idg")
    assert check(axis_stretch="1.2", gridder="auto") == []


def test_pixels_wider_than_fringe_are_refused(check):
    """Half a fringe of 80 wavelengths is 1 / 160 rad = 0.358 deg: arcseconds entered as degrees are found."""
    assert "is 0.36 deg, wider than half the fringe" in only(check(cellsize_highres_deg="0.36"))
    assert check(cellsize_highres_deg="0.35") == []


@pytest.mark.parametrize("text", ["[{0}]", "{0}", "{1}", "[{1}]", "a={1}"])
def test_malformed_list_gives_short_message(check, text):
    names = [f"/nowhere/{number:0200d}.MS" for number in range(60)]
    findings = check(data_input_filenames=text.format(",".join(names), " ".join(names)))
    assert findings
    assert max(map(len, findings)) < 1500


def test_overlong_set_name_is_refused(check, made):
    long, longest = "a" * 234 + ".MS", "a" * 233 + ".MS"
    assert "its name has 234 bytes" in only(check(made(long)))
    assert "rename it to 233 bytes at most" in only(check(made("ä" * 118 + "b.MS")))
    assert check(made(longest)) == []


@pytest.mark.parametrize(("hard", "is_enough"), [(164, True), (163, False), (-1, True)])
def test_open_file_limit_bounds_simultaneous_sets(check, made, tmp_path, monkeypatch, hard, is_enough):
    sets = [made(f"{n}.MS", replace(SHAPE, first_channel_hz=144e6 + n * 2e5)) for n in range(2)]
    sets += [made(f"{n}.MS", replace(SHAPE, start_s=SHAPE.start_s + 1000 * n)) for n in (3, 4)]
    monkeypatch.setattr("resource.getrlimit", lambda which: (64, hard))
    site = {"working_directory": str(tmp_path), "job_directory": str(tmp_path / "job")}
    assert check(*sets, site={**site, "method": "slurm"}) == []
    findings = check(*sets, site=site)
    if is_enough:
        assert findings == []
    else:
        assert "DP3 has the 2 sets of a time block open together, some 164 files, and this machine allows 163" in only(
            findings
        )
        assert "at most 1 sets of the same time" in only(findings)


def test_image_must_fit_in_memory(check, made, tmp_path):
    """At 144.085 MHz 31 m see 1.09 * 2.0806 / 31 rad = 4.192 deg: 1.5 of that in 0.00208 deg are 3023 pixels."""
    site = {"working_directory": str(tmp_path), "job_directory": str(tmp_path / "job")}
    needed_gb = 3023**2 * 8 / 1e9  # 0.0731
    path = made()
    assert check(path, site={**site, "memory_gb": str(1.01 * needed_gb)}) == []
    finding = only(check(path, site={**site, "memory_gb": str(0.99 * needed_gb)}))
    assert finding.startswith("cellsize_highres_deg: with 0.00208 deg and fieldsize_highres 1.5 the image has about")
    assert "3023 pixels on a side, which take more than 0.0731 GB of memory, and jobs have 0.0724" in finding
    assert check(path, site={**site, "memory_gb": "0.01", "method": "slurm"}) == []
    assert check(path, site={**site, "memory_gb": "0.01"}, cellsize_highres_deg="wide") == []


def test_delivered_images_need_identifiers(check, tmp_path):
    sip = {"sip_file": f"{tmp_path}/sip.xml", "image_output_filenames": f"[{tmp_path}/a.fits, {tmp_path}/b.fits]"}
    finding = only(check(**sip, sip_product_identifiers="[1]"))
    assert finding.startswith("sip_product_identifiers: has 1, and image_output_filenames delivers 2; give one for")
    assert check(**sip, sip_product_identifiers="[1, 2]") == check(**sip, sip_product_identifiers="[]") == []
    assert check(**{**sip, "sip_file": "none"}, sip_product_identifiers="[1]") == []
    assert check(**{**sip, "image_output_filenames": "[]"}, sip_product_identifiers="[1]") == []


def test_non_numbers_are_ignored_by_check(check):
    assert check(axis_stretch="wide", maxlambda_highres="far") == []


# ---- where it writes


def test_missing_scratch_directory_is_refused(check, tmp_path):
    finding = only(check(local_scratch_dir=f"{tmp_path}/nowhere"))
    assert finding == f"local_scratch_dir: {tmp_path}/nowhere is no directory; name one that exists"


def test_remote_scratch_directory_is_not_checked(check, made, tmp_path, monkeypatch):
    site = {"working_directory": str(tmp_path), "method": "slurm"}
    assert check(site=site, local_scratch_dir=f"{tmp_path}/nowhere") == []
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 500))
    assert only(check(made(), site=site)).startswith("working_directory: ")
    assert only(check(site={**site, "method": "local"}, local_scratch_dir=f"{tmp_path}/nowhere"))


@pytest.mark.parametrize("name", ["images_metadata_file", "image_rootname"])
def test_place_below_file_is_refused(check, tmp_path, name):
    (tmp_path / "file").touch()
    finding = only(check(**{name: f"{tmp_path}/file/x"}))
    assert finding.startswith(f"{name}: {tmp_path}/file")
    assert "cannot be written" in finding


def test_unwritable_job_directory_is_reported_alone(check, tmp_path):
    (tmp_path / "file").touch()
    site = {"job_directory": f"{tmp_path}/file/run", "working_directory": str(tmp_path)}
    finding = only(check(site=site, image_rootname=f"{tmp_path}/file/run/fullband"))
    assert finding.startswith(f"job_directory: {tmp_path}/file/run cannot be written")


def test_inaccessible_directory_is_refused(check, tmp_path, monkeypatch):
    usual = Path.is_dir
    directory = tmp_path / "closed"

    def refuse(path):
        if directory in path.parents:
            raise PermissionError(13, "Permission denied")
        return usual(path)

    monkeypatch.setattr(Path, "is_dir", refuse)
    finding = only(check(image_output_filenames=f"[{directory}/a.fits]"))
    assert finding.startswith(f"image_output_filenames: {directory} cannot be written ({tmp_path}: Permission denied)")


def test_directory_as_output_is_refused(check, tmp_path):
    assert "is a directory" in only(check(image_output_filenames=f"[{tmp_path}]"))


def test_tilde_in_image_name_is_refused(check, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    finding = only(check(image_output_filenames="[~/a.fits]"))
    assert finding == f"image_output_filenames: ~ is not replaced in ~/a.fits; write {tmp_path}/a.fits"


def test_input_as_output_is_refused(check, made):
    path = made()
    found = check(path, image_output_filenames=f"[{path}]")
    assert f"image_output_filenames: {path} is an input; name another" in found


# ---- room


def test_insufficient_disk_space_is_reported(check, made, monkeypatch):
    """216 rows, at most 3 slots and 8 channels become one: 72 visibilities take more than 500 bytes anywhere."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 500))
    found = check(made())
    assert [line.split(":")[0] for line in found] == ["working_directory", "local_scratch_dir"]
    assert all("has 5e-07 GB free" in line for line in found)


def test_unwritable_place_skips_disk_check(check, made, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 0))
    site = {"working_directory": "/proc/nosuch"}
    assert "cannot be written" in only(check(made(), site=site, **NO_OUTPUTS))


def test_sufficient_disk_space_passes(check, made, monkeypatch):
    """Historical averaging, 2 slots and 8 channels: 108 rows and visibilities; 20 and 38 bytes, 34 and 100 bytes."""
    path = made()
    for free, fine in ((108 * 134, True), (108 * 134 - 1, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: shutil._ntuple_diskusage(0, 0, free))
        assert (check(path, averaging="historical", fuse_average_concat="True") == []) is fine


def test_copied_sets_count_as_disk_space(check, made, monkeypatch):
    """The averaged sets alone would fit: a copy takes as much as the set."""
    path = made()
    needed = 108 * 134 + sum(file.stat().st_size for file in Path(path).iterdir() if file.is_file())
    change_column(path, "WEIGHT_SPECTRUM", lambda weights: -1 * (np.arange(216) % 2)[:, None, None] + 0 * weights + 0.5)
    for free, fine in ((2 * needed, True), (needed // 2, False)):
        monkeypatch.setattr(shutil, "disk_usage", lambda path, free=free: shutil._ntuple_diskusage(0, 0, free))
        findings = check(path, averaging="historical", fuse_average_concat="True")
        assert (findings == []) is fine
    assert "and copies of sets and the averaged ones take at least" in findings[0]


# ---- cost


def test_check_reads_grow_linearly_with_sets(check, made, monkeypatch):
    """Each of fifty subbands is opened as often, and as many of its rows are read, as of one alone."""
    first = made()
    paths = [first]
    for number in range(1, 50):
        copy = Path(first).with_name(f"{number}.MS")
        shutil.copytree(first, copy)
        with table(f"{copy}/SPECTRAL_WINDOW", readonly=False, ack=False) as window:
            for column in ("CHAN_FREQ", "REF_FREQUENCY"):
                window.putcell(column, 0, window.getcell(column, 0) + number * 200e3)
        paths.append(copy)
    reading = count_reading(monkeypatch)
    check(first)
    alone = replace(reading)
    assert min(alone.opened, alone.rows) > 0
    assert check(*paths) == []
    assert reading.opened - alone.opened <= 50 * alone.opened
    assert reading.rows - alone.rows <= 50 * alone.rows


def test_check_reads_only_some_rows(check, tmp_path, monkeypatch):
    many = make_set(tmp_path / "many.MS", SetShape(nantennas=62, ntimes=520), with_uvw=False, with_data=True)
    reading = count_reading(monkeypatch)
    check(many, minlambda_highres="0")  # all baselines are within, so that the plan is not doubted and made
    assert 0 < reading.rows < 1_000_000  # of all columns together; the set has a million of each


def test_missing_subtable_remedy_works(tmp_path, hba_set):
    copy = tmp_path / "copy.MS"
    shutil.copytree(hba_set, copy)
    with table(str(copy), readonly=False, ack=False) as main_table:
        main_table.putkeyword("sky", f"Table: {copy}/sky")
    (finding,) = check_sets([str(copy)])[1]
    assert finding.startswith(f"{copy}: its keyword sky names a subtable that does not exist")
    remedy = finding.partition("remove it: ")[2]
    subprocess.run([sys.executable, "-c", remedy], check=True, capture_output=True)
    assert check_sets([str(copy)])[1] == []


# ---- the image that the steps after WSClean take


ROOT = {
    "image_rootname": "input.output.job_directory/fullband",
    "clean.argument.name": "input.output.job_directory/fullband",
}


@pytest.mark.parametrize(
    ("argument", "text", "finding"),
    [
        ("pol", "QU", "clean.argument.pol: is Q,U, and the primary beam, the numbers and the metadata are of Stokes I"),
        ("pol", "xx,yy", "clean.argument.pol: is XX,YY"),
        ("flags", "[-reorder, -pol, IXX, msfile]", "clean.argument.pol: is I,XX"),
        ("make-psf-only", "True", "clean.argument.make-psf-only: makes no image; remove it"),
        ("flags", "[-predict, msfile]", "clean.argument.predict: makes no image"),
        ("intervals-out", "2", "clean.argument.intervals-out: is 2, and one image is delivered; set 1"),
        ("no-fit-beam", "True", "clean.argument.no-fit-beam: leaves the image without a restoring beam"),
    ],
)
def test_incompatible_wsclean_options_are_refused(check, argument, text, finding):
    found = check(**ROOT, **{f"clean.argument.{argument}": text})
    assert only([line for line in found if line.startswith("clean.")]).startswith(finding)
    other = {f"other.argument.{argument}": text, "other.argument.name": "elsewhere"}
    assert not [line for line in check(**ROOT, **other) if ".argument." in line]


@pytest.mark.parametrize("more", [{"pol": "IQUV"}, {"no-fit-beam": "True", "beam-size": "60"}, {"intervals-out": "1"}])
def test_compatible_wsclean_options_pass(check, more):
    found = check(**ROOT, **{f"clean.argument.{key}": text for key, text in more.items()})
    assert not [line for line in found if ".argument." in line]


def test_equal_thresholds_warn(check):
    assert [line for line in check(auto_mask="5", auto_threshold="5.0") if "the same as auto_mask, 5" in line]


@pytest.mark.parametrize(("max_rise", "is_refused"), [("0.5", True), ("0", False), ("1", False)])
def test_max_rise_below_one_is_refused(check, max_rise, is_refused):
    found = [line for line in check(max_rise=max_rise) if line.startswith("max_rise: is 0.5; below 1 every")]
    assert bool(found) is is_refused


def test_tiny_pixels_are_refused(check):
    assert [line for line in check(cellsize_highres_deg="9e-7") if "at least 1e-06 is possible" in line]


# ---- masks, and the beam of a telescope


@pytest.fixture
def mask(check, made, tmp_path):
    """Return a function that writes a mask and returns the findings about it."""
    path = made()

    def said(content):
        file = tmp_path / "mask.fits"
        if isinstance(content, tuple):
            fits.writeto(file, np.zeros(content, np.float32), overwrite=True)
        else:
            file.write_bytes(content)
        more = ROOT | {"clean.argument.fits-mask": str(file), "cellsize_highres_deg": "0.05"}
        return [line for line in check(path, **more) if line.startswith("fits-mask: ")]

    return said


def test_mask_must_match_image_size(mask):
    (line,) = mask((10, 20))
    width, height = re.search(r"has 20 x 10, and the image will have (\d+) x (\d+) pixels; make one of", line).groups()
    assert mask((int(height), int(width))) == []


@pytest.mark.parametrize("content", [b"no image", b""])
def test_invalid_mask_is_refused(mask, content):
    assert "is no FITS image, and the image will have" in only(mask(content))


def test_mask_check_needs_a_plan(check, made, mask, monkeypatch):
    def refuse(*_):
        raise PipelineError("no plan")

    monkeypatch.setattr("lofarpipe.imaging.plan.checks.plan_field", refuse)
    assert mask((10, 20)) == []


def test_unsupported_telescope_beam_warns_early(check, made, monkeypatch, wsclean_with_idg):
    monkeypatch.setenv("PATH", f"{wsclean_with_idg}{os.pathsep}{os.environ['PATH']}")
    more = ROOT | {"clean.argument.gridder": "auto"}

    def told(path, **others):
        return [line for line in check(path, **more | others) if "cannot make the station beams" in line]

    path = made("wsrt.MS", replace(SHAPE, telescope="WSRT"))
    assert only(told(path)).startswith("WARNING: gridder: gridder = auto takes wgridder, without the beam")
    assert told(path, **{"clean.argument.gridder": "wgridder", "gridder": "wgridder"}) == []
    assert told(made("evla.MS", replace(SHAPE, telescope="EVLA"))) == []


def test_check_ignores_missing_wsclean(check, made, monkeypatch):
    path = made("wsrt.MS", replace(SHAPE, telescope="WSRT"))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("lofarpipe.programs.find.sys.executable", "/nowhere/python")
    assert not [line for line in check(path, **ROOT) if "wsclean" in line.lower()]


@pytest.mark.parametrize("key", ["msin.ntimes", "msin.startchan", "msin.starttime"])
def test_partial_averaging_is_refused(check, key):
    finding = only(check(**{f"average_dpppconcat.argument.{key}": "3"}))
    assert finding.startswith(f"average_dpppconcat.argument.{key}: exposure, noise and metadata are those of all data")
    assert check(**{f"mine.argument.{key}": "3"}) == check()


def test_wide_cells_give_a_warning(check, made):
    path = made()
    assert [line for line in check(path) if "cellsize" in line] == []
    (warning,) = [line for line in check(path, cellsize_highres_deg="0.2") if "cellsize" in line]
    assert warning.startswith(
        "WARNING: cellsize_highres_deg is 0.2 deg (720 arcsec), wider than half the fringe of the"
    )
