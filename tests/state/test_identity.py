"""Version and content identify a program, not its place; an upgrade is named, and may keep finished work."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from copy_pipeline import CONFIG, copy_step, journalled, list_step
from lofarpipe.cli import main
from lofarpipe.state.events import StepDone
from lofarpipe.state.identity import Upgrades, has_identity, mark_of

CONSOLE = "#!{bin}/python\nimport shutil, sys\nshutil.copy(*sys.argv[1:3])\n"
KEPT = "tool.py 1.0 was replaced by 1.1; what it made is kept, as rerun_on_upgrade = False"


def install(prefix: Path, version: str, digest: str) -> Path:
    """Install a command as pip does: a file of its own interpreter, beside a list of the package's files."""
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin/python").symlink_to(sys.executable)
    packages = prefix / "lib/python3.11/site-packages"
    described = packages / f"tool-{version}.dist-info"
    described.mkdir(parents=True)
    (described / "entry_points.txt").write_text("[console_scripts]\ntool.py = tool:main\n")
    (described / "RECORD").write_text(f"../../../bin/tool.py,sha256={prefix.name},1\ntool.py,sha256={digest},1\n")
    command = prefix / "bin/tool.py"
    command.write_text(CONSOLE.format(bin=prefix / "bin"))
    command.chmod(0o755)
    return command


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_text("a\n")
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    text = "pipeline.steps = [list, copy]\n" + list_step("[{here}/in/a.txt]") + copy_step(program="tool.py")
    (tmp_path / "run.parset").write_text(text.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(site: Path, monkeypatch: pytest.MonkeyPatch, prefix: Path, *assignments: str) -> int:
    """Run with the commands of an environment on PATH; return how many steps ran."""
    before = len(journalled(site / "run", "step_started")) if (site / "run").exists() else 0
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{prefix}/bin", prepend=os.pathsep)
        words = [word for text in assignments for word in ("-s", text)]
        assert main(["run.parset", "-c", "pipeline.cfg", *words]) == 0
    return len(journalled(site / "run", "step_started")) - before


def test_moved_program_repeats_nothing(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        install(site / name, "1.0", "same")
    assert run(site, monkeypatch, site / "one") == 1
    shutil.rmtree(site / "one")
    assert run(site, monkeypatch, site / "two") == 0


def test_upgrade_names_both_versions(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site / "one", "1.0", "old")
    install(site / "two", "1.1", "new")
    assert run(site, monkeypatch, site / "one") == 1
    keep = "pipeline.rerun_on_upgrade=False"
    assert run(site, monkeypatch, site / "two", keep) == 0
    assert capsys.readouterr().out.count(KEPT) == 1
    (site / "in/b.txt").write_text("b\n")
    more = f"list.control.files=[{site}/in/a.txt, {site}/in/b.txt]"
    assert run(site, monkeypatch, site / "two", keep, more) == 1
    assert [event["label"] for event in journalled(site / "run", "job_done")][1:] == [f"{site}/in/b.txt"]
    assert run(site, monkeypatch, site / "two", more) == 1  # one of the two is still of the old version
    assert len(journalled(site / "run", "job_done")) == 3


def test_new_program_version_repeats_step(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site / "one", "1.0", "old")
    install(site / "two", "1.1", "new")
    install(site / "three", "1.1", "rebuilt")
    assert [run(site, monkeypatch, site / name) for name in ("one", "two", "two", "three")] == [1, 1, 0, 1]
    text = capsys.readouterr().out
    assert "copy: runs again: tool.py 1.0 was replaced by 1.1; rerun_on_upgrade = False keeps what is done" in text
    assert "copy: runs again: changed: another build of tool.py 1.1" in text


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (("dp3", "6.6", "a"), ""),
        (("dp3", "6.6", "b"), "changed: another build of dp3 6.6"),
        (("wsclean", "6.6", "a"), "changed: the program is wsclean, and was dp3"),
        (("dp3", "", "a"), "dp3 6.6 was replaced by one of unknown version; rerun_on_upgrade = False keeps"),
    ],
)
def test_program_changes_give_reasons(now: tuple[str, str, str], reason: str) -> None:
    event = StepDone("average", program=("dp3", "6.6", "a"))
    assert Upgrades().stale(event, {"program": now}).startswith(reason)
    told: list[str] = []
    kept = Upgrades(run_again=False, notify=told.append)
    assert [kept.stale(event, {"program": now}) for _ in range(2)] == ["" if now[1] == "" else reason] * 2
    assert len(told) == (now[1] == "")


def test_fingerprint_excludes_program() -> None:
    identity = {"program": ("dp3", "6.6", "a"), "executable": ["/a/DP3"], "arguments": ["x"]}
    elsewhere = {**identity, "executable": ["/b/DP3"]}
    event = StepDone("average", fingerprint=mark_of(identity), program=("dp3", "6.6", "a"))
    assert has_identity(event, elsewhere)
    assert not has_identity(event, {**identity, "arguments": ["y"]})
