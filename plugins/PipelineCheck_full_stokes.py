"""Early check of a full-Stokes pipeline: its set, its plan, its products, and its directories."""

import tempfile
from dataclasses import fields
from pathlib import Path

from lofarpipe.errors import WARNING, PipelineError
from lofarpipe.support.disk import existing

PLANE_BYTES, PLANES_OF_AN_IMAGE = 4, 12  # arrays in the imager's memory for an image of four Stokes parameters
GB = 1e9
DIRECTORIES = ("outdir", "scratch_dir", "io_slots_dir")


def check(options, site):
    """Return one line per problem found before the first job; warnings are marked.

    Parameters
    ----------
    options : mapping
        The user options of the pipeline, as text.
    site : mapping
        ``method``: the executor; scratch directories of other machines are not checked.
    """
    from lofarpipe.imaging.plan.stokes_options import StokesOptions, read_stokes_options

    texts = {one.name: options[one.name] for one in fields(StokesOptions) if one.name in options}
    settings, findings = read_stokes_options(texts)
    findings += _directory_findings(options, site)
    if settings is None:
        return findings
    plan, more = _plan(settings)
    findings += more
    if plan is not None:
        findings += _product_findings(plan) + _memory_findings(plan, site)
        findings += [f"{WARNING}{line}" for line in plan.warnings]
    return findings


def _plan(settings):
    """Return the plan of the set, or None and the reason."""
    from lofarpipe.imaging.ms.band import read_band
    from lofarpipe.imaging.plan.stokes_plan import plan_images

    try:
        return plan_images(settings, read_band(settings.vis, settings.data_column, settings.field))
    except PipelineError as err:
        return None, [f"vis: {err}"]


def _directory_findings(options, site):
    """Return findings for directories that cannot be written."""
    directories = {
        name: Path(options[name]) for name in DIRECTORIES if options.get(name) and ".output." not in options[name]
    }
    relative = [
        f"{name}: {path} is relative, and jobs work elsewhere; write {path.expanduser().absolute()}"
        for name, path in directories.items()
        if not path.is_absolute()
    ]
    if site.get("method", "local") != "local":
        directories.pop("scratch_dir", None)
    absolute = {name: path for name, path in directories.items() if path.is_absolute()}
    return relative + [line for name, path in absolute.items() for line in _write_findings(name, path)]


def _write_findings(name, directory):
    parent = existing(directory)
    try:
        with tempfile.TemporaryFile(dir=parent):
            return []
    except OSError as err:
        return [f"{name}: {directory} cannot be written ({parent}: {err.strerror}); name another, or change its mode"]


def _product_findings(plan):
    """Return the products of other data or settings that would have to be replaced."""
    from lofarpipe.programs.stokes_products import other_products

    if plan.options.overwrite:
        return []
    others = other_products(plan)
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return [
        f"outdir: {path}{more} was made of other data or with other settings; set overwrite = True to replace it, or "
        "name another directory"
        for path in others[:1]
    ]


def _memory_findings(plan, site):
    """Return a finding for images larger than a job's memory on this machine."""
    memory_gb = float(site.get("memory_gb") or 0)
    needed_gb = plan.options.imsize**2 * PLANE_BYTES * PLANES_OF_AN_IMAGE / GB
    if site.get("method", "local") != "local" or not memory_gb or needed_gb <= memory_gb:
        return []
    return [
        f"imsize: an image of {plan.options.imsize} pixels takes about {needed_gb:.3g} GB for each Stokes parameter, "
        f"and jobs have {memory_gb:.3g}; make it smaller"
    ]
