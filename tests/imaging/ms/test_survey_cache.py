"""Surveys that other commands made: found again where the set is as it was, and only there."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from pathlib import Path

import casacore.tables as ct
import numpy as np
import pytest

from lofarpipe.imaging.ms import survey
from lofarpipe.imaging.ms import survey as survey_cache
from lofarpipe.imaging.ms.survey import fingerprint, read_entry, survey_set, write_entry
from small_sets import SetShape, change_column, count_reading, make_set

SHAPE = SetShape(nantennas=5, ntimes=12, nchan=4)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own, in which sets that were just made have their entries too; a path to the directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(survey_cache, "RECENT_S", 0.0)
    survey_cache._prune.cache_clear()
    return tmp_path / "cache" / "genericpipeline" / "surveys"


@pytest.fixture
def path(tmp_path):
    return make_set(tmp_path / "a.MS", SHAPE, with_data=True)


@pytest.fixture
def in_another_process(monkeypatch):
    """Return a function that clears the caches of this process, and counts later reads of tables."""

    def forget():
        survey._surveys.clear()
        return count_reading(monkeypatch)

    return forget


def as_plain(found) -> str:
    return json.dumps(dataclasses.asdict(found), default=survey_cache._plain)


def test_second_process_uses_the_cache(path, in_another_process, cache):
    first = survey_set(path, "DATA")
    (entry,) = cache.iterdir()
    assert entry.stat().st_size < 10_000
    reading = in_another_process()
    second = survey_set(path, "DATA")
    assert reading.opened == 0
    assert second is not first
    assert as_plain(second) == as_plain(first)
    assert [type(value) for value in vars(second.metadata).values()] == [
        type(value) for value in vars(first.metadata).values()
    ]
    assert (second.metadata.phase_centre_rad, second.layout) == (first.metadata.phase_centre_rad, first.layout)


@pytest.mark.parametrize("other", [{"data_column": ""}, {"field": "0"}])
def test_different_query_has_separate_entry(path, in_another_process, other, cache):
    survey_set(path, "DATA")
    reading = in_another_process()
    survey_set(path, **{"data_column": "DATA", **other})
    assert reading.opened > 0
    assert len(list(cache.iterdir())) == 2


def test_full_survey_replaces_cached_sample(path, in_another_process, monkeypatch, cache):
    monkeypatch.setattr(survey, "SAMPLED_VISIBILITIES", 15 * 4)
    monkeypatch.setattr(survey, "SCANNED_WEIGHTS", 0)
    assert not survey_set(path).every_row
    reading = in_another_process()
    assert survey_set(path, every_row=True).every_row
    assert reading.opened > 0
    reading = in_another_process()
    assert survey_set(path).every_row
    assert reading.opened == 0
    assert len(list(cache.iterdir())) == 1


def rewrite_in_place(path):
    """Change a cell, and restore the modification time: only the inode time differs."""
    files = {file: file.stat() for file in Path(path).rglob("table.f*")}
    change_column(path, "UVW", lambda uvw_m: uvw_m * np.nan)
    for file, status in files.items():
        assert file.stat().st_size == status.st_size
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_by_another(path):
    shutil.move(path, f"{path}.old")
    shutil.copytree(f"{path}.old", path)
    rewrite_in_place(path)


@pytest.mark.parametrize("rewrite", [rewrite_in_place, replace_by_another])
def test_rewritten_set_invalidates_entry(path, in_another_process, rewrite):
    change_column(
        path, "WEIGHT_SPECTRUM", lambda weights: weights * np.arange(1, 181)[:, None, None]
    )  # to its full size
    assert survey_set(path).usability.not_a_number == 0
    in_another_process()
    time.sleep(0.02)  # the clock of a file system has ticks
    rewrite(path)
    assert survey_set(path).usability.not_a_number > 0


def test_concurrent_change_prevents_caching(path, cache, monkeypatch):
    def read_slowly(path, *args):
        found = slow(path, *args)
        change_column(path, "WEIGHT_SPECTRUM", lambda weights: -weights)
        return found

    slow = survey._survey
    monkeypatch.setattr(survey, "_survey", read_slowly)
    survey_set(path)
    assert not cache.exists()


def test_recent_change_prevents_caching(path, cache, monkeypatch):
    monkeypatch.setattr(survey_cache, "RECENT_S", 60.0)
    survey_set(path)
    assert not cache.exists()


def test_external_subtable_prevents_caching(path, cache):
    """Changes there do not show in the files here."""
    shutil.move(f"{path}/FIELD", f"{path}.FIELD")
    with ct.table(path, readonly=False, ack=False) as table:
        table.putkeyword("FIELD", f"Table: {path}.FIELD")
    before = survey_set(path).metadata.phase_centre_rad
    assert not cache.exists()
    change_column(f"{path}.FIELD", "PHASE_DIR", lambda values: values + 0.1)
    assert survey_set(path).metadata.phase_centre_rad != before


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"metadata": {}}', "null"])
def test_invalid_entry_is_replaced(path, in_another_process, cache, text):
    first = survey_set(path)
    (entry,) = cache.iterdir()
    entry.write_text(text)
    in_another_process()
    assert as_plain(survey_set(path)) == as_plain(first)
    assert as_plain(first)[:50] in entry.read_text()


def test_entry_of_old_version_is_ignored(path, in_another_process, monkeypatch):
    survey_set(path)
    monkeypatch.setattr(survey_cache, "SCHEMA", survey_cache.SCHEMA + 1)
    reading = in_another_process()
    survey_set(path)
    assert reading.opened > 0


@pytest.mark.parametrize("place", ["/proc/none", "/nowhere/at/all/cache"])
def test_unwritable_cache_is_ignored(path, in_another_process, monkeypatch, place):
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    survey_set(path)
    reading = in_another_process()
    assert survey_set(path).usability.usable > 0
    assert reading.opened > 0


def test_failed_write_leaves_no_entry(cache, path, monkeypatch):
    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    survey_set(path)
    assert list(cache.iterdir()) == []


def test_old_entries_are_removed(cache, path, monkeypatch):
    monkeypatch.setattr(survey_cache, "MOST_ENTRIES", 3)
    cache.mkdir(parents=True)
    for number, days in enumerate((40, 31, 3, 2, 1, 0)):
        (cache / f"{number}.json").touch()
        os.utime(cache / f"{number}.json", (time.time() - days * 86400,) * 2)
    write_entry(["question"], path, fingerprint(path), {"answer": 1})
    left = {one.name for one in cache.iterdir()}
    assert left & {f"{number}.json" for number in range(6)} == {"4.json", "5.json"}
    assert read_entry(["question"], fingerprint(path)) == {"answer": 1}


def test_concurrently_removed_entry_is_tolerated(cache, path, monkeypatch):
    monkeypatch.setattr(survey_cache, "OLDEST_S", -1.0)
    unlink = os.unlink
    monkeypatch.setattr(os, "unlink", lambda file: (unlink(file), unlink(file)))
    write_entry(["question"], path, fingerprint(path), {"answer": 1})
    assert list(cache.iterdir()) == []


def test_missing_path_has_no_fingerprint(tmp_path):
    assert fingerprint(f"{tmp_path}/no.MS") == fingerprint(str(tmp_path)) == ""
