import contextlib
import re
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.support import parset as parset_entries
from lofarpipe.support.parset import (
    Entry,
    MissingKeyError,
    Parset,
    ParsetError,
    get_parset,
    patch_parset,
    patched_parset,
)

TEXT = """\
# the options
! data = [/a.MS, /b.MS]  ## input sets
!size = 1.5
pipeline.replace.root = {{ data }}/x
pipeline.steps = [one, two]
two.control.type = dppp
two.argument.flags = ["a,b", 'c d']
one.control.type = 'plain'
two.control.type = dp3  ## again
"""


@pytest.fixture
def parset():
    return Parset.parse(TEXT, "x.parset")


def test_parset_keeps_order_of_file(parset):
    assert list(parset) == [
        "! data",
        "! size",
        "pipeline.replace.root",
        "pipeline.steps",
        "two.control.type",
        "two.argument.flags",
        "one.control.type",
    ]
    assert len(parset) == parset.size() == 7
    assert repr(parset) == "<Parset of 7 keys>"


def test_last_duplicate_keeps_first_place(parset):
    assert parset.entry("two.control.type") == Entry("two.control.type", "dp3", "x.parset", 9, "again")


def test_raw_values_keep_quotes(parset):
    assert parset["one.control.type"] == "'plain'"
    assert parset.get("one.control.type") == "'plain'"
    assert parset.get("nope") is None
    assert parset.get("nope", "x") == "x"


def test_values_have_historical_accessors(parset):
    parset.set("b", "'yes'")
    parset.set("i", "0x10")
    assert parset["one.control.type"].get() == "'plain'"
    assert type(parset["one.control.type"].get()) is str
    assert parset["one.control.type"].getString() == "plain"
    assert parset["two.argument.flags"].getStringVector() == ["a,b", "c d"]
    assert parset["b"].getBool() is True
    assert parset["i"].getInt() == 16


@pytest.mark.parametrize("key", ["! size", "!size", "!  size"])
def test_definition_spelling_does_not_matter(parset, key):
    assert key in parset
    assert parset[key] == "1.5"


def test_missing_key_names_nearest(parset):
    with pytest.raises(MissingKeyError) as error:
        parset["pipeline.step"]
    assert str(error.value) == "no key 'pipeline.step' in the parset; did you mean 'pipeline.steps'?"
    assert isinstance(error.value, KeyError)
    assert 3 not in parset


def test_set_keeps_place_and_comment(parset):
    parset.set("!data", "[]", "command line")
    assert next(iter(parset)) == "! data"
    assert parset.entry("! data") == Entry("! data", "[]", "command line", 0, "input sets")
    parset.set("new", "1", "y", 3, "what it is")
    assert list(parset)[-1] == "new"
    assert parset.entry("new").where == "y:3"


@pytest.mark.parametrize(("key", "value"), [("a", "1\nb = 2"), ("a\n", "1"), ("a", "\0"), ("", "1"), ("a", "b\rc")])
def test_set_refuses_unreadable_values(parset, key, value):
    with pytest.raises(ParsetError, match=r"keys and values are one line$"):
        parset.set(key, value)


def test_adopt_overrides_in_place(parset):
    parset.adopt(Parset.parse("extra = 1\n! size = 3\nstray\n", "field.parset"))
    assert [*parset][1] == "! size"
    assert parset.entry("! size") == Entry("! size", "3 stray", "field.parset", 2)
    assert [*parset][-1] == "extra"
    assert [str(oddity.where) for oddity in parset.oddities] == ["field.parset:3"]


def test_repeated_key_gives_finding():
    text = "a = 1\n! b = x\na = 2\na = 2\n! b = y\nc = 1\n"
    parset = Parset.parse(text, "field.parset")
    told = [
        "field.parset:3: a is set again, to another value than in line 1; the last one counts",
        "field.parset:5: ! b is set again, to another value than in line 2; the last one counts",
    ]
    assert [str(finding) for finding in parset.repeated] == told
    assert (parset["a"], parset["! b"]) == ("2", "y")
    base = Parset.parse("a = 0\nc = 0\n", "base.parset")
    base.adopt(parset)  # a file may override another
    assert [str(finding) for finding in base.substituted().repeated] == told


