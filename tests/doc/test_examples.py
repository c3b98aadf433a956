"""doc/add_a_step.md adds an instrument, a front end and an executor: each is put into a copy of the house, and runs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from copy_pipeline import copy_step, journalled, list_step
from doc_pages import REPOSITORY, blocks

HOUSE = ("lofarpipe", "pipelines", "plugins", "scripts", "steps", "cfg", "genericpipeline_command.py")
SHOWN = {block.file: block.text for block in blocks(REPOSITORY / "doc" / "add_a_step.md") if block.file}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house with the files of the page in their places, and nothing else that is new."""
    house = tmp_path_factory.mktemp("house")
    for name in HOUSE:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, house / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, house)
    for name, text in SHOWN.items():
        if "/" in name:  # others are the user's
            assert not (house / name).exists()
            (house / name).parent.mkdir(exist_ok=True)
            (house / name).write_text(f"{text}\n")
    return house


@pytest.fixture
def run(house: Path, tmp_path: Path) -> Run:
    """Return a function that runs the command of the copy in the directory of a user with two files."""
    for name in ("a.txt", "b b.txt"):
        (tmp_path / name).write_text(name)

    def work(*words: str, called: str = "genericpipeline.py") -> subprocess.CompletedProcess[str]:
        command = f"import sys; sys.argv[0] = {called!r}; from genericpipeline_command import main; sys.exit(main())"
        environment = {**os.environ, "PYTHONPATH": str(house), "HOME": str(house), "PYTHONHASHSEED": "0"}
        argv = [sys.executable, "-W", "error", "-P", "-c", command, *words]
        return subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return work


def jobs_begun(here: Path, job: str) -> list[str]:
    return [event["job"] for event in journalled(here / job, "job_started")]


def test_each_example_has_one_place() -> None:
    assert list(SHOWN) == [
        *("lofarpipe/programs/sketch.py", "sketch.parset"),
        *("pipelines/quokka.parset", "lofarpipe/imaging/quokka.py", "lofarpipe/cli/copyfiles.py", "copy.toml"),
        *("lofarpipe/executors/lowly/__init__.py", "pipeline.cfg"),
    ]


def test_examples_pass_the_linters(house: Path) -> None:
    modules = [str(house / name) for name in SHOWN if name.endswith(".py")]
    config = ["--config", str(REPOSITORY / "pyproject.toml"), "--ignore", "I001"]  # the copy is no first party
    for command in (["check", *config], ["format", "--check", *config[:2]]):
        words = [sys.executable, "-m", "ruff", *command, *modules]
        done = subprocess.run(words, cwd=house, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


# ---- an instrument


def test_instrument_is_found_by_its_name(run: Run, tmp_path: Path) -> None:
    done = run("quokka.parset", "-s", "data_input_filenames=[a.txt]", "-s", "frequency_mhz=700")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "quokka" / "a.copies").read_text() == "a.txt"
    assert (tmp_path / "quokka" / "a.copies.fwhm").read_text() == "2.495"  # deg, by hand: 1.22 * 0.42827 m / 12 m


def test_instrument_is_the_base_of_a_field(run: Run, tmp_path: Path) -> None:
    (tmp_path / "field.parset").write_text("pipeline.base = quokka.parset\n! data_input_filenames = [a.txt]\n")
    assert "nothing wrong" in run("--check", "field.parset").stdout
    refused = run("--check", "field.parset", "-s", "frequency_mhz=-1").stderr
    assert "frequency_mhz is '-1'" in refused


# ---- a front end


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    path = tmp_path / "copy.toml"
    path.write_text(f"{SHOWN['copy.toml']}\n")
    return path


def test_front_end_runs_and_resumes(run: Run, toml: Path, tmp_path: Path) -> None:
    done = run("copyfiles", "copy.toml", "a.txt", "b b.txt")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "copy" / "b b.copy").read_text() == "b b.txt"
    assert (tmp_path / "copy" / "report.html").is_file()
    assert '"path": "' + f"{toml}" in (tmp_path / "copy" / "run.json").read_text()
    assert len(jobs_begun(tmp_path, "copy")) == 2
    (tmp_path / "c.txt").touch()
    again = run("copy.toml", "a.txt", "c.txt", "b b.txt", called="/usr/bin/copyfiles")
    assert again.returncode == 0, again.stderr
    assert len(jobs_begun(tmp_path, "copy")) == 3


