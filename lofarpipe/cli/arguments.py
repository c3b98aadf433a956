"""Command lines of genericpipeline.py, its sub-commands and the front ends, which are found by name.

A front end is a module here with a ``FRONT_END``, an object of a class under ``FrontEnd``. The name of the module is
the first word of the command line, or the name under which the program was called; the first line of its docstring is
the description in its --help.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from lofarpipe import __version__
from lofarpipe.support.usage import Reader

if TYPE_CHECKING:
    from lofarpipe.config import Settings
    from lofarpipe.pipeline.preflight import Translation
    from lofarpipe.state.run_state import RunState

PROGRAM = "genericpipeline.py"
HERE = os.path.dirname(__file__)  # noqa: PTH120 - the start must not pay for pathlib
#: Sub-commands, in place of a parset as the first word: the module whose ``main`` gets the rest of the line. A
#: parset with such a name, or that of a front end, is run as ``./status`` or ``status.parset``.
COMMANDS = {
    "status": "lofarpipe.cli.status",
    "report": "lofarpipe.cli.report",
    "repeat": "lofarpipe.archive.repeat",
    "crate": "lofarpipe.archive.crate",
    "completion": "lofarpipe.cli.candidates",
    "simulate": "lofarpipe.cli.simulate",
    "clean": "lofarpipe.cli.clean",
}
#: First words that take the parset and the options of a run: the flag that each stands for, and its help.
VERBS = {
    "run": ("", "Runs a generic pipeline: the steps of a parset."),
    "check": ("--check", "Reads and checks everything, and runs nothing."),
    "plan": (
        "--dry-run",
        "Prints the predictable decisions and commands of a run; runs nothing.",
    ),
    "options": ("--options", "Prints every option of a pipeline with value, source and meaning."),
    "list": ("--list", "Prints the state of each step."),
}
SHOWN = 6  # words in a message
VERB_OPTIONS = {"run": ("lenient", "forget"), "options": ("json", "template")}  # options of some verbs only
#: Suffixes of tables of fields, and of their index.
TABLE_SUFFIXES = (".csv", ".toml", ".json")
TASKS = ("options", "template", "check", "list", "forget", "dry_run")  # each instead of a run
JSON_TASKS = ("options", "check", "list", "dry_run")

EPILOGUE = """\
commands, in front of the parset or a job directory:
  run PARSET            run the pipeline; the same as without a command
  check PARSET          read and check everything, run nothing
  plan PARSET           predictable decisions and commands of a run
  options PARSET        every option with value, source and meaning; --template for a field parset to start from
  list PARSET           state of each step
  status DIRECTORY      progress of a run, from any shell at any time; --follow until it ends
  report DIRECTORY      make report.html again: a run on one page
  repeat DIRECTORY      the same run again, with a report of differences
  crate DIRECTORY       the run as an RO-Crate, for archives
  completion SHELL      completion of this command line for bash, zsh or fish
  simulate DIRECTORY    simulate a small LOFAR observation
  clean DIRECTORY ...   remove intermediate files of finished runs; --dry-run lists them

examples:
  genericpipeline.py options image.parset
  genericpipeline.py run image.parset -s 'data_input_filenames=[/data/L628614_SB*.MS]'
      the image of one field, made below the current directory
  genericpipeline.py run field.parset -c pipeline.cfg
      the same with the options in field.parset and the site's configuration
  genericpipeline.py run image.parset --fields fields.csv
      the image of each field in a table: a column 'field' for its name, the others are options
  genericpipeline.py run field.parset --forget STEP
      make the next run start at a step

exit status: 0 done; 1 an error, described on stderr; 2 wrong usage; 128 + n ended by signal n
"""


class FrontEnd(ABC):
    """Another command line or file format for the same engine: it is translated to a parset, which is run.

    Attributes
    ----------
    commands: its sub-commands: the module whose ``main`` gets the rest of the line.
    """

    commands: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add arguments to those of a run; short forms of the latter may be redefined."""

    def usage_problem(self, options: argparse.Namespace) -> str:
        """Return the conflict between options, or "" if there is none."""
        return ""

    @abstractmethod
    def translate(self, options: argparse.Namespace) -> Translation:
        """Translate the command line to a parset; nothing is run or written."""

    def reporters(self, options: argparse.Namespace, settings: Settings, notify: Callable[[str], None]) -> list[object]:
        """Return more listeners to the events of the run."""
        return []

    def summarise(self, options: argparse.Namespace, state: RunState) -> int:
        """Print a summary after the run; return the exit status for a successful run."""
        return 0


