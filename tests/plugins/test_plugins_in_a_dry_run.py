"""Plugins in a dry run: written places, predicted outputs, searched directories."""

from pathlib import Path

import pytest

from loading import load_script
from lofarpipe.errors import PipelineError
from lofarpipe.pipeline.plugins import declared
from lofarpipe.support.data_map import DataMap, DataProduct

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
DIRECTORIES_ONLY = {"makeDirectory"}  # it gives nothing, and is not called


def files_of_map(outputs: dict[str, str]) -> list[str]:
    return [product.file for product in DataMap.load(outputs["mapfile"]).data]


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("PipelineStep_*.py")), ids=lambda path: path.stem)
def test_every_plugin_supports_dry_runs(path: Path) -> None:
    if path.stem.partition("_")[2] in DIRECTORIES_ONLY:
        assert declared(path, "OUTPUTS") == ()
    else:
        assert declared(path, "DRY_RUN_WRITES") is not None


@pytest.fixture
def tell(tmp_path: Path):
    """Return a function that calls copyFiles as a dry run does."""
    plugin = load_script("PipelineStep_copyFiles")
    place = {"mapfile_dir": str(tmp_path), "filename": "x.mapfile", "hosts": "[a, b]"}
    return lambda source, names, *flag: plugin.plugin_dry_run([], *place.values(), names, source, *flag)


def test_dry_run_only_predicts_delivery(tell, tmp_path: Path) -> None:
    """The source is not there yet."""
    outputs = tell(f"{tmp_path}/none.fits", f"[{tmp_path}/out/1.fits, {tmp_path}/out/2.fits]")
    assert files_of_map(outputs) == [f"{tmp_path}/out/1.fits", f"{tmp_path}/out/2.fits"]
    assert [product.host for product in DataMap.load(outputs["mapfile"]).data] == ["a", "b"]
    assert not (tmp_path / "out").exists()


def test_empty_outputs_keep_the_file(tell, tmp_path: Path) -> None:
    given = tmp_path / "in.mapfile"
    DataMap([DataProduct("localhost", "<make:image:000>", False)]).save(given)
    assert files_of_map(tell(str(given), "[]")) == ["<make:image:000>"]


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (("/x.fits", "[@/in]"), "in is a directory; give the name of a file"),
        (("/x.fits", "[@/a, @/a]"), "occurs twice"),
        (("/x.fits", "[]", "perhaps"), "use_symlinks is 'perhaps'"),
        (("[/x.fits, /y.fits]", "[]"), "names 2 files"),
    ],
)
def test_dry_run_refuses_wrong_delivery(tell, tmp_path: Path, more: tuple[str, ...], match: str) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(PipelineError, match=match):
        tell(*(text.replace("@", str(tmp_path)) for text in more))


def test_dry_run_creates_no_results_directory(tmp_path: Path) -> None:
    plugin = load_script("PipelineStep_makeResultsMapfile")
    given = tmp_path / "in.mapfile"
    DataMap([DataProduct("localhost", "/data/a.fits", False)]).save(given)
    call = {"mapfile_in": str(given), "target_dir": f"{tmp_path}/out", "mapfile_dir": str(tmp_path), "filename": "x"}
    assert files_of_map(plugin.plugin_dry_run([], **call, make_target_dir="True")) == [f"{tmp_path}/out/a.fits"]
    assert not (tmp_path / "out").exists()
    with pytest.raises(PipelineError, match="make_target_dir is 'perhaps'"):
        plugin.plugin_dry_run([], **call, make_target_dir="perhaps")


def test_plugins_declare_search_directories(tmp_path: Path) -> None:
    given = tmp_path / "[a]*.mapfile"  # a map, whatever its name
    DataMap([DataProduct("localhost", "/data/a*.fits", False)]).save(given)
    listed = load_script("PipelineStep_addListMapfile").plugin_looks_at
    assert listed(files="[/data/L?_SB*.MS, /data/a.MS, in/[ab].MS, *.MS]") == ["/data", "in", "."]
    assert listed(files=str(given)) == []
    for name in ("createMapfile", "addMapfile"):
        looks_at = load_script(f"PipelineStep_{name}").plugin_looks_at
        assert looks_at(folder="/data", filename="x") == ["/data"]
        assert looks_at(mapfile_in="/data/x") == []
