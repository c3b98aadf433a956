"""Beams of a phased-array-feed observation: their sets, image names, and two imaging runs each."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from lofarpipe.errors import PipelineError
from lofarpipe.support.dataclass import dataclass

if TYPE_CHECKING:
    from lofarpipe.imaging.ms.fix_ms import SetBeam

STOKES = "IQUV"
NONE = "none"
TABLE = "table.dat"  # present in every measurement set
HUNDREDTH = Decimal("0.01")


@dataclass(frozen=True)
class BeamOptions:
    """The options that differ between the two runs of a beam.

    Attributes
    ----------
    has_i: whether Stokes I has its own run.
    others: the Stokes parameters of the second run, in the user's order; "" for none.
    given: the option texts.
    """

    has_i: bool
    others: str
    nchan: int
    given: Mapping[str, str]

    @classmethod
    def read(cls, options: Mapping[str, str]) -> BeamOptions:
        """Parse the texts of the pipeline's options.

        Raises
        ------
        PipelineError
            If ``pols`` contains anything but Stokes parameters, or a duplicate.
        """
        letters = options["pols"].upper()
        if not letters or set(letters) - set(STOKES) or len(set(letters)) < len(letters):
            raise PipelineError(f"pols: is '{options['pols']}'; letters of {STOKES}, each once, are needed")
        others = letters.replace("I", "")
        return cls("I" in letters, others, int(options.get("nchan", 1)), options)

    @property
    def joins_squares(self) -> bool:
        """Whether the second run joins channels in squared flux."""
        return self.nchan > 1

    @property
    def lone_letter(self) -> str:
        """The single Stokes parameter of the second run besides I, which the imager leaves out of file names."""
        return self.others if self.has_i and len(self.others) == 1 else ""

    @property
    def has_grid(self) -> bool:
        """Whether the band is divided by frequency."""
        return self.nchan > 1 and self.given.get("channel_grid") == "True"

    def second_run_options(self) -> dict[str, str]:
        """Return the options of WSClean's second run; both runs have ``taper``, ``channels_out``
        and ``join_channels``.

        If channels are joined in squared flux, thresholds are squared too, and multi-scale clean is off.
        """
        squares, first_run = self.joins_squares, self.given
        scales = first_run["multiscale"] == "True" and not squares
        return {
            "pols": self.others,
            "channels_out": str(self.nchan) if self.nchan > 1 else NONE,
            "channel_division": NONE,
            "join_channels": str(squares),
            "join_polarisations": str(len(self.others) > 1),
            "auto_mask": squared(first_run["auto_mask"]) if squares else first_run["auto_mask"],
            "auto_threshold": squared(first_run["auto_threshold"]) if squares else first_run["auto_threshold"],
            "taper": first_run["taper"] if first_run["taper"] == NONE else f"{first_run['taper']}asec",
            "multiscale": str(scales),
            "multiscale_scale_bias": first_run["multiscale_scale_bias"] if scales else NONE,
            "multiscale_scales": first_run["multiscale_scales"] if scales else NONE,
        }


def squared(text: str) -> str:
    """Return the square of a decimal number, rounded up to two decimals: 3.14159 gives 9.87, and 1.1 gives 1.21."""
    return f"{(Decimal(text) ** 2).quantize(HUNDREDTH, ROUND_CEILING)}"


@dataclass(frozen=True)
class ChannelGrid:
    """The division of a band into intervals of equal width.

    Attributes
    ----------
    edges_hz: ascending lower edges of the non-empty intervals, without the first.
    """

    edges_hz: tuple[float, ...]

    @classmethod
    def read(cls, path: str, nchan: int) -> ChannelGrid:
        """Divide the first window of a set into at most ``nchan`` intervals of whole channels.

        Empty intervals are dropped, as WSClean refuses them.
        """
        from lofarpipe.imaging.ms.tables import opened

        with opened(f"{path}::SPECTRAL_WINDOW") as window:
            centres_hz = sorted(map(float, window.getcell("CHAN_FREQ", 0)))
            width_hz = abs(float(window.getcell("CHAN_WIDTH", 0)[0]))
        low_hz = centres_hz[0] - width_hz / 2
        channels = round((centres_hz[-1] - low_hz) / width_hz + 0.5)  # including gaps
        step_hz = math.ceil(channels / nchan) * width_hz
        occupied = sorted({int((centre_hz - low_hz) / step_hz) for centre_hz in centres_hz})
        return cls(tuple(low_hz + number * step_hz for number in occupied[1:]))

    def outputs(self) -> dict[str, str]:
        """Return WSClean's options for this division."""
        division = ",".join(f"{edge_hz:.1f}" for edge_hz in self.edges_hz)
        return {"channels_out": str(len(self.edges_hz) + 1), "channel_division": division or NONE}


def beam_sets(msdir: str, pattern: str, count: str) -> tuple[list[Path], list[str]]:
    """Return the matching sets of a folder (its links resolved) sorted by name, and problems."""
    folder = Path(msdir)
    if not folder.is_dir():
        return [], [f"msdir: there is no folder {msdir}; name the one with the measurement sets"]
    if (folder / TABLE).is_file():
        return [], [f"msdir: {msdir} is a measurement set; name the folder that holds those of all beams"]
    try:
        sets = sorted((path for path in folder.resolve().glob(pattern) if path.is_dir()), key=lambda path: path.name)
    except (ValueError, NotImplementedError) as err:
        return [], [f"ms_glob_pattern: is '{pattern}', and that is no pattern of names: {err}"]
    if len(sets) == int(count):
        return sets, []
    mismatch = f"{len(sets)} measurement sets match {pattern} in {msdir}, and num_beams is {count}"
    return sets, [f"num_beams: {mismatch}; correct num_beams, or ms_glob_pattern"]


def read_beams(sets: Iterable[Path]) -> tuple[dict[Path, SetBeam], list[str]]:
    """Return the beam of each readable set, and problems."""
    from lofarpipe.imaging.ms.fix_ms import read_beam

    beams, problems = {}, []
    for path in sets:
        try:
            beams[path] = read_beam(str(path))
        except PipelineError as err:
            problems.append(str(err))
    return beams, problems


def image_roots(beams: Mapping[Path, SetBeam], datadir: str) -> tuple[list[str], list[str]]:
    """Return the image root name of each set, and problems."""
    from lofarpipe.imaging.cubes.names import BeamName

    roots, problems = [], []
    for path, beam in beams.items():
        name = BeamName(beam.field, beam.beam).root
        if os.sep in name or not beam.field:
            problems.append(f"{path}: FIELD.NAME is '{beam.field}', which cannot stand in the name of a file")
        roots.append(str(Path(datadir).resolve() / name))
    for root, number in Counter(roots).items():
        if number > 1:
            alike = [str(path) for path, set_root in zip(beams, roots, strict=True) if set_root == root]
            problem = "have the same field and beam, so their images would have the same names; give one of them"
            problems.append(f"{', '.join(alike)}: {problem}")
    return roots, problems
