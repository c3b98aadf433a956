"""The process that ends the jobs when the engine itself was killed."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import subprocess
from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType

from lofarpipe.executors.local.staging import MARKER
from lofarpipe.support.processes import carrying

# It reads which process groups live ("+ 1234 "), and which directories are theirs ("+ d7 /path/"), until the engine
# says that it has ended them ("."), or dies. A directory without our marker is somebody else's, or still empty.
# What the engine had started and not yet told of, and what left its group, is found by its environment; it is looked
# for twice, for a process may just be becoming a program.
# A shell, because one per run of jobs has to cost next to nothing: 1 ms, where an interpreter of Python takes 10.
SCRIPT = """
trap '' HUP INT TERM USR1 USR2 XCPU
tenths=$1
marker=$2
mark=$4
shift 4
looks=0
while IFS=' ' read -r change key directory; do
  case $change in
  .) looks=2 ;;
  +) set -- "$@" "$key $directory" ;;
  -) for entry do
       shift
       [ "${entry%% *}" = "$key" ] || set -- "$@" "$entry"
     done ;;
  esac
done
[ $# -gt 0 ] || [ $looks = 0 ] || exit 0
tell() {
  number=$1
  shift
  for entry do
    case $entry in [1-9]*) kill -s "$number" -- "-${entry%% *}" ;; esac
  done
}
lives() {
  for entry do
    case $entry in [1-9]*) kill -s 0 -- "-${entry%% *}" && return 0 ;; esac
  done
  return 1
}
tell TERM "$@"
while [ "$tenths" -gt 0 ] && lives "$@"; do
  sleep 0.1
  tenths=$((tenths - 1))
done
tell KILL "$@"
strays() {
  for file in $(grep -lsz "^$mark\\$" /proc/[0-9]*/environ); do
    file=${file#/proc/}
    echo "${file%/environ}"
  done
}
number=TERM
while [ $looks -lt 2 ] && [ "$tenths" -gt -100 ]; do
  left=$(strays)
  if [ -z "$left" ]; then
    looks=$((looks + 1))
    sleep 0.3
    continue
  fi
  kill -s $number $left
  sleep 0.1
  tenths=$((tenths - 1))
  [ "$tenths" -gt 0 ] || number=KILL
done
for entry do
  directory=${entry#* }
  case $directory in /*) ;; *) continue ;; esac
  if [ -e "$directory$marker" ]; then
    rm -rf -- "$directory" || { sleep 1; rm -rf -- "$directory"; }
  else
    rmdir -- "$directory"
  fi
done
"""
COMMAND = ("/bin/sh", "-c", SCRIPT, "guardian")
MARK = "LOFARPIPE_GUARDED_BY"  # in the environment of jobs


def guardians(engines: Collection[int], proc: Path = Path("/proc")) -> list[int]:
    """Return the process ids of the guardians that were started by processes which have died.

    One whose parent is the process that it names belongs to a living engine, which has got the id of a dead one.
    """
    found = []
    wanted = {str(engine).encode() for engine in engines}
    for entry in proc.iterdir():
        with contextlib.suppress(OSError):  # it ended while we looked
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            is_one = words[:4] == [word.encode() for word in COMMAND] and words[6] in wanted
            if is_one and _parent(entry) != words[6]:
                found.append(int(entry.name))
    return found


def _parent(entry: Path) -> bytes:
    # "pid (name, which may hold anything) state parent ..."
    stat = (entry / "stat").read_bytes()
    return stat[stat.rindex(b")") + 2 :].split(maxsplit=2)[1]


class Guardian:
    """Watches over process groups while the ``with`` block runs.

    If this process dies in the block, even by SIGKILL, every watched group gets SIGTERM, and SIGKILL after ``grace_s``
    seconds at most; so does every process that has ``environment`` in its own, whoever started it. Then the directories
    of the jobs are removed.

    Attributes
    ----------
    environment: for jobs: what tells their processes, and those that these start, from all others.
    """

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self.environment = {MARK: secrets.token_hex(8)}

    def __enter__(self) -> Guardian:
        read_end, self._pipe = os.pipe()
        try:
            self._process = subprocess.Popen(
                [*COMMAND, f"{math.ceil(10 * self._grace_s)}", MARKER, str(os.getpid()), self._mark()],
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
        self._tell(".\n")
        os.close(self._pipe)
        self._process.wait()

    def strays(self) -> list[int]:
        """Return the living processes that have ``environment`` in their own; to look for them takes milliseconds."""
        return carrying(self._mark())

    def _mark(self) -> str:
        return f"{MARK}={self.environment[MARK]}"

    def own(self, number: int, directories: Iterable[Path]) -> None:
        """Add directories of job ``number``, which need not be there yet; relative ones are not looked after."""
        for directory in directories:
            # The slash keeps blanks at the end of a name; a name with a line break would read as two lines.
            if "\n" not in str(directory):
                self._tell(f"+ d{number} {directory}/\n")

    def disown(self, number: int) -> None:
        """Take away the directories of job ``number``, which have been removed."""
        self._tell(f"- d{number}\n")

    def watch(self, group: int) -> None:
        """Add a process group."""
        self._tell(f"+ {group} \n")

    def forget(self, group: int) -> None:
        """Take away a process group that has ended; to be called before its leader is reaped."""
        self._tell(f"- {group}\n")

    def _tell(self, line: str) -> None:
        # Somebody may have killed the guardian; the jobs go on without it.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._pipe, os.fsencode(line))
