"""The plugins that existing parsets lean on (doc/spec/lofarpipe.md, sections 5.4 and 7.4)."""

from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.plugins import load
from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.parset import Parset


@pytest.fixture
def plugin(repository):
    return lambda name: load(repository / "plugins" / f"PipelineStep_{name}.py", "plugin_main").plugin_main


@pytest.fixture
def write(tmp_path):
    def write(name, *entries):
        path = tmp_path / name
        products = [(*entry, False) if len(entry) == 2 else entry for entry in entries]
        DataMap([DataProduct(*product) for product in products]).save(str(path))
        return str(path)

    return write


@pytest.fixture
def out(tmp_path):
    return {"mapfile_dir": str(tmp_path), "filename": "out"}


def _entries(result):
    return [(p.host, p.file, p.skip) for p in DataMap.load(result["mapfile"]).data]


# ---- createMapfile


def test_lists_are_literals_in_the_file(plugin, write, out):
    mapfile = write("in", ("n1", "/a"), ("n2", "/b"), ("n1", "/c", True), ("n1", "/it's"))
    result = plugin("createMapfile")([], method="mapfile_all_to_one", mapfile_in=mapfile, **out)
    assert Path(result["mapfile"]).read_text() == (
        "[{'host': 'n1', 'file': ['/a', \"/it's\"], 'skip': False}, {'host': 'n2', 'file': ['/b'], 'skip': False}]"
    )
    assert _entries(result)[1] == ("n2", "['/b']", False)
    split = plugin("createMapfile")([], method="mapfile_split_list", mapfile_in=mapfile, listsize="1", **out)
    assert [entry[:2] for entry in _entries(split)] == [("n1", "['/a']"), ("n1", '["/it\'s"]'), ("n2", "['/b']")]


def test_pattern_selects_files_of_folder(plugin, tmp_path, out):
    folder = tmp_path / "data"
    for name in ("L1_SB337.MS", "L1_SB338.MS", "L2_SB345.MS", "L1_SB345.MS.bak", "xL1_SB345.MS"):
        (folder / name).mkdir(parents=True)

    def names(**kwargs):
        result = plugin("createMapfile")([], method="mapfile_from_folder", folder=f"{folder}/", **kwargs, **out)
        return [entry[1].removeprefix(f"{folder}//") for entry in _entries(result)] if result else None

    assert names(pattern=" L?_SB(33[8-9]|3[4-9]?).M? ") == ["L1_SB338.MS", "L2_SB345.MS"]
    assert names(pattern="*SB3*", exclude_pattern="True") is None
    assert names(pattern="L*", exclude_pattern="yes", add_suffix="/table") == ["xL1_SB345.MS/table"]
    assert len(names(exclude_pattern="True")) == 5
    assert plugin("createMapfile")([], method="mapfile_from_folder", folder="", **out) == {}
    assert len(names(pattern="", exclude_pattern="False")) == 5
    with pytest.raises(PipelineError, match=r"pattern 'L\(': missing \)"):
        names(pattern="L(")
    with pytest.raises(PipelineError, match="folder /nowhere: cannot be read: No such file"):
        plugin("createMapfile")([], method="mapfile_from_folder", folder="/nowhere", **out)


@pytest.mark.parametrize(
    ("kwargs", "reason"),
    [
        ({}, "method is ''; one of mapfile_from_folder, "),
        ({"method": "mapfile_split_list", "listsize": "2"}, "method mapfile_split_list needs the argument mapfile_in"),
        ({"method": "dummy", "number": "0"}, "number is '0'; a whole number above 0"),
        ({"method": "dummy", "number": "two"}, "number is 'two'"),
    ],
)
def test_create_mapfile_refuses_wrong_arguments(plugin, out, kwargs, reason):
    with pytest.raises(PipelineError, match=reason):
        plugin("createMapfile")([], **kwargs, **out)


def test_dummy_method_repeats_entry(plugin, out):
    result = plugin("createMapfile")([], method="dummy", number="2", **out)
    assert _entries(result) == [("localhost", "dummy", False)] * 2


