"""A whole pipeline with ``method = ssh``: checked, killed, resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from copy_pipeline import copy_step, journalled
from living import living
from lofarpipe.cli import main

STEPS = """\
pipeline.steps = [list, copy]
list.control.kind = plugin
list.control.type = createMapfile
list.control.method = mapfile_from_folder
list.control.folder = {data}
list.control.mapfile_dir = input.output.mapfile_dir
list.control.filename = list.mapfile
"""
PROGRAM = """\
#!/bin/sh
echo "${{1##*/}}" >> {root}/starts
test -e {root}/slow && test "${{1##*/}}" = two && sleep 300
cp "$1" "$2"
"""
CONFIG = """\
[DEFAULT]
runtime_directory = {root}
working_directory = {root}
[remote]
method = ssh
max_per_node = 1
[ssh]
hosts = {hosts}
cores = 1
memory_gb = 2
extra = -F {ssh_config}
"""


@pytest.fixture
def site(tmp_path: Path, ssh_config: Path) -> Path:
    (tmp_path / "data").mkdir()
    for name in ("one", "two", "three"):
        (tmp_path / "data" / name).write_text(f"{name}\n")
    program = tmp_path / "copy.sh"
    program.write_text(PROGRAM.format(root=tmp_path))
    program.chmod(0o755)
    steps = STEPS + copy_step(program="{program}")
    (tmp_path / "p.parset").write_text(steps.format(data=tmp_path / "data", program=program))
    configure(tmp_path, ssh_config, "n[1-2]")
    return tmp_path


def configure(root: Path, ssh_config: Path, hosts: str) -> None:
    (root / "pipeline.cfg").write_text(CONFIG.format(root=root, ssh_config=ssh_config, hosts=hosts))


def command(site: Path) -> list[str]:
    return [str(site / "p.parset"), "-c", str(site / "pipeline.cfg")]


def test_killed_run_is_resumed(site, capsys):
    (site / "slow").touch()
    code = "import sys; from lofarpipe.cli import main; sys.exit(main(sys.argv[1:]))"
    engine = subprocess.Popen([sys.executable, "-c", code, *command(site)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (len(list((site / "p").glob("*.copy"))) == 2 and "two" in (site / "starts").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    (site / "slow").unlink()
    assert main(command(site)) == 0
    assert sorted((site / "starts").read_text().split()) == ["one", "three", "two", "two"]
    assert sorted(path.read_text() for path in (site / "p").glob("*.copy")) == ["one\n", "three\n", "two\n"]
    assert {event["node"] for event in journalled(site / "p", "job_done")} == {os.uname().nodename}
    assert not [path for path in (site / "p" / "jobs").rglob("*.*") if path.suffix in (".sh", ".record", ".claim0")]
    assert [text for text in living(site).values() if "sleep" in text] == []


def test_check_names_unreachable_hosts(site, ssh_config, capsys, monkeypatch):
    monkeypatch.setattr("lofarpipe.executors.ssh.host.PAUSES_S", (0.05, 0.05))
    configure(site, ssh_config, "n1,no-such-host.invalid")
    assert main([*command(site), "--check"]) == 0
    told = "".join(capsys.readouterr())
    assert told.count("host no-such-host.invalid cannot be reached, 3 tries: ssh: Could not resolve hostname") == 1
    configure(site, ssh_config, "no-such-host.invalid")
    assert main([*command(site), "--check"]) == 1
    assert "[ssh]: host no-such-host.invalid cannot be reached" in "".join(capsys.readouterr())
    assert not (site / "p").exists()
