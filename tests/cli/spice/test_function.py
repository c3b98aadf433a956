"""The imager as a Python function: names, defaults, types, its exceptions."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from lofarpipe.cli.spice import main
from lofarpipe.cli.spice.config import OptionSetting
from lofarpipe.cli.spice.function import settings_of
from lofarpipe.errors import UsageError


def given(**arguments: object) -> dict[str, str]:
    bound = inspect.signature(main).bind(Path("/in"), "/out", **arguments)
    bound.apply_defaults()
    values = {name: value for name, value in bound.arguments.items() if name != "executor"}
    return {name: setting.text for name, setting in settings_of(values).items()}


def test_defaults_equal_pipeline_except_size() -> None:
    assert given() == {"msdir": "/in", "datadir": "/out", "size": "6074"}


def test_arguments_become_options() -> None:
    found = given(cutoff=14.2, minuv=0, parallel_deconvolution=1024, multiscale=True, absmem=50, auto_threshold=0)
    assert {name: found[name] for name in found if name not in ("msdir", "datadir", "size")} == {
        "psf_cutoff": "14.2",
        "parallel": "1024",
        "multiscale": "True",
        "absmem": "50",
        "auto_threshold": "0",
    }


def test_numpy_numbers_are_accepted() -> None:
    found = given(nchan=np.int64(4), scale=np.float32(2), purge=np.bool_(True))
    assert (found["nchan"], found["scale"], found["purge"]) == ("4", "2", "True")


@pytest.mark.parametrize(
    ("value", "option", "text"),
    [
        (Path("x.sif"), "local_wsclean", "x.sif"),
        ("x.sif", "local_wsclean", "x.sif"),
        ("docker://me/x:1", "hosted_wsclean", "docker://me/x:1"),
    ],
)
def test_wsclean_is_file_or_reference(value: object, option: str, text: str) -> None:
    assert given(wsclean_path=value)[option] == text
    assert settings_of({"wsclean_path": value}) == {option: OptionSetting(text, "caller")}


def test_wrong_values_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        main(tmp_path, tmp_path / "out", nchan="x", gridder="idq")  # type: ignore[arg-type]
    assert str(caught.value).splitlines() == [
        "nchan is 'x'; an integer > 0 is needed",
        "gridder is 'idq'; one of direct-ft, idg, wgridder, tuned-wgridder, wstacking, none is needed; "
        "did you mean 'idg'?",
    ]
    assert not (tmp_path / "out").exists()
