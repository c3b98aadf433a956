"""WSClean as the imager of scripts: its options follow from how an image is cleaned."""

import pytest

from lofarpipe.imaging.ata.images import Cleaning, Grid
from lofarpipe.programs.wsclean import imager as module
from lofarpipe.programs.wsclean.imager import field_imager, root_of, source_list


@pytest.fixture
def calls(monkeypatch):
    made = []
    monkeypatch.setattr(module, "run_program", lambda *arguments: made.append(arguments))
    return made


@pytest.mark.parametrize(
    ("cleaning", "expected"),
    [
        (None, {"niter": "0"}),
        (Cleaning(0.05), {"niter": "1000000", "mgain": "0.8", "threshold": "0.05"}),
        (
            Cleaning(noise_sigma=1, mask_sigma=3, gain=0.6),
            {"niter": "1000000", "mgain": "0.6", "auto-threshold": "1", "auto-mask": "3"},
        ),
        (
            Cleaning(noise_sigma=1, mask="m.fits"),
            {"niter": "1000000", "mgain": "0.8", "auto-threshold": "1", "fits-mask": "m.fits"},
        ),
    ],
)
def test_cleaning_sets_options(calls, cleaning, expected):
    made = field_imager(["a.ms"], (0, 1), 0.5)("/x/root", Grid(7.5, 256), cleaning)
    program, keywords, flags, given, _ = calls[0]
    assert given.cores >= 1
    common = {"weight": "briggs 0.5", "pol": "I", "data-column": "DATA", "spws": "0,1", "name": "/x/root"}
    assert keywords == {**common, "scale": "7.5asec", "size": "256 256", **expected}
    assert (program, flags[-1]) == ("wsclean", "a.ms")
    assert (made.image, made.residual) == ("/x/root-image.fits", "/x/root-residual.fits")


def test_source_list_and_all_windows(calls):
    field_imager(["a.ms"], (), 0.5, with_sources=True)("r", Grid(7.5, 256), None)
    assert "spws" not in calls[0][1]
    assert calls[0][2][0] == "-save-source-list"
    assert source_list(root_of("r-image.fits")) == "r-sources.txt"