PRODUCTS = """
ObsSW.Observation.DataProducts.Input_Correlated.locations = [locus001:/data/L1/, "locus002:/data/L1"]
ObsSW.Observation.DataProducts.Input_Correlated.filenames = [SB000.MS, SB001.MS]
ObsSW.Observation.DataProducts.Input_Correlated.skip = [0, 1]
ObsSW.Observation.DataProducts.Broken.locations = [/data]
ObsSW.Observation.DataProducts.Broken.filenames = [a]
ObsSW.Observation.DataProducts.Short.locations = [n1:/data, n2:/data]
ObsSW.Observation.DataProducts.Short.filenames = [a]
"""


@pytest.mark.parametrize("name", ["createMapfile", "addMapfile"])
def test_parset_lists_products(plugin, tmp_path, out, name):
    parset = tmp_path / "observation.parset"
    parset.write_text(PRODUCTS)

    def products(identifier, parset=parset):
        kwargs = {"parset": str(parset), "identifier": identifier, **out}
        return _entries(plugin(name)(["mapfile_from_parset"], method="mapfile_from_parset", **kwargs))

    first = ("locus001", "/data/L1/SB000.MS", False)
    assert products("Input_Correlated") == [first, ("locus002", "/data/L1/SB001.MS", True)]
    with pytest.raises(PipelineError, match=r"no DataProducts\.Output\.locations and \.filenames"):
        products("Output")
    with pytest.raises(PipelineError, match="'/data' names no host"):
        products("Broken")
    with pytest.raises(PipelineError, match="2 locations, 1 filenames, 1 skip"):
        products("Short")
    (tmp_path / "empty").touch()
    with pytest.raises(PipelineError, match="no DataProducts"):
        products("Input_Correlated", tmp_path / "empty")


# ---- addMapfile


def test_methods_accept_positional_arguments(plugin, write, tmp_path, out):
    mapfile = write("in", ("n1", "/a"), ("n2", "/b", True), ("n2", "[/c,/d]"))
    folder = tmp_path / "data"
    for name in ("b.MS", "a.MS"):
        (folder / name).mkdir(parents=True)

    def files(method, **kwargs):
        result = plugin("addMapfile")([method], **kwargs, **out)
        return [entry[1] for entry in _entries(result)] if result else result

    a, b = f"{folder}/a.MS", f"{folder}/b.MS"
    assert files("mapfile_all_to_one", mapfile_in=mapfile) == ["[/a,[/c,/d]]"]
    assert files("mapfile_split_list", mapfile_in=mapfile, listsize="2") == ["[/a, /c]", "[/d]"]
    assert files("mapfile_list_ms", folder=str(folder)) == [f"{a} {b} "]
    assert files("mapfile_pythonlist_ms", folder=f"{folder}/") == [f"[{a},{b}]"]
    assert files("mapfile_from_folder", folder=str(folder)) == [a, b]
    assert files("mapfile_from_folder", folder=f"{folder}/") == [f"{folder}//a.MS", f"{folder}//b.MS"]
    assert files("mapfile_empty") == []
    (tmp_path / "nothing").mkdir()
    nothing = {"mapfile_list_ms": [""], "mapfile_pythonlist_ms": ["[]"], "mapfile_from_folder": {}}
    assert {method: files(method, folder=str(tmp_path / "nothing")) for method in nothing} == nothing
    assert files("mapfile_all_to_one", mapfile_in=write("none", ("n", "/a", True))) == ["[]"]


@pytest.mark.parametrize(
    ("args", "kwargs", "reason"),
    [
        ([], {}, "control.cmdline.<name>, is ''; one of mapfile_all_to_one, "),
        (["mapfile_list"], {}, "did you mean 'mapfile_list_ms'"),
        (["mapfile_list_ms"], {}, "method mapfile_list_ms needs the argument folder"),
        (["mapfile_list_ms"], {"folder": "/nowhere"}, "folder /nowhere: cannot be read"),
        (["mapfile_split_list"], {"mapfile_in": "in", "listsize": "0"}, "listsize is '0'"),
    ],
)
def test_add_mapfile_refuses_wrong_arguments(plugin, write, tmp_path, out, args, kwargs, reason):
    write("in", ("n", "/a"))
    kwargs = {key: str(tmp_path / value) if key == "mapfile_in" else value for key, value in kwargs.items()}
    with pytest.raises(PipelineError, match=reason):
        plugin("addMapfile")(args, **kwargs, **out)


