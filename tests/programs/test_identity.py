"""Name, version and content of programs, wherever they are installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from lofarpipe import __version__
from lofarpipe.config import share_directory
from lofarpipe.programs import identity
from lofarpipe.programs.identity import installed_package, program_identity


@pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")
def test_copied_wsclean_has_same_identity(tmp_path: Path) -> None:
    wsclean = Path(str(shutil.which("wsclean")))
    copy = Path(shutil.copy(wsclean, tmp_path / "wsclean"))
    assert program_identity(copy, "wsclean") == program_identity(wsclean, "wsclean")
    name, version, content = program_identity(wsclean, "wsclean")
    assert (name, version[:2], len(content)) == ("WSClean", "3.", 32)


def test_dp3_version_comes_from_its_environment(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("DP3.py")
    here = installed_package(command)
    if here is None:
        pytest.skip("DP3 is not a package of this environment")
    (packages,) = command.parent.parent.glob(f"lib/python3*/site-packages/dp3-{here[0]}.dist-info")
    other = tmp_path / "lib/python3.12/site-packages/dp3-7.0.dist-info"
    shutil.copytree(packages, other)
    (tmp_path / "bin").mkdir()
    moved = tmp_path / "bin/DP3.py"
    moved.write_text(command.read_text().replace(sys.executable, "/elsewhere/bin/python"))
    assert program_identity(command, "dp3") == ("DP3", *here)
    assert program_identity(moved, "dp3") == ("DP3", "7.0", here[1])


def test_script_interpreter_is_ignored(tmp_path: Path) -> None:
    marks = []
    long = "#!/bin/sh\n'''exec' /a/very/long/python \"$0\" \"$@\"\n' '''\n"
    for name, first in (("a", "#!/a/bin/python\n' '''\n"), ("b", "#!/b/bin/python3\n' '''\n"), ("c", long)):
        (tmp_path / name).mkdir()
        script = tmp_path / name / "tool"
        script.write_text(f"{first}print(1)\n")
        marks.append(program_identity(script))
    assert marks[0] == marks[1] == marks[2]
    script.write_text(long + "print(2)\n")
    assert program_identity(script) != marks[0]


def test_half_removed_package_is_ignored(tmp_path: Path) -> None:
    described = tmp_path / "lib/python3.11/site-packages/tool-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "entry_points.txt").write_text("tool = tool:main\n")
    assert installed_package(tmp_path / "bin/tool") is None


def test_shipped_script_has_runner_version(tmp_path: Path) -> None:
    script = share_directory() / "scripts" / "do_magic.py"
    copy = Path(shutil.copy(script, tmp_path))
    assert program_identity(script, is_script=True)[1] == __version__
    assert program_identity(copy, is_script=True)[1] == ""


def test_huge_program_is_identified_by_size_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "LARGEST_READ", 3)
    (tmp_path / "tool").write_text("12345")
    assert program_identity(tmp_path / "tool")[2].startswith("5@")
    assert program_identity(tmp_path / "none") == ("none", "", "")
