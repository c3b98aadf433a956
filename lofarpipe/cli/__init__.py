"""genericpipeline.py: the command line, as a list of small functions."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import errno
import functools
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lofarpipe.cli.arguments import PROGRAM, command_module, front_end, read_words, run_command
from lofarpipe.cli.views import (
    check_only,
    checked,
    dry_run,
    executor_context,
    journal_file,
    list_steps,
    reading,
    show_options,
    show_template,
)
from lofarpipe.support.usage import EXIT_USAGE

if TYPE_CHECKING:
    from pathlib import Path

    from lofarpipe.archive.record import RunRecord
    from lofarpipe.config import Settings
    from lofarpipe.engine.run import Run
    from lofarpipe.pipeline.load import Pipeline
    from lofarpipe.state.journal import Journal
    from lofarpipe.state.run_state import RunState

EXIT_FAILED = 1
TABLES = ".casacore"  # in the directory shared by all nodes
ALLOCATIONS_PER_COLLECTION = 100_000  # of objects, beyond those freed; Python's own: 700
EXIT_SIGNAL = 128  # plus the number of the signal


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    open_closed_streams()
    if arguments is None:
        spare_collections()
    words = typed_words() if arguments is None else list(arguments)
    if (module := command_module(words)) is not None:
        program, rest = module.program, words[module.words :]
        return run_guarded(functools.partial(run_command, module, rest), bool({"-d", "--debug"} & set(rest)), program)
    options = read_words(words)
    if arguments is None and command(options) in (run_pipeline, dry_run):
        set_up_process(has_plugins=options.translate is None)
    if options.parset is None and options.translate is None:
        print_error("no parset was given; name the pipeline or the field to run, or see --help")
        return EXIT_FAILED
    return run_guarded(functools.partial(work, options), options.debug, options.program)


def spare_collections() -> None:
    """Collect cycles of objects rarely, and not at the end of this process, which frees its memory anyway.

    Most objects live as long as a run: to search them in vain at the end takes a tenth of the CPU time of a short one.
    """
    gc.set_threshold(ALLOCATIONS_PER_COLLECTION)
    atexit.register(gc.freeze)


def open_closed_streams() -> None:
    """Open /dev/null for closed standard streams; otherwise the first file opened would take their number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
            setattr(sys, name, os.fdopen(descriptor, mode))


def work(options: argparse.Namespace) -> int:
    """Run the requested task; the input of a front end becomes a parset first, and may choose the task itself."""
    if options.task is not None:
        return int(options.task(options))
    if options.translate is not None:
        options.translation = options.translate(options)
    return (command if options.fields is None else fields_task)(options)(options)


def typed_words() -> list[str]:
    """Return the command line, with the name of a front end as its first word when called by that name."""
    name = os.path.basename(sys.argv[0])  # noqa: PTH119 - the start must not pay for pathlib
    return [*([name] if front_end(name) else []), *sys.argv[1:]]


