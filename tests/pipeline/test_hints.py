"""The option, or the step, that is meant by a word of another program, a part of a name, or a slip."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.config import parset_directories
from lofarpipe.pipeline.compose import Composition, compose
from lofarpipe.pipeline.hints import option_hint, step_hint
from lofarpipe.support.parset import Parset
from lofarpipe.support.parset_text import ParsetError

IMAGE = parset_directories()[0] / "image.parset"


@pytest.fixture(scope="module")
def image() -> Composition:
    return composed()


def composed(*assignments: str, path: Path = IMAGE) -> Composition:
    return compose(path, assignments, parset_directories(), [folder / "steps" for folder in parset_directories()])


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("scale", "'cellsize_highres_deg' (pixel size, degrees)"),  # WSClean's argument for it
        ("cellsize", "'cellsize_highres_deg' (pixel size, degrees)"),
        ("cell", "'cellsize_highres_deg' (pixel size, degrees)"),
        ("CellSize", "'cellsize_highres_deg' (pixel size, degrees)"),
        ("briggs", "'robust' (Briggs robustness)"),
        ("weight", "'robust' (Briggs robustness)"),
        ("column", "'data_column' (column that holds the calibrated visibilities)"),
        ("auto-mask", "'auto_mask' (clean mask, in units of the noise)"),
        ("maxuv-l", "'maxlambda_highres' (longest baseline used, wavelengths)"),
        ("vis", "'data_input_filenames' (calibrated measurement sets)"),
        ("niterr", "'niter'"),
    ],
)
def test_hint_names_option(image: Composition, word: str, meant: str) -> None:
    assert option_hint(word, image.parset) == f"; did you mean {meant}?"


def test_size_hint_names_field_size(image: Composition) -> None:
    assert option_hint("size", image.parset).startswith("; did you mean 'fieldsize_highres' (image width in units")
    assert option_hint("imsize", image.parset) == option_hint("size", image.parset)


@pytest.mark.parametrize(
    ("word", "files"),
    [("pols", "askap.parset"), ("outdir", "ata.parset or meerkat.parset"), ("mfs_robust", "meerkat.parset")],
)
def test_hint_names_pipeline_with_option(image: Composition, word: str, files: str) -> None:
    assert option_hint(word, image.parset) == f"; it is an option of {files}, another pipeline"


@pytest.mark.parametrize("word", ["zzz", "", "--", "a"])
def test_meaningless_word_gives_no_hint(image: Composition, word: str) -> None:
    assert option_hint(word, image.parset) == ""


def test_option_without_meaning_is_named() -> None:
    parset = Parset.parse("! cell_deg = 1 ##\n! cell_deg = 1 ## {number}\na.argument.scale = {{ cell_deg }}\n")
    assert option_hint("scale", parset) == "; did you mean 'cell_deg'?"


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("wsclean", "'wsclean_high_deep'"),
        ("WSClean", "'wsclean_high_deep'"),
        ("dp3", "'average', 'average_dpppconcat' or 'dpppconcat'"),
        ("magic", "'do_magic' or 'do_magic_maps'"),
        ("avrage", "'average'"),
        ("make_mask.py", "'make_mask'"),
    ],
)
def test_hint_names_step(image: Composition, word: str, meant: str) -> None:
    blocks = ["average", "average_dpppconcat", "dpppconcat", "wsclean_high_deep", "do_magic", "do_magic_maps"]
    blocks += ["make_mask"]
    assert step_hint(word, image.parset, blocks) == f"; did you mean {meant}?"


def test_unknown_option_of_field_names_nearest(tmp_path: Path) -> None:
    field = tmp_path / "field.parset"
    field.write_text("pipeline.base = image.parset\n! scale = 1\n")
    (finding,) = composed(path=field).findings
    assert str(finding).startswith(f"{field}:2: no option is called 'scale'; did you mean 'cellsize_highres_deg'")


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("robust==0", "one '=' is needed: robust=0"),
        ("robust = = 0", "one '=' is needed: robust=0"),
        ("robust 0", "key=value is needed: robust=0; without blanks around =, or in quotes"),
        ("robust:-1", "key=value is needed: robust=-1; "),
        ("robust", "key=value is needed: robust=VALUE; "),
        ("x", "key=value is needed"),
        ("briggs=0", "no option is called 'briggs'; did you mean 'robust'"),
    ],
)
def test_invalid_assignment_is_finding(assignment: str, said: str) -> None:
    (finding,) = composed(assignment).findings
    assert str(finding).startswith(f"command line: --set {assignment}: {said}")


@pytest.mark.parametrize("line", ["! robust == 0", "a.control.x==0"])
def test_double_equals_sign_is_finding(line: str) -> None:
    with pytest.raises(ParsetError, match=r"x:1: has '=='; write one '=': (! robust|a\.control\.x) = 0"):
        Parset.parse(f"{line}\n", "x")
