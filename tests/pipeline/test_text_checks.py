"""Steps that are described, and that no list names."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.cli import main

CONFIG = "[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n"
STEP = "{name}.control.type = executable_args\n{name}.control.executable = /bin/true\n"


def step(*names: str) -> str:
    return "".join(STEP.format(name=name) for name in names)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(here: Path, text: str, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[str]]:
    """Return the status of --check, and all lines that it printed."""
    (here / "run.parset").write_text(text)
    status = main(["run.parset", "--check", *more])
    printed = capsys.readouterr()
    return status, (printed.err + printed.out).replace(f"{here}/run", "run").splitlines()


def test_unused_steps_give_one_warning(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "pipeline.steps = [average, clean]\n" + step("average", "clean", "average2", "zap")
    status, lines = check(here, text, capsys)
    assert status == 0
    assert lines[0] == (
        "warning: run.parset:1: these steps are described, and do not run, because no list of steps names them: "
        "average2 (line 6; did you mean 'average'?), zap (line 8)"
    )
    assert len(lines) == 2


def test_misspelt_step_stops_run(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "pipeline.steps = [do_magic]\n" + step("do_magic", "do_magik", "zap")
    status, lines = check(here, text, capsys)
    assert status == 1
    assert lines[0].startswith("warning: run.parset:1: these steps")
    assert lines[0].endswith("names them: zap (line 6)")
    assert lines[1] == "genericpipeline.py: run.parset:4: do_magik: no list of steps names it; did you mean 'do_magic'?"
    assert lines[2] == "1 problem found; nothing was run"


def test_misspelt_list_is_reported_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = check(here, "pipeline.steps = [do_magic]\n" + step("do_magik"), capsys)
    assert status == 1
    assert [line for line in lines if "do_magik" in line] == [
        "genericpipeline.py: run.parset:1: pipeline.steps: there is no step 'do_magic'; did you mean 'do_magik'?"
    ]
    assert not any("warning" in line for line in lines)


def test_every_kind_of_list_counts(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "sub.parset").write_text("pipeline.steps = [one]\n" + step("one", "two"))
    text = (
        "pipeline.steps = [first, again, prepare]\n"
        "pipeline.steps.first = [in_list]\n"
        "pipeline.steps.off = [switched_off, off_loop]\n"
        "again.control.kind = loop\nagain.control.loopsteps = [looped]\nagain.control.loopcount = 1\n"
        "off_loop.control.kind = loop\noff_loop.control.loopsteps = [off_looped]\n"
        "prepare.control.kind = pipeline\nprepare.control.type = sub.parset\n"
        "ObsSW.control.type = x\n! zap.control.type = x\n"
    ) + step("in_list", "switched_off", "looped", "off_looped")
    status, lines = check(here, text, capsys)
    assert status == 0
    assert len(lines) == 2
    assert lines[0].endswith(f"names them: prepare-two ({here}/sub.parset:4; did you mean 'prepare-one'?)")


def test_number_of_named_steps_is_bounded(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, lines = check(here, "pipeline.steps = [a]\n" + step("a", *(f"x{n}y" for n in range(100))), capsys)
    assert status == 0
    assert lines[0].endswith("x29y (line 62) ... and 70 more")


def test_run_warns_of_unused_steps(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "run.parset").write_text("pipeline.steps = []\n" + step("zap"))
    assert main(["run.parset"]) == 0
    assert "zap (line 2)" in capsys.readouterr().err
    assert main(["run.parset", "-n"]) == 0
    assert capsys.readouterr().out.startswith(f"# warning: {here}/run.parset:1: these steps are described")
    assert main(["run.parset", "-q", "--lenient"]) == 0
