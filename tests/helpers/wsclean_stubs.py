"""Programs that answer ``--version`` and ``--help`` as WSClean builds do that are not installed here.

They make no image: only which arguments they would be given is tested with them. The version texts were recorded from
such builds; the help is that of the installed program, from 3.2 on with ``-gridder`` in place of the old flags.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

HEADER = "\nWSClean version {version} (2022-04-01)\nThis software package is released under the GPL version 3.\n\n"
SCRIPT = """#!/bin/sh
case "$1" in
  -version) cat {version};;
  -help) cat {help};;
  -dry-run) case "$2" in -nosuch*|-paddin) echo "+ >>> Unknown parameter: ${{2#-}}"; exit 255;; esac;;
esac
"""
OLD_GRIDDER_HELP = ("-use-idg", "-use-wgridder", "-direct-ft")


def make_stub(folder: Path, help_of: Path, version: str = "3.1.0", parts: tuple[str, ...] = ("WGridder",)) -> Path:
    """Write a stub with these parts built in, and return its path."""
    help_text = subprocess.run([help_of, "--help"], capture_output=True, text=True, check=True).stdout
    if version >= "3.2":
        lines = [line for line in help_text.split("\n") if line not in OLD_GRIDDER_HELP]
        help_text = "\n".join([*lines, "-gridder <type>", "   Choose the gridder."])
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"version": HEADER.format(version=version) + "".join(f"{part} is available.\n" for part in parts)}
    texts["help"] = help_text
    for name, text in texts.items():
        (folder / name).write_text(text)
    stub = folder / "wsclean"
    stub.write_text(SCRIPT.format(version=folder / "version", help=folder / "help"))
    stub.chmod(0o755)
    return stub
