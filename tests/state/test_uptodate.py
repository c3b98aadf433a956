"""A resumed run repeats exactly the outdated steps."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from copy_pipeline import CONFIG, copy_step, gather_step, journalled, list_step
from journal_events import emit
from lofarpipe.cli import main
from lofarpipe.config import Overrides, load_settings
from lofarpipe.state.events import StepStarted
from lofarpipe.state.journal import Journal, Stream
from lofarpipe.state.uptodate import FilesOnDisk, Ledger, own_outputs
from lofarpipe.support.data_map import DataMap, DataProduct

# Two files are copied, changed in place, joined into files whose names only the program knows, and these are read.
STEPS = """\
pipeline.steps = [list, copy, mark, gather, join, read, other]
mark.control.type = pythonplugin
mark.control.executable = mark.py
mark.control.mapfile_in = copy.output.mapfile
mark.control.inputkey = infile
mark.control.inplace = True
mark.argument.flags = [infile]
mark.argument.text = x
join.control.type = pythonplugin
join.control.executable = join.py
join.control.mapfile_in = gather.output.mapfile
join.control.inputkey = files
join.argument.flags = [files]
join.argument.root = {here}/out/joined
read.control.type = executable_args
read.control.executable = /bin/cat
read.control.mapfile_in = gather.output.mapfile
read.control.inputkey = files
read.control.skip_infile = True
read.argument.flags = [{here}/out/joined-MFS.txt]
other.control.type = executable_args
other.control.executable = /bin/cat
other.control.mapfile_in = list.output.mapfile
other.control.inputkey = infile
other.argument.flags = [infile]
"""
PARSET = STEPS + gather_step("mark") + list_step("[{here}/in/a.txt, {here}/in/b.txt]") + copy_step()
MARK = "def main(infile, text):\n    with open(infile, 'a') as stream:\n        stream.write(text)\n"
JOIN = """\
def main(files, root, note=''):
    text = ''.join(open(name).read() for name in files.strip('[]').split(','))
    for ending in ('MFS', 'psf'):
        with open(f'{root}-{ending}.txt', 'w') as stream:
            stream.write(text + note)
"""
ALL = ["copy", "mark", "join", "read", "other"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("in", "out", "my/scripts", "my/plugins"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a", "b"):
        (tmp_path / "in" / f"{name}.txt").write_text(f"{name}\n")
    (tmp_path / "my/scripts/mark.py").write_text(MARK)
    (tmp_path / "my/scripts/join.py").write_text(JOIN)
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "run.parset").write_text(PARSET.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(site: Path, *assignments: str, status: int = 0) -> list[str]:
    """Run, and return the steps that were run, in order."""
    before = len(started(site))
    words = [word for text in assignments for word in ("-s", text)]
    assert main(["run.parset", "-c", "pipeline.cfg", *words]) == status
    return started(site)[before:]


def started(site: Path) -> list[str]:
    return [event["step"] for event in journalled(site / "run", "step_started")]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_finished_steps_do_not_repeat(site: Path) -> None:
    assert run(site) == ALL
    assert run(site) == []
    assert (site / "out/joined-MFS.txt").read_text() == "a\nxb\nx"


@pytest.mark.parametrize(
    ("change", "steps"),
    [
        (lambda site: edit(site / "in/a.txt", "a", "c"), ALL),
        (lambda site: (site / "in/a.txt").touch(), []),  # written again with the same content
        (lambda site: (site / "run/a.copy").unlink(), ["copy", "mark", "join", "read"]),
        (lambda site: (site / "run/a.copy").write_text("by hand"), ["copy", "mark", "join", "read"]),
        (lambda site: edit(site / "my/scripts/mark.py", "write(text)", "write(text + text)"), ["mark", "join", "read"]),
        (lambda site: edit(site / "my/scripts/join.py", "note)", "note + '.')"), ["join", "read"]),
        (lambda site: edit(site / "run.parset", "mark.argument.text = x", "mark.argument.text = y"), ALL[1:4]),
        (lambda site: edit(site / "run.parset", "root =", "note = !\njoin.argument.root ="), ["join", "read"]),
        (lambda site: edit(site / "run.parset", "other.argument.flags = [", "other.argument.flags = [-n, "), ["other"]),
        (lambda site: edit(site / "run.parset", "other.", "another."), []),  # it has left the list: see below
        (lambda site: (site / "out/joined-psf.txt").unlink(), []),  # nothing in the pipeline needs it
        (lambda site: shutil.rmtree(site / "run/mapfiles"), []),  # what was in the maps is known
    ],
)
def test_change_repeats_dependent_steps(site: Path, change: Callable[[Path], object], steps: list[str]) -> None:
    edit(site / "run.parset", ", read, other]", ", read, {{ last }}]\n! last = other")
    run(site)
    change(site)
    if "another." in (site / "run.parset").read_text():
        edit(site / "run.parset", "! last = other", "! last = another")
        steps = ["another"]  # the same under another name was not done
    assert run(site) == steps
    assert run(site) == []


def test_maps_keep_state_of_each_step(site: Path) -> None:
    """A step that marks products as skipped in the map of another does not make that one's readers run again."""
    edit(
        site / "my/scripts/mark.py", "def main(infile, text):\n", "def main(infile, text):\n    assert 'a.' in infile\n"
    )
    edit(site / "run.parset", "mark, gather", "first, mark, gather")
    with (site / "run.parset").open("a") as parset:
        for line in ("type = executable_args", "executable = /bin/cat", "mapfile_in = copy.output.mapfile"):
            parset.write(f"first.control.{line}\n")
        parset.write("first.control.inputkey = infile\nfirst.argument.flags = [infile]\n")
    assert run(site) == ["copy", "first", *ALL[1:]]
    mapfile = site / "run/mapfiles/copy.mapfile"
    assert [product.skip for product in DataMap.load(mapfile).data] == [False, True]
    assert run(site) == []
    assert [product.skip for product in DataMap.load(mapfile).data] == [False, True]


