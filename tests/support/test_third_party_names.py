"""Everything that third-party code imports from the package (doc/spec/lofarpipe.md, section 5.3)."""

import errno
import importlib
import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from lofarpipe.support import utilities
from lofarpipe.support.clusterdesc import ClusterDesc, get_compute_nodes, get_head_node
from lofarpipe.support.data_map import (
    DataMap,
    DataMapError,
    DataProduct,
    MultiDataMap,
    MultiDataProduct,
    load_data_map,
    store_data_map,
    validate_data_maps,
)
from lofarpipe.support.group_data import gvds_iterator
from lofarpipe.support.lofarexceptions import ClusterError, PipelineException
from lofarpipe.support.lofaringredient import (
    BoolField,
    DictField,
    DirectoryField,
    ExecField,
    Field,
    FileField,
    FileList,
    FloatField,
    IntField,
    ListField,
    LOFARingredient,
    StringField,
)
from lofarpipe.support.lofarnode import LOFARnode, LOFARnodeTCP
from lofarpipe.support.parset import Parset
from lofarpipe.support.pipelinelogging import (
    CatchLog4CPlus,
    CatchLog4CXX,
    getSearchingLogger,
    log_process_output,
    log_time,
)
from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.python2.imports import REMEDIES
from lofarpipe.support.subprocessgroup import SubProcessGroup

NAMES = {
    "data_map": "DataMap DataProduct MultiDataMap MultiDataProduct validate_data_maps align_data_maps load_data_map"
    " store_data_map tally_data_map DataMapError",
    "group_data": "load_data_map store_data_map tally_data_map validate_data_maps gvds_iterator",
    "parset": "Parset get_parset patch_parset patched_parset",
    "utilities": "create_directory catch_segfaults string_to_list log_time patch_parset get_parset spawn_process"
    " delete_directory get_mountpoint read_initscript disk_usage is_iterable deprecated socket_recv group_iterable"
    " izip_longest log_process_output",
    "lofarexceptions": "PipelineException PipelineRecipeFailed PipelineQuit ClusterError ExecutableMissing"
    " DataMapError",
    "lofaringredient": "StringField IntField FloatField BoolField FileField ExecField DirectoryField ListField"
    " DictField FileList LOFARingredient",
    "pipelinelogging": "CatchLog4CPlus CatchLog4CXX log_time getSearchingLogger log_process_output",
    "lofarnode": "LOFARnode LOFARnodeTCP",
    "parameterset": "parameterset parametervalue PyParameterSet PyParameterValue",
    "clusterdesc": "ClusterDesc get_compute_nodes get_head_node",
    "subprocessgroup": "SubProcessGroup",
    "feedback_version": "VERSION",
}
MODULES = tuple(f"lofarpipe.support.{name}" for name in NAMES)
COUNTED = Path(__file__).resolve().parents[3] / "shared" / "cases" / "wild" / "imports.txt"


@pytest.mark.parametrize("module", NAMES)
def test_modules_export_documented_names(module):
    imported = importlib.import_module(f"lofarpipe.support.{module}")
    assert [name for name in NAMES[module].split() if not hasattr(imported, name)] == []


def test_unknown_name_cannot_be_imported():
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from lofarpipe.support.utilities import nothing  # noqa: F401


def test_names_need_no_lofar_package(repository):
    imports = "; ".join(f"import lofarpipe.support.{module}" for module in NAMES)
    code = f"{imports}; import sys; print(*{{'casacore', 'lofar', 'pyrap', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_missing_modules_name_documented_remedy(repository):
    text = (repository / "doc" / "migrating.md").read_text()
    python2.install()
    for name in (name for name in REMEDIES if name.startswith("lofarpipe")):
        assert name.removeprefix("lofarpipe.support.") in text
        with pytest.raises(ImportError, match=f"no module '{name}' .* write a plugin, or a script with main"):
            importlib.import_module(name)


