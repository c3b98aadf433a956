"""A directory with a pipeline in it, which notes the jobs that are started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from copy_pipeline import CONFIG, copy_step, gather_step, journalled, list_step
from lofarpipe.cli import main
from lofarpipe.programs.find import job_environment

LIMIT_S = 60.0  # longest wait on a busy machine


# Three files are copied, copied again or changed in place, and joined.
STEPS = """\
pipeline.steps = [list, copy, again, gather, join]
copy.control.cores = 1
again.control.cores = 1
join.control.type = executable_args
join.control.executable = {here}/join.sh
join.control.mapfile_in = gather.output.mapfile
join.control.inputkey = files
join.argument.flags = [files, {here}/out/joined.txt]
"""


PARSET = (
    STEPS
    + gather_step("again")
    + list_step("[{here}/in/a.txt, {here}/in/b.txt, {here}/in/c.txt]")
    + copy_step("copy", "list", "{here}/copy.sh", "copy, infile, outfile")
    + copy_step("again", "copy", "{here}/copy.sh", "again, infile, outfile")
)


# Each start is noted, with the existing files. ``fail-<step>-<product>`` makes a job fail, ``hold-...`` makes it write
# half of its output and stay, ``slow-...`` makes it end slowly on a signal.
COPY = """\
#!/bin/sh
name=$1-$(basename "$2" | cut -c 1)
echo "$name" >> {here}/starts.txt
[ ! -e "$3" ] || echo "$3" >> {here}/there.txt
[ ! -e {here}/fail-$name ] || exit 3
[ ! -e {here}/running-$name ] || echo "$name" >> {here}/twice.txt
if [ -e {here}/hold-$name ]; then
  touch {here}/running-$name
  [ ! -e {here}/slow-$name ] || trap 'sleep 1; rm {here}/running-$name; exit 1' TERM
  echo half >> "$3"
  touch {here}/held-$name
  while :; do sleep 0.05; done
fi
cat "$2" > "$3"
"""


# Adds a line to a file; ``wait-<product>`` makes it stay before, ``hold-...`` after that.
MARK = """\
#!/bin/sh
name=mark-$(basename "$1" | cut -c 1)
echo "$name" >> {here}/starts.txt
if [ -e {here}/wait-$name ]; then touch {here}/held-$name; while :; do sleep 0.05; done; fi
echo marked >> "$1"
if [ -e {here}/hold-$name ]; then touch {here}/held-$name; while :; do sleep 0.05; done; fi
"""


JOIN = """\
#!/bin/sh
echo join >> {here}/starts.txt
[ ! -e "$2" ] || echo "$2" >> {here}/there.txt
: > "$2"
for name in $(echo "$1" | tr -d '[]' | tr ',' ' '); do cat "$name" >> "$2"; done
if [ -e {here}/hold-join ]; then touch {here}/held-join; while :; do sleep 0.05; done; fi
"""


COUNT = """\
import pathlib

def main(infile, here):
    name = pathlib.Path(infile).name[0]
    with open(f'{here}/starts.txt', 'a') as starts:
        starts.write(f'count-{name}\\n')
    assert not pathlib.Path(f'{here}/fail-count-{name}').exists()
    return {'total': f'{name}{len(open(infile).read())}'}
"""


class Site:
    """A directory with a pipeline in it that notes its started jobs."""

    def __init__(self, here: Path) -> None:
        self.here = here
        self.more: tuple[str, ...] = ()
        for name in ("in", "out", "my/scripts"):
            (here / name).mkdir(parents=True)
        for name in "abc":
            (here / "in" / f"{name}.txt").write_text(f"{name}\n")
        for name, text in {"copy.sh": COPY, "mark.sh": MARK, "join.sh": JOIN}.items():
            (here / name).write_text(text.format(here=here))
            (here / name).chmod(0o755)
        (here / "my/scripts/count.py").write_text(COUNT)
        (here / "pipeline.cfg").write_text(CONFIG.format(here=here))
        (here / "run.parset").write_text(PARSET.format(here=here))

    @property
    def job(self) -> Path:
        return self.here / "run"

    def arguments(self, *assignments: str) -> list[str]:
        words = [word for text in (*self.more, *assignments) for word in ("-s", text)]
        return ["run.parset", "-c", "pipeline.cfg", *words]

    def run(self, *assignments: str, status: int = 0) -> list[str]:
        """Run, and return which jobs were started, sorted."""
        self.forget_starts()
        assert main(self.arguments(*assignments)) == status
        return self.starts()

    def starts(self) -> list[str]:
        return sorted(self.noted("starts.txt"))

    def noted(self, name: str) -> list[str]:
        path = self.here / name
        return path.read_text().splitlines() if path.exists() else []

    def forget_starts(self) -> None:
        (self.here / "starts.txt").unlink(missing_ok=True)

    def set(self, *names: str) -> None:
        for name in names:
            (self.here / name).touch()

    def unset(self, *names: str) -> None:
        for name in names:
            (self.here / name).unlink()

    def kill_engine_when(self, *held: str) -> list[str]:
        """Run, kill the engine by SIGKILL when these jobs are held, and return the started jobs."""
        self.forget_starts()
        engine = subprocess.Popen(
            [sys.executable, "-m", "lofarpipe.cli", *self.arguments()],
            cwd=self.here,
            env={**os.environ, **job_environment()},
            stdout=subprocess.DEVNULL,
        )
        wait_until(lambda: all((self.here / f"held-{name}").exists() for name in held) or engine.poll() is not None)
        assert engine.poll() is None
        engine.kill()
        engine.wait()
        return self.starts()

    def events(self, kind: str) -> list[dict[str, Any]]:
        return journalled(self.job, kind)

    def text(self, name: str) -> str:
        return (self.here / name).read_text()


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)
