"""Completion of a command line, asked as the shells ask it."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lofarpipe.cli.completion import completion


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for name in ("A.MS", "my set.MS", "out"):
        (tmp_path / name).mkdir()
    for name in ("img.toml", "other file.toml", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def of_imgpipe(here: Path, shell: str) -> Path:
    words = [sys.executable, "-m", "lofarpipe.cli", "imgpipe", "--completion", shell]
    printed = subprocess.run(words, cwd=here, check=True, capture_output=True, text=True).stdout
    path = here.parent / f"{here.name}.{shell}"
    path.write_text(printed)
    return path


BASH = """
source "$0"; COMP_WORDS=(imgpipe "$@"); COMP_CWORD=$#; _imgpipe; printf '%s\\n' "${COMPREPLY[@]}"; complete -p imgpipe
"""


def asked_of_bash(here: Path, script: Path, *words: str) -> set[str]:
    run = subprocess.run(["bash", "-c", BASH, script, *words], cwd=here, check=True, capture_output=True, text=True)
    assert run.stderr == ""
    *offered, registered = run.stdout.splitlines()
    assert registered == "complete -F _imgpipe imgpipe"
    return set(filter(None, offered))


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_offers_options_files_and_sets(here: Path) -> None:
    script = of_imgpipe(here, "bash")
    assert asked_of_bash(here, script, "--comb") == {"--combine", "--combine_obs_ids", "--combine-obs-ids"}
    assert asked_of_bash(here, script, "") >= {"img.toml", "other file.toml", "A.MS", "out", "status"}
    assert "notes.txt" not in asked_of_bash(here, script, "")
    assert asked_of_bash(here, script, "img.toml", "") == {"A.MS", "my set.MS", "out"}
    assert asked_of_bash(here, script, "img.toml", "my") == {"my set.MS"}
    assert asked_of_bash(here, script, "status", "o") == {"out"}
    assert asked_of_bash(here, script, "--completion", "") == {"bash", "zsh", "fish"}
    assert asked_of_bash(here, script, "--job-dir", "o") == {"out"}
    assert asked_of_bash(here, script, "--config", "n") == {"notes.txt"}
    assert asked_of_bash(here, script, "--set", "") == set()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_options_files_and_sets(here: Path) -> None:
    script = of_imgpipe(here, "fish")

    def asked(line: str) -> set[str]:
        command = ["fish", "-c", "source $argv[1]; complete -C $argv[2]", str(script), line]
        printed = subprocess.run(command, cwd=here, check=True, capture_output=True, text=True).stdout
        return {text.partition("\t")[0] for text in printed.splitlines()}

    assert asked("imgpipe --comb") >= {"--combine", "--combine_obs_ids"}
    assert asked("imgpipe im") == {"img.toml"}
    assert asked("imgpipe st") == {"status"}
    assert asked("imgpipe img.toml A") == {"A.MS/"}
    assert asked("imgpipe --completion ") == {"bash", "zsh", "fish"}


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_accepts_completion_function(here: Path) -> None:
    script = of_imgpipe(here, "zsh")
    load = 'autoload -U compinit; compinit -u -D; source "$1"; print $_comps[imgpipe]; whence -w _imgpipe'
    run = subprocess.run(["zsh", "-fc", load, "zsh", script], cwd=here, check=True, capture_output=True, text=True)
    assert run.stdout.splitlines() == ["_imgpipe", "_imgpipe: function"]
    assert run.stderr == ""
    assert "'(-c --combine)'{-c,--combine}'[one job for each group of sets]' \\" in script.read_text()


def test_quotes_in_help_are_escaped() -> None:
    parser = argparse.ArgumentParser("it")
    parser.add_argument("--odd", help="don't [do]: this", metavar="WORD")
    assert "'[dont (do)  this]:word:()'" in completion("zsh", parser, ())
    assert "-d 'don\\'t [do]: this'" in completion("fish", parser, ())
