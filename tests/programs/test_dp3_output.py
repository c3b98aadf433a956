"""Outputs of a DP3 job."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.programs.disk_space import table_bytes
from lofarpipe.programs.dp3 import changed_inputs, output_argument, output_bytes
from lofarpipe.programs.find import find, job_environment
from small_sets import SetShape, make_set

WORKDIR = Path("/work-that-is-not-there")


@pytest.mark.parametrize(
    ("arguments", "index", "name"),
    [
        (["msin=/d/a.ms", "msout=/o/b.ms", "steps=[]"], 2, "/o/b.ms"),
        (["msout.name=b.ms", "msin.name=[/d/a.ms,/d/c.ms]"], 1, "b.ms"),
        (["my.parset", "msout='b.ms/'"], 2, "b.ms"),
    ],
)
def test_new_set_is_recognised(arguments, index, name):
    output = output_argument(["DP3", *arguments], WORKDIR)
    assert (output.index, output.name) == (index, name)
    renamed = output.renamed(["DP3", *arguments], "/s/b.ms")
    assert renamed[index] == arguments[index - 1].partition("=")[0] + "=/s/b.ms"
    assert [*renamed[:index], *renamed[index + 1 :]] == ["DP3", *arguments[: index - 1], *arguments[index:]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["msin=/d/a.ms", "msout=", "steps=[count]"],
        ["msin=/d/a.ms", "msout=."],
        ["msin=/d/a.ms", 'msout=""'],
        ["msin=/d/a.ms", "msout=/d/../d/a.ms/"],
        ["msin=[/d/a.ms,/d/b.ms]", "msout=/d/b.ms"],
        ["msin=/d/a.ms"],
        ["my.parset"],
        ["msout=a.ms", "msout.name=b.ms"],
    ],
)
def test_absent_output_is_recognised(arguments):
    assert output_argument(["DP3", *arguments], WORKDIR) is None


@pytest.mark.parametrize(
    ("arguments", "ending"),
    [
        (["steps=[avg]"], ""),
        (["steps=[avg,count]"], ""),
        ([], ""),
        (["steps=[avg,null]"], None),
        (["steps=[parts]", "parts.type=Split"], None),
        (["steps=[avg,last,more]", "last.type=out"], ""),
    ],
)
def test_last_step_sets_output_ending(arguments, ending):
    output = output_argument(["DP3", "msin=/d/a.ms", "msout=/o/b.ms", *arguments], WORKDIR)
    assert output is not None
    assert output.ending == ending


def test_link_to_input_is_input(tmp_path):
    (tmp_path / "a.ms").mkdir()
    (tmp_path / "b.ms").symlink_to(tmp_path / "a.ms")
    assert output_argument(["DP3", "msin=a.ms", "msout=b.ms", "msout.overwrite=true"], tmp_path) is None


@pytest.mark.parametrize(("overwrite", "is_staged"), [("", False), ("False", False), ("True", True), ("true", True)])
def test_existing_set_needs_overwrite_for_staging(tmp_path, overwrite, is_staged):
    (tmp_path / "b.ms").mkdir()
    argv = ["DP3", "msin=a.ms", "msout=b.ms", *([f"msout.overwrite={overwrite}"] if overwrite else [])]
    assert (output_argument(argv, tmp_path) is not None) == is_staged


@pytest.mark.parametrize(
    ("keywords", "changed"),
    [
        ({"msin": "/d/a.ms", "msout": ".", "steps": "[predict]"}, ["/d/a.ms"]),
        ({"msin": "/d/a.ms", "msout": "", "steps": "[predict]"}, ["/d/a.ms"]),
        ({"msin.name": "'/d/a.ms'", "msout.name": "/d/a.ms", "steps": "[]"}, ["/d/a.ms"]),
        ({"msin": "[/d/a.ms,/d/b.ms]", "msout": ".", "steps": "[avg]"}, ["/d/a.ms", "/d/b.ms"]),
        ({"msin": "/d/a.ms", "msout": "/d/b.ms", "steps": "[predict]"}, []),
        ({"msin": "/d/a.ms", "msout": "", "steps": "[predict,null]"}, []),
        ({"msin": "/d/a.ms", "msout": ".", "steps": "[count]"}, []),
        ({"msin": "/d/a.ms", "msout": ".", "steps": "[c]", "c.type": "counter"}, []),
        ({"msin": "/d/a.ms", "steps": "[predict]"}, []),
        ({"msout": ".", "steps": "[predict]"}, []),
    ],
)
def test_in_place_output_changes_input(keywords, changed):
    assert changed_inputs(keywords) == changed


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A set of 4650 rows (30 antennas with autocorrelations, 10 times of 10 s) and 32 channels of 24.4 kHz."""
    path = tmp_path_factory.mktemp("sets") / "a.ms"
    return make_set(path, SetShape(nantennas=30, nchan=32, ntimes=10), with_data=True)


