"""The command lines of spice_image and spice_process: the table of options as arguments."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from lofarpipe.cli.arguments import FrontEnd
from lofarpipe.cli.spice.table import POSITIONALS, SpiceOption, spice_options

if TYPE_CHECKING:
    from lofarpipe.state.run_state import RunState

PREFIX = "spice_"  # of the names of their values: the engine has some of its own
EXCLUSIVE = ("hosted_wsclean", "local_wsclean")
METAVARS = {"integer": "N", "number": "X", "path": "PATH", "list": "LIST", "text": "TEXT"}


class SpiceFrontEnd(FrontEnd):
    """A front end whose run images the beams of an array feed."""

    def summarise(self, options: argparse.Namespace, state: RunState) -> int:
        """Print the table of the beams; return the exit status."""
        from lofarpipe.cli.spice.summary import write_beam_table
        from lofarpipe.cli.spice.translation import polarisations

        return write_beam_table(state, options.quiet, polarisations(options))


def add_options(parser: argparse.ArgumentParser, more: Iterable[SpiceOption] = (), positionals: str = "") -> None:
    """Add the folders, the options of the pipeline, and ``more``; each is spelled with ``_`` or ``-``."""
    table = spice_options()
    parser.usage = f"%(prog)s [options] msdir datadir{' field' if positionals else ''}"
    for name in POSITIONALS:
        parser.add_argument(f"{PREFIX}{name}", metavar=name, type=_reader(table[name]), help=_help(table[name]))
    if positionals:
        parser.add_argument(f"{PREFIX}field", metavar="field", help=positionals)
    group = parser.add_argument_group("images")
    either = group.add_mutually_exclusive_group()
    for option in [option for name, option in table.items() if name not in POSITIONALS] + [*more]:
        _add_option(either if option.name in EXCLUSIVE else group, option)
    group.add_argument(
        "--job-dir", metavar="DIR", help="where the records are kept; default: <datadir>/spice.runs/<sets>"
    )
    add_spellings(parser)


def _add_option(group: argparse._ActionsContainer, option: SpiceOption) -> None:
    name, dest = f"--{option.name}", f"{PREFIX}{option.name}"
    if option.is_flag:
        group.add_argument(name, dest=dest, action="store_const", const="True", help=_help(option))
        return
    metavar = f"{{{','.join(option.choices)}}}" if option.choices else METAVARS[option.kind]
    group.add_argument(name, dest=dest, metavar=metavar, type=_reader(option), help=_help(option))


def _help(option: SpiceOption) -> str:
    default = "" if option.is_flag or not option.default else f"; default: {option.default}"
    return f"{option.meaning}{default}".replace("%", "%%")


def _reader(option: SpiceOption) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            return option.text(text)
        except ValueError as err:
            raise argparse.ArgumentTypeError(f"is '{text}'; {err}") from err

    return read


def add_spellings(parser: argparse.ArgumentParser) -> None:
    """Accept every option with ``_`` or ``-``, and no abbreviations."""
    parser.allow_abbrev = False
    for name, action in list(parser._option_string_actions.items()):
        stem = name[2:]
        if name.startswith("--"):
            for spelling in {f"--{stem.replace('-', '_')}", f"--{stem.replace('_', '-')}"}:
                parser._option_string_actions.setdefault(spelling, action)
