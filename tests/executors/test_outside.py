"""Executors of installed packages, which name them as entry points."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from doc_pages import REPOSITORY, blocks
from lofarpipe.config import Overrides, Settings, load_settings
from lofarpipe.errors import CheckFailed, PipelineError
from lofarpipe.executors.factory import all_methods, end_earlier, make_executor, methods, unused_sections
from lofarpipe.jobs import Resources, executor_name

(LOWLY,) = (
    block.text for block in blocks(REPOSITORY / "doc" / "add_a_step.md") if block.file.endswith("lowly/__init__.py")
)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of installed packages with one that has executors."""
    site = tmp_path / "site"
    facts = site / "outside-1.2.dist-info"
    facts.mkdir(parents=True)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.2\n")
    points = ("lowly", "broken", "empty", "half", "local")
    lines = [f"{name} = outside_{name}" for name in points]
    (facts / "entry_points.txt").write_text("\n".join(["[genericpipeline.executors]", *lines, ""]))
    (site / "outside_lowly.py").write_text(
        f"{LOWLY}\n\nENDED = []\n\n\ndef end_earlier(orders):\n    ENDED.append(orders)\n"
    )
    (site / "outside_broken.py").write_text("import no_such_module\n")
    (site / "outside_empty.py").touch()
    (site / "outside_half.py").write_text("SECTION = 'half'\n\n\ndef make(settings):\n    pass\n")
    monkeypatch.syspath_prepend(str(site))
    all_methods.cache_clear()
    yield site
    all_methods.cache_clear()
    for name in points:
        sys.modules.pop(f"outside_{name}", None)


def settings(directory: Path, text: str) -> Settings:
    config = directory / "pipeline.cfg"
    config.write_text(f"[DEFAULT]\nruntime_directory = {directory}\nworking_directory = {directory}\n{text}\n")
    return load_settings(directory / "run.parset", Overrides(config=str(config)))


def test_package_executor_is_method(package: Path, tmp_path: Path) -> None:
    executor = make_executor(settings(tmp_path, "[remote]\nmethod = lowly\ncores = 3\n[lowly]\nniceness = 5"))
    assert executor_name(executor) == "lowly"
    assert executor.capacity() == Resources(3, 1.0)
    assert (executor.notices, executor.on_notice) == ([], None)
    executor.close()


def test_package_section_is_checked(package: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckFailed, match=r"\[lowly\] has no key 'nicenes'; did you mean 'niceness'"):
        make_executor(settings(tmp_path, "[remote]\nmethod = lowly\n[lowly]\nnicenes = 5"))
    with pytest.raises(CheckFailed, match=r"there is no such section; did you mean \[lowly\]"):
        make_executor(settings(tmp_path, "[lowlly]"))
    (warning,) = unused_sections(settings(tmp_path, "[lowly]\nniceness = 50"))
    assert warning.what.endswith("0 to 19 is needed; not in use while method = local")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("broken", "(outside_broken) cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'"),
        ("empty", "(outside_empty) has no make, SECTION; see doc/add_an_executor.md"),
        ("half", "(outside_half) has no section_type; see doc/add_an_executor.md"),
    ],
)
def test_unusable_executor_is_reported(package: Path, tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(PipelineError) as raised:
        make_executor(settings(tmp_path, f"[remote]\nmethod = {name}"))
    assert str(raised.value) == f"{tmp_path}/pipeline.cfg:5: the executor '{name}' of outside 1.2 {said}"


def test_builtin_methods_are_not_replaced(package: Path, tmp_path: Path) -> None:
    assert all_methods()["local"] is methods()["local"]
    with pytest.raises(CheckFailed, match="one of local, dask, slurm, ssh, lowly, broken, empty, half is needed"):
        make_executor(settings(tmp_path, "[remote]\nmethod = nothing"))


def test_builtin_method_searches_no_packages(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lofarpipe.executors.factory.all_methods", lambda: pytest.fail("asked"))
    given = settings(tmp_path, "[remote]\nmethod = local\n[slurm]\npartition = long")
    make_executor(given).close()
    assert unused_sections(given) == []


def test_jobs_of_earlier_runs_are_ended(package: Path, tmp_path: Path) -> None:
    (tmp_path / "run" / "jobs").mkdir(parents=True)
    end_earlier(settings(tmp_path, ""))
    ended = all_methods()["lowly"].ENDED
    assert ended == [tmp_path / "run" / "jobs"]
