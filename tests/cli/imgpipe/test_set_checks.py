"""Sets that are missing, invalid, locked or without the column; and sets on the hosts of the jobs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lofarpipe.cli.imgpipe.groups import Group, ImageJob
from lofarpipe.cli.imgpipe.set_checks import SetChecks, read_frequencies, set_problem
from lofarpipe.cli.imgpipe.settings import read_imaging_settings
from lofarpipe.cli.imgpipe.translation import unseen_findings
from small_sets import SetShape, make_set

# Looks below "there", where the other hosts have their files; one that is called down gives no answer.
STUB = """\
#!/bin/sh
case "$*" in *down*) exit 255 ;; esac
for last; do :; done
sed "s#^#{root}/there#" | sh -c "$last"
"""


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ssh").write_text(STUB.format(root=tmp_path))
    (tmp_path / "bin/ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    return tmp_path / "there"


def checks(root: Path, nodes: str, more: str = "") -> SetChecks:
    (root / "img.toml").write_text(f"[worker]\nnodes = '{nodes}'\n{more}")
    settings, findings = read_imaging_settings(root / "img.toml")
    assert findings == []
    return SetChecks(settings, "DATA")


def test_unopenable_table_is_reported(tmp_path: Path) -> None:
    (tmp_path / "A.MS/SPECTRAL_WINDOW").mkdir(parents=True)
    (tmp_path / "A.MS/table.dat").write_bytes(b"x")
    assert set_problem(tmp_path / "A.MS", "DATA").startswith("cannot be opened as a table: ")
    with pytest.raises(ValueError, match="SPECTRAL_WINDOW: cannot be opened"):
        read_frequencies(tmp_path / "A.MS")


def test_locked_set_is_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_set(tmp_path / "A.MS", SetShape(nantennas=3, ntimes=2), with_data=True)
    monkeypatch.setattr("lofarpipe.imaging.ms.tables.lock_holder", lambda _: 7)
    monkeypatch.setattr("lofarpipe.imaging.ms.tables.LOCK_WAIT_S", 0.0)
    assert "process 7" in set_problem(tmp_path / "A.MS", "DATA")


def test_remote_set_is_checked_on_its_host(tmp_path: Path, there: Path) -> None:
    good, other, missing = (Path(f"/net/n1/{name}.MS") for name in ("a b", "other", "missing"))
    (there / "net/n1/a b.MS").mkdir(parents=True)
    (there / "net/n1/a b.MS/table.dat").touch()
    (there / "net/n1/other.MS").mkdir()
    found = checks(tmp_path, "n[1-2]")
    assert found.problems([good, other, missing]) == {
        other: "is no measurement set: it has no table.dat and no SPECTRAL_WINDOW, on host n1",
        missing: "there is no such measurement set, here or on host n1",
    }
    assert found.warnings == [f"{good}: only host n1 has it; its column is not checked, and changes of it are not seen"]
    with pytest.raises(ValueError, match=r"a b\.MS cannot be seen from here, so that its channels cannot be counted"):
        read_frequencies(good)


def test_host_in_path_is_queried(tmp_path: Path, there: Path) -> None:
    pattern = "run_on_file_host = true\nrun_on_file_host_pattern = 'net/(\\w+)'\n"
    found = checks(tmp_path, "n[1-2],down", pattern)
    assert found.problems([Path("/net/n2/A.MS"), Path("/net/down/A.MS")]) == {
        Path("/net/n2/A.MS"): "there is no such measurement set, here or on host n2",
        Path("/net/down/A.MS"): "there is no such measurement set here, and host down gives no answer",
    }


@pytest.mark.parametrize("nodes", ["localhost", "n1,localhost", "slurm"])
def test_local_jobs_query_no_host(tmp_path: Path, nodes: str) -> None:
    assert checks(tmp_path, nodes).problems([Path("/none/A.MS")]) == {
        Path("/none/A.MS"): "there is no such measurement set"
    }


def test_missing_ssh_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "gives no answer" in checks(tmp_path, "n1").problems([Path("/none/A.MS")])[Path("/none/A.MS")]


def test_images_inside_remote_set_are_refused(tmp_path: Path) -> None:
    job = ImageJob(Group((Path("/n/A.MS"),)), Path("/n/A.MS/images/img"), {})
    (finding,) = unseen_findings(checks(tmp_path, "n1").settings, {Path("/n/A.MS"): "n1", Path("/n/B.MS"): "n1"}, [job])
    assert finding.what.startswith("images would go into /n/A.MS, which only n1 has; set out-dir to a directory")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("A.MS,B.MS", "; blanks separate sets, not commas"),
        ("2023*_NT04:SW03", "; for patterns of observations set data_handler.config_file"),
        ("none.MS", ""),
    ],
)
def test_missing_set_names_likely_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for set_name in ("A.MS", "B.MS"):
        Path(set_name).mkdir()
    assert set_problem(Path(name), "DATA") == f"there is no such measurement set{hint}"
