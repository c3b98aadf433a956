"""Maps of the beams of an observation: sets, names of images, and the options of WSClean that differ by run."""

from pathlib import Path

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.plan.beams import BeamOptions, ChannelGrid, beam_sets, image_roots, read_beams
from lofarpipe.programs.container import container_for
from lofarpipe.programs.wsclean.outputs import other_names
from lofarpipe.support.data_map import DataMap, DataProduct
from lofarpipe.support.utilities import list_text

OUTPUTS = (
    *("mapfile", "images_i.mapfile", "images_polarisation.mapfile", "datadir", "temp_dir_wsclean", "container"),
    *("pols", "channels_out", "channel_division", "join_channels", "join_polarisations", "auto_mask"),
    *("auto_threshold", "taper", "rename", "multiscale", "multiscale_scale_bias", "multiscale_scales"),
)
DRY_RUN_WRITES = ("mapfile_dir",)


def plugin_main(args, mapfile_dir, msdir, datadir, temp_dir_wsclean, local_wsclean, hosted_wsclean, **kwargs):
    """Write the maps; return them with the options of WSClean that do not stand in the parset as they are.

    Parameters
    ----------
    kwargs : text
        The options ms_glob_pattern, num_beams, pols, nchan, channel_grid, auto_mask, auto_threshold, taper, and those
        of multiscale.

    Returns
    -------
    dict
        ``mapfile``: the sets; ``images_i.mapfile`` and ``images_polarisation.mapfile``: the roots of the names of the
        images of each run, with all entries skipped for a missing run; the others are option values of
        the second run. A lone letter beside I gets that into the names of its images, and has no psf: that of I is as
        good.
    """
    options = BeamOptions.read(kwargs)
    sets, problems = beam_sets(msdir, kwargs["ms_glob_pattern"], kwargs["num_beams"])
    beams, unreadable = read_beams(sets)
    roots, unnamed = image_roots(beams, datadir)
    if problems := [*problems, *unreadable, *unnamed]:
        raise PipelineError("\n".join(problems))
    maps = {
        "mapfile": [(path, False) for path in sets],
        "images_i.mapfile": [(root, not options.has_i) for root in roots],
        "images_polarisation.mapfile": [(root, not options.others) for root in roots],
    }
    outputs = {}
    for key, entries in maps.items():
        path = Path(mapfile_dir) / f"beams.{key}"
        DataMap([DataProduct("localhost", str(file), skip) for file, skip in entries]).save(str(path))
        outputs[key] = str(path)
    container, _ = container_for(local_wsclean, hosted_wsclean, "wsclean")
    places = {"datadir": str(Path(datadir).resolve()), "container": container}
    places["temp_dir_wsclean"] = places["datadir"] if temp_dir_wsclean == "none" else temp_dir_wsclean
    rename = list_text(other_names(options.lone_letter, without_psf=options.has_i))
    grid = ChannelGrid.read(str(sets[0]), options.nchan).outputs() if options.has_grid else {}
    return {**outputs, **places, **options.second_run_options(), **grid, "rename": rename}