def test_adopt_ignores_spelling_of_definition(parset):
    parset.adopt(Parset.parse("! root = /r\npipeline.replace.size = 3", "field.parset"))
    assert parset.entry("pipeline.replace.root").where == "field.parset:1"
    assert parset["! size"] == "3"
    assert len(parset) == 7


def test_adopted_definition_may_use_earlier_definition():
    base = Parset.parse("! a = 1\n! root = x\n! plots = {{ root }}-plots\nk = {{ plots }}")
    base.adopt(Parset.parse("! mine = {{ a }}/m\ns.type = y\n! and = {{ mine }}\n! root = {{ and }}/r\n! last = z"))
    assert list(base) == ["! a", "! mine", "! and", "! root", "! plots", "k", "s.type", "! last"]
    assert base.substituted()["k"] == "1/m/r-plots"


def test_subset_strips_prefix(parset):
    block = parset.subset("two")
    assert list(block) == ["control.type", "argument.flags"]
    assert block.entry("control.type").where == "x.parset:9"
    assert len(parset.subset("tw")) == 0
    assert isinstance(block, Parset)


def test_definitions_keep_first_appearance_order():
    parset = Parset.parse("! b = 1\npipeline.replace.a = 2\n!c=3\n! b = 4\npipeline.replace.b = 5\nb = 6")
    assert [(name, entry.value) for name, entry in parset.definitions().items()] == [("b", "5"), ("a", "2"), ("c", "3")]


def test_substitution_replaces_definitions(monkeypatch):
    monkeypatch.setenv("WHERE", "/opt")
    text = "! a = $WHERE/1\n! b = {{ a }}, {{ c }}\n! c = 3\nk = x{{ b }} {{ nope }} $WHERE\npipeline.steps = [{{ c }}]"
    result = Parset.parse(text).substituted()
    assert [(key, str(result[key])) for key in result] == [
        ("! a", "/opt/1"),
        ("! b", "/opt/1, 3"),
        ("! c", "3"),
        ("k", "x/opt/1, {{ c }} {{ nope }} $WHERE"),
        ("pipeline.steps", "[3]"),
    ]
    assert result.placeholders("k") == ["c", "nope"]
    assert result.entry("k").line == 4


def test_keys_are_not_substituted():
    assert list(Parset.parse("! a = 1\n{{ a }}.b = 2").substituted()) == ["! a", "{{ a }}.b"]


def test_values_convert_to_types(parset):
    parset.adopt(Parset.parse("yes = 'True'\nnumber = 12", "y"))
    assert parset.string("one.control.type") == parset.getString("one.control.type") == "plain"
    assert parset.vector("pipeline.steps") == parset.getStringVector("pipeline.steps") == ["one", "two"]
    assert parset.boolean("yes") is parset.getBool("yes") is True
    assert parset.integer("number") == parset.getInt("number") == 12


def test_defaults_apply_to_missing_keys_only(parset):
    assert parset.getString("nope", "") == ""
    assert parset.getStringVector("nope", ["x"]) == ["x"]
    assert parset.getBool("nope", False) is False
    assert parset.getInt("nope", 7) == 7
    assert parset.getString("one.control.type", "x") == "plain"
    with pytest.raises(MissingKeyError):
        parset.getInt("nope")


@pytest.mark.parametrize("method", ["integer", "boolean", "getInt", "getBool"])
def test_wrong_type_names_file_and_line(parset, method):
    with pytest.raises(ParsetError, match=r"^x\.parset:8: one\.control\.type: 'plain' is neither|not a whole number"):
        getattr(parset, method)("one.control.type")