class CommandModule(NamedTuple):
    """A sub-command of our own command line or of a front end."""

    name: str  # of the module
    program: str
    words: int  # positions on the command line


def command_module(words: Sequence[str]) -> CommandModule | None:
    """Return the sub-command of a command line, or None."""
    if not words:
        return None
    if words[0] in COMMANDS:
        return CommandModule(COMMANDS[words[0]], PROGRAM, 1)
    front = front_end(words[0])
    commands = front.commands if front else {}
    return CommandModule(commands[words[1]], words[0], 2) if words[1:] and words[1] in commands else None


def run_command(module: CommandModule, words: Sequence[str]) -> int:
    """Run a sub-command, and return the exit status."""
    return int(importlib.import_module(module.name).main(words))


def front_end(name: str) -> FrontEnd | None:
    """Return the front end of this name, or None."""
    places = (f"{HERE}/{name}.py", f"{HERE}/{name}/__init__.py")
    if not name.isidentifier() or not any(map(os.path.isfile, places)):
        return None
    front = getattr(importlib.import_module(f"{__package__}.{name}"), "FRONT_END", None)
    return front if isinstance(front, FrontEnd) else None


def front_ends() -> list[str]:
    """Return the names of all front ends."""
    return [info.name for info in pkgutil.iter_modules([HERE]) if front_end(info.name)]


