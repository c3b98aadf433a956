"""Names of unfinished files, and the removal of abandoned ones."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lofarpipe.support.utilities import remove_unfinished, unfinished_directory, unfinished_name


def left_by_a_process(path: Path) -> Path:
    """Return a file that a process which has ended left unfinished."""
    code = (
        "import sys; from pathlib import Path; from lofarpipe.support.utilities import unfinished_name\n"
        "name = unfinished_name(Path(sys.argv[1])); name.touch(); print(name)"
    )
    return Path(subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
                .stdout.strip())  # fmt: skip


def of_another_host(path: Path) -> Path:
    name = unfinished_name(path)
    host = name.name.split(".")[-3]
    other = name.with_name(name.name.replace(host, f"{int(host, 16) ^ 1:08x}"))
    other.touch()
    return other


def test_unfinished_name_is_hidden_neighbour(tmp_path: Path) -> None:
    name = unfinished_name(tmp_path / "map")
    assert name.parent == tmp_path
    assert name.name.startswith(".map.")
    assert name.name.endswith(f".{os.getpid()}.tmp")


def test_long_name_is_shortened(tmp_path: Path) -> None:
    unfinished_name(tmp_path / ("x" * 255)).touch()


def test_file_of_dead_process_is_removed(tmp_path: Path) -> None:
    left = left_by_a_process(tmp_path / "quality.json")
    assert left.exists()
    assert remove_unfinished([tmp_path]) == [left]
    assert list(tmp_path.iterdir()) == []


def test_file_of_live_process_stays(tmp_path: Path) -> None:
    unfinished_name(tmp_path / "map").touch()
    assert remove_unfinished([tmp_path]) == []
    assert unfinished_name(tmp_path / "map").exists()


def test_only_old_remote_files_are_removed(tmp_path: Path) -> None:
    new, old = of_another_host(tmp_path / "new"), of_another_host(tmp_path / "old")
    a_day_and_more_ago_s = time.time() - 86500
    os.utime(old, (a_day_and_more_ago_s, a_day_and_more_ago_s))
    assert remove_unfinished([tmp_path]) == [old]
    assert new.exists()


@pytest.mark.parametrize(
    "name", ["map", ".map", ".map.tmp", ".map.12.tmp", ".map.0123abcd.12.tmp2", "map.0123abcd.1.tmp"]
)
def test_foreign_names_stay(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert remove_unfinished([tmp_path]) == []


def test_search_skips_subdirectories_and_missing_directories(tmp_path: Path) -> None:
    (tmp_path / "set.MS").mkdir()
    left = left_by_a_process(tmp_path / "set.MS" / "table")
    assert remove_unfinished([tmp_path, tmp_path / "none", left]) == []


def test_vanishing_file_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = of_another_host(tmp_path / "map")
    real = Path.stat

    def gone(path: Path, **named: bool) -> os.stat_result:
        other.unlink(missing_ok=True)
        return real(path, **named)

    monkeypatch.setattr(Path, "stat", gone)
    assert remove_unfinished([tmp_path]) == []


def test_failed_block_removes_directory(tmp_path: Path) -> None:
    def fail_halfway() -> None:
        with unfinished_directory(tmp_path / "list") as directory:
            (directory / "part").write_text("half")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []


def test_stale_directories_are_removed_with_contents(tmp_path: Path) -> None:
    left = left_by_a_process(tmp_path / "list")
    left.unlink()
    left.mkdir()
    (left / "part").touch()
    assert remove_unfinished([tmp_path]) == [left]
    assert not left.exists()