# ---- changeMapfile, combineParsets


def test_change_mapfile_edits_names(plugin, write, tmp_path):
    change = plugin("changeMapfile")
    mapfile = write("in", ("n1", "/d//a.MS"), ("n2", "/b.MS", True))
    result = change([], mapfile_in=mapfile, join_files="instrument", add_name=".x", newname="new")
    assert result == {"mapfile": str(tmp_path / "new")}
    assert _entries(result) == [("n1", "/d//a.MS/instrument.x", False), ("n2", "/b.MS/instrument.x", True)]
    assert change([], mapfile_in=mapfile, add_name=".y") == {"mapfile": mapfile}
    assert [product.file for product in DataMap.load(mapfile)] == ["/d//a.MS.y", "/b.MS.y"]
    assert change([], mapfile_in=write("none"), newname="new2") == {}
    assert not (tmp_path / "new2").exists()


def test_second_parset_replaces_the_first(plugin, tmp_path):
    (tmp_path / "a").write_text("x = 1\ny = 'two'\n")
    (tmp_path / "b").write_text("x = 3\nz = [4]\n")
    names = {f"{which}_parset": str(tmp_path / name) for which, name in zip(("first", "second"), "ab", strict=True)}
    result = plugin("combineParsets")([], result_parset=str(tmp_path / "c"), **names)
    assert result == {"parset": str(tmp_path / "c_feedback_file")}
    assert (tmp_path / "c_feedback_file").read_text() == "x=3\ny='two'\nz=[4]\n"
    assert Parset(result["parset"]).getInt("x") == 3


# ---- expandMapfile, mapfileSingleToGroup, compressMapfile


@pytest.mark.parametrize("name", ["mapfile_to_match", "mapfile_ref"])
def test_single_file_is_repeated_for_entries(plugin, write, out, name):
    many = write("many", ("n1", "/a"), ("n2", "/b", True), ("n3", "/c"))
    result = plugin("expandMapfile")([], mapfile_in=write("one", ("h", "[/x,/y]")), **{name: many}, **out)
    assert _entries(result) == [("n1", "[/x,/y]", False), ("n2", "[/x,/y]", True), ("n3", "[/x,/y]", False)]


def test_expand_mapfile_refuses_wrong_maps(plugin, write, out):
    with pytest.raises(PipelineError, match="mapfile_to_match is missing"):
        plugin("expandMapfile")([], mapfile_in=write("one", ("h", "/x")), **out)
    with pytest.raises(PipelineError, match="it is empty; a map with one entry is needed"):
        plugin("expandMapfile")([], mapfile_in=write("none"), mapfile_ref=write("many", ("h", "/a")), **out)


def test_group_members_get_entries(plugin, write, out):
    models = write("models", ("n1", "/m1"), ("n2", "/m2"), ("n3", "/m3", True))
    groups = write("groups", ("n1", "['/a', '/b']"), ("n2", "[/c]", True), ("n3", "/d"))
    result = plugin("mapfileSingleToGroup")([], mapfile_in=models, mapfile_groups=groups, **out)
    expected = [("n1", "/m1", False), ("n1", "/m1", False), ("n2", "/m2", True), ("n3", "/m3", True)]
    assert _entries(result) == expected
    with pytest.raises(PipelineError, match=r"maps differ in length: 1 in .*one, 3 in .*groups"):
        plugin("mapfileSingleToGroup")([], mapfile_in=write("one", ("n", "/m")), mapfile_groups=groups, **out)


