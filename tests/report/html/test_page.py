"""report.html as text: contents, omissions and writing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.report.html import page as html_page
from lofarpipe.report.html.page import main, page, write_page
from made_images import write_image
from made_jobs import BEGAN_S, HOSTILE, finished_run, large_run, whole_job, write_facts, write_journal

VOID = {"meta", "img", "input", "br", "link", "path", "rect"}


class Outline(HTMLParser):
    """Reads a page, and notes tags that are not closed, ids, and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "srcset", "data", "poster") or name.startswith("on"):
                self.addresses.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if self.open[-1:] == [tag]:
            self.open.pop()
        elif tag not in VOID:
            self.wrong.append(tag)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    return page(whole_job(tmp_path_factory.mktemp("whole") / "job"))


def test_tags_are_closed_and_ids_unique(whole: str) -> None:
    outline = Outline(whole)
    assert (outline.open, outline.wrong) == ([], [])
    assert len(set(outline.ids)) == len(outline.ids)


def test_page_has_no_external_address(whole: str) -> None:
    addresses = Outline(whole).addresses
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not re.search(r"@import|url\((?!data:|#)|javascript:", whole)


def test_file_contents_are_escaped(whole: str) -> None:
    assert HOSTILE not in whole
    assert whole.count("&lt;script&gt;alert(1)") > 10


def test_hostile_name_cannot_close_script(tmp_path: Path) -> None:
    job = whole_job(tmp_path / "job")
    name = "</script><img src=x onerror=alert(1)>-MFS-image.fits".replace("/", "\N{FRACTION SLASH}")
    (job / "fullband-MFS-image.fits").rename(job / name)
    (job / "quality.json").unlink()
    text = page(job)
    assert "<img src=x" not in text
    assert Outline(text).wrong == []


def test_page_is_reproducible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_page.time, "time", lambda: BEGAN_S)
    job = whole_job(tmp_path / "job")
    assert page(job) == page(job)


def test_journal_alone_gives_a_page(tmp_path: Path) -> None:
    write_journal(tmp_path, finished_run(tmp_path, "field"))
    text = page(tmp_path)
    assert Outline(text).wrong == []
    for section in ("image", "quality", "comparison", "beam", "plan"):
        assert f'id="{section}"' not in text
    assert 'id="timeline"' in text


def test_host_and_times_are_sentences(tmp_path: Path) -> None:
    facts = {"steps": [], "host": "node7", "executor": "local"}
    began = [{"event": "run_started", **facts}, {"event": "run_started", **facts}]
    write_journal(tmp_path, [*began, {"event": "run_ended", "ok": True, "time_s": BEGAN_S + 395.0}])
    said = page(tmp_path).partition('<p class="where">')[2].partition("</p>")[0]
    assert "took 6 min 35 s. On node7 (local). Run 2 of this job directory." in said
    assert re.search(r"directory\.\s+This page: ", said)


def test_failed_run_shows_its_problem(tmp_path: Path) -> None:
    events = [
        {"event": "run_started", "job": "field", "steps": ["a", "b"]},
        {"event": "step_started", "step": "a", "jobs": 1},
        {"event": "run_ended", "ok": False, "problem": "step 'a': 1 of 1 jobs failed\nLast lines: out of disk"},
    ]
    write_journal(tmp_path, events)
    text = page(tmp_path)
    assert '<span class="badge failed">failed</span>' in text
    assert "Last lines: out of disk" in text
    assert '<span class="badge waiting">waiting</span>' in text


def test_damaged_journal_is_read_partially(tmp_path: Path) -> None:
    write_journal(tmp_path, [{"event": "run_started", "job": "field"}])
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('{"event": "run_en')
    assert "<title>field: running</title>" in page(tmp_path)


def test_damaged_facts_are_omitted(tmp_path: Path) -> None:
    write_journal(tmp_path, finished_run(tmp_path, "field"))
    for name in ("plan", "quality", "comparison", "run"):
        (tmp_path / f"{name}.json").write_text("{")
    assert 'id="plan"' not in page(tmp_path)


def test_page_reports_undrawable_image(tmp_path: Path) -> None:
    job = whole_job(tmp_path / "job")
    (job / "fullband-MFS-primary-beam.fits").write_text("no beam")
    assert "fullband-MFS-primary-beam.fits: cannot be read as FITS" in page(job)


def test_undecodable_names_are_replaced(tmp_path: Path) -> None:
    write_journal(tmp_path, [{"event": "run_started", "job": "bad \udcff name"}])
    assert "<title>bad ? name: running</title>" in write_page(tmp_path).read_text(encoding="utf-8")


