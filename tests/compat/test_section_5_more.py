"""Mapfiles as text, the Python API, and the older plugins (doc/spec/lofarpipe.md, sections 5.1 to 5.4 and 14)."""

import pytest

from lofarpipe.support.data_map import (
    DataMap,
    DataMapError,
    DataProduct,
    MultiDataMap,
    align_data_maps,
    validate_data_maps,
)


def test_saved_map_is_one_line(tmp_path):
    """Section 5.1: a list of dicts with host, file and skip in this order; a quote in a name survives (fix)."""
    products = [DataProduct("localhost", "/path/a.MS", False), DataProduct("n2", "it's", True)]
    DataMap(products).save(str(tmp_path / "map"))
    assert (tmp_path / "map").read_text() == (
        "[{'host': 'localhost', 'file': '/path/a.MS', 'skip': False}, {'host': 'n2', 'file': \"it's\", 'skip': True}]"
    )
    assert DataMap.load(str(tmp_path / "map")).data == products


def test_multi_map_survives_round_trip(tmp_path):
    """Section 5.1: two blanks after host, one before the colon."""
    text = "[{'host': 'h',  'skip': False, 'file': \"['/a', '/b']\", 'file_skip' : [False, False]}]"
    (tmp_path / "map").write_text(text)
    loaded = MultiDataMap.load(str(tmp_path / "map"))
    loaded.save(str(tmp_path / "again"))
    assert (tmp_path / "again").read_text() == text


def test_product_has_host_file_and_skip():
    """Section 5.2: text and bool, attributes that can be assigned, equality in all three, ``host:file``."""
    product = DataProduct("h", 3)
    assert (product.host, product.file, product.skip) == ("h", "3", True)
    product.file = ["/a", "/b"]
    assert product.file == ["/a", "/b"]
    assert str(DataProduct("h", "f", False)) == "h:f"
    assert DataProduct("h", "f", False) == DataProduct("h", "f", False)
    assert DataProduct("h", "f", False) != DataProduct("h", "f", True)


def test_map_is_list_of_products():
    """Section 5.2: assignment, append, iteration, slices and comparison."""
    made = DataMap([("h", "a", False), ("h", "b", True), ("h", "c", False)])
    assert made == DataMap([{"host": p.host, "file": p.file, "skip": p.skip} for p in made.data])
    made.data.append(DataProduct("h", "d", True))
    made.append(("h", "e"))
    made.append(("h", "f", True), dtype=DataProduct)
    assert (len(made), bool(DataMap([])), made[4].skip) == (6, False, False)
    assert [product.file for product in made[1:3]] == ["b", "c"]
    made.iterator = DataMap.SkipIterator
    assert [product.file for product in made] == ["a", "c", "e"]
    made.iterator = DataMap.TupleIterator
    assert next(made.iterator(made.data)) == ("h", "a")
    made.iterator = iter
    assert len(list(made)) == 6
    assert made == DataMap(made.data)
    assert DataMap([("h", "a", False)]) != DataMap([("h", "b", False)])
    made._data = []
    assert made.data == []
    made.data = [("h", "g")]
    assert made.data[0].skip
    with pytest.raises(DataMapError):
        DataMap([3])


def test_matching_maps_are_aligned():
    """Section 5.2: equal lengths and hosts; skip is that of any of them."""
    one, two = DataMap([("h", "a", False), ("i", "b", True)]), DataMap([("h", "c", True), ("i", "d", False)])
    assert validate_data_maps(one, two)
    assert not validate_data_maps(one, DataMap([("h", "c", True)]))
    assert not validate_data_maps(one, DataMap([("h", "c", True), ("j", "d", False)]))
    align_data_maps(one, two)
    assert [p.skip for p in (*one.data, *two.data)] == [True] * 4


def _files(site, name):
    return [str(p.file).replace(str(site.here), "@") for p in DataMap.load(str(site.here / "data" / name)).data]


PLUGIN = "{0}.control.kind = plugin\n{0}.control.type = {1}\n"


def test_changemapfile_rewrites_map(site):
    """Section 5.4: a new file beside the old one, or the old one itself."""
    site.mapfile("m", "/d/a.MS", "/d/b.MS")
    text = (
        "pipeline.steps = [new, old, x]\n"
        + PLUGIN.format("new", "changeMapfile")
        + PLUGIN.format("old", "changeMapfile")
    )
    text += "new.control.mapfile_in = @/data/m\nnew.control.join_files = SPECTRAL_WINDOW\nnew.control.newname = n\n"
    text += "old.control.mapfile_in = @/data/m\nold.control.add_name = .h5\n"
    text += PLUGIN.format("x", "seen") + "x.control.maps = new.output.mapfile old.output.mapfile\n"
    site.plugin("seen")
    assert site.run(text) == 0
    assert _files(site, "n") == ["/d/a.MS/SPECTRAL_WINDOW", "/d/b.MS/SPECTRAL_WINDOW"]
    assert _files(site, "m") == ["/d/a.MS.h5", "/d/b.MS.h5"]
    assert site.calls()[0]["kwargs"]["maps"] == f"{site.here}/data/n {site.here}/data/m"


def test_combineparsets_merges_parsets(site):
    """Section 5.4: the second replaces the first; the name has ``_feedback_file`` at its end."""
    (site.here / "a").write_text("x=1\ny=1\n")
    (site.here / "b").write_text("y='2'\nz=2\n")
    text = "pipeline.steps = [c]\n" + PLUGIN.format("c", "combineParsets")
    text += "c.control.first_parset = @/a\nc.control.second_parset = @/b\nc.control.result_parset = @/c\n"
    assert site.run(text) == 0
    assert (site.here / "c_feedback_file").read_text() == "x=1\ny='2'\nz=2\n"


