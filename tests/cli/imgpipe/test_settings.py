"""The TOML file of imgpipe: its keys, the files that it builds on, and every mistake with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.cli.imgpipe.settings import (
    ImgpipeSettings,
    is_assignment,
    parse_assignment,
    read_imaging_settings,
    size_gb,
)
from lofarpipe.errors import PipelineError


def settings_of(tmp_path: Path, text: str, name: str = "img.toml") -> tuple[ImgpipeSettings, list[str]]:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    settings, findings = read_imaging_settings(path)
    return settings, [str(finding).replace(f"{tmp_path}/", "") for finding in findings]


@pytest.mark.parametrize(
    ("text", "section", "table"),
    [
        ("wsclean.niter=0", "wsclean", {"niter": 0}),
        ("wsclean.weight=briggs 0", "wsclean", {"weight": "briggs 0"}),
        ("wsclean.multiscale = true", "wsclean", {"multiscale": True}),
        ("worker.resources.heavy.cpus=3", "worker", {"resources": {"heavy": {"cpus": 3}}}),
    ],
)
def test_command_line_assignment_sets_section(text: str, section: str, table: dict[str, object]) -> None:
    assert is_assignment(text)
    assert parse_assignment(text) == (section, table)


@pytest.mark.parametrize("text", ["image.argument.niter=3", "wsclean=3", "wsclean.niter", "niter=3"])
def test_foreign_assignment_is_ignored(text: str) -> None:
    assert not is_assignment(text)


def test_empty_file_has_all_defaults(tmp_path: Path) -> None:
    settings, findings = settings_of(tmp_path, "")
    assert findings == []
    assert (settings["nodes"], settings["max_concurrent"], settings["max_time"]) == ("localhost", 4, None)
    assert settings["data_level"] == "L2"
    assert [(key, entry.value) for key, entry in settings.wsclean().items()] == [
        ("name", "img"),
        ("pol", "I"),
        ("weight", "briggs 0"),
        ("data-column", "CORRECTED_DATA"),
    ]
    assert settings.resources() == {"cpus": 12, "mem": "40GB"}


def test_file_overrides_its_base(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base/lowest.toml").write_text("[worker]\nmax_concurrent = 2\nnodes = 'a'\n")
    (tmp_path / "base/base.toml").write_text(
        "default_settings = 'lowest.toml'\n[wsclean]\nsize = '512 512'\nniter = 10\n"
        "[worker]\nnodes = 'b'\n[calpipe]\nx = 1\n"
        "[worker.resources.heavy]\ncpus = 3\n"
    )
    settings, findings = settings_of(
        tmp_path,
        "default_settings = '../base/base.toml'\n[wsclean]\nsize = '256 256'\n[worker.resources.heavy]\nmem = '8GB'\n",
        "cfg/img.toml",
    )
    assert findings == []
    assert (settings["max_concurrent"], settings["nodes"]) == (2, "b")
    assert settings.wsclean()["size"].value == "256 256"
    assert settings.wsclean()["niter"].where == f"{tmp_path}/cfg/../base/base.toml:4: wsclean.niter"
    assert settings.resources() == {"cpus": 3, "mem": "8GB"}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        (
            "[worker]\nmax_concurent = 2\n",
            "img.toml:2: worker.max_concurent: no such key; did you mean 'max_concurrent'?",
        ),
        ("[WSClean]\nname = 'x'\n", "img.toml:1: [WSClean]: no such section; did you mean 'wsclean'?"),
        ("[wclean]\nname = 'x'\n", "img.toml:1: [wclean]: no such section; did you mean 'wsclean'?"),
        ("wsclean = 3\n", "img.toml:1: wsclean is 3; it must be a section, [wsclean]"),
        ("[worker]\nnodes = 3\n", "img.toml:2: worker.nodes: is 3; it must be text"),
        ("[worker]\nmax_concurrent = 0\n", "img.toml:2: worker.max_concurrent: is 0; it must be positive"),
        ("[worker]\nmax_concurrent = true\n", "img.toml:2: worker.max_concurrent: is true; it must be an integer"),
        ("[worker]\ndry_run = 1\n", "img.toml:2: worker.dry_run: is 1; it must be a boolean"),
        ("[worker]\nmax_time = -1.5\n", "img.toml:2: worker.max_time: is -1.5; it must be positive"),
        ("[worker]\nslurm_options = '-p \"x'\n", "img.toml:2: worker.slurm_options: its quotes are not balanced"),
        ("[worker]\nslurm_nodes = -1\n", "img.toml:2: worker.slurm_nodes: is -1; it must not be negative"),
        ("[worker]\nmax_time = nan\n", "img.toml:2: worker.max_time: is nan; it must be positive"),
        (
            "[worker]\nrun_on_file_host = true\n",
            "img.toml:2: worker.run_on_file_host: needs run_on_file_host_pattern, such as '\\/net/(node\\d{3})'",
        ),
        (
            "[worker]\nrun_on_file_host = true\nrun_on_file_host_pattern = '/net/node'\n",
            "img.toml:3: worker.run_on_file_host_pattern: '/net/node' has no group; the host is the part in brackets, "
            "such as '/net/(node\\d+)'",
        ),
        (
            "[worker]\nrun_on_file_host_pattern = '('\n",
            "img.toml:2: worker.run_on_file_host_pattern: '(' is no regular expression: missing ), unterminated "
            "subpattern at position 0",
        ),
        (
            "[worker.resources]\nheavy = 3\n",
            "img.toml: worker.resources.heavy: is 3; it must be a table with cpus and mem",
        ),
        (
            "[worker.resources.heavy]\nmem = 'much'\n",
            "img.toml: worker.resources.heavy.mem: is 'much'; it must be a size such as '40GB'",
        ),
        (
            "[worker.resources.heavy]\ncpu = 1\n",
            "img.toml: worker.resources.heavy.cpu: no such key; did you mean 'cpus'?",
        ),
        ("[worker.resources.heavy]\ncpus = 0\n", "img.toml: worker.resources.heavy.cpus: is 0; it must be positive"),
        ("[worker]\nresources = 1\n", "img.toml:2: worker.resources: is 1; it must be a table such as resources.heavy"),
    ],
)
def test_mistake_names_its_place(tmp_path: Path, text: str, finding: str) -> None:
    assert settings_of(tmp_path, text)[1] == [finding]


def test_all_mistakes_come_together(tmp_path: Path) -> None:
    findings = settings_of(tmp_path, "[worker]\nnode = 'a'\nmax_time = 0\n[data_handler]\nlevel = 'L2'\n[x]\n")[1]
    assert [finding.split(": ")[0] for finding in findings] == ["img.toml:6", "img.toml:2", "img.toml:3", "img.toml:5"]


def test_calpipe_keys_are_accepted(tmp_path: Path) -> None:
    text = "[worker]\nnumthreads = 3\nuse_state_file = true\nstate_dir = 'x'\nforce = false\n"
    assert settings_of(tmp_path, text)[1] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[wsclean\n", "img.toml:1: not TOML: expected ']' at the end of a table declaration"),
        (
            "[wsclean]\nmultiscale = True\n",
            "img.toml:2: not TOML: invalid value; a text stands in quotes, true and false are in lower case",
        ),
        ("a = 1\na = 2\n", "img.toml:2: not TOML: cannot overwrite a value"),
        ("default_settings = 3\n", "img.toml:1: default_settings = 3; it must name a file"),
        ("default_settings = 'no.toml'\n", "img.toml:1: default_settings = 'no.toml': there is no file no.toml"),
        (
            "default_settings = 'img.toml'\n",
            "img.toml:1: default_settings = 'img.toml': these files name each other in a circle",
        ),
    ],
)
def test_unusable_file_is_one_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PipelineError) as err:
        settings_of(tmp_path, text)
    assert str(err.value).replace(f"{tmp_path}/", "") == message


def test_unreadable_files_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="cannot be read: No such file"):
        read_imaging_settings(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'\n")
    with pytest.raises(PipelineError, match="it is not UTF-8 text"):
        read_imaging_settings(tmp_path / "latin.toml")


def test_file_is_found_beside_configuration_or_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    settings, _ = settings_of(tmp_path, "", "cfg/img.toml")
    (tmp_path / "cfg/beside.toml").touch()
    assert settings.file("beside.toml") == tmp_path / "cfg/beside.toml"
    assert settings.file("here.toml") == Path("here.toml")
    assert settings.file("~/x.toml") == tmp_path / "home/x.toml"
    assert settings.file("/a/x.toml") == Path("/a/x.toml")


@pytest.mark.parametrize(
    ("text", "gb"), [("40GB", 40.0), ("40 gib", 40.0), ("500M", 0.5), ("1.5T", 1500.0), ("0GB", None), ("GB", None)]
)
def test_memory_text_gives_gb(text: str, gb: float | None) -> None:
    assert size_gb(text) == (None if gb is None else pytest.approx(gb))
