"""All findings before the first job come together."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofarpipe.cli import main
from lofarpipe.config import Overrides
from lofarpipe.errors import CheckFailed, PipelineError
from lofarpipe.jobs import Interrupted, Resources
from lofarpipe.pipeline.preflight import BOUNDLESS, Translation, place_of, read, survey
from lofarpipe.support.parset import Entry, Parset

CONFIG = "[DEFAULT]\nruntime_directory = {here}\nworking_directory = {here}\n"
ONE = "one.control.type = executable_args\none.control.executable = /bin/true\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pipeline.cfg").write_text(CONFIG.format(here=tmp_path))
    (tmp_path / "run.parset").write_text(f"pipeline.steps = [one]\n{ONE}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def configure(here: Path, text: str) -> None:
    with (here / "pipeline.cfg").open("a") as config:
        config.write(text)


def said(capsys: pytest.CaptureFixture[str], here: Path, *arguments: str) -> list[str]:
    """Return the error lines of a failing command."""
    assert main(["run.parset", *arguments]) == 1
    text = capsys.readouterr().err.removeprefix("genericpipeline.py: ").replace(f"{here}/", "")
    return text.splitlines()


BAD_SITE = "[remote]\ncores = many\nmethd = local\n[report]\nhtml = perhaps\nchecksum_limit_gb = -1\n"
BAD_STEP = "one.control.memory_gb = 1e6\none.control.coers = 1\n"


@pytest.mark.parametrize("what", [["--check"], [], ["-n"], ["--check", "--lenient"], ["--lenient"]])
def test_all_findings_come_together(here: Path, capsys: pytest.CaptureFixture[str], what: list[str]) -> None:
    configure(here, BAD_SITE)
    (here / "run.parset").write_text(f"pipeline.steps = [one]\n{ONE}{BAD_STEP}")
    expected = [
        "pipeline.cfg:5: cores is 'many'; an integer is needed, 0 for no limit",
        "pipeline.cfg:8: [report] html is 'perhaps'; True or False is needed",
        "pipeline.cfg:9: [report] checksum_limit_gb is '-1'; a number of GB is needed, 0 to sample all",
        "pipeline.cfg:6: [remote] has no key 'methd'; did you mean 'method'?",
        "run.parset:5: one.control.coers: no such control key for an 'executable_args' step; did you mean 'cores'?",
        "5 problems found; nothing was run",
    ]
    found = said(capsys, here, *what)
    if "--lenient" in what:  # nothing is said of keys of [remote], and this machine is known
        del expected[3]
        assert found[3].startswith("run.parset:4: one.control.memory_gb: is '1e6'; jobs have ")
        del found[3]
    assert found == expected
    assert not (here / "run").exists()


@pytest.mark.parametrize("what", [["--list"], ["--forget", "one"], ["--options"]])
def test_passive_commands_refuse_bad_configuration(
    here: Path, capsys: pytest.CaptureFixture[str], what: list[str]
) -> None:
    configure(here, "[remote]\ncores = many\n")
    (here / "run.parset").write_text(f"pipeline.steps = [one, tow]\n{ONE}")
    assert [line.partition(":")[0] for line in said(capsys, here, *what)[:2]] == ["pipeline.cfg", "run.parset"]


def test_unreadable_parset_keeps_further_findings(here: Path) -> None:
    (here / "run.parset").write_text("")
    with pytest.raises(PipelineError) as alone:
        read("run.parset", Overrides(), [])
    assert str(alone.value).startswith(
        f"{here}/run.parset: No pipeline steps defined: there is no key pipeline.steps; add "
    )
    with pytest.raises(CheckFailed) as caught:
        read("run.parset", Overrides(cores=-1), [])
    assert [finding.where for finding in caught.value.findings] == ["command line", f"{here}/run.parset"]


def test_impossible_executor_is_finding(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    configure(here, "[remote]\nmethod = dask\n[dask]\nlauncher = local\n")
    found = survey(read("run.parset", Overrides(), []))
    assert (found.executor, found.findings) == (None, ())
    assert [str(one) for one in found.wrong] == ["Dask is not installed; run: pip install 'genericpipeline[dask]'"]
    with pytest.raises(CheckFailed):
        found.require_executor()
    found.close()


class Broken:
    """An executor with unknown resources."""

    def __init__(self, problem: PipelineError) -> None:
        self.problem, self.closed = problem, 0
        self.notices: list[str] = []

    def capacity(self) -> Resources:
        raise self.problem

    def close(self) -> None:
        self.closed += 1


def test_silent_executor_is_finding(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading = read("run.parset", Overrides(), [])
    broken = Broken(PipelineError("sinfo does not answer"))
    monkeypatch.setattr("lofarpipe.pipeline.preflight.make_executor", lambda _: broken)
    place = place_of(reading.settings)
    assert (place.executor, place.machine, broken.closed) == (None, BOUNDLESS, 1)
    assert [str(finding) for finding in place.wrong] == ["this run: sinfo does not answer"]
    broken.problem = Interrupted(2)
    with pytest.raises(Interrupted):
        place_of(reading.settings)


def test_valid_run_shows_warnings(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(here, "[slurm]\nwalltime = 12h\n")
    found = survey(read("run.parset", Overrides(), []))
    assert (found.wrong, found.findings) == ((), ())
    assert [warning.what.partition(";")[0] for warning in found.warnings] == ["walltime is '12h'"]
    found.require_executor().close()
    assert main(["run.parset", "--check"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{here}/run.parset: 1 step, nothing wrong\n"
    assert printed.err.startswith(f"warning: {here}/pipeline.cfg:5: walltime is '12h'; a time is needed, as minutes, ")


def test_variables_of_missing_directories_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASACORE_DATADIR", str(here / "gone"))
    monkeypatch.setenv("EVERYBEAM_DATADIR", str(here))
    monkeypatch.setenv("AIPSPATH", f"{here} linux site")
    assert said(capsys, here, "--check") == [
        "environment: CASACORE_DATADIR=gone: there is no such directory; unset it, for the tables of the installed "
        "packages, or name a directory that is there",
        "1 problem found; nothing was run",
    ]


def test_run_reports_allocation_of_machine(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "run.parset").write_text("pipeline.steps = []\n")  # it is said before the first job
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "100")
    assert main(["run.parset"]) == 0
    assert "job 12 of Slurm has 0.105 of " in capsys.readouterr().out  # 100 * 1048576 bytes
    assert main(["run.parset", "--memory-gb", "0.5", "--cores", "1"]) == 0
    assert "Slurm" not in capsys.readouterr().out


def translated(keys: dict[str, tuple[str, int]], sections: dict[str, dict[str, tuple[str, int]]]) -> Translation:
    """Return the translation of img.toml: keys of one step and of the site, each with its line."""
    parset = Parset.parse(f"pipeline.steps = [one]\n{ONE}", "front end")
    for key, (value, line) in keys.items():
        parset.set(key, value, "img.toml", line)
    site = {
        name: {key: Entry(key, value, "img.toml", line) for key, (value, line) in section.items()}
        for name, section in sections.items()
    }
    return Translation(Path("img.toml"), parset, site)


def test_front_end_findings_name_user_file(here: Path) -> None:
    keys = {"one.control.cores": ("two", 3), "one.control.coers": ("2", 4), "one.control.executable": ("nowhere", 5)}
    sections = {
        "remote": {"method": ("slurm", 7), "lost_retries": ("often", 8), "coers": ("2", 9)},
        "slurm": {"walltime": ("12h", 11), "partiton": ("a", 12), "account": ("50%", 13)},
    }
    found = survey(read(translated(keys, sections), Overrides(), []))
    places = {str(finding).partition(": ")[0] for finding in (*found.wrong, *found.findings)}
    assert places == {f"img.toml:{line}" for line in (3, 4, 5, 8, 9, 11, 12)}
    assert found.settings.sections["slurm"]["account"] == "50%"


def test_front_end_site_precedes_configuration(here: Path) -> None:
    configure(here, "[remote]\nmax_per_node = 3\ncores = 1\n")
    reading = read(
        translated({}, {"remote": {"max_per_node": ("2", 1)}, "report": {"html": ("False", 2)}}), Overrides(), []
    )
    settings, pipeline = reading.require_valid()
    assert (settings.max_per_node, settings.cores, settings.job_name) == (2, 1, "img")
    assert settings.sections["report"]["html"] == "False"
    assert pipeline.files == (here / "img.toml",)
    wrong = read(translated({}, {"report": {"html": ("perhaps", 2)}}), Overrides(), []).wrong
    assert [finding.where for finding in wrong] == ["img.toml:2"]
