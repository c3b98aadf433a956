"""The command line: its options, and its end after an error."""

from __future__ import annotations

import argparse
import atexit
import gc
import io
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from copy_pipeline import CONFIG, OF_ALL_KINDS, copy_step, journalled, list_step
from lofarpipe import __version__, cli
from lofarpipe.cli import main
from lofarpipe.cli.arguments import parser, read_command_line
from lofarpipe.executors.local import signals
from lofarpipe.jobs import Interrupted


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("in", "my/plugins"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "in" / "a b.txt").write_text("a\n")
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "run.parset").write_text(OF_ALL_KINDS.format(here=tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_below(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in str(path)}


def started(site: Path) -> list[str]:
    return [event["step"] for event in journalled(site / "run", "step_started")]


# ---- where it is started


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_no_harm(site: Path, closed: str) -> None:
    program = f"import sys; from lofarpipe.cli import main; sys.exit(main({['run.parset', '-c', 'pipeline.cfg']!r}))"
    ended = subprocess.run(["sh", "-c", f"'{sys.executable}' -c \"$1\" {closed}", "sh", program], cwd=site, check=False)
    assert ended.returncode == 0
    assert journalled(site / "run", "run_ended")[-1]["ok"]


@pytest.mark.parametrize(("words", "is_rare"), [(None, True), (["status", "nowhere"], False)])
def test_program_alone_collects_rarely(monkeypatch: pytest.MonkeyPatch, words: list[str] | None, is_rare: bool) -> None:
    thresholds: list[int] = []
    at_end: list[object] = []
    monkeypatch.setattr(gc, "set_threshold", thresholds.append)
    monkeypatch.setattr(atexit, "register", at_end.append)
    monkeypatch.setattr(sys, "argv", ["genericpipeline.py", "status", "nowhere"])
    assert main(words) == 1
    assert (thresholds, at_end) == (([cli.ALLOCATIONS_PER_COLLECTION], [gc.freeze]) if is_rare else ([], []))


def test_vanished_terminal_gives_sighup_status(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> int:
        raise Interrupted(signal.SIGHUP)

    monkeypatch.setattr(sys, "stderr", Path("/dev/full").open("w"))  # noqa: SIM115
    assert cli.run_guarded(interrupt, False) == 128 + signal.SIGHUP


# ---- the command line itself


def test_help_lists_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for action in (action for action in parser()._actions if action.help != argparse.SUPPRESS):
        assert all(re.search(rf"(^|[\s,]){option}\b", shown) for option in action.option_strings)
        assert action.help
        assert " ".join(action.help.split()) in " ".join(shown.split())


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        (["--check", "--forget", "X"], "--check", "--forget"),
        (["--list", "--check"], "--check", "--list"),
        (["--options", "-n"], "--options", "--dry-run"),
        (["--forget", "", "--list"], "--list", "--forget"),
    ],
)
def test_verbs_exclude_each_other(
    words: list[str], first: str, second: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        read_command_line(["run.parset", *words])
    assert ended.value.code == 2
    assert f"argument {first}: not allowed with argument {second}; ask for one at a time" in capsys.readouterr().err
    assert read_command_line(["run.parset", "--check", "-n", "False"]).check


@pytest.mark.parametrize("name", ["..", "a/b", "/tmp/abs", "", "-x"])
def test_invalid_job_name_is_refused(site: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "run.parset", f"--job-name={name}"]) == 1
    assert f"command line: --job-name is '{name}'; letters, digits, _ . + - are allowed" in capsys.readouterr().err
    assert main(["--check", "run.parset", "-j", "L628614_2.a"]) == 0


def test_old_job_name_option_is_accepted(site: Path) -> None:
    assert main(["--check", "run.parset", "--lenient", "-j", "a/b"]) == 0


def test_lenient_help_exits_with_1() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run.parset", "--lenient", "-h"])
    assert ended.value.code == 1


@pytest.mark.parametrize("word", ["--version", "version"])
def test_version_is_printed(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([word])
    assert ended.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["-j", "name"], ["--list"], ["-n", "True"]])
