"""Masks by a stand-in for breizorro."""

import os

import numpy as np
import pytest

from lofarpipe.programs.breizorro import BreizorroError, find_breizorro, write_breizorro_mask
from made_images import write_image

STUB = """#!/bin/sh
echo "$@" > {log}
for last; do :; done
[ -e {source} ] || {{ echo 'no such image'; exit 2; }}
while [ "$1" != -o ]; do shift; done
cp {source} "$2"
"""


@pytest.fixture
def stub(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "breizorro"
    program.parent.mkdir()
    program.write_text(STUB.format(log=tmp_path / "log", source=tmp_path / "source.fits"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program


def test_mask_has_islands(stub, tmp_path):
    plane = np.zeros((64, 64))
    plane[10, 10] = plane[40:42, 40] = 1
    write_image(tmp_path / "source.fits", plane)
    assert write_breizorro_mask("image.fits", str(tmp_path / "mask.fits")) == 2
    assert (tmp_path / "mask.fits").is_file()
    assert "-r image.fits" in (tmp_path / "log").read_text()
    assert "-t 6 -b 50" in (tmp_path / "log").read_text()


def test_failure_names_reason(stub, tmp_path):
    with pytest.raises(BreizorroError, match=r"image\.fits: breizorro exited with 2: no such image"):
        write_breizorro_mask("image.fits", str(tmp_path / "mask.fits"))


def test_missing_breizorro_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(BreizorroError, match="masks: breizorro is not installed; pip install"):
        find_breizorro()