def test_directory_names_may_contain_spaces(site: Path) -> None:
    (site / "in" / "my files").mkdir()
    inputs = [site / "in" / "my files" / name for name in ("a.txt", "b.txt")]
    for path in inputs:
        path.write_text("x\n")
    listed = f"list.control.files=[{inputs[0]}, {inputs[1]}]"
    given = [listed, "gather.control.mapfile_in=list.output.mapfile"]
    assert run(site, *given) == ALL
    assert run(site, *given) == []
    inputs[1].write_text("changed\n")
    assert "join" in run(site, *given)


def test_edited_map_repeats_steps(site: Path) -> None:
    run(site)
    mapfile = site / "run/mapfiles/copy.mapfile"
    products = DataMap.load(mapfile)
    products.data[1].skip = True
    products.save(mapfile)
    assert run(site) == ["mark", "join", "read"]


def test_removed_step_repeats_users_of_products(site: Path) -> None:
    """Its changes to products of another step remain: steps that used them run again."""
    run(site)
    edit(site / "run.parset", "copy, mark, gather", "copy, gather")
    edit(site / "run.parset", "mapfile_in = mark.output", "mapfile_in = copy.output")
    assert run(site) == ["join", "read"]


def test_inserted_step_repeats_later_steps(site: Path) -> None:
    run(site)
    edit(site / "run.parset", "mark, gather", "mark, mark, gather")
    assert run(site) == ["mark1", "join", "read"]


def test_failed_step_keeps_earlier_steps_done(site: Path) -> None:
    """It may have changed their products before it failed."""
    edit(site / "my/scripts/mark.py", "write(text)", "write(text); stream.flush(); 1 / (text == 'y')")
    assert run(site, status=1) == ["copy", "mark"]
    assert (site / "run/a.copy").read_text() == "a\nx"
    assert run(site, "mark.argument.text=y") == ["mark", "join", "read", "other"]
    assert run(site, "mark.argument.text=y") == []


def test_fully_failed_step_is_retried(site: Path) -> None:
    """The map of the previous step, which this one would change, is unchanged."""
    edit(site / "my/scripts/mark.py", "text):\n", "text):\n    assert text == 'y'\n")
    assert run(site, status=1) == ["copy", "mark"]
    assert [product.skip for product in DataMap.load(site / "run/mapfiles/copy.mapfile").data] == [False, False]
    assert run(site, "mark.argument.text=y") == ["mark", "join", "read", "other"]
    assert (site / "out/joined-MFS.txt").read_text() == "a\nyb\ny"


def test_interrupted_repetition_continues_later_steps(site: Path) -> None:
    """Dependent steps know that their results are older."""
    run(site)
    edit(site / "my/scripts/join.py", "note)", "note) and 1 / 0")
    assert run(site, "mark.argument.text=y", status=1) == ["mark", "join"]
    (site / "my/scripts/join.py").write_text(JOIN)
    assert run(site, "mark.argument.text=y") == ["join", "read"]


def test_unused_product_may_disappear(site: Path) -> None:
    edit(site / "run.parset", "join, read, other", "join, other")
    edit(site / "run.parset", "join.argument.root", "join.argument.note = out/joined-MFS.txt\njoin.argument.root")
    edit(site / "my/scripts/join.py", "root, note=''", f"root, note='{site}/out/joined-MFS.txt'")
    run(site, f"join.argument.note={site}/out/joined-MFS.txt")
    (site / "out/joined-MFS.txt").unlink()
    assert run(site, f"join.argument.note={site}/out/joined-MFS.txt") == []