def test_missing_parset_argument_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    assert "no parset was given" in capsys.readouterr().err


def test_missing_parset_file_is_named(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nowhere.parset"]) == 1
    assert "nowhere.parset" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--lst", "a.parset"], ["a.parset", "-n", "maybe"], ["a.parset", "-q", "-d"], ["a", "-robust=1"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("genericpipeline.py: error: ")
    assert line.endswith("; see genericpipeline.py --help")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--chek", "a.parset"], "--chek; did you mean '--check'?"),
        (["--cors=4", "a.parset"], "--cors=4; did you mean '--cores'?"),
        (["a.parset", "a.MS"], "a.MS; one parset is run; its options are set with -s, such as -s 'data_input_filen"),
        (["image.parset", "--robust=0"], "--robust=0; an option of the pipeline is set with -s: -s robust=0"),
        (["image.parset", "--robust", "-1"], "--robust -1; an option of the pipeline is set with -s: -s robust=-1"),
        (["run", "image.parset", "-robust", "0"], "-robust; an option of the pipeline is set with -s: -s robust=0"),
        (["image.parset", "robust=0"], "robust=0; an option of the pipeline is set with -s: -s robust=0"),
        (
            ["image.parset", "--data-column", "A B"],
            "--data-column A B; an option of the pipeline is set with -s: -s 'd",
        ),
        (
            ["image.parset", "--dat_column=D"],
            "--dat_column=D; an option of the pipeline is set with -s: -s data_column=",
        ),
        (
            ["image.parset", "-size", "9", "9"],
            "-size; an option of the pipeline is set with -s: -s fieldsize_highres=... (",
        ),
        (["image.parset", "-scale=2asec"], "-scale=2asec; an option of the pipeline is set with -s: -s cellsize_"),
        (["image.parset", "-station_diameter_m=30"], "-station_diameter_m=30; an option of the pipeline is set with"),
        (["image.parset", "-stokes=I"], "-stokes=I; it reads as -s tokes=I, and no option is called 'tokes'"),
        (["image.parset", "-scale", "2asec"], "-scale; an option of the pipeline is set with -s: -s cellsize_"),
        (["image.parset", "-check"], "-check; did you mean '--check'?"),
        (["image.parset", "-config", "site.cfg"], "-config; did you mean '--config'?"),
        (["image.parset", "-job-name=a"], "-job-name=a; did you mean '--job-name'?"),
        (
            ["image.parset", "-join-channels"],
            "-join-channels; it is an argument of a step; these are set as -s ",
        ),
        (["image.parset", "-niter"], "-niter; an option of the pipeline is set with -s: -s niter=VALUE"),
        (["image.parset", "--niter"], "--niter; an option of the pipeline is set with -s: -s niter=VALUE"),
        (["image.parset", "-s", "robust", "=", "0"], "= 0; an assignment is one word, without blanks or in quotes"),
        (["image.parset", "--zzz"], "--zzz"),
        (
            ["image.parset", "-o", "x.fits"],
            "-o x.fits; an option of the pipeline is set with -s: -s image_output_filen",
        ),
    ],
)
def test_misspelt_option_names_nearest(arguments: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert f"error: unrecognized arguments: {hint}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cores=all"], "--cores: 'all': a whole number is needed; 0 for all"),
        (["--memory-gb", "8GB"], "--memory-gb: '8GB': a number of GB without unit is needed; 0 for all"),
        (["--fields=a.csv", "--at-once", "0"], "--at-once: '0': a whole number of at least 1 is needed"),
        (["--fields=a.csv", "--at-once", "x"], "--at-once: 'x': a whole number of at least 1 is needed"),
    ],
)
def test_invalid_number_is_refused(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_command_line(["a.parset", *words])
    assert f"argument {said}" in capsys.readouterr().err


def test_positional_sets_suggest_option(tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names = [f"L{number}.MS" for number in range(8)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "table.dat").touch()
    with pytest.raises(SystemExit):
        main(["image.parset", *names])
    said = capsys.readouterr().err
    assert (
        "L5.MS ... and 2 more; measurement sets are an option of the pipeline: -s 'data_input_filenames=[L0.M" in said
    )
    assert main(["check", "L0.MS"]) == 1
    assert (
        "L0.MS: is a measurement set, and no parset; give it to a pipeline: image.parset -s" in capsys.readouterr().err
    )


def test_unknown_command_names_nearest(tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    for word, meant in (("statsu", "status"), ("chek", "check"), ("imgpip", "imgpipe")):
        with pytest.raises(SystemExit):
            main([word, "image.parset"])
        assert f"error: '{word}' is no command, and no parset; did you mean '{meant}'?" in capsys.readouterr().err


def test_odd_dry_run_value_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["image.parset", "-n", "iter"])
    assert "argument -n/--dry-run: 'iter' is neither True nor False; one parset is run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "dry"),
    [
        (["a.parset"], False),
        (["a.parset", "-n"], True),
        (["-n", "a.parset"], True),
        (["--dry-run", "False", "a.parset"], False),
        (["a.parset", "--dry-run=True"], True),
    ],
)
def test_dry_run_takes_optional_value(arguments: list[str], dry: bool) -> None:
    options = read_command_line(arguments)
    assert (options.parset, options.dry_run) == ("a.parset", dry)


def test_obsolete_options_are_accepted() -> None:
    assert read_command_line(["a.parset", "--loglevel", "INFO", "--args", "[]"]).parset == "a.parset"


# ---- how it ends


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (Interrupted(signal.SIGTERM), 143, "interrupted by SIGTERM"),
        (KeyboardInterrupt(), 130, "interrupted; run again to resume"),
    ],
)
def test_interrupt_sets_exit_status(
    raised: BaseException, status: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "command", lambda options: raising(raised))
    assert main(["a.parset"]) == status
    assert said in capsys.readouterr().err


