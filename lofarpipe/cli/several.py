"""``genericpipeline.py status`` of several runs, or of the fields of a table: one line each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lofarpipe.cli.arguments import TABLE_SUFFIXES
from lofarpipe.cli.fields.index import fields_of, outcome_facts, rms_text, state_counts
from lofarpipe.cli.fields.runs import aligned
from lofarpipe.config import job_directory_of
from lofarpipe.jobs import duration_text
from lofarpipe.state.events import JOURNAL
from lofarpipe.state.run_state import DONE, RUNNING, SKIPPED, WAITING, RunState
from lofarpipe.support.utilities import printable

LOOK_S = 1.0  # between two looks
HEADER = ("run", "state", "steps", "took", "rms", "warnings", "problem, or step that runs")
Row = dict[str, Any]
Look = Callable[[Path], RunState]


def main(words: Sequence[str], look: Look, follows: bool, is_json: bool, config: str | None = None) -> bool:
    """Print the runs; return whether all are done, go on or wait.

    Parameters
    ----------
    look: returns the state of the run in a job directory.
    config: configuration of the runs of parsets.

    Raises
    ------
    PipelineError
        If a table, or a journal, cannot be read.
    """
    runs = [run for word in words for run in runs_of(word, config)]
    previous_lines: list[str] = []
    while True:
        rows = [run_row(name, directory, look) for name, directory in runs]
        lines = [json.dumps(rows)] if is_json else runs_table(rows).splitlines()
        for line in lines if not previous_lines else [line for line in lines if line not in previous_lines]:
            print(printable(line), flush=True)
        previous_lines = lines
        if not follows or not any(row["state"] == RUNNING for row in rows):
            return all(row["state"] in (DONE, RUNNING, WAITING) for row in rows)
        time.sleep(LOOK_S)


def runs_of(word: str, config: str | None = None) -> list[tuple[str, Path]]:
    """Return (name, job directory) of each run named by an argument."""
    path = Path(word)
    if path.suffix in TABLE_SUFFIXES and not path.is_dir():
        return fields_of(path)
    return [(word, path.parent if path.name == JOURNAL else job_directory_of(word, config))]


def run_row(name: str, job_directory: Path, look: Look) -> Row:
    """Return the state of a run; WAITING before its start."""
    row: Row = {"run": name, "job_directory": str(job_directory), "state": WAITING}
    if not (job_directory / JOURNAL).is_file():
        return row
    state = look(job_directory)
    steps = list(state.steps.values())
    running = [step.name for step in steps if step.state == RUNNING]
    return row | {
        "state": state.state,
        "steps": len(steps),
        "steps_done": sum(step.state in (DONE, SKIPPED) for step in steps),
        "took_s": _took_s(state),
        "warnings": len(state.warnings),
        "problem": state.problem.partition("\n")[0],
        "running": running,
        "removed_bytes": sum(state.removed.values()),
        **(_numbers(job_directory) if state.state == DONE else {}),
    }


def _numbers(job_directory: Path) -> Row:
    facts = outcome_facts(job_directory, draws=False)
    return {key: facts.get(key) for key in ("rms", "rms_unit", "noise_ratio", "image", "report")}


def _took_s(state: RunState) -> float | None:
    end_s = state.ended_s if state.ended else time.time()
    return None if state.started_s is None or end_s is None else max(0.0, end_s - state.started_s)


def runs_table(rows: Sequence[Row]) -> str:
    """Return one line per run, and a line of totals."""
    return "\n".join([aligned([HEADER, *map(_cells, rows)]), state_counts([row["state"] for row in rows])])


def _cells(row: Row) -> tuple[str, ...]:
    if "steps" not in row:
        return row["run"], row["state"], "", "", "", "", ""
    took = "" if row["took_s"] is None else duration_text(row["took_s"])
    remark = row["problem"] or ", ".join(row["running"])
    done = f"{row['steps_done']} of {row['steps']}"
    return row["run"], row["state"], done, took, rms_text(row), str(row["warnings"] or ""), remark