def set_up_process(has_plugins: bool) -> None:
    """Give this process one BLAS thread, and the same hashes of texts in every run.

    Threads of OpenBLAS cost 0.1 s of CPU where numpy is loaded, and the engine multiplies no matrices. With equal
    hashes plugins that join a set give the same order each time: another one would be a change of the inputs of the
    next steps. Hashes are fixed at the start of Python only, so it starts anew, unless the user has set PYTHONHASHSEED,
    or a front end runs, whose pipeline has the plugins of this package alone.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if os.environ.get("PYTHONHASHSEED"):
        return
    os.environ["PYTHONHASHSEED"] = "0"  # of children
    if has_plugins and sys.executable:
        with contextlib.suppress(OSError):  # a run without it is better than no run
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted


def run_guarded(work: Callable[[], int], debug: bool, program: str = PROGRAM) -> int:
    """Run the requested task; return the exit status, and print an error as one line."""
    from lofarpipe.cli.output import write_out
    from lofarpipe.errors import PipelineError, UsageError
    from lofarpipe.jobs import Interrupted

    try:
        status = work()
        write_out()
        return status
    except Interrupted as err:
        print_error(str(err), program)
        return EXIT_SIGNAL + err.signal
    except KeyboardInterrupt:
        print_error("interrupted; run again to resume", program)
        return EXIT_SIGNAL + signal.SIGINT
    except UsageError as err:
        failed(str(err), debug, program)
        return EXIT_USAGE
    except PipelineError as err:
        return failed(str(err), debug, program)
    except BrokenPipeError:  # the reader of the output, such as head, closed the pipe
        sys.stdout = None
        return EXIT_SIGNAL + signal.SIGPIPE
    except OSError as err:
        return failed(write_problem(err), debug, program)
    except Exception as err:
        return failed(f"{format_unexpected(err)}; run with -d for the traceback", debug, program)


def print_error(text: str, program: str = PROGRAM) -> None:
    """Print an error, unless the terminal has gone."""
    with contextlib.suppress(OSError):
        print(f"{program}: {text}", file=sys.stderr, flush=True)


def failed(text: str, debug: bool, program: str) -> int:
    """Print an error, with the traceback where mistakes in the program are looked for; return the status."""
    if debug:
        import traceback

        traceback.print_exc()
    print_error(text, program)
    return EXIT_FAILED


def write_problem(err: OSError) -> str:
    """Format a disk or file error as one line."""
    from lofarpipe.support.disk import ADVICE, io_problem

    if err.errno and (err.filename or err.errno in ADVICE.keys() - {errno.ENOENT, errno.EACCES}):
        return f"{io_problem(err)}, and run again to resume"
    if not current_directory_exists():
        return "the current directory was removed, or cannot be reached; change to another one, and run again"
    return f"{format_unexpected(err)}; run with -d for the traceback"


def current_directory_exists() -> bool:
    """Whether the current directory still exists."""
    try:
        return bool(os.getcwd())  # noqa: PTH109 - the start must not pay for pathlib
    except OSError:
        return False


def format_unexpected(err: Exception) -> str:
    """Format an unexpected exception as one line: file, line, exception."""
    trace = err.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "unknown place"
    return f"{where}: unexpected {type(err).__name__}: {' '.join(str(err).split()) or 'no message'}"


def command(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """Return the function of the requested task."""
    requests = {
        show_options: options.options,
        show_template: options.template,
        check_only: options.check,
        list_steps: options.list,
        forget_step: options.forget is not None,
        dry_run: options.dry_run,
    }
    return next((view for view, is_asked in requests.items() if is_asked), run_pipeline)


def notify_refusal(settings: Settings, problem: str) -> None:
    """Run the [notify] command for a run refused by the check."""
    from lofarpipe.report.notify import FAILURE, Messenger, notify_options

    messenger = Messenger(notify_options(settings)[0], print_error)
    messenger.send(FAILURE, {"text": f"{settings.job_name}: {problem}", "job": settings.job_name, "problem": problem})
    messenger.wait()


def run_pipeline(options: argparse.Namespace) -> int:
    """Check everything, then run the unfinished steps."""
    from lofarpipe.cli.inspect import forget_steps
    from lofarpipe.engine.kinds import Scope
    from lofarpipe.engine.run import Run
    from lofarpipe.errors import list_findings
    from lofarpipe.executors.factory import end_earlier, orders_directory
    from lofarpipe.executors.local.signals import raise_on_signals
    from lofarpipe.report.pipeline_log import prune_logs
    from lofarpipe.state.journal import Journal, Stream
    from lofarpipe.state.uptodate import Ledger
    from lofarpipe.support.data_directories import set_data_directories
    from lofarpipe.support.disk import make_directory

    settings, pipeline, executor, warnings = checked(options, notify_refusal)
    make_directory(settings.job_directory)
    is_told = settings.lenient and not options.quiet
    with (
        executor_context(executor, options),
        print_results_line(is_told),
        Journal(journal_file(settings)) as journal,
        raise_on_signals() as signals,
    ):
        end_earlier(settings)
        prune_logs(settings)
        set_data_directories(orders_directory(settings) / TABLES)
        if options.translate:
            write_translation(options, pipeline, settings.job_directory)
        stream = Stream(journal, make_reporters(options, settings, pipeline, journal.state))
        if options.translation and options.translation.again:
            forget_steps(options.translation.again, pipeline.steps, Ledger(stream, settings))
        run = Run(Scope(pipeline, settings, executor, stream, signals))
        return summarised(
            options, journal, lambda: supervised(run, settings.job_name, [*journal.notices, *list_findings(warnings)])
        )


def summarised(options: argparse.Namespace, journal: Journal, work: Callable[[], int]) -> int:
    """Run, then print the summary of a front end, after the failure of the run; return the exit status."""
    from lofarpipe.errors import PipelineError

    if options.summarise is None:
        return work()
    try:
        status = work()
    except PipelineError as err:
        status = failed(str(err), options.debug, options.program)
    except BaseException:
        options.summarise(options, journal.state)
        raise
    return int(options.summarise(options, journal.state)) or status


def write_translation(options: argparse.Namespace, pipeline: Pipeline, job_directory: Path) -> None:
    """Write the parset of a front end, for people and to be run by genericpipeline.py, and its sources."""
    from lofarpipe.archive.inputs import field_text, self_contained
    from lofarpipe.support.utilities import write_atomically

    parset = options.translation.parset
    has_base = "pipeline.base" in parset
    text = field_text(parset, options.set) if has_base else self_contained(pipeline.composed)[0]
    for name, copy in {**options.translation.copies, f"{pipeline.path.stem}.parset": text}.items():
        write_atomically(job_directory / name, copy)


def forget_step(options: argparse.Namespace) -> int:
    """Make the next run start at a step; a run that never began has nothing to forget, and gets no directory."""
    from lofarpipe.cli.inspect import forget_steps, require_name
    from lofarpipe.cli.output import show
    from lofarpipe.executors.factory import orders_directory
    from lofarpipe.executors.remote.order import discard_records
    from lofarpipe.state.journal import Journal, Stream
    from lofarpipe.state.uptodate import Ledger

    settings, pipeline = reading(options).require_valid()
    if not (file := journal_file(settings)).exists():
        require_name(options.forget, pipeline.steps, pipeline.parset)
        forgotten = []
    else:
        with Journal(file) as journal:
            forgotten = forget_steps(options.forget, pipeline.steps, Ledger(Stream(journal), settings), pipeline.parset)
            discard_records(orders_directory(settings))
    show(f"the next run starts at '{options.forget}'; these were done: {', '.join(forgotten) or 'none'}")
    return 0


def supervised(run: Run, job_name: str, warnings: Sequence[str] = ()) -> int:
    """Run, and report the end, whatever ends it."""
    from lofarpipe.engine.crew import intermediate_outputs, run_ended, run_started
    from lofarpipe.errors import PipelineError
    from lofarpipe.state.events import RunEnded

    stream, notices = run.scope.stream, run.scope.executor.notices
    settings, pipeline, executor = run.scope.settings, run.scope.pipeline, run.scope.executor
    intermediate = intermediate_outputs(pipeline, settings)
    stream.emit(run_started(job_name, settings.job_directory, pipeline, executor, intermediate))
    try:
        for warning in warnings:
            stream.warning(warning)
        while notices:
            stream.notice(notices.pop(0))
        run.execute()
    except BaseException as err:
        with contextlib.suppress(PipelineError, OSError):  # a full disk: report the error that ended the run
            stream.emit(run_ended(job_name, err))
        raise
    stream.emit(RunEnded(True, job=job_name))
    return 0


def fields_task(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """Return the task for a table of fields: run, check, or one task per field."""
    from lofarpipe.cli import fields

    task = command(options)
    if task is run_pipeline:
        return functools.partial(fields.run_all, reading)
    if task is check_only:
        return functools.partial(fields.check_all, reading)
    return functools.partial(fields.run_each_field, reading, task)


@contextlib.contextmanager
def print_results_line(is_told: bool) -> Iterator[None]:
    """Print the final line of the original runner, which says only that there are results.

    Source: doc/spec/lofarpipe.md, section 1.2.
    """
    from lofarpipe.cli.output import show

    last_line = "No results"
    try:
        yield
        last_line = "Results:"
    finally:
        if is_told:
            show(last_line)


def make_reporters(
    options: argparse.Namespace, settings: Settings, pipeline: Pipeline, state: RunState
) -> list[object]:
    """Return the reporters: the record, the terminal and the log."""
    from lofarpipe.archive.record import Command, RunRecord
    from lofarpipe.report.html.writer import PageWriter, is_page_enabled
    from lofarpipe.report.pipeline_log import ClassicLog, Statistics
    from lofarpipe.report.terminal import DEBUG, NORMAL, QUIET, VERBOSE, Terminal, shows_live
    from lofarpipe.state.events import Notice

    levels = {"quiet": QUIET, "verbose": VERBOSE, "debug": DEBUG}
    level = next((level for name, level in levels.items() if getattr(options, name)), NORMAL)
    logs = [ClassicLog(settings.log_file), Statistics(settings.statistics_file)]

    directories = {"job_directory": str(settings.job_directory), "working_directory": str(settings.job_workdir)}

    def facts() -> Mapping[str, object]:
        return {"run": directories, **record.facts} if record.facts else {}  # of run.json, which is long

    # All that programs write is too much to be shown above a picture.
    is_live = NORMAL <= level <= VERBOSE and shows_live(sys.stdout)
    terminal = Terminal(level, record=facts)
    if is_live:
        from lofarpipe.report.live import LiveTerminal

        terminal = LiveTerminal(state, level, facts)
    record = RunRecord(pipeline, settings, Command.of(options), state, terminal.warn)
    page = PageWriter(settings.job_directory, state, facts, terminal.warn)
    pages = [page] if is_page_enabled(settings) else []
    # Order matters: the record first, which the others read; then the page, before the terminal names it.
    more = (
        []
        if options.reporters is None
        else options.reporters(options, settings, lambda text: terminal.notice(Notice(text)))
    )
    return [record, *pages, terminal, *logs, *more, *notifiers(options, settings, state, record, terminal.warn)]


def notifiers(
    options: argparse.Namespace,
    settings: Settings,
    state: RunState,
    record: RunRecord,
    complain: Callable[[str], None],
) -> list[object]:
    """Return the reporter for the [notify] commands, if any are set."""
    from lofarpipe.archive.record import brief_record
    from lofarpipe.report.notify import Messenger, Notifier, notify_options

    commands, _ = notify_options(settings)
    if commands.is_silent:
        return []
    messenger = Messenger(commands, complain)
    return [Notifier(messenger, lambda: brief_record(state, settings, record.facts), options.of_table)]
