"""A batch of channels with DP3 and WSClean: images, blank channels, kept files, failed copies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from band_sets import STOKES_JY, BandShape, make_band_set
from lofarpipe.errors import PipelineError
from lofarpipe.imaging.ms.band import read_band
from lofarpipe.imaging.plan.stokes_options import read_stokes_options
from lofarpipe.imaging.plan.stokes_plan import plan_images, stokes_plan_as_dict
from lofarpipe.jobs import Resources
from lofarpipe.programs import channel_batch as module
from lofarpipe.programs.channel_batch import BatchSettings, ChannelBatch, merge_windows
from lofarpipe.programs.channel_records import read_image_record
from lofarpipe.programs.child import ChildFailed
from lofarpipe.programs.find import find
from small_sets import change_column

GIVEN = Resources(1, 2.0)


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    for name in ("wsclean", "DP3"):
        try:
            find(name)
        except PipelineError as err:
            pytest.skip(str(err))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with channel 2 flagged and channel 3 in the gap."""
    return make_band_set(tmp_path_factory.mktemp("set") / "a.ms", BandShape(flagged=((0, 2), (0, 3), (1, 0))))


def plan_for(path: Path, out: Path, **texts: str) -> dict[str, Any]:
    """Return a plan of five channels of 20 MHz in two batches."""
    given = {"vis": str(path), "outdir": str(out), "frequency_range_mhz": "900~1000", "channel_width_mhz": "20"}
    given |= {"mfs_range_mhz": "900~1000", "imsize": "96", "cell_arcsec": "8", "jobs_at_once": "2"}
    options, findings = read_stokes_options(given | {"multiscale_scales": "[]", "niter": "100"} | texts)
    assert findings == []
    assert options is not None
    plan, findings = plan_images(options, read_band(options.vis, options.data_column, options.field))
    assert findings == []
    assert plan is not None
    return stokes_plan_as_dict(plan)


def settings_for(plan: Mapping[str, Any], here: Path, **changes: Any) -> BatchSettings:
    settings = BatchSettings(plan, "/runs/a", here / "work", here / "scratch", here / "slots", 1, GIVEN, tolerant=True)
    return replace(settings, **changes)


def image_of(plan: Mapping[str, Any], label: str, robust: str = "0.0") -> Path:
    return Path(plan["products"]) / "chan_imgs" / label / f"a.chan{label}_IQUV_{robust}_96.fits"


def test_batch_makes_images_and_records(made: Path, tmp_path: Path) -> None:
    plan = plan_for(made, tmp_path / "out", channel_robust="[0.0, 2.0]")
    settings = settings_for(plan, tmp_path)
    assert ChannelBatch(settings, 0).run() == {"made": 2, "kept": 0, "blank": 2}
    with fits.open(image_of(plan, "001")) as hdus:
        header, pixels = hdus[0].header, hdus[0].data
    assert pixels[0, :, 48, 48] == pytest.approx(list(STOKES_JY), abs=0.03)
    assert (header["CRVAL4"], header["EFFFREQ"], header["OBJECT"]) == (910e6, 910e6, "FIELD")
    other = fits.getheader(image_of(plan, "001", "2.0"))
    assert other["BMAJ"] * other["BMIN"] > 1.02 * header["BMAJ"] * header["BMIN"]
    record = read_image_record(settings.work, "002", 0.0)
    assert record is not None
    assert (record["status"], record["reason"]) == ("blank", "flagged")
    assert list((tmp_path / "scratch").iterdir()) == []
    assert list((tmp_path / "slots").iterdir()) == []
    assert len(list((settings.work / "nodes").iterdir())) == 1


def test_finished_images_are_kept(made: Path, tmp_path: Path) -> None:
    plan = plan_for(made, tmp_path / "out")
    ChannelBatch(settings_for(plan, tmp_path), 1).run()
    times = [image_of(plan, label).stat().st_mtime_ns for label in ("004", "005")]
    assert ChannelBatch(settings_for(plan, tmp_path), 1).run() == {"made": 0, "kept": 2, "blank": 0}
    image_of(plan, "004").unlink()  # as a killed batch leaves it
    assert ChannelBatch(settings_for(plan, tmp_path), 1).run() == {"made": 1, "kept": 1, "blank": 0}
    assert image_of(plan, "005").stat().st_mtime_ns == times[1]
    more = plan_for(made, tmp_path / "out", channel_robust="[0.0, 1.0]")
    assert ChannelBatch(settings_for(more, tmp_path), 1).run() == {"made": 2, "kept": 2, "blank": 0}


