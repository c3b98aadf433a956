"""The plugins that make maps from files and from other maps."""

import pytest

from loading import load_script
from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap, DataProduct


@pytest.fixture
def plugin():
    return lambda name: load_script(f"PipelineStep_{name}")


@pytest.fixture
def write(tmp_path):
    def write(name, *files, skip=(), host="localhost"):
        path = tmp_path / name
        DataMap([DataProduct(host, file, i in skip) for i, file in enumerate(files)]).save(str(path))
        return str(path)

    return write


def _files(result):
    return [product.file for product in DataMap.load(result["mapfile"]).data]


def test_listed_files_get_hosts_in_turn(plugin, tmp_path):
    names = [tmp_path / name for name in ("a", "b", "c")]
    for name in names:
        name.touch()
    result = plugin("addListMapfile").plugin_main(
        [], "[n1, n2]", f"[{','.join(map(str, names))}]", str(tmp_path), "m", check_files_exist="True"
    )
    products = DataMap.load(result["mapfile"]).data
    assert [(p.host, p.file, p.skip) for p in products] == [
        ("n1", str(names[0]), False),
        ("n2", str(names[1]), False),
        ("n1", str(names[2]), False),
    ]


def test_words_without_file_stay_values(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.MS").mkdir()
    add = plugin("addListMapfile")
    given = {"hosts": "[h]", "files": "[1024, b.MS, no/c.MS, 5deg, 'x*']", "mapfile_dir": str(tmp_path)}
    result = add.plugin_main([], filename="m", check_files_exist="0", more="", **given)
    assert _files(result) == ["1024", f"{tmp_path}/b.MS", f"{tmp_path}/no/c.MS", "5deg", "x*"]
    wrong = "check_files_exist is 'maybe'; True or False is needed"
    assert add.plugin_check([], check_files_exist="maybe") == [wrong]
    with pytest.raises(PipelineError, match=wrong):
        add.plugin_main([], filename="m", check_files_exist="maybe", **given)


def test_missing_file_is_named(plugin, tmp_path):
    with pytest.raises(PipelineError, match=r"nowhere.MS"):
        plugin("addListMapfile").plugin_main(
            [], "[localhost]", "[/nowhere.MS]", str(tmp_path), "m", check_files_exist="True"
        )


def test_empty_list_is_refused(plugin, tmp_path):
    with pytest.raises(PipelineError, match=r"files is '\[\]'; at least one file is needed"):
        plugin("addListMapfile").plugin_main([], "[localhost]", "[]", str(tmp_path), "m")


def test_missing_column_lists_existing_columns(plugin, tmp_path, hba_set):
    with pytest.raises(PipelineError, match=r"it has no column NOSUCH; it has: .*DATA"):
        plugin("addListMapfile").plugin_main(
            [], "[localhost]", f"[{hba_set}]", str(tmp_path), "m", check_ms_column="NOSUCH"
        )
    result = plugin("addListMapfile").plugin_main(
        [], "[localhost]", f"[{hba_set}]", str(tmp_path), "m", check_ms_column="foursources_DATA"
    )
    assert _files(result) == [str(hba_set)]


def test_files_are_joined_into_one_entry(plugin, write, tmp_path):
    mapfile = write("in", "/a.MS", "/b.MS", "/c.MS", skip=[1])
    result = plugin("compressMapfile").plugin_main([], mapfile, str(tmp_path), "out")
    assert _files(result) == ["[/a.MS,/c.MS]"]


def test_lists_are_joined_flat(plugin, write, tmp_path):
    mapfile = write("in", "[/a.MS,/b.MS]", "['/c.MS', '/d.MS']", "/e.MS")
    assert _files(plugin("compressMapfile").plugin_main([], mapfile, str(tmp_path), "out")) == [
        "[/a.MS,/b.MS,/c.MS,/d.MS,/e.MS]"
    ]


def test_group_size_counts_files(plugin, write, tmp_path):
    """Files are counted, and not entries, which may be lists."""
    mapfile = write("in", "[/a,/b,/c]", "/d", "/e", skip=[2])
    result = plugin("compressMapfile").plugin_main([], mapfile, str(tmp_path), "out", nitems_to_compress="2")
    assert _files(result) == ["[/a,/b]", "[/c,/d]"]


def test_list_format_separates_with_spaces(plugin, write, tmp_path):
    join = plugin("compressMapfile")
    mapfile = write("in", "/a", "[/b,/c]")
    assert _files(join.plugin_main([], mapfile, str(tmp_path), "out", list_format="false")) == ["/a /b /c"]
    wrong = "list_format is 'no'; True or False is needed"
    assert join.plugin_check([], list_format="no") == [wrong]
    with pytest.raises(PipelineError, match=wrong):
        join.plugin_main([], mapfile, str(tmp_path), "out", list_format="no")


def test_groups_become_entries(plugin, write, tmp_path):
    averaged = write("averaged", "/w/a", "/w/b", "/w/c", "/w/d", skip=[3])
    members = write("members", "/a.MS", "/b.MS", "/c.MS", "/d.MS")
    groups = write("groups", "[/c.MS,/a.MS]", "[/b.MS,/d.MS]")
    result = plugin("compressMapfile").plugin_main([], averaged, str(tmp_path), "out", groups, members)
    assert _files(result) == ["[/w/c,/w/a]", "[/w/b]"]


def test_compress_mapfile_refuses_wrong_maps(plugin, write, tmp_path):
    join = plugin("compressMapfile").plugin_main
    with pytest.raises(PipelineError, match=r"every product is skipped"):
        join([], write("in", "/a", skip=[0]), str(tmp_path), "out")
    with pytest.raises(PipelineError, match=r"maps differ in length: 1 in .*, 2 in"):
        join([], write("in", "/a"), str(tmp_path), "out", write("g", "[/a]"), write("m", "/a", "/b"))
    with pytest.raises(PipelineError, match=r"g: /x is not among the members"):
        join([], write("in", "/a"), str(tmp_path), "out", write("g", "[/x]"))


def test_file_names_in_maps_become_values(plugin, write):
    module = plugin("mapfilenamesFromMapfiles")
    result = module.plugin_main([], mapfile_single_map=write("m", "/j/single"), mapfile_in_vain=write("n", "x"))
    assert result == {"single_map": "/j/single", "in_vain": "x"}
    assert module.plugin_outputs(mapfile_single_map="a.output.b", other="c") == ["single_map"]
    with pytest.raises(PipelineError, match=r"it has 2 entries; a map with one is needed"):
        module.plugin_main([], mapfile_x=write("m", "a", "b"))


def test_folder_contents_become_a_map(plugin, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("L1_SB001.MS", "L1_SB002.MS", "L1_SB010.MS", "notes.txt"):
        (folder / name).touch()

    def files(**kwargs):
        kwargs = {"method": "mapfile_from_folder", "folder": str(folder), **kwargs}
        result = plugin("createMapfile").plugin_main([], mapfile_dir=str(tmp_path), filename="m", **kwargs)
        return [file.removeprefix(f"{folder}/") for file in _files(result)] if result else result

    assert files(pattern="*.MS") == ["L1_SB001.MS", "L1_SB002.MS", "L1_SB010.MS"]
    assert files(pattern="L1_SB00?.MS") == ["L1_SB001.MS", "L1_SB002.MS"]
    assert files(pattern="L1_SB0(02|10).MS") == ["L1_SB002.MS", "L1_SB010.MS"]
    assert files(pattern="*.MS", exclude_pattern="True") == ["notes.txt"]
    assert files(pattern="*.txt", add_suffix="/x") == ["notes.txt/x"]
    assert files(pattern="nothing") == {}


def test_create_mapfile_transforms_maps(plugin, write, tmp_path):
    mapfile = write("in", "/a", "/b", "/c", skip=[1])

    def files(method, **kwargs):
        return _files(
            plugin("createMapfile").plugin_main(
                [], method=method, mapfile_in=mapfile, mapfile_dir=str(tmp_path), filename="m", **kwargs
            )
        )

    assert files("mapfile_all_to_one") == ["['/a', '/c']"]
    assert files("mapfile_split_list", listsize="1") == ["['/a']", "['/c']"]
    assert files("add_suffix_to_file", add_suffix_to_file=".h5") == ["/a.h5", "/b.h5", "/c.h5"]
    with pytest.raises(PipelineError, match=r"did you mean 'mapfile_all_to_one'"):
        files("mapfile_all_to_on")
