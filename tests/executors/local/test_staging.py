"""Directories of one job, and outputs that appear when they are complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.executors.local import process as module
from lofarpipe.executors.local.process import (
    MARKER,
    REPLACED,
    commit,
    directories_of,
    expand_directories,
    make_directories,
    remove_directories,
    remove_directory,
)
from lofarpipe.jobs import Job, Staged
from lofarpipe.state import scratch
from lofarpipe.state.scratch import Marker

MARKED = [MARKER, scratch.LOCK, scratch.MARKER]


def job(tmp_path: Path, **changes: object) -> Job:
    facts = {"name": "step/000", "argv": ("true",), "workdir": tmp_path, "log": tmp_path / "0.log"}
    return Job(**{**facts, **changes})  # type: ignore[arg-type]


def with_tempdir(tempdir: Path) -> Job:
    return job(tempdir.parent, tempdir=tempdir)


@pytest.fixture
def staged(tmp_path: Path) -> Staged:
    stage = Staged((), tmp_path / ".x.incomplete", tmp_path)
    make_directories(job(tmp_path, staged=stage))
    return stage


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_job_without_directories_needs_none(tmp_path: Path) -> None:
    make_directories(job(tmp_path))
    remove_directories(job(tmp_path))
    assert names(tmp_path) == []


def test_directories_are_made_and_removed(tmp_path: Path) -> None:
    one = job(tmp_path, tempdir=tmp_path / "scratch" / "000", staged=Staged((), tmp_path / "out" / ".s", tmp_path))
    make_directories(one)
    assert directories_of(one) == [tmp_path / "scratch" / "000", tmp_path / "out" / ".s"]
    assert Marker.read(one.tempdir or tmp_path) == Marker(str(tmp_path.parents[1]), "step", "000")
    for directory in directories_of(one):
        assert names(directory) == ([MARKER] if directory != one.tempdir else MARKED)
        (directory / "deep").mkdir()
        (directory / "deep" / "file").write_text("much")
        (directory / "link").symlink_to(tmp_path)
    remove_directories(one)
    assert names(tmp_path) == ["out", "scratch"]
    assert names(tmp_path / "out") == names(tmp_path / "scratch") == []
    remove_directories(one)


def test_directory_of_earlier_attempt_is_emptied(tmp_path: Path) -> None:
    one = with_tempdir(tmp_path / "000")
    make_directories(one)
    (tmp_path / "000" / "old").touch()
    make_directories(one)
    assert names(tmp_path / "000") == MARKED


def test_empty_directory_is_reused(tmp_path: Path) -> None:
    (tmp_path / "000").mkdir()  # the engine was killed before it could write the marker
    make_directories(with_tempdir(tmp_path / "000"))
    assert names(tmp_path / "000") == MARKED


def test_foreign_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "precious").touch()
    with pytest.raises(PipelineError, match=r"temporary directory .*/data exists already, and it is removed after"):
        make_directories(with_tempdir(tmp_path / "data"))
    assert names(tmp_path / "data") == ["precious"]


def test_impossible_directory_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match=r"temporary directory .*/000 cannot be made: .*Not a directory"):
        make_directories(with_tempdir(tmp_path / "file" / "000"))


def test_marker_is_removed_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_directories(with_tempdir(tmp_path / "000"))
    (tmp_path / "000" / "stubborn").touch()
    (tmp_path / "000" / "weak").touch()
    real = Path.unlink

    def unlink(self: Path) -> None:
        if self.name == "stubborn":
            raise PermissionError(13, "Permission denied", str(self))
        real(self)

    monkeypatch.setattr(Path, "unlink", unlink)
    remove_directory(tmp_path / "000")
    assert names(tmp_path / "000") == sorted([MARKER, "stubborn"])


def test_new_files_and_sets_get_their_names(tmp_path: Path, staged: Staged) -> None:
    (staged.directory / "image.fits").write_text("new")
    (staged.directory / "a.ms" / "ANTENNA").mkdir(parents=True)
    (staged.directory / "a.ms" / "table.dat").write_text("new")
    (staged.directory / "nowhere").symlink_to("nothing")
    commit(staged)
    assert names(tmp_path) == [".x.incomplete", "a.ms", "image.fits", "nowhere"]
    assert names(staged.directory) == [MARKER]
    assert names(tmp_path / "a.ms") == ["ANTENNA", "table.dat"]


def test_empty_stage_moves_nothing(tmp_path: Path, staged: Staged) -> None:
    commit(staged)
    assert names(tmp_path) == [".x.incomplete"]


def test_old_outputs_are_replaced(tmp_path: Path, staged: Staged) -> None:
    (tmp_path / "image.fits").write_text("old")
    (tmp_path / "a.ms").mkdir()
    (tmp_path / "a.ms" / "of_old").touch()
    (tmp_path / "b.ms").write_text("a file")
    for name in ("a.ms", "b.ms"):
        (staged.directory / name).mkdir()
        (staged.directory / name / "of_new").touch()
    (staged.directory / "image.fits").write_text("new")
    commit(staged)
    assert (tmp_path / "image.fits").read_text() == "new"
    assert names(tmp_path / "a.ms") == names(tmp_path / "b.ms") == ["of_new"]
    assert names(staged.directory / REPLACED) == ["a.ms", "b.ms"]
    remove_directory(staged.directory)
    assert names(tmp_path) == ["a.ms", "b.ms", "image.fits"]


def test_link_is_replaced_and_target_stays(tmp_path: Path, staged: Staged) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.ms").symlink_to(tmp_path / "elsewhere")
    (staged.directory / "a.ms").mkdir()
    commit(staged)
    assert not (tmp_path / "a.ms").is_symlink()
    remove_directory(staged.directory)
    assert names(tmp_path) == ["a.ms", "elsewhere"]


def test_failed_move_restores_old_output(tmp_path: Path, staged: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    for where in (tmp_path, staged.directory):
        (where / "a.ms").mkdir()
    (tmp_path / "a.ms" / "of_old").touch()
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == staged.directory / "a.ms":
            raise OSError(28, "No space left on device", str(target))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(PipelineError, match=r"outputs are complete, and .*No space left .*; free some space"):
        commit(staged)
    assert names(tmp_path / "a.ms") == ["of_old"]


def test_removed_stage_is_reported(staged: Staged) -> None:
    remove_directory(staged.directory)
    with pytest.raises(PipelineError, match=r"could not be moved .*incomplete: No such file or directory; somebody"):
        commit(staged)


@pytest.mark.parametrize(("files", "size", "waited_for"), [(2, 10, 2), (3, 10, 0), (1, 101, 0)])
def test_few_small_files_are_synced(
    tmp_path: Path, staged: Staged, monkeypatch: pytest.MonkeyPatch, files: int, size: int, waited_for: int
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(module, "SYNC_FILES", 2)
    monkeypatch.setattr(module, "SYNC_BYTES", 100)
    monkeypatch.setattr(module.os, "fsync", synced.append)
    for number in range(files):
        # Beside the marker, which is one of them.
        (staged.directory / str(number)).write_text("x" * size)
    (staged.directory / MARKER).unlink()
    commit(staged)
    assert len(synced) == waited_for + 1  # and the directory in which the names are


def test_outputs_are_renamed_or_dropped(tmp_path: Path) -> None:
    renames = ((r"-psf\.fits$", ""), (r"-(\d+)-(\w+)\.fits$", r"-\1-V-\2.fits"))
    stage = Staged((), tmp_path / ".x.incomplete", tmp_path, renames=renames)
    make_directories(job(tmp_path, staged=stage))
    for name in ("a-0000-image.fits", "a-0000-psf.fits", "a.txt"):
        (stage.directory / name).write_text(name)
    assert commit(stage) == [f"{tmp_path}/a-0000-V-image.fits", f"{tmp_path}/a.txt"]
    assert (tmp_path / "a-0000-V-image.fits").read_text() == "a-0000-image.fits"


def test_foreign_file_system_outputs_land_beside_destination(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system at /dev/shm")
    place = memory / f"lofarpipe-test-{tmp_path.name}"
    stage = Staged((), place, tmp_path / "out", landing=tmp_path / "out/.x.incomplete")
    one = job(tmp_path, staged=stage)
    make_directories(one)
    (place / "a.fits").write_text("new")
    (place / "tree.ms").mkdir()
    assert commit(stage) == [f"{tmp_path}/out/a.fits", f"{tmp_path}/out/tree.ms"]
    remove_directories(one)
    assert names(tmp_path / "out") == ["a.fits", "tree.ms"]
    assert not place.exists()


def test_variables_are_expanded_on_executing_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH_HERE", str(tmp_path))
    stage = Staged(("p", "-name", "$(SCRATCH_HERE)/s/x"), Path("$(SCRATCH_HERE)/s"), tmp_path)
    one = job(tmp_path, argv=("p", "-t", "$SCRATCH_HERE/t"), tempdir=Path("$SCRATCH_HERE/t"), staged=stage)
    here = expand_directories(one)
    assert (here.argv, here.tempdir) == (("p", "-t", f"{tmp_path}/t"), tmp_path / "t")
    assert here.staged is not None
    assert (here.staged.argv, here.staged.directory) == (("p", "-name", f"{tmp_path}/s/x"), tmp_path / "s")
    assert expand_directories(here) is here


def test_unset_variable_is_error(tmp_path: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"temporary directory \$NO_SUCH_PLACE/t: that is .* here; set the variable"
    ):
        expand_directories(job(tmp_path, tempdir=Path("$NO_SUCH_PLACE/t")))
