"""Consequences of a reported mistake are not reported again, in the image pipeline itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.cli import main

NO_SET = "/nowhere/a.MS: no such measurement set"


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """A function that checks the image pipeline with more arguments, and returns the findings."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def check(*arguments: str) -> list[str]:
        assert main(["--check", "image.parset", "-s", "data_input_filenames=[/nowhere/a.MS]", *arguments]) == 1
        said = capsys.readouterr().err.removeprefix("genericpipeline.py: ").replace(f"{tmp_path}/", "").splitlines()
        return [line for line in said[:-1] if line != NO_SET]

    return check


@pytest.mark.parametrize(("option", "name"), [("-w", "--working-directory"), ("-r", "--runtime-directory")])
def test_missing_directory_is_reported_once(told, option: str, name: str) -> None:
    said = f"command line: {name} is /proc/gone, which is no directory; create it, or set another one"
    assert told(option, "/proc/gone") == [said]


def test_wrong_value_is_reported_once(told) -> None:
    assert told("-s", "local_rms=yes") == ["command line: local_rms is 'yes'; one of True, False is needed"]


def test_undeliverable_output_is_reported_once(told, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    found = told("-s", "image_output_filenames=[out]")
    assert found == ["image_output_filenames: out is a directory; the name of a file is needed"]


def test_missing_site_directories_are_reported_once(told, tmp_path: Path) -> None:
    (tmp_path / "site.cfg").write_text("[remote]\nmethod = local\n[slurm]\npartition = fast\n")
    advice = "set it to the directory below which runs work, such as %(cwd)s"
    assert told("-c", "site.cfg") == [
        f"site.cfg: [DEFAULT]: [DEFAULT] has no {key}; {advice}" for key in ("runtime_directory", "working_directory")
    ]


def test_undefined_variable_is_reported_once(told) -> None:
    (line,) = told("-s", "wsclean_high_deep.argument.nmiter={{ nitr }}")
    assert "'{{ nitr }}' is not defined" in line
