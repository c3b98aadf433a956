"""Modules under the names that they had in Python 2, and names that modules had."""

# ruff: noqa: E501 - a source stands on one line
import os
import sys
from pathlib import Path

import numpy
import pytest

from lofarpipe.support.python2 import imports as python2_imports
from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.python2.imports import GONE_FOR_ALL, STANDS_FOR, facade
from lofarpipe.support.python2.loader import load_module

PYTHON2 = "print 'old'\n"


@pytest.fixture
def result(tmp_path, monkeypatch):
    """Return a function that runs a source, and returns its variable ``r``."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(python2._Neighbours, "directories", [])
    python2.install()

    def result(source: str, name: str = "PipelineStep_old.py") -> object:
        (tmp_path / name).write_text(source.replace("@", str(tmp_path)))
        return load_module(Path(name).stem, tmp_path / name).r

    yield result
    for name in [name for name in sys.modules if name.startswith(("PipelineStep_", "old_")) and name not in before]:
        del sys.modules[name]


@pytest.mark.parametrize("name", sorted(STANDS_FOR))
def test_removed_modules_have_facades(name):
    if name == "Tkinter":
        pytest.importorskip("tkinter")
    assert facade(name).__all__
    assert facade(name) is facade(name)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("import sys, StringIO\ns = StringIO.StringIO()\nprint >>s, 'a', 1,\nprint >>s, 'b'\nr = s.getvalue()", "a 1 b\n"),
        ("import ConfigParser\nc = ConfigParser.SafeConfigParser()\n"
         "c.read('@/c.ini')\nr = c.get('a', 'x'), c.get('a', 'y')", ("1", "2")),
        ("import cPickle as pickle\nr = pickle.loads(pickle.dumps([1]))", [1]),
        ("import urllib, urllib2, urlparse\nr = urllib.urlencode({'a': 1}), urllib.quote('a b'),"
         " urlparse.urlparse('http://a/b').netloc, urllib2.Request('http://a').get_full_url()", ("a=1", "a%20b", "a", "http://a")),
        ("from urllib import quote\nfrom urllib2 import URLError\nr = quote(' '), issubclass(URLError, IOError)", ("%20", True)),
        ("import Queue\nq = Queue.Queue()\nq.put(1)\nr = q.get()", 1),
        ("import commands\nr = commands.getstatusoutput('exit 1'), commands.getoutput('echo y')", ((256, ""), "y")),
        ("import itertools\nfrom itertools import izip_longest\nr = list(itertools.izip([1], itertools.count())),"
         " list(izip_longest([1], [2, 3])), list(itertools.imap(abs, [-1])), list(itertools.ifilter(None, [0, 3])),"
         " list(itertools.ifilterfalse(None, [0, 3]))", ([(1, 0)], [(1, 2), (None, 3)], [1], [3], [0])),
        ("import string\nfrom string import join\nr = string.join(['a', 'b']), join(['a', 'b'], '-'), string.atoi('7'),"
         " string.letters[:3] != '', string.zfill(7, 3), string.split('a b'), string.digits", ("a b", "a-b", 7, True, "007", ["a", "b"], "0123456789")),
        ("from string import *\nr = upper('a'), uppercase[0]", ("A", "A")),
        ("import string\nr = 'abc'.translate(string.maketrans('ab', 'xy'))", "xyc"),
        ("import types\nfrom types import *\nr = type('a') is types.StringType, isinstance('a', types.StringTypes), ListType",
         (True, True, list)),
        ("import os, os.path\nfrom os.path import walk\nr = []\nos.path.walk('@/top', lambda a, d, n: a.append(sorted(n)), r)\n"
         "walk('@/top/in', lambda a, d, n: a.append(n), r)", [["in"], ["f"], ["f"]]),
        ("import os\nr = os.getcwdu() == os.getcwd(), os.errno.EEXIST, os.path.basename('/a/b')", (True, 17, "b")),
        ("import subprocess as s\nr = s.Popen(['echo', 'hi'], stdout=s.PIPE).communicate()[0].split('\\n')[0],"
         " s.check_output(['echo', 'a']) == 'a\\n', type(s.check_output(['echo'], universal_newlines=True)) is str", ("hi", True, True)),
        ("import os\ni, o, e = os.popen3('read x; echo $x; echo e >&2')\ni.write('in\\n')\ni.close()\nr = o.read(), e.read()\n"
         "i, o = os.popen2(['cat'])\ni.close()\nr += os.popen4('echo o; echo e >&2')[1].readlines(), o.read()",
         ("in\n", "e\n", ["o\n", "e\n"], "")),
        ("import time, collections, inspect, sys\nsys.exc_clear()\nr = time.clock() >= 0, issubclass(dict, collections.Mapping),"
         " inspect.getargspec(lambda a, b=1: 1).args", (True, True, ["a", "b"])),
        ("from sets import Set\nimport UserDict\nimport exceptions\nr = len(Set([1, 1])), UserDict.IterableUserDict({1: 2})[1],"
         " issubclass(ValueError, exceptions.StandardError)", (1, 2, True)),
        ("import __builtin__\nr = __builtin__.abs(-1)", 1),
        ("__import__('os', globals(), locals(), [], -1)\nr = 1", 1),
    ],
)  # fmt: skip
def test_removed_names_work(result, tmp_path, source, value):
    (tmp_path / "top" / "in").mkdir(parents=True)
    (tmp_path / "top" / "in" / "f").touch()
    (tmp_path / "c.ini").write_text("[a]\nx = 1 ; of old\n[a]\ny = 2\n")
    assert result(f"{PYTHON2}{source}\n") == value


def test_assignment_reaches_real_module(result, monkeypatch):
    monkeypatch.setattr(os, "linesep", "\n")
    result(f"{PYTHON2}import os\nos.linesep = '!'\nr = 1\n")
    assert os.linesep == "!"


def test_unknown_name_is_error(result):
    with pytest.raises(AttributeError, match="module 'os' has no attribute 'popen9'"):
        result(f"{PYTHON2}import os\nos.popen9\n")
    with pytest.raises(ModuleNotFoundError, match="old_nowhere"):
        result(f"{PYTHON2}import old_nowhere\n")
    with pytest.raises(ModuleNotFoundError, match=r"json\.nowhere"):
        result(f"{PYTHON2}import json.nowhere\n")


def test_own_modules_come_first(result, tmp_path):
    (tmp_path / "Queue.py").write_text("x = 'own'\n")
    python2.import_from(tmp_path)
    assert result(f"{PYTHON2}import Queue\nr = Queue.x\n") == "own"
    del sys.modules["Queue"]


def test_implicit_relative_import_works(result, tmp_path):
    """Python 2 looked there first."""
    package = tmp_path / "old_package"
    package.mkdir()
    (package / "__init__.py").write_text("print 'package'\nimport old_first\nfrom old_first import x\n")
    (package / "old_first.py").write_text("print 'first'\nimport Queue\nx = Queue.Queue().empty()\n")
    python2.import_from(tmp_path)
    assert result("import old_package\nr = old_package.x, old_package.old_first.__name__\n") == (
        True,
        "old_package.old_first",
    )


def test_python_3_source_is_unchanged(result):
    """Its fallback imports select the right Python; FITS files are astropy's for both."""
    source = "try:\n    import ConfigParser\n    r = 2\nexcept ImportError:\n    r = 3\nimport math, string\nf = math.floor(2.5)\n"
    assert result(f"{source}r = r, f, hasattr(string, 'join')\n") == (3, 2, False)
    assert {name: STANDS_FOR[name] for name in GONE_FOR_ALL} == {
        "pyfits": ("astropy.io.fits",),
        "pywcs": ("astropy.wcs",),
    }
    assert result("import pyfits\nr = pyfits.PrimaryHDU.__name__\n", "old_fits.py") == "PrimaryHDU"


