"""The wheel carries the pipelines: an installed runner works from any directory."""

import os
import subprocess
import sys
import zipfile

import pytest


@pytest.fixture(scope="module")
def installed(tmp_path_factory, repository):
    """The wheel, unpacked as pip does it, without its dependencies."""
    built = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(command, cwd=repository, check=True, capture_output=True)
    (wheel,) = built.glob("genericpipeline-*.whl")
    target = built / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def _run(installed, here, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(installed), "HOME": str(here)}
    command = [sys.executable, "-m", "lofarpipe.cli", *arguments]
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)


def test_wheel_contains_all_data_files(installed):
    share = installed / "lofarpipe" / "share"
    for name in (
        "pipeline.parset",
        "image.parset",
        "demo.parset",
        "README.md",
        "doc/install.md",
        "doc/pipelines/image.md",
        "scripts/simulate_observation.py",
        "steps/dp3_average.parset",
        "plugins/PipelineStep_addListMapfile.py",
        "plugins/PipelineCheck_imaging_input.py",
        "scripts/do_magic.py",
        "cfg/pipeline.cfg",
        "cfg/tasks.cfg",
    ):
        assert (share / name).is_file(), name


def test_report_has_style_and_script(installed, tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"event": "run_started", "time_s": 1.0, "job": "field"}\n')
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-m", "lofarpipe.report.html.page", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert "<title>field: running</title>" in (tmp_path / "report.html").read_text()


def test_options_come_from_installed_pipeline(installed, tmp_path):
    finished = _run(installed, tmp_path, "--options", "image.parset")
    assert finished.returncode == 0, finished.stderr
    assert f"set in {installed}/lofarpipe/share/pipeline.parset" in finished.stdout


def test_installed_pipeline_passes_check(installed, tmp_path, hba_set):
    assignment = f"data_input_filenames=[{hba_set}]"
    finished = _run(installed, tmp_path, "--check", "image.parset", "-c", "pipeline.cfg", "-s", assignment)
    assert finished.returncode == 0, finished.stderr
    assert "nothing wrong" in finished.stdout


def test_simulator_is_command(installed, tmp_path):
    finished = _run(installed, tmp_path, "simulate", "--help")
    assert finished.returncode == 0, finished.stderr
    assert "--nsubbands" in finished.stdout
    assert finished.stdout.startswith("usage: ")
    assert "simulate" in finished.stdout.splitlines()[0]


def test_package_has_metadata(installed):
    (metadata,) = installed.glob("genericpipeline-*.dist-info/METADATA")
    text = metadata.read_text()
    for line in (
        "Author: The genericpipeline maintainers",
        "Keywords: ",
        "Classifier: Intended Audience :: Science/Research",
    ):
        assert f"\n{line}" in text


def test_command_is_genericpipeline_py(installed):
    (entry_points,) = installed.glob("genericpipeline-*.dist-info/entry_points.txt")
    assert "genericpipeline.py = genericpipeline_command:main" in entry_points.read_text()


COMMAND = "import sys; from genericpipeline_command import main; sys.exit(main())"


def _command(*python_path, here):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, python_path)), "HOME": str(here)}
    command = [sys.executable, "-S", "-c", COMMAND, "--help"]
    return subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("text", ["raise SystemExit('old')", "def f():\n    print 'Python 2'", ""])
def test_package_name_clash_gives_one_line(installed, tmp_path, text):
    old = tmp_path / "old"
    (old / "lofarpipe").mkdir(parents=True)
    (old / "lofarpipe" / "__init__.py").write_text(text)
    finished = _command(old, installed, here=tmp_path)
    assert finished.returncode == 1
    (line,) = finished.stderr.splitlines()
    assert line.startswith(
        f"genericpipeline.py: {old} has another package lofarpipe, and comes before {installed}; take"
    )
    finished = _command(installed, old, here=tmp_path)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith("usage: genericpipeline.py")