@pytest.mark.skipif(not COUNTED.exists(), reason="no list of names in ../shared")
def test_counted_names_exist_or_are_documented(repository):
    text = (repository / "doc" / "migrating.md").read_text()
    for line in COUNTED.read_text().partition("# Exceptions")[0].splitlines():
        number, module, *names = line.split()
        if not number.isdecimal():
            continue
        if module in MODULES:
            there = vars(importlib.import_module(module)).keys() | set(NAMES[module.rpartition(".")[2]].split())
            missing = [name for name in names if name not in there and name not in ("*", module.rpartition(".")[2])]
            assert [name for name in missing if f"`{name}`" not in text] == [], module
        else:
            assert any(module == known or module.startswith(f"{known}.") for known in REMEDIES), module


# ---- data_map


def _written(tmp_path, text):
    (tmp_path / "a.mapfile").write_text(text)
    return tmp_path / "a.mapfile"


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ("", SyntaxError),
        ("[{'host': 'a']", SyntaxError),
        ("[/data/a.MS,/data/b.MS]", SyntaxError),
        ("[" * 10**5, SyntaxError),
        ("x" * 2**21, SyntaxError),
        ("[a.MS, b.MS]", NameError),
        ("names", NameError),
        ("3", DataMapError),
        ("[{'host': 'a'}]", DataMapError),
    ],
)
def test_invalid_map_raises_historical_exception(tmp_path, text, caught):
    with pytest.raises(caught, match=r"a\.mapfile: not a mapfile: ") as raised:
        DataMap.load(_written(tmp_path, text))
    assert isinstance(raised.value, DataMapError)
    kinds = {kind for kind in (SyntaxError, NameError, OSError) if isinstance(raised.value, kind)}
    assert kinds == {caught} - {DataMapError}


def test_unreadable_map_raises_os_error(tmp_path):
    gone = tmp_path / "gone" / "a.mapfile"
    for work in (lambda: DataMap.load(gone), lambda: DataMap([]).save(gone)):
        with pytest.raises(IOError, match=f"{gone}: .*cannot be .*: No such file or directory") as raised:
            work()
        assert (raised.value.errno, raised.value.filename) == (errno.ENOENT, str(gone))
        assert isinstance(raised.value, DataMapError)
        assert str(raised.value).startswith(str(gone))


@pytest.mark.parametrize("data", [42, "foo", ("foo", "bar", "baz"), [1, 2], None])
def test_map_refuses_odd_data(data):
    if data is None:
        assert DataMap(data).data == []
        return
    for kind in (DataMap, MultiDataMap):
        with pytest.raises(DataMapError, match="expected a list of products"):
            kind(data)


def test_old_functions_return_pairs(tmp_path):
    with pytest.warns(DeprecationWarning, match="store_data_map"):
        store_data_map(tmp_path / "m", [("h", "a"), ("h", "b")])
    with pytest.warns(DeprecationWarning, match="load_data_map"):
        assert list(load_data_map(tmp_path / "m")) == [("h", "a"), ("h", "b")]
    several = MultiDataMap([("h", ["a", "b"], False)])
    with pytest.warns(DeprecationWarning, match="store_data_map"):
        store_data_map(tmp_path / "m", several)
    assert MultiDataMap.load(tmp_path / "m") == several
    several.iterator = DataMap.TupleIterator
    assert list(several) == [("h", ["a", "b"])]


def test_multi_map_append_works():
    data_map = MultiDataMap()
    for item in (("h", ["a", "b"]), ("h", ["a"], False), ("h", ["a", "b"], False, [True, False])):
        data_map.append(item)
    assert [(p.skip, p.file_skip) for p in data_map] == [(True, [True, True]), (False, [False]), (False, [True, False])]
    for item in (("h",), ("h", ["a"], False, [True, False]), ("h", ["a"], False, ["x"]), ("h", ["a"], 1, [1], 1), "h"):
        with pytest.raises(DataMapError):
            data_map.append(item)


def test_multi_map_flags_are_checked():
    for flags in ([True, False], ["dsf"]):
        with pytest.raises(TypeError, match=r"file_skip is .* one True or False for each of 1 files needed"):
            MultiDataProduct("h", ["a"], True, flags)


