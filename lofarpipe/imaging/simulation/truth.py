"""What an image of a simulated observation must show, written beside the sets and read back to check one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError
from lofarpipe.imaging.simulation.settings import ObservationSettings
from lofarpipe.imaging.simulation.sky import REFERENCE_FREQUENCY_HZ, Source

TRUTH_FILE = "truth.json"


@dataclass(frozen=True)
class Truth:
    """An observation and its sources; ``sets`` are paths of measurement sets, ``beam`` says whether one was applied."""

    settings: ObservationSettings
    sources: tuple[Source, ...]
    sets: tuple[str, ...]
    beam: bool
    sefd_jy: Mapping[str, tuple[float, ...]]  # per station, one for each subband

    @property
    def phase_centre_deg(self) -> tuple[float, float]:
        """Right ascension and declination of the pointing, degrees."""
        return self.settings.right_ascension_deg, self.settings.declination_deg


def write_truth(path: Path, truth: Truth) -> None:
    """Write the truth as JSON; the file appears under its name when it is complete."""
    content = {
        "units": {"flux": "Jy, Stokes I", "position": "deg, J2000", "frequency": "Hz", "sefd": "Jy, one polarization"},
        "reference_frequency_hz": REFERENCE_FREQUENCY_HZ,
        "frequencies_hz": truth.settings.subband_frequencies_hz(),
        **asdict(truth),
    }
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    unfinished.replace(path)


def read_truth(path: Path) -> Truth:
    """Return the truth that `write_truth` wrote.

    Raises
    ------
    PipelineError
        If the file does not exist, is not JSON, or lacks something.
    """
    try:
        content = json.loads(path.read_text())
        return Truth(
            settings=ObservationSettings(**content["settings"]),
            sources=tuple(Source(**entry) for entry in content["sources"]),
            sets=tuple(content["sets"]),
            beam=bool(content["beam"]),
            sefd_jy=_tuples(content["sefd_jy"]),
        )
    except OSError as err:
        raise PipelineError(f"{path}: {err.strerror}; name the {TRUTH_FILE} of a simulated observation") from err
    except (ValueError, TypeError, KeyError, AttributeError) as err:
        raise PipelineError(f"{path}: not the truth of a simulated observation: {err!r}") from err


def _tuples(lists: Mapping[str, Sequence[Any]]) -> dict[str, tuple[float, ...]]:
    """Return lists of numbers as tuples."""
    return {name: tuple(map(float, values)) for name, values in lists.items()}
