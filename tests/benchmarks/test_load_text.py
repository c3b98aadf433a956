"""The files that the benchmark of reading writes, and the line that it prints of each."""

import re

import pytest

from loading import load_script
from lofarpipe.support import map_text, parset_text
from lofarpipe.support.data_map import DataMap, MultiDataMap
from lofarpipe.support.parset import Parset


@pytest.fixture(scope="module")
def load_text():
    return load_script("load_text")


def test_files_have_ordinary_lines_and_entries(load_text, monkeypatch, tmp_path):
    monkeypatch.delattr(parset_text, "_other_line")
    monkeypatch.delattr(map_text._Reader, "_entry")
    quoted = Parset.parse("".join(load_text.quoted_lines(21)))
    assert list(quoted)[-1] == "step00001.argument.key00"
    assert quoted.vector("step00001.argument.key00") == ["/data/scratch/pipeline/L628614_SB0000020_uv.dppp.MS", "a=b#c"]
    assert len(Parset.parse("".join(load_text.short_lines(3)))) == 3
    assert len(Parset.parse("".join(load_text.long_lines(2, 5))).vector("step1.argument.msin")) == 5
    path = tmp_path / "map"
    path.write_text("".join(load_text.products(3)))
    assert [product.host for product in DataMap.load(path).data] == ["node000", "node001", "node002"]
    path.write_text("".join(load_text.lists(2)))
    assert [len(product.file) for product in MultiDataMap.load(path).data] == [10, 10]


def test_case_prints_one_line(load_text, tmp_path):
    case = load_text.Case("parset", "9 keys", lambda: load_text.short_lines(9), Parset.read)
    line = load_text.measure(case, tmp_path, repeat=2)
    assert re.fullmatch(r"parset: 9 keys +0\.0 MB +9 entries +\d+\.\d\d s +\d+\.\d B/B", line)


def test_kinds_are_chosen(load_text, monkeypatch, capsys):
    monkeypatch.setattr(load_text, "measure", lambda case, _directory, repeat: f"{case.kind} {repeat}")
    load_text.main(["--only", "multimap", "--repeat", "4"])
    assert capsys.readouterr().out == "multimap 4\n"
