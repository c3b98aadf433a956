"""The tables of EveryBeam and casacore, for any settings of the user and any age of the tables."""

import ast
import datetime
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lofarpipe.programs import find as programs
from lofarpipe.programs.find import job_environment
from lofarpipe.support import data_directories as tables
from lofarpipe.support.data_directories import (
    MARK,
    data_directories,
    home_directory,
    leap_second_warning,
    set_data_directories,
    table_date,
)

TODAY = datetime.date(2026, 11, 30)
CASACORE = "CASACORE_DATADIR"
MakeTables = Callable[..., Path]


def make_table(path: Path, date: str) -> Path:
    path.mkdir(parents=True)
    (path / "table.dat").write_bytes(
        b"VS_CREATE\0\x10" + b"2020/01/02/03:04" + b"VS_DATE\0\x10" + f"{date}/15:15".encode()
    )
    return path


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTables:
    """A function that makes the tables of a package, of some date, and a list of the IERS; returns their directory."""

    def make(date: str, listed: str = "", elsewhere: str = "") -> Path:
        data = tmp_path / "casacore" / "data"
        (data / "ephemerides").mkdir(parents=True)
        for name in ("TAI_UTC", "IERSeop97", "Observatories"):
            make_table(data / "geodetic" / name, date)
        (tmp_path / "list.dat").write_text(listed)
        if elsewhere:
            for name in ("TAI_UTC", "IERSeop97", "Observatories"):
                make_table(tmp_path / "var" / "geodetic" / name, elsewhere)
        found = {"AIPSPATH": str(data.parent), CASACORE: str(data)}
        monkeypatch.setattr(tables, "data_directories", lambda: found)
        return data

    monkeypatch.setattr(tables, "ELSEWHERE", (str(tmp_path / "var"),))
    monkeypatch.setattr(tables, "_list_of_iers", lambda: tmp_path / "list.dat")
    monkeypatch.setattr(tables, "_today", lambda: TODAY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("AIPSPATH", CASACORE):
        monkeypatch.setenv(name, "")  # and back after the test
    return make


LISTED = "#  File expires on 28 June 2027\n    57754.0    1  1 2017       37\n"


def test_current_tables_are_used_unchanged(packaged: MakeTables) -> None:
    data = packaged("2026/07/03")  # 150 days
    set_data_directories()
    assert os.environ[CASACORE] == str(data)
    assert leap_second_warning() == ""


@pytest.mark.parametrize(
    ("listed", "warning"),
    [
        (LISTED, ""),
        ("", "casacore's table of leap seconds is of 2026-07-02, and nothing says whether there was one since; pip"),
        (LISTED.replace("2027", "2026"), "casacore's table of leap seconds is of 2026-07-02, and nothing says"),
    ],
)
def test_old_leap_second_table_is_redated(packaged: MakeTables, tmp_path: Path, listed: str, warning: str) -> None:
    data = packaged("2026/07/02", listed)
    set_data_directories(tmp_path / "job" / "tables")
    made = Path(os.environ[CASACORE])
    assert made == tmp_path / "job" / "tables"
    assert table_date(made / "geodetic" / "TAI_UTC") == TODAY
    assert table_date(data / "geodetic" / "TAI_UTC") == datetime.date(2026, 7, 2)
    assert (made / "geodetic" / "IERSeop97").resolve() == data / "geodetic" / "IERSeop97"
    assert (made / "ephemerides").resolve() == data / "ephemerides"
    assert leap_second_warning()[: len(warning)] == warning
    assert bool(leap_second_warning()) is bool(warning)


def test_missing_leap_second_gives_warning(packaged: MakeTables, tmp_path: Path) -> None:
    packaged("2026/05/30", LISTED + "    61222.0    1  7 2026       38\n")
    set_data_directories(tmp_path / "tables")
    assert table_date(tmp_path / "tables" / "geodetic" / "TAI_UTC") == datetime.date(2026, 5, 30)
    assert leap_second_warning().startswith(
        "casacore's table of leap seconds, of 2026-05-30, lacks that of 2026-07-01;"
    )


def test_newer_machine_tables_are_used(packaged: MakeTables, tmp_path: Path) -> None:
    packaged("2026/01/01", elsewhere="2026/11/01")
    set_data_directories(tmp_path / "tables")
    assert table_date(tmp_path / "tables" / "geodetic" / "IERSeop97") == datetime.date(2026, 11, 1)
    assert table_date(tmp_path / "tables" / "geodetic" / "Observatories") == datetime.date(2026, 1, 1)
    assert "is of 2026-11-01" in leap_second_warning()


def test_user_tables_stay(packaged: MakeTables, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged("2020/01/01")
    monkeypatch.setenv(CASACORE, "/mine")
    set_data_directories()
    assert os.environ[CASACORE] == "/mine"
    assert leap_second_warning() == ""


def test_job_directory_tables_follow_process_tables(
    packaged: MakeTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged("2026/01/01")
    set_data_directories()
    first = Path(os.environ[CASACORE])
    assert (first / MARK).exists()
    set_data_directories(tmp_path / "tables")
    assert os.environ[CASACORE] == str(tmp_path / "tables")
    written = (tmp_path / "tables" / MARK).stat().st_mtime_ns
    set_data_directories(tmp_path / "tables")  # jobs may read them
    assert (tmp_path / "tables" / MARK).stat().st_mtime_ns == written
    (tmp_path / "tables" / MARK).unlink()  # of somebody who was killed
    monkeypatch.setenv(CASACORE, str(first))
    set_data_directories(tmp_path / "tables")
    assert (tmp_path / "tables" / MARK).exists()


def test_vanished_tables_are_made_again(packaged: MakeTables, tmp_path: Path) -> None:
    packaged("2026/01/01")
    set_data_directories(tmp_path / "tables")
    (tmp_path / "tables").rename(tmp_path / "gone")
    set_data_directories(tmp_path / "others")
    assert os.environ[CASACORE] == str(tmp_path / "others")


def test_tables_are_cached_for_next_command(packaged: MakeTables, tmp_path: Path) -> None:
    packaged("2026/01/01")
    set_data_directories()
    (made,) = (tmp_path / "cache" / "genericpipeline").iterdir()
    assert os.environ[CASACORE] == str(made)
    (made / "geodetic" / "IERSeop97").unlink()
    set_data_directories()
    assert not (made / "geodetic" / "IERSeop97").exists()
    os.utime(made / MARK, (0, 0))
    set_data_directories()
    assert (made / "geodetic" / "IERSeop97").exists()


def test_homeless_process_removes_its_tables(
    packaged: MakeTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged("2026/01/01")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "nowhere" / "cache"))
    monkeypatch.setattr(tables.tempfile, "tempdir", str(tmp_path))
    set_data_directories()
    assert Path(os.environ[CASACORE]).parent == tmp_path


def test_concurrently_made_tables_are_used(
    packaged: MakeTables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged("2026/01/01")
    target, make_tables = tmp_path / "tables", tables._make_tables

    def raced(data: Path, made: Path) -> Path:
        monkeypatch.setattr(tables, "_make_tables", make_tables)
        set_data_directories(target)
        (target / "own").touch()
        monkeypatch.setattr(tables.shutil, "rmtree", lambda *_, **__: None)  # it was there before this one looked
        return make_tables(data, made)

    monkeypatch.setattr(tables, "_make_tables", raced)
    set_data_directories(target)
    assert os.environ[CASACORE] == str(target)
    assert (target / "own").exists()


def test_unwritable_place_uses_old_tables(packaged: MakeTables, tmp_path: Path) -> None:
    data = packaged("2026/01/01")
    (tmp_path / "file").touch()
    set_data_directories(tmp_path / "file" / "tables")
    assert os.environ[CASACORE] == str(data)


def test_casacore_does_not_complain() -> None:
    """Of the tables of the package, however old they are on the day of the test."""
    code = (
        "from lofarpipe.support.data_directories import set_data_directories; set_data_directories();"
        "from casacore.measures import measures; m = measures();"
        "print(m.measure(m.epoch('UTC', '2026/01/01'), 'TAI')['m0']['value'])"
    )
    environment = {"PYTHONPATH": str(Path(programs.__file__).parents[2]), "HOME": "/nowhere"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout[:9], done.stderr) == ("61041.000", "")
    assert float(done.stdout) == pytest.approx(61041 + 37 / 86400, abs=1e-8)


def test_foreign_file_has_no_date(tmp_path: Path) -> None:
    assert table_date(tmp_path) == datetime.date.min
    (tmp_path / "table.dat").write_bytes(b"9999/99/99/99:99")
    assert table_date(tmp_path) == datetime.date.min


@pytest.mark.parametrize("given", [{}, {"CASACORE_DATADIR": "/mine"}, {"AIPSPATH": "/mine"}])
def test_import_of_casacore_changes_no_job(given: dict[str, str]) -> None:
    code = (
        "from lofarpipe.programs.find import job_environment;"
        "from lofarpipe.support.data_directories import set_data_directories; set_data_directories();"
        "before = job_environment(); import casacore; assert job_environment() == before; print(before)"
    )
    environment = {"PYTHONPATH": str(Path(programs.__file__).parents[2]), "HOME": "/nowhere", **given}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    seen = ast.literal_eval(done.stdout)
    assert seen.items() >= given.items()
    assert {"AIPSPATH", "CASACORE_DATADIR", "EVERYBEAM_DATADIR"} <= set(seen)


def test_search_imports_nothing_heavy() -> None:
    code = (
        "import sys; from lofarpipe.support.data_directories import data_directories as d; print(*sorted(d()));"
        "print(*{'casacore', 'everybeam', 'numpy'} & set(sys.modules))"
    )
    environment = {**os.environ, **job_environment()}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == ["AIPSPATH CASACORE_DATADIR EVERYBEAM_DATADIR", ""]


def test_missing_packages_set_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data_directories.cache_clear()
    monkeypatch.setattr(tables.sys, "prefix", str(tmp_path))
    monkeypatch.setattr(tables.importlib.util, "find_spec", lambda name: None)
    assert data_directories() == {}
    data_directories.cache_clear()


def test_missing_home_comes_from_user_database(monkeypatch):
    monkeypatch.setenv("HOME", "")
    set_data_directories()
    assert os.environ["HOME"] == pwd.getpwuid(os.getuid()).pw_dir


def test_unknown_user_has_root_home(monkeypatch):
    def refuse(uid):
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", refuse)
    assert home_directory() == "/"
