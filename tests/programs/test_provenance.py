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


def test_real_programs_have_versions():
    lines = version_lines({"wsclean": find("wsclean"), "DP3": find("DP3")})
    assert lines[0] == f"genericpipeline {lofarpipe.__version__}"
    assert lines[1].startswith("WSClean version 3.")
    assert lines[2].startswith("DP3 6.")
    assert lines[3].startswith("everybeam 0.")


def test_missing_program_is_listed():
    assert "wsclean: not found on this machine" in version_lines({"wsclean": None})


def test_missing_package_is_listed(monkeypatch):
    monkeypatch.setattr(provenance, "PYTHON_PACKAGES", ("no-such-package",))
    assert version_lines({})[-1] == "no-such-package (not installed)"


def test_silent_program_has_no_version(tmp_path):
    with pytest.raises(PipelineError, match=r"--version printed nothing \(exit code 3\)"):
        program_version(program(tmp_path, "exit 3"))


def test_hanging_program_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "VERSION_TIMEOUT_S", 0.2)
    with pytest.raises(PipelineError, match=r"--version failed: .*timed out"):
        program_version(program(tmp_path, "exec sleep 20"))


def test_missing_file_has_no_version(tmp_path):
    with pytest.raises(PipelineError, match="--version failed"):
        program_version(tmp_path / "nowhere")


def test_command_file_has_one_per_line(tmp_path):
    (tmp_path / "commands.txt").write_text("average/000: DP3 msin=a\n\nwsclean/000: wsclean -name b\n")
    assert command_lines(tmp_path / "commands.txt") == ["average/000: DP3 msin=a", "wsclean/000: wsclean -name b"]
    assert command_lines(tmp_path / "commands.txt", "average") == ["average/000: DP3 msin=a"]
    assert len(command_lines(tmp_path / "commands.txt", "aver")) == 2  # no such step: all of them


def test_missing_command_file_is_reported(tmp_path):
    with pytest.raises(PipelineError, match=r"commands\.txt: the commands of this run cannot be read: No such file"):
        command_lines(tmp_path / "commands.txt")
