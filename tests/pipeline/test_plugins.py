"""Plugins in the runner: look-up, loading of any Python, call (doc/spec/lofarpipe.md, sections 7.1 and 7.4)."""

from __future__ import annotations

import os
import sys

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.plugins import STEP_PREFIX, find_plugin, load, run_plugin
from lofarpipe.support.python2 import loader as python2


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(python2._Neighbours, "directories", [])
    python2.take_notices()
    yield
    for name in [name for name in sys.modules if name.startswith(STEP_PREFIX)]:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path):
    def write(name, source):
        path = tmp_path / f"{STEP_PREFIX}{name}.py"
        path.write_text(source)
        return path

    return write


def test_python_2_plugin_gives_one_notice(write, capsys):
    path = write("old", "def plugin_main(args, **kwargs):\n    print 'n is', kwargs['n']\n    return {'n': args[0]}\n")
    assert run_plugin(path, ["a"], {"n": "3"}) == {"n": "a"}
    assert capsys.readouterr().out == "n is 3\n"
    assert python2.take_notices() == [f"{path}: Python 2 source; translated in memory (5 / 2 is 2 in it)"]
    run_plugin(path, ["a"], {"n": "3"})
    assert python2.take_notices() == []


def test_plugin_keeps_its_state_between_calls(write):
    path = write("counter", "calls = []\ndef plugin_main(args):\n    calls.append(1)\n    return {'n': len(calls)}\n")
    assert [run_plugin(path, [], {})["n"] for _ in range(2)] == [1, 2]


def test_imported_plugin_has_old_builtins(write):
    write("helper", "def names(n):\n    return [unicode(i) for i in xrange(n)]\n")
    path = write("user", "from PipelineStep_helper import names\ndef plugin_main(args):\n    return {'n': names(2)}\n")
    assert run_plugin(path, [], {}) == {"n": ["0", "1"]}


MAP_CLASSES = """
from lofarpipe.support.data_map import DataMap, DataProduct
class Several(DataProduct):
    def __init__(self, host=None, file=None, skip=True):
        super(Several, self).__init__(host, file, skip)
        self.file = file if isinstance(file, list) else list()
    def __repr__(self):
        return "{{'host': '{0}', 'file': {1}, 'skip': {2}}}".format(self.host, self.file, str(self.skip))
class SeveralMap(DataMap):
    @DataMap.data.setter
    def data(self, data):
        if isinstance(data, DataMap):
            hosts = {}
            data.iterator = DataMap.SkipIterator
            for item in data:
                if not item.host in hosts:
                    hosts[item.host] = []
                hosts[item.host].append(item.file)
            self._set_data([Several(k, v, False) for k, v in hosts.iteritems()], dtype=Several)
        elif data:
            self._set_data(data, dtype=Several)
def plugin_main(args, **kwargs):
    print 'joining', kwargs['mapfile_in']
    SeveralMap([])
    SeveralMap(DataMap.load(kwargs['mapfile_in'])).save(kwargs['out'])
    return {'mapfile': kwargs['out']}
"""


def test_map_classes_of_python_2_plugins(write, tmp_path):
    source = "[('n1', '/a', False), ('n2', '/b', True), ('n1', '/c', False)]"
    (tmp_path / "in").write_text(source)
    run_plugin(write("several", MAP_CLASSES), [], {"mapfile_in": str(tmp_path / "in"), "out": str(tmp_path / "out")})
    assert (tmp_path / "out").read_text() == "[{'host': 'n1', 'file': ['/a', '/c'], 'skip': False}]"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "def plugin_main(:\n",
            r":1: the plugin cannot be loaded: SyntaxError: invalid syntax; and as Python 2: line 1",
        ),
        ("print 1\nimport not_there\n", r":2: the plugin cannot be loaded: ModuleNotFoundError: .*'not_there'"),
        ("print 1\n", r": the plugin has no function plugin_main; define plugin_main\(\.\.\.\)"),
    ],
)
def test_unloadable_plugin_names_reason(write, source, reason):
    with pytest.raises(PipelineError, match=f"PipelineStep_bad.py{reason}"):
        load(write("bad", source), "plugin_main")


def test_failing_plugin_names_its_line(write):
    path = write("bad", "from urllib import quote, urlopen\ndef plugin_main(args):\n    raise ValueError, 'no'\n")
    with pytest.raises(PipelineError, match=r"bad\.py:3: the plugin failed: ValueError: no$"):
        run_plugin(path, [], {})
    path = write(
        "own", "from lofarpipe.errors import PipelineError\ndef plugin_main(a):\n    raise PipelineError('x')\n"
    )
    with pytest.raises(PipelineError, match=r"^x$"):
        run_plugin(path, [], {})
    path = write("silent", "def plugin_main(a):\n    raise KeyError\n")
    with pytest.raises(PipelineError, match="KeyError: no message"):
        run_plugin(path, [], {})


def test_first_directory_provides_plugin(write, tmp_path):
    (tmp_path / "later").mkdir()
    (tmp_path / "later" / "PipelineStep_a.py").touch()
    first = write("a", "")
    assert find_plugin(STEP_PREFIX, "a", [tmp_path, tmp_path / "later"]) == first
    with pytest.raises(PipelineError, match="no plugin 'createMapfil'; did you mean 'createMapfile'"):
        find_plugin(STEP_PREFIX, "createMapfil", [tmp_path, write("createMapfile", "").parent])


def test_changed_plugin_is_loaded_again(write):
    path = write("a", "def plugin_main(args):\n    return {'n': 1}\n")
    assert run_plugin(path, [], {}) == {"n": 1}
    write("a", "def plugin_main(args):\n    return {'n': 2}\n")
    os.utime(path, ns=(1, 1))
    assert run_plugin(path, [], {}) == {"n": 2}
