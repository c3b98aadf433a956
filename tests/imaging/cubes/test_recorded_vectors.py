"""All recorded numbers of FixMS, common beams, convolution and cubes, where they lie beside the repository."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from channel_images import gaussian
from lofarpipe.imaging.cubes.beams import Beam, CommonBeamError, common_beam
from lofarpipe.imaging.cubes.convolution import convolve
from lofarpipe.imaging.cubes.weights import plane_weight
from lofarpipe.imaging.ms.fix_ms import beam_direction, correlation_matrix

VECTORS = Path(__file__).parents[4] / "shared" / "arrakis_cases"


def read(name):
    path = VECTORS / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return json.loads(path.read_text())


def test_directions_equal_recorded_ones():
    for case in read("fixms_vectors.json")["directions"]:
        right_ascension, declination = beam_direction((case["ra"], case["dec"]), case["offset"])
        assert declination == pytest.approx(case["new_dec"], abs=2e-15)
        # On the sky: near a pole the right ascension itself is that much less sure.
        across = (right_ascension - case["new_ra"]) * math.cos(declination)
        assert across == pytest.approx(0, abs=2e-15)


def test_rotations_equal_recorded_ones():
    for case in read("fixms_vectors.json")["rotation"]:
        factor = 1.0 if case["stokes_factor"] else 0.5
        matrix = factor * correlation_matrix(math.radians(case["receptor_angle_deg"]))
        for vector in case.get("vectors", ()):
            before, after = (np.array(vector[key]) @ [1, 1j] for key in ("in", "out"))
            assert (matrix @ before).astype(np.complex64) == pytest.approx(after.astype(np.complex64), rel=2e-7)


def test_common_beams_equal_recorded_ones():
    pytest.importorskip("radio_beam", reason="radio_beam is not installed")
    for case in read("beam_vectors.json")["common"]:
        beams = [Beam(*axes) if axes[0] else None for axes in case["beams"]]
        if case["common"] is None:
            with pytest.raises(CommonBeamError):
                common_beam(beams, case["cutoff"])
        else:
            assert common_beam(beams, case["cutoff"]) == Beam(*case["common"]), case["name"]


def test_convolved_pixels_equal_recorded_ones():
    for case in read("beam_vectors.json")["convolution"]:
        old, new, source = Beam(*case["old"]), Beam(*case["new"]), case["source"]
        pixels = gaussian(case["pixels"], old, source["x"], source["y"], source["peak"]).astype(np.float32)
        convolve(pixels, old, new, (-case["cell_arcsec"], case["cell_arcsec"]))
        for x, y, value in case.get("samples", ()):
            assert pixels[y, x] == pytest.approx(value, abs=5e-7)


def test_weights_equal_recorded_ones():
    case = read("cube_layout.json")["weight_vector"]
    values = np.array([math.nan if value is None else value for value in case["values"]])
    assert plane_weight(values) == pytest.approx(case["weight"], rel=1e-6)
