"""doc/pipelines/image.md against the pipeline: every option, step, product, number and message."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import subprocess
import sys

import pytest
from astropy.io import fits

from doc_pages import REPOSITORY, blocks, code_words, column_words, table
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.plan.fft_size import image_size
from lofarpipe.imaging.plan.plan import count_channels_out
from lofarpipe.imaging.plan.smearing import LOW_DECLINATION_FACTOR, peak_limits
from lofarpipe.programs.find import find
from lofarpipe.programs.wsclean import program as wsclean
from lofarpipe.support.parset import Parset

PAGE = REPOSITORY / "doc" / "pipelines" / "image.md"
TEXT = PAGE.read_text()
SMALL = ["-s", "cellsize_highres_deg=0.02", "-s", "niter=50", "-s", "maxlambda_highres=3000"]
WSCLEAN = re.compile(r"\S*wsclean \(WSClean [\d.]+\)")
WRITTEN_BY_CATALOGUE = "fullband-MFS.skymodel"
WRITTEN_BY_COMPARISON = "comparison.json"


def run(here, *arguments):
    """Run the command line in a directory."""
    command = [sys.executable, "-m", "lofarpipe.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def build():
    """Features of the installed WSClean; skips without the programs."""
    try:
        find("DP3")
        return wsclean.describe_build(find("wsclean"))
    except PipelineError as err:
        pytest.skip(str(err))


@pytest.fixture(scope="module")
def job(small_image, build):
    """The job directory of a small image."""
    return small_image


# ---- options and steps


def shown_options(here):
    """Return name -> (value, domain) from --options."""
    done = run(here, "--options", "image.parset")
    assert done.returncode == 0, done.stderr
    found = re.findall(r"^(\w+) = (.*)\n    .* \(([^()]*)\)\n    set in ", done.stdout, re.MULTILINE)
    assert len(found) == done.stdout.count("    set in ")
    return {name: (value, domain) for name, value, domain in found}


def test_page_lists_every_option_and_default(tmp_path):
    rows = table(PAGE, "| option | default |")
    described = {row[0].strip("`"): (row[1].strip("`"), row[2]) for row in rows}
    shown = shown_options(tmp_path)
    assert list(described) == list(shown)
    for name, (value, domain) in shown.items():
        assert described[name] == (value, domain.replace(" | ", ", ")), name
    assert all(row[3] for row in rows)


def steps_of(fused, listed):
    """Return step -> program, in the words of the page, for one choice of the options that change the list."""
    settings = [f"fuse_average_concat={fused}", f"make_source_list={listed}"]
    from lofarpipe.config import Overrides, load_settings
    from lofarpipe.pipeline.load import find_parset, load_pipeline

    path = find_parset("image.parset")
    pipeline = load_pipeline(path, load_settings(path, Overrides()), settings)
    words = {"dp3": "DP3", "wsclean": "WSClean"}
    runs = {}
    for step in pipeline.steps:
        script = f"script `{step.control.get('executable')}`"
        recipe = words.get(step.type, script)
        plugin = f"plugin `{step.type}`"
        feedback = f"feedback, {step.control.get('product_type')}"
        runs[step.name] = {"recipe": recipe, "plugin": plugin, "feedback": feedback}[step.kind]
    return runs


def test_page_lists_every_step_in_order():
    rows = [(row[0].strip("`"), row[1]) for row in table(PAGE, "| step | program |")]
    both = {}
    for fused in ("True", "False"):
        steps = steps_of(fused, "True")
        assert [row for row in rows if row[0] in steps] == list(steps.items())
        both |= steps
    assert dict(rows) == both
    assert set(both) - set(steps_of("True", "False")) >= {"make_source_list"}


# ---- decisions


def test_page_explains_every_planned_quantity(job):
    plan = json.loads((job / "plan.json").read_text())
    assert column_words(PAGE, "| quantity | value |") == set(plan["quantities"])
    for entry in ("averaged", "input", "added_by_averaging", "closed_form_total", "worst_baseline"):
        assert entry in plan["predicted_loss"]["image_edge"]
    words = column_words(PAGE, "| part of a source's peak")
    assert words == {"worst_angle", *plan["predicted_loss"]["image_edge"]} - {"distance_deg"}
    assert all(set(quantity) == {"value", "unit", "source", "reason"} for quantity in plan["quantities"].values())


def test_formulas_reproduce_the_demonstration():
    values = {word: row[1] for row in table(PAGE, "| quantity | value |") for word in code_words(row[0])}
    assert values["image_size"] == f"{image_size(1.5 * 4.481, 0.00278)} x {image_size(1.5 * 4.481, 0.00278)}"
    limits = peak_limits(0.05, math.radians(3.37966), 143.859863e6, 3282)
    assert values["channel_width_limit_hz"] == f"{limits.channel_width_hz / 1e3:.1f} kHz"
    assert values["timestep_limit_s"] == f"{limits.timestep_s:.2f} s"
    assert values["channels_out"] == str(count_channels_out(143.848e6, 156.152e6, 12))
    by_hand = math.sqrt(12 * (1 - math.sqrt(0.95))) / (math.pi * 0.05899 * 3282)
    assert f"{by_hand:.2e}".replace("e-04", "e-4") in TEXT
    assert f"{by_hand * 143.86e3:.0f}" == f"{limits.channel_width_hz / 1e3:.0f}"
    assert f"{math.sqrt(LOW_DECLINATION_FACTOR):.2f} times shorter" in TEXT


# ---- products


def test_every_listed_product_is_made(job):
    for word in column_words(PAGE, "| file | content |") - {WRITTEN_BY_CATALOGUE, WRITTEN_BY_COMPARISON}:
        assert (job / word.rstrip("/")).exists(), word


def test_page_explains_quality_entries_and_keywords(job):
    quality = json.loads((job / "quality.json").read_text())
    assert column_words(PAGE, "| entry | meaning |") == set(quality)
    keywords = column_words(PAGE, "| keyword | meaning |")
    keywords -= {"PEAKSKY"}  # of images that show a source
    assert keywords <= set(fits.getheader(job / "fullband-MFS-image-pb.fits"))
    assert keywords - {"PBSOURCE", "PBCUT", "PBINDEX"} <= set(fits.getheader(job / "fullband-MFS-image.fits"))


def test_page_explains_every_metadata_key(job):
    keys = Parset(str(job / "images.metadata")).subset("Output_SkyImage_[0]")
    assert column_words(PAGE, "| keys | meaning |") == {re.split(r"[.\[]", key)[0] for key in keys}


# ---- messages


def sessions():
    """Yield (command, expected lines) of every session on the page."""
    for block in blocks(PAGE):
        if block.kind == "session":
            for part in block.text.split("$ ")[1:]:
                command, *expected = [line for line in part.splitlines() if line]
                yield command, expected


def pattern(line):
    """Return a line of the page as a regular expression: ``...`` is anything, and so is which WSClean it was."""
    return ".*".join(re.escape(WSCLEAN.sub("WSCLEAN", piece)) for piece in line.split("..."))


@pytest.fixture(scope="module")
def examples(tmp_path_factory, hba_set):
    """A directory with data/a.MS."""
    here = tmp_path_factory.mktemp("sessions")
    (here / "data").mkdir()
    shutil.copytree(hba_set, here / "data" / "a.MS")
    return here


@pytest.mark.parametrize(
    ("command", "expected"), list(sessions()), ids=lambda value: value[-40:] if isinstance(value, str) else ""
)
def test_bad_input_gives_documented_message(command, expected, examples, build):
    if "gridder=idg" in command and build.has_idg:
        pytest.skip("this WSClean has IDG")
    arguments = shlex.split(command.replace("/data/", f"{examples}/data/"))[1:]
    done = run(examples, *arguments, *([] if "--check" in arguments else SMALL))
    assert done.returncode == 1
    said = WSCLEAN.sub("WSCLEAN", done.stderr.replace(f"{examples}/data/", "/data/"))
    for line in expected:
        assert re.search(f"^(genericpipeline.py: )?{pattern(line)}$", said, re.MULTILINE), (line, said)


def test_pattern_rejects_different_message():
    assert not re.search(pattern("cellsize is '0'; a number"), "cellsize is '1'; a number")
    assert re.search(pattern("exited with 1 after ... s"), "exited with 1 after 0.3 s")
