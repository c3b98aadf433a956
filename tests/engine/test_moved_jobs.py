"""Inserted, removed and reordered products keep the finished work of all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from copy_pipeline import journalled
from lofarpipe.cli import main
from made_images import measured
from moving_site import MARKED, MARKED_INPUTS, Killed, MovingSite, PipelineError, Pretended
from noting_site import Site

__all__ = ["site"]  # a fixture


@pytest.fixture
def moving(tmp_path: Path) -> MovingSite:
    made = MovingSite(tmp_path)
    made.change(*"abcdxAB")
    return made


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    made = Site(tmp_path)
    (tmp_path / "in/x.txt").write_text("x\n")
    return made


def files(site: Site, products: str) -> str:
    return f"list.control.files=[{', '.join(f'{site.here}/in/{name}.txt' for name in products)}]"


# Real programs.


@pytest.mark.parametrize("products", ["xabc", "axbc", "abxc"])
def test_inserted_product_runs_alone(site: Site, products: str) -> None:
    site.run()
    logs = {path: path.stat().st_mtime_ns for path in site.job.glob("logs/copy/*.log")}
    assert site.run(files(site, products)) == ["again-x", "copy-x", "join"]
    assert site.text("out/joined.txt") == "".join(f"{name}\n" for name in products)
    assert all(path.stat().st_mtime_ns == mark for path, mark in logs.items())
    assert f"{site.here}/in/x.txt" in (site.job / "logs/copy/003.log").read_text()
    assert site.run(files(site, products)) == []


def test_run_state_has_each_job_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.run()
    site.run(files(site, "xac"))
    record = json.loads((site.job / "run.json").read_text())
    copies = {job["name"]: Path(job["label"]).name for job in record["jobs"] if job["step"] == "copy"}
    assert copies == {"copy/000": "a.txt", "copy/002": "c.txt", "copy/003": "x.txt"}
    (copy,) = [step for step in record["steps"] if step["name"] == "copy"]
    assert (copy["jobs"], copy["done"], copy["failed"]) == (3, 3, 0)
    capsys.readouterr()
    assert main(["status", str(site.job), "--json"]) == 0
    jobs = json.loads(capsys.readouterr().out)["steps"]["copy"]["jobs"]
    assert sorted(jobs) == ["copy/000", "copy/002", "copy/003"]


def test_command_file_follows_moved_jobs(site: Site) -> None:
    site.run()
    site.run(files(site, "xabc"))
    commands = dict(line.split(": ", 1) for line in site.text("run/commands.txt").splitlines())
    named = {name: command.split()[2] for name, command in commands.items() if name.startswith("copy/")}
    assert named == {f"copy/00{n}": f"{site.here}/in/{name}.txt" for n, name in enumerate("abcx")}


def test_killed_engine_resumes_inserted_product(site: Site) -> None:
    site.run()
    site.more = (files(site, "xabc"),)
    site.set("hold-copy-x")
    assert site.kill_engine_when("copy-x") == ["copy-x"]
    site.unset("hold-copy-x")
    assert site.run() == ["again-x", "copy-x", "join"]
    assert site.text("out/joined.txt") == "x\na\nb\nc\n"
    assert [event["job"] for event in site.events("job_cleared")] == ["copy/003"]


def test_script_results_follow_their_products(site: Site) -> None:
    site.more = (
        "pipeline.steps=[list, count]",
        *(f"count.control.{text}" for text in ("type=pythonplugin", "executable=count.py", "inputkey=infile")),
        "count.control.mapfile_in=list.output.mapfile",
        "count.argument.flags=[infile]",
        f"count.argument.here={site.here}",
    )
    site.run()
    assert site.run(files(site, "cxa")) == ["count-x"]
    returned = json.loads(site.text("run/mapfiles/count.total.mapfile").replace("'", '"').replace("False", "false"))
    assert [entry["file"] for entry in returned] == ["c2", "x2", "a2"]


def test_description_follows_its_product(site: Site) -> None:
    for name in "abx":
        measured(site.here / f"in/{name}.fits")
    keys = ("kind=feedback", "mapfile_in=list.output.mapfile", "product_type=SkyImage", "error_tolerance=False")
    metadata = f"metadata_file={site.here}/metadata"
    site.more = ("pipeline.steps=[list, describe]", *(f"describe.control.{text}" for text in (*keys, metadata)))

    def described(products: str) -> tuple[list[str], list[str]]:
        before = len(site.events("job_done"))
        names = [f"{site.here}/in/{name}.fits" for name in products]
        assert main(site.arguments(f"list.control.files=[{', '.join(names)}]")) == 0
        lines = [line for line in site.text("metadata").splitlines() if ".filename=" in line]
        assert [line.partition("=")[2] for line in lines] == [f"{name}.fits" for name in products]
        return [event["job"] for event in site.events("job_done")[before:]], lines

    assert sorted(described("ab")[0]) == ["describe/000", "describe/001"]
    assert sorted(described("xab")[0]) == ["describe/000", "describe/001", "describe/002"]  # each names the map
    labels = {event["job"]: Path(event["label"]).stem for event in site.events("job_done")}
    assert labels == {"describe/000": "a", "describe/001": "b", "describe/002": "x"}


# Jobs that are pretended.


def test_reordering_repeats_only_list_steps(moving: MovingSite) -> None:
    moving.run("abc")
    assert moving.dry_run("cab") == ["join"]
    assert "# copy: 3 of 3 jobs were done before" in moving.told
    assert moving.run("cab") == ["join"]
    assert moving.numbers("copy") == {"000": "a", "001": "b", "002": "c"}
    assert moving.joined() == "".join(moving.input(product).read_text() for product in "cab")


def test_returning_product_keeps_its_number(moving: MovingSite) -> None:
    moving.run("abc")
    assert moving.run("bc") == ["join"]
    assert moving.numbers("copy") == {"001": "b", "002": "c"}
    assert moving.run("xbc") == ["copy-x", "again-x", "join"]
    assert moving.numbers("copy") == {"001": "b", "002": "c", "003": "x"}
    assert moving.run("abc") == ["join"]
    assert moving.numbers("copy") == {"000": "a", "001": "b", "002": "c"}


def test_journal_lists_removed_jobs(moving: MovingSite) -> None:
    moving.run("abc")
    moving.run("bc")
    first, second = [event for event in journalled(moving.job, "step_started") if event["step"] == "copy"]
    assert "left" not in first
    assert second["left"] == ["copy/000"]


def test_changed_product_runs_at_any_position(moving: MovingSite) -> None:
    moving.run("abc")
    moving.change("b")
    assert moving.run("xbac") == ["copy-x", "copy-b", "again-x", "again-b", "join"]
    assert moving.numbers("copy") == {"000": "a", "001": "b", "002": "c", "003": "x"}


def test_overwritten_output_is_made_again(moving: MovingSite) -> None:
    """The products a and A have outputs of the same name."""
    moving.run("ab")
    assert moving.run("bA") == ["copy-A", "again-a", "join"]
    assert moving.run("ab") == ["copy-a", "again-a", "join"]
    assert moving.joined() == "".join(moving.input(product).read_text() for product in "ab")


def test_duplicate_products_share_results(moving: MovingSite) -> None:
    moving.run("aab")
    assert moving.run("xaab") == ["copy-x", "again-x", "join"]
    assert moving.run("ab") == ["join"]
    assert moving.run("baa") == ["join"]


def test_changed_arguments_keep_job_numbers(moving: MovingSite) -> None:
    moving.run("ab")
    moving.assignments = ("copy.control.environment={A: b}",)
    assert moving.run("xab") == ["copy-x", "copy-a", "copy-b", "again-x", "again-a", "again-b", "join"]
    assert moving.numbers("copy") == {"000": "a", "001": "b", "002": "x"}


@pytest.mark.parametrize("products", ["xab", "bxa"])
def test_changed_list_retries_tolerated_failure(moving: MovingSite, products: str) -> None:
    moving.assignments = ("copy.control.error_tolerance=True",)
    moving.run("ab", Pretended(failing=frozenset({"copy-b"})))
    started = [name for name in (f"copy-{product}" for product in products) if name != "copy-a"]
    assert moving.run(products, Pretended(failing=frozenset({"copy-b"})))[:2] == started
    assert (moving.state.steps["copy"].done, moving.state.steps["copy"].failed) == (2, 1)
    assert moving.run(products) == []  # failures stay until they are forgotten
    assert moving.numbers("copy") == {"000": "a", "001": "b", "002": "x"}


def test_failed_job_keeps_number_and_attempts(moving: MovingSite) -> None:
    moving.assignments = ("copy.control.retries=1",)
    with pytest.raises(PipelineError, match="copy/001"):
        moving.run("ab", Pretended(failing=frozenset({"copy-b"})))
    with pytest.raises(PipelineError, match="copy/001"):
        moving.run("xab", Pretended(failing=frozenset({"copy-b"})))
    ends = [event for event in journalled(moving.job, "job_done") if event["job"] == "copy/001"]
    assert [(event["attempt"], Path(event["log"]).name) for event in ends] == 2 * [(1, "001.try1.log"), (2, "001.log")]
    assert moving.run("xab") == ["copy-b", "again-x", "again-a", "again-b", "join"]


def main_in(moving: MovingSite, *words: str) -> int:
    settings = [word for text in moving.assignments for word in ("-s", text)]
    return main([f"{moving.here}/run.parset", "-c", f"{moving.here}/pipeline.cfg", *settings, *words])


def test_removed_job_can_be_forgotten(moving: MovingSite) -> None:
    moving.run("ab")
    moving.run("b")
    assert main_in(moving, "--forget", "copy/000") == 0
    assert moving.run("ab") == ["copy-a", "again-a", "join"]


def test_journal_of_older_version_resumes(moving: MovingSite) -> None:
    """It has no ``left``, and very old jobs have no label: their identity is compared."""
    moving.run("ab")
    journal = moving.job / "journal.jsonl"
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    journal.write_text("".join(f"{json.dumps({**event, 'label': None})}\n" for event in events))
    assert moving.run("xab") == ["copy-x", "again-x", "join"]


def test_loop_iterations_have_own_jobs_and_logs(moving: MovingSite) -> None:
    moving.assignments = (
        "pipeline.steps=[list, turn]",
        *(f"turn.control.{text}" for text in ("kind=loop", "type=loop", "loopcount=2", "loopsteps=[copy]")),
    )
    assert moving.run("ab") == 2 * ["copy-a", "copy-b"]
    assert moving.run("xab") == 2 * ["copy-x"]
    assert moving.run("bx") == []
    for entry in ("copy@0", "copy@1"):
        assert moving.numbers(entry) == {"001": "b", "002": "x"}
        logs = {Path(job.log).parent.name: Path(job.log).name for job in moving.state.steps[entry].jobs.values()}
        assert logs.keys() == {entry}


def test_half_changed_input_is_refused_after_moving(tmp_path: Path) -> None:
    moving = MovingSite(tmp_path, *MARKED)
    moving.change(*"abx")
    with pytest.raises(Killed):
        moving.run("ab", Pretended(kill_at=3))
    with pytest.raises(PipelineError, match=f"mark/001 was cut off while it changed {moving.job}/b.copy in place"):
        moving.run("xab")
    moving.output("b", "copy").unlink()
    assert moving.run("xab") == ["copy-b", "mark-x", "mark-b", "join"]
    assert moving.numbers("mark") == {"000": "a", "001": "b", "002": "x"}


def test_unrecorded_start_survives_absent_product(tmp_path: Path) -> None:
    moving = MovingSite(tmp_path, *MARKED_INPUTS)
    moving.change(*"abx")
    with pytest.raises(Killed):
        moving.run("ab", Pretended(kill_at=1, way="untold"))
    assert moving.run("a") == ["join"]
    assert moving.run("xa") == ["mark-x", "join"]
    for products in ("xab", "b"):
        with pytest.raises(PipelineError, match=f"mark/001 was cut off while it changed {moving.input('b')} in place"):
            moving.run(products)
    assert main_in(moving, "--forget", "mark/001") == 0
    assert moving.run("xab") == ["mark-b", "join"]
