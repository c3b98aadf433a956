"""Options of WSClean that the steps after it do not know of: every one of them has a class."""

from __future__ import annotations

from itertools import combinations

import pytest

from lofarpipe.errors import WARNING
from lofarpipe.programs.wsclean.build import describe_build
from lofarpipe.programs.wsclean.checks import (
    ALLOWED,
    CHECKED,
    OF_THE_PIPELINE,
    REFUSED,
    WEIGHTING,
    delivered_image_findings,
    imaging_arguments,
)

CLASSES = [frozenset(OF_THE_PIPELINE), frozenset(REFUSED), WEIGHTING, CHECKED, ALLOWED]
PIPELINE = {
    "image_rootname": "/job/fullband",
    "cellsize_highres_deg": "0.01",
    "robust": "0",
    "gridder": "auto",
    "field": "auto",
    "data_column": "DATA",
    "clean.argument.name": "/job/fullband",
    "clean.argument.scale": "0.01",
    "clean.argument.weight": "briggs 0",
    "clean.argument.gridder": "auto",
    "clean.argument.flags": "[-reorder, msfile]",
}


def find_problems(**arguments):
    return delivered_image_findings(PIPELINE | {f"clean.argument.{key}": text for key, text in arguments.items()})


def test_every_wsclean_option_has_one_class(wsclean):
    assert describe_build(wsclean).options - frozenset().union(*CLASSES) == frozenset()
    assert not [first & second for first, second in combinations(CLASSES, 2) if first & second]


def test_pipeline_arguments_are_consistent():
    assert delivered_image_findings(PIPELINE) == []


@pytest.mark.parametrize(
    ("name", "text", "own"),
    [
        ("name", "/elsewhere/image", "image_rootname"),
        ("scale", "0.02", "cellsize_highres_deg"),
        ("scale", "36asec", "cellsize_highres_deg"),
        ("weight", "natural", "robust"),
        ("weight", "briggs 1", "robust"),
        ("use-idg", "True", "gridder"),
        ("gridder", "idg", "gridder"),
        ("field", "1", "field"),
        ("data-column", "CORRECTED_DATA", "data_column"),
    ],
)
def test_argument_names_its_pipeline_option(name, text, own):
    (line,) = find_problems(**{name: text})
    assert line.startswith(f"clean.argument.{name}: is ")
    assert line.endswith(f"; set {own}")


def test_repeated_flag_value_is_finding():
    (line,) = find_problems(flags="[-scale, 0.01, msfile]")
    assert line.startswith("clean.argument.scale: is '0.01 msfile', and other steps go by")


@pytest.mark.parametrize(("name", "text"), [("use-idg", "False"), ("data-column", "DATA"), ("mgain", "0.7")])
def test_harmless_argument_is_accepted(name, text):
    assert find_problems(**{name: text}) == []


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_different_data_or_products_are_refused(name):
    (line,) = find_problems(**{name: "1 2"})
    assert line == f"clean.argument.{name}: {REFUSED[name]}"


def test_further_step_may_image_part_of_data():
    other = {"other.argument.name": "/job/part", "other.argument.interval": "0 3"}
    assert delivered_image_findings(PIPELINE | other) == []


@pytest.mark.parametrize("name", sorted(WEIGHTING))
def test_different_weights_give_warning(name):
    (line,) = find_problems(**{name: "1"})
    assert line.startswith(f"{WARNING}clean.argument.{name}: changes what the visibilities weigh")


def test_small_image_parts_give_warning():
    (line,) = find_problems(**{"parallel-deconvolution": "64"})
    assert line.startswith(f"{WARNING}clean.argument.parallel-deconvolution: is 64; WSClean cleans parts of so few")
    assert find_problems(**{"parallel-deconvolution": "2000"}) == []


def test_imaging_step_arguments_are_found():
    assert imaging_arguments(PIPELINE)["weight"] == ["briggs", "0"]
    assert imaging_arguments({"image_rootname": "x"}) == {}