def test_half_flagged_channel_has_its_effective_frequency(made: Path, tmp_path: Path) -> None:
    plan = plan_for(made, tmp_path / "out")
    ChannelBatch(settings_for(plan, tmp_path), 1).run()
    header = fits.getheader(image_of(plan, "004"))
    assert (header["EFFFREQ"], header["FLAGFRAC"]) == (pytest.approx(975e6), pytest.approx(0.5))


def test_products_of_different_settings_are_refused(made: Path, tmp_path: Path) -> None:
    plan = plan_for(made, tmp_path / "out")
    ChannelBatch(settings_for(plan, tmp_path), 1).run()
    other = plan_for(made, tmp_path / "out", niter="50")
    with pytest.raises(PipelineError, match="made of other data or with other settings; set overwrite = True"):
        ChannelBatch(settings_for(other, tmp_path), 1).run()
    other = plan_for(made, tmp_path / "out", niter="50", overwrite="True")
    assert ChannelBatch(settings_for(other, tmp_path), 1).run()["made"] == 2


def test_unstaged_set_is_read_directly(made: Path, tmp_path: Path) -> None:
    staged, direct = plan_for(made, tmp_path / "a"), plan_for(made, tmp_path / "b", stage_data="False")
    for plan in (staged, direct):
        ChannelBatch(settings_for(plan, tmp_path), 1).run()
    images = [fits.getdata(image_of(plan, "005")) for plan in (staged, direct)]
    assert np.allclose(*images, atol=1e-4)


def test_chosen_field_is_imaged(tmp_path: Path) -> None:
    path = make_band_set(tmp_path / "a.ms", BandShape(fields=("X", "Y"), ntimes=6))
    plan = plan_for(path, tmp_path / "out", field="Y")
    assert ChannelBatch(settings_for(plan, tmp_path), 1).run()["made"] == 2
    assert fits.getheader(image_of(plan, "005"))["OBJECT"] == "Y"