def test_generated_parset_resumes_the_run(run: Run, toml: Path, tmp_path: Path) -> None:
    assert run("copyfiles", "copy.toml", "b b.txt", "a.txt").returncode == 0
    done = run("copy/copy.parset")
    assert done.returncode == 0, done.stderr
    assert len(jobs_begun(tmp_path, "copy")) == 2
    assert "copy.control.max_per_node = 2" in (tmp_path / "copy" / "copy.parset").read_text()


def test_front_end_has_the_options_of_a_run(run: Run, toml: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    shown = run("copyfiles", "copy.toml", "--dry-run", "a.txt", "b b.txt")
    assert shown.returncode == 0, shown.stderr
    assert f"cp {tmp_path}/a.txt {tmp_path}/copy/a.copy" in shown.stdout
    assert f"cp '{tmp_path}/b b.txt' '{tmp_path}/copy/b b.copy'" in shown.stdout
    checked = run("copyfiles", "copy.toml", "a.txt", "--check")
    assert checked.stdout == f"{toml}: 2 steps, nothing wrong\n"
    assert sorted(tmp_path.iterdir()) == before
    listed = run("copyfiles", "--list", "copy.toml", "a.txt")
    assert "not done" in listed.stdout
    helped = run("copyfiles", "--help").stdout
    assert helped.startswith("usage: copyfiles")
    assert "Copies files listed on the command line" in helped
    assert "-c, --cluster" in helped
    assert "  --config FILE" in helped


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[copy]\natonce = 2", "copyfiles: copy.toml:2: [copy] has no key 'atonce'; did you mean 'at_once'?"),
        ("[copy]\n\nat_once = 'two'", "copyfiles: copy.toml:3: copy.control.max_per_node: "),
        ("[copy]\nprogram = 'cpp2'", "copyfiles: copy.toml:2: copy.control.executable: cpp2: no such program"),
        ("[copy]\nprogram 'cp'", "copyfiles: copy.toml:2: not TOML: "),
    ],
)
def test_errors_name_the_place_in_toml(run: Run, toml: Path, text: str, said: str) -> None:
    toml.write_text(f"{text}\n")
    done = run("copyfiles", "copy.toml", "a.txt")
    assert done.returncode == 1
    assert done.stderr.startswith(said)


def test_front_end_decides_where_jobs_run(
    run: Run, toml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sinfo = tmp_path / "sinfo"
    sinfo.write_text("#!/bin/sh\ntouch asked\necho 'n1|4|8000|(null)|main*'\n")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for flags in ((), ("-c",)):
        assert not (tmp_path / "asked").exists()
        assert run("copyfiles", *flags, "copy.toml", "a.txt", "--check").returncode == 0
    assert (tmp_path / "asked").exists()


def test_misspelt_front_end_names_nearest(run: Run) -> None:
    done = run("copyfile", "copy.toml", "a.txt")
    assert done.returncode == 2
    assert "did you mean 'copyfiles'?" in done.stderr


# ---- an executor


def test_executor_is_a_method(run: Run, tmp_path: Path) -> None:
    site = f"[DEFAULT]\nruntime_directory = {tmp_path}\nworking_directory = {tmp_path}\n"
    (tmp_path / "pipeline.cfg").write_text(f"{site}{SHOWN['pipeline.cfg']}\n")
    steps = "pipeline.steps = [list, copy]\n" + list_step("[a.txt]")
    (tmp_path / "run.parset").write_text(steps + copy_step(program="/bin/sh", flags="-c, 'nice >$1', infile, outfile"))
    done = run("run.parset")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "a.copy").read_text() == f"{os.nice(0) + 5}\n"


def test_executor_section_is_checked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run.parset").write_text("pipeline.steps = [list]\n" + list_step("[a.txt]"))
    site = f"[DEFAULT]\nruntime_directory = {tmp_path}\nworking_directory = {tmp_path}\n"
    for section, said in (
        (
            "[remote]\nmethod = lowly\n[lowly]\nnicenes = 5",
            "pipeline.cfg:7: [lowly] has no key 'nicenes'; did you mean",
        ),
        ("[remote]\nmethod = lowly\n[lowly]\nniceness = 50", "pipeline.cfg:7: niceness is '50'; 0 to 19 is needed"),
        ("[remote]\nmethod = lwly", "method is 'lwly'; did you mean 'lowly'?; one of local, dask, lowly, slurm, ssh"),
        ("[lowlly]", "[lowlly]: there is no such section; did you mean [lowly]?"),
        ("[lowly]\nniceness = 50", "0 to 19 is needed; not in use while method = local"),
    ):
        (tmp_path / "pipeline.cfg").write_text(f"{site}{section}\n")
        assert said in run("--check", "run.parset").stderr
