"""Scripts that run as jobs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lofarpipe.engine import script_job as python_plugin
from lofarpipe.engine.script_job import ScriptError, load_main, read_spec, returned_texts, write_result
from lofarpipe.programs.find import job_environment


class Plugin:
    """A script, and the outcome of its call as a job."""

    def __init__(self, directory: Path, script: str, name: str = "script.py") -> None:
        self.directory = directory
        self.script = directory / name
        self.script.write_text(script)
        self.result = directory / "result.json"
        self.process: subprocess.CompletedProcess[str] | None = None

    def call(self, *args: str, **kwargs: str) -> int:
        spec = {"script": str(self.script), "args": args, "kwargs": kwargs, "result": str(self.result)}
        (self.directory / "spec.json").write_text(json.dumps(spec))
        self.process = subprocess.run(
            [sys.executable, "-m", "lofarpipe.engine.script_job", str(self.directory / "spec.json")],
            cwd=self.directory,
            env={**os.environ, **job_environment()},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        return self.process.returncode

    @property
    def lines(self) -> list[str]:
        assert self.process is not None
        return self.process.stdout.splitlines()


def test_dictionary_is_written_as_text(tmp_path: Path) -> None:
    script = "def main(a, b, c='', **rest):\n    return {'a': a + b, 'rest': rest, 'n': 3, 'flag': True, 4: None}\n"
    plugin = Plugin(tmp_path, script)
    assert plugin.call("1", "2", **{"c": "x", "plot.minmax": "[0,1]"}) == 0
    expected = {"a": "12", "rest": "{'plot.minmax': '[0,1]'}", "n": "3", "flag": "True", "4": "None"}
    assert json.loads(plugin.result.read_text()) == expected
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("returned", ["None", "0", "{}", "()", "''", "False"])
def test_false_values_are_success_without_values(tmp_path: Path, returned: str) -> None:
    plugin = Plugin(tmp_path, f"def main():\n    return {returned}\n")
    assert plugin.call() == 0
    assert json.loads(plugin.result.read_text()) == {}


@pytest.mark.parametrize("returned", ["1", "-1", "[1]", "'no'"])
def test_invalid_return_value_is_failure(tmp_path: Path, returned: str) -> None:
    plugin = Plugin(tmp_path, f"def main():\n    return {returned}\n")
    assert plugin.call() == 1
    assert plugin.lines[-1].endswith(
        f"script.py: main returned {returned}; only a dictionary, None or 0 say that it succeeded"
    )
    assert not plugin.result.exists()


@pytest.mark.parametrize(("argument", "exit_code"), [("", 0), ("0", 0), ("3", 3), ("'reason'", 1)])
def test_sys_exit_sets_exit_code(tmp_path: Path, argument: str, exit_code: int) -> None:
    plugin = Plugin(tmp_path, f"import sys\ndef main():\n    sys.exit({argument})\n")
    plugin.result.write_text('{"stale": "yes"}')
    assert plugin.call() == exit_code
    assert not plugin.result.exists()
    assert plugin.lines == (["reason"] if argument == "'reason'" else [])


def test_exception_shows_traceback_and_last_line(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path, "def main():\n    print('working')\n    raise ValueError('two\\nlines')\n")
    assert plugin.call() == 1
    assert plugin.lines[0] == "working"
    assert "raise ValueError" in "".join(plugin.lines)
    assert plugin.lines[-1] == f"{plugin.script}:3: ValueError: two lines"


def test_error_for_users_has_no_traceback(tmp_path: Path) -> None:
    script = "from lofarpipe.errors import PipelineError\ndef main():\n    raise PipelineError('a.ms: no such set')\n"
    plugin = Plugin(tmp_path, script)
    assert plugin.call() == 1
    assert plugin.lines == ["a.ms: no such set"]


def test_wrong_call_names_argument(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path, "def main(a):\n    pass\n")
    assert plugin.call("1", b="2") == 1
    assert plugin.lines[-1].endswith("TypeError: main() got an unexpected keyword argument 'b'")


def test_module_is_called_main(tmp_path: Path) -> None:
    script = (
        "import sys\ndef main():\n    return {'n': __name__, 'f': __file__, 'm': sys.modules['main'].main is main}\n"
    )
    plugin = Plugin(tmp_path, script + "if __name__ == '__main__':\n    main(1)\n")
    assert plugin.call() == 0
    assert json.loads(plugin.result.read_text()) == {"n": "main", "f": str(plugin.script), "m": "True"}


def test_script_without_extension_and_its_directory(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "beside.py").touch()
    plugin = Plugin(tmp_path, "def main():\n    import beside\n", "bin/script")
    assert plugin.call() == 1
    assert plugin.lines[-1].endswith("No module named 'beside'")


def test_script_can_import_this_package(tmp_path: Path) -> None:
    script = "from lofarpipe.support.data_map import DataMap\ndef main():\n    return {'n': len(DataMap([]))}\n"
    plugin = Plugin(tmp_path, script)
    assert plugin.call() == 0


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("mian = 1\n", ": it has no function 'main', which a pythonplugin step calls"),
        ("main = 1\n", ": it has no function 'main'"),
        ("\ndef main(:\n", ":2: SyntaxError: invalid syntax; and as Python 2: line 2: bad input at ':'"),
        ("import nothing_of_that_name\n", ":1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    ],
)
def test_uncallable_script_names_reason(tmp_path: Path, script: str, reason: str) -> None:
    plugin = Plugin(tmp_path, script)
    assert plugin.call() == 1
    assert f"{plugin.script}{reason}" in plugin.lines[-1]


PYTHON_2 = """from pyrap import tables as pt
def main(n):
    print "counting to", n
    total = 0
    for i in xrange(int(n)):
