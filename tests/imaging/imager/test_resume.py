"""The saved state of a run: contents, validity, and resuming after a kill."""

from dataclasses import replace

import numpy as np
import pytest

from imager_runs import run_settings
from lofarpipe.imaging.imager.major_cycle import State
from lofarpipe.imaging.imager.resume import StateFile, run_digest


@pytest.fixture
def settings(tmp_path):
    ms = tmp_path / "a.ms"
    ms.mkdir()
    (ms / "table.f0").write_text("rows")
    return run_settings(str(ms), tmp_path / "image")


def make_state() -> State:
    rng = np.random.default_rng(1)
    model = np.where(rng.uniform(size=(1, 2, 20, 30)) < 0.1, rng.normal(size=(1, 2, 20, 30)), 0).astype(np.float32)
    found = [rng.uniform(size=(20, 30)) < 0.2, rng.uniform(size=(10, 15)) < 0.2]
    return State(model, found, True, 3, 1234, 5.5, 1.25e-3, [0.5, 0.25], "")


def test_saved_state_is_loaded(settings):
    state = make_state()
    StateFile(settings).save([0], state)
    again = StateFile(settings).load([0], state.model.shape)
    np.testing.assert_array_equal(again.model, state.model)
    assert again.model.dtype == np.float32
    for one, other in zip(again.component_masks, state.component_masks, strict=True):
        np.testing.assert_array_equal(one, other)
    for name in ("is_masked", "majors", "iterations", "brightest_jy", "sigma_jy", "residual_peaks_jy", "reason"):
        assert getattr(again, name) == getattr(state, name)
        assert type(getattr(again, name)) is type(getattr(state, name))


def test_stokes_groups_have_separate_states(settings):
    first, second = make_state(), replace(make_state(), majors=1, reason="done")
    file = StateFile(settings)
    file.save([0], first)
    file.save([1, 2], second)
    again = StateFile(settings)
    assert again.load([0], first.model.shape).majors == 3
    assert again.load([1, 2], second.model.shape).reason == "done"
    assert again.load([3], first.model.shape) is None


def test_removed_state_is_gone(settings, tmp_path):
    file = StateFile(settings)
    file.remove()
    file.save([0], make_state())
    assert [path.name for path in tmp_path.glob("image*")] == ["image-state.npz"]
    file.remove()
    assert StateFile(settings).load([0], (1, 2, 20, 30)) is None


@pytest.mark.parametrize("torn", [b"", b"PK\x03\x04 half of a file", None])
def test_torn_state_counts_as_none(settings, tmp_path, torn):
    path = tmp_path / "image-state.npz"
    if torn is None:
        np.savez(path, other=np.zeros(1))
    else:
        path.write_bytes(torn)
    assert StateFile(settings).load([0], (1, 2, 20, 30)) is None


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"threads": 7}, True),
        ({"scratch": "/tmp", "memory_bytes": 1}, True),
        ({"auto_mask": 6.0}, False),
        ({"beams": np.ones((2, 1, 1))}, False),
        ({"sets": ("b.ms",)}, False),
    ],
)
def test_state_depends_on_imaging_settings(settings, change, is_same):
    assert (run_digest(replace(settings, **change)) == run_digest(settings)) is is_same
    StateFile(settings).save([0], make_state())
    assert (StateFile(replace(settings, **change)).load([0], (1, 2, 20, 30)) is not None) is is_same


def test_changed_set_or_mask_invalidates_state(settings, tmp_path):
    mask = tmp_path / "mask.fits"
    mask.write_text("mask")
    settings = replace(settings, fits_mask=str(mask))
    before = run_digest(settings)
    (tmp_path / "a.ms" / "table.f0").write_text("more rows")
    after = run_digest(settings)
    mask.write_text("other mask")
    assert len({before, after, run_digest(settings)}) == 3
