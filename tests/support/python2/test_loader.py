"""Plugins of the Python 2 era load as they stand (doc/spec/lofarpipe.md, section 7.4)."""

import builtins
import importlib
import importlib.machinery
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lofarpipe.support.python2 import loader as python2
from lofarpipe.support.python2.imports import FormerNames
from lofarpipe.support.python2.loader import Loader, import_from, line_of, load_module, take_notices

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(source: str | bytes, name: str = "PipelineStep_old.py") -> Path:
        path = tmp_path / name
        path.write_bytes(source if isinstance(source, bytes) else source.encode())
        return path

    return write


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget loaded modules and search paths afterwards."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(python2._Neighbours, "directories", [])
    python2.install()
    take_notices()
    yield
    for name in [name for name in sys.modules if name.startswith(("PipelineStep_", "pyrap")) and name not in before]:
        del sys.modules[name]


def _load(path: Path) -> ModuleType:
    return load_module(path.stem, path)


PLUGIN = """import ConfigParser, os
from itertools import izip
class Product(object):
    __metaclass__ = type
    def __init__(self, (host, name)):
        self.host, self.name = host, name
def plugin_main(args, **kwargs):
    keys = kwargs.keys()
    keys.sort()
    for key, value in kwargs.iteritems():
        print 'plugin:', key, value,
    print
    result = {}
    for i in xrange(len(keys)):
\tresult[keys[i]] = unicode(i) if kwargs.has_key('a') else None
\tif keys[i] <> 'a' and isinstance(keys[i], basestring):
            result['text'] = 'a\tb'
    try:
        os.mkdir('/proc/new', 0755)
    except OSError, err:
        result['error'] = `err.errno`
    result['sum'] = reduce(lambda x, y: x + y, map(int, '123'))
    result['zip'] = zip('ab', 'cd') + [pair for pair in izip('e', 'f')]
    result['long'] = 10L
    result['product'] = Product(('n1', 'x')).name
    exec "result['executed'] = 1"
    return result
"""


def test_python_2_plugin_gives_old_results(write, capsys):
    result = _load(write(PLUGIN)).plugin_main([], b="2", a="1")
    assert result == {
        "a": "0",
        "b": "1",
        "text": "a\tb",
        "error": "2",
        "sum": 6,
        "zip": [("a", "c"), ("b", "d"), ("e", "f")],
        "long": 10,
        "product": "x",
        "executed": 1,
    }
    assert capsys.readouterr().out.split() == ["plugin:", "b", "2", "plugin:", "a", "1"]


def test_file_gives_one_notice(write):
    path = write("print 1\n")
    _load(path)
    assert take_notices() == [f"{path}: Python 2 source; translated in memory (5 / 2 is 2 in it)"]
    path.write_text("print 22\n")
    _load(path)
    assert take_notices() == []


def test_translation_writes_no_file(write, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    _load(write("print 1\n"))
    _load(write("x = 1\n", "PipelineStep_new.py"))
    assert [path.name.split(".")[0] for path in tmp_path.glob("__pycache__/*")] == ["PipelineStep_new"]


def test_python_3_source_is_not_translated(write):
    module = _load(write("def plugin_main(args):\n    return zip([1], [2]), {1: 2}.keys()\n"))
    assert [type(value).__name__ for value in module.plugin_main([])] == ["zip", "dict_keys"]
    assert take_notices() == []


def test_only_plugins_have_old_builtins(write):
    module = _load(write("found = [n for n in ('xrange', 'long', 'cmp', 'unichr', 'reduce') if n in __builtins__]\n"))
    assert module.found == ["xrange", "long", "cmp", "unichr", "reduce"]
    assert not hasattr(builtins, "xrange")
    assert _load(write("x = cmp(1, 2), cmp(2, 2), cmp('b', 'a'), list(xrange(2))\n", "PipelineStep_b.py")).x == (
        (-1, 0, 1, [0, 1])
    )


def test_only_changed_file_is_reloaded(write):
    path = write("x = 1\n")
    first = _load(path)
    assert _load(path) is first
    assert sys.modules["PipelineStep_old"] is first
    path.write_text("x = 2\n")
    os.utime(path, ns=(1, 1))
    assert _load(path).x == 2


def test_plugin_imports_its_neighbours(write, tmp_path):
    write("def twice(n):\n    print n\n    return list(xrange(2 * n))\n", "PipelineStep_other.py")
    path = write("from PipelineStep_other import twice\nx = twice(1)\nimport json\n")
    with pytest.raises(ModuleNotFoundError, match="PipelineStep_other"):
        _load(path)
    assert "PipelineStep_old" not in sys.modules
    import_from(tmp_path)
    import_from(str(tmp_path))
    assert _load(path).x == [0, 1]
    assert [notice.split(":")[0] for notice in take_notices()] == [str(tmp_path / "PipelineStep_other.py")]
    assert python2._Neighbours.directories == [str(tmp_path)]


@pytest.fixture
def on_pythonpath(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "path"
    (directory / "old_package").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "/nowhere", str(directory)]))
    monkeypatch.syspath_prepend(directory)
    yield directory
    for name in [name for name in sys.modules if name.startswith(("old_", "new_"))]:
        del sys.modules[name]