DYSCO = {"msout.storagemanager": "Dysco"}
FLOATS = {**DYSCO, "msout.storagemanager.databitrate": "0"}
AVG = {"steps": "[avg]", "avg.type": "average"}


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        # 4650 rows x 45; 148800 visibilities x (32 + 16 + 0.5) bytes
        ({"steps": "[]"}, 209250 + 148800 * 48.5),
        ({**DYSCO, "steps": "[]"}, 209250 + 148800 * 12),
        ({**FLOATS, "steps": "[]"}, 209250 + 148800 * 34),
        ({**FLOATS, "msout.storagemanager.weightbitrate": "0", "steps": "[]"}, 209250 + 148800 * 48.5),
        ({**DYSCO, "msout.storagemanager.databitrate": "x", "steps": "[]"}, 209250 + 148800 * 12),
        ({**AVG, "avg.freqstep": "4", "avg.timestep": "2"}, (209250 + 148800 * 48.5 / 4) / 2),
        ({**AVG, "avg.freqresolution": "97.66kHz", "avg.timeresolution": "20.1"}, (209250 + 148800 * 48.5 / 4) / 2),
        ({**AVG, "avg.freqresolution": "48828", "avg.timeresolution": "1"}, 209250 + 148800 * 48.5 / 2),
        ({**AVG, "avg.freqstep": "odd", "avg.freqresolution": "3 furlongs"}, 209250 + 148800 * 48.5),
        ({**AVG, "avg.timestep": "1000"}, (209250 + 148800 * 48.5) / 10),
        ({"steps": "[predict,applybeam]"}, 209250 + 148800 * 48.5),
        ({"steps": "[avg,more]", "more.type": "averager", "avg.freqstep": "2", "more.freqstep": "4"}, 209250 + 902100),
    ],
)
def test_size_of_new_set_is_estimated(small, keywords, expected):
    assert output_bytes({"msin": small, **keywords}, WORKDIR) == pytest.approx(expected)


def test_joined_sets_add_channels(small):
    two = output_bytes({"msin": f"[{small},{small}]", "steps": "[]"}, WORKDIR)
    assert two == pytest.approx(209250 + 2 * 148800 * 48.5)


@pytest.mark.parametrize(
    "keywords",
    [
        {"steps": "[filter]"},
        {"steps": "[]", "msin.nchan": "4"},
        {"steps": "[]", "msin": "/nowhere.ms"},
        {"steps": "[]"},
    ],
)
def test_unknown_size_is_none(small, keywords):
    given = {"msin": small, **keywords} if len(keywords) > 1 or "filter" in str(keywords) else keywords
    assert output_bytes(given, WORKDIR) is None


def test_broken_set_has_no_size(tmp_path):
    (tmp_path / "a.ms").mkdir()
    (tmp_path / "a.ms" / "table.dat").write_text("not a table")
    assert output_bytes({"msin": "a.ms", "steps": "[]"}, tmp_path) is None


@pytest.fixture(scope="module")
def larger(tmp_path_factory):
    """A set of 55,800 rows and 16 channels: in a smaller one the unused ends of tiles count."""
    path = tmp_path_factory.mktemp("sets") / "larger.ms"
    return make_set(path, SetShape(nantennas=30, nchan=16, ntimes=120), with_data=True)


@pytest.mark.parametrize("manager", [{}, DYSCO, FLOATS], ids=["casacore", "dysco", "floats"])
def test_estimate_matches_dp3_output(larger, tmp_path, manager):
    try:
        program = find("DP3")
    except PipelineError as err:
        pytest.skip(str(err))
    output = tmp_path / "o.ms"
    keywords = {"msin": larger, "msout": str(output), **AVG, "avg.freqstep": "2", **manager}
    argv = [str(program), *(f"{key}={value}" for key, value in keywords.items())]
    subprocess.run(argv, env={**os.environ, **job_environment()}, capture_output=True, check=True)
    assert table_bytes(str(output)) == pytest.approx(output_bytes({**keywords, "msout": "new"}, tmp_path), rel=0.15)
    shutil.rmtree(output)
