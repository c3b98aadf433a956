"""The checks of these tests find the faults that they look for."""

import subprocess
from pathlib import Path

from chaos_products import differing, left_in, left_over, names
from chaos_site import Site
from living import living


def test_different_and_missing_products_are_found() -> None:
    assert differing({"a": b"1", "b": 2}, {"a": b"1", "b": 2}) == []
    assert differing({"a": b"1", "b": 2}, {"a": b"2", "c": 2}) == ["a", "b", "c"]


def test_stale_files_are_found(tmp_path: Path) -> None:
    left = (".map.0123abcd.12.tmp", ".a.average-000.incomplete/a.MS", "mapfiles/.x", "a.fits.part")
    for name in (*left, "jobs/.report/kept.json", "a.MS/table.f0"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = left_over(tmp_path)
    assert set(left) <= set(found)
    assert set(found) - set(left) == {".a.average-000.incomplete"}
    assert names(tmp_path) == {*left, "a.MS/table.f0"} - {"mapfiles/.x"}


def test_stale_temporary_files_are_found(tmp_path: Path) -> None:
    contents = {"tmpx": b"  ", "x": b" ", "tmpy": b" ", "w_99yw66": b"blat", "w_99yw67": b"", "w_99yw68": b"data"}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    assert sorted(left_in(tmp_path)) == ["tmpx", "w_99yw68", "x"]


def test_processes_are_found_by_directory_command_and_environment(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x").touch()
    sleep = ["sleep", "600"]
    started = [
        subprocess.Popen(sleep, cwd=tmp_path / "in"),
        subprocess.Popen(["tail", "-f", f"{tmp_path}/in/x"], stdout=subprocess.DEVNULL),
        subprocess.Popen(sleep, env={"PATH": "/usr/bin:/bin", "WHERE": f"{tmp_path}/in"}),
    ]
    other = subprocess.Popen(sleep, env={"PATH": "/usr/bin:/bin"}, cwd="/")
    try:
        found = living(tmp_path / "in")
        assert {process.pid for process in started} <= set(found)
        assert other.pid not in found
    finally:
        for process in [*started, other]:
            process.kill()
            process.wait()
    assert living(tmp_path / "in") == {}


def test_change_hook_kills_engine(small_site: Site) -> None:
    assert small_site.start(CHAOS_CHANGE="5 before").wait() == -9
    assert small_site.start(CHAOS_CHANGE="5 after").wait() == -9
    small_site.finish(CHAOS_CHANGE="100000 before")
