"""Mapfiles and their Python API (doc/spec/lofarpipe.md, sections 5.1 and 5.2)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import (
    DataMap,
    DataMapError,
    DataProduct,
    MultiDataMap,
    MultiDataProduct,
    align_data_maps,
    load_data_map,
    store_data_map,
    tally_data_map,
    validate_data_maps,
)

TWO = [{"host": "node1", "file": "/a.MS", "skip": False}, {"host": "node2", "file": "/b.MS", "skip": True}]


@pytest.fixture
def mapfile(tmp_path):
    return tmp_path / "x.mapfile"


def test_product_coerces_to_text_and_bool():
    product = DataProduct("h", 3, 0)
    assert (product.host, product.file, product.skip) == ("h", "3", False)
    assert DataProduct("h", "f").skip is True
    assert str(product) == "h:3"
    assert repr(product) == "{'host': 'h', 'file': '3', 'skip': False}"


def test_equal_products_agree_in_every_field():
    assert DataProduct("h", "f", False) == DataProduct("h", "f", False)
    assert DataProduct("h", "f", False) != DataProduct("h", "f", True)
    assert DataProduct("h", "f", False) != DataProduct("h", "g", False)
    assert DataProduct("h", "f", False) != DataProduct("i", "f", False)
    assert DataProduct("h", "f", False) != "h:f"


def test_list_of_files_becomes_text():
    assert DataProduct("h", ["/a.MS", "/b.MS"], False).file == "['/a.MS', '/b.MS']"
    assert DataProduct("h", ("/a.MS", 1, 2.5, None), False).file == "('/a.MS', 1, 2.5, None)"


def test_odd_types_survive_saving(tmp_path, mapfile):
    product = DataProduct("h", np.array(["/a.MS"])[0], np.True_)
    product.host, product.skip = np.str_("k"), np.False_
    product.file = [np.str_("/a.MS"), tmp_path, np.float64(1.5), [np.int64(2)]]
    assert repr(product) == f"{{'host': 'k', 'file': ['/a.MS', '{tmp_path}', 1.5, [2]], 'skip': False}}"
    DataMap([product]).save(mapfile)
    assert DataMap.load(mapfile)[0].file == f"['/a.MS', '{tmp_path}', 1.5, [2]]"


def test_list_subclasses_are_written_as_text():
    class Names(list):
        def __str__(self):
            return "names"

    assert DataProduct("h", Names(["a"]), False).file == "names"


def test_map_accepts_dicts_tuples_and_products():
    from_dicts = DataMap(TWO)
    assert from_dicts == DataMap([("node1", "/a.MS", False), ("node2", "/b.MS")])
    assert from_dicts == DataMap([DataProduct("node1", "/a.MS", False), DataProduct("node2", "/b.MS", True)])
    assert from_dicts == DataMap(iter(from_dicts.data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1, "x"], "expected a list of products, of dicts or of tuples; found int, str"),
        ([{"host": "h"}], "an entry does not have just host, file and skip"),
        ([{"host": "h", "file": "f", "skipp": True}], "an entry does not have just host, file and skip"),
        ([("h",)], "an entry does not have just host, file and skip"),
        ([("h", "f", True, 1)], "an entry does not have just host, file and skip"),
        ([TWO[0], ("h", "f")], "expected a list of products, of dicts or of tuples; found dict, tuple"),
        ("abc", "expected a list of products, of dicts or of tuples; found str"),
    ],
)
def test_map_refuses_invalid_data(data, message):
    with pytest.raises(DataMapError, match=message):
        DataMap(data)


def test_maps_do_not_share_their_default_list():
    one, two = DataMap(), DataMap()
    one.data.append(DataProduct("h", "f", False))
    assert len(two) == 0
    assert not two


def test_data_attributes_are_assignable():
    one = DataMap(TWO)
    one.data = []
    assert one.data == []
    one._data = [DataProduct("h", "f", False)]
    assert one[0].file == "f"


def test_append_accepts_products_and_tuples():
    one = DataMap()
    one.append(DataProduct("h", "a", True))
    one.append(("h", "b"))
    one.append(("h", "c", True))
    one.append(MultiDataProduct("h", ["d"], False), dtype=MultiDataProduct)
    assert [(product.file, product.skip) for product in one] == [("a", True), ("b", False), ("c", True), (["d"], False)]


@pytest.mark.parametrize("item", ["h:f", ("h",), ("h", "f", True, 1), {"host": "h"}, None])
def test_append_refuses_invalid_items(item):
    with pytest.raises(DataMapError, match=r"^cannot append .* expected a DataProduct or \(host, file\[, skip\]\)$"):
        DataMap().append(item)


def test_iterators_select_products():
    one = DataMap(TWO)
    assert [product.file for product in one] == ["/a.MS", "/b.MS"]
    one.iterator = DataMap.SkipIterator
    assert [product.file for product in one] == ["/a.MS"]
    one.iterator = DataMap.TupleIterator
    assert list(one) == [("node1", "/a.MS"), ("node2", "/b.MS")]
    iterator = iter(DataMap(TWO, iterator=DataMap.SkipIterator))
    assert iter(iterator) is iterator
    assert next(iterator).file == "/a.MS"
    with pytest.raises(StopIteration):
        next(iterator)
    tuples = DataMap.TupleIterator(one.data)
    assert iter(tuples) is tuples


def test_map_has_length_index_and_slice():
    one = DataMap(TWO)
    assert len(one) == 2
    assert one[-1].file == "/b.MS"
    assert one[:1] == [DataProduct("node1", "/a.MS", False)]
    assert repr(one) == repr(one.data)


def test_equality_needs_type_and_length():
    assert DataMap(TWO) != DataMap(TWO[:1])
    assert DataMap([]) != MultiDataMap([])
    assert DataMap([]) != []


def test_saved_text_is_one_line_of_dicts(mapfile):
    DataMap(TWO).save(str(mapfile))
    assert mapfile.read_text() == (
        "[{'host': 'node1', 'file': '/a.MS', 'skip': False}, {'host': 'node2', 'file': '/b.MS', 'skip': True}]"
    )
    assert [path.name for path in mapfile.parent.iterdir()] == ["x.mapfile"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", []),
        ("[('h', 'x', False), ('h', 'y')]", [("h", "x", False), ("h", "y", True)]),
        ("[{'host': 'h', 'file': 'x'}]", [("h", "x", True)]),
        ("\n[\n  {'skip': False,\n   'host': 'h',\n   'file': 5},\n]\n", [("h", "5", False)]),
        ("[{'host': 'h', 'file': ['/a', '/b'], 'skip': False}]", [("h", "['/a', '/b']", False)]),
        ("[{'host': 'h', 'file': '[/a,/b]', 'skip': False}]", [("h", "[/a,/b]", False)]),
        (
            "[{'host': '[\"1deg\",\"2deg\"]', 'file': '6000 6000', 'skip': False}]",
            [('["1deg","2deg"]', "6000 6000", False)],
        ),
        ("[{'host': 'h', 'file': '-memory-read', 'skip': False}]", [("h", "-memory-read", False)]),
    ],
)
def test_load_reads_historical_forms(mapfile, text, expected):
    mapfile.write_text(text)
    assert [(product.host, product.file, product.skip) for product in DataMap.load(mapfile)] == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "{'host': 'h'}",
        "('h', 'f')",
        "({'host': 'h', 'file': 'f'},)",
        "5",
        "[{'host': 'h'}]",
        "[1]",
        "[__import__('os').getpid()]",
        "[{'host': 'h', 'file': open('/etc/passwd').read(), 'skip': False}]",
        "[\0]",
        "[{[]: 1}]",
        "(" * 10_000,
        "-" * 100_000 + "1",
    ],
)
def test_load_refuses_invalid_text(mapfile, text):
    mapfile.write_text(text)
    with pytest.raises(DataMapError, match=r"x\.mapfile: not a mapfile: "):
        DataMap.load(mapfile)


def test_load_and_save_errors_name_file(tmp_path):
    with pytest.raises(DataMapError, match="no: mapfile cannot be read: No such file or directory"):
        DataMap.load(tmp_path / "no")
    with pytest.raises(DataMapError, match=r"no/x: cannot be written: No such file or directory"):
        DataMap().save(tmp_path / "no" / "x")


@given(st.lists(st.tuples(st.text(), st.text(), st.booleans())))
def test_any_text_survives_saving(tmp_path_factory, products):
    path = tmp_path_factory.getbasetemp() / "any.mapfile"
    written = DataMap(products)
    written.save(path)
    assert DataMap.load(path) == written


def test_non_utf8_file_name_survives(mapfile):
    DataMap([("h", "/caf\udce9", False)]).save(mapfile)
    assert DataMap.load(mapfile)[0].file == "/caf\udce9"


def test_save_keeps_symbolic_link(tmp_path, mapfile):
    link = tmp_path / "link"
    link.symlink_to(mapfile)
    DataMap(TWO).save(link)
    assert link.is_symlink()
    assert len(DataMap.load(mapfile)) == 2


def test_subclass_may_define_product_and_setter(mapfile):
    class Many(DataProduct):
        def __init__(self, host=None, file=None, skip=False):
            super().__init__(host, file, skip)
            self.file = file if isinstance(file, list) else [file]

        def __repr__(self):
            files = ",".join(self.file)
            return f"{{'host': '{self.host}', 'file': '[{files}]', 'skip': {self.skip}}}"

    class Group(DataMap):
        @DataMap.data.setter
        def data(self, data):
            if isinstance(data, DataMap):
                data.iterator = DataMap.SkipIterator
                self._set_data([Many("localhost", [product.file for product in data], False)], dtype=Many)
            elif data:
                self._set_data(data, dtype=Many)

        @classmethod
        def load(cls, filename):
            return super().load(filename)

    group = Group(DataMap(TWO))
    assert group[0].file == ["/a.MS"]
    assert len(Group([])) == 0
    group.save(mapfile)
    assert mapfile.read_text() == "[{'host': 'localhost', 'file': '[/a.MS]', 'skip': False}]"
    assert DataMap.load(mapfile)[0].file == "[/a.MS]"
    assert isinstance(Group.load(mapfile)[0], Many)


def test_multi_map_is_written_and_read(mapfile):
    MultiDataMap([MultiDataProduct("h", ["/a", "/b"], False, [False, True])]).save(mapfile)
    assert mapfile.read_text() == (
        "[{'host': 'h',  'skip': False, 'file': \"['/a', '/b']\", 'file_skip' : [False, True]}]"
    )
    product = MultiDataMap.load(mapfile)[0]
    assert (product.file, product.file_skip, product.skip) == (["/a", "/b"], [False, True], False)


@pytest.mark.parametrize("file", ["['/a', '/b']", "[/a,/b]", ["/a", "/b"], ("/a", "/b")])
def test_multi_product_accepts_every_notation(file):
    assert MultiDataProduct("h", file, False).file == ["/a", "/b"]
    assert MultiDataProduct("h", file, False).file_skip == [False, False]
    assert MultiDataProduct("h", file, False, True).file_skip == [True, True]


def test_multi_products_are_equal_with_their_flags():
    assert MultiDataProduct("h", "[a,b]", False) == MultiDataProduct("h", ["a", "b"], False)
    assert MultiDataProduct("h", "[a,b]", False) != MultiDataProduct("h", "[a,b]", False, True)
    same_file = DataProduct("h", "", False)
    same_file.file = ["a", "b"]
    assert MultiDataProduct("h", "[a,b]", False) != same_file


def test_multi_map_splits_its_lists():
    one = MultiDataMap([MultiDataProduct("h", ["a", "b", "c"], False, [False, True, False])])
    one.split_list(2)
    assert [(product.file, product.file_skip) for product in one] == [(["a", "b"], [False, True]), (["c"], [False])]
    with pytest.raises(DataMapError, match="products of 0 files; at least 1 is needed"):
        one.split_list(0)


def test_validate_compares_lengths_and_hosts():
    assert validate_data_maps(DataMap(TWO), DataMap(TWO), DataMap(TWO))
    assert not validate_data_maps(DataMap(TWO), DataMap(TWO[:1]))
    assert not validate_data_maps(DataMap(TWO), DataMap(TWO[::-1]))
    assert validate_data_maps(DataMap(), DataMap())


def test_align_joins_skip_flags():
    maps = [
        DataMap([("h", "a", False), ("h", "b", skip), ("h", "c", False)], iterator=DataMap.SkipIterator)
        for skip in (False, True, False)
    ]
    align_data_maps(*maps)
    assert [[product.skip for product in one.data] for one in maps] == [[False, True, False]] * 3


def test_align_refuses_single_or_unequal_maps():
    with pytest.raises(DataMapError, match=r"^1 map given; aligning needs at least two$"):
        align_data_maps(DataMap())
    with pytest.raises(DataMapError, match=r"^maps of 2, 1 entries differ in length or hosts"):
        align_data_maps(DataMap(TWO), DataMap(TWO[:1]))


def test_deprecated_functions_still_work(mapfile, caplog):
    with pytest.deprecated_call(match=r"use DataMap\.save"):
        store_data_map(mapfile, TWO)
    with pytest.deprecated_call(match=r"use DataMap\.load"):
        assert load_data_map(mapfile) == DataMap(TWO)


def test_tally_reports_existing_files(tmp_path):
    class Log:
        text = ""

        def debug(self, text):
            self.text = text

    (tmp_path / "a").touch()
    log = Log()
    products = [("h", tmp_path / "a"), ("h", tmp_path / "b")]
    with pytest.deprecated_call():
        assert tally_data_map(products, f"{tmp_path}/*", log) == [True, False]
    assert log.text == f"1 of 2 products match {tmp_path}/*"


def test_map_errors_are_pipeline_errors():
    assert issubclass(DataMapError, PipelineError)
