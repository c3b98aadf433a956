"""The maps of groups of measurement sets."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.parset_text import escaped
from lofarpipe.support.utilities import files_of

PLUGIN = Path(__file__).resolve().parents[2] / "plugins" / "PipelineStep_imageGroups.py"


def plugin_main(tmp_path: Path, **lists: str) -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("image_groups", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.plugin_main([], mapfile_dir=str(tmp_path), **lists)


def test_lists_become_maps_with_hosts(tmp_path: Path) -> None:
    outputs = plugin_main(tmp_path, hosts="[a, b]", sets="[[/A.MS, /B.MS], [/C.MS]]", names="[/x/img, /y/i m]")
    assert sorted(outputs) == ["names.mapfile", "sets.mapfile"]
    sets = DataMap.load(outputs["sets.mapfile"]).data
    assert [(product.host, product.file) for product in sets] == [("a", "[/A.MS,/B.MS]"), ("b", "[/C.MS]")]
    assert [product.file for product in DataMap.load(outputs["names.mapfile"]).data] == ["/x/img", "/y/i m"]


def test_escaped_characters_survive_in_maps(tmp_path: Path) -> None:
    names = ["/a, [b] {c}.MS", '/it\'s "q" 100% #1 $x \\.MS', "/plain.MS "]
    lists = {"hosts": "[a]", "names": f"[{escaped(names[0])}]", "sets": f"[[{', '.join(map(escaped, names))}]]"}
    outputs = plugin_main(tmp_path, **lists)
    assert [product.file for product in DataMap.load(outputs["names.mapfile"]).data] == [names[0]]
    assert files_of(DataMap.load(outputs["sets.mapfile"]).data[0].file) == names


def test_unequal_list_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="names has 1 entries, and hosts 2; one each is needed"):
        plugin_main(tmp_path, hosts="[a, b]", sets="[[/A.MS], [/B.MS]]", names="[x]")
