"""genericpipeline.py: the command line, as a list of small functions."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from lofarpipe import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from lofarpipe.config import Settings
    from lofarpipe.errors import Finding
    from lofarpipe.executors.jobs import Executor, Resources
    from lofarpipe.pipeline import Pipeline
    from lofarpipe.report import Reporters
    from lofarpipe.run import Run

EXIT_FAILED = 1
EXIT_SIGNAL = 128  # plus the number of the signal

EPILOGUE = """\
examples:
  genericpipeline.py --options image.parset
      every option of the pipeline, its value, where that comes from, and what it means
  genericpipeline.py image.parset -s 'data_input_filenames=[/data/L628614_SB*.MS]'
      the image of one field, made below the current directory
  genericpipeline.py field.parset -c pipeline.cfg
      the same with the options in field.parset and the site's configuration

exit status: 0 done; 1 something is wrong, and was said on stderr; 2 wrong usage; 128 + n ended by signal n
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="genericpipeline.py",
        description="Runs a generic pipeline: the steps that a parset lists.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("parset", nargs="?", help="the pipeline or the field to run; a shipped one is found by its name")
    what = top.add_argument_group("what to do (default: run the pipeline)")
    what.add_argument("--options", action="store_true", help="print every option with value, source and meaning")
    what.add_argument("--check", action="store_true", help="read and check everything, run nothing")
    what.add_argument("-s", "--set", metavar="KEY=VALUE", action="append", default=[], help="set an option, or any key")
    what.add_argument(
        "--lenient", action="store_true", help="what the check finds is a warning; a fault ends the run when it is met"
    )
    _add_site_arguments(top.add_argument_group("where and with what"))
    volume = top.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="say only what goes wrong")
    volume.add_argument("-v", "--verbose", action="store_true", help="say when each job ends")
    volume.add_argument("-d", "--debug", action="store_true", help="say everything; show tracebacks")
    top.add_argument("-V", "--version", action="version", version=f"genericpipeline {__version__}")
    return top


