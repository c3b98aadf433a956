"""Standard output of commands; write errors become one line."""

from __future__ import annotations

import sys

from lofarpipe.errors import PipelineError


def show(*lines: str, end: str = "\n") -> None:
    """Print some lines.

    Raises
    ------
    PipelineError
        If they cannot be written, but for a reader that went away (BrokenPipeError).
    """
    try:
        print(*lines, sep="\n", end=end)
    except BrokenPipeError:
        raise
    except OSError as err:
        raise _refusal(err) from err


def write_out() -> None:
    """Write the printed lines that wait in a buffer; at the exit of Python an error would have no message.

    Raises
    ------
    PipelineError
        If they cannot be written, but for a reader that went away (BrokenPipeError).
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as err:
        raise _refusal(err) from err


def _refusal(err: OSError) -> PipelineError:
    sys.stdout = None  # it is not tried again
    return PipelineError(f"standard output cannot be written: {err.strerror}; check its destination")
