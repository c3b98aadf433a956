"""The script that copies a set for DP3."""

import numpy as np
import pytest

from loading import load_script
from lofarpipe.imaging.ms.survey import survey_set
from small_sets import SetShape, keep_rows, make_set


@pytest.fixture
def path(tmp_path):
    made = make_set(tmp_path / "a.MS", SetShape(nantennas=4, ntimes=3), with_data=True)
    keep_rows(made, np.repeat(np.arange(30), 2))
    return made


def test_copy_is_written_and_named(path, tmp_path, capsys):
    script = load_script("copy_set")
    assert script.main(path, f"{tmp_path}/b.MS") == {"copy": f"{tmp_path}/b.MS"}
    assert capsys.readouterr().out == f"{path}: 30 rows repeat others: they are left out\n"
    assert survey_set(f"{tmp_path}/b.MS").layout.is_regular


def test_command_line_copies_the_set(path, tmp_path, capsys):
    script = load_script("copy_set")
    assert script.command_line([path, f"{tmp_path}/b.MS"]) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path}/b.MS\n")
    assert script.command_line([f"{tmp_path}/no.MS", f"{tmp_path}/c.MS"]) == 1
    assert "no such measurement set" in capsys.readouterr().err
