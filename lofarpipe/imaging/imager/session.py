"""A complete imager run: mask, beams, memory and saved state, then the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lofarpipe.imaging.beam.station import BeamError
from lofarpipe.imaging.imager.array_beams import power_beams
from lofarpipe.imaging.imager.major_cycle import Hooks
from lofarpipe.imaging.imager.masks import read_mask
from lofarpipe.imaging.imager.memory import working_files
from lofarpipe.imaging.imager.resume import StateFile
from lofarpipe.imaging.imager.run import RunFacts, image_sets
from lofarpipe.imaging.imager.sets import read_sources
from lofarpipe.imaging.imager.settings import ImagerSettings
from lofarpipe.imaging.imager.visibilities import output_bands

Notice = Callable[[str], None]


def make_images(settings: ImagerSettings, notice: Notice, history: Sequence[str] = ()) -> RunFacts:
    """Image measurement sets; ``notice`` gets the log lines.

    An interrupted run resumes after its last major cycle if settings and sets are the same.

    Raises
    ------
    ImagerError
        If sets, settings, mask or memory do not allow the images.
    MeasurementSetError
        If a set cannot be read, or its model column not written.
    """
    width, height = settings.size
    mask = read_mask(settings.fits_mask, (height, width)) if settings.fits_mask else None
    states = StateFile(settings)
    with working_files(settings, notice) as scratch:
        hooks = Hooks(notice=notice, save=states.save, load=states.load, mask=mask)
        facts = image_sets(add_channel_beams(settings, notice), hooks, history, scratch)
    states.remove()
    return facts


def add_channel_beams(settings: ImagerSettings, notice: Notice) -> ImagerSettings:
    """Return settings with the channels' power beams, if spectra are fitted and the sets have beams."""
    if not 0 < settings.fit_spectral_terms < settings.channels_out or settings.beams is not None:
        return settings
    try:
        beams = power_beams(settings, output_bands(read_sources(settings), settings))
    except BeamError as err:
        notice(f"Apparent spectra are fitted, without the primary beam: {err}")
        return settings
    if beams is None:
        notice("Apparent spectra are fitted, without the primary beam: the sets have no beam of LOFAR's stations")
        return settings
    notice("Spectra are fitted with the primary beam of each channel")
    return replace(settings, beams=beams)
