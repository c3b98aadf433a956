"""The first word of the command line."""

from __future__ import annotations

import importlib

import pytest

from lofarpipe import cli
from lofarpipe.cli.arguments import COMMANDS
from lofarpipe.errors import PipelineError


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_has_main(name: str) -> None:
    assert callable(importlib.import_module(COMMANDS[name]).main)


def test_subcommand_gets_remaining_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lofarpipe.cli.status.main", lambda words: len(words))
    assert cli.main(["status", "a", "--follow"]) == 2


def test_subcommand_name_may_be_parset(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "status.parset").write_text("pipeline.steps = []\n")
    (tmp_path / "status").write_text("pipeline.steps = []\n")
    assert [cli.main(["--list", name, "-j", "job"]) for name in ("./status", "status.parset")] == [0, 0]


@pytest.mark.parametrize(("flags", "has_trace"), [([], False), (["-d"], True)])
def test_subcommand_error_is_reported(monkeypatch, capsys, flags, has_trace) -> None:
    def fail(words):
        raise PipelineError("it is not there")

    monkeypatch.setattr("lofarpipe.cli.status.main", fail)
    assert cli.main(["status", *flags]) == cli.EXIT_FAILED
    said = capsys.readouterr().err
    assert said.endswith("genericpipeline.py: it is not there\n")
    assert ("Traceback" in said) == has_trace
