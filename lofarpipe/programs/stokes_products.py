"""The products of a full-Stokes run: images of the band, smoothed images, cubes with manifests, quality numbers."""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lofarpipe.errors import WARNING, PipelineError
from lofarpipe.imaging.cubes.beams import Beam
from lofarpipe.imaging.cubes.stokes_cube import (
    TILED,
    CubeChannel,
    common_target,
    manifest,
    write_smoothed,
    write_stokes_cube,
)
from lofarpipe.imaging.cubes.stokes_images import (
    STOKES,
    StokesFacts,
    band_image,
    blank_record,
    channel_image,
    cube_file,
    header_of,
    noise_by_stokes,
    recipe_in,
    write_stokes_image,
)
from lofarpipe.programs.channel_records import channel_recipe, read_image_record, refuse_other_product
from lofarpipe.programs.wsclean.outputs import read_products, select
from lofarpipe.programs.wsclean.stokes import KINDS, POLARISED, TOTAL, stokes_images
from lofarpipe.programs.wsclean.stokes_maps import SMOOTHED, band_recipe
from lofarpipe.support.utilities import unfinished_name, write_atomically

if TYPE_CHECKING:  # it opens measurement sets
    from lofarpipe.imaging.plan.stokes_plan import StokesPlan

BEAM_TOLERANCE = 0.01  # tolerance between the beams of total intensity and of Q, U, V


def read_plan(path: str | Path) -> dict[str, Any]:
    """Return the plan of a run.

    Raises
    ------
    PipelineError
        If it cannot be read.
    """
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        return content
    except (OSError, ValueError) as err:
        raise PipelineError(f"{path}: the plan cannot be read: {err}; run its step again") from err


# ------------------------------------------------------------------------------------------------ images of the band
def write_band_image(
    plan: Mapping[str, Any], robust: float, root: str, total: Sequence[str], polarised: Sequence[str], keep_all: bool
) -> Path:
    """Join the band images of total intensity and of Q, U, V into one; return its name.

    ``total`` and ``polarised`` are the files of both runs below ``root``. With ``keep_all`` each run's
    PSF, residual, model and dirty image are kept beside it, and the spectral index.
    """
    base, imsize = plan["set"]["base"], plan["options"]["imsize"]
    path = band_image(Path(plan["products"]), base, robust, imsize)
    planes = stokes_images(f"{root}{TOTAL}", total) | stokes_images(f"{root}{POLARISED}", polarised)
    if missing := [name for name in STOKES if name not in planes]:
        raise PipelineError(f"{path}: the images of Stokes {', '.join(missing)} were not written; see the step's log")
    recipe = band_recipe(plan, robust)
    if (former_recipe := recipe_in(path)) not in (None, recipe):
        refuse_other_product(path, plan["options"]["overwrite"])
    header, other = header_of(Path(planes["I"])), header_of(Path(planes["Q"]))
    for warning in _beam_differences(path, header, other):
        print(f"{WARNING}{warning}")
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = _band_facts(plan, header, recipe, robust, (planes["I"], planes["Q"]))
    if former_recipe != recipe:
        part = unfinished_name(path)
        try:
            write_stokes_image(part, planes, facts)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    if keep_all:
        _keep_all(path, base, robust, imsize, root, total, polarised)
    return path


def _band_facts(
    plan: Mapping[str, Any], header: Mapping[str, Any], recipe: str, robust: float, commanded: Sequence[str]
) -> StokesFacts:
    axis = next(number for number in (3, 4) if str(header.get(f"CTYPE{number}", "")).startswith("FREQ"))
    history = [str(line) for path in commanded for line in header_of(Path(path)).get("HISTORY", [])]
    return StokesFacts(
        float(header[f"CRVAL{axis}"]),
        float(header[f"CDELT{axis}"]),
        recipe,
        robust,
        plan["set"]["field"],
        history=tuple(history),
    )


