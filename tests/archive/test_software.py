"""Which programs, packages and machine a run used."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import pwd
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lofarpipe import __version__
from lofarpipe.archive import software
from lofarpipe.archive.software import host_facts, package_facts, program_checksum, program_facts, runner_facts
from lofarpipe.config import Overrides, load_settings
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.load import load_pipeline
from lofarpipe.programs import find as provenance

STEPS = """
pipeline.steps = [one, two, again, list, loop]
one.control.type = executable_args
one.control.executable = true
two.control.type = executable_args
two.control.executable = list.output.program
again.control.type = executable_args
again.control.executable = true
list.control.kind = plugin
list.control.type = addListMapfile
loop.control.kind = loop
loop.control.loopcount = 2
loop.control.loopsteps = [inner]
inner.control.type = executable_args
inner.control.executable = no_such_program
"""


def git(here: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", *identity, *arguments], cwd=here, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_checkout_gives_commit_and_changes(tmp_path: Path) -> None:
    package = tmp_path / "lofarpipe"
    package.mkdir()
    (package / "a.py").touch()
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    facts = runner_facts(package)
    assert (facts["commit"], facts["has_changes"]) == (git(tmp_path, "rev-parse", "HEAD"), False)
    assert (facts["name"], facts["version"], facts["path"]) == ("genericpipeline", __version__, str(package))
    (package / "a.py").write_text("x = 1\n")
    assert runner_facts(package)["has_changes"] is True


def test_empty_checkout_has_no_commit(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    facts = runner_facts(tmp_path / "lofarpipe")
    assert (facts["commit"], facts["has_changes"]) == (None, False)


def test_installed_package_has_no_commit(tmp_path: Path) -> None:
    facts = runner_facts(tmp_path / "site-packages" / "lofarpipe")
    assert (facts["commit"], facts["has_changes"]) == (None, None)


def test_checkout_without_git_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    assert runner_facts(tmp_path / "lofarpipe")["commit"] is None  # git refuses: that is no repository
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runner_facts(tmp_path / "lofarpipe")["commit"] is None


def test_installed_packages_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "PACKAGES", ("numpy", "no-such-package"))
    import numpy

    (facts,) = package_facts()
    assert (facts["name"], facts["version"]) == ("numpy", numpy.__version__)
    assert Path(numpy.__file__).is_relative_to(facts["path"])


def test_packages_agree_with_importlib() -> None:
    known = {}
    for name in software.PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            package = importlib.metadata.distribution(name)
            known[name] = (package.version, str(package.locate_file("")))
    assert {fact["name"]: (fact["version"], fact["path"]) for fact in package_facts()} == known
    assert known


def test_eggs_and_wheels_are_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for entry in ("python_casacore-3.8.1.dist-info", "scipy-1.10.1-py3.11.egg-info", "dask.egg-info", "dask"):
        (first / entry).mkdir(parents=True)
    (first / "dask.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: dask\nVersion: 2026.8\n")
    (second / "scipy-1.9.dist-info").mkdir(parents=True)
    (second / "numpy").mkdir()
    monkeypatch.setattr(software.sys, "path", [str(tmp_path / "none"), str(first), str(second)])
    assert [(fact["name"], fact["version"], fact["path"]) for fact in package_facts()] == [
        ("dask", "2026.8", str(first)),
        ("python-casacore", "3.8.1", str(first)),
        ("scipy", "1.10.1", str(first)),
    ]


def test_unusual_installations_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    egg, place = tmp_path / "lsmtool-1.6.0-py3.11.egg", tmp_path / "place"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: lsmtool\nVersion: 1.6.0\n")
    (egg / "lsmtool").mkdir()
    # Characters that a directory name cannot have are escaped there.
    (place / "dp3-6.0_local.1.dist-info").mkdir(parents=True)
    (place / "dp3-6.0_local.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nVersion: 6.0+local.1\n")
    monkeypatch.setattr(software.sys, "path", [str(egg), str(place)])
    assert [(fact["name"], fact["version"], fact["path"]) for fact in package_facts()] == [
        ("dp3", "6.0+local.1", str(place)),
        ("lsmtool", "1.6.0", str(egg)),
    ]


def test_unreadable_package_directory_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(software.sys, "path", [str(tmp_path)])
    monkeypatch.setattr(software.os, "listdir", refuse)
    assert package_facts() == []


def pipeline_of(here: Path, text: str):
    path = here / "field.parset"
    path.write_text(text)
    settings = load_settings(path, Overrides())
    return load_pipeline(path, settings), settings


def test_programs_list_their_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline, settings = pipeline_of(tmp_path, STEPS)
    (facts,) = program_facts(pipeline.steps, settings)  # references, plugins and missing programs give none
    assert (facts["name"], facts["version"], facts["steps"]) == ("true", None, ["one", "again"])
    assert Path(facts["path"]).name == "true"
    assert facts["sha256"] == hashlib.sha256(Path(facts["path"]).read_bytes()).hexdigest()


def test_unreadable_program_has_no_checksum(tmp_path: Path) -> None:
    assert program_checksum(tmp_path / "gone") is None


@pytest.mark.parametrize(
    ("said", "version"), [("DP3 7.1", "7.1"), ("v6.6", "v6.6"), (PipelineError("it does not run"), None)]
)
def test_known_program_reports_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said, version) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DP3").write_text("#!/bin/sh\n")
    (tmp_path / "DP3").chmod(0o755)

    def answer(path: object) -> str:
        if isinstance(said, str):
            return said
        raise said

    monkeypatch.setattr(provenance, "program_version", answer)
    steps = f"pipeline.steps = [a]\na.control.type = dp3\na.control.executable = {tmp_path}/DP3\n"
    pipeline, settings = pipeline_of(tmp_path, steps)
    (facts,) = program_facts(pipeline.steps, settings)
    assert (facts["name"], facts["version"]) == ("DP3", version)
    assert (facts["sha256"] is None) is (version is not None)


def test_nested_steps_are_included(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline, settings = pipeline_of(tmp_path, STEPS.replace("no_such_program", "false"))
    assert [facts["steps"] for facts in program_facts(pipeline.steps, settings)] == [["one", "again"], ["inner"]]
    assert program_facts([replace(step, kind="feedback") for step in pipeline.steps[:1]], settings) == []


def test_host_facts_describe_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "astronomer")
    monkeypatch.setenv("EVERYBEAM_DATADIR", "/opt/everybeam")
    facts = host_facts()
    assert facts["user"] == "astronomer"
    assert facts["cores"] >= 1
    assert (facts["name"], facts["machine"]) == (platform.node(), platform.machine())
    assert facts["system"] == platform.platform()
    assert facts["data_directories"].get("EVERYBEAM_DATADIR", "/opt/everybeam") == "/opt/everybeam"
    monkeypatch.delenv("USER")
    assert host_facts()["user"] == pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert host_facts()["user"] == "54321"
