"""A known program called by a script."""

import os
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.programs.call import call_program
from lofarpipe.programs.dp3 import find_strategy


def fake(tmp_path: Path, monkeypatch, body: str) -> None:
    """Put a DP3 that runs a shell script first on PATH."""
    program = tmp_path / "DP3"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_program_gets_its_arguments_and_the_cores_of_the_job(tmp_path, monkeypatch, capfd):
    fake(tmp_path, monkeypatch, 'echo "got $@"')
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    call_program("dp3", {"msin": "a.ms", "steps": "[]"}, [])
    printed = capfd.readouterr().out
    assert "msin=a.ms" in printed.split("got ")[1]
    assert "numthreads=3" in printed


@pytest.mark.parametrize(
    ("body", "message"), [("echo it broke; exit 3", "ended with 3: it broke"), ("exit 4", "it said nothing")]
)
def test_failure_names_the_last_word(tmp_path, monkeypatch, body, message):
    fake(tmp_path, monkeypatch, body)
    with pytest.raises(PipelineError, match=message):
        call_program("dp3", {"msin": "a.ms"}, [])


def test_strategies_are_found_by_name(tmp_path):
    (tmp_path / "mine.lua").write_text("")
    assert find_strategy(str(tmp_path / "mine.lua")) == str(tmp_path / "mine.lua")
    assert Path(find_strategy("generic-default.lua")).is_file()
    with pytest.raises(PipelineError, match=r"strategy: there is no file .*none\.lua"):
        find_strategy(str(tmp_path / "none.lua"))
    with pytest.raises(PipelineError, match=r"has: .*lofar-default\.lua.*did you mean 'generic-default\.lua'"):
        find_strategy("generic-defalt.lua")