def test_compress_mapfile_limits_files_per_entry(plugin, write, out):
    mapfile = write("in", ("n1", "/a", True), ("n2", "/b"), ("n3", "/c"), ("n4", "/d"))
    compress = plugin("compressMapfile")
    assert _entries(compress([], mapfile, **out)) == [("n2", "[/b,/c,/d]", False)]
    for text in ("2", "2.0"):
        result = compress([], mapfile, nitems_to_compress=text, **out)
        assert _entries(result) == [("n2", "[/b,/c]", False), ("n4", "[/d]", False)]
    assert len(_entries(compress([], mapfile, nitems_to_compress="0", **out))) == 1
    with pytest.raises(PipelineError, match="nitems_to_compress is 'all'"):
        compress([], mapfile, nitems_to_compress="all", **out)
    with pytest.raises(PipelineError, match="groups and nitems_to_compress = 2 are given"):
        compress([], mapfile, nitems_to_compress="2", groups=mapfile, **out)


# ---- directories and results


def test_existing_directory_is_accepted(plugin, tmp_path):
    make = plugin("makeDirectory")
    for _ in range(2):
        assert make([], directory=str(tmp_path / "a" / "b")) == {}
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match="file: exists, but is no directory"):
        make([], directory=str(tmp_path / "file"))
    with pytest.raises(PipelineError, match="file/x: cannot be made: Not a directory"):
        make([], directory=str(tmp_path / "file" / "x"))


def test_results_map_changes_directory(plugin, write, tmp_path, out):
    results = plugin("makeResultsMapfile")
    mapfile = write("in", ("n1", "/w/a.ndppp.MS"), ("n2", "/w/b", True))
    target = str(tmp_path / "results")
    result = results([], mapfile_in=mapfile, target_dir=target, **out)
    assert _entries(result) == [("n1", f"{target}/a.ndppp.MS", False), ("n2", f"{target}/b", True)]
    assert not Path(target).exists()
    result = results([], mapfile_in=mapfile, target_dir=target, make_target_dir="true", new_suffix=".ms", **out)
    assert [entry[1] for entry in _entries(result)] == [f"{target}/a.ndppp.ms", f"{target}/b.ms"]
    assert Path(target).is_dir()
    result = results([], mapfile_in=mapfile, target_dir="/t/", new_suffix="", **out)
    assert [entry[1] for entry in _entries(result)] == ["/t/a.ndppp", "/t/b"]
    assert results([], mapfile_in=write("none"), target_dir="/t", **out) == {}


def test_results_map_refuses_invalid_targets(plugin, write, tmp_path, out):
    results = plugin("makeResultsMapfile")
    with pytest.raises(PipelineError, match="make_target_dir is 'maybe'; True or False is needed"):
        results([], mapfile_in=write("in", ("n", "/a")), target_dir="/t", make_target_dir="maybe", **out)
    with pytest.raises(PipelineError, match="'/w/a/' ends in no name"):
        results([], mapfile_in=write("in", ("n", "/w/a/")), target_dir="/t", **out)
    (tmp_path / "file").touch()
    target = str(tmp_path / "file")
    with pytest.raises(PipelineError, match=r"target_dir .*/file: cannot be made: File exists"):
        results([], mapfile_in=write("in", ("n", "/a")), target_dir=target, make_target_dir="1", **out)


def test_prune_mapfile_removes_matches(plugin, write, out):
    mapfile = write("in", ("n1", "/a"), ("n2", "none"), ("n3", "/b", True), ("n4", "None,x"))
    result = plugin("pruneMapfile")([], mapfile_in=mapfile, prune_str="NONE", **out)
    assert _entries(result) == [("n1", "/a", False), ("n3", "/b", True)]
    assert _entries(plugin("pruneMapfile")([], mapfile_in=mapfile, prune_str="", **out)) == []


def test_add_list_mapfile_accepts_map(plugin, write, tmp_path, out):
    mapfile = write("list", ("h", "[/a.skymodel,/b.skymodel]"))
    result = plugin("addListMapfile")([], hosts="['localhost']", files=mapfile, **out)
    assert _entries(result) == [("localhost", "/a.skymodel", False), ("localhost", "/b.skymodel", False)]
    plain = tmp_path / "c.skymodel"
    plain.write_text("# a sky model\n")
    assert _entries(plugin("addListMapfile")([], hosts="[n]", files=str(plain), **out)) == [("n", str(plain), False)]
