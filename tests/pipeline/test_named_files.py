"""Files that the options of a program name are there before the first job, or an earlier step makes them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from copy_pipeline import CONFIG, list_step
from lofarpipe.cli import main

PARSET = """\
pipeline.steps = [list, mask, clean]
mask.control.type = executable_args
mask.control.executable = /bin/touch
mask.control.mapfile_in = list.output.mapfile
mask.control.inputkey = infile
mask.argument.flags = [{made}]
clean.control.type = wsclean
clean.control.mapfile_in = list.output.mapfile
clean.control.inputkey = infile
clean.argument.flags = [{flags}infile]
clean.argument.name = image
clean.argument.fits-mask = {mask}
"""


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Return a function that checks a pipeline and returns the findings."""
    if not shutil.which("wsclean"):
        pytest.skip("wsclean is not installed")

    def checked(made: str = "other.fits", mask: str = "mask.fits", flags: str = "") -> str:
        Path("a.parset").write_text(PARSET.format(made=made, mask=mask, flags=flags) + list_step("[a.txt]"))
        Path("site.cfg").write_text(CONFIG.format(here=tmp_path))
        status = main(["--check", "a.parset", "-c", "site.cfg"])
        said = capsys.readouterr().err
        assert status == bool(said), said
        return said

    monkeypatch.chdir(tmp_path)
    Path("a.txt").touch()
    return checked


def test_missing_mask_is_finding(check, tmp_path):
    expected = f"step 'clean': -fits-mask: there is no {tmp_path}/a/mask.fits; name one that exists, or remove it"
    assert expected in check()


def test_mask_in_job_directory_is_found(check):
    Path("a").mkdir()
    Path("a/mask.fits").touch()
    assert check() == ""


def test_mask_of_earlier_step_is_accepted(check):
    assert check(made="mask.fits") == ""


def test_map_words_are_not_file_names(check):
    assert check(mask="list.output.mapfile", flags="-facet-regions, infile, ") == ""