\ttotal += i
    if total > 5:
        raise ValueError, "too much"
    return {'total': long(total), 'casacore': pt.table.__module__}
"""


def test_python_2_script_runs(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path, PYTHON_2)
    assert plugin.call("3") == 0
    assert plugin.lines == [
        f"### {plugin.script}: Python 2 source; translated in memory (5 / 2 is 2 in it)",
        "counting to 3",
    ]
    assert json.loads(plugin.result.read_text()) == {"total": "3", "casacore": "casacore.tables.table"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result.json", "script.py", "spec.json"]


def test_script_imports_python_2_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "counting.py").write_text("def count(n):\n    print 'counting'\n    return xrange(n)\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(library), os.environ.get("PYTHONPATH", "")]))
    plugin = Plugin(tmp_path, "import counting\ndef main(n):\n    return {'n': len(counting.count(int(n)))}\n")
    assert plugin.call("3") == 0
    assert plugin.lines == [
        f"### {library}/counting.py: Python 2 source; translated in memory (5 / 2 is 2 in it)",
        "counting",
    ]
    assert json.loads(plugin.result.read_text()) == {"n": "3"}


def test_error_shows_line_of_python_2_source(tmp_path: Path) -> None:
    plugin = Plugin(tmp_path, PYTHON_2)
    assert plugin.call("9") == 1
    assert plugin.lines[-1] == f"{plugin.script}:8: ValueError: too much"
    assert '    raise ValueError, "too much"' in plugin.lines


def test_portable_script_has_old_builtins(tmp_path: Path) -> None:
    script = "try:\n    n = xrange(2)\nexcept NameError:\n    n = []\ndef main():\n    return {'n': 5 / 2, 'of': n}\n"
    plugin = Plugin(tmp_path, script)
    assert plugin.call() == 0
    assert plugin.lines == []
    assert json.loads(plugin.result.read_text()) == {"n": "2.5", "of": "range(0, 2)"}


def test_numpy_numbers_are_written_plainly(tmp_path: Path) -> None:
    script = "import numpy as n\ndef main():\n    return {'n': [n.linalg.norm([3.0, 4.0])], 's': [n.float64(2)]}\n"
    plugin = Plugin(tmp_path, script)
    assert plugin.call() == 0
    assert json.loads(plugin.result.read_text()) == {"n": "[5.0]", "s": "[2.0]"}


def test_missing_script_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"none\.py: no such script"):
        load_main(str(tmp_path / "none.py"))


@pytest.mark.parametrize("text", [None, "{", '"text"', '{"script": "a", "args": []}'])
def test_unreadable_spec_is_refused(tmp_path: Path, text: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spec.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ScriptError, match="job description"):
        read_spec(path)


def test_wrong_usage_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert python_plugin.main(["python_plugin"]) == 1
    assert "usage: python -m lofarpipe.engine.script_job spec.json" in capfd.readouterr().err


def test_unreadable_spec_ends_log(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lofarpipe.engine.script_job", str(tmp_path / "none.json")]
    done = subprocess.run(command, env={**os.environ, **job_environment()}, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{tmp_path / 'none.json'}: not a readable job description: ")


def test_result_file_is_complete_or_absent(tmp_path: Path) -> None:
    write_result(tmp_path / "r.json", {"a": "1"})
    write_result(tmp_path / "r.json", {"a": "2"})
    assert json.loads((tmp_path / "r.json").read_text()) == {"a": "2"}
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_result_file_is_read() -> None:
    assert returned_texts({"a": [1]}, "s.py") == {"a": "[1]"}
    with pytest.raises(ScriptError, match=r"s\.py: main returned \[1\]"):
        returned_texts([1], "s.py")


def test_script_job_imports_few_modules() -> None:
    heavy = {"casacore", "dataclasses", "fissix", "inspect", "typing", "numpy"}
    code = f"import sys, lofarpipe.engine.script_job; print(*{heavy} & set(sys.modules))"
    environment = {**os.environ, **job_environment()}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == []
