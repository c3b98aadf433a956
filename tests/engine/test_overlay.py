"""Files of a dry run: written in one place, known under another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lofarpipe.engine.prediction import PLACEHOLDER, Overlay, placeholder
from lofarpipe.errors import PipelineError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "overlay").mkdir()
    return tmp_path / "overlay"


@pytest.fixture
def overlay(root: Path) -> Overlay:
    return Overlay(root)


def write(overlay: Overlay, name: str, text: str = "") -> None:
    Path(overlay.write_path(name)).write_text(text)


def test_written_file_is_found_in_overlay(overlay: Overlay, root: Path) -> None:
    assert overlay.read_path("/job/x.mapfile") == "/job/x.mapfile"
    assert overlay.write_path("/job/x.mapfile") == f"{root}/job/x.mapfile"
    assert overlay.read_path("/job/x.mapfile") == f"{root}/job/x.mapfile"
    assert overlay.read_path("/job/y.mapfile") == "/job/y.mapfile"
    assert (root / "job").is_dir()
    assert overlay.write_path(f"{root}/job/x.mapfile") == f"{root}/job/x.mapfile"  # whoever has the place itself


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("/job/x.mapfile", "@/job/x.mapfile"),
        ("/job//maps/../x.mapfile", "@/job/x.mapfile"),
        ("[/job/x.mapfile, /job/no.mapfile,/other/x.mapfile]", "[@/job/x.mapfile, /job/no.mapfile,/other/x.mapfile]"),
        ("-map=/job/x.mapfile", "-map=@/job/x.mapfile"),
        ("/job/x.mapfile.old", "/job/x.mapfile.old"),
        ("/a/job/x.mapfile", "/a/job/x.mapfile"),
        ("/data/with blank/x.mapfile", "@/data/with blank/x.mapfile"),
        ("['/data/with blank/x.mapfile']", "['@/data/with blank/x.mapfile']"),
        ("x.mapfile", "x.mapfile"),
        ("/job", "/job"),
        ("@/job/x.mapfile", "@/job/x.mapfile"),
    ],
)
def test_text_names_are_redirected(overlay: Overlay, root: Path, text: str, there: str) -> None:
    assert overlay.to_overlay_names(text) == text  # nothing was written
    write(overlay, "/job/x.mapfile")
    write(overlay, "/data/with blank/x.mapfile")
    assert overlay.to_overlay_names(text.replace("@", str(root))) == there.replace("@", str(root))
    assert overlay.to_run_names(overlay.to_overlay_names(text)).replace("@", "") in (
        text.replace("@", ""),
        "/job/x.mapfile",
    )


def test_relative_name_is_redirected(overlay: Overlay, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root.parent)
    write(overlay, "maps/x.mapfile")
    assert overlay.to_overlay_names("maps/x.mapfile") == f"{root}{root.parent}/maps/x.mapfile"


def test_nested_names_are_redirected(overlay: Overlay, root: Path) -> None:
    thing = {f"{root}/a": [f"x={root}/b", 1, None, True, (f"{root}/c", 2.5)], "path": Path(f"{root}/d")}
    assert overlay.to_run_names(thing) == {"/a": ["x=/b", 1, None, True, ("/c", 2.5)], "path": Path("/d")}


def test_overlay_files_contain_real_names(overlay: Overlay, root: Path) -> None:
    (root / "job").mkdir()
    (root / "job/x.mapfile").write_text(f"[{{'file': '{root}/job/y'}}]")
    assert overlay.read_path("/job/x.mapfile") == "/job/x.mapfile"
    overlay.collect_files()
    assert Path(overlay.read_path("/job/x.mapfile")).read_text() == "[{'file': '/job/y'}]"
    mark = (root / "job/x.mapfile").stat().st_mtime_ns
    overlay.collect_files()
    assert (root / "job/x.mapfile").stat().st_mtime_ns == mark


def test_uncertain_files_are_listed(overlay: Overlay, root: Path) -> None:
    write(overlay, "/job/x.mapfile", f"[{placeholder('make', 'image', 7)}]")
    write(overlay, "/job/xy.mapfile", "<no such thing>")
    overlay.collect_files()
    assert overlay.uncertain_paths(f"[{root}/job/xy.mapfile]") == []
    assert overlay.uncertain_paths(f"{root}/job/x.mapfile") == ["/job/x.mapfile"]
    assert overlay.uncertain_paths(f"[{root}/job/x.mapfile,b]") == ["/job/x.mapfile"]
    write(overlay, "/job/x.mapfile", "[]")
    overlay.collect_files()
    assert overlay.uncertain_paths(f"{root}/job/x.mapfile") == []


def test_output_name_keeps_placeholder_whole() -> None:
    text = placeholder("make-it", "image_pb", 7)
    assert text == "<make-it:image_pb:007>"
    assert PLACEHOLDER.fullmatch(text)
    assert os.path.splitext(text) == (text, "")  # noqa: PTH122 - outputs are named so
    assert "/" not in text


def test_plugin_gets_overlay_places(overlay: Overlay, root: Path, tmp_path: Path) -> None:
    """A directory is there, a file's directory too, and a file that is there is there as well."""
    (tmp_path / "mine.mapfile").write_text("[]")
    given = {
        "mapfile_dir": "/job/maps",
        "mapfile_in": f"{tmp_path}/mine.mapfile",
        "result_parset": "/job/p/x",
        "n": "1",
    }
    places = overlay.places(["mapfile_dir", "mapfile_in", "result_parset", "absent"], {**given, "filename": "a/b"})
    assert places == {key: f"{root}{given[key]}" for key in ("mapfile_dir", "mapfile_in", "result_parset")}
    assert (root / "job/maps").is_dir()
    assert (root / "job/p").is_dir()
    assert Path(places["mapfile_in"]).read_text() == "[]"
    Path(places["mapfile_in"]).write_text("[1]")
    assert overlay.place("mapfile_in", given["mapfile_in"]) == places["mapfile_in"]
    assert Path(places["mapfile_in"]).read_text() == "[1]"  # not copied a second time
    assert (tmp_path / "mine.mapfile").read_text() == "[]"


@pytest.mark.parametrize("key", ["filename", "newname", "outmapname"])
@pytest.mark.parametrize("name", ["/data/x.mapfile", "../x.mapfile", "a/../../x"])
def test_name_outside_place_is_refused(overlay: Overlay, key: str, name: str) -> None:
    with pytest.raises(PipelineError, match=f"{key} is .*, and a dry run writes below the directory that is given"):
        overlay.places(["mapfile_dir"], {"mapfile_dir": "/job", key: name})


def test_overlay_directories_are_recognised(overlay: Overlay) -> None:
    write(overlay, "/job/maps/x")
    assert overlay.has_folder("/job/maps")
    assert overlay.has_folder("/job/maps/")
    assert not overlay.has_folder("/job")
