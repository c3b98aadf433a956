"""A run as lines of text."""

from __future__ import annotations

from typing import Any

import pytest

from journal_events import began, ended, event, job_began, job_ended, run_began, state_of
from lofarpipe.programs.base import Progress
from lofarpipe.report.board import Line, Moment, board, durations, time_left_s

NOW_S = 200.0


def shown(*events: dict[str, Any], now_s: float = NOW_S, height: int = 0, **progress: Progress) -> list[str]:
    said = {name.replace("_", "/"): what for name, what in progress.items()}
    return [line.text for line in board(state_of(events), Moment(now_s, said, height))]


def test_board_of_a_run_in_the_middle() -> None:
    lines = shown(
        run_began(100.0, ["create", "average", "image"], cores=4, memory_gb=24.5),
        event("plugin_done", 101.0, step="create", outputs={}, duration_s=0.5),
        began("average", 120.0, 4),
        job_began("average/000", 120.0, label="/d/L1_SB000.ms"),
        job_began("average/001", 120.0, label="/d/L1_SB001.ms"),
        job_ended("average/000", 160.0),
        average_001=Progress("45%", 0.45),
    )
    assert lines == [
        "field: running, 1 min 40 s; cores 2 of 4, memory 1.5 of 24.5 GB",
        "✓ create   0.5 s",
        # 1.45 of 4 jobs in 80 s: 80 x (4 / 1.45 - 1) = 141 s
        "▶ average  1/4, 1 min 20 s, about 2 min 21 s left",
        "    001 L1_SB001.ms 45%",
        "· image",
    ]


def test_title_shows_memory_in_use() -> None:
    state = state_of([run_began(100.0, ["a"]), began("a", 100.0, 1), job_began("a/000", 100.0)])
    title = board(state, Moment(NOW_S, {}, memory_gb=0.4712))[0].text
    assert title.endswith("; cores 2, memory 1.5 GB, 0.47 GB in use")
    over = state_of([run_began(100.0, ["a"]), event("run_ended", 101.0, ok=True)])
    assert board(over, Moment(NOW_S, {}, memory_gb=0.4712))[0].text == "field: done, 1.0 s"


def test_states_have_their_styles_and_marks() -> None:
    events = [
        run_began(100.0, ["a", "b", "c"]),
        event("step_skipped", 101.0, step="a", jobs=3),
        began("b", 102.0, 2),
        job_ended("b/000", 103.0, 1),
        event("step_failed", 104.0, step="b", problem="no"),
        event("run_ended", 104.0, ok=False, problem="no", signal=None),
    ]
    state = state_of(events)
    lines = board(state, Moment(NOW_S, {}, has_marks=False))
    assert lines == [
        Line("field: failed, 4.0 s", "title"),
        Line("= a  3/3, done before", "skipped"),
        Line("x b  0/2, 1 failed, failed, 2.0 s", "failed"),
        Line("  c", "waiting"),
    ]


def test_many_running_jobs_have_few_lines() -> None:
    jobs = [job_began(f"a/{number:03d}", 100.0, label="") for number in range(6)]
    lines = shown(run_began(100.0, ["a"]), began("a", 100.0, 6), *jobs)
    assert lines[2:] == ["    000", "    001", "    002", "    and 3 more jobs"]


def test_long_name_of_a_product_is_cut() -> None:
    job = job_began("a/000", 100.0, label="/d/L628614_SB012.average_dpppconcat")
    lines = shown(run_began(100.0, ["a"]), began("a", 100.0, 1), job, a_000=Progress("20%", 0.2))
    assert lines[2] == "    000 L628614_SB012.average_dpp... 20%"


@pytest.mark.parametrize(
    ("label", "shown_as"),
    [
        ("[/d/a.MS]", "a.MS"),
        ("['/d/a.MS', '/e/b.MS']", "a.MS and 1 more"),
        ("[/d/L628614_SB012.average_dpppconcat,/d/b,/d/c/]", "L628614_SB012.... and 2 more"),
    ],
)
def test_first_of_several_products_is_named(label: str, shown_as: str) -> None:
    lines = shown(run_began(100.0, ["a"]), began("a", 100.0, 1), job_began("a/000", 100.0, label=label))
    assert lines[2] == f"    000 {shown_as}"


