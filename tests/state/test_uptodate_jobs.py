"""Finished jobs of a step stay finished after any end of the run; half-done work never counts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from lofarpipe.cli import main
from lofarpipe.support.data_map import DataMap
from noting_site import Site

IN_PLACE = (
    "pipeline.steps=[list, copy, mark, gather, join]",
    "mark.control.type=executable_args",
    "mark.control.mapfile_in=copy.output.mapfile",
    "mark.control.inputkey=infile",
    "mark.control.inplace=True",
    "mark.control.cores=1",
    "mark.control.max_per_node=1",
    "mark.argument.flags=[infile]",
    "gather.control.mapfile_in=mark.output.mapfile",
)


COUNTING = (
    "pipeline.steps=[list, count]",
    "count.control.type=pythonplugin",
    "count.control.executable=count.py",
    "count.control.mapfile_in=list.output.mapfile",
    "count.control.inputkey=infile",
    "count.control.error_tolerance=False",
    "count.argument.flags=[infile]",
)


COPIES = ["copy-a", "copy-b", "copy-c"]


AGAINS = ["again-a", "again-b", "again-c"]


ALL = [*COPIES, *AGAINS, "join"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    return Site(tmp_path)


@pytest.fixture
def in_place(site: Site) -> Site:
    site.more = (*IN_PLACE, f"mark.control.executable={site.here}/mark.sh")
    return site


def files_of(mapfile: Path) -> list[str]:
    return [product.file for product in DataMap.load(str(mapfile)).data]


# What stays done.


def test_only_failed_job_runs_again(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.set("fail-copy-b")
    assert site.run(status=1) == COPIES
    first = {path.name: path.stat().st_mtime_ns for path in site.job.glob("*.copy")}
    site.unset("fail-copy-b")
    assert site.run() == [*AGAINS, "copy-b", "join"]
    assert sorted(first) == ["a.copy", "c.copy"]
    assert all((site.job / name).stat().st_mtime_ns == mark for name, mark in first.items())
    assert site.text("out/joined.txt") == "a\nb\nc\n"
    assert files_of(site.job / "mapfiles/copy.mapfile") == [f"{site.job}/{name}.copy" for name in "abc"]
    assert [event["done_before"] for event in site.events("step_started")] == [0, 2, 0, 0]
    assert site.run() == []


def test_finished_jobs_keep_their_figures(site: Site) -> None:
    site.set("fail-copy-b")
    site.run(status=1)
    site.unset("fail-copy-b")
    site.run()
    took = {event["job"]: f"{event['duration_s']:.3f}" for event in site.events("job_done") if not event["problem"]}
    assert files_of(site.job / "mapfiles/copy.job_duration.mapfile") == [took[f"copy/00{n}"] for n in range(3)]
    assert files_of(site.job / "mapfiles/copy.returncode.mapfile") == ["0", "0", "0"]


@pytest.mark.parametrize("damage", [None, "{}", "removed"])
def test_finished_jobs_keep_script_results(site: Site, damage: str | None) -> None:
    site.more = (*COUNTING, f"count.argument.here={site.here}")
    site.set("fail-count-b")
    assert site.run(status=1) == ["count-a", "count-b", "count-c"]
    result = site.job / "jobs/count/000.result.json"
    if damage == "removed":
        result.unlink()
    elif damage:
        result.write_text(damage)
    site.unset("fail-count-b")
    assert site.run() == ["count-b"]
    assert files_of(site.job / "mapfiles/count.total.mapfile") == ["a2", "b2", "c2"]


LISTING = """\
import pathlib

def main(infile, here):
    name = pathlib.Path(infile).name[0]
    with open(f'{here}/starts.txt', 'a') as starts:
        starts.write(f'count-{name}\\n')
    assert not pathlib.Path(f'{here}/fail-count-{name}').exists()
    made = [pathlib.Path(here, 'run', f'{name}{part}.out') for part in (1, 2)]
    for path in made:
        path.write_text(name)
    return {'files': FILES}
