"""Imports of ``lofar`` by scripts without an installed LOFAR (doc/spec/lofarpipe.md, section 5.3)."""

import importlib
import sys

import pytest

from lofarpipe.support.parset import Parset
from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.python2.imports import LOFAR_STANDS_FOR, REMEDIES


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    def names():
        return [name for name in sys.modules if name.split(".")[0] == "lofar"]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in names():
        monkeypatch.delitem(sys.modules, name)
    python2.install()
    yield
    for name in names():
        del sys.modules[name]


def test_parameterset_is_parset(tmp_path):
    (tmp_path / "a.parset").write_text("a.b = 'x'\nn = 3\n")
    parameterset = importlib.import_module("lofar.parameterset").parameterset
    assert parameterset is Parset
    parset = parameterset(str(tmp_path / "a.parset"))
    assert (parset.getString("a.b"), parset.getInt("n"), parset.get("a.b").get()) == ("x", 3, "'x'")
    inner = importlib.import_module("lofar.parameterset._pyparameterset")
    assert inner.PyParameterSet is Parset


def test_bdsm_is_bdsf(monkeypatch):
    bdsf = type(sys)("bdsf")
    monkeypatch.setitem(sys.modules, "bdsf", bdsf)
    assert importlib.import_module("lofar.bdsm") is bdsf


def test_bdsm_names_missing_bdsf(monkeypatch):
    monkeypatch.setitem(sys.modules, "bdsf", None)
    with pytest.raises(ModuleNotFoundError, match="bdsf"):
        importlib.import_module("lofar.bdsm")


@pytest.mark.parametrize("name", [name for name in REMEDIES if name.startswith("lofar.")])
def test_missing_lofar_module_names_remedy(name):
    with pytest.raises(ModuleNotFoundError, match=f"no module '{name}' without LOFAR's software: .*(H5parm|everybeam)"):
        importlib.import_module(name)


def test_unknown_lofar_names_are_missing():
    with pytest.raises(ModuleNotFoundError, match=r"lofar\.nothing"):
        importlib.import_module("lofar.nothing")
    assert all(name.startswith(("lofar.", "pyrap.")) for name in LOFAR_STANDS_FOR)


def test_real_lofar_package_comes_first(monkeypatch, tmp_path):
    (tmp_path / "lofar").mkdir()
    (tmp_path / "lofar" / "__init__.py").write_text("")
    (tmp_path / "lofar" / "parameterset.py").write_text("parameterset = 'real'\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.import_module("lofar.parameterset").parameterset == "real"
