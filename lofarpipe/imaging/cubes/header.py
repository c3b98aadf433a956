"""Headers and tables of cubes: reordered axes of the channel images, and the planes' beams and frequencies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from astropy.io import fits

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.cubes.beams import Beam
from lofarpipe.imaging.cubes.grid import FrequencyGrid
from lofarpipe.support.fits_header import STOKES_NAMES
from lofarpipe.support.patterns import lazy_pattern

ANGLE_KEY = "HIERARCH INSTRUMENT_RECEPTOR_ANGLE"
BEAMS, ORIGINAL_BEAMS, FREQUENCIES = "BEAMS", "ORIGINAL_BEAMS", "FREQUENCIES"
STOKES_CODES = {name: code for code, name in STOKES_NAMES.items()}
# Keywords written anew for every file.
_STRUCTURE = lazy_pattern(r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|BSCALE|BZERO|BLANK|DATAMIN|DATAMAX|CHECKSUM|DATASUM")
# Keywords of one axis, or of a pair. Source: FITS standard 4.0, table 22.
_OF_AXIS = lazy_pattern(r"(CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CNAME|CSYER|CRDER|CROTA|CZPHS|CPERI)([34])")
_OF_PAIR = lazy_pattern(r"(PC|CD)(\d)_(\d)")
_OF_PARAMETER = lazy_pattern(r"(PV|PS)([34])_(\d+)")
_BEAM_KEYS = ("BMAJ", "BMIN", "BPA", "CASAMBM")


class CubeError(PipelineError):
    """A cube cannot be made from its channel images, or differs from its planes after writing."""


def cube_header(
    image: fits.Header,
    grid: FrequencyGrid,
    stokes: Sequence[str],
    beam: Beam | None,
    cards: Mapping[str, Any],
    stokes_last: bool = False,
) -> fits.Header:
    """Return the header of a cube from that of one of its channel images.

    The axes are RA, DEC, STOKES, FREQ, or FREQ, STOKES with ``stokes_last``; the keywords of the channel image's third
    and fourth axis move with their axis. ``beam`` is common to all planes; None: the table BEAMS has the beams.
    ``cards`` replace cards of the image.

    Raises
    ------
    CubeError
        If the image lacks four axes with STOKES and FREQ, or the polarisations are not evenly spaced.

    Source: doc/spec/cubes.md, section 4.
    """
    places = _new_places(image, ("FREQ", "STOKES") if stokes_last else ("STOKES", "FREQ"))
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 4)])
    shape = {3: grid.nplanes, 4: len(stokes)} if stokes_last else {3: len(stokes), 4: grid.nplanes}
    for number in range(1, 5):
        header[f"NAXIS{number}"] = shape.get(number) or int(image[f"NAXIS{number}"])
    header["EXTEND"] = True
    for card in sorted(_cube_cards(image, places), key=_axis_order):
        header.append(card, end=True)
    frequency, polarisation = (3, 4) if stokes_last else (4, 3)
    axes = {frequency: (grid.first_hz, grid.step_hz), polarisation: _stokes_axis(stokes)}
    for number, (first, step) in axes.items():
        header[f"CRPIX{number}"], header[f"CRVAL{number}"], header[f"CDELT{number}"] = 1.0, first, step
    header.update(beam.cards if beam else {"CASAMBM": (True, "beams of the planes: table BEAMS")})
    header.update(cards)
    return header


def _new_places(image: fits.Header, kinds: Sequence[str]) -> dict[int, int]:
    """Return the new numbers of an image's third and fourth axis."""
    ctypes = {number: str(image.get(f"CTYPE{number}", "")).strip().upper()[:6] for number in (3, 4)}
    names = {number: "FREQ" if kind.startswith("FREQ") else kind for number, kind in ctypes.items()}
    if image.get("NAXIS") != 4 or sorted(names.values()) != ["FREQ", "STOKES"]:
        axes = ", ".join(str(image.get(f"CTYPE{number}", "?")) for number in range(1, int(image.get("NAXIS", 0)) + 1))
        raise CubeError(f"cube: a channel image has the axes {axes or 'none'}; RA, DEC, FREQ and STOKES are needed")
    return {number: 3 + list(kinds).index(name) for number, name in names.items()}


