"""The runs of a beam, and the sets of an observation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from casacore.tables import table

from array_feed_sets import make_beam_set
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.plan.beams import BeamOptions, ChannelGrid, beam_sets, image_roots, read_beams, squared

GIVEN = {
    "pols": "IQU",
    "nchan": "36",
    "auto_mask": "3.0",
    "auto_threshold": "1.0",
    "taper": "none",
    "multiscale": "True",
    "multiscale_scale_bias": "0.7",
    "multiscale_scales": "0,2",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", "9.00"),
        ("3.5", "12.25"),
        ("0.5", "0.25"),
        ("3.14159", "9.87"),
        ("1.1", "1.21"),
        ("0", "0.00"),
        ("5e-1", "0.25"),
    ],
)
def test_square_is_rounded_up(text, expected):
    assert squared(text) == expected


@pytest.mark.parametrize(
    ("pols", "has_i", "others", "letter"),
    [
        ("IQU", True, "QU", ""),
        ("uqi", True, "UQ", ""),
        ("V", False, "V", ""),
        ("I", True, "", ""),
        ("IV", True, "V", "V"),
        ("QU", False, "QU", ""),
    ],
)
def test_polarisations_make_two_runs(pols, has_i, others, letter):
    options = BeamOptions.read({**GIVEN, "pols": pols})
    assert (options.has_i, options.others, options.lone_letter) == (has_i, others, letter)
    assert options.second_run_options()["join_polarisations"] == str(len(others) > 1)


@pytest.mark.parametrize("pols", ["", "IXZ", "IQQ"])
def test_invalid_polarisations_are_refused(pols):
    with pytest.raises(PipelineError, match=f"pols: is '{pols}'; letters of IQUV, each once, are needed"):
        BeamOptions.read({**GIVEN, "pols": pols})


def test_squared_channels_are_joined():
    second = BeamOptions.read(GIVEN).second_run_options()
    assert (second["auto_mask"], second["auto_threshold"], second["join_channels"]) == ("9.00", "1.00", "True")
    assert (second["multiscale"], second["multiscale_scales"], second["channels_out"]) == ("False", "none", "36")


def test_single_channel_is_not_joined():
    second = BeamOptions.read({**GIVEN, "nchan": "1", "taper": "15"}).second_run_options()
    assert (second["auto_mask"], second["auto_threshold"], second["join_channels"]) == ("3.0", "1.0", "False")
    assert (second["multiscale"], second["multiscale_scale_bias"], second["channels_out"]) == ("True", "0.7", "none")
    assert second["taper"] == "15asec"


def test_sets_are_found_by_name_and_counted(tmp_path: Path):
    for name in ("b/x1.ms", "b/x0.ms", "b/deeper/x2.ms"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b/x9.ms").write_text("no folder")
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert beam_sets(f"{tmp_path}/link", "x*.ms", "2") == ([tmp_path / "b/x0.ms", tmp_path / "b/x1.ms"], [])
    assert beam_sets(f"{tmp_path}/b", "x*.ms", "36")[1] == [
        f"num_beams: 2 measurement sets match x*.ms in {tmp_path}/b, and num_beams is 36; correct num_beams, or "
        "ms_glob_pattern"
    ]
    assert beam_sets(f"{tmp_path}/nowhere", "x*.ms", "1")[1][0].startswith("msdir: there is no folder")
    (tmp_path / "b/x0.ms/table.dat").touch()
    assert beam_sets(f"{tmp_path}/b/x0.ms", "x*.ms", "1")[1] == [
        f"msdir: {tmp_path}/b/x0.ms is a measurement set; name the folder that holds those of all beams"
    ]
    assert "that is no pattern of names" in beam_sets(f"{tmp_path}/b", "/x", "1")[1][0]


def test_roots_contain_field_and_beam(tmp_path: Path):
    sets = [Path(make_beam_set(tmp_path / f"{beam}.ms", beam)) for beam in (0, 3)]
    beams, problems = read_beams(sets)
    roots, more = image_roots(beams, f"{tmp_path}/out")
    assert roots == [f"{tmp_path}/out/image.CDFS_2_5.contcube.beam{beam}" for beam in ("00", "03")]
    assert not problems + more


def test_invalid_roots_are_refused(tmp_path: Path):
    one, other = (Path(make_beam_set(tmp_path / name, 3)) for name in ("a.ms", "b.ms"))
    odd = Path(make_beam_set(tmp_path / "c.ms", 1))
    import casacore.tables as ct

    with ct.table(f"{odd}/FIELD", readonly=False, ack=False) as table:
        table.putcell("NAME", 0, "a/b")
    beams, unreadable = read_beams([tmp_path / "nosuch.ms", one, other, odd])
    problems = unreadable + image_roots(beams, f"{tmp_path}/out")[1]
    assert [problem.partition(": ")[0] for problem in problems] == [
        f"{tmp_path}/nosuch.ms",
        str(odd),
        f"{one}, {other}",
    ]
    assert "cannot stand in the name of a file" in problems[1]
    assert "have the same field and beam" in problems[2]


@pytest.mark.parametrize(
    ("numbers", "nchan", "edges"),
    [
        (range(8), 4, (2, 4, 6)),
        (range(8), 3, (3, 6)),  # the last has two channels
        ((0, 1, 6, 7), 4, (6,)),  # two intervals are empty
        ((7, 0, 1, 6), 1, ()),
    ],
)
def test_band_is_divided_by_frequency(tmp_path, numbers, nchan, edges):
    path = make_beam_set(tmp_path / "a.ms", 0)
    with table(f"{path}::SPECTRAL_WINDOW", readonly=False, ack=False) as window:
        number = len(list(numbers))
        for name in ("CHAN_FREQ", "CHAN_WIDTH", "EFFECTIVE_BW", "RESOLUTION"):
            window.putcell(name, 0, np.full(number, 1e6))
        window.putcell("CHAN_FREQ", 0, 888e6 + 1e6 * np.array(list(numbers)))
        window.putcell("NUM_CHAN", 0, number)
    grid = ChannelGrid.read(str(path), nchan)
    assert grid.edges_hz == tuple(887.5e6 + 1e6 * edge for edge in edges)
    text = ",".join(f"{887.5e6 + 1e6 * edge:.1f}" for edge in edges) or "none"
    assert grid.outputs() == {"channels_out": str(len(edges) + 1), "channel_division": text}


@pytest.mark.parametrize(
    ("nchan", "grid", "has_grid"), [("36", "True", True), ("36", "False", False), ("1", "True", False)]
)
def test_channel_grid_option_sets_grid(nchan, grid, has_grid):
    assert BeamOptions.read({**GIVEN, "nchan": nchan, "channel_grid": grid}).has_grid is has_grid
