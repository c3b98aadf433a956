"""The benchmark of the reporters runs, and prints their costs."""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "reporters.py"
NUMBERS = r"( +-?\d+ ms){2} +-?\d+ us +\d+ ms"


@pytest.fixture
def reporters(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    import reporters as module

    return module


def test_every_job_kind_and_reporter_is_measured(tmp_path: Path) -> None:
    sizes = ["--jobs", "3", "6", "--scripts", "1", "2"]
    argv = [sys.executable, BENCHMARK, *sizes, "--repeat", "1", "--directory", tmp_path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr  # with so few jobs the limit means nothing
    assert "\n/bin/true: 3 and 6 jobs\n" in done.stdout
    assert "\npython3 -c pass: 1 and 2 jobs\n" in done.stdout
    names = (
        "ClassicLog",
        "Statistics",
        "LiveTerminal",
        "RunRecord",
        "PageWriter",
        "thread of LiveTerminal",
        "RunState",
    )
    for name in ("imports", "making them", *names, "the run", "all but the page", "the page"):
        assert re.search(rf"^  {name}{NUMBERS}$", done.stdout, re.MULTILINE), (name, done.stdout)
    for part in ("all but the page", "with the page"):
        verdicts = re.findall(rf"of a run of 1000 jobs, {part}: -?[\d.]+%, limit 1%: (?:ok|MISSED)", done.stdout)
        assert len(verdicts) == 2
    assert list(tmp_path.iterdir()) == []


def test_page_is_counted_separately(reporters: ModuleType) -> None:
    counted = {"Stream": 0.5, "PageWriter": 0.2, "RunState": 0.03, "imports": 0.04}
    costs = reporters.Costs.found(9.0, {**counted, "thread of LiveTerminal": 0.05})
    assert costs.total == 9.0
    assert costs.page == 0.2
    assert costs.told == pytest.approx(0.3 + 0.03 + 0.04 + 0.05)


def test_measurement_overhead_is_subtracted(reporters: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 1.5, 1.6, 2.0, 2.2, 2.5])  # before, after, and after nothing, twice
    monkeypatch.setattr(reporters.time, "thread_time", lambda: next(clock))
    costs = {"a": 0.0}
    work = reporters.counted(lambda number: number + 1, costs, "a")
    assert (work(1), work(2)) == (2, 3)
    assert costs["a"] == pytest.approx(0.5 - 0.1 + 0.2 - 0.3)


def test_handled_events_are_measured(reporters: ModuleType) -> None:
    class Told:
        """Hears of two events."""

        def second(self) -> str:
            return "second"

        def third(self) -> str:
            return "third"

    costs = {"Told": 0.0}
    third = Told.third
    reporters.count_events(Told, costs, ["first", "second"])
    assert not hasattr(Told, "first")
    assert Told.third is third
    assert Told().second() == "second"
    assert costs["Told"] != 0.0


def test_two_sizes_give_cost_per_job(reporters: ModuleType) -> None:
    # 2000 jobs more cost 6 s more: 3 ms each. All but the page: 0.06 s more, 30 us each; 0.01 s are fixed.
    small = reporters.Costs(3.5, {"Stream": 0.04, "PageWriter": 0.3})
    large = reporters.Costs(9.5, {"Stream": 0.10, "PageWriter": 0.5})
    lines, is_kept = reporters.verdict("true", (1000, 3000), ([small], [large]))
    text = "\n".join(lines)
    assert re.search(r"the run +3500 ms +9500 ms +3000 us +500 ms", text)
    assert re.search(r"all but the page +40 ms +100 ms +30 us +10 ms", text)
    assert re.search(r"the page +300 ms +500 ms +100 us +200 ms", text)
    assert "of a run of 1000 jobs, all but the page: 1.14%, limit 1%: MISSED" in text  # 0.04 / 3.5
    assert "of a run of 1000 jobs, with the page: 9.71%, limit 1%: MISSED" in text  # 0.34 / 3.5
    assert "noise: the runs of 3000 jobs took 9.50 to 9.50 s" in text
    assert not is_kept


@pytest.mark.parametrize(("page", "share", "kept"), [(0.004, "0.90%, limit 1%: ok", True), (0.02, "2.50%", False)])
def test_limit_includes_page(reporters: ModuleType, page: float, share: str, kept: bool) -> None:
    # At 1000 jobs by the line through 10 and 20: 100 s of the run, 0.5 s of reports, and 0.4 or 2 s for the page.
    small = reporters.Costs(1.0, {"Stream": 0.005 + page, "PageWriter": page})
    large = reporters.Costs(2.0, {"Stream": 0.010 + 2 * page, "PageWriter": 2 * page})
    found = [reporters.Costs.found(costs.total, dict(costs.of)) for costs in (small, large)]
    lines, is_kept = reporters.verdict("true", (10, 20), ([found[0]], [found[1]]))
    assert is_kept is kept
    assert any("all but the page: 0.50%, limit 1%: ok" in line for line in lines)
    assert any(f"with the page: {share}" in line for line in lines)


def test_reporters_are_sorted_by_cost(reporters: ModuleType) -> None:
    small, large = reporters.Costs(1.0, {"a": 0.01}), reporters.Costs(2.0, {"a": 0.02, "b": 0.1})
    title, first, second = reporters.each_alone((10, 20), ([small], [large]))
    assert title == "each counted alone:"
    assert (first.split()[0], second.split()[0]) == ("b", "a")
    assert re.search(r"a +10 ms +20 ms +1000 us +0 ms", second)


def test_medians_are_taken_per_reporter(reporters: ModuleType) -> None:
    costs = reporters.Costs
    found = costs.median([costs(3.0, {"a": 1.0}), costs(1.0, {"a": 5.0, "b": 0.3}), costs(2.0, {"a": 2.0})])
    assert found.total == 2.0
    assert found.of == {"a": 2.0, "b": 0.0}


def test_function_time_is_thread_time(reporters: ModuleType) -> None:
    costs = {"busy": 0.0}

    def fail() -> None:
        assert reporters.INSIDE.depth == 1
        raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        reporters.counted(fail, costs, "busy")()
    assert costs["busy"] > 0.0
    assert reporters.INSIDE.depth == 0
