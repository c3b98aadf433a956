"""lofar-clean: cleaned images of measurement sets, by the imager of this package; the options are WSClean's."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lofarpipe.programs.lofar_clean.options import (
    DRY_RUN,
    INSTALL,
    OTHER_SPELLINGS,
    PROGRAM,
    VERSION,
    answer,
    missing_imager_packages,
    notices,
    option_findings,
    value_counts,
)

if TYPE_CHECKING:
    from lofarpipe.imaging.imager.settings import ImagerSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    from lofarpipe.cli import open_closed_streams, run_guarded

    open_closed_streams()
    words = sys.argv[1:] if arguments is None else list(arguments)
    return run_guarded(lambda: run_imager(words), debug=bool(os.environ.get("LOFAR_CLEAN_DEBUG")), program=PROGRAM)


def run_imager(words: Sequence[str]) -> int:
    """Print help or version, or make the images.

    Raises
    ------
    UsageError
        If the command line is wrong; the message lists every error.
    PipelineError
        If the images cannot be made.
    """
    from lofarpipe.errors import PipelineError, UsageError

    options, sets = split_words(words)
    if "help" in options or "version" in options:
        return int(not answer(["-help" if "help" in options else "-version"]))
    wrong = option_findings(options)
    wrong += [] if sets else ["no measurement set is named; give one or more behind the options"]
    wrong += [f"{path}: there is no such measurement set" for path in sets if not os.path.isdir(path)]  # noqa: PTH112
    if wrong:
        raise UsageError("\n".join(wrong))
    if missing := missing_imager_packages():
        raise PipelineError(f"{' and '.join(missing)}: not installed; {INSTALL}, or use another imager")
    if DRY_RUN in options:
        return 0
    from lofarpipe.programs.lofar_clean.settings import make_settings
    from lofarpipe.support.heap import keep_freed_memory

    keep_freed_memory()
    say = (lambda _: None) if "quiet" in options else print_line
    for line in (VERSION, *notices(options)):
        say(line)
    make_logged_images(make_settings(options, sets), say, shlex.join([PROGRAM, *words]))
    return 0


def make_logged_images(settings: ImagerSettings, say: Callable[[str], None], command: str) -> None:
    """Make the images; ``say`` gets the lines of the log."""
    import signal

    from lofarpipe.imaging.imager.session import make_images as make
    from lofarpipe.jobs import Interrupted

    def end(number: int, _frame: object) -> None:
        raise Interrupted(number, "the last major cycle was saved")

    former_handler = signal.signal(signal.SIGTERM, end)
    try:
        make(settings, say, [command])
    finally:
        signal.signal(signal.SIGTERM, former_handler)


def print_line(line: str) -> None:
    """Print a line at once: whoever watches the log reads it."""
    print(line, flush=True)


def split_words(words: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Return option -> its values, and the measurement sets behind the options.

    Raises
    ------
    UsageError
        If an option is not known, stands behind a set, or lacks values.
    """
    from lofarpipe.errors import UsageError, nearest

    counts, options, place = value_counts(), dict[str, list[str]](), 0
    while place < len(words) and words[place].startswith("-"):
        typed = words[place].removeprefix("-").removeprefix("-")
        if typed not in counts:
            raise UsageError(f"-{typed}: no such option{nearest(typed, counts)}; see {PROGRAM} -help")
        count = counts[typed] + (
            typed == "weight" and [word.lower() for word in words[place + 1 : place + 2]] == ["briggs"]
        )
        values = list(words[place + 1 : place + 1 + count])
        options[OTHER_SPELLINGS.get(typed, typed)] = values
        place += 1 + count
    sets = list(words[place:])
    misplaced_option = next((word for word in sets if word.startswith("-")), "")
    if misplaced_option:
        raise UsageError(f"{misplaced_option}: stands behind the measurement set {sets[0]}; put it before")
    return options, sets