def test_keys_are_raw_left_hand_sides(parset):
    assert parset.keys == [
        "# the options",
        "! data",
        "!size",
        "pipeline.replace.root",
        "pipeline.steps",
        "two.control.type",
        "two.argument.flags",
        "one.control.type",
        "two.control.type",
    ]
    parset.add("z", 3)
    assert parset.keys[-2:] == ["two.control.type", "z"]
    parset.replace("z", 4)
    assert parset.keys[-2:] == ["two.control.type", "z"]
    assert parset["z"] == "4"


def test_remove_deletes_key(parset):
    parset.remove("two.control.type")
    parset.remove("!size")
    parset.remove("never there")
    assert not parset.isDefined("two.control.type")
    assert "! size" not in parset
    assert parset.keys == [
        "# the options",
        "! data",
        "pipeline.replace.root",
        "pipeline.steps",
        "two.argument.flags",
        "one.control.type",
    ]


def test_make_subset_replaces_prefix(parset):
    assert list(parset.makeSubset("two.control.")) == ["type"]
    assert list(parset.makeSubset("two.control.", "step.")) == ["step.type"]
    assert len(parset.makeSubset("")) == len(parset)


def test_adopt_file_adds_prefix(parset, tmp_path):
    (tmp_path / "more.parset").write_text("type = x\n")
    parset.adoptFile(tmp_path / "more.parset", "one.control.")
    assert parset["one.control.type"] == "x"
    assert parset.entry("one.control.type").where == f"{tmp_path}/more.parset:1"


def test_adopting_empty_file_changes_nothing(parset, tmp_path):
    path = tmp_path / "empty.parset"
    path.write_text("# nothing\n")
    parset.adoptFile(path)
    assert len(parset) == 7


def test_parset_is_written_in_byte_order(parset, tmp_path):
    path = tmp_path / "out.parset"
    parset.set("Z", "ä")
    parset.writeFile(path)
    assert path.read_text().splitlines() == [
        "! data=[/a.MS, /b.MS]",
        "! size=1.5",
        "Z=ä",
        "one.control.type='plain'",
        "pipeline.replace.root={{ data }}/x",
        "pipeline.steps=[one, two]",
        "two.argument.flags=[\"a,b\", 'c d']",
        "two.control.type=dp3",
    ]
    assert parset.keywords() == list(Parset.read(path))
    assert get_parset(str(path))["Z"] == "ä"
    assert [path.name for path in tmp_path.iterdir()] == ["out.parset"]


def test_dictionary_becomes_parset():
    parset = Parset.fromDict({"b": 1, "a": [1, 2]})
    assert [(key, parset[key]) for key in parset] == [("b", "1"), ("a", "[1, 2]")]


def test_patched_parset_has_new_values(parset, tmp_path):
    name = patch_parset(parset, {"one.control.type": "new", "extra": 3}, tmp_path)
    patched = Parset(name)
    assert (patched["one.control.type"], patched["extra"]) == ("new", "3")
    assert parset["one.control.type"] == "'plain'"
    assert Path(patch_parset(name, {}, tmp_path)).read_text() == Path(name).read_text()


def test_patched_parset_is_removed(parset, tmp_path):
    with patched_parset(parset, {"extra": 3}, tmp_path) as name:
        assert Parset(name)["extra"] == "3"
    assert not Path(name).exists()
    with patched_parset(parset, {}, tmp_path, unlink=False) as name:
        pass
    assert Path(name).exists()


def test_missing_file_is_error(tmp_path):
    with pytest.raises(ParsetError, match=re.escape(f"{tmp_path}/no: cannot be read: No such file or directory")):
        Parset.read(tmp_path / "no")
    with pytest.raises(ParsetError, match=re.escape(f"{tmp_path}: cannot be read: Is a directory")):
        Parset.read(tmp_path)


def test_byte_order_mark_and_latin1_are_read(tmp_path):
    path = tmp_path / "x.parset"
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = caf\xe9\r\n")
    with pytest.raises(ParsetError, match=r"x\.parset:2: byte 0xe9 is not UTF-8"):
        Parset.read(path)
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\n")
    assert list(Parset.read(path)) == ["a"]


