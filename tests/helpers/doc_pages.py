"""The pages of the documentation as tests see them: blocks of code, tables, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "doc").rglob("*.md"))]
FRONT_ENDS = ("imgpipe", "spice_image", "spice_process")
INSTALLERS = ("conda", "apptainer", "podman")
OWN = ("genericpipeline.py", *FRONT_ENDS, ".venv/bin/genericpipeline.py")
COMMANDS = (*OWN, "make", "pip", "apt-get", "python", *INSTALLERS)
_PARSET_LINE = re.compile(r"!\s*\w|[\w-]+\.[\w.-]+\s*=")
_PYTHON_LINE = re.compile(r'(from|import|def) |OUTPUTS = |"""')
_FILE_LINE = re.compile(r"`([\w/.]+)`:$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """An indented block of a page, without its indentation."""

    page: Path
    line: int
    text: str
    file: str = ""  # the file that it is, where the line before it ends with that name

    @property
    def kind(self) -> str:
        """The kind of the block: session, shell, python, table, config, toml, yaml, sections, parset, or formula."""
        lines = [line for line in self.text.splitlines() if line]
        if lines[0].startswith("$ "):
            return "session"
        if lines[0].split()[0] in COMMANDS:
            return "shell"
        if lines[0].startswith("field,"):
            return "table"
        if lines[0].startswith("[DEFAULT]"):
            return "config"
        if self.file.endswith((".toml", ".yaml")):
            return self.file.rpartition(".")[2]
        if re.fullmatch(r"\[\w+\]", lines[0]):
            return "sections"
        if _PYTHON_LINE.match(lines[0]):
            return "python"
        if any(_PARSET_LINE.match(line) for line in lines):
            return "parset"
        return "formula"

    @property
    def name(self) -> str:
        """Page and line, for people."""
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the indented blocks of a page; blank lines inside one belong to it."""
    start, lines, before = 0, [], ""
    for number, line in enumerate([*page.read_text(encoding="utf-8").splitlines(), "end"], 1):
        if line.startswith("    ") or (lines and not line.strip()):
            start = start if lines else number
            lines.append(line[4:])
        elif lines:
            file = _FILE_LINE.search(before)
            yield Block(page, start, "\n".join(lines).rstrip(), file[1] if file else "")
            lines, before = [], line
        elif line.strip():
            before = line


def blocks_of_kind(kind: str) -> list[Block]:
    """Return the blocks of one kind on all pages."""
    return [block for page in PAGES for block in blocks(page) if block.kind == kind]


def links(page: Path) -> list[str]:
    """Return the targets of all links."""
    return _LINK.findall(page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings as links spell them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def table(page: Path, heading: str) -> list[list[str]]:
    """Return the rows of the table that has this text in its header line, each as its cells."""
    lines = page.read_text(encoding="utf-8").splitlines()
    (first,) = [number for number, line in enumerate(lines) if line.startswith("|") and heading in line]
    rows = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def code_words(text: str) -> list[str]:
    """Return the words between backquotes."""
    return _CODE.findall(text)


def column_words(page: Path, heading: str) -> set[str]:
    """Return everything between backquotes in the first column of a table."""
    return {word for row in table(page, heading) for word in code_words(row[0])}
