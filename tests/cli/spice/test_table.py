"""Options of the ASKAP pipeline: read from its parset, values of all callers as texts."""

from pathlib import Path

import pytest

from lofarpipe.cli.spice.table import PROCESS_OPTIONS, SpiceOption, operations, spice_options
from lofarpipe.pipeline.options import check_value, read_options
from lofarpipe.support.parset import Parset

REPOSITORY = Path(__file__).resolve().parents[3]


def test_table_has_every_parset_option() -> None:
    parset = Parset.read(REPOSITORY / "pipelines" / "askap.parset")
    documented = {name: entry for name, entry in parset.definitions().items() if entry.comment}
    options = read_options(documented, documented)
    assert [(one.name, one.value, one.domain, one.meaning) for one in options] == [
        (one.name, one.default, one.domain, one.meaning) for one in spice_options().values()
    ]


@pytest.mark.parametrize("option", [*spice_options().values(), *PROCESS_OPTIONS], ids=lambda option: option.name)
def test_defaults_are_in_their_domains(option: SpiceOption) -> None:
    if option.default:
        check_value(option.default, option.domain)
        assert option.text(option.default)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("niter", "5e5", "500000"),
        ("niter", "500_000", "500000"),
        ("niter", 5e5, "500000"),
        ("niter", "0x10", "16"),
        ("niter", 0, "0"),
        ("nchan", "4.0", "4"),
        ("scale", 4, "4"),
        ("scale", "2.50", "2.5"),
        ("robust", "-0.5", "-0.5"),
        ("minuv", "1e3", "1000"),
        ("nmiter", "none", "none"),
        ("purge", True, "True"),
        ("purge", "no", "False"),
        ("gridder", "idg", "idg"),
        ("multiscale_scales", [0, "4", 8.5], "0,4,8.5"),
        ("multiscale_scales", "0, 5,12.5", "0,5,12.5"),
        ("multiscale_scales", 4, "4"),
        ("temp_dir_wsclean", Path("/dev/shm"), "/dev/shm"),
        ("pols", "uqi", "uqi"),
    ],
)
def test_value_becomes_text(name: str, value: object, text: str) -> None:
    assert spice_options()[name].text(value) == text


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("nchan", "x", "an integer > 0 is needed"),
        ("nchan", 1.5, "an integer > 0 is needed"),
        ("nchan", True, "an integer > 0 is needed"),
        ("nchan", "0", "an integer > 0 is needed"),
        ("nchan", 1e30, "an integer > 0 is needed"),
        ("nchan", "none", "an integer > 0 is needed"),
        ("scale", "nan", "a number > 0 is needed"),
        ("scale", "1e999", "a number > 0 is needed"),
        ("taper", [15], "a number > 0 is needed"),
        ("purge", 60, "true or false is needed"),
        ("purge", "maybe", "true or false is needed"),
        ("gridder", "idq", "did you mean 'idg'"),
        ("gridder", 3, "one of direct-ft, idg"),
        ("pols", 5, "a text is needed; write it in quotes"),
        ("pols", ["I"], "a text is needed"),
        ("data_column", "", "a text of one line is needed"),
        ("data_column", "A\nB", "a text of one line is needed"),
        ("multiscale_scales", "0,many", "numbers are needed, such as 0,4,8"),
        ("multiscale_scales", {}, "numbers are needed, such as 0,4,8"),
        ("msdir", "none", "a path is needed"),
        ("datadir", "~/x", "~ is not replaced here"),
    ],
)
def test_value_outside_domain_is_refused(name: str, value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        spice_options()[name].text(value)


def test_operations_use_table_options() -> None:
    assert "find_beams" not in operations()
    assert operations()["image_i"]["niter"] == {"image_i.argument.niter": "{{ niter }}"}
    assert operations()["image_polarisation"]["auto_mask"] == {"find_beams.control.auto_mask": "{{ auto_mask }}"}
    assert "taper" not in operations()["image_i"]  # both runs have it in common
    assert {name for options in operations().values() for name in options} <= spice_options().keys()