def test_product_lists_are_validated():
    one = [DataProduct("a", "x"), DataProduct("b", "y")]
    assert validate_data_maps(one, DataMap(one)) is True
    assert validate_data_maps(one, one[:1]) is False
    assert validate_data_maps() is False


def test_gvds_file_yields_parts(tmp_path):
    parts = [(0, "n1", "a"), (1, "n2", "b"), (2, "n1", "c")]
    lines = [f"Part{n}.FileSys = {h}:/d\nPart{n}.FileName = /d/{f}\nPart{n}.Name = {f}.vds\n" for n, h, f in parts]
    (tmp_path / "gvds").write_text("".join(["NParts = 3\n", *lines]))
    first = [("n1", "/d/a", "a.vds"), ("n2", "/d/b", "b.vds")]
    assert list(gvds_iterator(tmp_path / "gvds", nproc=1)) == [first, [("n1", "/d/c", "c.vds")]]
    assert sorted(next(gvds_iterator(tmp_path / "gvds"))) == sorted([*first, ("n1", "/d/c", "c.vds")])


# ---- parset


def test_parset_accepts_dictionary_and_words():
    parset = Parset({"a": 1, "b.c": "'x'"})
    parset.adoptArgv(["d=2=3", "-v"])
    assert parset.dict() == {"a": "1", "b.c": "'x'", "d": "2=3"}
    assert parset.dict(removeQuotes=True)["b.c"] == "x"
    assert (parset.keys, parset.keys()) == (["a", "b.c", "d"], ["a", "b.c", "d"])
    parset.subtractSubset("b.")
    parset.addStringVector("e", ["x", "y"])
    assert (parset.keywords(), parset.getStringVector("e")) == (["a", "d", "e"], ["x", "y"])
    parset.clear()
    assert (len(parset), parset.keys) == (0, [])


def test_parset_gives_numbers_and_vectors():
    parset = Parset.parse("a = 1.5e3\nb = [1, 0x10]\nc = [1, 2.5]\nd = [T, false]\ne = [1..3]\nf = x\n")
    assert (parset.getFloat("a"), parset.getDouble("a"), parset["a"].getDouble(), parset.getFloat("z", 2.0)) == (
        *(1500.0,) * 3,
        2.0,
    )
    assert (parset.getIntVector("b"), parset.getIntVector("z", [7])) == ([1, 16], [7])
    assert (parset.getFloatVector("c"), parset.getDoubleVector("c")) == ([1.0, 2.5], [1.0, 2.5])
    assert parset.getBoolVector("d", True) == [True, False]
    assert parset.getStringVector("e") == ["1..3"]
    for work in (
        lambda: parset.getStringVector("e", expandable=True),
        lambda: parset.getStringVector("e", True),
        lambda: parset.getFloat("f"),
        lambda: parset.getFloatVector("z"),
        lambda: Parset(caseInsensitive=True),
        lambda: Parset("/nowhere/a.parset"),
    ):
        with pytest.raises(RuntimeError):  # as C++'s binding
            work()


# ---- utilities