def test_missing_script_product_is_made_again(site: Path) -> None:
    """Results of a script are in a map: a missing one is made again."""
    with (site / "my/scripts/join.py").open("a") as script:
        script.write("    open('made.txt', 'w').write(text)\n    return {'made': 'run/made.txt'}\n")
    edit(site / "my/scripts/join.py", "'made.txt', 'w'", f"'{site}/run/made.txt', 'w'")
    edit(site / "my/scripts/join.py", "'run/made.txt'}", f"'{site}/run/made.txt'}}")
    run(site)
    (site / "run/made.txt").unlink()
    assert run(site) == ["join", "read"]


def test_missing_input_repeats_step(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(site)
    (site / "in/a.txt").unlink()
    assert run(site, "copy.control.error_tolerance=False", status=1) == ["copy"]
    assert f"copy: runs again: {site}/in/a.txt has disappeared" in capsys.readouterr().out


def test_changed_files_repeat_reader_of_map(site: Path) -> None:
    """A map is named by its path in an argument; the files in it are rewritten under the same names."""
    edit(site / "run.parset", "read.argument.flags = [", f"read.argument.flags = [{site}/run/mapfiles/gather.mapfile, ")
    edit(site / "run.parset", "-MFS.txt]", "-none.txt, /dev/null]")
    edit(site / "run.parset", "read.control.mapfile_in = gather", "read.control.mapfile_in = list")
    edit(site / "run.parset", "executable = /bin/cat\nread", "executable = /bin/echo\nread")
    run(site)
    assert run(site, "mark.argument.text=y") == ["mark", "join", "read"]


def test_changed_measurement_set_repeats_step(site: Path) -> None:
    table = site / "in/a.txt"
    table.unlink()
    (table / "SUBTABLE").mkdir(parents=True)
    for name in ("table.dat", "table.f0", "table.lock", "SUBTABLE/table.dat"):
        (table / name).write_text("1")
    steps = ("pipeline.steps=[list, other]", "other.control.executable=/bin/ls")
    assert run(site, *steps) == ["other"]
    (table / "table.lock").write_text("22")
    assert run(site, *steps) == []
    (table / "SUBTABLE/table.dat").write_text("22")
    assert run(site, *steps) == ["other"]


def test_loop_iterations_are_distinct(site: Path) -> None:
    edit(site / "run.parset", "mark, gather", "again, gather")
    with (site / "run.parset").open("a") as parset:
        parset.write("again.control.kind = loop\nagain.control.type = loop\nagain.control.loopcount = 2\n")
        parset.write("again.control.loopsteps = [mark]\n")
    assert run(site) == ["copy", "mark@0", "mark@1", "join", "read", "other"]
    assert (site / "run/a.copy").read_text() == "a\nxx"
    assert run(site) == []
    assert run(site, "again.control.loopcount=3") == ["mark@2", "join", "read"]
    assert (site / "run/a.copy").read_text() == "a\nxxx"


# ---- the ledger by itself


@pytest.fixture
def ledger(site: Path) -> Ledger:
    return Ledger(Stream(), load_settings(site / "run.parset", Overrides()))


def done(ledger: Ledger, entry: str, writes: Path | None, *names: Path | str) -> None:
    identity = {"arguments": [str(name) for name in names]}
    assert ledger.stale(entry, identity) != ""
    began = ledger.fingerprint_step(entry, identity)
    ledger.stream.emit(StepStarted(entry))
    if writes is not None:
        writes.write_text(str(time.monotonic_ns()))
    ledger.finish(began, {})


def is_stale(ledger: Ledger, entry: str, *names: Path | str) -> str:
    return ledger.stale(entry, {"arguments": [str(name) for name in names]})


def again(ledger: Ledger) -> Ledger:
    return Ledger(ledger.stream, ledger.settings)


@pytest.mark.parametrize(
    ("named", "written", "depends"),
    [
        ("out/img", "out/img-MFS.fits", True),  # the start of a name
        ("out/img-MFS.fits", "out/img-MFS.fits", True),
        ("out", "out/img-MFS.fits", True),  # a directory, and a file in it
        ("out/img-MFS.fits", "out/img-MFS.fits.copy", False),  # a file, not the start of a name
        (".", "out/img-MFS.fits", False),  # everything is below it
    ],
)
def test_missing_output_repeats_dependent_steps(
    ledger: Ledger, site: Path, named: str, written: str, depends: bool
) -> None:
    (site / "out/img-MFS.fits").write_text("old")
    if named == "out/img":
        (site / "out/img-MFS.fits").unlink()
    done(ledger, "maker", site / written, site / written)
    done(ledger, "user", None, f"{site}/{named}/" if named == "." else site / named)
    resumed = again(ledger)
    assert not is_stale(resumed, "maker", site / written)
    assert resumed.accept_step("maker") == {}
    assert not is_stale(resumed, "user", f"{site}/{named}/" if named == "." else site / named)
    emit(ledger.stream, "step_forgotten", step="maker")
    resumed = again(ledger)
    done(resumed, "maker", site / written, site / written)
    why = is_stale(resumed, "user", f"{site}/{named}/" if named == "." else site / named)
    assert ("step 'maker'" in why or "changed" in why) == depends


def test_predicted_run_repeats_dependent_steps(ledger: Ledger, site: Path) -> None:
    done(ledger, "maker", site / "out/x.txt", site / "out/x.txt")
    done(ledger, "user", None, site / "out/x.txt")
    resumed = again(ledger)
    resumed.record_pending("maker", {}, [])
    assert "step 'maker' wrote what it uses" in is_stale(resumed, "user", site / "out/x.txt")


def test_new_predicted_step_repeats_users_of_outputs(ledger: Ledger, site: Path) -> None:
    done(ledger, "user", None, site / "out/x.txt")
    resumed = again(ledger)
    resumed.record_pending("maker", {}, [str(site / "out/y.txt")])
    assert not is_stale(resumed, "user", site / "out/x.txt")
    resumed.record_pending("maker", {}, [str(site / "out/x.txt")])
    assert "step 'maker' wrote what it uses" in is_stale(resumed, "user", site / "out/x.txt")


def test_dry_run_restores_maps_in_overlay(ledger: Ledger, site: Path) -> None:
    """A dry run keeps its own; they count, and maps that are put back are put there."""

    class Elsewhere(FilesOnDisk):
        def read_path(self, path: str) -> str:
            return path.replace("/out/", "/elsewhere/")

        write_path = read_path

    (site / "elsewhere").mkdir()
    mapfile = site / "out/x.mapfile"
    began = ledger.fingerprint_step("maker", {"a": 1})
    mapfile.write_text("[]")
    ledger.finish(began, {"mapfile": str(mapfile)})
    resumed = Ledger(ledger.stream, ledger.settings, Elsewhere())
    assert resumed.restore_step("maker") == {"mapfile": str(mapfile)}
    assert (site / "elsewhere/x.mapfile").read_text() == "[]"
    (site / "out/x.txt").write_text("x")
    done(ledger, "user", None, site / "out/x.txt")
    assert "has disappeared" in is_stale(resumed, "user", site / "out/x.txt")


def test_runner_files_repeat_nothing(ledger: Ledger, site: Path) -> None:
    commands = ledger.settings.job_directory / "commands.txt"
    commands.parent.mkdir(exist_ok=True)
    commands.write_text("1")
    done(ledger, "quality", None, commands)
    commands.write_text("2")
    assert is_stale(again(ledger), "quality", commands) == ""


def test_reason_names_changed_part(ledger: Ledger) -> None:
    done(ledger, "step", None, "one")
    assert is_stale(ledger, "step", "two") == "changed: arguments"


def test_older_journal_is_understood(site: Path, ledger: Ledger) -> None:
    """It knows neither parts nor files."""
    emit(ledger.stream, "step_done", step="s", fingerprint="f", outputs={"mapfile": "m"})
    assert is_stale(ledger, "s", "x") == "changed: arguments"
    assert ledger.restore_step("s") == {"mapfile": "m"}


def test_huge_maps_are_not_stored(site: Path, ledger: Ledger) -> None:
    mapfile = site / "big.mapfile"
    DataMap([DataProduct("localhost", f"/data/{i:060}", False) for i in range(11000)]).save(mapfile)
    began = ledger.fingerprint_step("step", {"arguments": []})
    ledger.finish(began, {"mapfile": str(mapfile)})
    assert [event.maps for event in [ledger.work.last_done("step")] if event] == [{}]


def test_killed_run_repeats_half_changed_products(site: Path) -> None:
    """An unfinished step is recorded with its file names."""
    run(site)
    with Journal(site / "run/journal.jsonl") as journal:
        emit(journal, "step_started", step="mark", jobs=2, names=[str(site / "run/a.copy")])
    (site / "run/a.copy").write_text("half")
    assert run(site) == ["mark", "join", "read"]


def test_time_alone_counts_for_large_files(site: Path) -> None:
    large = site / "in/a.txt"
    large.write_text("a" * 1_000_001)
    steps = ("pipeline.steps=[list, other]",)
    run(site, *steps)
    os.utime(large, ns=(1, 1))
    assert run(site, *steps) == ["other"]


def test_own_outputs_exclude_inputs():
    step = {
        "inputs": [[("localhost", "/in/a.ms", False)]],
        "outputs": [("localhost", "/in/a.ms"), ("localhost", "/out/a")],
    }
    job = {"inputs": [("localhost", "/in/a.ms", False)], "output": ("localhost", "/out/a")}
    assert own_outputs(step) == own_outputs(job) == {"/out/a"}
    assert own_outputs({}) == set()
