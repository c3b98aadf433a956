"""pipeline.cfg, tasks.cfg and the command line."""

import os
from pathlib import Path

import pytest

from lofarpipe.config import Overrides, find_config, load_settings
from lofarpipe.errors import PipelineError
from lofarpipe.installation import find_file, share_directory

CONFIG = """\
[DEFAULT]
runtime_directory = {here}/runtime
working_directory = {here}/work
recipe_directories = [{here}/a, {here}/b]
task_files = [{here}/tasks.cfg]
pythonpath = /opt/lofar
[layout]
job_directory = %(runtime_directory)s/%(job_name)s
[remote]
method = local
max_per_node = 3
cores = 2
memory_gb = 1.5
"""
TASKS = """\
[dp3]
executable = {here}/DP3
[mine]
recipe = executable_args
executable = %(pythonpath)s/bin/mine
inplace = True
pythonpath = elsewhere
[mine]
nthreads = 4
[broken]
executable = %(aoflaggerroot)s/bin/aoflagger
"""


@pytest.fixture
def config(tmp_path):
    for name in ("runtime", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "tasks.cfg").write_text(TASKS.format(here=tmp_path))
    path = tmp_path / "pipeline.cfg"
    path.write_text(CONFIG.format(here=tmp_path))
    return path


def _load(config, **overrides):
    return load_settings(Path("/somewhere/field.parset"), Overrides(config=str(config), **overrides))


def test_directories_and_names(config, tmp_path):
    settings = _load(config)
    assert settings.job_name == "field"
    assert settings.job_directory == tmp_path / "runtime" / "field"
    assert settings.job_workdir == tmp_path / "work" / "field"
    assert settings.mapfile_dir == tmp_path / "runtime" / "field" / "mapfiles"
    assert (settings.max_per_node, settings.cores, settings.memory_gb) == (3, 2, 1.5)
    assert settings.search_path("plugins")[:2] == [tmp_path / "a" / "plugins", tmp_path / "b" / "plugins"]


def test_everything_is_an_input_of_the_steps(config, tmp_path):
    settings = _load(config, job_name="night")
    assert settings.inputs["max_per_node"] == "3"
    assert settings.inputs["job_name"] == "night"
    assert settings.inputs["mapfile_dir"] == str(tmp_path / "runtime" / "night" / "mapfiles")
    assert settings.sections["layout"]["job_directory"] == str(tmp_path / "runtime" / "night")


def test_command_line_replaces_directories_and_tasks(config, tmp_path):
    other = tmp_path / "50%"
    other.mkdir()
    settings = _load(config, runtime_directory=str(other), working_directory=str(other), task_files="[]")
    assert settings.job_directory == other / "field"
    assert settings.job_workdir == other / "field"
    assert "mine" not in list(settings.tasks)


def test_task_options_override_the_shipped_ones_and_sections_may_repeat(config, tmp_path):
    tasks = _load(config).tasks
    assert tasks.control_keys("dp3")["executable"] == f"{tmp_path}/DP3"
    assert tasks.control_keys("dp3")["args_format"] == "lofar"
    assert tasks.control_keys("mine") == {"executable": "elsewhere/bin/mine", "inplace": "True", "nthreads": "4"}
    assert tasks.recipe("mine") == "executable_args"


def test_only_the_task_that_is_used_is_interpolated(config):
    tasks = _load(config).tasks
    with pytest.raises(PipelineError, match=r"task type 'broken': Bad value substitution.*aoflaggerroot"):
        tasks.control_keys("broken")


def test_recipe_that_cannot_be_interpolated_is_an_error_of_its_task(config, tmp_path):
    with (tmp_path / "tasks.cfg").open("a") as stream:
        stream.write("[odd]\nrecipe = %(nobody)s\n")
    with pytest.raises(PipelineError, match=r"^task type 'odd': Bad value substitution.*nobody"):
        _load(config).tasks.recipe("odd")


def test_unknown_task_names_the_nearest(config):
    with pytest.raises(PipelineError, match="'wslean' is no task type; did you mean 'wsclean'"):
        _load(config).tasks.control_keys("wslean")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[DEFAULT]", "[DEFAULT", "not a readable configuration file"),
        ("runtime_directory = {here}/runtime\n", "", "has no runtime_directory"),
        ("{here}/work", "{here}/nowhere", "working_directory is .*/nowhere, which is no directory"),
        ("max_per_node = 3", "max_per_node = many", "max_per_node is 'many'; a number is needed"),
        ("memory_gb = 1.5", "memory_gb = -1", r"cfg:\d+: memory_gb is -1; it cannot be negative"),
        ("memory_gb = 1.5", "memory_gb = nan", r"cfg:\d+: memory_gb is nan; it cannot be negative, or without end"),
        ("max_per_node = 3", "lost_retries = -1", r"lost_retries is -1; .*\(0: never\)"),
        ("max_per_node = 3", "lenient = maybe", "lenient is 'maybe'; True or False is needed"),
        ("tasks.cfg]", "gone.cfg]", "task file .*/gone.cfg does not exist"),
        ("method = local", "method = %(nobody)s", r"\[remote\]: Bad value substitution"),
    ],
)
def test_bad_configuration_is_one_clear_error(config, tmp_path, old, new, message):
    config.write_text(CONFIG.replace(old, new).format(here=tmp_path))
    with pytest.raises(PipelineError, match=message):
        _load(config)


@pytest.mark.parametrize(
    ("given", "option"), [({"cores": -1}, "--cores is -1"), ({"memory_gb": -2.5}, "--memory-gb is -2.5")]
)
def test_bad_numbers_of_the_command_line_are_named_after_it(config, given, option):
    with pytest.raises(PipelineError, match=rf"^{option}; a number of 0 \(all there is\) or more is needed$"):
        _load(config, **given)


def test_configuration_is_looked_up_here_then_at_home_then_shipped(tmp_path, monkeypatch):
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    assert find_config(None) == share_directory() / "cfg" / "pipeline.cfg"
    (home / ".pipeline.cfg").touch()
    assert find_config(None) == home / ".pipeline.cfg"
    (here / "pipeline.cfg").touch()
    assert find_config(None) == here / "pipeline.cfg"
    assert find_config(str(config_of(tmp_path))) == tmp_path / "mine.cfg"


def config_of(folder):
    path = folder / "mine.cfg"
    path.touch()
    return path


def test_shipped_defaults_need_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Path("image.parset"), Overrides())
    assert settings.job_directory == tmp_path / "image"
    assert settings.job_workdir == tmp_path / "image"
    assert settings.cores == 0
    assert not os.listdir(tmp_path)  # noqa: PTH208 - reading makes nothing


def test_missing_file_names_the_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"x\.cfg: no such configuration file; looked in .*/cfg"):
        find_config("x.cfg")
    with pytest.raises(PipelineError, match="no such thing"):
        find_file("y", [], "thing")
    with pytest.raises(PipelineError, match=r"image\.parst: no such parset; did you mean 'image\.parset'\?"):
        find_file("image.parst", [share_directory()], "parset")
