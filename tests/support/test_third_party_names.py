"""Everything that third-party code imports from the package (spec/lofarpipe.md, section 5.3)."""

from __future__ import annotations

import importlib
import logging
import subprocess
import sys

import pytest

from lofarpipe.support.clusterdesc import ClusterDesc, get_compute_nodes, get_head_node
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
from lofarpipe.support.pipelinelogging import CatchLog4CPlus, getSearchingLogger, log_process_output, log_time

NAMES = {
    "data_map": "DataMap DataProduct MultiDataMap MultiDataProduct validate_data_maps align_data_maps load_data_map"
    " store_data_map tally_data_map",
    "parset": "Parset get_parset patch_parset patched_parset",
    "utilities": "create_directory catch_segfaults string_to_list",
    "lofarexceptions": "PipelineException PipelineRecipeFailed PipelineQuit ClusterError ExecutableMissing"
    " DataMapError",
    "lofaringredient": "StringField IntField FloatField BoolField FileField ExecField DirectoryField ListField"
    " DictField FileList LOFARingredient",
    "pipelinelogging": "CatchLog4CPlus log_time getSearchingLogger",
    "lofarnode": "LOFARnode LOFARnodeTCP",
    "parameterset": "parameterset parametervalue PyParameterSet PyParameterValue",
    "clusterdesc": "ClusterDesc get_compute_nodes get_head_node",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_are_there(module):
    imported = importlib.import_module(f"lofarpipe.support.{module}")
    assert [name for name in NAMES[module].split() if not hasattr(imported, name)] == []


def test_nothing_of_lofar_is_needed(repository):
    imports = "; ".join(f"import lofarpipe.support.{module}" for module in NAMES)
    code = f"{imports}; import sys; print(*{{'casacore', 'lofar', 'pyrap', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


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
def test_texts_of_a_type(field, text, value):
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
def test_texts_that_are_not_of_a_type(field, text):
    assert not field.is_valid(field.coerce(text))


def test_directory_is_made(tmp_path):
    assert DirectoryField().is_valid(DirectoryField().coerce(str(tmp_path / "a" / "b")))


def test_type_without_a_check():
    with pytest.raises(NotImplementedError, match="Field does not define is_valid"):
        Field("-x", "--xx", help="a word").is_valid(1)
    assert Field("-x", help="a word").coerce("a") == "a"
    assert (Field("-x", help="a word").optionstrings, Field(help="a word").help) == (("-x",), "a word")


def test_checked_values_by_name():
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


def test_time_is_logged_even_of_what_fails(caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ValueError, match="no"), log_time(getSearchingLogger("node.host")):
        raise ValueError("no")
    assert [(r.name, r.levelname, r.message.split()[:2]) for r in caplog.records] == [
        ("node.host", "DEBUG", ["Total", "time"])
    ]


def test_logger_of_a_program(caplog):
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


def test_nodes_of_a_cluster(tmp_path):
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


def test_node_script_is_a_class_with_a_logger():
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


def test_node_script_that_asks_the_engine_for_its_arguments_says_what_to_do():
    with pytest.raises(
        PipelineException, match=r"job 1 at host:2; .*Write main\(\.\.\.\) .* nodescript = python_plugin"
    ):
        LOFARnodeTCP("1", "host", "2")