def test_directories_are_measured_and_deleted(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("1234")
    (tmp_path / "a" / "d").symlink_to("b")
    assert utilities.disk_usage(tmp_path / "a", tmp_path / "gone") == int(
        subprocess.run(["du", "-sb", tmp_path / "a"], capture_output=True, text=True, check=True).stdout.split()[0]
    )
    for _ in range(2):
        utilities.delete_directory(tmp_path / "a")
        assert not (tmp_path / "a").exists()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        utilities.delete_directory(tmp_path / "file")
    assert utilities.get_mountpoint("/proc/self/status") == "/proc"


def test_iterables_are_grouped():
    assert [utilities.is_iterable(obj) for obj in ([], "a", 3, iter(()))] == [True, True, False, True]
    assert list(utilities.group_iterable(iter("abcde"), 2)) == [("a", "b"), ("c", "d"), ("e",)]
    assert list(utilities.izip_longest("ab", "c")) == [("a", "c"), ("b", None)]


def test_deprecated_function_warns():
    with pytest.warns(DeprecationWarning, match="old is deprecated"):
        assert utilities.deprecated(old)(2) == 4


def old(number):
    return 2 * number


def test_initscript_gives_environment(tmp_path, caplog):
    (tmp_path / "init.sh").write_text("echo hello\nexport MINE='a\nb=c'\n")
    found = utilities.read_initscript(logging.getLogger("x"), tmp_path / "init.sh")
    assert (found["MINE"], "PATH" in found) == ("a\nb=c", True)
    assert utilities.read_initscript(logging.getLogger("x"), tmp_path / "gone.sh") == {}
    assert "gone.sh: no such script" in caplog.text


def test_spawned_process_has_pipes(tmp_path):
    process = utilities.spawn_process(["sh", "-c", "pwd; cat"], logging.getLogger("x"), tmp_path / "new")
    assert process.communicate("words") == (f"{tmp_path}/new\nwords", "")
    with pytest.raises(OSError, match="nothing"):
        utilities.spawn_process(["/nothing"], logging.getLogger("x"))
    assert utilities.catch_segfaults(["true"], None, None, logging.getLogger("x"), usageStats=None).returncode == 0


def test_socket_bytes_are_received():
    here, there = socket.socketpair()
    with here, there:
        there.sendall(b"abc")
        there.shutdown(socket.SHUT_WR)
        assert utilities.socket_recv(here, 2) == b"ab"
        with pytest.raises(IOError, match="the connection was closed after 1 of 2 bytes"):
            utilities.socket_recv(here, 2)


def test_process_group_reports_failures(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    group = SubProcessGroup(logging.getLogger("x"), max_concurrent_processes=2)
    group.run("sh -c pwd", cwd=tmp_path)
    group.run(["sh", "-c", "echo careful >&2; exit 3"])
    group.run(["true"])
    assert group.wait_for_finish() == [(["sh", "-c", "echo careful >&2; exit 3"], 3)]
    assert [record.message for record in caplog.records] == [f"sh stdout: {tmp_path}\n", "sh stderr: careful\n"]
    group.run("true")
    assert group.wait_for_finish() is None
    silent = SubProcessGroup()
    silent.run("true")
    assert silent.wait_for_finish() is None
    silent.run(["/nothing"])
    with pytest.raises(OSError, match="nothing"):
        silent.wait_for_finish()
    with pytest.raises(PipelineException, match="a text or a list of words; 3 is neither"):
        silent.run(3)


def test_askap_logger_works():
    with CatchLog4CXX("/w", "node.a.ms") as logger:
        assert logger.name == "node.a.ms"


# ---- lofaringredient


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        (StringField(), "a", "a"),
        (IntField(), "3", 3),
        (FloatField(), "1e-3", 0.001),
        (BoolField(), "True", True),
        (BoolField(), "False", False),
        (BoolField(), "None", False),
        (BoolField(), "", False),
        (BoolField(), True, True),
        (ListField(), "[a, b,]", ["a", "b"]),
        (ListField(), ("a",), ("a",)),
        (DictField(), {"a": 1}, {"a": 1}),
        (FileField(), "/", "/"),
        (FileList(), "[/, /tmp]", ["/", "/tmp"]),
        (ExecField(), sys.executable, sys.executable),
        (DirectoryField(), "/", "/"),
    ],
)
def test_field_coerces_text(field, text, value):
    assert field.coerce(text) == value
    assert field.is_valid(field.coerce(text))


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (StringField(), 3),
        (IntField(), "3.5"),
        (IntField(), None),
        (FloatField(), "x"),
        (BoolField(), "true"),
        (BoolField(), []),
        (ListField(), 3),
        (DictField(), "{}"),
        (FileField(), "/nowhere"),
        (FileList(), "[/, /nowhere]"),
        (ExecField(), "/etc/passwd"),
        (ExecField(), 3),
        (DirectoryField(), "/proc/none"),
    ],
)
def test_field_refuses_wrong_text(field, text):
    assert not field.is_valid(field.coerce(text))


def test_directory_field_makes_directory(tmp_path):
    assert DirectoryField().is_valid(DirectoryField().coerce(str(tmp_path / "a" / "b")))