def test_silent_job_is_marked() -> None:
    job = job_began("a/000", 100.0, label="")
    events = run_began(100.0, ["a"]), began("a", 100.0, 1), job
    stuck = shown(*events, a_000=Progress("predicting", written_s=NOW_S - 125))
    assert stuck[2] == "    000 (silent for 2 min 5 s) predicting"
    assert shown(*events, a_000=Progress("predicting", written_s=NOW_S - 60))[2] == "    000 predicting"
    assert shown(*events, a_000=Progress("predicting", written_s=NOW_S + 60))[2] == "    000 predicting"


def test_unknown_run_is_waiting() -> None:
    assert shown() == ["run: waiting, 0.0 s"]


def test_control_characters_in_names_are_removed() -> None:
    name = "\x1b[2Jx"
    lines = shown(run_began(1.0, [name]), began(name, 1.0, 1), job_began(f"{name}/000", 1.0, label="/d/\x1b[31ma\r.ms"))
    assert not any("\x1b" in line or "\r" in line for line in lines)
    assert "    000 a.ms" in lines


@pytest.mark.parametrize(
    ("ends", "before", "fraction", "left_s"),
    [
        (0, 0, None, None),  # nothing is known yet
        (0, 0, 0.1, None),  # 0.1 of 4 is below 5 %
        (1, 0, None, 240.0),  # 1 of 4 in 80 s
        (1, 2, None, 80.0),  # 1 of the 2 that are not done yet
        (1, 3, 1.0, 0.0),
    ],
)
def test_estimate_uses_finished_jobs(ends: int, before: int, fraction: float | None, left_s: float | None) -> None:
    events = [run_began(100.0, ["a"]), {**began("a", 120.0, 4), "done_before": before}, job_began("a/003", 120.0)]
    events += [job_ended(f"a/{number:03d}", 160.0) for number in range(ends)]
    step = state_of(events).steps["a"]
    said = {} if fraction is None else {"a/003": Progress("", fraction)}
    assert time_left_s(step, Moment(NOW_S, said)) == (None if left_s is None else pytest.approx(left_s))


def test_estimate_needs_a_start() -> None:
    state = state_of([event("step_started", 0, step="a", jobs=1) | {"time_s": None}])
    assert time_left_s(state.steps["a"], Moment(NOW_S, {})) is None


def many(done: int, waiting: int) -> list[dict[str, Any]]:
    names = [f"d{number}" for number in range(done)]
    more = [f"w{number}" for number in range(waiting)]
    return [
        run_began(100.0, [*names, "now", *more]),
        *(event("plugin_done", 101.0, step=name, duration_s=0) for name in names),
        began("now", 110.0, 1),
        job_began("now/000", 110.0, label="x"),
    ]


@pytest.mark.parametrize("height", [6, 8, 10, 15])
def test_tall_board_is_folded_around_running_steps(height: int) -> None:
    lines = shown(*many(20, 20), height=height)
    assert len(lines) <= height
    assert any(line.startswith("▶ now") for line in lines)
    assert "    000 x" in lines
    assert any("steps done" in line for line in lines)
    assert any("more steps" in line for line in lines)


def test_folded_lines_count_hidden_steps() -> None:
    assert shown(*many(20, 20), height=8)[1:] == [
        "  17 steps done",
        "✓ d17  0.0 s",
        "✓ d18  0.0 s",
        "✓ d19  0.0 s",
        "▶ now  0/1, 1 min 30 s",
        "    000 x",
        "  20 more steps",
    ]


def test_fitting_board_is_not_folded() -> None:
    assert len(shown(*many(2, 2), height=7)) == 7


def test_durations_belong_to_the_last_run() -> None:
    state = state_of(
        [
            run_began(1.0, ["a", "b"]),
            began("a", 1.0, 1),
            ended("a", 5.0, 1),
            run_began(10.0, ["a", "b"]),
            event("step_skipped", 11.0, step="a", jobs=1),
            began("b", 12.0, 1),
            ended("b", 15.0, 1),
        ]
    )
    assert durations(state) == [("b", 3.0)]
