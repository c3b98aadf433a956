"""tools/set-up: it waits for locks, skips installed packages, and names missing ones."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SET_UP = Path(__file__).resolve().parents[1] / "tools/set-up"
#: Stand-ins for installing programs: they record their calls.
STUB = '#!/bin/sh\necho "$(basename "$0") $*" >>"$CALLS"\n'


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose programs are stand-ins, with a virtual environment that is made already."""
    tools = tmp_path / "tools"
    venv = tmp_path / "venv/bin"
    for folder in (tools, venv):
        folder.mkdir(parents=True)
    for name in ("bash", "dirname", "id", "stat", "grep", "head", "cat", "sleep", "echo", "mktemp", "rm", "basename"):
        found = (Path(folder, name) for folder in ("/bin", "/usr/bin"))
        (tools / name).symlink_to(next(path for path in found if path.exists()))
    (tools / "env").write_text(f'{STUB}while case "$1" in *=*) ;; *) false ;; esac; do shift; done\nexec "$@"\n')
    (tools / "apt-get").write_text(f'{STUB}case "$*" in *nothing*|*chromium*) exit 100;; esac\n')
    (venv / "python").write_text(f'{STUB}case "$*" in *locked.py*) exec {sys.executable} "$@";; esac\n')
    (tools / "sudo").write_text('#!/bin/sh\nshift; exec "$@"\n')
    for stub in (*tools.glob("[!b]*"), venv / "python"):
        if not stub.is_symlink():
            stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PYTHON", sys.executable)
    monkeypatch.setenv("LOCK_FILE", str(tmp_path / "lock"))
    return tmp_path


def set_up(machine: Path, extras: str = "simulation") -> tuple[int, str, list[str]]:
    """Run it; return the exit code, its words, and the calls of apt-get and pip."""
    argv = ["/bin/bash", str(SET_UP), str(machine / "venv"), extras]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    calls = (machine / "calls").read_text().splitlines() if (machine / "calls").exists() else []
    return done.returncode, done.stderr, [call for call in calls if call.startswith(("apt-get", "python -m pip"))]


def make_wsclean(machine: Path) -> None:
    (machine / "tools/wsclean").write_text("#!/bin/sh\n")
    (machine / "tools/wsclean").chmod(0o755)


def test_installed_packages_are_skipped(machine: Path) -> None:
    make_wsclean(machine)
    code, said, calls = set_up(machine)
    assert code == 0, said
    assert [call for call in calls if call.startswith("apt-get")] == []
    assert "requirements.lock" in said
    assert [re.sub(r" /tmp\S+", "", call.partition("--quiet ")[2]) for call in calls] == [
        "--require-hashes --no-deps -r",
        "--no-deps --no-build-isolation -e .",
    ]


def test_missing_wsclean_names_install_routes(machine: Path) -> None:
    code, said, calls = set_up(machine)
    assert code == 1
    lock = [call for call in calls if "DPkg::Lock::Timeout=600" in call]
    assert any("install -y --no-install-recommends wsclean" in call for call in lock)
    for route in ("apt-get install wsclean", "'.[imager]'", "environment.yml", "container/genericpipeline.def"):
        assert route in said
    code, said, _ = set_up(machine, "simulation,imager")
    assert code == 0, said
    assert "lofar-clean of this package makes the images" in said


def test_missing_package_does_not_stop_installation(machine: Path) -> None:
    code, said, calls = set_up(machine, "simulation,test")
    assert code == 1
    assert any(call.endswith("--no-install-recommends wsclean") for call in calls)
    assert "chromium could not be installed" in said
    assert "  - chromium is not there; as root: apt-get install chromium\n" in said
    assert any(call.startswith("python -m pip") for call in calls)


def test_set_up_awaits_busy_lock(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (machine / "lock").open("w") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        inode = os.stat(machine / "lock").st_ino  # noqa: PTH116 - as the kernel's list has it
        (machine / "locks").write_text(f"1: POSIX  ADVISORY  WRITE {os.getpid()} 00:2e:{inode} 0 EOF\n")
        monkeypatch.setenv("LOCKS", str(machine / "locks"))
        monkeypatch.setenv("LOCK_WAIT_S", "1")
        code, said, calls = set_up(machine)
    assert code == 1
    assert "other packages are being installed (" in said
    assert f", process {os.getpid()}); waiting for that, up to 1 s" in said
    assert [call for call in calls if call.startswith("apt-get")] == []
    (machine / "locks").write_text("")
    assert [call for call in set_up(machine)[2] if call.startswith("apt-get")]
