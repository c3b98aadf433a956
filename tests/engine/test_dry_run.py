"""--dry-run: the commands that a run then gives, and not a trace of having looked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from copy_pipeline import CONFIG, OF_ALL_KINDS, OTHER_STEPS, copy_step, journalled, list_step
from journal_events import emit
from lofarpipe.cli import main
from lofarpipe.engine.dry_run import MEANING, NotKnown, Predictions, Printout, shown_kind
from lofarpipe.engine.kinds import Broken, Kind, Scope
from lofarpipe.engine.prediction import Overlay, PendingOutputs, Predictor, placeholder
from lofarpipe.engine.step_jobs import StepJobs
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.steps import BROKEN, Step
from lofarpipe.state.jobs import JobLedger
from lofarpipe.support.data_map import DataMap, DataProduct
from made_scope import copy_step_of, made_scope, made_step

OUTSIDE = "__pycache__", ".pytest_cache"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site with a pipeline of programs, maps and a loop; temporary files have a directory of their own."""
    for name in ("in", "my/plugins", "my/scripts", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in" / "a b.txt").write_text("a\n")
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "run.parset").write_text(OF_ALL_KINDS.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def everything_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of the last change of all that is there; directories count."""
    found = {}
    for path in [folder, *folder.rglob("*")]:
        status = path.lstat()
        if not any(name in str(path) for name in OUTSIDE) and path != folder / "tmp":
            found[str(path)] = (status.st_size, status.st_mtime_ns)
    return found


def dry_run(capsys: pytest.CaptureFixture[str], *more: str) -> list[str]:
    """Return the output of a dry run, which must change no file except compiled plugins."""
    capsys.readouterr()
    before = everything_below(Path.cwd())
    assert main(["run.parset", "-c", "pipeline.cfg", "--dry-run", *more]) == 0
    after = everything_below(Path.cwd())
    plugins = {str(Path.cwd() / "my" / kind) for kind in ("plugins", "scripts")}  # where __pycache__ was made
    assert {name: mark for name, mark in after.items() if name not in plugins} == {
        name: mark for name, mark in before.items() if name not in plugins
    }
    return capsys.readouterr().out.splitlines()


def commands(lines: Sequence[str]) -> list[str]:
    return [line for line in lines if not line.startswith("#")]


def run(*more: str) -> list[str]:
    """Run the pipeline; return the names of the jobs that ran this time."""
    before = len(journalled(Path("run"), "job_started"))
    assert main(["run.parset", "-c", "pipeline.cfg", "-q", *more]) == 0
    return [event["job"] for event in journalled(Path("run"), "job_started")[before:]]


def recorded() -> list[str]:
    return Path("run/commands.txt").read_text().splitlines()


def script(site: Path, name: str, text: str) -> None:
    (site / "my/scripts" / name).write_text(text)


def script_step(name: str, before: str, flags: str = "infile", more: str = "") -> str:
    return f"""\
{name}.control.type = pythonplugin
{name}.control.executable = {name}.py
{name}.control.mapfile_in = {before}.output.mapfile
{name}.control.inputkey = infile
{name}.control.error_tolerance = False
{name}.argument.flags = [{flags}]
{more}"""


def plugin_step(name: str, plugin: str, *keys: str) -> str:
    """Return a step of a plugin; ``keys`` are ``key = value``."""
    written = ("mapfile_dir = input.output.mapfile_dir", f"filename = {name}.mapfile")
    return "".join(
        f"{name}.control.{key}\n" for key in ("kind = plugin", f"type = {plugin}", *written, *keys) if "= -" not in key
    )


def pipeline(site: Path, steps: str, *blocks: str) -> None:
    """Write run.parset; ``@`` stands for the directory of the site."""
    text = f"pipeline.steps = [{steps}]\n" + "".join(blocks)
    (site / "run.parset").write_text(text.replace("@", str(site)))


# ---- the truth: the run afterwards


def test_dry_run_works_in_fresh_directory(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(capsys)
    assert lines == [
        "# list: plugin addListMapfile",
        f"copy/000: /bin/cp '{site}/in/a b.txt' '{site}/run/a b.copy'",
        "# gather: plugin compressMapfile",
        f"show/000: /bin/echo '[{site}/run/a b.copy]' --mode=fast",
        f"inner/000: /bin/echo '{site}/in/a b.txt' 0",
        f"inner/000: /bin/echo '{site}/in/a b.txt' 1",
        f"note/000: /bin/echo '{site}/in/a b.txt'",
    ]
    assert not (site / "run").exists()
    assert list((site / "tmp").iterdir()) == []
    run()
    assert recorded() == [line for line in commands(lines) if not line.endswith(" 0")]  # of a loop the last is kept


PLAN = """\
import json
from pathlib import Path

OUTPUTS = ("sizes", "chosen", "plan")
DRY_RUN_WRITES = ("mapfile_dir", "plan_file")


def main(files, mapfile_dir, plan_file, outmapname):
    names = files.strip("[]").split(",")
    stem = Path(mapfile_dir) / outmapname
    for suffix, texts in (("_sizes", ["350 350"] * len(names)), ("_chosen", names[:2])):
        products = [{"host": "localhost", "file": text.strip(), "skip": False} for text in texts]
        Path(f"{stem}{suffix}").write_text(repr(products))
    Path(plan_file).write_text(json.dumps({"maps": f"{stem}_sizes"}))
    print("WARNING: so few files")
    return {"sizes": f"{stem}_sizes", "chosen": f"{stem}_chosen", "plan": plan_file}
"""
EVERY_PLUGIN = (
    plugin_step("files", "createMapfile", "method = mapfile_from_folder", "folder = @/in", "pattern = *.txt"),
    plugin_step("together", "compressMapfile", "mapfile_in = files.output.mapfile"),
    script_step(
        "plan",
        "together",
        more="plan.argument.mapfile_dir = input.output.mapfile_dir\nplan.argument.outmapname = plan.datamap\n"
        "plan.argument.plan_file = input.output.job_directory/plan.json\n",
    ),
    "maps.control.kind = plugin\nmaps.control.type = mapfilenamesFromMapfiles\n"
    "maps.control.mapfile_sizes_map = plan.output.sizes.mapfile\n"
    "maps.control.mapfile_chosen_map = plan.output.chosen.mapfile\n",
    copy_step("copy", "files", flags="infile, outfile") + "copy.control.outputsuffixes = [.log]\n",
    plugin_step("renamed", "changeMapfile", "mapfile_in = copy.output.mapfile", "newname = renamed.datamap")
    .replace("renamed.control.mapfile_dir = input.output.mapfile_dir\n", "")
    .replace("renamed.control.filename = renamed.mapfile\n", "renamed.control.add_name = .x\n"),
    plugin_step("pruned", "pruneMapfile", "mapfile_in = input.output.mapfile_dir/renamed.datamap", "prune_str = none"),
    plugin_step(
        "expanded", "expandMapfile", "mapfile_in = maps.output.sizes_map", "mapfile_to_match = pruned.output.mapfile"
    ),
    plugin_step("groups", "addMapfile", "cmdline.method = mapfile_all_to_one", "mapfile_in = copy.output.mapfile"),
    plugin_step(
        "members",
        "mapfileSingleToGroup",
        "mapfile_in = together.output.mapfile",
        "mapfile_groups = groups.output.mapfile",
    ),
    plugin_step(
        "results",
        "makeResultsMapfile",
        "mapfile_in = copy.output.copy.log.mapfile",
        "target_dir = @/results",
        "make_target_dir = True",
        "new_suffix = .out",
    ),
    plugin_step("listed", "addListMapfile", "hosts = [localhost]", "files = results.output.mapfile"),
    "made.control.kind = plugin\nmade.control.type = makeDirectory\nmade.control.directory = @/made\n",
    plugin_step(
        "deliver",
        "copyFiles",
        "hosts = [localhost]",
        "input_file = one.output.mapfile",
        "output_files = [@/made/a.txt]",
    ),
    plugin_step("one", "addListMapfile", "hosts = [localhost]", "files = [@/run/a.copy]"),
    "show.control.type = executable_args\nshow.control.executable = /bin/echo\n"
    "show.control.mapfiles_in = [expanded.output.mapfile, listed.output.mapfile, pruned.output.mapfile,"
    " input.output.mapfile_dir/expanded.mapfile, members.output.mapfile]\n"
    "show.control.inputkeys = [size, result, name, literal, member]\n"
    "show.argument.flags = [size, result, name, literal, member, input.output.job_directory/plan.json]\n"
    "show.argument.map = groups.output.mapfile\n"
    "show.argument.mapfile = input.output.mapfile_dir/plan.datamap_sizes\n",
    "chosen.control.type = executable_args\nchosen.control.executable = /bin/echo\n"
    "chosen.control.mapfile_in = input.output.mapfile_dir/plan.datamap_chosen\nchosen.control.inputkey = file\n"
    "chosen.argument.flags = [file]\nchosen.argument.mapfile = deliver.output.mapfile\n",
)
ORDER = (
    "files, together, plan, maps, copy, renamed, pruned, expanded, groups, members, results, listed, made, one,"
    " deliver, show, chosen"
)


@pytest.fixture
def every_plugin(site: Path) -> Path:
    """A pipeline of all plugins but one, and a script that plans, on three files."""
    (site / "in/a b.txt").unlink()
    for name in ("a", "b", "c"):
        (site / f"in/{name}.txt").write_text(name)
    script(site, "plan.py", PLAN)
    # groups has one entry: its map goes with those of three entries as a name only.
    blocks = "".join(EVERY_PLUGIN).replace(
        "show.argument.map = groups.output.mapfile\n", "show.argument.mapfile_of_groups = groups.output.mapfile\n"
    )
    pipeline(site, ORDER, blocks)
    return site


def test_dry_run_prints_commands_of_run(every_plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every plugin, maps by reference and by name, values that a script decides."""
    lines = dry_run(capsys)
    assert list((every_plugin / "tmp").iterdir()) == []
    assert not (every_plugin / "run").exists()
    run()
    assert recorded() == commands(lines)
    assert len(commands(lines)) == 1 + 3 + 3 + 2
    assert commands(lines)[4] == (
        # a.copy.log of the step with a suffix, with another ending; the name of the first output with .x appended
        f"show/000: /bin/echo '350 350' {every_plugin}/results/a.copy.out {every_plugin}/run/a.copy.x '350 350'"
        f" '[{every_plugin}/in/a.txt,{every_plugin}/in/b.txt,{every_plugin}/in/c.txt]' {every_plugin}/run/plan.json"
        f" --mapfile={every_plugin}/run/mapfiles/plan.datamap_sizes"
        f" --mapfile_of_groups={every_plugin}/run/mapfiles/groups.mapfile"
    )
    assert "# plan: plan.py only plans: it was called, and nothing that it wrote is kept" in lines
    assert "# plan: warning: so few files" in lines
    assert not [line for line in lines if "dry-run" in line]


@pytest.mark.parametrize(
    "change",
    [
        [],
        ["show.control.environment={A: b}"],
        ["copy.control.executable=@/copy_more"],
        ["plan.argument.outmapname=other.datamap", "chosen.control.mapfile_in=maps.output.chosen_map"],
        ["files.control.pattern=[ab].txt"],
        ["deliver.control.output_files=[@/made/b.txt]"],
    ],
)
def test_dry_run_repeats_same_jobs_as_run(
    every_plugin: Path, capsys: pytest.CaptureFixture[str], change: list[str]
) -> None:
    """After a run, with something changed: the same jobs, and the same commands."""
    program = every_plugin / "copy_more"
    program.write_text('#!/bin/sh\n/bin/cp "$1" "$2" && echo more >> "$2"\n')
    program.chmod(0o755)
    run()
    more = [word for text in change for word in ("-s", text.replace("@", str(every_plugin)))]
    lines = dry_run(capsys, *more)
    ran = run(*more)
    assert [line.partition(":")[0] for line in commands(lines)] == sorted(
        ran, key=lambda job: ORDER.split(", ").index(job.partition("/")[0])
    )
    assert set(commands(lines)) <= set(recorded())


def test_dry_run_resumes_failed_run(every_plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (every_plugin / "run.parset").read_text()
    (every_plugin / "run.parset").write_text(text.replace("executable = /bin/cp", f"executable = {every_plugin}/cp"))
    program = every_plugin / "cp"
    program.write_text('#!/bin/sh\ncase "$1" in *b.txt) [ -e ok ] || exit 3;; esac\nexec /bin/cp "$@"\n')
    program.chmod(0o755)
    assert main(["run.parset", "-c", "pipeline.cfg", "-q"]) == 1
    (every_plugin / "run/ok").touch()
    lines = dry_run(capsys)
    assert "# plan: done before, with the same inputs; not run again" in lines
    assert "# copy: 2 of 3 jobs were done before" in lines
    assert run() == [line.partition(":")[0] for line in commands(lines)]
    assert set(commands(lines)) <= set(recorded())
    assert [line for line in dry_run(capsys) if "done before" not in line and "plugin" not in line] == []


def test_changed_delivery_repeats_its_readers(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A step that reads a delivered file runs again with the delivery."""
    pipeline(
        site,
        "list, copy, deliver, show",
        list_step("['@/in/a b.txt']"),
        copy_step(),
        plugin_step(
            "deliver",
            "copyFiles",
            "hosts = [localhost]",
            "input_file = copy.output.mapfile",
            "output_files = [@/out.txt]",
        ),
        copy_step("show", "deliver", "/bin/echo", "infile"),
    )
    run()
    (site / "in/a b.txt").write_text("b\n")
    assert [line.partition(":")[0] for line in commands(dry_run(capsys))] == ["copy/000", "show/000"]
    assert run() == ["copy/000", "show/000"]


# ---- no files of its own


def test_in_place_map_changes_are_predicted(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A user's own map, changed by a plugin, by an in-place step and by one with named output maps."""
    for name in ("mine", "theirs"):
        DataMap([DataProduct("localhost", f"/data/{name}", False)]).save(site / f"in/{name}.mapfile")
    change = "kind = plugin\nchange.control.type = changeMapfile\nchange.control.add_name = .x\n"
    pipeline(
        site,
        "change, first, second, third",
        f"change.control.{change}change.control.mapfile_in = @/in/mine.mapfile\n",
        copy_step("first", "x", "/bin/echo", "infile").replace("x.output.mapfile", "@/in/mine.mapfile")
        + "first.control.inplace = True\n",
        copy_step("second", "x", "/bin/echo", "infile, outfile").replace("x.output.mapfile", "@/in/mine.mapfile")
        + "second.control.mapfiles_out = [@/in/theirs.mapfile]\n",
        copy_step("third", "second", "/bin/echo", "infile"),
    )
    lines = dry_run(capsys)
    assert commands(lines) == [
        "first/000: /bin/echo /data/mine.x",
        "second/000: /bin/echo /data/mine.x /data/theirs",
        "third/000: /bin/echo /data/theirs",
    ]
    run()
    assert recorded() == commands(lines)


def test_plugin_path_outside_overlay_is_refused(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A shipped plugin may get any output path."""
    lines = dry_run(capsys, "-s", f"list.control.filename={site}/in/x.mapfile")
    assert lines[0] == (
        f"# list: plugin addListMapfile; filename is {site}/in/x.mapfile, and a dry run writes below the directory that"
        " is given alone"
    )
    assert (
        "# list: plugin addListMapfile; filename is ../x.mapfile"
        in dry_run(capsys, "-s", "list.control.filename=../x.mapfile")[0]
    )


def test_maps_in_another_directory_are_predicted(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(capsys, "-s", f"list.control.mapfile_dir={site}/elsewhere")
    assert f"copy/000: /bin/cp '{site}/in/a b.txt' '{site}/run/a b.copy'" in lines


WAITING = """\
import time
from pathlib import Path

DRY_RUN_WRITES = ("mapfile_dir",)


def main(name, mapfile_dir):
    Path(mapfile_dir, "x").write_text("x")
    Path({here!r}, "tmp", "waits").touch()
    while True:
        time.sleep(1)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_dry_run(site: Path, number: int) -> None:
    """Nothing is left, neither files nor the process of a script that plans."""
    script(site, "wait.py", WAITING.format(here=str(site)))
    block = script_step("wait", "list", more="wait.argument.mapfile_dir = input.output.mapfile_dir\n")
    pipeline(site, "list, wait", list_step("['@/in/a b.txt']"), block)
    command = [sys.executable, "-m", "lofarpipe.cli", "run.parset", "-c", "pipeline.cfg", "--dry-run"]
    environment = {**os.environ, "TMPDIR": str(site / "tmp")}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    waits, deadline = site / "tmp/waits", time.monotonic() + 60
    while not waits.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    (directory,) = [path for path in (site / "tmp").iterdir() if path != waits]
    process.send_signal(number)
    assert process.wait(timeout=60) == 128 + number
    assert list((site / "tmp").iterdir()) == [waits]
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(directory) not in listed
    assert not (site / "run").exists()


def test_interrupt_ends_plugin(own_plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A signal is not taken for a plugin that fails."""
    text = "import os, signal\n\nDRY_RUN_WRITES = ()\n\ndef plugin_main(args, **kwargs):\n"
    text += "    os.kill(os.getpid(), signal.SIGTERM)\n    for _ in range(1000):\n        pass\n"
    (own_plugin / "my/plugins/PipelineStep_mine.py").write_text(text)
    assert main(["run.parset", "-c", "pipeline.cfg", "--dry-run"]) == 128 + signal.SIGTERM
    assert capsys.readouterr().out == ""
    assert list((own_plugin / "tmp").iterdir()) == []


def test_error_ends_dry_run(site: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lofarpipe.engine.kinds.prepare", lambda *_: 1 / 0)
    assert main(["run.parset", "-c", "pipeline.cfg", "--dry-run"]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert list((site / "tmp").iterdir()) == []


# ---- unknown outputs


@pytest.fixture
def own_plugin(site: Path) -> Path:
    """A plugin of the user lists the files; its further effects are unknown."""
    text = "from pathlib import Path\n\ndef plugin_main(args, mapfile_dir, **kwargs):\n"
    text += "    path = Path(mapfile_dir, 'mine')\n    Path('CALLED').touch()\n"
    text += "    path.write_text(repr([{'host': 'localhost', 'file': '/x/y.txt', 'skip': False}]))\n"
    text += "    return {'mapfile': str(path)}\n"
    (site / "my/plugins/PipelineStep_mine.py").write_text(text)
    block = (
        "list.control.kind = plugin\nlist.control.type = mine\nlist.control.mapfile_dir = input.output.mapfile_dir\n"
    )
    (site / "run.parset").write_text(OTHER_STEPS + block + copy_step(program="/bin/echo"))
    return site


def test_user_plugin_is_not_called(own_plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(capsys)
    assert lines[:3] == [
        "# list: plugin mine; a dry run does not call it",
        "# copy: not predictable without the outputs of steps that did not run: list",
        "#   for each product: /bin/echo infile outfile",
    ]
    assert "# gather: not predictable without the outputs of steps that did not run: copy" in lines
    assert "#   for each product: /bin/echo files mode=fast" in lines
    assert commands(lines) == []


def test_user_plugin_returns_last_maps(own_plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run.parset", "-c", "pipeline.cfg", "-q", "-s", "pipeline.steps=[list]"]) == 0
    lines = dry_run(capsys)
    assert lines[0] == "# list: plugin mine; a dry run does not call it; its maps are taken to be those of the last run"
    assert f"copy/000: /bin/echo /x/y.txt {own_plugin}/run/y.copy" in lines


def test_user_plugin_with_declared_writes_is_called(own_plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plugin = own_plugin / "my/plugins/PipelineStep_mine.py"
    text = plugin.read_text().replace("    Path('CALLED').touch()\n", "")
    plugin.write_text(f"{text}\nDRY_RUN_WRITES = ('mapfile_dir',)\n")
    assert f"copy/000: /bin/echo /x/y.txt {own_plugin}/run/y.copy" in dry_run(capsys)


def test_positional_arguments_are_filled_in(own_plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(capsys, "-s", "copy.control.arguments=[-v, infile, list.output.mapfile, input.output.job_name]")
    assert lines[2] == "#   for each product: /bin/echo -v infile list.output.mapfile run"  # what is known is filled in


RETURNING = """\
OUTPUTS = ("image", "break")


def main(name):
    return {"image": name + ".fits"}
"""


@pytest.fixture
def returning(site: Path) -> Path:
    """A script returns a name that a program and a plugin then use."""
    script(site, "make.py", RETURNING)
    pipeline(
        site,
        "list, make, view, prune, last",
        list_step("['@/in/a b.txt']"),
        script_step("make", "list"),
        copy_step("view", "make", "/bin/echo", "infile, outfile").replace(
            "make.output.mapfile", "make.output.image.mapfile"
        ),
        plugin_step("prune", "pruneMapfile", "mapfile_in = make.output.image.mapfile", "prune_str = None"),
        copy_step("last", "prune", "/bin/echo", "infile"),
    )
    return site


def test_future_script_value_is_placeholder(returning: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mapfile = returning / "run/mapfiles/make.image.mapfile"
    assert dry_run(capsys) == [
        "# list: plugin addListMapfile",
        f"make/000: {sys.executable} -P -m lofarpipe.engine.script_job {returning}/run/jobs/make/000.json",
        f"#   make.py '{returning}/in/a b.txt'",
        f"view/000: /bin/echo '<make:image:000>' '{returning}/run/<make:image:000>.view'",
        "#   <step:key:number> is the future result of that job of the step",
        f"# prune: plugin pruneMapfile; what is in {mapfile} is known only when jobs have run",
        "# last: not predictable without the outputs of steps that did not run: prune",
        "#   for each product: /bin/echo infile",
    ]


def test_last_script_value_is_reused(returning: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    lines = dry_run(capsys, "-s", "make.control.environment={A: b}", "-s", "last.control.environment={A: b}")
    assert "# make: its result is assumed to be that of the last run" in lines
    assert f"last/000: /bin/echo '{returning}/in/a b.txt.fits'" in lines


def test_undeclared_script_outputs_are_unknown(returning: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script(returning, "make.py", RETURNING.partition("\n\n")[2])
    lines = dry_run(capsys)
    assert lines[3] == "# view: not predictable without the outputs of steps that did not run: make"
    assert [line.partition(":")[0] for line in commands(lines)] == ["make/000"]


def test_failing_planning_script_is_reported(every_plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script(every_plugin, "plan.py", PLAN.replace("    names =", "    raise ValueError('no such files')\n    names ="))
    lines = dry_run(capsys)
    place = next(i for i, line in enumerate(lines) if line.startswith("# plan: "))
    assert lines[place].startswith("# plan: its outputs are unknown: plan/000, which only plans, failed: ")
    assert "no such files" in lines[place]
    assert lines[place + 1].startswith("#   for each product: plan.py infile mapfile_dir=")
    assert "# maps: not predictable without the outputs of steps that did not run: plan" in lines


@pytest.mark.parametrize(
    ("folder", "reason"),
    [
        ("@/in", ""),
        ("@/run", "what is in @/run is known only when copy has run"),  # where jobs work
        ("@/out", "what is in @/out is known only when copy has run"),  # where one writes
        ("@/run/mapfiles", "what is in @/run/mapfiles is known only when the steps before have run"),
        ("@/none", "folder @/none: cannot be read: No such file or directory"),
    ],
)
def test_directory_listing_waits_for_writers(
    site: Path, capsys: pytest.CaptureFixture[str], folder: str, reason: str
) -> None:
    (site / "out").mkdir()
    files = plugin_step("files", "createMapfile", "method = mapfile_from_folder", f"folder = {folder}")
    copy = copy_step(flags="infile, @/out/x.txt")
    pipeline(site, "list, copy, files, show", list_step("['@/in/a b.txt']"), copy, files, copy_step("show", "files"))
    told = "# files: plugin createMapfile" + (f"; {reason}" if reason else "")
    lines = dry_run(capsys)
    assert told.replace("@", str(site)) in lines
    assert [line.partition(":")[0] for line in commands(lines)] == ["copy/000"] + ["show/000"] * (reason == "")


@pytest.mark.parametrize(
    ("plugin", "keys"),
    [
        ("addMapfile", ("cmdline.method = mapfile_from_folder", "folder = @/run")),
        ("addListMapfile", ("hosts = [localhost]", "files = [@/run/*.copy]")),
        ("addListMapfile", ("hosts = [localhost]", "files = [run/*.copy]")),
    ],
)
def test_listing_plugins_wait_for_writers(
    site: Path, capsys: pytest.CaptureFixture[str], plugin: str, keys: tuple[str, ...]
) -> None:
    pipeline(site, "list, copy, x", list_step("['@/in/a b.txt']"), copy_step(), plugin_step("x", plugin, *keys))
    assert dry_run(capsys)[-1].endswith(" is known only when copy has run")


def test_python_2_plugin_is_not_called(own_plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A translated plugin is reported as such."""
    text = "DRY_RUN_WRITES = ()\n\ndef plugin_main(args, **kwargs):\n    print 'x'\n    return {}\n"
    (own_plugin / "my/plugins/PipelineStep_mine.py").write_text(text)
    assert dry_run(capsys)[0] == "# list: plugin mine; a dry run does not call it"  # what it declares is not read


def test_endless_loop_is_shown_once(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(capsys, "-s", "again.control.loopcount=-1")
    place = lines.index("# again: a loop that ends when a step in it says so; one iteration is shown")
    assert lines[place + 1].startswith("inner/000: ")
    assert lines[place + 2].startswith("note/000: ")


def test_loop_iteration_forgets_previous_outputs(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Outputs of the previous iteration are not used for the present one."""
    DataMap([DataProduct("localhost", "/d/a.txt", False)]).save(site / "in/0")
    loop = "again.control.kind = loop\nagain.control.loopcount = 2\nagain.control.loopsteps = [first, second]\n"
    first = copy_step("first", "x", "/bin/echo", "infile").replace("x.output.mapfile", "@/in/again.output.counter")
    pipeline(site, "again", loop, first, copy_step("second", "first", "/bin/echo"))
    assert dry_run(capsys) == [
        "first/000: /bin/echo /d/a.txt",
        f"second/000: /bin/echo {site}/run/a.first {site}/run/a.second",
        f"# first: {site}/in/1: mapfile cannot be read: No such file or directory",
        "#   for each product: /bin/echo infile",
        "# second: not predictable without the outputs of steps that did not run: first",
        "#   for each product: /bin/echo infile outfile",
    ]


# ---- the rest


def test_finished_and_changed_steps_are_reported(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "in/a b.txt").rename(site / "in/a.txt")
    (site / "run.parset").write_text(OF_ALL_KINDS.format(here=site).replace("a b.txt", "a.txt"))
    run()
    done = "done before, with the same inputs; not run again"
    assert [line for line in dry_run(capsys) if done not in line and "plugin" not in line] == []
    lines = dry_run(capsys, "-s", "copy.control.environment={A: b}")
    assert "# copy: runs again: changed: environment" in lines
    assert any(line.startswith("# show: runs again: step 'copy' wrote what it uses") for line in lines)
    assert f"show/000: /bin/echo '[{site}/run/a.copy]' --mode=fast" in lines
    assert f"# note: {done}" in lines


def test_removed_map_is_restored_in_overlay(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run would put it back, and so go on; so does a dry run, elsewhere."""
    run()
    shutil.rmtree(site / "run/mapfiles")
    lines = dry_run(capsys, "-s", "show.control.environment={A: b}")
    assert f"show/000: /bin/echo '[{site}/run/a b.copy]' --mode=fast" in lines
    assert len(commands(lines)) == 1


def test_step_errors_are_shown(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(capsys, "-s", f"copy.control.mapfile_in={site}/none.mapfile")
    assert f"# copy: {site}/none.mapfile: mapfile cannot be read: No such file or directory" in lines
    lines = dry_run(capsys, "-s", "list.control.check_files_exist=True", "-s", f"list.control.files=[{site}/none]")
    assert lines[0] == f"# list: plugin addListMapfile; {site}/none: no such file; correct the list of files"


def test_lenient_dry_run_shows_commands(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dry_run(capsys, "--lenient", "-s", "note.control.kind=nothing")
    assert any(line.startswith("# warning: ") for line in lines)
    assert "# note: kind 'nothing' is not known; nothing is done" in lines


def test_dry_run_checks_parset_first(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run.parset", "-c", "pipeline.cfg", "-n", "-s", "copy.control.inputky=x"]) == 1
    assert "did you mean 'inputkey'?" in capsys.readouterr().err


def test_plugin_gets_written_parset(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its argument block is written; plugins that combine such files are called, too."""
    text = "def plugin_main(args, parset, **kwargs):\n    return {'n': open(parset).read().strip()}\n"
    (site / "my/plugins/PipelineStep_mine.py").write_text(f"DRY_RUN_WRITES = ()\n\n{text}")
    combine = "first_parset = input.output.parset_dir/x.parset", "second_parset = @/in/more.parset"
    (site / "in/more.parset").write_text("b=2\n")
    pipeline(
        site,
        "x, both, list, show",
        "x.control.kind = plugin\nx.control.type = mine\nx.argument.key = v\n",
        "both.control.kind = plugin\nboth.control.type = combineParsets\n",
        "".join(f"both.control.{line}\n" for line in (*combine, "result_parset = @/run/both")),
        list_step("['@/in/a b.txt']"),
        copy_step("show", "list", "/bin/echo", "x.output.n, infile") + "show.control.parset = both.output.parset\n",
    )
    lines = dry_run(capsys)
    assert lines[-1] == f"show/000: /bin/echo key=v '{site}/in/a b.txt' --b=2 --key=v '--outfile={site}/run/a b.show'"
    run()
    assert recorded() == commands(lines)


def test_feedback_step_is_predicted(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its products may be absent, and later steps know its map and file."""
    keys = {"kind": "feedback", "mapfile_in": "copy.output.mapfile", "metadata_file": "@/x.metadata"}
    keys |= {"product_type": "Correlated"}
    pipeline(
        site,
        "list, copy, describe, show",
        list_step("['@/in/a b.txt']"),
        copy_step(),
        "".join(f"describe.control.{key} = {text}\n" for key, text in keys.items()),
        copy_step("show", "describe", "/bin/echo", "infile, describe.output.metadata_file"),
    )
    lines = dry_run(capsys)
    call = f"{sys.executable} -P -m lofarpipe.archive.feedback_job {site}/run/jobs/describe/000.json"
    assert lines[-2:] == [
        f"describe/000: {call}",
        f"show/000: /bin/echo '{site}/run/a b.copy' {site}/x.metadata",
    ]


def test_journal_of_another_run_is_only_read(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    events = [json.dumps(event) for event in journalled(site / "run")]
    dry_run(capsys, "-s", "copy.control.environment={A: b}")
    assert [json.dumps(event) for event in journalled(site / "run")] == events


PLUGIN = """\
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, mapfile_dir, **kwargs):
    path = mapfile_dir + "/made.mapfile"
    open(path, "w").write(repr([{"host": "localhost", "file": "/d/a.ms", "skip": False}]))
    return {"mapfile": path}
"""


@pytest.fixture
def foresight(tmp_path: Path) -> Predictions:
    for name in ("files", "jobs"):
        (tmp_path / "dry" / name).mkdir(parents=True)
    overlay = Overlay(tmp_path / "dry" / "files")
    scope = made_scope(tmp_path)
    predictor = Predictor(overlay, scope.stream.state.work, tmp_path / "dry" / "jobs")
    return Predictions(Printout(overlay), predictor, PendingOutputs(scope.settings.job_workdir))


def scope_of(here: Path, foresight: Predictions, *steps: Step) -> Scope:
    scope = made_scope(here, *steps)
    scope.disk = foresight.overlay
    scope.ledger.disk = foresight.overlay
    return scope


def kind_of(foresight: Predictions, scope: Scope, name: str) -> Kind:
    return shown_kind(foresight, scope, name)


def test_placeholder_is_explained_once(foresight: Predictions) -> None:
    values = [placeholder("make", "image", place) for place in range(2)]
    foresight.printout.add_lines("# first", *values)
    assert foresight.printout.lines == ["# first", values[0], MEANING, values[1]]


def test_files_have_real_names(foresight: Predictions) -> None:
    foresight.printout.add_lines(f"cat {foresight.overlay.write_path('/d/x.txt')}")
    assert foresight.printout.lines == ["cat /d/x.txt"]


@pytest.mark.parametrize(
    ("given", "incomplete", "missing"),
    [({}, set(), "make"), ({"make": {}}, {"make"}, "make"), ({"make": {"mapfile": "/m"}}, {"make"}, "")],
)
def test_step_waits_for_missing_inputs(
    tmp_path: Path, foresight: Predictions, given: dict[str, dict[str, object]], incomplete: set[str], missing: str
) -> None:
    step = made_step("use", mapfile_in="make.output.mapfile")
    scope = scope_of(tmp_path, foresight, made_step("make"), step)
    scope.results |= given
    foresight.incomplete |= incomplete
    if missing:
        with pytest.raises(PipelineError, match=f"without the outputs of steps that did not run: {missing}"):
            foresight.refuse_missing(step, scope)
    else:
        foresight.refuse_missing(step, scope)


def test_step_reads_maps_from_overlay(foresight: Predictions) -> None:
    made = foresight.overlay.write_path("/maps/a.mapfile")
    step = made_step("use", mapfile_in="make.output.mapfile", mapfiles_in="[/maps/a.mapfile, /maps/b.mapfile]")
    seen, results = foresight.overlaid_step(step, {"make": {"mapfile": "/maps/a.mapfile", "n": 3}})
    assert seen.control["mapfile_in"] == made
    assert seen.control["mapfiles_in"] == f"[{made}, /maps/b.mapfile]"
    assert results["make"] == {"mapfile": made, "n": 3}


def test_recipe_predicts_map_of_successful_jobs(tmp_path: Path, foresight: Predictions) -> None:
    step = copy_step_of(tmp_path, "one.txt")
    scope = scope_of(tmp_path, foresight, step)
    kind = kind_of(foresight, scope, "recipe")
    plan = kind.plan(step, {})
    jobs = StepJobs("copy", plan, scope.executor, JobLedger(scope.ledger, "copy"))
    outputs = kind.finish(plan, jobs)
    mapfile = str(scope.settings.mapfile_dir / "copy.mapfile")
    assert outputs["mapfile"] == mapfile
    assert not Path(mapfile).exists()
    assert [p.file for p in DataMap.load(scope.disk.read_path(mapfile)).data] == [
        f"{scope.settings.job_workdir}/one.copy"
    ]
    assert foresight.pending_outputs.writer(str(scope.settings.job_workdir)) == "copy"
    assert kind.finish(plan, None) == {}


def test_plugin_with_declared_writes_is_called(tmp_path: Path, foresight: Predictions) -> None:
    (tmp_path / "PipelineStep_maker.py").write_text(PLUGIN)
    (tmp_path / "maps").mkdir()
    step = made_step("make", "plugin", "maker", mapfile_dir=str(tmp_path / "maps"))
    scope = scope_of(tmp_path, foresight, step)
    outputs = kind_of(foresight, scope, "plugin").finish(step, None)
    assert outputs == {"mapfile": f"{tmp_path}/maps/made.mapfile"}
    assert list((tmp_path / "maps").iterdir()) == []
    assert foresight.printout.lines == ["# make: plugin maker"]


def test_undeclared_plugin_returns_last_outputs(tmp_path: Path, foresight: Predictions) -> None:
    (tmp_path / "PipelineStep_maker.py").write_text(PLUGIN.partition("\n")[2])
    step = made_step("make", "plugin", "maker", mapfile_dir="/m")
    scope = scope_of(tmp_path, foresight, step)
    kind = kind_of(foresight, scope, "plugin")
    with pytest.raises(NotKnown, match="make"):
        kind.finish(step, None)
    emit(scope.stream, "plugin_done", step="make", outputs={"mapfile": "/m/old.mapfile"})
    assert kind.finish(step, None) == {"mapfile": "/m/old.mapfile"}
    assert foresight.printout.lines == [
        "# make: plugin maker; a dry run does not call it",
        "# make: plugin maker; a dry run does not call it; its maps are taken to be those of the last run",
    ]


@pytest.mark.parametrize("what", ["named", "not there yet"])
def test_directory_of_pending_writer_is_refused(tmp_path: Path, foresight: Predictions, what: str) -> None:
    folder = tmp_path / "images"
    foresight.refuse_unsettled([str(folder)])
    foresight.pending_outputs.add("image", [str(folder) if what == "named" else f"{folder}/x.fits"])
    with pytest.raises(PipelineError, match=f"what is in {folder} is known only when image has run"):
        foresight.refuse_unsettled([str(folder)])


def test_directory_of_overlay_files_is_refused(tmp_path: Path, foresight: Predictions) -> None:
    foresight.overlay.write_path(f"{tmp_path}/maps/a.mapfile")
    with pytest.raises(PipelineError, match="is known only when the steps before have run"):
        foresight.refuse_unsettled([f"{tmp_path}/maps"])


@pytest.mark.parametrize(("count", "turns", "said"), [("2", 2, []), ("-1", 1, ["one iteration is shown"])])
def test_loop_shows_known_iterations(
    tmp_path: Path, foresight: Predictions, count: str, turns: int, said: list[str]
) -> None:
    loop = replace(made_step("again", "loop", loopcount=count), body=(made_step("a"),))
    kind = kind_of(foresight, scope_of(tmp_path, foresight, loop), "loop")
    plan = kind.plan(loop, {})
    assert [step.name for step in kind.steps(plan)] == ["a"] * turns
    assert [line.rpartition("; ")[2] for line in foresight.printout.lines] == said
    assert kind.finish(plan, None) == {"counter": -1, "break": False}


def test_unknown_kind_is_reported(tmp_path: Path, foresight: Predictions) -> None:
    scope, step = scope_of(tmp_path, foresight), made_step("a", "dance")
    kind = kind_of(foresight, scope, "dance")
    assert kind.finish(kind.plan(step, {}), None) == {}
    assert foresight.printout.lines == ["# a: kind 'dance' is not known; nothing is done"]
    assert isinstance(kind_of(foresight, scope, BROKEN), Broken)
