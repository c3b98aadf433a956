"""Completion of our own command line: the candidates, and the shells that ask for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lofarpipe.cli import main
from lofarpipe.cli.arguments import COMMANDS, VERBS
from lofarpipe.cli.candidates import SHELLS, candidates

FIELD = """\
! owner = me     ## {text} who owns it
! mode = fast    ## {fast | slow} how
! mask = none    ## {path or none} a file
pipeline.steps = [list]
list.control.kind = plugin
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "field.parset").write_text(FIELD)
    (tmp_path / "mask.fits").touch()
    (tmp_path / "run1").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "kind", "expected"),
    [
        (["ru"], "files", ["run"]),
        (["run", "fie"], "files", ["field.parset"]),
        (["run", "image.p"], "files", ["image.parset"]),
        (["check", "field.parset", "--js"], "none", ["--json"]),
        (["check", "field.parset", "--forg"], "none", []),
        (["field.parset", "-s", "m"], "none", ["mode=", "mask="]),
        (["field.parset", "-s", "mode="], "none", ["mode=fast", "mode=slow"]),
        (["field.parset", "--set=mode=s"], "none", ["--set=mode=slow"]),
        (["field.parset", "-s", "mask="], "files", ["mask=none"]),
        (["field.parset", "-s", "owner=m"], "none", ["owner=me"]),
        (["field.parset", "-s", "nothing="], "none", []),
        (["-s", "m"], "none", []),
        (["field.parset", "--forget", ""], "none", ["list"]),
        (["--forget", ""], "none", []),
        (["field.parset", "-c", ""], "files", []),
        (["field.parset", "-r", ""], "directories", []),
        (["field.parset", "--cores", ""], "none", []),
        (["field.parset", ""], "files", []),
        (["status", ""], "directories", []),
        (["imgpipe", ""], "files", []),
        (["completion", ""], "none", ["bash", "zsh", "fish"]),
    ],
)
def test_words_give_candidates(here: Path, words: list[str], kind: str, expected: list[str]) -> None:
    found_kind, found = candidates(words)
    assert (found_kind, [one.text for one in found]) == (kind, expected)


def test_first_word_completes_commands(here: Path) -> None:
    assert {one.text for one in candidates([""])[1]} >= {*VERBS, *COMMANDS, "imgpipe", "field.parset", "image.parset"}


def test_candidates_have_their_meaning(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "--", "field.parset", "-s", "ow"]) == 0
    assert capsys.readouterr().out == "none\nowner=\twho owns it\n"


def test_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bsh"]) == 2
    assert "completion bsh: one of bash, zsh, fish is needed; did you mean 'bash'?" in capsys.readouterr().err


# ---- the shells


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """The command, under its name, in a directory of its own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "genericpipeline.py"
    path.write_text(f"#!/bin/sh\nexec '{sys.executable}' -P -m lofarpipe \"$@\"\n")
    path.chmod(0o755)
    return path


def asked(shell: list[str], command: Path, here: Path, *words: str) -> list[str]:
    """Return the output of a shell that has read the completion."""
    script = here / "completion"
    script.write_text(SHELLS[shell[0]])
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "HOME": str(here)}
    run = subprocess.run(
        [*shell, str(script), *words], cwd=here, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    return run.stdout.splitlines()


IN_BASH = """
source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; _genericpipeline; printf '%s\\n' "${COMPREPLY[@]}"
complete -p genericpipeline.py
"""
IN_ZSH = """
compdef() { :; }; compset() { :; }; compadd() { while [[ $1 != -- ]] shift; shift; print -l -- "$@"; }
_files() { print files; }
source "$1"; words=(${(z)2}); [[ $2 == *' ' ]] && words+=(""); CURRENT=$#words; _genericpipeline
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_options_and_values(here: Path, command: Path) -> None:
    def of_bash(line: str) -> list[str]:
        *found, registered = asked(["bash", "-c", IN_BASH, "bash"], command, here, line)
        assert registered == "complete -F _genericpipeline genericpipeline.py"
        return found

    assert of_bash("genericpipeline.py run field.parset -s m") == ["mode=", "mask="]
    assert of_bash("genericpipeline.py run field.parset -s mode=") == ["fast", "slow"]  # = breaks words
    assert of_bash("genericpipeline.py run field.parset -s mask=ma") == ["mask.fits"]
    assert of_bash("genericpipeline.py status r") == ["run1"]


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_completes_options_and_values(here: Path, command: Path) -> None:
    def of_zsh(line: str) -> list[str]:
        return asked(["zsh", "-fc", IN_ZSH, "zsh"], command, here, line)

    assert of_zsh("genericpipeline.py run field.parset -s m") == ["mode=", "mask="]
    assert of_zsh("genericpipeline.py run field.parset -s mode=") == ["mode=fast", "mode=slow"]
    assert of_zsh("genericpipeline.py run field.parset -c ") == ["files"]


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes_options_and_values(here: Path, command: Path) -> None:
    def of_fish(line: str) -> list[str]:
        printed = asked(["fish", "-c", "source $argv[1]; complete -C $argv[2]"], command, here, line)
        return sorted(text.partition("\t")[0] for text in printed)

    assert of_fish("genericpipeline.py run field.parset -s m") == ["mask=", "mode="]
    assert of_fish("genericpipeline.py run field.parset -s mode=") == ["mode=fast", "mode=slow"]
    assert of_fish("genericpipeline.py status r") == ["run1/"]