def read_words(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line of a front end or of genericpipeline.py."""
    verb, name = (words[0], words[1:2]) if words and words[0] in VERBS else ("", words[:1])
    front = front_end(name[0]) if name else None
    if front is None:
        return read_command_line(words)
    flag = VERBS[verb][0] if verb else ""
    return read_front_end(front, *words[bool(verb) :], *([flag] if flag else []))


def read_front_end(front: FrontEnd, name: str, *words: str) -> argparse.Namespace:
    """Parse the command line of a front end; ``translate`` turns the options into a parset."""
    about = (importlib.import_module(f"{__package__}.{name}").__doc__ or "").partition("\n")[0]
    reader = Reader(name, description=about, conflict_handler="resolve")
    task_group = _add_run_arguments(reader, f"{name} (genericpipeline {__version__})")
    task_group.add_argument("--dry-run", action="store_true", help="print all predictable commands, write nothing")
    reader.set_defaults(program=name, translate=front.translate, summarise=front.summarise)
    reader.set_defaults(translation=None, executor=None, parset=None, fields=None, at_once=None, lenient=False)
    reader.set_defaults(reporters=front.reporters, prints_commands=False, shows_plan=False, template=False)
    reader.set_defaults(task=None, list=False, of_table=False)
    front.add_arguments(reader)
    options, further = reader.parse_known_intermixed_args(words)
    if further:
        from lofarpipe.errors import nearest

        odd = next((word.partition("=")[0] for word in further if word.startswith("-")), "")
        hint = nearest(odd, reader._option_string_actions) if odd else ""
        reader.error(f"unrecognized arguments: {' '.join(further)}{hint}")
    options.words = list(words)
    _refuse_two_tasks(reader, options)
    if problem := front.usage_problem(options):
        reader.error(problem)
    return options


def read_command_line(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line of genericpipeline.py; ``parset`` is None if absent.

    ``-n`` may be followed by True, False or nothing, and then by the parset: ``dry_run`` is a boolean. With --lenient,
    further words after the parset are ignored, as they were.
    """
    words = sys.argv[1:] if arguments is None else [*arguments]
    if words[:1] in (["help"], ["version"]) and not _is_file(words[0]):
        words[0] = f"--{words[0]}"
    verb = words.pop(0) if words and words[0] in VERBS else ""
    reader = parser(verb)
    _refuse_long_flags(reader, words)
    options, further = reader.parse_known_args([*words, *filter(None, [VERBS[verb][0] if verb else ""])])
    if further and not (options.lenient and all(not word.startswith("-") for word in further)):
        first = options.parset or ""
        if not verb and words[0] == first and "." not in first and not _is_file(first):
            reader.error(f"'{first}' is no command, and no parset{_advice(reader, words, further)}")
        extra_words = " ".join(further[:SHOWN]) + (
            f" ... and {len(further) - SHOWN} more" if len(further) > SHOWN else ""
        )
        reader.error(f"unrecognized arguments: {extra_words}{_advice(reader, words, further)}")
    if options.dry_run not in ("True", "False"):
        if options.parset is not None:
            advice = _advice(reader, words, ())
            reader.error(f"argument -n/--dry-run: '{options.dry_run}' is neither True nor False{advice}")
        options.parset, options.dry_run = options.dry_run, "True"
    if verb == "options" and options.template:
        options.options = False
    options.dry_run, options.shows_plan = options.dry_run == "True", verb == "plan"
    _refuse_two_tasks(reader, options)
    if options.fields and options.job_name:
        reader.error("argument -j/--job-name: not with --fields, whose job names are the names of the fields")
    if options.fields and (options.json or options.template):
        reader.error(f"argument --{'json' if options.json else 'template'}: not with --fields; ask for one field")
    if options.at_once is not None and not options.fields:
        reader.error("argument --at-once: it is for --fields")
    return options


def _refuse_long_flags(reader: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuse ``-name`` and ``-name=value``, which argparse would read as ``-n`` with the value ``ame``, ``ame=value``.

    Values directly behind their flag, such as ``-jfield`` and ``-srobust=0``, are valid.
    """
    for word in words:
        name, equals, text = word.partition("=")
        if len(name) < 3 or name[0] != "-" or name[1] == "-" or not name[1:].replace("-", "_").isidentifier():
            continue
        from lofarpipe.cli.advice import misread

        if f"-{name}" in reader._option_string_actions or (equals and name[1] != "s"):
            reader.error(f"unrecognized arguments: {word}{_advice(reader, words, (word,))}")
        if reason := misread(name, f"{equals}{text}", words):
            hint = _advice(reader, words, (word,)) or reason
            reader.error(f"unrecognized arguments: {word}{hint}")


def _is_file(name: str) -> bool:
    return os.path.isfile(name)  # noqa: PTH113 - the start must not pay for pathlib


def _refuse_two_tasks(reader: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    tasks = [f"--{name.replace('_', '-')}" for name in TASKS if getattr(options, name) not in (None, False)]
    if len(tasks) > 1:
        reader.error(f"argument {tasks[0]}: not allowed with argument {tasks[1]}; ask for one at a time")
    if options.json and not any(getattr(options, name) for name in JSON_TASKS):
        reader.error("argument --json: it is for --options, --check, --list and --dry-run (options, check, list, plan)")


def _advice(reader: argparse.ArgumentParser, words: Sequence[str], further: Sequence[str]) -> str:
    """Return advice on invalid words of genericpipeline.py's command line."""
    from lofarpipe.cli.advice import advice

    return advice(words, reader._option_string_actions, further, [*COMMANDS, *VERBS, *front_ends()])


class _Help(argparse.Action):
    """Prints the help; after --lenient the status is 1, as it was of old."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *_: object) -> None:
        parser.print_help()
        parser.exit(1 if namespace.lenient else 0)


def parser(verb: str = "") -> argparse.ArgumentParser:
    """Return the parser of genericpipeline.py's command line, or of the words after a verb."""
    top = Reader(
        prog=f"{PROGRAM} {verb}".rstrip(),
        description=VERBS[verb or "run"][1],
        epilog="" if verb else EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    top.add_argument("-h", "--help", action=_Help, nargs=0, help="show this help")
    top.add_argument("parset", nargs="?", help="the pipeline or the field to run; a shipped one is found by its name")
    task_group = _add_run_arguments(top, f"genericpipeline {__version__}")
    task_group.add_argument(
        "-n",
        "--dry-run",
        nargs="?",
        const="True",
        default="False",
        metavar="True|False",
        help="print all predictable commands, run and write nothing",
    )
    task_group.add_argument(
        "--lenient",
        action="store_true",
        help="make problems of the check warnings; a fault ends the run when it is met",
    )
    task_group.add_argument("--template", action="store_true", help="print a field parset to start from")
    if verb:
        _hide_other_tasks(task_group, verb)
    old = top.add_argument_group("accepted for old command lines")
    old.add_argument("--loglevel", metavar="LEVEL", help="has no effect; use -q, -v or -d")
    old.add_argument("--args", metavar="TEXT", help="has no effect")
    _add_fields_arguments(top.add_argument_group("many fields"))
    top.add_argument("--of-table", action="store_true", help=argparse.SUPPRESS)  # a run of one field of several
    top.set_defaults(reporters=None, prints_commands=False, shows_plan=False)
    top.set_defaults(program=PROGRAM, task=None, translate=None, translation=None, executor=None, summarise=None)
    return top


def _hide_other_tasks(task_group: argparse._ArgumentGroup, verb: str) -> None:
    """Leave the options of other verbs out of the help."""
    own_options = {"set", *VERB_OPTIONS.get(verb, ("json",))}
    task_group.title = "the pipeline"
    for action in task_group._group_actions:
        if action.dest not in own_options:
            action.help = argparse.SUPPRESS


def _add_run_arguments(top: argparse.ArgumentParser, version: str) -> argparse._ArgumentGroup:
    """Add the options of every run; return the group of the tasks."""
    task_group = top.add_argument_group("what to do (default: run the pipeline)")
    task_group.add_argument("--options", action="store_true", help="print every option with value, source and meaning")
    task_group.add_argument(
        "--json", action="store_true", help="print options, check, list or dry run as JSON, for tools"
    )
    task_group.add_argument("--check", action="store_true", help="read and check everything, run nothing")
    task_group.add_argument(
        "--list", action="store_true", help="print which steps are done, when, and how long they took"
    )
    task_group.add_argument(
        "--forget", metavar="STEP", help="make the next run start at this step, or run the job STEP/007; run nothing"
    )
    task_group.add_argument(
        "-s", "--set", metavar="KEY=VALUE", action="append", default=[], help="set an option, or any key"
    )
    _add_site_arguments(top.add_argument_group("where and with what"))
    volume = top.add_mutually_exclusive_group()
    volume.add_argument("-q", "--quiet", action="store_true", help="print problems only")
    volume.add_argument("-v", "--verbose", action="store_true", help="say when each job ends")
    volume.add_argument("-d", "--debug", action="store_true", help="say everything; show tracebacks")
    top.add_argument("-V", "--version", action="version", version=version)
    return task_group


def add_config(group: argparse._ActionsContainer) -> None:
    """Add the argument for the configuration, which names the directories of runs."""
    group.add_argument("-c", "--config", metavar="FILE", help="configuration of the site (pipeline.cfg)")


def _add_site_arguments(group: argparse._ArgumentGroup) -> None:
    add_config(group)
    group.add_argument(
        "-j", "--job-name", metavar="NAME", help="name of the run; default: the parset's, without extension"
    )
    group.add_argument("-r", "--runtime-directory", metavar="DIR", help="logs, maps and journal go to <DIR>/<job name>")
    group.add_argument("-w", "--working-directory", metavar="DIR", help="jobs work in <DIR>/<job name>")
    group.add_argument("-t", "--task-file", metavar="[FILE,...]", help="task definitions, instead of task_files")
    group.add_argument("--start-time", metavar="TIME", help="default: now (UTC)")
    group.add_argument("--cores", metavar="N", type=_cores, help="cores that the run may use of this machine; 0: all")
    group.add_argument(
        "--memory-gb",
        metavar="GB",
        type=_gigabytes,
        help="memory that the run may use of this machine, 10^9 bytes; 0: all",
    )


def _add_fields_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--fields", metavar="TABLE", help="run every field of a table (.csv, .toml) of options; each has its own job"
    )
    group.add_argument(
        "--at-once",
        metavar="N",
        type=_positive,
        help="number of concurrent fields; default: one per 8 cores and 16 GB, on clusters all",
    )


def arguments_of_fields(options: argparse.Namespace) -> list[str]:
    """Return the options shared by the runs of all fields."""
    flags = [f"--{name}" for name in ("lenient", "quiet", "verbose", "debug") if getattr(options, name)]
    names = ("config", "runtime_directory", "working_directory", "task_file")
    values = [f"--{name.replace('_', '-')}={value}" for name in names if (value := getattr(options, name)) is not None]
    return [options.parset, *flags, *values, *(f"--set={text}" for text in options.set)]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}': a whole number of at least 1 is needed")
    return int(text)


def _cores(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': a whole number is needed; 0 for all") from None


def _gigabytes(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}': a number of GB without unit is needed; 0 for all") from None