def test_pythonpath_modules_are_translated(on_pythonpath, write):
    (on_pythonpath / "old_module.py").write_text("print 'old',\nx = 5 / 2, sorted({1: 2}.iteritems())\n")
    (on_pythonpath / "new_module.py").write_text("x = xrange(2)\n")
    (on_pythonpath / "old_package" / "__init__.py").write_text("has_xrange = 'xrange' in dir(__builtins__)\n")
    (on_pythonpath / "old_package" / "inner.py").write_text("def f(x):\n    exec 'y = 1'\n    return xrange(x)\n")
    plugin = write("import old_module, new_module, old_package.inner\nx = list(old_package.inner.f(2))\n")
    loaded = _load(plugin)
    assert (loaded.x, loaded.old_module.x, loaded.new_module.x) == ([0, 1], (2, [(1, 2)]), range(2))
    assert not loaded.old_package.has_xrange  # a package that Python 3 takes is left as it is
    assert [notice.split(":")[0] for notice in take_notices()] == [
        str(on_pythonpath / "old_module.py"),
        str(on_pythonpath / "old_package" / "inner.py"),
    ]


def test_directories_outside_pythonpath_are_not_translated(on_pythonpath, monkeypatch):
    (on_pythonpath / "old_module.py").write_text("print 'old'\n")
    monkeypatch.setenv("PYTHONPATH", "")
    with pytest.raises(SyntaxError, match="Missing parentheses"):
        importlib.import_module("old_module")


def test_invalid_pythonpath_module_is_named(on_pythonpath):
    (on_pythonpath / "old_module.py").write_text("x = 1\nprint 'a' b\n")
    with pytest.raises(SyntaxError, match="and as Python 2: line 2") as caught:
        importlib.import_module("old_module")
    assert caught.value.filename == str(on_pythonpath / "old_module.py")


def test_install_adds_finder_once(monkeypatch):
    finders = [*sys.meta_path]
    python2.install()
    assert sys.meta_path == finders
    assert finders.index(python2._PythonPath) < finders.index(importlib.machinery.PathFinder)


def test_package_beside_plugin_is_translated(write, tmp_path):
    (tmp_path / "old_beside").mkdir()
    (tmp_path / "old_beside" / "__init__.py").write_text("print 'here'\n")
    (tmp_path / "old_beside" / "part.py").write_text("x = 0777\n")
    import_from(tmp_path)
    assert _load(write("from old_beside.part import x\n")).x == 0o777
    assert len(take_notices()) == 2
    for name in ("old_beside", "old_beside.part"):
        del sys.modules[name]


def test_neighbours_do_not_hide_standard_modules(write, tmp_path):
    write("raise RuntimeError('hidden')\n", "colorsys.py")
    import_from(tmp_path)
    assert importlib.import_module("colorsys").__file__ != str(tmp_path / "colorsys.py")


def test_mixed_tabs_are_translated(write, capsys):
    source = "import sys\nif True:\n\tif True:\n            x = 1\n\t    print('a', file=sys.stdout)\n"
    assert _load(write(source)).x == 1
    assert capsys.readouterr().out == "a\n"