def test_endless_file_is_refused():
    with pytest.raises(ParsetError, match=r"^/dev/zero: more than \d+ characters; that is no parset$"):
        Parset.read("/dev/zero")


def test_blocks_are_found_after_every_change(parset):
    assert list(parset.subset("one")) == ["control.type"]
    parset.set("one.argument.x", "1")
    assert list(parset.subset("one")) == ["control.type", "argument.x"]
    parset.remove("one.control.type")
    assert list(parset.subset("one")) == ["argument.x"]
    assert list(parset.makeSubset("one.arg", "b")) == ["bument.x"]
    assert list(parset.subset("nothing")) == []


def test_subset_searches_own_block_only(monkeypatch):
    parset = Parset.parse("".join(f"s{i}.a = 1\ns{i}.b = 2\n" for i in range(1000)))
    looked_at = []
    below = Parset._candidates
    monkeypatch.setattr(
        Parset, "_candidates", lambda self, prefix: looked_at.append(len(below(self, prefix))) or below(self, prefix)
    )
    assert [list(parset.subset(f"s{i}")) for i in range(1000)] == [["a", "b"]] * 1000
    assert sum(looked_at) == len(parset)


KEYS = st.text("abcXYZ012._-", min_size=1, max_size=20)
VALUES = st.one_of(
    st.text("abc XYZ012._-+*/,:;()[]{}$&<>|\u00e4\u03bb", max_size=40).map(str.strip),
    st.text("abc =#,'", max_size=20).map(lambda text: f'"{text}"'),
    st.lists(st.text("ab =#,", max_size=9)).map(str),
)


@given(st.dictionaries(KEYS, VALUES))
def test_written_parset_is_read_back(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "any.parset"
    written = Parset.fromDict(values)
    written.writeFile(path)
    read = Parset.read(path)
    assert {key: str(read[key]) for key in read} == values


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.parset"
    path.write_bytes(content)
    with contextlib.suppress(ParsetError):
        parset = Parset.read(path).substituted()
        for key in parset:
            for read in (parset.string, parset.vector, parset.boolean, parset.integer):
                with contextlib.suppress(ParsetError):
                    read(key)


def test_bool_vector_and_module_name_are_found():
    parset = Parset.parse("b.DataProducts.Output.skip = [0, True, 'n']\na.DataProducts = x\nc.d.DataProducts.e = 1\n")
    assert parset.getBoolVector("b.DataProducts.Output.skip") == [False, True, False]
    assert parset.getBoolVector("none", [True]) == [True]
    with pytest.raises(ParsetError, match="'x' is neither true nor false"):
        parset.getBoolVector("a.DataProducts")
    assert parset.fullModuleName("DataProducts") == "b.DataProducts"
    assert parset.fullModuleName("d") == "c.d"
    assert parset.fullModuleName("skip") == parset.fullModuleName("Data") == ""


def test_file_is_read_in_pieces(tmp_path, monkeypatch):
    path = tmp_path / "x.parset"
    path.write_bytes("\ufeff# é\na = é1  ## first\nb = [2,\n 3]\na = 4\n\nc = 5".encode())
    whole = list(Parset.read(path).entries())
    assert whole[0] == Entry("a", "4", str(path), 5, "first")
    monkeypatch.setattr(parset_entries, "CHUNK", 1)
    assert list(Parset.read(path).entries()) == whole


def test_reading_never_holds_whole_file(tmp_path):
    path = tmp_path / "x.parset"
    with path.open("w") as stream:
        stream.writelines(f"# {'=' * 2**10}\n" for _ in range(2**13))
    tracemalloc.start()
    try:
        assert len(Parset.read(path)) == 0
        assert tracemalloc.get_traced_memory()[1] < 2**22  # half of the file
    finally:
        tracemalloc.stop()
