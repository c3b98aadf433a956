"""The benchmark of the memory of cubes, on tiny images."""

import pytest

from loading import load_script


@pytest.mark.parametrize("more", [[], ["--blank"]])
def test_small_cubes_use_promised_memory(tmp_path, capsys, more):
    benchmark = load_script("cube_memory")
    assert benchmark.main(["--sizes", "64", "--channels", "2,3", "--directory", str(tmp_path), *more]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["64", "2"], ["64", "3"]]
    assert list(tmp_path.iterdir()) == []


def test_excess_memory_is_failure(tmp_path, monkeypatch, capsys):
    benchmark = load_script("cube_memory")
    monkeypatch.setattr(benchmark, "measure", lambda *_: {"peak_mb": 400.0, "cpu_s": 1.0})
    assert benchmark.main(["--sizes", "64", "--channels", "2", "--directory", str(tmp_path)]) == 1
    assert capsys.readouterr().out.endswith("more memory than promised\n")
