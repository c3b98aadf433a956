"""The process that ends the jobs when the engine itself was killed."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from types import TracebackType

# It reads which process groups live, and which directories are theirs, until the engine closes the pipe or dies.
# A shell, because one per run of jobs has to cost next to nothing: 1 ms, where an interpreter of Python takes 10.
SCRIPT = """
trap '' HUP INT TERM
grace=$1
shift
while IFS=' ' read -r change pid directory; do
  case $change in
  +) set -- "$@" "$pid $directory" ;;
  -) for job do
       shift
       [ "${job%% *}" = "$pid" ] || set -- "$@" "$job"
     done ;;
  esac
done
[ $# -gt 0 ] || exit 0
for job do kill -s TERM -- "-${job%% *}"; done
sleep "$grace"
for job do
  kill -s KILL -- "-${job%% *}"
  directory=${job#* }
  [ -z "$directory" ] || rm -rf -- "$directory"
done
"""


class Guardian:
    """Watches over process groups while the ``with`` block runs.

    If this process dies in the block, even by SIGKILL, every watched group gets SIGTERM, and SIGKILL ``grace_s``
    seconds later; temporary directories are removed. Not covered: the few microseconds between the start of a job and
    ``watch``, and processes that left their group.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s

    def __enter__(self) -> Guardian:
        read_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", SCRIPT, "guardian", f"{self._grace_s:g}"],
                stdin=read_end,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is not meant for it
            )
        except OSError:
            os.close(self._pipe)
            raise
        finally:
            os.close(read_end)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._pipe)
        self._process.wait()

    def watch(self, group: int, tempdir: Path | None) -> None:
        """Add a process group, and the directory to remove after it."""
        # The slash keeps blanks at the end of a name; a name with a line break would read as two lines.
        directory = f"{tempdir}/" if tempdir and "\n" not in str(tempdir) else ""
        self._tell(f"+ {group} {directory}\n")

    def forget(self, group: int) -> None:
        """Take away a process group that has ended; to be called before its leader is reaped."""
        self._tell(f"- {group}\n")

    def _tell(self, line: str) -> None:
        # Somebody may have killed the guardian; the jobs go on without it.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, os.fsencode(line))
