"""Translation of imgpipe's command line and file: keys of a parset, sections of the site, places of records."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from lofarpipe.cli.imgpipe.groups import Group, ImageJob
from lofarpipe.cli.imgpipe.settings import ImgpipeSettings, read_imaging_settings
from lofarpipe.cli.imgpipe.translation import (
    clock,
    find_sets,
    hosts_of,
    image_parset,
    images_in_sets,
    job_variables,
    keyword,
    place_findings,
    queue_limit,
    records_of_groups,
    run_name,
    scratch,
    site_sections,
)

HOST = os.uname().nodename.partition(".")[0]


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings_of(text: str = "") -> ImgpipeSettings:
    Path("img.toml").write_text(text)
    settings, findings = read_imaging_settings(Path("img.toml"))
    assert findings == []
    return settings


def job(*paths: str, **options: list[str]) -> ImageJob:
    return ImageJob(Group(tuple(map(Path, paths))), Path("/out/img"), options)


@pytest.mark.parametrize(
    ("key", "words", "text"),
    [
        ("multiscale", [], "True"),
        ("size", ["512", "256"], "512 256"),
        ("fits-mask", ["/a b.fits"], "/a b.fits"),
        ("pol", ["I,Q"], "I,Q"),
        ("apply-facet-solutions", ["/a b.h5", "amp"], None),
        ("restore", ["a#b"], None),
        ("weight", ["{x}"], None),
        ("scale", [""], ""),
        ("beam-mode", ["[a]"], None),
    ],
)
def test_parset_value_reproduces_words_or_is_none(key: str, words: list[str], text: str | None) -> None:
    assert keyword(key, words) == text


def test_unexpressible_words_become_list() -> None:
    settings = settings_of("[wsclean]\nrestore = ['a#b', 'c']\n")
    parset = image_parset(settings, [job("/d/A.MS", restore=["a#b", "c"])], [""], {"PATH": ""})
    assert parset.entry("groups.control.words").value == "[[-restore, a%23b, c]]"
    assert parset.entry("image.argument.flags").value == "[imgpipe_words, imgpipe_sets]"
    assert parset.entry("image.control.executable").value == "wsclean"


def test_parset_keeps_places_of_file() -> None:
    settings = settings_of("[wsclean]\nniter = 5\n")
    jobs = [job("/d/A.MS", "/d/B.MS", niter=["5"]), job("/d/C.MS", niter=["5"])]
    parset = image_parset(settings, jobs, ["node1", ""], {})
    assert (parset.entry("image.argument.niter").file, parset.entry("image.argument.niter").line) == ("img.toml", 2)
    assert parset.entry("groups.control.hosts").value == "[node1, localhost]"
    assert parset.entry("groups.control.sets").value == "[[/d/A.MS, /d/B.MS], [/d/C.MS]]"
    assert parset.entry("image.control.on_data_host").value == "True"
    assert "image.argument.channels-out" not in parset


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("", {"remote": {"method": "local", "max_per_node": "4", "lost_retries": "0"}}),
        (
            "nodes = 'node[1-2]'\nmax_concurrent = 3\nmax_time = 90061",
            {
                "remote": {"method": "ssh", "max_per_node": "3", "lost_retries": "0"},
                "ssh": {"hosts": "node[1-2]", "environment": "host", "walltime": "1-01:01:01"},
            },
        ),
        (
            "env_file = '~/.bashrc'",
            {
                "remote": {"method": "ssh", "max_per_node": "4", "lost_retries": "0"},
                "ssh": {"hosts": "localhost", "environment": "host", "env_file": "~/.bashrc"},
            },
        ),
        (
            "nodes = 'slurm'\nslurm_options = '--qos=high -A x'\n[worker.resources.heavy]\nmem = '8GB'",
            {
                "remote": {"method": "slurm", "lost_retries": "0"},
                "slurm": {"extra": "[--qos=high, -A, x]", "max_submitted": "4"},
            },
        ),
        (
            "nodes = 'slurm'\nenv_file = '~/my env.sh'\nmax_time = 90",
            {
                "remote": {"method": "slurm", "lost_retries": "0"},
                "slurm": {"walltime": "0-00:01:30", "max_submitted": "4", "prologue": ". ~/'my env.sh'"},
            },
        ),
    ],
)
def test_worker_settings_become_site_sections(
    text: str, sections: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIBPIPE_SLURM_OPTIONS", raising=False)
    found = site_sections(settings_of(f"[worker]\n{text}\n"))
    assert {name: {key: entry.value for key, entry in section.items()} for name, section in found.items()} == sections


def test_section_keeps_line_of_file() -> None:
    entry = site_sections(settings_of("[worker]\nmax_concurrent = 3\n"))["remote"]["max_per_node"]
    assert (entry.file, entry.line) == ("img.toml", 2)


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (0.2, "0-00:00:01"), (4, "0-00:00:04"), (3600, "0-01:00:00")]
)
def test_time_limit_becomes_walltime(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text


def test_jobs_are_pinned_to_known_hosts() -> None:
    text = "[worker]\nrun_on_file_host = true\nrun_on_file_host_pattern = '/net/([^/]+)/'\n"
    jobs = [job(f"/net/{HOST}/A.MS"), job("/net/node9/B.MS"), job("/d/C.MS")]
    hosts, warnings = hosts_of(settings_of(text), jobs)
    assert hosts == [HOST, "", ""]
    assert len(warnings) == 1
    assert "names the host node9 in a path" in warnings[0]
    assert hosts_of(settings_of(text + "nodes = 'slurm'\n"), jobs) == (["", "", ""], [])


def test_records_depend_on_sets_only() -> None:
    options = argparse.Namespace(job_dir=None, config_file=Path("img.toml"), sets=["d/A.MS"])
    settings_of("")
    first = records_of_groups(options, [Group((Path("d/A.MS"),))])
    settings_of("[wsclean]\nniter = 5\n")
    assert records_of_groups(options, [Group((Path("d/A.MS"),))]) == first
    assert first.parent == Path.cwd() / "img.runs"
    assert first.name.startswith("A.MS-")
    assert records_of_groups(options, [Group((Path("d/B.MS"),))]) != first
    options.job_dir = "kept"
    assert records_of_groups(options, []) == Path.cwd() / "kept"


def test_temporary_files_lie_beside_set_or_images(tmp_path: Path) -> None:
    assert scratch(job(f"{tmp_path}/A.MS")) == str(tmp_path)
    assert scratch(job("/nowhere/A.MS")) == "/out"


def test_env_file_sets_job_environment() -> None:
    settings = settings_of("[worker]\nenv_file = 'my env.sh'\n")
    Path("my env.sh").write_text("export MARK='a\nb'\nfalse\n")
    environment, findings = job_variables(settings)
    assert environment["MARK"] == "a\nb"
    assert findings == []
    Path("my env.sh").unlink()
    assert "there is no file my env.sh" in str(job_variables(settings)[1][0])
    elsewhere = settings_of("[worker]\nenv_file = 'none.sh'\nnodes = 'node1'\n")
    assert job_variables(elsewhere) == (os.environ, [])


def test_wrong_handler_and_empty_selection_are_findings() -> None:
    settings = settings_of("[data_handler]\nconfig_file = 'none.toml'\n")
    assert "cannot be read" in str(find_sets(settings, ["x"])[1][0])
    Path("none.toml").write_text(
        "[obs_ids]\nA = ['n']\n[n2_obs_ids.B]\nnodes = ['n']\nn1_obs_ids = ['A']\n[spectral_windows]\nS = [1, 2]\n"
        "[data_levels.L2]\npath = 'x'\ninput = 'L1'\n"
    )
    sets, findings, warnings = find_sets(settings, ["B"])
    assert (sets, [str(one) for one in findings]) == ([], ["B: no set of it is there"])
    assert warnings == ["B, S: there is no set of level L2"]


def test_unwritable_directories_are_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "closed").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and access(path, mode))
    jobs = [ImageJob(Group((Path("A.MS"),)), tmp_path / name / "x/img", {}) for name in ("file", "closed", "open")]
    assert [finding.what.replace(f"{tmp_path}/", "") for finding in place_findings(settings_of(), jobs)] == [
        "images would go into file/x, and file is no directory; set out-dir to another directory",
        "images would go into closed/x, and closed cannot be written; set out-dir to another directory",
    ]


def test_out_dir_inside_set_gives_warning(tmp_path: Path) -> None:
    sets = [tmp_path / name for name in ("A.MS", "B.MS")]
    jobs = [ImageJob(Group((path,)), path / "images/img", {}) for path in sets]
    text = f"images go into {sets[0]}/images, within the measurement set {sets[0]}"
    for options in ("", "[wsclean]\nout-dir = '$ms_basename$/images'\n"):
        findings, (warning,) = images_in_sets(settings_of(options), jobs)
        assert findings == []
        assert warning.endswith(f": {text} and 1 other; with out-dir they go elsewhere")
    findings, warnings = images_in_sets(settings_of("[wsclean]\nout-dir = 'A.MS/images'\n"), jobs[:1])
    assert [one.what for one in findings] == [f"{text}; set out-dir to another directory"]
    assert warnings == images_in_sets(settings_of(), [ImageJob(Group((sets[0],)), tmp_path / "img", {})])[1] == []


@pytest.mark.parametrize(
    ("text", "name"), [("j 'd", "j_d"), ("+x.MS_.", "x.MS"), ("\N{GREEK SMALL LETTER ALPHA}", "images")]
)
def test_run_name_is_sanitised(text: str, name: str) -> None:
    assert run_name(text) == name


@pytest.mark.parametrize(
    ("text", "limit"), [("", 4), ("slurm_nodes = 3\n", 12), ("max_concurrent = 'x'\nslurm_nodes = 'y'\n", 4)]
)
def test_queue_limit_covers_all_nodes(text: str, limit: int) -> None:
    Path("img.toml").write_text(f"[worker]\n{text}")
    assert queue_limit(read_imaging_settings(Path("img.toml"))[0]) == limit
