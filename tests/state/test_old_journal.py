"""Journals of earlier versions, also without the stream of events: their finished work is not repeated."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from lofarpipe.state import fingerprints
from lofarpipe.state.events import encoded, read_events
from noting_site import Site

JOURNALS = ("old_journal.jsonl", "last_journal.jsonl")  # each of runs with the files a b c, then with b c
HERE = "/here"  # stands in it for the directory of the test
THEN_NS = 1_700_000_000_000_000_000


@pytest.fixture(params=JOURNALS)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Site:
    """Return a site with the files of that version, where texts have the same digests in every directory."""

    def sha256(content: bytes) -> object:
        return hashlib.sha256(content.replace(os.fsencode(tmp_path), HERE.encode()))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fingerprints, "hashlib", SimpleNamespace(sha256=sha256))
    made = Site(tmp_path)
    made.job.mkdir()
    (tmp_path / "in/x.txt").write_text("x\n")
    for name in "abc":
        for step in ("copy", "again"):
            (made.job / f"{name}.{step}").write_text(f"{name}\n")
    (tmp_path / "out/joined.txt").write_text("b\nc\n")
    for path in [path for path in tmp_path.rglob("*") if path.is_file()]:
        os.utime(path, ns=(THEN_NS, THEN_NS))
    journal = Path(__file__).with_name(request.param).read_text()
    (made.job / "journal.jsonl").write_text(journal.replace(HERE, str(tmp_path)))
    return made


def files(site: Site, products: str) -> str:
    return f"list.control.files=[{', '.join(f'{site.here}/in/{name}.txt' for name in products)}]"


def test_old_journal_repeats_nothing(site: Site) -> None:
    assert site.run(files(site, "bc")) == []


def test_new_product_runs_alone(site: Site) -> None:
    assert site.run(files(site, "xcb")) == ["again-x", "copy-x", "join"]
    labels = {event["job"]: Path(event["label"]).name for event in site.events("job_done")}
    assert labels["copy/003"] == "x.txt"
    assert site.run(files(site, "xcb")) == []


def test_removed_product_stays_valid(site: Site) -> None:
    assert site.run(files(site, "cab")) == ["join"]


def test_killed_run_resumes(site: Site) -> None:
    """It is cut where one job is done and two run."""
    path = site.job / "journal.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    last = next(place for place, line in enumerate(lines) if '"job": "copy/002"' in line)
    path.write_text("".join(lines[: last + 1]))
    expected = ["again-a", "again-b", "again-c", "copy-b", "copy-c", "join"]
    assert site.run(files(site, "abc")) == expected


def test_last_version_lines_are_written_unchanged() -> None:
    """An event read and written again is the same line, except for facts missing in old ones."""
    lines = Path(__file__).with_name(JOURNALS[-1]).read_text().splitlines()
    events, damaged = read_events("".join(f"{line}\n" for line in lines).encode())
    assert damaged == []
    for line, event in zip(lines, events, strict=True):
        assert json.loads(encoded(event, event.serial)) == json.loads(line)
