"""Programs in containers and under mpirun; stand-ins for the engines write down how they are called."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.programs import container
from lofarpipe.programs.container import (
    DEFAULT_IMAGE,
    bound_folders,
    container_for,
    engine_command,
    is_launcher,
    launcher,
    pull_image,
)

ENGINE = """#!/bin/sh
echo "$*" >> {calls}
case $1 in
  pull) case $* in *broken*) echo no such image; exit 255;; esac; sleep 0.2; [ -z "$3" ] || echo image > $2;;
  image) exit 1;;
  exec|run) while [ "$1" != scribble ] && [ "$1" != mpirun ]; do shift; done; exec "$@";;
esac
"""
PROGRAM = '#!/bin/sh\necho scribble $OPENBLAS_NUM_THREADS: "$@"\n'


def make_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with stand-ins for apptainer, mpirun and a program, and a cache of its own."""
    make_program(tmp_path / "bin/apptainer", ENGINE.format(calls=tmp_path / "calls"))
    make_program(tmp_path / "bin/scribble", PROGRAM)
    make_program(tmp_path / "bin/scribble-mp", PROGRAM)
    make_program(tmp_path / "bin/mpirun", '#!/bin/sh\necho mpi; exec "$@"\n')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "image.sif").write_text("image")
    return tmp_path


def calls(site: Path) -> list[str]:
    path = site / "calls"
    return path.read_text().splitlines() if path.exists() else []


def run(program: Path, *arguments: str) -> str:
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout


def test_launcher_runs_program_with_bound_folders(site: Path) -> None:
    program = launcher(str(site / "image.sif"), "scribble")
    (site / "data dir/set.ms").mkdir(parents=True)
    assert program.name == "scribble"
    assert is_launcher(program)
    said = run(program, "-name", f"{site}/out/x", f"{site}/data dir/set.ms", "a b")
    assert said == f"scribble 1: -name {site}/out/x {site}/data dir/set.ms a b\n"
    binds = calls(site)[-1].partition("image.sif")[0]
    assert f"--bind {site}/data dir:{site}/data dir" in binds
    assert f"{site}/out:" not in binds, "it is not there"


def test_launcher_changes_with_image(site: Path) -> None:
    first = launcher(str(site / "image.sif"), "scribble")
    written = first.stat().st_mtime_ns
    assert (launcher(str(site / "image.sif"), "scribble"), first.stat().st_mtime_ns) == (first, written)
    (site / "image.sif").write_text("another image")
    assert launcher(str(site / "image.sif"), "scribble") != first


def test_version_query_skips_mpirun(site: Path) -> None:
    program = launcher("none", "scribble", "scribble-mp")
    assert program.name == "scribble-mp"
    assert run(program, "-j", "2") == "mpi\nscribble : -j 2\n".replace(
        " :", f" {os.environ.get('OPENBLAS_NUM_THREADS', '')}:"
    )
    assert not run(program, "-version").startswith("mpi")
    inside = launcher(str(site / "image.sif"), "scribble", "scribble-mp")
    assert run(inside, "-j", "2") == "mpi\nscribble 1: -j 2\n"


def test_plain_program_needs_no_launcher(site: Path) -> None:
    assert launcher(str(site / "bin/scribble"), "other") == site / "bin/scribble"
    assert launcher("none", "scribble") == site / "bin/scribble"
    assert not is_launcher(site / "bin/scribble")
    assert not calls(site)


