"""The options of lofar-clean: WSClean's names, each used, without a meaning, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.programs.find import find
from lofarpipe.programs.lofar_clean import options as table
from lofarpipe.programs.wsclean.build import describe_build

GIVEN = {"size": ["100", "80"], "scale": ["10asec"]}


def findings(**options: str) -> list[str]:
    """Return the findings on some options beside size and scale; ``_`` stands for a dash."""
    return table.option_findings(GIVEN | {name.replace("_", "-"): text.split() for name, text in options.items()})


def test_every_wsclean_option_has_one_group() -> None:
    groups = (set(table.OPTIONS), set(table.IGNORED), set(table.REFUSED))
    assert sum(map(len, groups)) == len(set.union(*groups))
    build = describe_build(find("wsclean"))
    assert build.options - set.union(*groups) - set(table.OTHER_SPELLINGS) == set()
    counts = table.value_counts()
    assert {name: counts[name] for name in build.options if counts[name] != build.value_counts[name]} == {}


def test_options_of_image_pipeline_are_valid() -> None:
    given = {
        "channels-out": ["3"], "join-channels": [], "weight": ["briggs", "-0.5"], "niter": ["100000"], "mgain": ["0.8"],
        "auto-mask": ["5"], "auto-threshold": ["3"], "minuv-l": ["80"], "maxuv-l": ["7000"], "gridder": ["auto"],
        "weighting-rank-filter": ["0"], "pol": ["I"], "threshold": ["0"], "padding": ["1.2"], "fit-beam": [],
        "reorder": [], "no-update-model-required": [], "temp-dir": ["/tmp"], "name": ["a"], "scale": ["0.00208"],
    }  # fmt: skip
    assert table.option_findings(GIVEN | given) == []
    assert table.notices(given)[0] == (
        "-mgain has no effect: a major cycle goes as deep as the patches of the PSF are right"
    )


@pytest.mark.parametrize(
    ("name", "text", "finding"),
    [
        ("size", "100", "-size: takes <width> <height>, and has '100'"),
        ("size", "100 8.5", "-size is '100 8.5'; an integer >= 16 and <= 100000 is needed"),
        ("scale", "10parsec", "-scale is '10parsec'; an angle such as 7.5asec or 0.002 > 0 is needed"),
        ("scale", "0", "-scale is '0'; an angle such as 7.5asec or 0.002 > 0 is needed"),
        ("niter", "many", "-niter is 'many'; an integer >= 0 is needed"),
        ("niter", "nan", "-niter is 'nan'; an integer >= 0 is needed"),
        ("gain", "1.5", "-gain is '1.5'; a number > 0 and <= 1 is needed"),
        ("weight", "briggs", "-weight is 'briggs'; natural, uniform or briggs with a number such as"),
        ("weight", "radial", "-weight is 'radial'; natural, uniform or briggs with a number such as"),
        ("pol", "XX", "-pol is 'XX'; some of I, Q, U and V, such as I or IQUV (others: use WSClean), is needed"),
        ("gridder", "idg", "-gridder is 'idg'; one of wgridder, tuned-wgridder, auto (others: use WSClean) is needed"),
        ("multiscale_scales", "0,-5", "-multiscale-scales is '0,-5'; numbers >= 0 joined by commas is needed"),
        ("name", "", "-name: takes <image-prefix>, and has ''"),
        ("weighting_rank_filter", "-3", "-weighting-rank-filter is '-3'; a number >= 0 is needed"),
        ("use_idg", "", "-use-idg: there is no IDG, and there are no a-terms; remove it, or use WSClean (https://wsclean"),
        ("shift", "1 2", "-shift: the phase centre is that of the sets; move it with DP3 before; remove it, or use"),
        ("nither", "1", "-nither: no such option; did you mean 'niter'?"),
        ("channels_out", "3", "-channels-out is 3: all are cleaned together here; add -join-channels, or use WSClean"),
    ],
)  # fmt: skip
def test_wrong_option_gives_one_finding(name: str, text: str, finding: str) -> None:
    found = findings(**{name: text})
    assert len(found) == 1
    assert found[0].startswith(finding)


def test_contradictions_are_found() -> None:
    assert findings(minuv_l="80", maxuv_l="70") == [
        "-minuv-l is 80 and -maxuv-l 70 wavelengths; the first must be smaller"
    ]
    assert findings(auto_mask="3", auto_threshold="3")[0].startswith("-auto-threshold is 3, and -auto-mask 3;")
    assert findings(update_model_required="", no_update_model_required="")[0].startswith("-update-model-required: -no-")
    assert findings(save_source_list="", multiscale="")[0].startswith("-save-source-list: the list has points only;")
    wrong = "-station-beams is for Stokes I alone; remove it, or give -pol I"
    assert [findings(station_beams="1", pol=pol) for pol in ("I", "IQUV", "V")] == [[], [wrong], [wrong]]
    assert table.option_findings({}) == [
        "-size is missing; give <width> <height>",
        "-scale is missing; give <pixel-scale>",
    ]


@pytest.mark.parametrize(
    ("text", "degrees"),
    [("0.002", 0.002), ("1e-3", 1e-3), ("30asec", 30 / 3600), ("30arcsec", 30 / 3600), ("1.5amin", 0.025),
     ("2E1asec", 20 / 3600), ("0.1rad", 5.729577951), ("3parsec", None), ("asec", None), ("", None)],
)  # fmt: skip
def test_angle_text_gives_degrees(text: str, degrees: float | None) -> None:
    assert table.angle_deg(text) == (None if degrees is None else pytest.approx(degrees))


def test_plain_taper_is_in_arcseconds() -> None:
    assert table.angle_deg("36", "asec") == pytest.approx(0.01)


def test_page_has_every_option() -> None:
    page = (Path(__file__).parents[3] / "doc" / "imager.md").read_text()
    assert [row for row in table.table_rows() if row not in page.splitlines()] == []
    assert [name for name in (*table.IGNORED, *table.REFUSED) if f"`{name}`" not in page] == []


def test_help_shows_every_option() -> None:
    text = table.help_text("lofar-clean 1")
    assert all(f"-{name}" in text for name in table.value_counts() if name not in table.OTHER_SPELLINGS)
    assert max(map(len, text.splitlines())) <= 120
