"""Versions and commands for the HISTORY of an image."""

from __future__ import annotations

import pytest

import lofarpipe
from lofarpipe.errors import PipelineError
from lofarpipe.programs import find as provenance
from lofarpipe.programs.find import command_lines, find, program_version, version_lines


def program(tmp_path, body):
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_versions_of_the_real_programs():
    lines = version_lines({"wsclean": find("wsclean"), "DP3": find("DP3")})
    assert lines[0] == f"genericpipeline {lofarpipe.__version__}"
    assert lines[1].startswith("WSClean version 3.")
    assert lines[2].startswith("DP3 6.")
    assert lines[3].startswith("everybeam 0.")


def test_program_that_is_not_there():
    assert "wsclean: not found on this machine" in version_lines({"wsclean": None})


def test_package_that_is_not_there(monkeypatch):
    monkeypatch.setattr(provenance, "PYTHON_PACKAGES", ("no-such-package",))
    assert version_lines({})[-1] == "no-such-package (not installed)"


def test_program_that_says_nothing(tmp_path):
    with pytest.raises(PipelineError, match=r"--version printed nothing \(exit code 3\)"):
        program_version(program(tmp_path, "exit 3"))


def test_program_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "VERSION_TIMEOUT_S", 0.2)
    with pytest.raises(PipelineError, match=r"--version failed: .*timed out"):
        program_version(program(tmp_path, "exec sleep 20"))


def test_file_that_is_no_program(tmp_path):
    with pytest.raises(PipelineError, match="--version failed"):
        program_version(tmp_path / "nowhere")


def test_commands_one_a_line(tmp_path):
    (tmp_path / "commands.txt").write_text("average/000: DP3 msin=a\n\nwsclean/000: wsclean -name b\n")
    assert command_lines(tmp_path / "commands.txt") == ["average/000: DP3 msin=a", "wsclean/000: wsclean -name b"]
    assert command_lines(tmp_path / "commands.txt", "average") == ["average/000: DP3 msin=a"]
    assert len(command_lines(tmp_path / "commands.txt", "aver")) == 2  # no such step: all of them


def test_commands_that_are_not_there(tmp_path):
    with pytest.raises(PipelineError, match=r"commands\.txt: the commands of this run cannot be read: No such file"):
        command_lines(tmp_path / "commands.txt")