def test_earlier_page_is_replaced(tmp_path: Path) -> None:
    write_journal(tmp_path, [{"event": "run_started", "job": "field"}])
    (tmp_path / "report.html").write_text("old")
    assert write_page(tmp_path) == tmp_path / "report.html"
    assert "old" not in (tmp_path / "report.html").read_text()
    assert not list(tmp_path.glob(".report*"))


def test_many_jobs_make_no_large_page(tmp_path: Path) -> None:
    assert len(page(large_run(tmp_path / "large", log_bytes=6000))) < 10e6


def test_missing_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"journal\.jsonl: No such file or directory; name the directory of a run"):
        page(tmp_path)


def test_unwritable_page_is_an_error(tmp_path: Path) -> None:
    write_journal(tmp_path, [{"event": "run_started", "job": "field"}])
    (tmp_path / "report.html").mkdir()
    with pytest.raises(PipelineError, match=r"report\.html: the report cannot be written: .*; check the directory"):
        write_page(tmp_path)


def test_missing_stylesheet_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html_page, "TEMPLATES", tmp_path)
    write_journal(tmp_path, [{"event": "run_started", "job": "field"}])
    with pytest.raises(PipelineError, match=r"style\.css: No such file or directory; install the pipeline again"):
        page(tmp_path)


def test_command_line_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main([str(tmp_path)]) == 1
    assert "journal.jsonl" in capsys.readouterr().err
    write_journal(tmp_path, [{"event": "run_started", "job": "field"}])
    done = subprocess.run(
        [sys.executable, "-m", "lofarpipe.report.html.page", str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{tmp_path}/report.html\n"


def test_page_without_pictures_avoids_heavy_modules(tmp_path: Path) -> None:
    write_journal(tmp_path, finished_run(tmp_path, "field"))
    write_facts(tmp_path)
    (tmp_path / "comparison.json").unlink()
    (tmp_path / "plan.json").unlink()
    code = (
        "import sys; from pathlib import Path; from lofarpipe.report.html.page import page; page(Path(sys.argv[1]));"
        "print(*{'numpy', 'astropy', 'matplotlib', 'PIL', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_command_is_quoted_for_the_shell(tmp_path: Path) -> None:
    write_journal(tmp_path, [{"event": "run_started", "job": "field", "argv": ["runner", "-s", "sets=[/d/L *.MS]"]}])
    assert "runner -s &#39;sets=[/d/L *.MS]&#39;</pre>" in page(tmp_path)


def test_long_file_list_refers_to_run_record(tmp_path: Path) -> None:
    write_journal(tmp_path, [{"event": "run_started", "job": "field"}])
    record = {"inputs": [{"path": f"/d/{number:04d}.MS"} for number in range(301)], "products": [{"path": "/d/a.fits"}]}
    text = page(tmp_path, record=record)
    assert "<summary>inputs (301)</summary>" in text
    assert "0299.MS" in text
    assert "0300.MS" not in text
    assert text.count("1 more are in run.json.") == 1


def test_images_of_the_working_directory_are_shown(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "work").mkdir()
    write_journal(tmp_path / "job", [{"event": "run_started", "time_s": BEGAN_S, "job": "field"}])
    write_image(tmp_path / "work" / "one-image.fits")
    (tmp_path / "job" / "run.json").write_text(json.dumps({"run": {"working_directory": str(tmp_path / "work")}}))
    assert "one-image.fits" in write_page(tmp_path / "job").read_text()


def test_files_of_earlier_runs_are_hidden(tmp_path: Path) -> None:
    """The second run has not come to the step that measures, and makes no comparison any more."""
    whole_job(tmp_path / "job")
    job = tmp_path / "job"
    shown = page(job)
    files = ("plan.json", "quality.json", "comparison.json", "uv_coverage.png", *(p.name for p in job.glob("*.fits")))
    first = {"event": "step_done", "step": "measure", "written": {str(job / name): "1@2" for name in files}}
    begin = {"event": "run_started", "time_s": BEGAN_S, "job": "field", "steps": ["measure"]}
    write_journal(job, [begin, first])
    assert all(f'<section id="{name}">' in page(job) for name in ("image", "quality", "comparison", "plan"))
    write_journal(job, [begin, first, begin])
    (job / "run.json").write_text("{}")
    text = page(job)
    assert not any(f'<section id="{name}">' in text for name in ("image", "quality", "comparison", "plan", "beam"))
    assert len(text) < len(shown)
