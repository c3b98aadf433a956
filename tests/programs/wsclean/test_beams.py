"""Beams made by WSClean: their record, and their missing corrections."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from lofarpipe.imaging.beam.applied import AppliedBeam
from lofarpipe.imaging.beam.spectral import BandPart
from lofarpipe.imaging.beam.station import BeamError
from lofarpipe.imaging.ms.measurement_set import read_metadata
from lofarpipe.imaging.weighting.pairs import ChannelRange
from lofarpipe.programs.wsclean import beams as beam_sources
from lofarpipe.programs.wsclean.beams import (
    ImageField,
    OwnBeam,
    find_source,
    is_differential,
    products_by_header,
    wsclean_command,
)
from lofarpipe.programs.wsclean.outputs import read_products
from made_images import write_image

COMMAND = "wsclean -name /data/a field/full -size 400 400 -use-idg -grid-with-beam -use-differential-lofar-beam -j 1 "
COMMAND += "-channels-out 2 -join-channels -niter 10 a.ms"
CENTRE = (0.42624572, 0.57874697)


def header_of(command: str, *more: str) -> fits.Header:
    """A header with HISTORY as WSClean writes it: the command in pieces of 72 characters."""
    header = fits.Header()
    for first in range(0, len(command), 72):
        header.add_history(command[first : first + 72])
    for line in more:
        header.add_history(line)
    return header


def test_header_contains_wsclean_command():
    header = header_of(COMMAND, "primary beam: EveryBeam", "---- image pipeline ----", "x")
    assert wsclean_command(header).rstrip() == COMMAND
    assert wsclean_command(fits.Header()) == ""
    assert is_differential(header)
    assert not is_differential(header_of(COMMAND.replace("-use-diff", "-no-diff")))


def test_newest_header_names_products(tmp_path):
    root = f"{tmp_path}/full"
    for name in ("MFS-image", "0000-image", "0001-image", "0002-image", "0001-beam"):
        write_image(tmp_path / f"full-{name}.fits", np.ones((4, 4)))
    with fits.open(f"{root}-MFS-image.fits", mode="update") as opened:
        opened[0].header.extend(header_of(COMMAND).cards)
    found = {one.path.removeprefix(root) for one in products_by_header(root)}
    assert found == {"-MFS-image.fits", "-0000-image.fits", "-0001-image.fits", "-0001-beam.fits"}
    with pytest.raises(BeamError, match=r"no none-MFS-image\.fits or none-image\.fits there"):
        products_by_header(f"{tmp_path}/none")


def test_channel_parts_have_gaussian_beam_widths():
    plane = np.exp(-np.array([[0.0, 0.5, 1.0]], np.float32))
    narrow, wide = OwnBeam(plane, 1.0).parts([BandPart(1.0, 160e6), BandPart(1.0, 140e6)], 150e6, 0.5)
    assert narrow[0] == pytest.approx(0.5 * np.exp(-np.array([0, 0.5, 1]) * (160 / 150) ** 2), rel=1e-6)
    assert wide[0] == pytest.approx(0.5 * np.exp(-np.array([0, 0.5, 1]) * (140 / 150) ** 2), rel=1e-6)


# Correction of the sets; whether WSClean knew of it; the beam at the centre in the file of IDG, or matrix;
# and by how much it is to be multiplied, where the whole beam is 0.4.
SCALES = [
    ("", True, "idg", 1.0, 1.0),
    ("", False, "idg", 1.0, 1 / 0.4),
    ("None", True, "idg", 1.0, 0.4),
    ("None", False, "idg", 1.0, 1.0),
    ("ArrayFactor", True, "idg", 1.0, 1.0),
    ("Full", True, "idg", 1.0, 1.0),
    ("", True, "matrix", 1.0, 1.0),
    ("", False, "matrix", 0.4, 1 / 0.4),
    ("None", True, "matrix", 1.0, 0.4),
    ("None", False, "matrix", 0.4, 1.0),
    ("ArrayFactor", False, "matrix", 0.4, 1.0),
    ("Full", False, "matrix", 1.0, 1.0),
]


@pytest.mark.parametrize(("mode", "differential", "kind", "centre", "scale"), SCALES)
def test_beams_are_scaled_to_missing_correction(
    mode, differential, kind, centre, scale, hba_set, tmp_path, monkeypatch
):
    metadata = read_metadata(str(hba_set))
    direction = None if mode in ("", "None") else CENTRE
    monkeypatch.setattr(beam_sources, "read_applied_beam", lambda _: AppliedBeam("DATA", mode, direction))
    missing = {"": 1.0, "None": 0.4, "ArrayFactor": 0.4, "Full": 1.0}[mode]
    monkeypatch.setattr(beam_sources, "_centres", lambda _, whole: [0.4 if whole else missing])
    monkeypatch.setattr(beam_sources, "band_parts", lambda *_: [[BandPart(1.0, 134e6)]])
    elements = {"idg": {"": 1.0}, "matrix": {"-0": 0.5, "-9": 0.5, "-15": 0.5}}[kind]
    for element, part in elements.items():
        write_image(tmp_path / f"a-beam{element}.fits", np.full((8, 8), part * centre), CRPIX1=5.0, CRPIX2=5.0)
    image = write_image(tmp_path / "a-image.fits", np.ones((8, 8)))
    products = read_products(f"{tmp_path}/a", sorted(map(str, tmp_path.iterdir())))
    axis = np.linspace(-0.01, 0.01, 8)
    field = ImageField([metadata], [ChannelRange(134e6, 135e6)], axis, axis, CENTRE, 0.0, 1.2, 80.0, 3000.0)
    channels = [one for one in products if one.path == str(image)]
    command = COMMAND if differential else COMMAND.replace("-use-differential-lofar-beam ", "")
    beams = find_source(field, products, channels, header_of(command))
    assert beams.scale == pytest.approx(scale, rel=1e-3)
    assert beams.centre(0) == pytest.approx(scale * centre, rel=1e-3)
    assert beams.corrects_leakage == (kind == "matrix")
    assert bool(beams.warnings) == (abs(scale - 1) > 1e-3)


def test_differently_corrected_sets_have_no_scale(hba_set, tmp_path, monkeypatch):
    metadata = read_metadata(str(hba_set))
    applied = iter([AppliedBeam("DATA", "None"), AppliedBeam("DATA", "")])
    monkeypatch.setattr(beam_sources, "read_applied_beam", lambda _: next(applied))
    write_image(tmp_path / "a-beam.fits", np.ones((8, 8)))
    write_image(tmp_path / "a-image.fits", np.ones((8, 8)))
    products = read_products(f"{tmp_path}/a", sorted(map(str, tmp_path.iterdir())))
    axis = np.linspace(-0.01, 0.01, 8)
    field = ImageField([metadata] * 2, [ChannelRange(134e6, 135e6)], axis, axis, CENTRE, 0.0, 1.2, 80.0, 3000.0)
    with pytest.raises(BeamError, match="must be corrected for the same beam"):
        find_source(field, products, [one for one in products if one.kind == "image"], header_of(COMMAND))