"""


@pytest.mark.parametrize(
    ("returned", "failed"),
    [
        ("f'[{made[0]},{made[1]}]'", ""),
        ("str([str(path) for path in made])", "fail-count-b"),
        ("str(made[1])", "fail-count-b"),
    ],
)
def test_lost_file_of_a_result_repeats_its_job(site: Site, returned: str, failed: str) -> None:
    (site.here / "my/scripts/count.py").write_text(LISTING.replace("FILES", returned))
    site.more = (*COUNTING, f"count.argument.here={site.here}")
    site.set(*[failed] if failed else [])
    site.run(status=1 if failed else 0)
    site.unset(*[failed] if failed else [])
    (site.job / "a2.out").unlink()
    assert site.run() == ["count-a", "count-b"][: 2 if failed else 1]
    assert (site.job / "a2.out").is_file()
    assert site.run() == []


def test_tolerated_failure_is_not_retried(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """A step that is done is done, with the products that failed."""
    site.set("fail-copy-b")
    site.run("copy.control.error_tolerance=True")
    assert site.text("out/joined.txt") == "a\nc\n"
    site.unset("fail-copy-b")
    capsys.readouterr()
    assert site.run("copy.control.error_tolerance=True") == []
    failed = "copy: one job failed, and its product is still skipped: copy/001; --forget copy/001 lets it run again"
    assert f"warning: {failed}" in capsys.readouterr().err
    assert main([*site.arguments("copy.control.error_tolerance=True"), "--forget", "copy/001"]) == 0
    assert site.run("copy.control.error_tolerance=True") == ["again-b", "copy-b", "join"]
    assert site.run("copy.control.error_tolerance=True") == []
    assert "still skipped" not in capsys.readouterr().err


def test_lower_tolerance_retries_failed_job(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.set("fail-copy-b")
    site.run("copy.control.error_tolerance=True")
    site.unset("fail-copy-b")
    capsys.readouterr()
    assert site.run("copy.control.error_tolerance=False") == ["again-b", "copy-b", "join"]
    assert "copy: runs again: 1 of 3 jobs failed" in capsys.readouterr().out
    assert site.text("out/joined.txt") == "a\nb\nc\n"


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        (lambda site: (site.job / "b.copy").unlink(), ["again-b", "copy-b", "join"]),
        (lambda site: (site.job / "b.copy").write_text("by hand"), ["again-b", "copy-b", "join"]),
        (lambda site: (site.job / "b.again").unlink(), ["again-b", "join"]),
        (lambda site: (site.here / "in/b.txt").write_text("B"), ["again-b", "copy-b", "join"]),
        (lambda site: (site.here / "out/joined.txt").write_text("by hand"), ["join"]),
        (lambda site: (site.here / "copy.sh").write_text(site.text("copy.sh") + "# new\n"), ALL),
    ],
)
def test_product_change_repeats_only_its_jobs(site: Site, change: Callable[[Site], object], jobs: list[str]) -> None:
    assert site.run() == sorted(ALL)
    change(site)
    assert site.run() == sorted(jobs)
    wanted = "".join((site.here / f"in/{name}.txt").read_text() for name in "abc")
    assert site.text("out/joined.txt") == wanted
    assert site.run() == []


def test_product_lost_by_unfinished_step_is_remade(site: Site) -> None:
    """The step after it is not finished, and does not hide that."""
    site.set("fail-again-c")
    assert site.run(status=1) == sorted([*COPIES, *AGAINS])
    (site.job / "a.copy").unlink()
    site.unset("fail-again-c")
    assert site.run() == ["again-a", "again-c", "copy-a", "join"]


def test_new_product_repeats_no_finished_job(site: Site) -> None:
    site.run()
    (site.here / "in/d.txt").write_text("d\n")
    more = (
        f"list.control.files=[{site.here}/in/a.txt, {site.here}/in/b.txt, {site.here}/in/c.txt, {site.here}/in/d.txt]"
    )
    assert site.run(more) == ["again-d", "copy-d", "join"]


# The engine is killed.


def test_killed_run_resumes_at_unfinished_job(site: Site) -> None:
    site.set("hold-again-b")
    site.more = ("again.control.max_per_node=1",)
    assert site.kill_engine_when("again-b") == ["again-a", "again-b", *COPIES]
    site.unset("hold-again-b")
    assert site.run() == ["again-b", "again-c", "join"]
    assert site.text("out/joined.txt") == "a\nb\nc\n"
    assert site.noted("there.txt") == []  # the half of b was removed before it was made again
    (cleared,) = site.events("job_cleared")
    assert cleared["job"] == "again/001"
    assert cleared["cleared"] == [f"{site.job}/b.again was not complete, and is removed"]


def test_next_run_awaits_slow_job(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """No command runs twice at the same time."""
    site.set("hold-copy-a", "slow-copy-a")
    site.kill_engine_when("copy-a")
    site.unset("hold-copy-a")
    site.run()
    assert "copy-a" in site.starts()
    assert site.noted("twice.txt") == []
    assert "was killed; waiting until its processes have ended" in capsys.readouterr().out


def test_incomplete_product_is_cleared_once(site: Site) -> None:
    site.set("hold-copy-c", "fail-copy-a")
    site.kill_engine_when("copy-c")
    site.unset("hold-copy-c")
    site.set("fail-copy-c")
    site.run(status=1)
    (site.job / "c.copy").write_text("mine")
    site.run(status=1)
    assert (site.job / "c.copy").read_text() == "mine"


def test_incomplete_outside_product_is_moved_aside(site: Site) -> None:
    site.set("hold-join")
    for number in (1, 2):
        site.unset(*(path.name for path in site.here.glob("held-join")))
        site.kill_engine_when("join")
        assert (site.here / "out/joined.txt").exists()
        assert not (site.here / f"out/joined.txt.incomplete-{number}").exists()
    site.unset("hold-join")
    assert site.run() == ["join"]
    assert sorted(path.name for path in (site.here / "out").iterdir()) == [
        "joined.txt",
        "joined.txt.incomplete-1",
        "joined.txt.incomplete-2",
    ]
    assert site.noted("there.txt") == []


def test_lost_journal_line_repeats_one_job(site: Site) -> None:
    site.run()
    journal = site.job / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b'"join"' not in line or b"step_done" not in line]
    hit = next(place for place, line in enumerate(kept) if b'"job_done"' in line and b'"again/001"' in line)
    kept[hit] = kept[hit][:40] + b"\0" * (len(kept[hit]) - 41) + b"\n"
    started = next(place for place, line in enumerate(kept) if b'"step_done"' in line and b'"again"' in line)
    del kept[started]  # and the step was not finished
    journal.write_bytes(b"".join(kept))
    assert site.run() == ["again-b", "join"]
    assert site.text("out/joined.txt") == "a\nb\nc\n"


# Jobs that change their inputs.


def test_untouched_input_is_changed_on_resume(in_place: Site) -> None:
    in_place.set("wait-mark-b")
    in_place.kill_engine_when("mark-b")
    in_place.unset("wait-mark-b")
    assert in_place.run() == ["join", "mark-b", "mark-c"]
    assert in_place.text("out/joined.txt") == "a\nmarked\nb\nmarked\nc\nmarked\n"


@pytest.fixture
def half_changed(in_place: Site, capsys: pytest.CaptureFixture[str]) -> Site:
    in_place.set("hold-mark-b")
    in_place.kill_engine_when("mark-b")
    in_place.unset("hold-mark-b")
    assert in_place.run(status=1) == []
    err = capsys.readouterr().err
    assert f"step 'mark': mark/001 was cut off while it changed {in_place.job}/b.copy in place" in err
    assert "delete it and start again: it is made anew" in err
    assert "mark.control.repeatable = True" in err
    return in_place


def test_dry_run_reports_half_changed_input(half_changed: Site, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main([*half_changed.arguments(), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("# mark: step 'mark': mark/001 was cut off while it changed") for line in lines)
    assert not any(line.startswith("mark/") for line in lines)


def test_half_changed_input_must_be_remade(half_changed: Site) -> None:
    assert half_changed.run(status=1) == []
    (half_changed.job / "b.copy").unlink()
    assert half_changed.run() == ["copy-b", "join", "mark-b", "mark-c"]
    assert half_changed.text("out/joined.txt") == "a\nmarked\nb\nmarked\nc\nmarked\n"


def test_repeatable_step_changes_input_twice(half_changed: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert half_changed.run("mark.control.repeatable=True") == ["join", "mark-b", "mark-c"]
    assert half_changed.text("out/joined.txt") == "a\nmarked\nb\nmarked\nmarked\nc\nmarked\n"
    assert f"mark/001 was cut off while it changed {half_changed.job}/b.copy" in capsys.readouterr().out


def test_restored_input_is_accepted(half_changed: Site) -> None:
    (half_changed.job / "b.copy").write_text("b\n")  # the same content
    assert half_changed.run() == ["join", "mark-b", "mark-c"]
    assert half_changed.text("out/joined.txt") == "a\nmarked\nb\nmarked\nc\nmarked\n"


def test_forgotten_job_runs_again(half_changed: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*half_changed.arguments(), "--forget", "mark/001"]) == 0
    assert "these were done: mark/001" in capsys.readouterr().out
    assert half_changed.run() == ["copy-b", "join", "mark-b", "mark-c"]  # b.copy is nobody's work any more
    assert half_changed.text("out/joined.txt") == "a\nmarked\nb\nmarked\nc\nmarked\n"


def test_half_changed_original_must_be_restored(in_place: Site, capsys: pytest.CaptureFixture[str]) -> None:
    in_place.more += ("pipeline.steps=[list, mark]", "mark.control.mapfile_in=list.output.mapfile")
    in_place.set("hold-mark-a")
    in_place.kill_engine_when("mark-a")
    in_place.unset("hold-mark-a")
    assert in_place.run(status=1) == []
    assert "restore it from its origin and start again with --forget mark/000" in capsys.readouterr().err


def test_unrecorded_start_is_detected_by_fingerprint(in_place: Site, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed between the start of a job and its record: fingerprints from before the step detect the change."""
    in_place.more += ("pipeline.steps=[list, mark]", "mark.control.mapfile_in=list.output.mapfile")
    in_place.set("hold-mark-b")
    in_place.kill_engine_when("mark-b")
    in_place.unset("hold-mark-b")
    journal = in_place.job / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b"job_started" in lines[-1]
    journal.write_bytes(b"".join(lines[:-1]))
    assert in_place.run(status=1) == []
    assert "mark/001 was cut off while it changed" in capsys.readouterr().err


