"""report.html in a real browser: clicks, pointer and print."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from astropy.io import fits
from astropy.wcs import WCS

from lofarpipe.imaging.simulation.sky import separation_deg
from lofarpipe.report.html.page import write_page
from made_jobs import BEGAN_S, HOSTILE, SIDE, large_run, whole_job, write_journal

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed: apt-get install chromium"),
    pytest.mark.skipif(
        importlib.util.find_spec("playwright") is None, reason="Playwright is not installed: pip install -e '.[test]'"
    ),
]
LIMIT_S = 60.0
DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # In a container there are no rights for its sandbox, and it opens only our own page.
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The report of a made-up run in which everything has the name of a script."""
    return write_page(whole_job(tmp_path_factory.mktemp("made") / "job"))


@pytest.fixture(scope="module")
def long_names(tmp_path_factory) -> Path:
    """The report of a run in which every name is a long word."""
    return write_page(whole_job(tmp_path_factory.mktemp("made") / "job", "L123456_" + "x" * 300))


@pytest.fixture(scope="module")
def real(small_image) -> Path:
    """The report of an image made of real data, as the run wrote it."""
    return small_image / "report.html"


class Opened:
    """A page in the browser, with its requests and complaints."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.wait_until("document.querySelectorAll('.window').length === document.querySelectorAll('.drawn-on').length")

    def wait_until(self, expression: str) -> None:
        """Wait until an expression is true; asked from outside, for the page itself may not evaluate texts."""
        deadline = time.monotonic() + LIMIT_S
        while not self.page.evaluate(expression):
            assert time.monotonic() < deadline, expression
            self.page.wait_for_timeout(50)

    def point(self, column: float, row: float, sky: str = "flat") -> str:
        """Move to a place of a sky image, parts of its width and height; return the readout below it."""
        window = self.page.locator(f"figure[data-sky={sky}] .window")
        window.scroll_into_view_if_needed()
        box = window.bounding_box()
        # Whole pixels: the events of a wheel know no others.
        self.page.mouse.move(round(box["x"] + column * box["width"]), round(box["y"] + row * box["height"]))
        return self.readout(sky)

    def readout(self, sky: str = "flat") -> str:
        return self.page.locator(f"figure[data-sky={sky}] .readout").inner_text()

    def shade(self, column: float, row: float, sky: str = "flat") -> int:
        """The grey on the screen at a place of a sky image."""
        return self.page.evaluate(
            """([sky, column, row]) => { const canvas = document.querySelector(`figure[data-sky=${sky}] canvas`);
            return canvas.getContext("2d").getImageData(column * canvas.width, row * canvas.height, 1, 1).data[0]; }""",
            [sky, column, row],
        )

    def overflowing(self) -> list[str]:
        """Return elements that are wider than the screen and do not scroll by themselves."""
        return self.page.evaluate(
            """() => [document.documentElement.scrollWidth > innerWidth ? "page" : "",
            ...[...document.querySelectorAll("body *")].filter(element => element.getClientRects().length
              && element.getBoundingClientRect().right > innerWidth + 1 && !element.closest(".wide, pre, svg"))
            .map(element => element.outerHTML.slice(0, 120))].filter(Boolean)"""
        )


@pytest.fixture
def opened(browser, report):
    page = Opened(browser, report, viewport=DESKTOP)
    yield page
    page.context.close()


def test_page_makes_no_request_or_complaint(opened, report):
    opened.page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    opened.point(0.5, 0.5)
    opened.page.check("input[value=linear]")
    assert [url for url in opened.requests if not url.startswith("data:")] == [report.as_uri()]
    assert opened.said == []


def test_security_policy_blocks_requests_and_scripts(opened):
    fetched = opened.page.evaluate("fetch('http://127.0.0.1:9/x').then(() => 'came', error => String(error))")
    assert "Failed to fetch" in fetched
    assert any("127.0.0.1" in line and "Content Security Policy" in line for line in opened.said), opened.said
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'}))"
    )
    assert opened.page.evaluate("window.ran") is None
    assert any("inline script" in line and "Content Security Policy" in line for line in opened.said), opened.said


def test_hostile_names_are_text(opened):
    assert opened.page.title() == f"{HOSTILE}: done"
    assert opened.page.locator("h1").inner_text().startswith(HOSTILE)
    assert opened.page.locator("script").count() == 3  # ours, and the numbers of two images
    assert opened.page.locator("#messages").inner_text().count(HOSTILE) == 1
    for section in ("#plan", "#comparison", "#steps", "#setup"):
        assert HOSTILE in opened.page.locator(section).text_content(), section


def test_logs_open_with_a_click(opened):
    log = opened.page.locator("details.job pre.log", has_text="cleaning")
    assert not log.is_visible()
    opened.page.locator("details.step > summary", has_text="image").click()
    opened.page.locator("details.job > summary", has_text="image/000").click()
    assert log.is_visible()
    assert opened.page.locator("pre.command", has_text="wsclean -size 96 96").is_visible()
    opened.page.click("#close-all")
    assert not log.is_visible()


def test_failed_jobs_open_together_and_come_first(opened):
    opened.page.locator("details.step > summary", has_text="average").click()
    first = opened.page.locator("details.step", has_text="average").locator("details.job > summary").first
    assert "average/001" in first.inner_text()
    opened.page.click("#open-failed")
    assert opened.page.locator("details.job.failed pre.problem").is_visible()


@pytest.mark.parametrize(("column", "row"), [(0.5, 0.5), (0.03, 0.05), (0.9, 0.2)])
def test_pointer_coordinates_agree_with_astropy(opened, report, column, row):
    shown = opened.point(column, row)
    found = re.match(r"(\d+)h(\d+)m([\d.]+)s ([+−])(\d+)°(\d+)′(\d+)″ J2000, ([\d.]+)° from the centre", shown)
    assert found, shown
    hours, minutes, seconds, sign, degrees, arcmin, arcsec, distance = found.groups()
    wcs = WCS(fits.getheader(report.parent / "fullband-MFS-image.fits"), fix=False).celestial
    box = opened.page.locator("figure[data-sky=flat] .window").bounding_box()
    inner = box["width"] - 2  # the border is not part of the picture
    place = [
        (round(box[edge] + part * box["width"]) - box[edge] - 1) / inner * SIDE
        for edge, part in (("x", column), ("y", row))
    ]
    right_ascension, declination = wcs.wcs_pix2world(place[0] - 0.5, SIDE - place[1] - 0.5, 0)
    assert 15 * (int(hours) + int(minutes) / 60 + float(seconds) / 3600) == pytest.approx(
        float(right_ascension) % 360, abs=1e-3
    )
    shown_declination = int(degrees) + int(arcmin) / 60 + int(arcsec) / 3600
    assert (shown_declination if sign == "+" else -shown_declination) == pytest.approx(float(declination), abs=1e-3)
    assert float(distance) == pytest.approx(offset_deg(wcs, float(right_ascension), float(declination)), abs=0.006)


def offset_deg(wcs: WCS, right_ascension: float, declination: float) -> float:
    """The angle between a place and the reference value."""
    return separation_deg((float(wcs.wcs.crval[0]), float(wcs.wcs.crval[1])), (right_ascension, declination))


def test_pointer_flux_agrees_with_image(opened, report):
    # The source is 20 columns left of the middle, and 10 rows above.
    place = ((SIDE / 2 - 20 + 0.5) / SIDE, 1 - (SIDE / 2 + 10 + 0.5) / SIDE)
    opened.point(*place)
    pixels = fits.getdata(report.parent / "fullband-MFS-image-pb.fits")[0, 0]
    shown = re.search(r"([\d.]+) Jy/beam at pixel (\d+), (\d+)", opened.readout("corrected"))
    assert shown, opened.readout("corrected")
    assert [int(number) for number in shown.groups()[1:]] == [SIDE // 2 - 20 + 1, SIDE // 2 + 10 + 1]  # from 1, as FITS
    assert float(shown[1]) == pytest.approx(float(pixels[SIDE // 2 + 10, SIDE // 2 - 20]), rel=0.05)


def test_readout_marks_blank_pixels(opened):
    assert "blank at pixel 1, 1" in opened.point(0.006, 0.994, "corrected")
    assert opened.shade(0.003, 0.997, "corrected") == 214  # bluish, which no flux is


def test_readout_ends_with_the_image(opened):
    before = opened.readout()
    assert "J2000" in opened.point(0.5, 0.5)
    opened.page.mouse.move(0, 0)
    assert opened.readout() == before == "96 × 96 pixels"


def test_scale_switches_between_asinh_and_linear(opened):
    source = ((SIDE / 2 - 20 + 0.5) / SIDE, 1 - (SIDE / 2 + 10 + 0.5) / SIDE)
    wing = (source[0] + 5 / SIDE, source[1])
    asinh = opened.shade(*wing)
    opened.page.check("input[value=linear]")
    linear = opened.shade(*wing)
    assert opened.shade(*source) == 0
    assert linear < asinh - 30  # 16 rms is black already
    opened.page.check("input[value=asinh]")
    assert opened.shade(*wing) == asinh


def ticks(page: Any, edge: str, sky: str = "flat") -> list[tuple[str, str]]:
    """The labels at an edge of a sky image with their places."""
    side = "x" if edge == "ra" else "y"
    found = page.locator(f"figure[data-sky={sky}] svg.{edge} text")
    return [(text.text_content(), text.get_attribute(side)) for text in found.all()]


def test_tick_coordinates_agree_with_astropy(opened, report):
    wcs = WCS(fits.getheader(report.parent / "fullband-MFS-image.fits"), fix=False).celestial
    for edge, marks in (("ra", "hms"), ("dec", "°′″")):
        labels = [(label, float(place[:-1]) / 100) for label, place in ticks(opened.page, edge)]
        assert len(labels) >= 2
        for label, place in labels:
            units, minutes, seconds = (
                int(found[1]) if (found := re.search(rf"(\d+){mark}", label)) else 0 for mark in marks
            )
            value = (units + minutes / 60 + seconds / 3600) * (-1 if label.startswith("−") else 1)
            # The lower edge and the left one, in pixels from 0 at the middle of the first.
            pixel = (place * SIDE - 0.5, -0.5) if edge == "ra" else (-0.5, (1 - place) * SIDE - 0.5)
            world = wcs.wcs_pix2world(*pixel, 0)
            expected = float(world[0]) % 360 / 15 if edge == "ra" else float(world[1])
            assert value == pytest.approx(expected, abs=0.002)


def test_static_picture_has_axes(browser, report):
    context = browser.new_context(java_script_enabled=False, viewport=DESKTOP)
    page = context.new_page()
    page.goto(report.as_uri())
    for sky in ("flat", "corrected"):
        assert page.locator(f"figure[data-sky={sky}] img.picture").is_visible()
        assert not page.locator(f"figure[data-sky={sky}] .frame").is_visible()
    context.close()


def test_script_replaces_static_picture(opened):
    assert not opened.page.locator("figure[data-sky=flat] img.picture").is_visible()
    assert opened.page.locator("figure[data-sky=flat] .frame").is_visible()
    assert opened.page.locator("figure[data-sky=flat] .unit").inner_text() == "mJy/beam"


def test_ticks_follow_zoom_and_agree_with_pointer(opened):
    before = ticks(opened.page, "dec")
    for _ in range(5):
        opened.page.click("#zoom-in")
    near = ticks(opened.page, "dec")
    assert near != before
    label, place = near[0]
    shown = re.search(r"([+−])(\d+)°(\d+)′(\d+)″", opened.point(0.002, float(place[:-1]) / 100))
    degrees, arcmin = re.match(r"[+−](\d+)°(?:(\d+)′)?", label).groups()
    # A pixel of the screen is 0.6 arcmin here at the most.
    assert int(shown[2]) * 60 + int(shown[3]) + int(shown[4]) / 60 == pytest.approx(
        int(degrees) * 60 + int(arcmin or 0), abs=2
    )


def shown_scale(page: Any, sky: str = "flat") -> Any:
    """The one scale of fluxes that is seen below an image."""
    seen = [scale for scale in page.locator(f"figure[data-sky={sky}] svg.scale").all() if scale.is_visible()]
    assert len(seen) == 1
    return seen[0]


def test_flux_scale_agrees_with_greys(browser, opened, report):
    assert shown_scale(opened.page).get_attribute("data-scale") == "asinh"
    opened.page.check("input[value=linear]")
    for sky in ("flat", "corrected"):
        assert shown_scale(opened.page, sky).get_attribute("data-scale") == "linear"
    # Noise of 1 mJy/beam: from -4 to 16 mJy/beam, each pixel is as grey as its flux is far along.
    flat = fits.getdata(report.parent / "fullband-MFS-image.fits")[0, 0] * 1e3
    labels = [
        (float(text.text_content()), text.get_attribute("x")) for text in shown_scale(opened.page).locator("text").all()
    ]
    (low, at_low), (high, at_high) = [(flux, float(place[:-1]) / 100) for flux, place in (labels[0], labels[-1])]
    for column, row in ((70, 70), (60, 30), (28, 60)):
        place = at_low + (flat[row, column] - low) / (high - low) * (at_high - at_low)
        shade = opened.shade((column + 0.5) / SIDE, 1 - (row + 0.5) / SIDE)
        assert shade == pytest.approx(255 * (1 - min(1, max(0, place))), abs=6)
    opened.page.check("input[value=asinh]")
    assert shown_scale(opened.page).get_attribute("data-scale") == "asinh"
    opened.page.emulate_media(media="print")
    assert shown_scale(opened.page).get_attribute("data-scale") == "asinh"


def test_zoom_moves_both_images(opened):
    before = opened.point(0.75, 0.75, "corrected")
    for _ in range(3):
        opened.page.click("#zoom-in")
    near = opened.point(0.75, 0.75, "corrected")
    distances = [float(re.search(r"([\d.]+)° from the centre", text)[1]) for text in (before, near)]
    assert distances[1] == pytest.approx(distances[0] / 1.5**3, abs=0.01)
    assert re.search(r"pixel.*", opened.readout("flat"))[0] == re.search(r"pixel.*", near)[0]
    opened.page.mouse.down()
    opened.page.mouse.move(100, 100)
    opened.page.mouse.up()
    assert opened.point(0.75, 0.75, "corrected") != near
    opened.page.click("#zoom-fit")
    assert opened.point(0.75, 0.75, "corrected") == before


def test_wheel_zooms_only_with_ctrl(opened):
    before = opened.point(0.6, 0.4)
    opened.page.evaluate("scrollBy(0, 60)")
    scrolled = opened.page.evaluate("scrollY")
    opened.page.mouse.wheel(0, -30)
    opened.wait_until(f"scrollY < {scrolled}")
    assert "zoomed" not in opened.page.locator("figure[data-sky=flat] .window").get_attribute("class")
    before = opened.point(0.6, 0.4)
    opened.page.keyboard.down("Control")
    opened.page.mouse.wheel(0, -600)
    opened.page.keyboard.up("Control")
    opened.wait_until("document.querySelector('.window').classList.contains('zoomed')")
    assert opened.point(0.6, 0.4) == before  # the point under the pointer stays there


def test_keys_zoom_and_move(opened):
    window = opened.page.locator("figure[data-sky=flat] .window")
    window.focus()
    for key in ("+", "+", "ArrowRight", "ArrowUp"):
        window.press(key)
    assert re.search(r"pixel (\d+), (\d+)", opened.point(0.5, 0.5)).groups() > ("49", "49")
    for _ in range(2):
        window.press("-")
    assert "zoomed" not in window.get_attribute("class")


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("which", ["report", "long_names", "real"])
def test_page_does_not_overflow(browser, viewport, which, request):
    page = Opened(browser, request.getfixturevalue(which), viewport=viewport)
    assert page.overflowing() == []
    page.page.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert page.overflowing() == []
    page.context.close()


def cut_off(page: Opened) -> list[str]:
    """The cells of explained tables that cannot be seen without scrolling."""
    return page.page.evaluate(
        """() => [...document.querySelectorAll(".explained td")].filter(
          cell => cell.getBoundingClientRect().right > cell.closest(".wide").getBoundingClientRect().right + 1
        ).map(cell => cell.innerText)"""
    )


@pytest.mark.parametrize("which", ["report", "long_names", "real"])
def test_phone_stacks_explained_tables(browser, which, request):
    page = Opened(browser, request.getfixturevalue(which), viewport=PHONE)
    assert cut_off(page) == []
    value, why = (page.page.locator(f"#plan .explained tbody tr:first-child td:nth-child({place})") for place in (2, 3))
    assert why.bounding_box()["y"] > value.bounding_box()["y"]
    before = why.evaluate("cell => getComputedStyle(cell, '::before').content")
    assert before.replace('" "', "") == '"why: "'
    assert not page.page.locator("#plan .explained thead").is_visible()
    page.page.emulate_media(media="print")
    assert page.page.locator("#plan .explained thead").is_visible()
    assert why.bounding_box()["y"] == value.bounding_box()["y"]
    page.context.close()


def test_desktop_keeps_explained_tables(opened):
    cells = opened.page.locator("#plan .explained tbody tr:first-child td").all()
    assert len({cell.bounding_box()["y"] for cell in cells}) == 1
    assert opened.page.locator("#plan .explained thead").is_visible()


def test_real_run_gives_complete_report(browser, real):
    page = Opened(browser, real, viewport=DESKTOP)
    assert page.page.locator("nav a").all_inner_texts() == [
        *("Image", "Quality", "Beam and uv coverage", "Plan", "Timeline", "Steps and logs", "Messages"),
        "Versions and options",
    ]
    assert re.search(r"\d+h\d+m[\d.]+s .* Jy/beam|mJy/beam|μJy/beam", page.point(0.4, 0.4))
    assert page.page.locator("h1 .badge").inner_text() == "done"
    page.page.locator("details.step > summary", has_text="wsclean_high_deep").click()
    page.page.locator("details.job > summary", has_text="wsclean_high_deep/000").click()
    assert "WSClean version" in page.page.locator("details.job[open] pre.log").inner_text()
    images = page.page.evaluate("[...document.images].map(image => image.complete && image.naturalWidth > 0)")
    assert len(images) == 9  # the sky twice, drawn and in greys; noise twice, beam, uv coverage, smearing
    assert all(images)
    assert page.said == []
    assert [url for url in page.requests if not url.startswith("data:")] == [real.as_uri()]
    page.context.close()


def test_links_have_targets(opened):
    missing = opened.page.evaluate(
        "[...document.querySelectorAll('a')].map(a => a.hash).filter(hash => !document.querySelector(hash))"
    )
    assert missing == []


def test_page_prints_with_images(opened):
    assert opened.page.pdf(format="A4").startswith(b"%PDF")
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("nav").is_visible()
    assert opened.page.locator("figure[data-sky=flat] canvas").is_visible()


def test_dark_colour_scheme_is_honoured(browser, report):
    page = Opened(browser, report, color_scheme="dark")
    assert page.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(20, 24, 31)"
    page.context.close()


def test_page_without_scripts_lacks_only_pointer(browser, report):
    context = browser.new_context(java_script_enabled=False, viewport=DESKTOP)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("figure[data-sky=flat] img.picture").is_visible()
    page.locator("details.step > summary", has_text="image").click()
    page.locator("details.job > summary", has_text="image/000").click()
    assert page.locator("pre.log", has_text="cleaning").is_visible()
    context.close()


def test_page_of_244_subbands_opens(browser, tmp_path):
    path = write_page(large_run(tmp_path / "large"))
    assert path.stat().st_size < 10e6
    page = Opened(browser, path, viewport=PHONE)
    assert page.page.locator("details.job").count() == 6 * 244
    assert page.overflowing() == []
    page.page.locator("details.step > summary").last.click()
    page.page.locator("details.step").last.locator("details.job > summary").last.click()
    assert "bytes are left out here" in page.page.locator("details.job[open] pre.log").inner_text()
    page.context.close()


def test_started_run_has_a_page(browser, tmp_path):
    write_journal(tmp_path, [{"event": "run_started", "job": "field", "steps": ["a"], "time_s": BEGAN_S}])
    page = Opened(browser, write_page(tmp_path), viewport=DESKTOP)
    assert page.page.locator("h1").inner_text() == "field running"
    assert "Nothing ran" in page.page.locator("#timeline").inner_text()
    assert page.said == []
    page.context.close()


def test_script_numbers_contain_no_pictures(report):
    numbers = re.findall(r'class="sky-numbers"[^>]*>(.*?)</script>', report.read_text())
    assert [json.loads(text)[name] for text in numbers for name in ("greys", "drawn")] == [""] * 4