def test_plain_field_has_no_check():
    with pytest.raises(NotImplementedError, match="Field does not define is_valid"):
        Field("-x", "--xx", help="a word").is_valid(1)
    assert Field("-x", help="a word").coerce("a") == "a"
    assert (Field("-x", help="a word").optionstrings, Field(help="a word").help) == (("-x",), "a word")


def test_ingredient_checks_values():
    fields = {
        "n": IntField("--n", default="8"),
        "name": StringField("--name"),
        "maybe": StringField(optional=True),
        "bad": IntField(default="x"),
    }
    values = LOFARingredient(fields)
    assert (values["n"], list(values), len(values)) == (8, ["n", "bad"], 2)
    assert (values.missing(), values.complete()) == (["name"], False)
    values["name"] = "a"
    values.update({"n": "9"})
    assert (values["n"], values["name"], values.complete()) == (9, "a", True)
    del values["n"]
    assert values["n"] == 8
    with pytest.raises(TypeError, match="'x' is an invalid value for IntField n"):
        values["n"] = "x"
    with pytest.raises(TypeError, match="'x' is an invalid value for IntField bad"):
        values["bad"]
    with pytest.raises(TypeError, match="Ingredient other not defined"):
        values["other"] = 1
    for key in ("maybe", "other"):
        with pytest.raises(KeyError, match=key):
            values[key]


# ---- pipelinelogging


def test_failed_block_logs_time(caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ValueError, match="no"), log_time(getSearchingLogger("node.host")):
        raise ValueError("no")
    assert [(r.name, r.levelname, r.message.split()[:2]) for r in caplog.records] == [
        ("node.host", "DEBUG", ["Total", "time"])
    ]


def test_program_output_is_logged(caplog):
    caplog.set_level(logging.DEBUG)
    with CatchLog4CPlus("/w", "node.a.ms", "DPPP") as logger:
        log_process_output("DPPP", "done", "careful", logger)
        log_process_output("DPPP", "", "", logger)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("DEBUG", "DPPP runs in /w"),
        ("DEBUG", "DPPP stdout: done"),
        ("WARNING", "DPPP stderr: careful"),
    ]


# ---- clusterdesc


def test_cluster_description_lists_nodes(tmp_path):
    (tmp_path / "all").write_text(
        "ClusterName = all\nSubClusters = [part]\nHead.Nodes = [head]\nCompute.Nodes = [n1]\n"
    )
    (tmp_path / "part").write_text("ClusterName = part\nCompute.Nodes = [n2, n3]\n")
    cluster = ClusterDesc(str(tmp_path / "all"))
    assert (cluster.name, [part.name for part in cluster.subclusters]) == ("all", ["part"])
    assert get_compute_nodes(cluster) == ["n1", "n2", "n3"]
    assert get_head_node(cluster) == ["head"]
    with pytest.raises(ClusterError, match=r"part: no key Head\.Nodes"):
        get_head_node(cluster.subclusters[0])
    (tmp_path / "none").write_text("x = 1\n")
    with pytest.raises(ClusterError, match="none: no key ClusterName"):
        ClusterDesc(tmp_path / "none")
    (tmp_path / "round").write_text("ClusterName = a\nSubClusters = [round]\n")
    with pytest.raises(ClusterError, match="round: this cluster is a subcluster of itself"):
        ClusterDesc(tmp_path / "round")


# ---- lofarnode


def test_node_script_has_logger():
    class Double(LOFARnode):
        def run(self, number):
            self.outputs["number"] = 2 * number
            return 0

    node = Double()
    assert node.run_with_logging(4) == 0
    assert node.outputs == {"number": 8}
    assert node.logger.name.endswith(".Double")
    assert "PATH" in node.environment
    with pytest.raises(NotImplementedError, match="LOFARnode does not define run"):
        LOFARnode().run()


def test_tcp_node_script_names_remedy():
    with pytest.raises(
        PipelineException, match=r"job 1 at host:2; .*Write main\(\.\.\.\) .* nodescript = python_plugin"
    ):
        LOFARnodeTCP("1", "host", "2")
