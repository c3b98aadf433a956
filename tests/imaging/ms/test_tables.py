"""Paths that are no set, or cannot be opened or read: reason and remedy."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import casacore.tables as ct
import pytest

from lofarpipe.imaging.ms import tables
from lofarpipe.imaging.ms.survey import survey_set
from lofarpipe.imaging.ms.tables import MeasurementSetError, opened, opened_set
from small_sets import SetShape, make_set

SMALL = SetShape(nantennas=3, ntimes=2)
DAMAGED = "; it is damaged: copy it again, or leave it out"


@pytest.fixture
def small_set(tmp_path):
    return make_set(tmp_path / "small.MS", SMALL)


def refusal(path) -> str:
    """Return the message about a path that is no sound set."""
    with pytest.raises(MeasurementSetError) as caught, opened_set(str(path)) as table:
        table.getcol("TIME")
    return str(caught.value)


def test_sound_set_is_opened(small_set):
    with opened_set(small_set) as table:
        assert table.nrows() == 12  # 6 baselines, 2 times


def test_missing_set_is_refused(tmp_path):
    assert refusal(tmp_path / "no.MS") == f"{tmp_path}/no.MS: no such measurement set"


def test_typographic_quotes_are_reported(tmp_path):
    assert refusal(tmp_path / "“a.MS”").endswith("no such measurement set; it has typographic quotes in it")


@pytest.mark.parametrize(("name", "remedy"), [("a.MS.tgz", "unpack it first"), ("a.MS", "a directory written by")])
def test_plain_file_is_refused(tmp_path, name, remedy):
    (tmp_path / name).touch()
    assert f"{name}: not a measurement set: it is a file; {remedy}" in refusal(tmp_path / name)


@pytest.mark.parametrize(("names", "pattern"), [(["a.MS"], "*.MS"), (["a.MS", "b.ms"], "*")])
def test_directory_of_sets_suggests_a_pattern(tmp_path, names, pattern):
    (tmp_path / "night").mkdir()
    for name in names:
        make_set(tmp_path / "night" / name, SMALL)
    number = "1 measurement set" if len(names) == 1 else "2 measurement sets"
    said = f"it is a directory with {number} in it; write {tmp_path}/night/{pattern}"
    assert refusal(tmp_path / "night").endswith(said)


def test_directory_without_sets_is_refused(tmp_path):
    assert refusal(tmp_path).endswith("it has no table.dat; a directory written by casacore is needed")


def test_missing_table_dat_is_damage(small_set):
    Path(small_set, "table.dat").unlink()
    assert refusal(small_set).endswith("it has no table.dat" + DAMAGED)


@pytest.mark.parametrize("name", ["table.dat", "ANTENNA"])
def test_unopenable_table_is_damage(small_set, name):
    path = Path(small_set, name)
    shutil.rmtree(path) if path.is_dir() else os.truncate(path, 50)
    with pytest.raises(MeasurementSetError, match="cannot be opened as a table: ") as caught:  # noqa: SIM117
        with opened_set(small_set), opened(f"{small_set}::ANTENNA"):
            pass
    assert str(caught.value).endswith(DAMAGED)


def test_truncated_file_is_damage(small_set):
    with ct.table(small_set, ack=False) as table:
        number = table.getdminfo("ANTENNA1")["SEQNR"]
    os.truncate(Path(small_set, f"table.f{number}"), 600)
    with pytest.raises(MeasurementSetError) as caught, opened_set(small_set) as table:
        table.getcol("ANTENNA1")
    assert "not writable" not in str(caught.value)
    assert str(caught.value).endswith(DAMAGED)


@pytest.mark.parametrize("change", ["empty", "half", "gone", "junk"])
@pytest.mark.parametrize("name", ["table.f0", "table.f0i", "table.f1", "table.dat", "DATA_DESCRIPTION/table.dat"])
def test_every_damage_is_recognised(tmp_path, name, change):
    path = make_set(tmp_path / "a.MS", SetShape(nantennas=5, nchan=4), with_data=True)
    file = Path(path, name)
    contents = {"empty": b"", "half": file.read_bytes()[: file.stat().st_size // 2]}
    contents["junk"] = b"\xff" * 64 + file.read_bytes()[64:]
    file.unlink()
    if change != "gone":
        file.write_bytes(contents[change])
    try:
        survey_set(path, "DATA")
    except MeasurementSetError as err:
        assert str(err).endswith(DAMAGED) or "leave it out" in str(err)  # noqa: PT017 - some damage is not seen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FiledesIO: file a/table.f1 could not be opened: Permission denied", "; ask its owner for permission"),
        ("FiledesIO::write - a/table.f0 is not writable", "read: a/table.f0 is shorter than the table says; it is dam"),
    ],
)
def test_casacore_errors_are_translated(small_set, text, said):
    with pytest.raises(MeasurementSetError) as caught, opened(small_set):
        raise RuntimeError(text)
    assert said in str(caught.value)


def test_unreadable_set_names_permission(tmp_path, monkeypatch):
    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", refuse)
    assert refusal(tmp_path) == (
        f"{tmp_path}: cannot be looked at: Permission denied; ask its owner for permission to read it, or leave it out"
    )


def test_non_utf8_name_is_refused(small_set):
    path = os.fsdecode(os.fsencode(small_set) + b"\xe9")
    Path(small_set).rename(path)
    assert "casacore cannot open a name that is not UTF-8; rename it" in refusal(path)


def test_multi_ms_is_read_as_one(tmp_path):
    whole, aside = tmp_path / "whole.MS", tmp_path / "aside"
    (whole / "SUBMSS").mkdir(parents=True)
    parts = [
        make_set(whole / "SUBMSS" / f"{k}.MS", SetShape(nantennas=3, ntimes=2, start_s=5e9 + 20 * k)) for k in range(2)
    ]
    with closing(ct.table(parts, ack=False)) as table:
        shutil.move(whole / "SUBMSS", aside)  # saving a virtual table empties the directory that it is saved in
        table.rename(str(whole))
    shutil.move(aside, whole / "SUBMSS")
    survey = survey_set(str(whole))
    assert (survey.metadata.nrows, len(survey.metadata.antenna_names)) == (24, 3)


def test_reference_table_is_refused(small_set, tmp_path):
    with closing(ct.table(small_set, ack=False)) as table, closing(table.query("ANTENNA1==0")) as rows:
        rows.copy(str(tmp_path / "view.MS")).close()
    said = f"view.MS: its rows are those of {small_set}, whose changes would not be noticed; name that set, or"
    assert said in refusal(tmp_path / "view.MS")


@pytest.fixture
def locked(small_set, request, monkeypatch):
    """Return the process that has locked the set, or one of its subtables, and does not let go."""
    monkeypatch.setattr(tables, "LOCK_WAIT_S", 0.3)
    script = f"""