def _beam_differences(path: Path, one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    beams = [Beam.from_header(header) for header in (one, other)]
    if beams[0] is None or beams[1] is None:
        raise PipelineError(f"{path}: an image of the band has no beam; look at the flags of the set")
    if abs(beams[0].area_arcsec2 / beams[1].area_arcsec2 - 1) > BEAM_TOLERANCE:
        yield f"{path}: the beam of I is {beams[0]}, and of Q, U, V {beams[1]}; fluxes are per beam of I"


def _keep_all(
    path: Path, base: str, robust: float, imsize: int, root: str, total: Sequence[str], polarised: Sequence[str]
) -> None:
    """Keep WSClean's other outputs, renamed, beside the images of the whole band."""
    all_products = [*read_products(f"{root}{TOTAL}", total), *read_products(f"{root}{POLARISED}", polarised)]
    for kind in KINDS:
        products = select(all_products, kind, channel=None, interval=None)
        for product in products[:1] if kind == "psf" else products:
            name = product.stokes or "I"
            shutil.copyfile(product.path, path.with_name(f"{base}_mfs_{name}_{robust}_{imsize}-{kind}.fits"))
    channels = {
        kind: [Path(product.path) for product in select(all_products, kind, stokes="") if product.channel is not None]
        for kind in ("model", "residual")
    }
    if len(channels["model"]) > 1:
        from lofarpipe.imaging.cubes.spectral_index import write_spectral_index

        index = path.with_name(f"{base}_mfs_I_{robust}_{imsize}-alpha.fits")
        image = Path(stokes_images(f"{root}{TOTAL}", total)["I"])
        write_spectral_index(image, channels["model"], channels["residual"], index)


# ------------------------------------------------------------------------------------------------ smoothing
def target_of(plan: Mapping[str, Any], robust: float | None = None) -> Beam | None:
    """Return the common beam of the channels of a robust value; of all, where an image of the band is smoothed."""
    robusts = plan["options"]["channel_robust"] if robust is None else [robust]
    images = [image for one in robusts for image in _channel_images(plan, one) if image is not None]
    option = plan["options"]["common_beam_arcsec"]
    if option == "auto" and not images:
        bands = [band_image(*_place(plan), one, plan["options"]["imsize"]) for one in plan["options"]["mfs_robust"]]
        images = [path for path in bands if path.is_file()]
    return common_target(option, images)


def _place(plan: Mapping[str, Any]) -> tuple[Path, str]:
    return Path(plan["products"]), plan["set"]["base"]


def _channel_images(plan: Mapping[str, Any], robust: float, smoothed: bool = False) -> Iterator[Path | None]:
    for entry in plan["channels"]:
        path = channel_image(*_place(plan), entry["label"], robust, plan["options"]["imsize"], smoothed)
        yield path if path.is_file() else None


def smooth_band(plan: Mapping[str, Any], robust: float) -> None:
    """Write the image of the band at the common beam."""
    imsize = plan["options"]["imsize"]
    native = band_image(*_place(plan), robust, imsize)
    target = target_of(plan)
    if target is not None and (
        reason := write_smoothed(native, band_image(*_place(plan), robust, imsize, True), target)
    ):
        print(f"{WARNING}{native.name} is not smoothed: {reason}; set common_beam_arcsec to more, or auto")


def smooth_channels(plan: Mapping[str, Any], batch: int) -> None:
    """Smooth the channel images of a batch to the common beam, except those with a larger beam."""
    indices = set(plan["batches"][batch])
    for robust in plan["options"]["channel_robust"]:
        target = target_of(plan, robust)
        for entry, image in zip(plan["channels"], _channel_images(plan, robust), strict=True):
            if target is None or image is None or entry["index"] not in indices:
                continue
            smoothed = channel_image(*_place(plan), entry["label"], robust, plan["options"]["imsize"], True)
            if reason := write_smoothed(image, smoothed, target):
                print(f"{WARNING}channel {entry['label']} at robust {robust} is blank in the smoothed cube: {reason}")


# ------------------------------------------------------------------------------------------------ cubes
def write_cube_product(plan: Mapping[str, Any], work: Path, robust: float, kind: str) -> Path:
    """Write one cube, and the manifest beside the native one; return the cube's name."""
    products, base = _place(plan)
    is_smoothed = kind == SMOOTHED
    path = cube_file(products, base, robust, plan["options"]["imsize"], is_smoothed)
    target = target_of(plan, robust)
    native = list(_cube_channels(plan, work, robust))
    smoothed = [_smoothed_channel(plan, channel, robust, target) for channel in native]
    former_recipe = recipe_in(path)
    chosen = smoothed if is_smoothed else native
    is_tiled = plan["options"]["cube_format"] == TILED
    write_stokes_cube(path, chosen, plan["channel_width_hz"], target if is_smoothed else None, is_tiled)
    if former_recipe is not None and former_recipe != recipe_in(path):
        print(f"{path}: replaces one of other images")
    if not is_smoothed:
        facts = manifest(native, smoothed, target, robust, products)
        write_atomically(path.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
    return path


def _cube_channels(plan: Mapping[str, Any], work: Path, robust: float) -> Iterator[CubeChannel]:
    """Yield all channels of the plan with their images and records."""
    for entry, image in zip(plan["channels"], _channel_images(plan, robust), strict=True):
        record = read_image_record(work, entry["label"], robust)
        if image is None and record is None and not entry["reason"]:
            raise PipelineError(
                f"channel {entry['label']} at robust {robust} has neither an image nor a reason for none"
            )
        yield CubeChannel(entry, image, record or blank_record(entry["reason"]))


def _smoothed_channel(plan: Mapping[str, Any], channel: CubeChannel, robust: float, target: Beam | None) -> CubeChannel:
    """Return a channel with its smoothed image, or the reason for its absence."""
    if channel.image is None:
        return channel
    path = channel_image(*_place(plan), channel.entry["label"], robust, plan["options"]["imsize"], True)
    if target is None or not path.is_file():
        from lofarpipe.imaging.cubes.stokes_cube import smoothing_obstacle

        reason = smoothing_obstacle(header_of(channel.image), target) if target else "common_beam_arcsec is none"
        if not reason:
            raise PipelineError(f"{path}: is not there; run the step that smooths again")
        return CubeChannel(channel.entry, None, {**channel.record, "smoothed_reason": reason})
    return CubeChannel(channel.entry, path, channel.record)


# ------------------------------------------------------------------------------------------------ quality, removal
def stokes_quality(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return noise, beam, peak and dynamic range of the images of the band, and the manifests' numbers of channels.

    Includes all existing images at any robust value, also of other runs.
    """
    (products, base), imsize = _place(plan), plan["options"]["imsize"]
    images = sorted(products.glob(f"mfs_*/{glob.escape(base)}_mfs_IQUV_*_{imsize}*.fits"))
    manifests = sorted((products / "cubes").glob(f"{glob.escape(base)}_cube_IQUV_*_{imsize}.json"))
    return {
        "images": {str(path.relative_to(products)): image_numbers(path) for path in images},
        "cubes": {
            str(content["robust"]): _cube_numbers(content)
            for content in (json.loads(path.read_text(encoding="utf-8")) for path in manifests)
        },
    }


def image_numbers(path: Path) -> dict[str, Any]:
    """Return noise, beam, peak of total intensity and dynamic range of an image of four planes."""
    import numpy as np
    from astropy.io import fits

    with fits.open(path, memmap=True) as hdus:
        header, peak_jy = hdus[0].header, float(np.nanmax(hdus[0].section[0, 0]))
    noise, beam = noise_by_stokes(header), Beam.from_header(header)
    return {
        "rms_jy": noise,
        "peak_jy": peak_jy,
        "dynamic_range": round(peak_jy / noise["I"], 1) if noise["I"] else None,
        "beam": {"bmaj_arcsec": beam.major_arcsec, "bmin_arcsec": beam.minor_arcsec, "bpa_deg": beam.angle_deg}
        if beam
        else None,
    }


def _cube_numbers(manifest: Mapping[str, Any]) -> dict[str, Any]:
    import statistics

    entries = manifest["channels"]
    good = [entry for entry in entries if entry["status"] == "ok"]
    return {
        "channels": len(entries),
        "blank": {str(entry["index"]): entry["reason"] for entry in entries if entry["status"] != "ok"},
        "blank_smoothed": {
            str(entry["index"]): entry["smoothed_reason"] for entry in entries if entry["smoothed_status"] != "ok"
        },
        "median_rms_jy": {
            name: statistics.median(values)
            if (values := [e["rms_jy"][name] for e in good if e["rms_jy"][name]])
            else None
            for name in STOKES
        },
        "largest_beam_arcsec": max((entry["beam"]["bmaj_arcsec"] for entry in good), default=None),
    }


def cube_views(plan: Mapping[str, Any]) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield robust value, and pictures, noise and beams of its native cube for the report."""
    from lofarpipe.imaging.cubes.cube_view import cube_view

    for robust in plan["options"]["channel_robust"]:
        cube = cube_file(*_place(plan), robust, plan["options"]["imsize"])
        yield robust, cube_view(cube, json.loads(cube.with_suffix(".json").read_text(encoding="utf-8")))


def missing_cubes(plan: Mapping[str, Any]) -> list[Path]:
    """Return the cubes of the plan that do not exist."""
    imsize, options = plan["options"]["imsize"], plan["options"]
    kinds = (False,) if options["common_beam_arcsec"] == "none" else (False, True)
    paths = [cube_file(*_place(plan), robust, imsize, kind) for robust in options["channel_robust"] for kind in kinds]
    return [path for path in paths if not path.is_file()]


def missing_bands(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line about each image of the band without data and settings of the plan: its job failed."""
    for robust in plan["options"]["mfs_robust"]:
        path = band_image(*_place(plan), robust, plan["options"]["imsize"])
        former_recipe = recipe_in(path)
        if former_recipe != band_recipe(plan, robust):
            problem = "does not exist" if former_recipe is None else "is of other data or settings"
            yield f"{path}: {problem}: the image of the band at robust {robust} failed; see the log of its step"


def remove_channel_images(plan: Mapping[str, Any]) -> int:
    """Remove the channel images, whose planes are all in the cubes; return their number."""
    number = 0
    for robust in plan["options"]["channel_robust"]:
        for smoothed in (False, True):
            for image in _channel_images(plan, robust, smoothed):
                if image is not None:
                    image.unlink()
                    number += 1
    for directory in sorted((Path(plan["products"]) / "chan_imgs").glob("*"), reverse=True):
        if not any(directory.iterdir()):
            directory.rmdir()
    return number


def other_products(plan: StokesPlan) -> list[Path]:
    """Return the existing images of other data or settings."""
    from lofarpipe.imaging.plan.stokes_plan import stokes_plan_as_dict

    content = stokes_plan_as_dict(plan)
    place, imsize = _place(content), plan.options.imsize
    recipes = {band_image(*place, robust, imsize): band_recipe(content, robust) for robust in plan.options.mfs_robust}
    for entry in content["channels"]:
        for robust in plan.options.channel_robust:
            path = channel_image(*place, entry["label"], robust, imsize)
            recipes[path] = channel_recipe(content, entry, robust)
    return [path for path, recipe in recipes.items() if recipe_in(path) not in (None, recipe)]
