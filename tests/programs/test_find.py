"""Finding programs, and the environment of jobs."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.programs import find as programs
from lofarpipe.programs.find import find, is_own_program, job_environment


@pytest.fixture
def bin_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory as the only one on PATH, and as that of this interpreter."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_own_programs", lambda: tmp_path / "venv")
    return tmp_path


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_program_is_found_on_path(bin_directory: Path) -> None:
    program(bin_directory / "imager")
    assert find("imager") == bin_directory / "imager"


def test_path_precedes_interpreter_directory(bin_directory: Path) -> None:
    beside = program(bin_directory / "venv" / "DP3")
    assert find("DP3") == beside
    on_path = program(bin_directory / "DP3")
    assert find("DP3") == on_path


@pytest.mark.parametrize(
    ("asked", "there"),
    [("DP3", "DP3.py"), ("DPPP", "DP3.py"), ("DPPP", "DP3"), ("NDPPP", "DPPP"), ("NDPPP", "DP3"), ("NDPPP", "DP3.py")],
)
def test_dp3_is_found_under_four_names(bin_directory: Path, asked: str, there: str) -> None:
    path = program(bin_directory / there)
    assert find(asked) == path


def test_dp3_of_this_environment_starts() -> None:
    done = subprocess.run(
        [find("DP3"), "--version"], capture_output=True, text=True, env={**os.environ, **job_environment()}
    )
    assert done.returncode == 0
    assert "DP3" in done.stdout


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("DP3", "pip install dp3"),
        ("wsclean", "use our own imager .*, or install WSClean: conda .*apt install wsclean"),
        ("losoto", "install losoto, or add its directory"),
    ],
)
def test_missing_program_names_package(bin_directory: Path, name: str, advice: str) -> None:
    with pytest.raises(PipelineError, match=f"{name}: no such program on PATH or in .*/venv; {advice}"):
        find(name)


def test_explicit_path_is_used_unchanged(bin_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(bin_directory / "sub" / "DP3")
    assert find(str(path)) == path
    monkeypatch.chdir(bin_directory)
    assert find("sub/DP3") == path
    with pytest.raises(PipelineError, match="sub/DP4: no such program; correct the path"):
        find("sub/DP4")


def test_non_executable_file_is_refused(bin_directory: Path) -> None:
    path = program(bin_directory / "script", 0o644)
    with pytest.raises(PipelineError, match="script: this file may not be executed; chmod"):
        find(str(path))
    with pytest.raises(PipelineError, match="script: no such program on PATH"):
        find("script")


def test_bare_process_gets_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HOME", "EVERYBEAM_DATADIR", "AIPSPATH", "CASACORE_DATADIR", "PYTHONPATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "8")
    environment = job_environment()
    assert environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["HOME"] == pwd.getpwuid(os.getuid()).pw_dir
    assert Path(environment["EVERYBEAM_DATADIR"], "HamakerHBACoeff.h5").is_file()
    assert Path(environment["AIPSPATH"], ".aipsrc").is_file()
    assert Path(environment["CASACORE_DATADIR"], "geodetic").is_dir()
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(Path(programs.__file__).parents[2])]


def test_user_variables_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = {name: f"/mine/{name}" for name in ("HOME", "EVERYBEAM_DATADIR", "AIPSPATH", "CASACORE_DATADIR")}
    mine |= {"LD_LIBRARY_PATH": "/opt/lib", "LC_ALL": "C", "OMP_STACKSIZE": "8M", "HDF5_USE_FILE_LOCKING": "FALSE"}
    for name, value in {**mine, "EDITOR": "vi", "MY_TOKEN": "s", "LOFARPIPE_JOB_DIRECTORY": "/job"}.items():
        monkeypatch.setenv(name, value)
    environment = job_environment()
    assert environment.items() >= mine.items()
    # They are printed; and a repetition by hand is no job of the run.
    assert not {"EDITOR", "MY_TOKEN", "LOFARPIPE_JOB_DIRECTORY"} & set(environment)


def test_system_programs_are_found_without_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH")
    assert job_environment()["PATH"] == f"{Path(sys.executable).parent}:{os.defpath}"


def test_own_programs_come_first_once(monkeypatch: pytest.MonkeyPatch) -> None:
    own = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", f"/usr/bin:{own}:/bin")
    assert job_environment()["PATH"] == f"{own}:/usr/bin:/bin"


def test_user_path_comes_first_for_foreign_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    own = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert job_environment(is_ours=False)["PATH"] == f"/usr/bin:/bin:{own}"
    monkeypatch.setenv("PATH", f"/usr/bin:{own}:/bin")
    assert job_environment(is_ours=False)["PATH"] == f"/usr/bin:{own}:/bin"


def test_package_comes_last_for_foreign_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    package = str(Path(programs.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", "/mine")
    assert job_environment()["PYTHONPATH"] == f"{package}:/mine"
    assert job_environment(is_ours=False, runs_package=False)["PYTHONPATH"] == f"/mine:{package}"
    monkeypatch.delenv("PYTHONPATH")
    assert job_environment(runs_package=False)["PYTHONPATH"] == package


def test_own_programs_are_known(repository: Path, tmp_path: Path) -> None:
    ours = [repository / "scripts" / "do_magic.py", Path(sys.executable)]
    assert [is_own_program(path) for path in [*ours, tmp_path / "do_magic.py"]] == [True, True, False]


def test_jobs_have_fixed_hash_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    assert job_environment()["PYTHONHASHSEED"] == "0"
    monkeypatch.setenv("PYTHONHASHSEED", "random")
    assert job_environment()["PYTHONHASHSEED"] == "random"


def test_installed_package_needs_no_pythonpath(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "PACKAGE", tmp_path / "site-packages" / "lofarpipe")
    assert "PYTHONPATH" not in job_environment()
