"""Images of many measurement sets from one TOML file: one WSClean job per set or group of sets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lofarpipe.cli.arguments import FrontEnd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lofarpipe.config import Settings
    from lofarpipe.pipeline.preflight import Translation
    from lofarpipe.state.run_state import RunState

SHELLS = ("bash", "zsh", "fish")
#: Sub-commands; a configuration with such a name is given as ``./status``.
COMMANDS = {"status": "lofarpipe.cli.imgpipe.status"}
HELP_OF_SETS = "measurement sets; with a data handler OBS[,OBS...][:WINDOW], patterns of observations and windows"


def _list_sets(options: argparse.Namespace) -> int:
    """Print the sets of a command line; return the exit status, 1 if one is missing."""
    from lofarpipe.cli.imgpipe import translation

    return translation.print_sets(options)


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"there is no file '{text}'")
    return path


class _Completion(argparse.Action):
    """Prints the completion for a shell, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, _: object, shell: Any, __: object = None) -> None:
        from lofarpipe.cli.completion import completion

        print(completion(shell, parser, tuple(COMMANDS)), end="")
        parser.exit()


class _Template(argparse.Action):
    """Prints the template, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from lofarpipe.cli.imgpipe.template import template

        print(template(), end="")
        parser.exit()


class _Schema(argparse.Action):
    """Prints the schema, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Sequence[str] | object) -> None:
        from lofarpipe.cli.imgpipe.template import schema

        print(schema(), end="")
        parser.exit()


class ImgPipe(FrontEnd):
    """The command line of imgpipe."""

    commands = COMMANDS

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments of imgpipe, as they were, and ours."""
        parser.set_defaults(prints_commands=True)
        parser.add_argument(
            "config_file", metavar="CONFIG_FILE", type=_file, help="TOML file: [worker], [wsclean], ..."
        )
        parser.add_argument("sets", metavar="MS_OR_OBS_IDS", nargs="+", help=HELP_OF_SETS)
        parser.set_defaults(is_incomplete=False)
        group = parser.add_argument_group("images")
        group.add_argument("-c", "--combine", action="store_true", help="one job for each group of sets")
        group.add_argument(
            *("-o", "--combine_obs_ids", "--combine-obs-ids"),
            dest="across",
            action="store_true",
            help="with --combine: groups go across observations",
        )
        group.add_argument("-n", "--nodes_mpi", "--nodes-mpi", metavar="TEXT", help="accepted for old command lines")
        group.add_argument("--dry_run", dest="dry_run", action="store_true", help=argparse.SUPPRESS)
        group.add_argument(
            "--job-dir", metavar="DIR", help="where the records are kept; default: <CONFIG_FILE>.runs/<sets>"
        )
        group.add_argument("--force", action="store_true", help="make the images again")
        group.add_argument(
            *("--skip_missing", "--skip-missing"),
            dest="skip_missing",
            action="store_true",
            help="go on with the existing sets; the exit code is 1",
        )
        group.add_argument(
            "--list",
            dest="task",
            action="store_const",
            const=_list_sets,
            help="print the sets, and whether they exist",
        )
        group.add_argument("--completion", action=_Completion, choices=SHELLS, help="print the completion for a shell")
        group.add_argument("--config-template", action=_Template, nargs=0, help="print a commented TOML file")
        group.add_argument(
            "--schema", action=_Schema, nargs=0, help="print a JSON schema of the TOML file, for editors"
        )

    def usage_problem(self, options: argparse.Namespace) -> str:
        """Return the fault of options that do not go together, or ""."""
        is_alone = options.across and not options.combine
        return (
            "argument -o/--combine_obs_ids: needs --combine, whose groups it makes larger; add -c" if is_alone else ""
        )

    def translate(self, options: argparse.Namespace) -> Translation:
        """Return the file, with the sets of the command line, as a parset."""
        from lofarpipe.cli.imgpipe.translation import imgpipe_translation

        return imgpipe_translation(options)

    def reporters(self, options: argparse.Namespace, settings: Settings, tell: Callable[[str], None]) -> list[object]:
        """Return the reporter of job commands, if ``debug`` is set."""
        from lofarpipe.cli.imgpipe.summary import CommandLines

        return [CommandLines(settings.job_directory / "commands.txt", tell)] if options.shows_commands else []

    def summarise(self, options: argparse.Namespace, state: RunState) -> int:
        """Print the table of the images; return the exit status."""
        from lofarpipe.cli.imgpipe import summary

        status = summary.write_image_table(state, options.job_directory, options.quiet)
        return max(status, int(options.is_incomplete))


FRONT_END = ImgPipe()