def test_failed_change_is_repeated(in_place: Site) -> None:
    """A program with its own failure status has ended; the step runs again as usual."""
    (in_place.here / "mark.sh").write_text(in_place.text("mark.sh") + 'case $name in *b) [ ! -e "$0.bad" ];; esac\n')
    in_place.set("mark.sh.bad")
    in_place.more += ("mark.control.error_tolerance=False",)
    assert in_place.run(status=1) == [*COPIES, "mark-a", "mark-b", "mark-c"]
    in_place.unset("mark.sh.bad")
    assert in_place.run() == ["join", "mark-b"]


# What is shown, and forgotten.


def test_list_and_dry_run_count_jobs(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.set("fail-again-b")
    site.run(status=1)
    capsys.readouterr()
    assert main([*site.arguments(), "--list"]) == 0
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("again")]
    assert row[1:3] + row[-3:] == ["not", "finished", "2", "of", "3"]
    assert main([*site.arguments(), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "# again: 2 of 3 jobs were done before" in lines
    assert [line.partition(":")[0] for line in lines if line.startswith(("copy/", "again/"))] == ["again/001"]


def test_dry_run_lists_dependent_jobs(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.run()
    (site.job / "b.copy").unlink()
    capsys.readouterr()
    assert main([*site.arguments(), "--dry-run"]) == 0
    lines = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert [line for line in lines if not line.startswith("#")] == ["copy/001", "again/001", "join/000"]


def test_forgotten_step_forgets_its_jobs(site: Site) -> None:
    site.set("fail-again-b")
    site.run(status=1)
    assert main([*site.arguments(), "--forget", "again"]) == 0
    site.unset("fail-again-b")
    assert site.run() == sorted([*AGAINS, "join"])


def test_unknown_job_cannot_be_forgotten(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.run()
    assert main([*site.arguments(), "--forget", "copy/009"]) == 1
    assert "--forget copy/009: no such job began; did you mean 'copy/00" in capsys.readouterr().err


def test_job_of_finished_step_can_be_forgotten(site: Site) -> None:
    site.run()
    assert main([*site.arguments(), "--forget", "copy/001"]) == 0
    assert site.run() == ["again-b", "copy-b", "join"]


def test_command_file_keeps_all_jobs(site: Site) -> None:
    site.set("fail-copy-b")
    site.run(status=1)
    site.unset("fail-copy-b")
    site.run()
    names = [line.partition(":")[0] for line in site.text("run/commands.txt").splitlines()]
    assert sorted(names) == [*(f"{step}/00{n}" for step in ("again", "copy") for n in range(3)), "join/000"]
    with contextlib.suppress(FileNotFoundError):
        (site.job / "commands.txt").unlink()
    site.run("join.control.environment={A: b}")
    assert [line.partition(":")[0] for line in site.text("run/commands.txt").splitlines()] == ["join/000"]
