"""Why jobs failed, in the words of the TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.cli.imgpipe.summary import failed_images, write_image_table
from lofarpipe.state.events import JobDone, StepStarted
from lofarpipe.state.run_state import RunState


def state_of(*ends: JobDone) -> RunState:
    return RunState.from_events([StepStarted("image", jobs=2), *ends])


@pytest.mark.parametrize(
    ("code", "problem", "expected"),
    [
        (3, "exited with 3 after 1 s", "exit code 3"),
        (137, "exited with 137 after 1 s", "exit code 137, which is often too little memory"),
        (-11, "killed by signal 11 (SIGSEGV)", "signal 11, killed by signal 11 (SIGSEGV)"),
        (
            -15,
            "stopped after 4.0 s: it ran into its time limit of 4.0 s; raise walltime of the step, or in [ssh]",
            "stopped after 4.0 s: it ran into its time limit of 4.0 s; raise max_time",
        ),
    ],
)
def test_failed_job_has_its_reason(code: int, problem: str, expected: str) -> None:
    end = JobDone("image", "image/000", label="/A.MS", log="/l", exit_code=code, problem=problem)
    assert failed_images(state_of(end).steps["image"]) == [f"/A.MS: {expected}; log: /l"]


def test_run_without_any_job_has_no_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert write_image_table(state_of(), tmp_path, is_quiet=False) == 1
    assert capsys.readouterr().out == "0 of 2 images made\n"


def test_failure_has_command_and_last_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "commands.txt").write_text("image/000: wsclean -size 9 9 A.MS\n")
    (tmp_path / "l").write_text("first\nsecond\nthird\nno disk\n")
    ends = [JobDone("image", f"image/00{n}", label=f"/{n}.MS", log="l", exit_code=1, problem="") for n in (0, 1)]
    assert write_image_table(state_of(*ends), tmp_path, is_quiet=True) == 1
    lines = ["    second", "    third", "    no disk"]
    assert capsys.readouterr().out.splitlines() == [
        "/0.MS: exit code 1; log: l",
        "    command: wsclean -size 9 9 A.MS",
        *lines,
        "/1.MS: exit code 1; log: l",
        *lines,
        "0 of 2 images made",
    ]
