"""The DP3 command that puts a sky model into a set."""

from __future__ import annotations

from pathlib import Path


def predict_argv(dp3: str, ms: Path, skymodel: Path, beam: bool) -> tuple[str, ...]:
    """Return the command that replaces DATA by the visibilities of a sky model.

    With ``beam``, sources are seen through each station's beam, and the data are then corrected for the beam at the
    phase centre, as those of the target pipeline are; the set says so in keywords of DATA that DP3 writes.
    ``beam_interval`` keeps DP3's default of 0: other values give wrong beams. Weights stay as they are.
    """
    argv = [dp3, f"msin={ms}", "msout=.", "numthreads=1", f"predict.sourcedb={skymodel}"]
    if not beam:
        return (*argv, "steps=[predict]")
    correction = ["applybeam.invert=True", "applybeam.updateweights=False"]
    return (*argv, "steps=[predict,applybeam]", "predict.usebeammodel=True", *correction)