def test_addmapfile_writes_map(site):
    """Section 5.4: the method is the positional argument; there is no pattern."""
    for name in ("a.MS", "b.MS"):
        (site.here / "data" / "in" / name).mkdir(parents=True)
    text = "pipeline.steps = [mk, one]\n" + PLUGIN.format("mk", "addMapfile") + PLUGIN.format("one", "addMapfile")
    text += "mk.control.cmdline.x = mapfile_from_folder\nmk.control.folder = @/data/in\n"
    text += "one.control.cmdline.x = mapfile_all_to_one\none.control.mapfile_in = mk.output.mapfile\n"
    text += "".join(f"{n}.control.mapfile_dir = @/data\n{n}.control.filename = {n}\n" for n in ("mk", "one"))
    assert site.run(text) == 0
    assert _files(site, "mk") == ["@/data/in/a.MS", "@/data/in/b.MS"]
    assert _files(site, "one") == ["[@/data/in/a.MS,@/data/in/b.MS]"]


@pytest.mark.parametrize(
    ("lines", "files"),
    [
        ("pattern = L?_(33[8-9]|3[4-9]?).MS", ["L1_338.MS", "L1_340.MS"]),
        ("pattern = L1_33", []),
        ("pattern = L1.33*", []),
        ("pattern = *.MS\n{0}exclude_pattern = True", ["L1_338.MSx"]),
        ("pattern = *.MS\n{0}exclude_pattern = False", ["L1_330.MS", "L1_338.MS", "L1_340.MS"]),
        ("pattern = *x\n{0}add_suffix = /sub", ["L1_338.MSx/sub"]),
    ],
)
def test_createmapfile_matches_patterns(site, lines, files):
    """Section 5.4: anchored, a dot is a dot, ``?`` one character; other regular expressions pass through."""
    folder = site.here / "data" / "in"
    folder.mkdir()
    for name in ("L1_338.MS", "L1_340.MS", "L1_330.MS", "L1_338.MSx"):
        (folder / name).mkdir()
    block = "mk.control."
    text = f"pipeline.steps = [mk]\n{PLUGIN.format('mk', 'createMapfile')}{block}method = mapfile_from_folder\n"
    text += (
        f"{block}folder = @/data/in\n{block}mapfile_dir = @/data\n{block}filename = mk\n{block}{lines.format(block)}\n"
    )
    assert site.run(text) == 0
    made = site.here / "data" / "mk"
    assert [name.replace("@/data/in/", "") for name in (_files(site, "mk") if made.exists() else [])] == files


def test_all_to_one_groups_by_host(site):
    """Section 5.4: one entry per host, in order of appearance; skipped products are omitted."""
    products = [("b", "/1", False), ("a", "/2", False), ("b", "/3", False), ("a", "/4", True)]
    DataMap(products).save(str(site.here / "data" / "m"))
    text = "pipeline.steps = [one]\n" + PLUGIN.format("one", "createMapfile")
    text += "one.control.method = mapfile_all_to_one\none.control.mapfile_in = @/data/m\n"
    assert site.run(f"{text}one.control.mapfile_dir = @/data\none.control.filename = one\n") == 0
    loaded = DataMap.load(str(site.here / "data" / "one")).data
    assert [(p.host, p.file) for p in loaded] == [("b", "['/1', '/3']"), ("a", "['/2']")]


@pytest.mark.parametrize(
    ("task", "args"), [("dp3", ["msin=/d/a.MS", "msout=@/work/p/a.s"]), ("wsclean", ["-x", "1", "/d/a.MS"])]
)
def test_documented_task_types_work(site, task, args):
    """Section 14: ``dp3`` as ``dppp``, ``wsclean`` with its format; here they are there without a task file."""
    site.mapfile("one", "/d/a.MS")
    config = site.here / "pipeline.cfg"
    config.write_text(config.read_text().replace(f"task_files = [{site.here}/tasks.cfg]\n", ""))
    text = f"pipeline.steps = [s]\ns.control.type = {task}\ns.control.executable = @/bin/show\ns.control.program =\n"
    text += "s.control.mapfile_in = @/data/one\ns.control.inputkey = msin\n"
    text += "s.argument.msout = .\n" if task == "dp3" else "s.argument.x = 1\ns.argument.flags = [msin]\n"
    assert site.run(text) == 0
    given = site.args("show")[0]
    assert given == (args if task == "wsclean" else args[::-1])


def test_feedback_step_describes_products(site):
    """With the keys of all products (doc/spec/lofarpipe.md, sections 9.3 and 14)."""
    (site.here / "data/thing").mkdir()
    (site.here / "data/thing/f").write_text("x" * 10)
    site.mapfile("m", f"{site.here}/data/thing")
    text = """
pipeline.steps = [f]
f.control.kind = feedback
f.control.mapfile_in = @/data/m
f.control.metadata_file = @/data/metadata
f.control.product_type = InstrumentModel
f.control.parset_prefix = P
"""
    assert site.run(text) == 0
    written = (site.here / "data/metadata").read_text().splitlines()
    assert written[0] == "P.nrOfOutput_InstrumentModel_=1"
    assert "P.Output_InstrumentModel_[0].filename=thing" in written
    assert "P.Output_InstrumentModel_[0].size=10" in written
