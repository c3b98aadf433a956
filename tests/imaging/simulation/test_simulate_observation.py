"""The script: command line, outputs, refusals, and failing programs."""

import shutil
import subprocess
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import pytest

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.observation import field_width_deg, simulate
from lofarpipe.imaging.simulation.sky import Source
from lofarpipe.imaging.simulation.stations import ObservationSettings, load_stations
from lofarpipe.programs.dp3 import predict_argv

PREDICTION = partial(predict_argv, "DP3")
SCRIPT = Path(__file__).parents[3] / "scripts" / "simulate_observation.py"


def test_command_line_makes_an_observation(tmp_path):
    small = ["--nstations", "3", "--nsubbands", "1", "--nblocks", "1", "--slots-per-block", "2", "--nsources", "1"]
    argv = [sys.executable, str(SCRIPT), str(tmp_path / "obs"), *small, "--no-beam"]
    finished = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert [line.split(":")[0] for line in finished.stdout.splitlines()] == ["truth", "skymodel", "sets"]
    left = sorted(path.name for path in (tmp_path / "obs").iterdir())
    assert left == ["SIM001_T0_SB225.MS", "sky.skymodel", "truth.json"]


def test_command_line_reports_error_in_one_line(tmp_path):
    argv = [sys.executable, str(SCRIPT), str(tmp_path / "obs"), "--nstations", "99"]
    finished = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr == ("simulate_observation.py: simulation: nstations is 99; the Netherlands have 62 fields\n")
    assert not (tmp_path / "obs").exists()


def test_help_explains_every_option(script, capsys):
    with pytest.raises(SystemExit):
        script.read_arguments(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert set(script.MEANINGS) == {field.name for field in fields(ObservationSettings)}
    for name, meaning in script.MEANINGS.items():
        default = getattr(ObservationSettings(), name)
        assert f"--{name.replace('_', '-')} VALUE {meaning} (default: {default})" in said


def test_outputs_match_the_declaration(script, tiny, tiny_observation):
    made = script.main(str(tiny_observation), **tiny)
    assert tuple(made) == script.OUTPUTS
    assert all(Path(name).is_dir() for name in made["sets"][1:-1].split(","))


def test_existing_observation_is_reused(script, tiny, tiny_observation, monkeypatch):
    monkeypatch.setattr(script, "run_programs", lambda commands: pytest.fail("DP3 was started again"))
    before = (tiny_observation / "truth.json").stat().st_mtime_ns
    script.main(str(tiny_observation), **tiny)
    assert (tiny_observation / "truth.json").stat().st_mtime_ns == before


def test_different_observation_is_not_overwritten(script, tiny, tiny_observation):
    with pytest.raises(PipelineError, match="another observation is there; remove it"):
        script.main(str(tiny_observation), **tiny | {"seed": "9"})


def test_missing_set_is_detected(script, tiny, tiny_observation, tmp_path):
    shutil.copy(tiny_observation / "truth.json", tmp_path)
    text = (tmp_path / "truth.json").read_text()
    (tmp_path / "truth.json").write_text(text.replace(str(tiny_observation), str(tmp_path)))
    with pytest.raises(PipelineError, match="4 of its sets are not there, such as"):
        script.main(str(tmp_path), **tiny)


def test_unknown_setting_is_named(script, tmp_path):
    with pytest.raises(PipelineError, match="no setting 'colour'; settings are: seed, nstations"):
        script.main(str(tmp_path), colour="red")


def test_non_numeric_setting_is_refused(script, tmp_path):
    with pytest.raises(PipelineError, match="simulation: invalid literal for int"):
        script.main(str(tmp_path), seed="one")


def test_too_many_sources_are_refused(script, tiny, tmp_path):
    with pytest.raises(PipelineError, match=r"simulation: .* sources cannot be kept"):
        script.main(str(tmp_path), **tiny | {"nsources": "3000"})


def test_failed_program_shows_last_lines(script):
    code = "import sys; print('one'); sys.exit('the reason')"
    with pytest.raises(PipelineError, match=r"exited with 1. Last lines:\none\nthe reason"):
        script.run_programs([[sys.executable, "-c", code]])


def test_failure_leaves_only_unfinished_folder(tiny, tmp_path):
    def fail(commands):
        raise PipelineError("DP3 is broken")

    settings = ObservationSettings(nstations=3, nsubbands=1, nblocks=1, slots_per_block=2)
    with pytest.raises(PipelineError, match="DP3 is broken"):
        simulate(tmp_path, settings, PREDICTION, fail)
    assert [path.name for path in tmp_path.iterdir()] == [".unfinished"]


def test_second_attempt_replaces_unfinished_files(tmp_path):
    settings = ObservationSettings(nstations=3, nsubbands=1, nblocks=1, slots_per_block=2)
    (tmp_path / ".unfinished" / "SIM001_T0_SB225.MS").mkdir(parents=True)
    (tmp_path / "SIM001_T0_SB225.MS").mkdir()  # moved already, when the first attempt was cut off
    truth = simulate(tmp_path, settings, PREDICTION, lambda commands: None, beam=False)
    assert not (tmp_path / ".unfinished").exists()
    assert (Path(truth.sets[0]) / "table.dat").is_file()


def test_field_width_follows_antenna_set():
    settings = ObservationSettings(antenna_set="HBA_DUAL")
    dual = field_width_deg(settings, load_stations(38, "HBA_DUAL"))
    inner = field_width_deg(settings, load_stations(38, "HBA_DUAL_INNER"))
    assert inner == pytest.approx(4.23, abs=0.01)  # deg, by hand: 1.09 * 2.0827 m / 30.75 m
    assert 3.0 < dual < inner  # 14 of 38 are 41 m wide


def test_source_list_option_is_used(tmp_path):
    settings = ObservationSettings(nstations=3, nsubbands=1, nblocks=1, slots_per_block=2)
    given = [Source("mine", 218.5, 48.5, 2.0, 0.0)]
    truth = simulate(tmp_path, settings, PREDICTION, lambda commands: None, beam=False, sources=given)
    assert truth.sources == tuple(given)
    assert "mine, POINT, 14:34:00.000000, +48.30.00.00000" in (tmp_path / "sky.skymodel").read_text()
