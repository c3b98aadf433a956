"""Damage to a job directory: a full disk, a damaged journal, a changed clock, a lost product."""

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chaos_products import differing, left_over, names, products
from chaos_site import Site, wait_for
from lofarpipe.support.utilities import unfinished_name

pytestmark = pytest.mark.timeout(900)

ALL = [f"{step}/{number:03d}" for step in ("copy", "again") for number in range(3)]


def check_small(site: Site) -> None:
    """Check the copies, and that no stale file remains."""
    for step in ("copy", "again"):
        for number in range(3):
            assert (site.job / f"{number}.{step}").read_bytes() == f"{number}".encode() * 1_000_000
    assert left_over(site.job) == []
    assert list(site.scratch.iterdir()) == []


def once_more(site: Site, *jobs: str) -> Counter[str]:
    """Return how often each job was started if these were started twice, and the others once."""
    return Counter([*ALL, *jobs])


def lines(site: Site) -> list[bytes]:
    return (site.job / "journal.jsonl").read_bytes().splitlines(keepends=True)


def place_of_end(site: Site, job: str) -> int:
    """Return the line number of the journal entry for the end of a job."""
    events = [json.loads(line) for line in lines(site)]
    (place,) = [n for n, event in enumerate(events) if (event["event"], event.get("job")) == ("job_done", job)]
    return place


# ---- the journal


def test_intact_journal_repeats_no_job(small_site: Site) -> None:
    small_site.finish()
    small_site.finish()
    assert small_site.starts() == once_more(small_site)
    check_small(small_site)


def test_torn_last_line_is_ignored(small_site: Site) -> None:
    small_site.finish()
    journal = small_site.job / "journal.jsonl"
    os.truncate(journal, journal.stat().st_size - 10)
    small_site.finish()
    assert "not readable" in small_site.said.read_text()
    assert small_site.starts() == once_more(small_site)
    check_small(small_site)


def test_truncated_journal_repeats_torn_job(small_site: Site) -> None:
    """As after a loss of power: recorded jobs count, the job with the torn record runs again."""
    small_site.finish()
    before = lines(small_site)
    place = place_of_end(small_site, "copy/001")
    (small_site.job / "journal.jsonl").write_bytes(b"".join(before[:place]) + before[place][:40])
    small_site.finish()
    starts = small_site.starts()
    assert starts["copy/000"] == 1
    assert starts["copy/001"] == 2
    check_small(small_site)


def test_damaged_middle_line_repeats_its_job(small_site: Site) -> None:
    small_site.finish()
    before = lines(small_site)
    place = place_of_end(small_site, "copy/001")
    before[place] = b"\0" * (len(before[place]) - 1) + b"\n"
    (small_site.job / "journal.jsonl").write_bytes(b"".join(before))
    small_site.finish()
    assert "not readable" in small_site.said.read_text()
    assert small_site.starts()["copy/000"] == 1
    check_small(small_site)
    small_site.finish()
    assert "not readable" not in small_site.said.read_text()  # reported once


def test_missing_journal_repeats_all_jobs(small_site: Site) -> None:
    small_site.finish()
    (small_site.job / "journal.jsonl").unlink()
    small_site.finish()
    assert small_site.starts() == Counter(ALL)
    check_small(small_site)


# ---- the clock


@pytest.mark.parametrize("shift_s", ["-86400", "86400"])
def test_clock_changes_do_not_repeat_jobs(small_site: Site, shift_s: str) -> None:
    """Finished work stays finished, and changes are noticed, at any time of the clock."""
    small_site.finish()
    small_site.finish(CHAOS_CLOCK_S=shift_s)
    assert small_site.starts() == once_more(small_site)
    text = small_site.here.parent / "inputs" / "1.txt"
    text.write_bytes(b"x" * 1_000_000)
    small_site.finish(CHAOS_CLOCK_S=shift_s)
    small_site.finish()
    assert small_site.starts() == once_more(small_site, "copy/001", "again/001")
    assert (small_site.job / "1.again").read_bytes() == text.read_bytes()


# ---- products


def test_missing_product_repeats_its_dependents(small_site: Site) -> None:
    small_site.finish()
    (small_site.job / "2.copy").unlink()
    small_site.finish()
    assert small_site.starts()["copy/002"] == 2
    assert small_site.starts()["copy/001"] == small_site.starts()["again/001"] == 1
    check_small(small_site)


def test_partial_files_of_killed_process_are_removed(small_site: Site) -> None:
    small_site.finish()
    ended = subprocess.Popen(["/bin/true"])
    ended.wait()
    for folder in (small_site.job, small_site.job / "mapfiles", small_site.job / "jobs"):
        folder.mkdir(exist_ok=True)
    name = unfinished_name(small_site.job / "mapfiles" / "copy.mapfile")
    name.with_name(name.name.replace(f".{os.getpid()}.", f".{ended.pid}.")).write_text("half")
    small_site.finish()
    check_small(small_site)


@pytest.mark.slow
def test_missing_averaged_set_is_averaged_again(image_site: Callable[..., Site], undisturbed, tmp_path: Path) -> None:
    """One of two averaged sets is removed: it is averaged anew, then imaged and measured; nothing else runs."""
    site = image_site(tmp_path / "site")
    site.finish()
    before = site.starts()
    shutil.rmtree(next(site.job.glob("*_T1_*.average_dpppconcat.ms")))
    site.finish()
    again = sorted(site.starts() - before)
    assert again[0] == "average_dpppconcat/001"
    assert "wsclean_high_deep/000" in again
    assert not {"average_dpppconcat/000", "do_magic/000", "plot_uvcov/000"} & set(again)
    assert differing(products(site.job), undisturbed.products) == []
    assert names(site.job) == undisturbed.names


# ---- the disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Return a function that makes a disk of a number of bytes, or gives that one another size."""
    place = tmp_path / "disk"
    place.mkdir()

    def sized(size: int) -> Path:
        options = f"{'remount,' if os.path.ismount(place) else ''}size={size}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"a small disk needs the right to mount one: {done.stderr.strip()}")
        return place

    yield sized
    if os.path.ismount(place):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_run_resumes_after_full_disk(small_site: Site, small_disk: Callable[[int], Path]) -> None:
    """Everything is on it, the journal too; it takes the first copies."""
    site = Site(small_disk(4_000_000) / "site", small_site.arguments)
    assert site.start().wait() == 1
    said = site.said.read_text()
    assert "space" in said or "full" in said
    assert str(site.here) in said
    wait_for(site.is_quiet)
    small_disk(40_000_000)
    done = Counter(event["job"] for event in site.events("job_done") if event["exit_code"] == 0)
    site.finish()
    starts = site.starts()
    assert done
    assert all(starts[job] == 1 for job in done)
    check_small(site)


@pytest.mark.slow
def test_image_resumes_after_full_disk(
    image_site: Callable[..., Site], small_disk: Callable[[int], Path], undisturbed
) -> None:
    site = image_site(small_disk(5_000_000) / "site")
    assert site.start().wait() == 1
    assert "space" in site.said.read_text() or "full" in site.said.read_text()
    wait_for(site.is_quiet)
    small_disk(200_000_000)
    site.finish()
    assert differing(products(site.job), undisturbed.products) == []
    assert names(site.job) == undisturbed.names
    assert left_over(site.job) == []
    assert list(site.scratch.iterdir()) == []
