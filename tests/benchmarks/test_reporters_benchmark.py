"""The benchmark of the reporters runs, and prints what each costs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "reporters.py"


@pytest.fixture
def reporters(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    import reporters as module

    return module


def test_each_reporter_is_counted(tmp_path: Path) -> None:
    argv = [sys.executable, BENCHMARK, "--jobs", "3", "6", "--repeat", "1", "--directory", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # with so few jobs the limit means nothing
    assert done.stdout.startswith("3 and 6 jobs; ")
    for name in ("ClassicLog", "Statistics", "LiveTerminal", "RunRecord", "PageWriter", "thread of LiveTerminal"):
        assert re.search(rf"^  {name}( +-?\d+ ms){{2}} +-?\d+ us +\d+ ms$", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"all but the page, per job: +-?[\d.]+% of the run, limit 1%: (ok|MISSED)", done.stdout)
    assert "  Reporter " not in done.stdout  # it is what the counting costs
    assert list(tmp_path.iterdir()) == []


def test_what_a_job_costs_follows_from_two_sizes(reporters: ModuleType) -> None:
    # 2000 jobs more cost 6 s more: 3 ms each. The log: 0.06 s more, 30 us each, which is 1 % of it; 0.01 s are fixed.
    small = reporters.Costs(3.5, {"Log": 0.04, "PageWriter": 0.3})
    large = reporters.Costs(9.5, {"Log": 0.10, "PageWriter": 0.5})
    lines, is_kept = reporters.table((1000, 3000), (small, large), (small, large))
    text = "\n".join(lines)
    assert re.search(r"Log +40 ms +100 ms +30 us +10 ms", text)
    assert re.search(r"PageWriter +300 ms +500 ms +100 us +200 ms", text)
    assert re.search(r"the run +3.50 s +9.50 s +3000 us", text)
    assert "the page, per job:   3.33% of the run" in text
    assert "fixed: 210 ms, of it 200 ms for the page" in text
    assert "with over without: 1.000, 1.000" in text
    assert not is_kept
    assert "1.00% of the run, limit 1%: MISSED" in text


def test_the_limit_is_of_what_is_told_alone(reporters: ModuleType) -> None:
    small, large = reporters.Costs(1.0, {"PageWriter": 0.1}), reporters.Costs(2.0, {"Log": 0.005, "PageWriter": 0.9})
    lines, is_kept = reporters.table((10, 20), (small, large), (small, large))
    assert is_kept
    assert any("0.50% of the run, limit 1%: ok" in line for line in lines)


def test_medians_are_of_each_alone(reporters: ModuleType) -> None:
    costs = reporters.Costs
    found = costs.median([costs(3.0, {"a": 1.0}), costs(1.0, {"a": 5.0, "b": 0.3}), costs(2.0, {"a": 2.0})])
    assert found.total == 2.0
    assert found.of == {"a": 2.0, "b": 0.0}