def _add_site_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("-c", "--config", metavar="FILE", help="configuration of the site (pipeline.cfg)")
    group.add_argument(
        "-j", "--job-name", metavar="NAME", help="name of the run; default: the parset's, without extension"
    )
    group.add_argument("-r", "--runtime-directory", metavar="DIR", help="logs, maps and journal go to <DIR>/<job name>")
    group.add_argument("-w", "--working-directory", metavar="DIR", help="jobs work in <DIR>/<job name>")
    group.add_argument("-t", "--task-file", metavar="[FILE,...]", help="task definitions, instead of task_files")
    group.add_argument("--start-time", metavar="TIME", help="default: now (UTC)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    reader = parser()
    options = parsed(reader, arguments)
    if options.parset is None:
        reader.print_usage(sys.stderr)
        print("genericpipeline.py: no parset was given; name the pipeline or the field to run", file=sys.stderr)
        return EXIT_FAILED
    from lofarpipe.errors import PipelineError
    from lofarpipe.executors.jobs import Interrupted

    try:
        return command(options)(options)
    except Interrupted as err:
        print(f"genericpipeline.py: {err}", file=sys.stderr)
        return EXIT_SIGNAL + err.signal
    except KeyboardInterrupt:
        print("genericpipeline.py: interrupted; run again to resume", file=sys.stderr)
        return EXIT_SIGNAL + 2
    except PipelineError as err:
        if options.debug:
            raise
        print(f"genericpipeline.py: {err}", file=sys.stderr)
        return EXIT_FAILED


def parsed(reader: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options; the help of a lenient run ends with status 1, as scripts around the original expect."""
    try:
        return reader.parse_args(arguments)
    except SystemExit as end:
        given = sys.argv[1:] if arguments is None else arguments
        if end.code == 0 and "--lenient" in given and {"-h", "--help"}.intersection(given):
            raise SystemExit(EXIT_FAILED) from None
        raise


def command(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    """Return what to do."""
    if options.options:
        return show_options
    return check_only if options.check else run_pipeline


def settings_and_pipeline(options: argparse.Namespace) -> tuple[Settings, Pipeline]:
    """Return the site's settings and the pipeline, both read."""
    from lofarpipe.config import Overrides, load_settings
    from lofarpipe.pipeline import find_parset, load_pipeline

    path = find_parset(options.parset)
    overrides = Overrides(
        config=options.config,
        job_name=options.job_name,
        task_files=options.task_file,
        runtime_directory=options.runtime_directory,
        working_directory=options.working_directory,
        start_time=options.start_time,
        lenient=options.lenient,
    )
    settings = load_settings(path, overrides)
    return settings, load_pipeline(path, settings, options.set)


def show_options(options: argparse.Namespace) -> int:
    """Print every option of the pipeline."""
    from lofarpipe.errors import CheckFailed
    from lofarpipe.options import options_table

    _, pipeline = settings_and_pipeline(options)
    print(options_table(pipeline.options))
    if pipeline.findings:
        raise CheckFailed(pipeline.findings)
    return 0


def local_executor(settings: Settings) -> Executor:
    """Return the executor for this machine, within the limits of the site's configuration."""
    from lofarpipe.executors.jobs import Resources
    from lofarpipe.executors.local import LocalExecutor
    from lofarpipe.executors.resources import detect_resources

    there = detect_resources()
    return LocalExecutor(Resources(settings.cores or there.cores, settings.memory_gb or there.memory_gb, there.gpus))


def findings(pipeline: Pipeline, settings: Settings, machine: Resources) -> list[Finding]:
    """Return everything that is wrong, as far as it can be known before the first job."""
    from lofarpipe.pipeline import check_pipeline

    return check_pipeline(pipeline, settings, machine)


def check_only(options: argparse.Namespace) -> int:
    """Check everything and run nothing."""
    from lofarpipe.errors import CheckFailed

    settings, pipeline = settings_and_pipeline(options)
    found = findings(pipeline, settings, local_executor(settings).capacity())
    if found:
        raise CheckFailed(found)
    print(f"{pipeline.path}: {len(pipeline.steps)} steps, nothing wrong")
    return 0


def run_pipeline(options: argparse.Namespace) -> int:
    """Check everything, then run the pipeline from where it stopped last time."""
    from lofarpipe.errors import CheckFailed
    from lofarpipe.journal import Journal
    from lofarpipe.run import Run

    settings, pipeline = settings_and_pipeline(options)
    executor = local_executor(settings)
    warnings = findings(pipeline, settings, executor.capacity())
    if warnings and not settings.lenient:
        raise CheckFailed(warnings)
    make_directory(settings.job_directory)
    with Journal(settings.job_directory / "journal.jsonl") as journal, terminating():
        reporters = make_reporters(options, settings)
        run = Run(pipeline, settings, executor, journal, reporters)
        for warning in warnings:
            reporters.warning(str(warning))
        return supervised(run, settings.job_name)


def supervised(run: Run, job_name: str) -> int:
    """Run, and tell the reporters and the journal how it ended, whatever ends it."""
    run.reporters.run_started(job_name, run.settings.job_directory, len(run.pipeline.steps))
    run.journal.record("run_started", job=job_name, parset=str(run.pipeline.path), version=__version__)
    try:
        run.execute()
    except BaseException as err:
        problem = str(err) or type(err).__name__
        run.journal.record("run_ended", ok=False, problem=problem)
        run.reporters.run_ended(False, job_name, problem.partition("\n")[0])
        raise
    run.journal.record("run_ended", ok=True)
    run.reporters.run_ended(True, job_name)
    return 0


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """SIGTERM and SIGHUP end the run in order, also between two jobs."""
    from lofarpipe.executors.jobs import Interrupted

    def stop(number: int, _: object) -> None:
        raise Interrupted(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_directory(path: Path) -> None:
    """Create a directory and those above it."""
    from lofarpipe.errors import PipelineError

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise PipelineError(f"{path}: cannot be created: {err.strerror}; choose another place with -r") from err


def make_reporters(options: argparse.Namespace, settings: Settings) -> Reporters:
    """Return who is told of events: the terminal and the log."""
    from lofarpipe import report

    levels = {"quiet": report.QUIET, "verbose": report.VERBOSE, "debug": report.DEBUG}
    level = next((level for name, level in levels.items() if getattr(options, name)), report.NORMAL)
    return report.Reporters([report.Terminal(level), report.ClassicLog(settings.log_file)])


if __name__ == "__main__":
    sys.exit(main())
