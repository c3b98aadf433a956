"""pipeline.cfg, tasks.cfg and the command line."""

import os
from pathlib import Path

import pytest

from lofarpipe.config import (
    Overrides,
    find_config,
    find_file,
    job_directory_of,
    load_settings,
    read_settings,
    share_directory,
)
from lofarpipe.errors import CheckFailed, PipelineError

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


BAD = """\
[DEFAULT]
runtime_directory = {here}
task_files = [gone.cfg, {here}/torn.cfg]
recipe_directories = []
lenient = maybe
broken = %(nobody)s
[layout]
[remote]
max_per_node = many
cores = 2.5
lost_retries = -1
method = %(nobody)s
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


def test_configuration_sets_directories_and_names(config, tmp_path):
    settings = _load(config)
    assert settings.job_name == "field"
    assert settings.job_directory == tmp_path / "runtime" / "field"
    assert settings.job_workdir == tmp_path / "work" / "field"
    assert settings.mapfile_dir == tmp_path / "runtime" / "field" / "mapfiles"
    assert (settings.max_per_node, settings.cores, settings.memory_gb) == (3, 2, 1.5)
    assert settings.search_path("plugins")[:2] == [tmp_path / "a" / "plugins", tmp_path / "b" / "plugins"]


def test_all_values_are_step_inputs(config, tmp_path):
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


def test_task_options_override_shipped_options(config, tmp_path):
    tasks = _load(config).tasks
    assert tasks.control_keys("dp3")["executable"] == f"{tmp_path}/DP3"
    assert tasks.control_keys("dp3")["program"] == "dp3"
    assert tasks.control_keys("mine") == {"executable": "elsewhere/bin/mine", "inplace": "True", "nthreads": "4"}
    assert tasks.recipe("mine") == "executable_args"


def test_only_used_task_is_interpolated(config):
    tasks = _load(config).tasks
    with pytest.raises(PipelineError, match=r"task type 'broken': \w+ refers to %\(aoflaggerroot\)s, which is not"):
        tasks.control_keys("broken")


def test_bad_interpolation_names_its_task(config, tmp_path):
    with (tmp_path / "tasks.cfg").open("a") as stream:
        stream.write("[odd]\nrecipe = %(nobody)s\n")
    with pytest.raises(PipelineError, match=r"^task type 'odd': recipe refers to %\(nobody\)s, which is not set"):
        _load(config).tasks.recipe("odd")


def test_unknown_task_names_nearest(config):
    with pytest.raises(PipelineError, match="'wslean' is no task type; did you mean 'wsclean'"):
        _load(config).tasks.control_keys("wslean")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[DEFAULT]",
            "[DEFAULT",
            r"cfg:1: '\[DEFAULT' is no \[section\], above all sections; begin with a line",
        ),
        (
            "max_per_node = 3",
            "max_per_node\nx y",
            r"cfg:\d+: 'max_per_node' is no key = value.*\n.*cfg:\d+: 'x y' is",
        ),
        (
            "max_per_node = 3",
            f"{'x' * 61}",
            r"'x{60}\.\.\.' is no key = value; correct it, or make it a comment",
        ),
        ("method = local", "method = 100%", r"\[remote\] method has a % that begins no reference such as %\(cwd\)s"),
        ("method = local", "method = %(method)s", r"\[remote\] method refers to itself; write out its value"),
        ("runtime_directory = {here}/runtime\n", "", "has no runtime_directory"),
        ("{here}/work", "{here}/nowhere", "working_directory is .*/nowhere, which is no directory"),
        (
            "max_per_node = 3",
            "max_per_node = many",
            r"cfg:\d+: max_per_node is 'many'; an integer is needed, 0 for no limit",
        ),
        ("memory_gb = 1.5", "memory_gb = -1", r"cfg:\d+: memory_gb is -1; it cannot be negative"),
        ("memory_gb = 1.5", "memory_gb = nan", r"cfg:\d+: memory_gb is nan; it cannot be negative, or without end"),
        ("max_per_node = 3", "lost_retries = -1", r"lost_retries is -1; .*\(0: never\)"),
        ("max_per_node = 3", "lenient = maybe", "lenient is 'maybe'; True or False is needed"),
        ("tasks.cfg]", "gone.cfg]", "task file .*/gone.cfg does not exist"),
        (
            "method = local",
            "method = %(nobody)s",
            r"\[remote\] method refers to %\(nobody\)s, which is not set; def",
        ),
    ],
)
def test_bad_configuration_gives_one_error(config, tmp_path, old, new, message):
    config.write_text(CONFIG.replace(old, new).format(here=tmp_path))
    with pytest.raises(PipelineError, match=message):
        _load(config)


def test_configuration_in_other_encoding_is_refused(config):
    config.write_bytes("[DEFAULT]\nx = \u00fc\n".encode("latin-1"))
    with pytest.raises(CheckFailed, match=r"pipeline.cfg: is not UTF-8 text; save it as UTF-8"):
        _load(config)


def test_unreadable_configuration_is_refused(config, monkeypatch):
    def read_text(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", read_text)
    with pytest.raises(CheckFailed, match=r"pipeline.cfg: cannot be read: Permission denied; correct its name or mode"):
        _load(config)


def test_byte_order_mark_of_configuration_is_ignored(config, tmp_path):
    text = CONFIG.replace("max_per_node = 3", "max_per_node = many").format(here=tmp_path)
    config.write_text(text, encoding="utf-8-sig")
    with pytest.raises(CheckFailed, match=r"pipeline.cfg:11: max_per_node is 'many'"):
        _load(config)


@pytest.mark.parametrize(
    ("given", "option"), [({"cores": -1}, "--cores is -1"), ({"memory_gb": -2.5}, "--memory-gb is -2.5")]
)
def test_bad_command_line_numbers_name_option(config, given, option):
    with pytest.raises(CheckFailed) as caught:
        _load(config, **given)
    (found,) = caught.value.findings
    assert str(found) == f"command line: {option}; a number of 0 (all there is) or more is needed"


def test_configuration_mistakes_come_together(tmp_path):
    path = tmp_path / "pipeline.cfg"
    path.write_text(BAD.format(here=tmp_path))
    (tmp_path / "torn.cfg").write_text("[dp3\n")
    settings, found = read_settings(
        Path("field.parset"), Overrides(config=str(path), memory_gb=-1, runtime_directory=f"{tmp_path}/nowhere")
    )
    nobody = "refers to %(nobody)s, which is not set; define it in [DEFAULT], or write %% for %"
    assert [str(finding).replace(f"{tmp_path}/", "").partition(" '")[0] for finding in found] == [
        f"pipeline.cfg:6: [DEFAULT] broken {nobody}",
        "command line: --runtime-directory is nowhere, which is no directory; create it, or set another one",
        "pipeline.cfg:1: [DEFAULT] has no working_directory; set it to the directory below which runs work, such as "
        "%(cwd)s",
        f"pipeline.cfg:12: [remote] method {nobody}",
        "command line: --memory-gb is -1; a number of 0 (all there is) or more is needed",
        "pipeline.cfg:9: max_per_node is",
        "pipeline.cfg:10: cores is",
        "pipeline.cfg:11: lost_retries is -1; it cannot be negative, or without end (0: never)",
        "pipeline.cfg:5: lenient is",
        "pipeline.cfg:3: task file gone.cfg does not exist; correct task_files, or leave it out: dppp, dp3, "
        "executable_args, pythonplugin and wsclean are there anyway",
        "torn.cfg:1:",  # the line follows
    ]
    assert "nobody" in found[0].what
    assert found[5].what == "max_per_node is 'many'; an integer is needed, 0 for no limit"
    assert found[6].what == "cores is '2.5'; an integer is needed, 0 for no limit"
    assert (settings.max_per_node, settings.cores, settings.memory_gb, settings.lost_retries) == (0, 0, 0.0, 0)
    assert (settings.lenient, settings.working_directory) == (False, Path.cwd())
    assert "dp3" in settings.tasks
    with pytest.raises(CheckFailed) as caught:
        load_settings(Path("field.parset"), Overrides(config=str(path)))
    assert len(caught.value.findings) == 9  # without those of the command line


def test_doubly_broken_value_is_reported_once(tmp_path):
    path = tmp_path / "pipeline.cfg"
    path.write_text("[DEFAULT]\nruntime_directory = %(nobody)s\nworking_directory = .\n[a]\nx = 1\n[b]\nx = 50%%\n")
    settings, found = read_settings(Path("field.parset"), Overrides(config=str(path)))
    assert [finding.where for finding in found] == [f"{path}:2"]
    assert found[0].what.endswith("; define it in [DEFAULT], or write %% for %")
    assert settings.inputs["x"] == "50%"


def test_wrong_flag_names_line_of_section(tmp_path):
    path = tmp_path / "pipeline.cfg"
    path.write_text("[DEFAULT]\nruntime_directory = .\nworking_directory = .\n[a]\nx = 1\n[b]\nlenient = yes\n")
    (found,) = read_settings(Path("field.parset"), Overrides(config=str(path)))[1]
    assert str(found) == f"{path}:7: lenient is 'yes'; True or False is needed"


def test_configuration_search_has_fixed_order(tmp_path, monkeypatch):
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


def test_missing_file_names_searched_places(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PipelineError, match=r"x\.cfg: no such configuration file; looked in .*/cfg"):
        find_config("x.cfg")
    with pytest.raises(PipelineError, match="no such thing"):
        find_file("y", [], "thing")
    with pytest.raises(PipelineError, match=": is a directory, and no thing; name a file"):
        find_file(str(tmp_path), [], "thing")
    with pytest.raises(PipelineError, match=r"image\.parst: no such parset; did you mean 'image\.parset'\?"):
        find_file("image.parst", [share_directory()], "parset")
    with pytest.raises(PipelineError, match=r"image: no such parset; did you mean 'image\.parset'\?"):
        find_file("image", [share_directory()], "parset")
    with pytest.raises(PipelineError, match=r"demoo\.parset: no such parset; did you mean 'demo\.parset'\?"):
        find_file("demoo.parset", [share_directory()], "parset")
    with pytest.raises(PipelineError, match=r"nosuch\.parset: no such parset; looked in"):
        find_file("nosuch.parset", [share_directory()], "parset")


def test_parset_names_its_job_directory(config, tmp_path):
    (tmp_path / "folder.parset").mkdir()
    (tmp_path / "field.parset").write_text("")
    assert job_directory_of(str(tmp_path / "field.parset"), config) == tmp_path / "runtime" / "field"
    assert job_directory_of(str(tmp_path / "folder.parset")) == tmp_path / "folder.parset"
    assert job_directory_of("image") == Path("image")
    with pytest.raises(PipelineError, match=r"feild\.parset: no such parset"):
        job_directory_of(str(tmp_path / "feild.parset"), config)