def _cube_cards(image: fits.Header, places: Mapping[int, int]) -> list[fits.Card]:
    """Return the cards of an image valid for a cube, with renumbered axes."""
    cards = []
    for card in image.cards:
        if _STRUCTURE.fullmatch(card.keyword) or card.keyword in _BEAM_KEYS or not card.keyword:
            continue
        keyword = _renamed(card.keyword, places)
        cards.append(card if keyword == card.keyword else fits.Card(keyword, card.value, card.comment))
    return cards


def _renamed(keyword: str, places: Mapping[int, int]) -> str:
    if match := _OF_AXIS.fullmatch(keyword):
        return f"{match[1]}{places[int(match[2])]}"
    if match := _OF_PARAMETER.fullmatch(keyword):
        return f"{match[1]}{places[int(match[2])]}_{match[3]}"
    if match := _OF_PAIR.fullmatch(keyword):
        one, other = (places.get(int(text), int(text)) for text in match.groups()[1:])
        return f"{match[1]}{one}_{other}"
    return keyword


def _axis_order(card: fits.Card) -> tuple[int, int]:
    """Return the sort key of a card: axis keywords in order, then the others."""
    match = re.fullmatch(r"(?:CTYPE|CRPIX|CRVAL|CDELT|CUNIT)(\d)", card.keyword)
    if match:
        return (0, int(match[1]))
    return (2, 0) if card.keyword in ("HISTORY", "COMMENT") else (1, 0)


def _stokes_axis(stokes: Sequence[str]) -> tuple[float, float]:
    """Return value and increment of an axis of polarisations."""
    codes = [STOKES_CODES[name] for name in stokes]
    step = codes[1] - codes[0] if len(codes) > 1 else 1
    if codes != [codes[0] + step * number for number in range(len(codes))]:
        raise CubeError(f"cube: no FITS axis has the polarisations {', '.join(stokes)}; I, Q, U, V in order are needed")
    return float(codes[0]), float(step)


def beam_table(beams: Sequence[Sequence[Beam | None]], name: str) -> fits.BinTableHDU:
    """Return a table of the beams of planes, ``beams[channel][polarisation]``, axes in arcsec.

    In BEAMS, which CASA reads, a plane without a beam gets the nearest channel's beam, as CASA accepts
    neither 0 nor NaN; in other tables it gets NaN.

    Source: CASA's exportfits of an image with several beams; doc/spec/cubes.md, section 2.
    """
    rows = [
        (channel, number, beam if beam or name != BEAMS else _nearest_beam(beams, channel, number))
        for channel, of_channel in enumerate(beams)
        for number, beam in enumerate(of_channel)
    ]
    values = [(beam.major_arcsec, beam.minor_arcsec, beam.angle_deg) if beam else (np.nan,) * 3 for *_, beam in rows]
    columns = [
        fits.Column(key, "1E", unit, array=np.array([value[place] for value in values], np.float32))
        for place, (key, unit) in enumerate((("BMAJ", "arcsec"), ("BMIN", "arcsec"), ("BPA", "deg")))
    ]
    for place, key in enumerate(("CHAN", "POL")):
        columns.append(fits.Column(key, "1J", array=np.array([row[place] for row in rows], np.int32)))
    table = fits.BinTableHDU.from_columns(columns, name=name)
    table.header.update({"NCHAN": len(beams), "NPOL": len(beams[0]) if beams else 0})
    return table


def _nearest_beam(beams: Sequence[Sequence[Beam | None]], channel: int, number: int) -> Beam | None:
    """Return the nearest channel's beam of a polarisation, or of any if there is none."""
    for same in (True, False):
        candidates = [
            (abs(other - channel), beam)
            for other, of_channel in enumerate(beams)
            for place, beam in enumerate(of_channel)
            if beam is not None and (place == number or not same)
        ]
        if candidates:
            return min(candidates, key=lambda pair: pair[0])[1]
    return None


def frequency_table(frequencies_hz: Sequence[float]) -> fits.BinTableHDU:
    """Return a table of the true frequencies of planes off a regular axis."""
    channel = fits.Column("CHAN", "1J", array=np.arange(len(frequencies_hz), dtype=np.int32))
    frequency = fits.Column("FREQUENCY", "1D", "Hz", array=np.asarray(frequencies_hz, np.float64))
    return fits.BinTableHDU.from_columns([channel, frequency], name=FREQUENCIES)
