"""The benchmark of many sets, with few: it runs, and its arithmetic is right."""

import pytest

from loading import load_script


@pytest.fixture(scope="module")
def benchmark():
    return load_script("many_sets")


def test_few_sets_are_measured(benchmark, tmp_path):
    (tmp_path / "3").mkdir()
    row = benchmark.measure(tmp_path, 3)
    assert row.sets == 3
    assert min(row.check.cpu_s, row.plan.cpu_s, row.runner.cpu_s) > 0.1
    assert min(row.check.memory_mb, row.plan.memory_mb, row.runner.memory_mb) > 20
    assert str(row).split()[0] == "3"


def test_failing_run_gives_reason(benchmark, tmp_path):
    with pytest.raises(RuntimeError, match="no such measurement set"):
        benchmark.run(tmp_path, ["--check", "image.parset", "-s", f"data_input_filenames=[{tmp_path}/a.MS]"])


def test_growth_is_ratio_of_cost_per_set(benchmark):
    cost = benchmark.Cost
    rows = [
        benchmark.Row(sets, cost(sets * factor, 50), cost(0, 50), cost(0, 50)) for sets, factor in ((244, 1), (2440, 3))
    ]
    assert benchmark.growth(rows) == pytest.approx(3)
