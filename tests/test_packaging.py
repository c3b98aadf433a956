"""Files for installing: containers, conda, the lock. None is built here; all parse, agree, and name existing files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
CONTAINERFILE = (REPOSITORY / "container/Containerfile").read_text()
DEFINITION = (REPOSITORY / "container/genericpipeline.def").read_text()
ENVIRONMENT = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
LOCK = (REPOSITORY / "requirements.lock").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = list(PROJECT["optional-dependencies"])


def locked(*extras: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(REPOSITORY / "tools/locked.py"), ",".join(extras)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def pins() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.+!]+)", LOCK, re.M):
        found.setdefault(name, set()).add(version)
    return found


def debian_packages(text: str) -> list[str]:
    (words,) = re.findall(r"--no-install-recommends (.*?) *\\?$", text, re.M)
    return words.split()


# ---- the lock


def test_lock_has_all_dependencies() -> None:
    done = locked(*EXTRAS)
    assert done.returncode == 0, f"{done.stderr}; run tools/lock"
    from packaging.requirements import Requirement

    wanted = [*PROJECT["dependencies"], *(one for extra in EXTRAS for one in PROJECT["optional-dependencies"][extra])]
    versions = pins()
    for requirement in map(Requirement, wanted):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert all(requirement.specifier.contains(version) for version in versions[name]), f"{name}: run tools/lock"


def test_every_locked_package_has_digests() -> None:
    blocks = re.split(r"\n(?=[a-z])", LOCK.partition("\n")[2])
    assert len(blocks) > 50
    assert [block[:40] for block in blocks if "--hash=sha256:" not in block] == []


def test_lock_of_extra_is_subset() -> None:
    small, large = (set(re.findall(r"^[\w.-]+==", locked(*words).stdout, re.M)) for words in ((), ("dask", "test")))
    assert {"dp3==", "contourpy==", "hatchling=="} <= small  # itself, of matplotlib, and what builds the package
    assert {"distributed==", "pytest=="} & small == set()
    assert {"distributed==", "pytest==", "iniconfig=="} <= large
    assert small < large


def test_incomplete_lock_names_package(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    shutil.copy(REPOSITORY / "tools/locked.py", tmp_path / "tools")
    shutil.copy(REPOSITORY / "pyproject.toml", tmp_path)
    (tmp_path / "requirements.lock").write_text(LOCK.replace("\ndp3==", "\ndp4=="))
    done = subprocess.run([sys.executable, str(tmp_path / "tools/locked.py"), ""], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "requirements.lock lacks dp3; run tools/lock\n"


# ---- containers and conda


def test_containers_have_equal_parts() -> None:
    assert re.findall(r"^FROM (\S+)", CONTAINERFILE, re.M) == re.findall(r"^From: (\S+)", DEFINITION, re.M)
    assert debian_packages(CONTAINERFILE) == debian_packages(DEFINITION)
    extras = [re.findall(r"locked\.py (\S+)", text) for text in (CONTAINERFILE, DEFINITION)]
    assert extras[0] == extras[1]
    assert locked(*extras[0][0].split(",")).returncode == 0


def test_containerfile_has_known_instructions() -> None:
    lines = re.sub(r"\\\n", " ", CONTAINERFILE).splitlines()
    words = {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}
    assert words == {"FROM", "ENV", "RUN", "COPY", "CMD"}
    for command in [line.removeprefix("RUN ") for line in lines if line.startswith("RUN ")]:
        assert subprocess.run(["bash", "-n", "-c", command], check=False).returncode == 0


def test_definition_has_known_sections() -> None:
    sections = re.split(r"^%(\w+)\n", DEFINITION, flags=re.M)
    assert sections[1::2] == ["files", "post", "environment", "runscript", "test"]
    for name, script in zip(sections[1::2], sections[2::2], strict=True):
        if name != "files":
            assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0


def test_conda_environment_agrees_with_lock() -> None:
    *packages, last = ENVIRONMENT["dependencies"]
    assert [name for name in packages if name != "pip" and "=" not in name] == []
    assert last["pip"][-1] == "."
    for requirement in last["pip"][:-1]:
        name, version = requirement.split("==")
        assert version in pins()[name]


# ---- named packages exist, as far as registries are reachable


def answer(*argv: str) -> str:
    """Return the answer of a package manager; skip where it is absent or offline."""
    if shutil.which(argv[0]) is None:
        pytest.skip(f"there is no {argv[0]}")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout if done.returncode == 0 else ""


def test_debian_packages_exist() -> None:
    if "wsclean" not in answer("apt-cache", "policy", "wsclean"):
        pytest.skip("the list of Debian's packages is not here, or is another system's")
    for name in debian_packages(CONTAINERFILE):
        package, _, version = name.partition("=")
        policy = answer("apt-cache", "policy", package)
        assert f"Candidate: {version}" in policy, name


@pytest.mark.parametrize("requirement", ENVIRONMENT["dependencies"][-1]["pip"][:-1])
def test_python_packages_exist(requirement: str) -> None:
    name, version = requirement.split("==")
    listed = answer(sys.executable, "-m", "pip", "index", "versions", name)
    if not listed:
        pytest.skip("no package index is reached")
    assert version in re.findall(r"[\d.]+[\w.]*", listed)


def test_conda_packages_exist() -> None:
    manager = next(filter(shutil.which, ("mamba", "micromamba", "conda")), "conda")
    for name in [name for name in ENVIRONMENT["dependencies"][:-1] if name != "pip"]:
        channel, _, package = name.rpartition("::")
        listed = answer(manager, "search", "-c", channel or "conda-forge", package)
        if not listed:
            pytest.skip("no channel of conda is reached")
        assert package.partition("=")[0] in listed
