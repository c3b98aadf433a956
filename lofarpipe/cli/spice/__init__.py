"""The ASKAP imager as commands and as a Python function: spice_image, spice_process --imager_only, ``main``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lofarpipe.jobs import Executor

__all__ = ["main"]
HOSTED = "docker://alecthomson/wsclean:latest"


def main(
    msdir: Path | str,
    out_dir: Path | str,
    num_beams: int = 36,
    temp_dir_images: Path | str | None = None,
    temp_dir_wsclean: Path | str | None = None,
    cutoff: float | None = None,
    robust: float = -0.5,
    pols: str = "IQU",
    nchan: int = 36,
    size: int = 6074,
    scale: float = 2.5,
    mgain: float = 0.8,
    niter: int = 100_000,
    auto_mask: float = 3,
    force_mask_rounds: int | None = None,
    auto_threshold: float = 1,
    taper: float | None = None,
    purge: bool = False,
    minuv: float = 0.0,
    parallel_deconvolution: int | None = None,
    gridder: str | None = None,
    nmiter: int | None = None,
    local_rms: bool = False,
    local_rms_window: float | None = None,
    wsclean_path: Path | str = HOSTED,
    multiscale: bool | None = None,
    multiscale_scale_bias: float | None = None,
    multiscale_scales: str | None = "0,2,4,8,16,32,64,128",
    absmem: float | None = None,
    make_residual_cubes: bool = False,
    ms_glob_pattern: str = "scienceData*_averaged_cal.leakage.ms",
    data_column: str = "CORRECTED_DATA",
    skip_fix_ms: bool = False,
    no_mf_weighting: bool = False,
    disable_pol_local_rms: bool = False,
    disable_pol_force_mask_rounds: bool = False,
    *,
    executor: Executor | None = None,
) -> None:
    """Make images and cubes of all beams; the options are those of spice_image (doc/pipelines/askap.md).

    Raises
    ------
    UsageError, CheckFailed, ImagingFailed
        All subclasses of PipelineError: for invalid values or sets; for failed jobs, with every failure.
    """
    arguments = {name: value for name, value in locals().items() if name != "executor"}
    from lofarpipe.cli.spice.function import image_beams

    image_beams(arguments, executor)
