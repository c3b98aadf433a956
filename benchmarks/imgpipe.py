"""Cost of imgpipe: start, dry run, and each job beyond a shell loop of the same commands.

Usage: python benchmarks/imgpipe.py [--jobs N] [--repeat N]

CPU seconds of all processes, medians; WSClean is a stub that writes one small image. The loop runs the same commands.
"""

from __future__ import annotations

import argparse
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from astropy.io import fits
from casacore.tables import default_ms

STUB = """#!/bin/sh
case "$1" in
--version) echo "WSClean version 3.1.0 (2022-04-01)"; exit 0;;
--help) cat {help}; exit 0;;
-dry-run) exit 0;;
esac
while [ $# -gt 0 ]; do [ "$1" = -name ] && name=$2; shift; done
exec cp {image} "$name-image.fits"
"""
HELP = "".join(
    f"-{name}{' <value>' * count}\n   An option.\n"
    for name, count in {"j": 1, "abs-mem": 1, "temp-dir": 1, "name": 1, "size": 2, "pol": 1, "dry-run": 0}.items()
)
TOML = (
    "[worker]\nenv_file = ''\n[wsclean]\ndata-column = false\nweight = false\nsize = 8\nout-dir = 'out/$ms_basename$'\n"
)


def cpu_s(argv: list[str], here: Path, **environment: str) -> float:
    """Return the CPU seconds of a command and all its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, cwd=here, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Site:
    """A directory with sets, a configuration and a stub."""

    def __init__(self, here: Path, jobs: int) -> None:
        self.here = here
        self.sets = [f"S{number:03d}.MS" for number in range(jobs)]
        for name in self.sets:
            default_ms(str(here / name)).close()
        (here / "img.toml").write_text(TOML)
        header = fits.Header({"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "BUNIT": "JY/BEAM"})
        fits.PrimaryHDU(np.ones((1, 1, 8, 8), np.float32), header).writeto(here / "stub.fits")
        (here / "help.txt").write_text(HELP)
        stub = here / "bin" / "wsclean"
        stub.parent.mkdir()
        stub.write_text(STUB.format(help=here / "help.txt", image=here / "stub.fits"))
        stub.chmod(0o755)
        self.environment = {"PATH": f"{stub.parent}:/usr/bin:/bin", "HOME": str(here), "PYTHONPATH": ":".join(sys.path)}

    def imgpipe(self, *words: str) -> float:
        """Return the CPU seconds of imgpipe."""
        return cpu_s([sys.executable, "-m", "lofarpipe.cli", "imgpipe", *words], self.here, **self.environment)

    def loop(self, jobs: int) -> float:
        """Return the CPU seconds of the same commands in a loop of the shell."""
        commands = [
            f"mkdir -p out/{name} && wsclean -size 8 8 -pol I -name out/{name}/img {shlex.quote(name)}"
            for name in self.sets[:jobs]
        ]
        return cpu_s(["/bin/sh", "-c", "; ".join(commands)], self.here, **self.environment)


def main() -> None:
    """Measure, and print one line per measurement."""
    reader = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    reader.add_argument("--jobs", type=int, default=20)
    reader.add_argument("--repeat", type=int, default=5)
    options = reader.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        site = Site(Path(directory), options.jobs)
        runs = range(options.repeat)
        every = ["img.toml", *site.sets]

        def median(*words: str) -> float:
            return statistics.median(site.imgpipe(*words) for _ in runs)

        start, dry = median("--help"), median(*every, "--dry-run")
        one, many = median("img.toml", site.sets[0], "--force"), median(*every, "--force")
        one_loop = statistics.median(site.loop(1) for _ in runs)
        many_loop = statistics.median(site.loop(options.jobs) for _ in runs)
    each = ((many - one) - (many_loop - one_loop)) / (options.jobs - 1)
    print(f"--help                      {start:.3f} CPU s")
    print(f"dry run of {options.jobs} sets           {dry:.3f} CPU s")
    print(f"1 job                       {one:.3f} CPU s, in a loop {one_loop:.3f}")
    print(f"{options.jobs} jobs                     {many:.3f} CPU s, in a loop {many_loop:.3f}")
    print(f"each further job            {each * 1000:.0f} ms beyond the loop")


if __name__ == "__main__":
    main()