def test_removed_numpy_names_work(result):
    """Of both Pythons: numpy 1.24 and 2.0 took them away."""
    source = """import numpy as np
from numpy import product
r = [np.float(1), np.int is int, np.product([2, 3]), product([2]), np.NaN != np.NaN, np.Inf, np.asscalar(np.array([3])),
     np.alltrue([1, 1]), np.in1d([1, 2], [2]).tolist(), np.asfarray([1]).tolist(), np.msort([2, 1]).tolist(), -np.NINF]
"""
    assert result(source) == [1.0, True, 6, 2, True, numpy.inf, 3, True, [False, True], [1.0], [1, 2], numpy.inf]
    assert result(
        "import numpy.linalg\nfrom numpy.linalg import norm\nr = norm([3, 4]) == numpy.linalg.norm([3, 4])\n",
        "old_b.py",
    )


@pytest.mark.parametrize("first", ["", PYTHON2])
def test_numpy_star_import_hides_no_builtin(result, first):
    """Except names that numpy hides on purpose, such as sum."""
    source = f"{first}from numpy import *\nr = max(1, 2), min(2, 1), abs(-1), isinstance(True, bool), product([2]), NaN != NaN\n"
    assert result(source) == (2, 1, 1, True, 2, True)


def test_numpy_numbers_are_printed_plainly(result):
    with numpy.printoptions():
        numpy.set_printoptions(legacy=False)
        assert result("import numpy\nr = str([numpy.float64(1.5), numpy.str_('a')])\n") == "[1.5, 'a']"


@pytest.mark.parametrize(
    "module", [None, object(), type("numpy", (), {"set_printoptions": 0, "__version__": "1.26.4"})]
)
def test_old_numpy_needs_no_print_option(monkeypatch, module):
    monkeypatch.setitem(sys.modules, "numpy", module)
    python2_imports.write_numbers_plainly()
