"""``imgpipe status``: how far runs are, for people, machines and scripts; and the table at the end of a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from imgpipe_site import TOML, ImgpipeSite
from lofarpipe.cli.imgpipe.status import is_successful, places_of
from lofarpipe.errors import PipelineError
from lofarpipe.state.run_state import RunState

pytestmark = pytest.mark.skipif(shutil.which("wsclean") is None, reason="WSClean is not installed")
WAITS = 'case "$*" in *B.MS) while [ ! -e go ]; do sleep 0.05; done;; *C.MS) exit 3;; esac'


@pytest.fixture
def site(tmp_path: Path) -> ImgpipeSite:
    made = ImgpipeSite(tmp_path)
    made.write(TOML)
    return made


def test_status_shows_runs_of_directory(site: ImgpipeSite) -> None:
    site.make_sets("A.MS", "B.MS", "C.MS")
    site.stub(WAITS)
    running = site.start("img.toml", "A.MS", "B.MS")
    site.wait_for("A.MS/images/img-image.fits")
    site.run("img.toml", "C.MS", expected=1)
    printed = site.run("status", "img.runs", expected=1)
    assert "img.runs/A.MS_B.MS-" in printed
    assert ": running, " in printed
    assert "1 of 2 images made, 1 running" in printed
    assert "C.MS: exit code 3; log: " in printed
    assert "0 of 1 image made, 1 failed" in printed
    (of_two,) = site.here.glob("img.runs/A.MS_B.MS-*")
    assert "C.MS" not in site.run("status", str(of_two))
    watching = site.start("status", str(of_two), "--follow")
    (site.here / "go").touch()
    out, err = watching.communicate(timeout=300)
    assert watching.returncode == 0, out + err
    assert "2 of 2 images made" in out
    running.communicate(timeout=300)
    table = site.run("status", str(of_two)).splitlines()
    assert table[1].split() == ["sets", "host", "time", "CPU", "memory", "noise", "peak", "beam", "result"]
    assert table[2].endswith("done")
    assert "mJy" in table[2]
    facts = json.loads(site.run("status", str(of_two), "--json"))
    assert [one["state"] for one in facts] == ["done"]


def test_killed_run_is_not_running(site: ImgpipeSite) -> None:
    site.make_sets("A.MS", "B.MS")
    site.stub(WAITS)
    killed = site.start("img.toml", "A.MS", "B.MS")
    site.wait_for("A.MS/images/img-image.fits")
    killed.kill()
    killed.communicate()
    printed = site.run("status", expected=1)
    assert ": killed, " in printed
    assert "made, " in printed


@pytest.mark.parametrize("words", [["status"], ["status", "none"], ["status", "img.toml"]])
def test_missing_run_is_error(site: ImgpipeSite, words: list[str]) -> None:
    assert "name " in site.run(*words, expected=1)


def test_wrong_usage_of_status_is_refused(site: ImgpipeSite) -> None:
    site.run("status", "--none", expected=2)
    assert "exit status: 0" in site.run("status", "--help")


def test_status_accepts_run_directory_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a"):
        Path(f"img.runs/{name}").mkdir(parents=True)
        Path(f"img.runs/{name}/journal.jsonl").touch()
    Path("img.toml").touch()
    both = [Path("img.runs/b"), Path("img.runs/a")]
    assert places_of(Path("img.runs")) == both
    assert places_of(Path("img.toml")) == both
    assert places_of(Path("img.runs/a/journal.jsonl")) == places_of(Path("img.runs/a")) == [Path("img.runs/a")]
    with pytest.raises(PipelineError, match=r"none: there is no run of imgpipe"):
        places_of(Path("none"))


def test_run_without_images_is_failure() -> None:
    assert not is_successful(RunState())
