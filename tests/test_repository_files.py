"""Files for newcomers: citation, contributing, forms of the tracker, and the site of the pages."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from doc_pages import PAGES, REPOSITORY
from lofarpipe import __version__

FORMS = sorted((REPOSITORY / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def test_citation_has_required_keys() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert str(citation["version"]) == __version__
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert citation["license"] == project["license"]["text"]
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in project["authors"]]
    for reference in citation["references"]:
        assert {"type", "title", "authors"} <= reference.keys()
        assert re.fullmatch(r"10\.\d{4,}/\S+", reference.get("doi", "10.1234/none"))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_tracker_forms_follow_their_format(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    if path.name == "config.yml":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= form.keys()
    fields = [field["id"] for field in form["body"]]
    assert len(set(fields)) == len(fields) > 0
    for field in form["body"]:
        assert field["type"] in ("input", "textarea", "dropdown", "markdown", "checkboxes")
        assert field["attributes"]["label"]


def test_contributing_names_existing_files() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert (REPOSITORY / target).exists(), target
    for name in re.findall(r"`((?:tools|tests|doc)/[\w./]+)`", text):
        assert (REPOSITORY / name).exists(), name


# ---- the site


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", REPOSITORY / "tools/pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "link", "moved"),
    [
        ("README.md", "[a](doc/tour.md#the-site)", "[a](tour.md#the-site)"),
        ("README.md", "![a](doc/pictures/report.png)", "![a](pictures/report.png)"),
        ("README.md", "[a](LICENSE)", "a"),
        ("doc/pipelines/image.md", "[a](../parset.md)", "[a](../parset.md)"),
        ("doc/tour.md", "[a](../cfg/tasks.cfg)", "a"),
        ("doc/tour.md", "[a](#b) [c](https://d.example/e)", "[a](#b) [c](https://d.example/e)"),
    ],
)
def test_site_links_are_rewritten(pages, source: str, link: str, moved: str) -> None:
    assert pages._LINK.sub(lambda found: pages._moved(found, source), link) == moved


def test_site_contains_all_pages(tmp_path: Path) -> None:
    if importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("material") is None:
        pytest.skip("the extra docs is not installed")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("index.html")}
    wanted = {str(page.relative_to(REPOSITORY / "doc").with_suffix("")) for page in PAGES if page.name != "README.md"}
    assert wanted | {"."} <= made
    assert "Two commands" in (tmp_path / "index.html").read_text()
