"""The choice of the imager, and steps that ask for one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lofarpipe.config import Overrides, read_settings
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.imager.products import write_image
from lofarpipe.jobs import Resources
from lofarpipe.pipeline.checks import check_steps
from lofarpipe.pipeline.load import Pipeline, load_pipeline
from lofarpipe.programs import imagers
from lofarpipe.programs.imagers import choose_imager, imager_keys

STEP = (
    "pipeline.steps = [clean]\nclean.control.type = {type}\nclean.control.imager = {imager}\nclean.argument.niter = 1\n"
)


@pytest.fixture
def without_wsclean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with the programs of this environment, and no other."""
    monkeypatch.setenv("PATH", str(tmp_path))


def load(folder: Path, imager: str, kind: str = "wsclean") -> Pipeline:
    path = folder / "a.parset"
    path.write_text(STEP.format(type=kind, imager=imager))
    settings, wrong = read_settings(path, Overrides())
    assert wrong == []
    return load_pipeline(path, settings)


def test_auto_chooses_installed_wsclean() -> None:
    chosen = choose_imager("auto")
    assert (chosen.program, chosen.executable, chosen.is_fallback) == ("wsclean", "wsclean", False)
    assert chosen.text.startswith("WSClean 3")


@pytest.mark.usefixtures("without_wsclean")
def test_auto_chooses_own_imager_without_wsclean() -> None:
    chosen = choose_imager("auto")
    assert (chosen.program, chosen.executable, chosen.is_fallback) == ("lofar_clean", "lofar-clean", True)
    assert chosen.text.startswith("lofar-clean 0.")


@pytest.mark.usefixtures("without_wsclean")
def test_auto_respects_named_executable() -> None:
    chosen = choose_imager("auto", "/opt/wsclaen")
    assert (chosen.program, chosen.executable, chosen.is_fallback) == ("wsclean", "/opt/wsclaen", False)


@pytest.mark.usefixtures("without_wsclean")
def test_explicit_imager_is_kept() -> None:
    assert choose_imager("wsclean").program == "wsclean"  # its absence is told of with the step
    assert choose_imager("own").reason == "as asked for"


def test_missing_imagers_choose_wsclean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagers, "_is_installed", lambda _: False)
    assert choose_imager("auto").reason == "neither is installed"


def test_unknown_imager_is_refused() -> None:
    with pytest.raises(PipelineError, match="is 'owm'; one of auto, own, wsclean is needed; did you mean 'own'"):
        choose_imager("owm")


@pytest.mark.usefixtures("without_wsclean")
def test_container_has_wsclean() -> None:
    given = {"imager": "auto", "program": "wsclean", "executable": "wsclean"}
    assert imager_keys(given) == {"program": "lofar_clean", "executable": "lofar-clean"}
    assert imager_keys(given | {"container": "docker://a/b"}) == {}
    assert imager_keys(given | {"mpi": "True"}) == {}


def test_imager_of_image_is_in_its_header(tmp_path: Path) -> None:
    plane = np.zeros((4, 4), np.float32)
    write_image(str(tmp_path / "a.fits"), plane, {"ORIGIN": ("lofar-clean 0.1.0", "")})
    write_image(str(tmp_path / "b.fits"), plane, {"ORIGIN": ("WSClean", "")})
    (tmp_path / "c.fits").write_bytes(b"no header")
    names = [imagers.imager_of(tmp_path / f"{name}.fits") for name in "abcd"]
    assert names == ["lofar-clean", "wsclean", "wsclean", "wsclean"]


def test_step_runs_own_imager(tmp_path: Path) -> None:
    step = load(tmp_path, "own").steps[0]
    assert (step.given["program"], step.given["executable"]) == ("lofar_clean", "lofar-clean")
    assert step.given["args_format"] == "wsclean"
    assert load(tmp_path, "auto").warnings == ()


@pytest.mark.usefixtures("without_wsclean")
def test_fallback_gives_one_warning(tmp_path: Path) -> None:
    warnings = load(tmp_path, "auto").warnings
    where = f"{tmp_path}/a.parset:3: clean.control.imager"
    assert len(warnings) == 1
    assert str(warnings[0]).startswith(f"{where}: auto takes lofar-clean of this package: WSClean is not installed; ")


@pytest.mark.usefixtures("without_wsclean")
def test_option_of_wsclean_alone_is_finding_of_check(tmp_path: Path) -> None:
    path = tmp_path / "a.parset"
    path.write_text(STEP.format(type="wsclean", imager="auto") + "clean.argument.aterm-config = a\n")
    settings, _ = read_settings(path, Overrides())
    steps = load_pipeline(path, settings).steps
    first = str(check_steps(steps, settings, Resources(1, 4.0), (), {})[0])
    assert first.startswith(
        f"{path}:5: step 'clean': -aterm-config: there is no IDG, and there are no a-terms; remove it"
    )


def test_wrong_imager_names_its_line(tmp_path: Path) -> None:
    where = f"{tmp_path}/a.parset:3: clean.control.imager"
    assert [str(finding) for finding in load(tmp_path, "owm").findings] == [
        f"{where}: is 'owm'; one of auto, own, wsclean is needed; did you mean 'own'?"
    ]
    assert "the step runs no imager" in str(load(tmp_path, "own", "dp3").findings[0])
