"""Mapfiles, shipped plugins and later additions (doc/spec/lofarpipe.md, sections 5.1, 5.2, 5.4 and 14)."""

import pytest

from lofarpipe.support.data_map import DataMap

SHOW = """
s.control.type = executable_args
s.control.executable = @/bin/show
s.control.inputkey = in
s.argument.flags = [in]
"""


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("[{'host': 'localhost', 'file': '/d/a', 'skip': False}]", ["/d/a"]),
        ("[\n {'file': '/d/a',\n  'skip': False, 'host': 'localhost'},\n]\n", ["/d/a"]),
        ("[('localhost', '/d/a', False), ('localhost', '/d/b', True)]", ["/d/a"]),
        ("[('localhost', '/d/a')]", []),
        ("[{'host': 'localhost', 'file': ['/d/a', '/d/b'], 'skip': False}]", ["['/d/a', '/d/b']"]),
        ("[{'host': 'localhost', 'file': '[/d/a,/d/b]', 'skip': False}]", ["[/d/a,/d/b]"]),
        (
            "[{'host': 'h',  'skip': False, 'file': \"['/d/a', '/d/b']\", 'file_skip' : [False, False]}]",
            None,
        ),
        ("[{'host': 'localhost', 'file': \"/d/it's\", 'skip': False}]", ["/d/it's"]),
        ("[]", []),
        ("__import__('os').system('touch run')", None),
    ],
)
def test_every_map_notation_is_read(site, text, files):
    """Section 5.1: dicts, tuples, pretty printed, both kinds of list; nothing is evaluated."""
    (site.here / "data/m").write_text(text)
    status = site.run(f"pipeline.steps = [s]\n{SHOW}s.control.mapfile_in = @/data/m\n")
    assert status == (1 if files is None else 0)
    assert [args[0] for args in site.args()] == (files or [])


def test_fresh_maps_share_nothing():
    """Sections 0.4 and 5.2, fix."""
    first = DataMap()
    first.append(("h", "f"))
    assert len(DataMap()) == 0


def test_createmapfile_selects_and_groups_files(site):
    """Section 5.4: glob text, exclusion, one entry of all, a suffix, and chunks."""
    for name in ("A_SB001.MS", "B_SB002.MS", "C_SB010.MS", "x.txt"):
        (site.here / "data" / name).mkdir()
    common = "{0}.control.kind = plugin\n{0}.control.type = createMapfile\n{0}.control.mapfile_dir = @/data\n"
    text = "pipeline.steps = [mk, not, one, more, split]\n"
    text += "".join(
        common.format(name) + f"{name}.control.filename = {name}\n" for name in ("mk", "not", "one", "more", "split")
    )
    text += "mk.control.method = mapfile_from_folder\nmk.control.folder = @/data\nmk.control.pattern = *SB00[1-2].MS\n"
    text += "not.control.method = mapfile_from_folder\nnot.control.folder = @/data\nnot.control.pattern = *SB0*\n"
    text += "not.control.exclude_pattern = True\n"
    text += "one.control.method = mapfile_all_to_one\none.control.mapfile_in = mk.output.mapfile\n"
    text += "more.control.method = add_suffix_to_file\nmore.control.mapfile_in = mk.output.mapfile\n"
    text += "more.control.add_suffix_to_file = .x\n"
    text += "split.control.method = mapfile_split_list\nsplit.control.mapfile_in = mk.output.mapfile\n"
    text += "split.control.listsize = 1\n"
    assert site.run(text) == 0

    def files(name):
        loaded = DataMap.load(str(site.here / "data" / name)).data
        return [str(p.file).replace(str(site.here), "@") for p in loaded]

    assert files("mk") == ["@/data/A_SB001.MS", "@/data/B_SB002.MS"]
    assert "@/data/x.txt" in files("not")
    assert not any("SB0" in name for name in files("not"))
    assert files("one") == ["['@/data/A_SB001.MS', '@/data/B_SB002.MS']"]
    assert files("more") == ["@/data/A_SB001.MS.x", "@/data/B_SB002.MS.x"]
    assert files("split") == ["['@/data/A_SB001.MS']", "['@/data/B_SB002.MS']"]


def test_list_and_copy_plugins_work(site):
    """Section 14: addListMapfile makes a map of names, copyFiles copies the first product to them."""
    (site.here / "data/in.txt").write_text("x")
    text = """
pipeline.steps = [add, copy]
add.control.kind = plugin
add.control.type = addListMapfile
add.control.hosts = [localhost]
add.control.files = [@/data/in.txt]
add.control.mapfile_dir = input.output.mapfile_dir
add.control.filename = add.mapfile
add.control.check_files_exist = True
copy.control.kind = plugin
copy.control.type = copyFiles
copy.control.hosts = [localhost]
copy.control.input_file = @/data/in.txt
copy.control.output_files = [@/data/out1.txt, @/data/out2.txt]
copy.control.use_symlinks = True
copy.control.mapfile_dir = input.output.mapfile_dir
copy.control.filename = copy.mapfile
"""
    assert site.run(text) == 0
    assert site.map("add") == [("@/data/in.txt", False)]
    assert [file for file, _ in site.map("copy")] == ["@/data/out1.txt", "@/data/out2.txt"]
    assert (site.here / "data/out2.txt").read_text() == "x"


@pytest.mark.parametrize("line", ["f.control.product_typ = SkyImage", "f.control.max_per_node = x"])
def test_feedback_keys_are_checked_on_reach(site, error, line):
    """Section 14: kind ``feedback`` has keys and types of its own."""
    site.mapfile("m", "/d/a.fits")
    text = f"""
pipeline.steps = [s, f]
{SHOW}s.control.mapfile_in = @/data/m
f.control.kind = feedback
f.control.mapfile_in = @/data/m
f.control.metadata_file = @/data/metadata
{line}
"""
    assert site.run(text) == 1
    assert site.args() == [["/d/a.fits"]]
    assert line.split(" ")[0] in error()


def test_old_metadata_recipe_is_feedback_step(site, error):
    """Sections 4.8 and 9.1: get_metadata takes its map by position, and is a feedback step."""
    (site.here / "data/a.fits").write_text("no image")
    site.mapfile("m", f"{site.here}/data/a.fits")
    with (site.here / "tasks.cfg").open("a") as tasks:
        tasks.write("\n[get_metadata]\nrecipe = get_metadata\n")
    text = """
pipeline.steps = [f]
f.control.type = get_metadata
f.control.cmdline.map = @/data/m
f.control.metadata_file = @/data/metadata
f.control.product_type = SkyImage
"""
    assert site.run(text) == 1
    assert "a.fits" in error()
