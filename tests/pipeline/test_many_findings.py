"""Generated and hostile pipelines: the check of many wrong keys is linear in time, with short output."""

import difflib

import pytest

from lofarpipe import errors
from lofarpipe.cli import main

MANY = 3000
CONFIG = "[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\nrecipe_directories = []\n"
ONE = "pipeline.steps = [one]\none.control.type = executable_args\none.control.executable = /bin/true\n"


def repeated(line):
    return "".join(line.format(n=number) for number in range(MANY))


def listed(name):
    return "[" + ",".join(f"{name}{number}" for number in range(MANY)) + "]"


PLUGINS = repeated("y{n}.control.kind = plugin\ny{n}.control.type = makeDirectory\n")
PARSETS = {
    "keys": ONE + repeated("x{n}.argument.y = 1\n"),
    "parts": ONE + repeated("one.x{n} = 1\n"),
    "control keys": ONE + repeated("one.control.x{n} = 1\n"),
    "steps": f"pipeline.steps = {listed('y')}\n" + repeated("x{n}.control.type = executable_args\n"),
    "references": f"pipeline.steps = {listed('y')}\n{PLUGINS}" + repeated("y{n}.control.directory = z{n}.output.a\n"),
    "variables": repeated("! d{n} = 1\n") + ONE + repeated("one.argument.a{n} = {{{{ x{n} }}}}\n"),
    "ready steps": ONE + repeated("x{n}.use = nothing{n}\n"),
    "options": repeated("! d{n} = 1\n") + "pipeline.base = base.parset\n",
    "DP3's keys": ONE + "one.control.program = dp3\none.argument.steps = []\n" + repeated("one.argument.x{n}.y = 1\n"),
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("what", PARSETS)
def test_comparisons_and_messages_are_bounded(tmp_path, monkeypatch, capsys, what):
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "base.parset").write_text(ONE + repeated("! e{n} = 1\n"))
    (tmp_path / "a.parset").write_text(PARSETS[what])
    monkeypatch.chdir(tmp_path)
    compared = []
    similar = difflib.get_close_matches
    monkeypatch.setattr(
        difflib,
        "get_close_matches",
        lambda name, known, n: compared.append(len(known)) or similar(name, known, n),
    )
    assert main(["a.parset", "--check"]) == 1
    said = capsys.readouterr().err.splitlines()
    lines = [line for line in said if not line.startswith("warning: ")]
    assert len(said) <= len(lines) + 1
    assert len(lines) == errors.MOST_LISTED + 2
    assert sum(map(len, said)) < 100_000
    assert lines[-2].startswith("... and ")
    assert int(lines[-1].split()[0]) >= MANY
    assert len(compared) <= 3 * errors.MOST_SUGGESTIONS  # of three lists of findings at most
    assert max(compared, default=0) <= errors.MOST_COMPARED


def test_number_of_warnings_is_bounded(tmp_path, monkeypatch, capsys):
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "a.parset").write_text(PARSETS["keys"])
    monkeypatch.chdir(tmp_path)
    assert main(["a.parset", "--lenient", "--dry-run"]) == 0
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("# warning: ")]
    assert len(warnings) == errors.MOST_LISTED + 1
    assert warnings[-1] == f"# warning: ... and {MANY - errors.MOST_LISTED} more"