import sys, casacore.tables as ct
table = ct.table({small_set + request.param!r}, readonly=False, ack=False, lockoptions="user")
table.lock()
print("locked", flush=True)
sys.stdin.read()"""
    holder = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert holder.stdout.readline() == "locked\n"
    yield holder
    holder.communicate()


@pytest.mark.parametrize(("locked", "name"), [("", "table.lock"), ("/FIELD", "FIELD/table.lock")], indirect=["locked"])
def test_lock_holder_is_named(small_set, locked, name):
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(MeasurementSetError) as caught:
            survey_set(small_set)
    assert time.monotonic() - began < 3  # of the second on it is known
    assert str(caught.value) == (
        f"{small_set}: process {locked.pid} ({Path(sys.executable).name}) has locked {small_set}/{name}, "
        "so that nothing can read the set; end that program, or wait until it has closed the set"
    )


@pytest.mark.parametrize("locked", [""], indirect=True)
def test_released_lock_is_awaited(small_set, locked, monkeypatch):
    monkeypatch.setattr(tables, "LOCK_WAIT_S", 20.0)
    monkeypatch.setattr(tables.time, "sleep", lambda _: locked.communicate())
    assert survey_set(small_set).metadata.nrows == 12


def test_unsupported_locks_are_ignored(small_set, monkeypatch):
    assert tables.lock_holder(f"{small_set}/nowhere") == 0

    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(tables.fcntl, "fcntl", no_locks)
    assert tables.lock_holder(small_set) == 0


def test_remote_lock_holder_is_named():
    assert tables._process_name(2**22 + 1) == "process 4194305 of another machine"
