"""Where CASA is, and runs of its tasks, with a stand-in for casatasks."""

import json
import sys

import pytest

from lofarpipe.programs import casa
from lofarpipe.programs.casa import CasaError, find_casa, run_tasks

STUB = """
from pathlib import Path


class Array:
    def tolist(self):
        return [4.2, 0.0]


def gaincal(caltable, **keywords):
    if keywords.get("gaintype") == "G":
        Path(caltable).mkdir()


def fluxscale(**keywords):
    return {1: {"fluxd": Array(), "names": ("a", None), "what": object}}


def setjy(**keywords):
    raise RuntimeError("no such field")
"""


@pytest.fixture
def python(tmp_path):
    """A Python that has a casatasks."""
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub" / "casatasks.py").write_text(STUB)
    path = tmp_path / "python"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/stub exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return path


def test_tasks_return_plain_values(python, tmp_path, capsys):
    tasks = [("gaincal", {"caltable": str(tmp_path / "x.G1"), "gaintype": "G"}), ("fluxscale", {"reference": "0"})]
    results = run_tasks(find_casa(str(python)), tasks, tmp_path / "work")
    assert results == [None, {"1": {"fluxd": [4.2, 0.0], "names": ["a", None], "what": "<class 'object'>"}}]
    assert "gaincal(caltable=" in capsys.readouterr().out
    assert json.loads((tmp_path / "work" / "tasks.json").read_text())[1]["task"] == "fluxscale"
    assert "measures_auto_update = False" in (tmp_path / "work" / "casa_site.py").read_text()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (("setjy", {}), "CASA exited with 1: setjy: no such field"),
        (("gaincal", {"caltable": "none.K0", "gaintype": "K"}), "gaincal: wrote no none.K0: it found no solution"),
    ],
)
def test_failing_task_is_named(python, tmp_path, task, message):
    with pytest.raises(CasaError, match=message):
        run_tasks(python, [task], tmp_path / "work")


def test_missing_casa_is_refused(tmp_path, monkeypatch):
    with pytest.raises(CasaError, match=r"casa_python: /nowhere/python cannot be run: .*pip install"):
        find_casa("/nowhere/python")
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(CasaError, match="has no casatasks; pip install"):
        find_casa(str(bare))
    monkeypatch.setattr(casa, "find_spec", lambda name: None)
    with pytest.raises(CasaError, match="casa needs casatasks, which is not installed"):
        find_casa()
    monkeypatch.setattr(casa, "find_spec", lambda name: name)
    assert str(find_casa()) == sys.executable
