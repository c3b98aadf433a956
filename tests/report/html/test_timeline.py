"""The geometry of the timeline: bars, outlines of many jobs, and resource use."""

from __future__ import annotations

import re
from typing import Any

import pytest

from journal_events import state_of
from lofarpipe.report.html.timeline import BINS, LEFT, MOST_BARS, ROW, WIDTH, Timeline, timeline
from lofarpipe.state.run_state import RunState

SPAN = WIDTH - LEFT - 20.0  # 730


def step(name: str, start_s: float, end_s: float, jobs: int = 0) -> list[dict[str, Any]]:
    return [
        {"event": "step_started", "time_s": start_s, "step": name, "type": "dp3", "jobs": jobs},
        {"event": "step_done", "time_s": end_s, "step": name, "jobs": jobs, "failed": 0},
    ]


def job(step_name: str, place: int, start_s: float, duration_s: float, **facts: Any) -> list[dict[str, Any]]:
    known = {"step": step_name, "job": f"{step_name}/{place:03d}", "start_s": start_s}
    done = {"duration_s": duration_s, "cpu_s": 2 * duration_s, "max_rss_mb": 1000.0, "exit_code": 0, **facts}
    return [{"event": "job_started", **known}, {"event": "job_done", **known, **done}]


def drawn(events: list[dict[str, Any]], **facts: Any) -> Timeline:
    """The drawing of events between 1000 and 1100 s."""
    started = {"event": "run_started", "time_s": 1000.0, **facts}
    made = timeline(state_of([started, *events]))
    assert made is not None
    return made


def test_run_without_steps_has_no_timeline() -> None:
    assert timeline(RunState()) is None
    assert timeline(state_of([{"event": "run_started", "time_s": 1.0, "steps": ["a"]}])) is None


def test_steps_of_earlier_runs_are_not_drawn() -> None:
    made = drawn([*step("a", 1000, 1050), {"event": "run_started", "time_s": 5000.0}, *step("b", 5000, 5010)])
    assert [row.label for row in made.rows] == ["b"]
    assert made.begins == "1970-01-01 01:23:20 UTC"


def test_step_without_jobs_is_one_bar() -> None:
    made = drawn([*step("a", 1000, 1025), *step("b", 1025, 1100)])
    (first,), (second,) = (row.bars for row in made.rows)
    assert (first.x, first.width) == (LEFT, SPAN / 4)
    assert (second.x, second.width) == (LEFT + SPAN / 4, SPAN * 3 / 4)
    assert second.title == "b: 1 min 15 s"


def test_overlapping_jobs_have_separate_lanes() -> None:
    jobs = [*job("a", 0, 1000, 50), *job("a", 1, 1000, 100), *job("a", 2, 1050, 50)]
    (row,) = drawn([step("a", 1000, 1100, 3)[0], *jobs, step("a", 1000, 1100, 3)[1]]).rows
    assert [round((bar.y - row.y) / 8) for bar in row.bars] == [0, 1, 0]
    assert [bar.width for bar in row.bars] == [SPAN / 2, SPAN, SPAN / 2]
    assert row.bars[0].title == "a/000: 50 s, CPU 1 min 40 s, 1.00 GB"


def test_job_states_have_different_bars() -> None:
    events = [
        {"event": "step_started", "time_s": 1000, "step": "a", "jobs": 2},
        *job("a", 0, 1000, 50, exit_code=1, problem="exited with 1"),
        {"event": "job_started", "time_s": 1100, "step": "a", "job": "a/001", "start_s": 1050.0},
    ]
    (row,) = drawn(events).rows
    assert [bar.state for bar in row.bars] == ["failed", "running"]
    assert row.bars[0].title.endswith("exited with 1")
    assert row.bars[1].width == SPAN / 2  # to the last that was heard
    assert "runs" in row.bars[1].title


def test_short_jobs_have_minimum_width() -> None:
    (row,) = drawn([step("a", 1000, 1100, 1)[0], *job("a", 0, 1000, 0.001), step("a", 1000, 1100)[1]]).rows
    assert row.bars[0].width == 1.5


def many_jobs(count: int, **facts: Any) -> Timeline:
    started, done = step("a", 1000, 1100, count)
    jobs = [event for place in range(count) for event in job("a", place, 1000.0, 50.0)]
    return drawn([started, *jobs, *job("a", count, 1000, 50, exit_code=1, problem="bad"), done], **facts)


def test_many_jobs_become_outline_with_marks() -> None:
    (row,) = many_jobs(MOST_BARS).rows
    assert row.height == 2 * ROW
    # All of them for half of the time, then none.
    base, half, end = f"{row.y + 32:g}", f"{LEFT + SPAN / 2:.1f}", f"{LEFT + SPAN:.1f}"
    assert row.outline == f"M{LEFT:g} {base}H{LEFT:.1f}V{row.y:g}H{half}V{base}H{end}V{base}Z"
    assert row.title == f"a: {MOST_BARS + 1} jobs, up to {MOST_BARS + 1} at a time"
    (mark,) = row.bars
    assert (mark.state, mark.y + mark.height) == ("failed", row.y + row.height)


def test_too_many_lanes_become_an_outline() -> None:
    assert [bool(many_jobs(count).rows[0].outline) for count in (7, 8)] == [False, True]  # and one that failed


def test_resource_use_is_summed_over_jobs() -> None:
    made = many_jobs(1, cores=8, memory_gb=1000.0)  # two jobs of 2 cores and 1 GB
    assert [plot.label for plot in made.plots] == ["CPU", "memory"]
    cpu, memory = made.plots
    assert (cpu.top, cpu.limit) == ("8 cores", "8 cores there")
    assert cpu.limit_y == cpu.y
    assert f"V{cpu.y + 28:g}" in cpu.outline  # 4 of 8
    assert (memory.top, memory.limit_y) == ("2 GB", None)  # 1000 GB would flatten the curve


def test_unknown_resource_use_has_no_plot() -> None:
    assert drawn(step("a", 1000, 1100)).plots == ()


def test_many_iterations_share_a_row() -> None:
    made = drawn([event for count in range(70) for event in step(f"a@{count}", 1000 + count, 1001 + count)])
    (row,) = made.rows
    assert row.label == "a"
    assert row.title == "a: 70 iterations, up to 1 at a time"
    assert row.outline


def test_rows_are_limited() -> None:
    made = drawn([event for number in range(100) for event in step(f"s{number}", 1000, 1100)])
    assert len(made.rows) == 60
    assert made.rows[-1].label == "41 further steps"


def test_outline_size_is_bounded() -> None:
    outline = many_jobs(2000).rows[0].outline
    assert len(re.findall("V", outline)) <= BINS + 1


@pytest.mark.parametrize(
    ("seconds", "last"),
    [(100, "1:30"), (7, "0:07"), (90_000, "24:00:00"), (0.5, "0:00"), (100 * 604_800, "15288:00:00")],
)
def test_time_axis_has_round_ticks(seconds: float, last: str) -> None:
    ticks = drawn(step("a", 1000, 1000 + seconds)).ticks
    assert len(ticks) <= 9
    assert ticks[0] == (LEFT, "0:00")
    assert ticks[-1][1] == last
