"""Translated Python 2 sources: every expected value comes from Python 2.7.18."""

# ruff: noqa: E501 - a source stands on one line
import sys
from pathlib import Path

import numpy
import pytest

from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.python2.loader import HINTS, load_module, take_notices
from lofarpipe.support.python2.translate import ATTRIBUTES, CALLED, METHODS, MODULES, NAMES

PYTHON2 = "print 'old'\n"


@pytest.fixture
def result(tmp_path, monkeypatch, capsys):
    """Return a function that runs a source, and returns its variable ``r`` and whether it was translated."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(python2._Neighbours, "directories", [])
    python2.install()
    take_notices()

    def result(source: str, name: str = "PipelineStep_old.py") -> object:
        (tmp_path / name).write_text(source.replace("@", str(tmp_path)))
        return load_module(Path(name).stem, tmp_path / name).r

    yield result
    for name in [name for name in sys.modules if name.startswith(("PipelineStep_", "old_")) and name not in before]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("r = 5 / 2, -5 / 2, 5 / 2., True / 2, 7 / 2 * 2.0 / 4", (2, -3, 2.5, 0, 1.5)),
        ("n = [1, 2, 3]\nr = n[len(n) / 2]", 2),
        ("f = lambda n, d=2: n / d\nr = f(5)", 2),
        ("r = 1j / 2", 0.5j),
        ("r = 7\nr /= 2", 3),
        ("r = [7, 8., 9]\nr[0] /= 2\nr[1] /= 5\nr[-1] /= -2", [3, 1.6, -5]),
        ("class A: n = 7\nA.n /= 2\nr = A.n", 3),
        ("class A:\n    def __init__(self):\n        self.__n = 7\n        self.__n /= 2\n        self.n = self.__n\nr = A().n", 3),
        ("seen = []\ndef place(n):\n    seen.append(n)\n    return n\nx = [7]\nx[place(0)] /= 2\nr = x + seen", [3, 0]),
        ("class A(object):\n    def __div__(self, o):\n        return 'div'\n    def __rdiv__(self, o):\n        return 'rdiv'\n"
         "r = A() / 2, 2 / A(), A() / 2.5", ("div", "rdiv", "div")),
        ("class A(object):\n    def __idiv__(self, o):\n        return o\nr = A()\nr /= 4", 4),
        ("class A(object):\n    def __div__(self, o):\n        return NotImplemented\ntry:\n    A() / 2\nexcept TypeError:\n    r = 1", 1),
        ("class A(object):\n    def __div__(self, o):\n        return o\nr = A()\nr /= 4", 4),
        ("r = round(2.5), round(0.5), round(-2.5), round(2.675, 2), '%s' % round(2.0), round(1234.5, -2)",
         (3.0, 1.0, -3.0, 2.67, "2.0", 1200.0)),
        ("r = str(round(float('inf'))), round(1e300), round(3)", ("inf", 1e300, 3.0)),
        ("import math\nr = repr([math.floor(2.5), math.ceil(2.5), 7 / math.floor(2.5), math.floor(-math.e), math.ceil(float('inf'))])",
         "[2.0, 3.0, 3.5, -3.0, inf]"),
        ("r = map(None, [1, 2], [3]), map(None, 'ab'), map(int, '12')[0], map(lambda a, b: (a, b), [1, 2], [3])",
         ([(1, 3), (2, None)], ["a", "b"], 1, [(1, 3), (2, None)])),
        ("r = filter(lambda c: c != 'a', 'abc'), filter(None, (0, 1)), filter(None, [0, 1])[0]", ("bc", (1,), 1)),
        ("r = zip([1], [2, 3])[0], range(3) + [7], type(range(2)) is list", ((1, 2), [0, 1, 2, 7], True)),
        ("k = {2: 1, 1: 1}.keys()\nk.sort()\nr = k, sorted([2, 1], cmp=lambda a, b: cmp(a, b))", ([1, 2], [1, 2])),
        ("r = cmp(None, -1), cmp(1, None), cmp(None, None), cmp('b', 'a'), coerce(1, 2.)", (-1, 1, 0, 1, (1.0, 2.0))),
        ("r = oct(8), oct(0), 0777, 10L", ("010", "0", 511, 10)),
        ("class I(object):\n    def next(self):\n        return 1\nr = I().next(), iter([2]).next(), iter('ab').next()[0:1]",
         (1, 2, "a")),
        ("try:\n    raise ValueError, 'm'\nexcept ValueError, e:\n    pass\nr = e.message, str(e), KeyError(1, 2).message",
         ("m", "m", "")),
        ("class M:\n    message = 'own'\nr = M().message", "own"),
        ("try:\n    try:\n        1 / 0\n    except ZeroDivisionError, e:\n        raise KeyError, 'k'\nexcept KeyError, f:\n    r = str(f)", "'k'"),
        ("import sys\nreload(sys)\nsys.setdefaultencoding('utf8')\nr = sys.maxint > 2 ** 31", True),
        ("open('@/more', 'w').write('print 1\\nx = y / 2')\ny = 5\nexecfile('@/more')\nr = x", 2),
        ("open('@/more', 'w').write('x = y')\ng, l = {'y': 4}, {}\nexecfile('@/more', g, l)\nr = l['x'], 'x' in g", (4, False)),
    ],
)  # fmt: skip
def test_same_syntax_keeps_python_2_meaning(result, source, value):
    assert result(f"{PYTHON2}{source}\n") == value
    assert type(result(f"{PYTHON2}{source}\n")) is type(value)
    assert take_notices()[0].endswith("PipelineStep_old.py: Python 2 source; translated in memory (5 / 2 is 2 in it)")


def test_numpy_integers_divide_whole(result):
    """As numpy did with Python 2."""
    source = f"{PYTHON2}import numpy as np\n"
    found = result(
        f"{source}a = np.array([5, 6])\nr = a / 2, a / 2., a / [2, 4], 13 / a, np.int64(5) / 2, a / np.int16(4)\n"
    )
    assert [numpy.asarray(value).tolist() for value in found] == [[2, 3], [2.5, 3.0], [2, 1], [2, 2], 2, [1, 1]]
    found = result(
        f"{source}a = b = np.array([[5, 6, 7]])\na[0, 1:] /= 2\na /= 2\nc = np.array([1.])\nc /= 2\nr = b, c\n",
        "old_b.py",
    )
    assert [value.tolist() for value in found] == [[[2, 1, 1]], [0.5]]


@pytest.mark.parametrize(
    "line",
    [
        "from __future__ import division",
        "from __future__ import print_function, division",
        "from __future__ import (absolute_import,\n                        division)",
    ],
)
def test_future_division_gives_fractions(result, line):
    assert result(f"{line}\nx = 5\nx /= 2\nr = 0777 and 5 / 2, x\n") == (2.5, 2.5)
    assert take_notices()[0].endswith("PipelineStep_old.py: Python 2 source; translated in memory")


def test_further_future_imports_keep_division(result):
    source = "from __future__ import print_function\nprint('division', 1, sep='')\nr = 0777 and 5 / 2  # division\n"
    assert result(source) == 2


def test_print_of_tuple_is_translated(result, capsys):
    """A tuple, unless print is a function in this source."""
    result("print('a', 1)\nprint >>1 and None, 'b',\nr = 0777\n")
    result("from __future__ import print_function\nprint('a', 1)\nr = 0777\n", "old_b.py")
    assert capsys.readouterr().out == "('a', 1)\nb a 1\n"


def test_line_numbers_stay(result, tmp_path):
    with pytest.raises(ZeroDivisionError) as caught:
        result(f"{PYTHON2}x = [\n    1]\nx[0] /= 0\nr = 1\n")
    assert python2.line_of(caught.value, tmp_path / "PipelineStep_old.py") == 4


# ---- sources that Python 3 compiles


@pytest.mark.parametrize(
    "source",
    [
        "for i in xrange(1):\n    r = 5 / 2",
        "r = {1: 5}.has_key(1) and 5 / 2",
        "for k, v in {1: 5}.iteritems():\n    r = v / 2",
        "import itertools\nfor k, v in itertools.izip([5], [2]):\n    r = k / v",
        "import sys, ConfigParser\nr = 5 / 2",
        "from StringIO import StringIO\nr = int(StringIO('5').read()) / 2",
        "import string\nr = int(string.split('5 6')[0]) / 2",
        "import os\nr = len(os.getcwdu()) and 5 / 2",
        "import sys\nr = min(sys.maxint, 5) / 2",
        "r = sorted([5, 6], cmp=lambda a, b: a - b)[0] / 2",
        "r = isinstance(1, (int, long)) and 5 / 2",
        "from __future__ import print_function\nprint('a', end='')\nr = {1: 5}.has_key(1) and 5 / 2",
        "f = file('@/PipelineStep_old.py')\nf.close()\nr = 5 / 2",
        "if True:\n\tx = 1\n        r = 5 / 2",
    ],
)
def test_python_2_names_mark_source(result, source):
    assert result(f"{source}\n") == 2
    assert len(take_notices()) == 1


@pytest.mark.parametrize(
    "source",
    [
        "r = 5 / 2",
        "try:\n    n = xrange(2)\nexcept NameError:\n    n = range(2)\nr = 5 / 2",
        "import sys\nif sys.version_info[0] == 2:\n    import ConfigParser\nr = 5 / 2",
        "import sys\nPY3 = True\nt = str if PY3 else unicode\nr = 5 / 2",
        "def f(x):\n    print('a', x, end='')\n    return x.iteritems()\nr = 5 / 2",
        "from lofarpipe.support.data_map import DataMap\nclass Multi(DataMap):\n    def split_list(self, d, n):\n"
        "        return [d.iteritems() for i in xrange(n)], unicode(file)\nr = 5 / 2",
        "def f(x):\n    raise ValueError(str(file)) or x.has_key if hasattr(x, 'y') else 0\nr = 5 / 2",
        "def f(x):\n    print(*x)\n    return x.iteritems()\nr = 5 / 2",
        "d = {1: 5}\nfor v in d.itervalues() if hasattr(d, 'itervalues') else d.values():\n    r = v / 2",
        "from functools import reduce\nr = reduce(max, [1, 2]) and 5 / 2",
        "def f(string, file, cmp=None):\n    return string.split(','), file(1), cmp\nr = 5 / 2",
        "class D:\n    def has_key(self, k):\n        return True\nr = D().has_key(1) and 5 / 2",
        "def f(x):\n    return x.iteritems(), f'{x}'\nr = 5 / 2",
        "def f(x: int):\n    return x.iteritems()\nr = 5 / 2",
        "def f(x) -> int:\n    return x.iteritems()\nr = 5 / 2",
        "def f(*, x):\n    return x.iteritems()\nr = 5 / 2",
        "def f(x):\n    raise ValueError from x.iteritems()\nr = 5 / 2",
        "def f(x):\n    import pandas\n    return x.iteritems()\nr = 5 / 2",
        "from . import Queue\n" and "xrange = range\nr = xrange(2) and 5 / 2",
        "'''import ConfigParser, xrange'''\nr = 5 / 2",
    ],
)
def test_portable_source_is_python_3(result, source):
    assert result(f"{source}\n") == 2.5
    assert take_notices() == []


def test_existing_module_does_not_mark_source(result, tmp_path):
    (tmp_path / "commands.py").write_text("x = 5\n")
    python2.import_from(tmp_path)
    assert result("import commands\nr = commands.x / 2\n") == 2.5
    del sys.modules["commands"]


def test_portable_pythonpath_modules_keep_division(result, tmp_path, monkeypatch):
    """A neighbour is treated like the plugin; a shared module elsewhere stays Python 3 if it is valid there."""
    for directory in ("beside", "path"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / f"old_{directory}.py").write_text("x = xrange(1) and 5 / 2\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    monkeypatch.syspath_prepend(tmp_path / "path")
    python2.import_from(tmp_path / "beside")
    source = "import old_beside, old_path\nr = old_beside.x, old_path.x, 5 / 2\n"
    assert result(source.replace("old_beside, old_path", "old_path, old_beside")) == (2, 2.5, 2.5)


def test_stale_bytecode_is_ignored(result, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    source = tmp_path / "PipelineStep_old.py"
    source.write_text("r = xrange(1) and 5 / 2\n")
    import py_compile

    py_compile.compile(str(source))
    assert load_module("PipelineStep_old", source).r == 2


def test_hints_cover_every_mark():
    """The quick look misses nothing that the closer look would find."""
    uses = [f"x = {name}(1)" for name in NAMES | CALLED] + [f"x.{name}()" for name in METHODS]
    uses += [f"import {module}\n{module}.{name}" for module, names in ATTRIBUTES.items() for name in names]
    uses += [line for name in MODULES for line in (f"import os, {name}", f"from {name} import x")]
    uses.append("sorted(x, cmp=f)")
    assert [use for use in uses if not HINTS.search(use.encode())] == []
