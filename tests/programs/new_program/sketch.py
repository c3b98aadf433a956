from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lofarpipe.jobs import Resources
from lofarpipe.programs.argv import OutputArgument
from lofarpipe.programs.base import Detector, Keywords, Limit, LineReader, Program, Progress
from lofarpipe.support.disk import Need


class Sketch(Program):
    """Sketch, an imager: ``sketch SET --name=... --size=...`` writes ``<name>-map.fits``."""

    name = "Sketch"
    home = "https://sketch.example.org"
    executables = ("scribble", "sketch")  # its former name, and its name
    install = "pip install sketch"
    task = {"executable": "sketch", "args_format": "gnu"}
    limits = {"max_residual": Limit(100.0, "residual of Sketch at which the job is ended, Jy; 0: any")}
    messages = ((r"no such grid", "make size a multiple of 8"),)
    output_key = "name"

    def check(self, executable, keywords, flags, machine: Resources) -> list[str]:
        size = keywords.get("size", "8")
        return [] if size.isdecimal() and int(size) % 8 == 0 else [f"size is '{size}'; a multiple of 8 is needed"]

    def missing_files(self, keywords, flags, workdir: Path) -> list[tuple[str, str]]:
        names = [keywords["mask"]] if "mask" in keywords else []
        return [(name, f"mask: there is no {workdir / name}") for name in names if not (workdir / name).exists()]

    def complete(self, executable, keywords, flags, share: Resources) -> tuple[Keywords, list[str], list[str]]:
        return {"threads": str(share.cores), **keywords}, list(flags), []

    def output(self, argv: Sequence[str], workdir: Path) -> OutputArgument | None:
        places = (place for place, text in enumerate(argv) if text.startswith("--name="))
        found = [OutputArgument(place, "--name=", argv[place].partition("=")[2], "-map.fits") for place in places]
        return found[0] if found else None

    def products(self, argv: Sequence[str], workdir: Path) -> list[str]:
        output = self.output(argv, workdir)
        return [f"{workdir / output.name}-map.fits"] if output else []

    def in_place(self, keywords, flags, workdir: Path = Path()) -> list[str]:
        return list(flags) if keywords.get("subtract") == "yes" else []  # from the sets themselves

    def needs(self, keywords, flags, workdir: Path) -> list[Need]:
        return [Need(workdir, 4.0 * int(keywords.get("size", "8")) ** 2, "the map")]

    def detector(self, limits: Mapping[str, float]) -> Detector:
        def sign(line: str) -> str | None:
            found = re.fullmatch(r"residual (\d+) Jy", line)
            if not found or not 0 < limits["max_residual"] < int(found[1]):
                return None
            return f"the residual is {found[1]} Jy, beyond max_residual = {limits['max_residual']:g} Jy"

        return sign

    def line_reader(self) -> LineReader:
        def read(line: str, _: Progress) -> Progress | None:
            found = re.fullmatch(r"cycle (\d+) of (\d+)", line)
            return Progress(line, int(found[1]) / int(found[2])) if found else None

        return read


PROGRAM = Sketch()