@pytest.mark.parametrize(
    ("source", "line", "reason"),
    [
        ("x = 1\ndef main(:\n    pass\n", 2, "invalid syntax; and as Python 2: line 2: bad input at ':'"),
        ("print 1\nx = (\n", 1, "Missing parentheses.*; and as Python 2: line 4: EOF in multi-line statement"),
        ("print 1\nif 1:\n    a\n  b\n", 1, "; and as Python 2: line 4: unindent does not match"),
        ("from urllib import urlopen, quote\nprint 1\nasync = 3\n", 3, "invalid syntax"),
        (b"print 1\n# \xe9\n", 1, "; and as Python 2: .*can't decode byte 0xe9.*; no coding is declared"),
        (b"# coding: nothing\nprint 1\n", 0, "; and as Python 2: unknown encoding: nothing"),
    ],
)
def test_invalid_source_names_line_and_reason(write, source, line, reason):
    path = write(source)
    with pytest.raises(SyntaxError, match=reason) as caught:
        _load(path)
    assert (line_of(caught.value, path), caught.value.filename) == (line, str(path))
    assert take_notices() == []


def test_declared_coding_is_read(write):
    assert _load(write(b"# coding: latin-1\nprint 1\nx = '\xe9'\n")).x == "é"


def test_errors_name_source_lines(write):
    # The translation puts an import in front, makes two lines of line 2, and one more of line 5.
    source = """print reduce(max, [1])
from urllib import urlopen, quote
def first():
    raise ValueError, 'a'
def second((a, b), c):
    if c:
        return a
    raise ValueError, 'b'
"""
    path = write(source)
    module = _load(path)
    for function, arguments, line in ((module.first, (), 4), (module.second, ((1, 2), 0), 8)):
        with pytest.raises(ValueError, match=r"^[ab]$") as caught:
            function(*arguments)
        assert line_of(caught.value, path) == line


def test_imported_error_names_importing_line(write, tmp_path):
    broken = write("x = (\n\n\n", "PipelineStep_broken.py")
    path = write("\nimport PipelineStep_broken\n")
    import_from(tmp_path)
    with pytest.raises(SyntaxError, match=r"PipelineStep_broken\.py") as caught:
        _load(path)
    assert line_of(caught.value, path) == 2
    assert line_of(caught.value, broken) == 1
    assert line_of(ValueError(), path) == 0


def test_module_is_registered_during_loading(write):
    source = (
        "import dataclasses\nfrom __future__ import annotations\n@dataclasses.dataclass\nclass A:\n    x: int = 1\n"
    )
    lines = source.splitlines(keepends=True)
    assert _load(write("".join([lines[1], lines[0], *lines[2:]]))).A().x == 1


def test_loader_accepts_any_name(write, tmp_path):
    module = load_module("main", write("x = __name__, __file__\n", "script"))
    assert module.x == ("main", str(tmp_path / "script"))
    assert isinstance(module.__loader__, Loader)
    del sys.modules["main"]


@pytest.fixture
def _no_real_pyrap(monkeypatch):
    """Ask our finder before the search path: some builds of casacore's bindings bring a pyrap of their own."""
    monkeypatch.setattr(sys, "meta_path", [FormerNames, *sys.meta_path])
    for name in [name for name in sys.modules if name.split(".")[0] == "pyrap"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("_no_real_pyrap")
@pytest.mark.parametrize("name", ["tables", "measures", "quanta", "images"])
def test_pyrap_is_casacore(name):
    module = importlib.import_module(f"pyrap.{name}")
    assert module is importlib.import_module(f"casacore.{name}")
    assert module.__name__ == module.__spec__.name == f"casacore.{name}"
    assert getattr(importlib.import_module("pyrap"), name) is module


@pytest.mark.usefixtures("_no_real_pyrap")
def test_unknown_pyrap_module_is_missing():
    with pytest.raises(ModuleNotFoundError, match=r"pyrap\.nothing"):
        importlib.import_module("pyrap.nothing")


def test_install_imports_nothing_heavy():
    code = (
        "import sys; from lofarpipe.support.python2 import loader as python2\n"
        "from lofarpipe.support.python2.imports import FormerNames\n"
        "python2.install(); a = 'fissix' in sys.modules\n"
        "FormerNames.exec_module(type(sys)('pyrap')); print(a, 'casacore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_translation_works_without_home(write):
    """The translator's library would keep a cache there."""
    code = f"from lofarpipe.support.python2.loader import load_module; load_module('a', {str(write('print 1'))!r})"
    environment = {**os.environ, "HOME": "/proc", "XDG_CACHE_HOME": "/proc/none"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