def raising(error: BaseException):
    def fail(_: object) -> int:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "text"),
    [(KeyError("x\ny"), "unexpected KeyError: 'x\\ny'"), (RuntimeError(), "unexpected RuntimeError: no message")],
)
def test_internal_error_names_place(
    error: Exception, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "command", lambda options: raising(error))
    assert main(["a.parset"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"genericpipeline.py: {re.escape(__file__)}:\d+: {re.escape(text)}; run with -d", line)
    assert main(["a.parset", "-d"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            OSError(28, "No space left on device", "map"),
            "map: No space left on device; free some space",
        ),
        (
            OSError(30, "Read-only file system"),
            "a file of the run: Read-only file system; ask who runs it, or choose another directory",
        ),
        (FileNotFoundError(2, "No such file", "/x"), "/x: No such file; somebody removed the directory"),
        (IsADirectoryError(21, "Is a directory", "/x"), "/x: Is a directory; check the directory"),
    ],
)
def test_disk_error_names_remedy(
    error: OSError, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "command", lambda options: raising(error))
    assert main(["a.parset"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"genericpipeline.py: {text}")
    assert line.endswith(", and run again to resume")


@pytest.mark.parametrize("error", [OSError("odd"), OSError(2, "No such file")])
def test_unknown_system_error_is_internal(
    error: OSError, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "command", lambda options: raising(error))
    assert main(["a.parset"]) == 1
    assert "; run with -d for the traceback" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["a.parset"], ["--check", "image.parset"], ["--options", "image.parset", "-w", "/"]])
def test_removed_current_directory_is_reported(words: list[str], tmp_path: Path) -> None:
    command = shlex.join([sys.executable, "-m", "lofarpipe.cli", *words])
    script = f"mkdir gone && cd gone && rmdir ../gone && exec {command}"
    environment = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    said = "the current directory was removed, or cannot be reached; change to another one, and run again"
    assert (done.returncode, done.stderr) == (1, f"genericpipeline.py: {said}\n")