def test_concurrent_pulls_fetch_once(site: Path) -> None:
    threads = [threading.Thread(target=pull_image, args=["docker://a/b:1"]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls(site)) == 1
    image = pull_image("docker://a/b:1")
    assert image == f"{site}/cache/genericpipeline/containers/docker_a_b_1.sif"
    assert len(calls(site)) == 1
    assert sorted(path.suffix for path in Path(image).parent.iterdir()) == [".lock", ".sif"]


def test_pull_failure_leaves_nothing(site: Path) -> None:
    with pytest.raises(PipelineError, match=r"docker://broken: .* exited with 255: 'no such image'"):
        pull_image("docker://broken")
    assert not list((site / "cache").rglob("*.part"))


@pytest.mark.parametrize("writes", [pull_image, lambda name: launcher("none", "scribble", "scribble-mp")])
def test_unwritable_cache_is_reported(site: Path, writes) -> None:
    (site / "cache").write_text("a file")
    with pytest.raises(PipelineError, match=r"cannot be (kept|written)"):
        writes("docker://a/b")


def test_docker_runs_as_user(site: Path) -> None:
    (site / "bin/apptainer").rename(site / "bin/docker")
    assert pull_image("docker://a/b") == "a/b"
    assert [call for call in calls(site) if call != "version"] == ["image inspect a/b", "pull a/b"]
    with pytest.raises(PipelineError, match="docker takes docker:// only"):
        pull_image("oras://a/b")
    command = engine_command("/bin/docker", "a/b", ["scribble"], [f"{site}/x"], {"OMP_NUM_THREADS": "4"})
    assert command[:5] == ["/bin/docker", "run", "--rm", "-u", f"{os.getuid()}:{os.getgid()}"]
    assert command[-3:] == ["a/b", "scribble", f"{site}/x"]
    assert {"OMP_NUM_THREADS=4", "OPENBLAS_NUM_THREADS=1", f"{site}:{site}"} <= set(command)


def test_links_are_bound_under_both_names(site: Path) -> None:
    (site / "real").mkdir()
    (site / "link").symlink_to(site / "real")
    assert bound_folders([f"{site}/link/x.ms", "-j", "4", "relative/x"]) == [f"{site}/link", f"{site}/real"]


def test_program_on_path_replaces_default_image_only(site: Path) -> None:
    assert container_for("none", "docker://a/b", "scribble") == ("docker://a/b", "")
    assert container_for("image.sif", DEFAULT_IMAGE, "scribble")[0] == str(Path("image.sif").absolute())
    (site / "bin/apptainer").unlink()
    name, notice = container_for("none", DEFAULT_IMAGE, "scribble")
    assert (name, notice) == ("none", f"there is no container engine; {site}/bin/scribble is used")
    for hosted, program in (("docker://a/b", "scribble"), (DEFAULT_IMAGE, "nosuch")):
        with pytest.raises(PipelineError, match="no container engine on PATH"):
            container_for("none", hosted, program)


@pytest.mark.parametrize("hosted", ["me/wsclean", "docker:/me/wsclean", "dokcer://me/wsclean", "wsclean.sif"])
def test_hosted_image_must_be_reference(site: Path, hosted: str) -> None:
    with pytest.raises(PipelineError, match=f"is '{hosted}'; a reference is needed that begins with one of docker://"):
        container_for("none", hosted, "scribble")


def test_docker_takes_no_container_files(site: Path) -> None:
    (site / "bin/apptainer").rename(site / "bin/docker")
    (site / "image.sif").touch()
    with pytest.raises(PipelineError, match=r"docker takes no container files, as .*/image.sif is; install apptainer"):
        launcher(f"{site}/image.sif", "scribble")


def test_docker_without_its_daemon_is_no_engine(site: Path) -> None:
    (site / "bin/apptainer").unlink()
    make_program(site / "bin/docker", "#!/bin/sh\nexit 1\n")
    assert container_for("none", DEFAULT_IMAGE, "scribble")[0] == "none"
    with pytest.raises(PipelineError, match="docker has no daemon that answers; start it, or install one of apptainer"):
        pull_image("docker://a/b")


@pytest.mark.parametrize(
    ("image", "problem"), [("nosuch.sif", "no container or program"), ("ftp://a", "one of docker://, oras://")]
)
def test_impossible_image_is_refused(site: Path, image: str, problem: str) -> None:
    with pytest.raises(PipelineError, match=problem):
        launcher(image, "scribble")


def test_unstartable_engine_is_reported(site: Path) -> None:
    (site / "bin/apptainer").write_text("#!/no/such/interpreter\n")
    with pytest.raises(PipelineError, match="apptainer: cannot be started"):
        pull_image("docker://a/b")


def test_main_executes_program(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(container.os, "execvp", lambda name, command: seen.append(command))
    container.main(["", "scribble", "--", "-x"])
    container.main([str(site / "image.sif"), "scribble", "--", "-x"])
    assert seen[0] == ["scribble", "-x"]
    assert seen[1][0] == str(site / "bin/apptainer")
    assert seen[1][-2:] == ["scribble", "-x"]
