"""Telescopes without a beam in WSClean: found before it runs, with the real program."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lofarpipe.imaging.ms.survey import survey_set
from lofarpipe.programs.wsclean import build as beam_probe
from lofarpipe.programs.wsclean.build import WSCleanBuild, beam_obstacle, describe_build
from lofarpipe.programs.wsclean.program import adapt
from small_sets import SetShape, make_set


@pytest.fixture(scope="module")
def build(wsclean_with_idg) -> WSCleanBuild:
    return describe_build(wsclean_with_idg / "wsclean")


def make_telescope(folder: Path, name: str) -> str:
    return make_set(folder / f"{name}.MS", SetShape(nantennas=4, ntimes=2, nchan=2, telescope=name), with_data=True)


@pytest.mark.parametrize("telescope", ["WSRT", "MeerKAT", "MWA", "LOFAR"])
def test_auto_chooses_wgridder_without_everybeam_model(telescope, build, tmp_path):
    path = make_telescope(tmp_path, telescope)  # that of LOFAR lacks its station tables
    _, flags, (notice,) = adapt({"gridder": "auto", "idg-mode": "cpu"}, [path], build, 2, None)
    assert flags == ["-use-wgridder", path]
    assert "gridder = auto takes wgridder, without the beam" in notice
    assert f"cannot make the station beams of {telescope}.MS" in notice


def test_known_telescope_keeps_beam(build, tmp_path):
    path = make_telescope(tmp_path, "EVLA")
    _, flags, notices = adapt({"gridder": "auto", "idg-mode": "cpu"}, [f"[{path}]"], build, 2, None)
    assert "-grid-with-beam" in flags
    assert notices == []


@pytest.mark.parametrize(
    ("given", "left"),
    [
        (({"gridder": "idg"}, []), ["-use-idg"]),
        (({}, ["-use-idg", "-grid-with-beam", "-use-differential-lofar-beam"]), ["-use-idg"]),
        (({"apply-primary-beam": "True"}, ["-use-wgridder"]), ["-use-wgridder"]),
    ],
)
def test_requested_gridder_runs_without_beam(given, left, build, tmp_path):
    path = make_telescope(tmp_path, "WSRT")
    keywords, flags, (notice,) = adapt(given[0], [*given[1], path], build, 2, None)
    assert (keywords, flags) == ({"j": "2"}, [*left, path])
    assert notice.startswith("the beam is made afterwards, not by WSClean")


def test_gridder_without_beam_is_not_probed(build, tmp_path, monkeypatch):
    path = make_telescope(tmp_path, "WSRT")
    monkeypatch.setattr(beam_probe, "run_briefly", lambda *_: pytest.fail("it was asked"))
    for keywords in ({"gridder": "wgridder"}, {}, {"gridder": "idg", "aterm-config": "a.conf"}):
        adapt(keywords, [path], build, 2, None)
    adapt({"gridder": "auto"}, ["not/made/yet.MS"], build, 2, None)
    (Path(path) / "LOFAR_ANTENNA_FIELD").mkdir()
    adapt({"gridder": "auto"}, [path], build, 2, None)


def test_probe_result_is_cached_per_set(build, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(beam_probe, "run_briefly", lambda *arguments: asked.append(arguments) or (0, ""))
    path = make_telescope(tmp_path, "ATCA")
    options = {"mwa-path": ["/data/mwa"]}
    for _ in range(2):
        assert beam_obstacle(build, [path], options) == ""
    assert len(asked) == 1
    assert asked[0][1][:4] == ["-use-idg", "-grid-with-beam", "-mwa-path", "/data/mwa"]
    shutil.rmtree(path)
    assert beam_obstacle(build, [make_telescope(tmp_path, "ATCA")], options) == ""
    assert len(asked) == 2


def test_probe_copies_two_time_slots(tmp_path):
    path = make_set(tmp_path / "a.MS", SetShape(nantennas=4, ntimes=5, nchan=2), with_data=True)
    beam_probe._copy_first_slots(path, f"{tmp_path}/piece.MS")
    assert survey_set(f"{tmp_path}/piece.MS").times.slots == 2