def test_error_without_traceback_has_no_place() -> None:
    assert cli.format_unexpected(ValueError("x")) == "unknown place: unexpected ValueError: x"


def test_internal_error_during_run_is_recorded(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lofarpipe.engine.step_jobs.CommandFile.note", raising_any)
    assert main(["run.parset", "-c", "pipeline.cfg"]) == 1
    captured = capsys.readouterr()
    assert "unexpected ZeroDivisionError: x" in captured.err
    assert "Traceback" not in captured.err + captured.out
    assert '"ok": false' in (site / "run/journal.jsonl").read_text().splitlines()[-1]


def raising_any(*_: object) -> None:
    raise ZeroDivisionError("x")


def test_debug_option_shows_traceback(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run.parset", "-c", "nowhere.cfg"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert main(["run.parset", "-c", "nowhere.cfg", "-d"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("genericpipeline.py: ")


def test_impossible_job_directory_is_reported(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "run").write_text("a file")
    assert main(["run.parset", "-c", "pipeline.cfg"]) == 1
    assert f"{site}/run: cannot be created" in capsys.readouterr().err


def test_damaged_journal_is_reported(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run.parset", "-c", "pipeline.cfg"]) == 0
    with (site / "run/journal.jsonl").open("a") as journal:
        journal.write('{"event": "step_')
    assert main(["run.parset", "-c", "pipeline.cfg"]) == 0
    assert "are not readable, as after a crash" in capsys.readouterr().err


# ---- --list and --forget


def test_list_shows_step_states(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run.parset", "-c", "pipeline.cfg"]
    assert main([*command, "--list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["step", "state", "when", "took", "jobs", "failed"]
    assert rows[1:3] == [["list", "runs", "always"], ["copy", "not", "done"]]
    assert not (site / "run").exists()
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--list"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[1:]] == ["list", "copy", "gather", "show", "again", "inner@0", "inner@1", "note"]
    assert rows[2][1] == "done"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d 0.\d s 1 0", " ".join(rows[2][2:]))


def test_list_shows_unfinished_step(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "in/a b.txt").unlink()
    main(["run.parset", "-c", "pipeline.cfg"])
    main(["run.parset", "-c", "pipeline.cfg", "--list"])
    assert re.search(r"^copy +not finished +\d", capsys.readouterr().out, re.MULTILINE)


def test_list_reports_unreadable_journal(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "run/journal.jsonl").mkdir(parents=True)
    assert main(["run.parset", "-c", "pipeline.cfg", "--list"]) == 1
    assert "the journal cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("step", "again"),
    [
        ("list", ["copy", "show", "inner", "inner", "note"]),
        ("copy", ["copy", "show", "inner", "inner", "note"]),
        ("gather", ["show", "inner", "inner", "note"]),
        ("inner", ["inner", "inner", "note"]),
        ("note", ["note"]),
    ],
)
def test_forget_restarts_at_step(site: Path, step: str, again: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command = ["run.parset", "-c", "pipeline.cfg"]
    assert main(command) == 0
    before = started(site)
    content = (site / "run/journal.jsonl").read_bytes()
    capsys.readouterr()
    assert main([*command, "--forget", step]) == 0
    assert f"the next run starts at '{step}'" in capsys.readouterr().out
    assert (site / "run/journal.jsonl").read_bytes().startswith(content)  # nothing is taken out of a journal
    assert main([*command, "--list"]) == 0
    assert re.search(r"^note +forgotten", capsys.readouterr().out, re.MULTILINE)
    assert main(command) == 0
    assert [name.partition("@")[0] for name in started(site)[len(before) :]] == again


def test_forget_accepts_step_of_sub_pipeline(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "sub.parset").write_text(
        "pipeline.steps = [one, two]\n"
        + "".join(
            f"{name}.control.type = executable_args\n{name}.control.executable = /bin/echo\n"
            f"{name}.control.mapfile_in = sub.output.mapfile\n{name}.control.inputkey = x\n"
            f"{name}.argument.flags = [x]\n"
            for name in ("one", "two")
        )
    )
    (site / "run.parset").write_text(
        OF_ALL_KINDS.format(here=site).replace("copy, gather, show, again", "part")
        + "part.control.kind = pipeline\npart.control.type = sub.parset\n"
        "part.control.mapfile_in = list.output.mapfile\n"
    )
    command = ["run.parset", "-c", "pipeline.cfg"]
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--list"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
    two = next(name for name in names if "two" in name)
    assert main([*command, "--forget", two]) == 0
    assert capsys.readouterr().out.endswith(f"these were done: {two}, note\n")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("shw", "--forget shw: there is no such step; did you mean 'show'?"),
        ("show/000", "--forget show/000: no such job began"),
    ],
)
def test_forget_refuses_unknown_names_without_traces(
    site: Path, name: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(site.rglob("*"))
    assert main(["run.parset", "-c", "pipeline.cfg", "--forget", name]) == 1
    assert problem in capsys.readouterr().err
    assert sorted(site.rglob("*")) == before


def test_forget_accepts_missing_run(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(site.rglob("*"))
    assert main(["run.parset", "-c", "pipeline.cfg", "--forget", "show"]) == 0
    assert "these were done: none" in capsys.readouterr().out
    assert sorted(site.rglob("*")) == before


def test_startup_imports_little() -> None:
    """The limit is in benchmarks/overhead.py; this test finds gross violations."""
    costly = "(m for m in ('lofarpipe.engine.run', 'lofarpipe.config') if m in sys.modules)"
    code = f"import sys, lofarpipe.cli; print(*{costly})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_ignored_hangup_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.raise_on_signals() as received:
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
            with pytest.raises(Interrupted, match="interrupted by SIGUSR1"):
                os.kill(os.getpid(), signal.SIGUSR1)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            assert received == [signal.SIGUSR1, signal.SIGINT]
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BrokenPipeError(32, "Broken pipe"), 128 + signal.SIGPIPE, ""),
        (OSError(28, "No space left on device"), 1, "standard output cannot be written: No space left on device; "),
    ],
)
def test_output_is_flushed_before_exit(monkeypatch, capsys, error, status, said):
    def flush() -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.StringIO())
        patch.setattr(sys.stdout, "flush", flush)
        assert main(["--options", "image.parset"]) == status
        assert sys.stdout is None
    assert said in capsys.readouterr().err


def test_printing_to_full_disk_is_reported():
    with Path("/dev/full").open("w") as full:
        command = ["env", "-u", "PYTHONUNBUFFERED", sys.executable, "-m", "lofarpipe.cli", "--options", "image.parset"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot be written: No space left on device" in done.stderr


def test_closed_pipe_ends_quietly():
    command = [sys.executable, "-m", "lofarpipe.cli", "--options", "image.parset"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.wait(timeout=30) == 128 + signal.SIGPIPE
    assert process.stderr.read() == b""


DELIVER = """\
pipeline.steps = [list, copy, deliver]
deliver.control.kind = plugin
deliver.control.type = copyFiles
deliver.control.hosts = [localhost]
deliver.control.mapfile_dir = input.output.mapfile_dir
deliver.control.filename = deliver.mapfile
deliver.control.input_file = copy.output.mapfile
deliver.control.output_files = [{here}/archive/z.txt]
"""


def test_delivered_products_are_named_first(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parset = DELIVER + list_step("[{here}/in/a b.txt]") + copy_step()
    (site / "run.parset").write_text(parset.format(here=site))
    assert main(["run.parset"]) == 0
    products = re.findall(r" product: (\S.*),", capsys.readouterr().out)
    assert products == [f"{site}/archive/z.txt", f"{site}/run/a b.copy"]