def fail_for(channel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the imager fail for one channel."""
    real = module.run_program

    def run(name: str, keywords: Mapping[str, str], *rest: Any) -> tuple[str, ...]:
        if keywords.get("name", "").startswith("/") and f"/{channel}_" in keywords["name"]:
            raise ChildFailed("WSClean exited with 134: it crashed")
        return real(name, keywords, *rest)

    monkeypatch.setattr(module, "run_program", run)


def test_failed_channel_is_blank(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_for("004", monkeypatch)
    plan = plan_for(made, tmp_path / "out")
    assert ChannelBatch(settings_for(plan, tmp_path), 1).run() == {"made": 1, "kept": 0, "blank": 1}
    assert "WARNING: channel 004 at robust 0.0 is blank: WSClean exited with 134" in capsys.readouterr().out
    record = read_image_record(tmp_path / "work", "004", 0.0)
    assert record is not None
    assert (record["reason"], record["detail"]) == ("failed", "WSClean exited with 134: it crashed")
    with pytest.raises(PipelineError, match=r"channel 004 at robust 0\.0: WSClean exited with 134"):
        ChannelBatch(settings_for(plan, tmp_path, tolerant=False), 1).run()


def test_failed_copy_keeps_and_names_scratch(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> str:
        raise PipelineError(f"{target}: No space left on device; free some space")

    plan = plan_for(made, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(module, "copy_verified", fail)
        with pytest.raises(
            PipelineError, match="No space left on device; free some space; the image is kept: "
        ) as caught:
            ChannelBatch(settings_for(plan, tmp_path), 1).run()
    kept = Path(str(caught.value).rpartition(": ")[2])
    assert kept.is_file()
    assert ChannelBatch(settings_for(plan, tmp_path), 1).run()["made"] == 2
    assert not kept.exists()  # its images are there now
    assert list((tmp_path / "scratch").iterdir()) == []


def test_full_scratch_is_refused(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lofarpipe.state.scratch.free_bytes", lambda _: 1e3)
    with pytest.raises(PipelineError, match="the data of this job take"):
        ChannelBatch(settings_for(plan_for(made, tmp_path / "out"), tmp_path), 1).run()


def test_image_of_no_visibility_is_blank(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "is_empty", lambda _: True)
    plan = plan_for(made, tmp_path / "out")
    assert ChannelBatch(settings_for(plan, tmp_path), 1).run()["blank"] == 2


def test_nan_channel_costs_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_band_set(tmp_path / "a.ms")

    def change(cells: Any) -> Any:
        cells[:, :2, 0] = np.nan
        return cells

    change_column(str(path), "CORRECTED_DATA", change)
    real = module.run_program

    def run(name: str, *rest: Any) -> tuple[str, ...]:
        assert name != "wsclean"
        return real(name, *rest)

    monkeypatch.setattr(module, "run_program", run)
    for stage_data in ("True", "False"):
        here = tmp_path / stage_data
        plan = plan_for(path, here, stage_data=stage_data, channels="4-5")
        assert ChannelBatch(settings_for(plan, here), 0).run() == {"made": 0, "kept": 0, "blank": 1}
        record = read_image_record(here / "work", "004", 0.0)
        assert record is not None
        assert record["detail"] == "every visibility is flagged, NaN, 0, or without weight"


def test_weight_that_is_nan_costs_its_visibility_alone(tmp_path: Path) -> None:
    """A single one makes WSClean's image NaN, and its header that of an image without visibilities."""

    def change(weights: Any) -> Any:
        weights[7, 2:, 0] = np.nan
        return weights

    path = make_band_set(tmp_path / "a.ms", BandShape())
    change_column(str(path), "WEIGHT_SPECTRUM", change)
    for stage_data, counts in (("True", (1, 0)), ("False", (0, 1))):
        here = tmp_path / stage_data
        plan = plan_for(path, here, stage_data=stage_data, channels="2", mfs_robust="[]", niter="0")
        done = ChannelBatch(settings_for(plan, here), 0).run()
        assert (done["made"], done["blank"]) == counts
        record = read_image_record(here / "work", "002", 0.0)
        assert record is not None
        assert record.get("detail", "").startswith("NaN or infinite: 2 weights of unflagged" if counts[1] else "")
        assert (record.get("reason") == "failed") == bool(counts[1])


@pytest.mark.parametrize(("value", "reason"), [(np.nan, "the image of Stokes I has NaN"), (0, "Stokes I is 0 every")])
def test_undefined_image_is_failure(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float, reason: str
) -> None:
    real = module.images_by_stokes

    def images(name: Path) -> dict[str, str]:
        with fits.open(real(name)["I"], mode="update") as hdus:
            hdus[0].data[:] = value
        return real(name)

    monkeypatch.setattr(module, "images_by_stokes", images)
    plan = plan_for(made, tmp_path / "out", channels="5", niter="0")
    assert ChannelBatch(settings_for(plan, tmp_path), 0).run()["blank"] == 1
    record = read_image_record(tmp_path / "work", "005", 0.0)
    assert record is not None
    assert (record["reason"], reason in record["detail"]) == ("failed", True)


def test_missing_image_is_failure(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "images_by_stokes", lambda _: {"I": "x"})
    plan = plan_for(made, tmp_path / "out")
    assert ChannelBatch(settings_for(plan, tmp_path), 1).run()["blank"] == 2
    record = read_image_record(tmp_path / "work", "005", 0.0)
    assert record is not None
    assert record["detail"] == "it wrote no image of Stokes Q, U, V"


def test_residue_of_killed_attempt_is_removed(made: Path, tmp_path: Path) -> None:
    plan = plan_for(made, tmp_path / "out")
    left = tmp_path / "scratch" / "genericpipeline-image_channels-001-dead"
    left.mkdir(parents=True)
    marker = {"run": "/runs/a", "step": "image_channels", "job": "001", "kept": ""}
    (left / "scratch-owner.json").write_text(json.dumps(marker))
    ChannelBatch(settings_for(plan, tmp_path), 1).run()
    assert not left.exists()


def test_spectral_windows_are_joined(made: Path, tmp_path: Path) -> None:
    plan = plan_for(made, tmp_path / "out", write_merged_set="True")
    target = merge_windows(plan, str(made), "/runs/a", tmp_path / "scratch", GIVEN)
    assert target == tmp_path / "out" / "a" / "a_merged.ms"
    band = read_band(str(target))
    assert [len(window.frequencies_hz) for window in band.windows] == [8]
    with pytest.raises(PipelineError, match="already exists"):
        merge_windows(plan, str(made), "/runs/a", tmp_path / "scratch", GIVEN)
    assert list((tmp_path / "scratch").iterdir()) == []
    shutil.rmtree(target)
