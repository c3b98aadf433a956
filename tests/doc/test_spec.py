"""Citations in the code lead to a section of a page in doc/spec, and every section there is cited."""

import re

import pytest

from doc_pages import REPOSITORY

FOLDERS = ("lofarpipe", "pipelines", "plugins", "scripts", "steps", "cfg", "benchmarks", "tests", "tools")
KINDS = (".py", ".cfg", ".parset", ".css", ".j2", "")
SECTION = r"\d+(?:\.\d+)?"
CITATION = re.compile(rf"\b(?:\w+/)*(?:spec|notes)/\w+\.md(?:, sections? {SECTION}(?:(?:, | and | to ){SECTION})*)?")


def citations():
    """Yield (file, text) of every citation of doc/spec in the repository."""
    for folder in FOLDERS:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.suffix in KINDS and path.is_file() and path.parent.name != "doc":
                text = " ".join(path.read_text(errors="replace").split()).replace(" # ", " ")
                yield from ((str(path.relative_to(REPOSITORY)), cited) for cited in CITATION.findall(text))


def sections(page):
    """Return the numbers of a page's headings, in their order."""
    return re.findall(rf"^##+ ({SECTION}) ", page.read_text(), re.MULTILINE)


def problem(citation):
    """Return why a citation leads nowhere, or an empty text."""
    name, _, places = citation.partition(", section")
    page = REPOSITORY / name
    if not name.startswith("doc/spec/") or not page.is_file():
        return f"{name} is no file"
    known, cited = sections(page), re.findall(SECTION, places)
    missing = [number for number in cited if number not in known]
    return f"{name} has no section {', '.join(missing)}" if missing else "" if cited else "no section is named"


def cited_sections(citation):
    """Return the sections of a citation, those of a range included."""
    name, _, places = citation.partition(", section")
    known, numbers = sections(REPOSITORY / name), []
    for first, last in re.findall(rf"({SECTION})(?: to ({SECTION}))?", places):
        numbers += known[known.index(first) : known.index(last or first) + 1]
    return {(name, number) for number in numbers}


def test_citations_have_target_sections():
    found = list(citations())
    assert len(found) > 70
    assert [(file, text, problem(text)) for file, text in found if problem(text)] == []


@pytest.mark.parametrize(
    ("citation", "expected"),
    [
        ("doc/spec/lofarpipe.md, sections 3.1 to 3.3 and 5.3", ""),
        ("doc/spec/lofarpipe.md, section 99.1", "no section 99.1"),
        ("doc/spec/lofarpipe.md", "no section is named"),
        ("doc/spec/gone.md, section 1", "is no file"),
        ("spec/lofarpipe.md, section 3.1", "is no file"),
        ("notes/engines.md, section 2", "is no file"),
        ("shared/spec/lofarpipe.md, section 3.1", "is no file"),
    ],
)
def test_broken_citations_are_reported(citation, expected):
    assert CITATION.findall(f"a rule. Source: {citation}; more") == [citation]
    assert problem(citation).endswith(expected)
    assert bool(problem(citation)) == bool(expected)


def test_every_section_is_cited():
    cited = {place for _, text in citations() for place in cited_sections(text)}
    for page in (REPOSITORY / "doc" / "spec").glob("*.md"):
        name = f"doc/spec/{page.name}"
        numbers = [number for number in sections(page) if (name, number) not in cited]
        assert [n for n in numbers if not any(s.startswith(f"{n}.") for s in sections(page))] == [], name
