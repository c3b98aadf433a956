"""Times at which the stations' beams are evaluated, and the origins of averaged rows among them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lofarpipe.imaging.imager.averaging import Chunk
from lofarpipe.imaging.imager.channels import Origin
from lofarpipe.imaging.imager.sets import RowSource
from lofarpipe.support.dataclass import dataclass

STEP_S = 300.0  # at most, between two evaluations; linear between them the beams err by 1e-4 of the centre's


@dataclass(frozen=True, eq=False)
class BeamTimes:
    """Evenly spaced times of one group of sets, MJD UTC seconds; ``first`` is the number of the first in the list."""

    path: str  # of the set whose stations they are
    first: int
    times_s: NDArray[np.float64]

    def origins(self, chunk: Chunk, pairs: NDArray[np.int64], spread_hz: float) -> NDArray[np.float32]:
        """Return the origins (row, `Origin`) of averaged rows; ``pairs`` (baseline, 2) are their stations."""
        origins = np.ones((len(chunk.times_s), len(Origin)), np.float32)
        index = np.interp(chunk.times_s, self.times_s, np.arange(len(self.times_s)))
        origins[:, Origin.NODE] = self.first + index
        origins[:, [Origin.FIRST, Origin.SECOND]] = pairs[chunk.baselines]
        origins[:, Origin.SPREAD_S] = chunk.spreads_s
        origins[:, Origin.SPREAD_HZ] = spread_hz
        return origins


def list_beam_times(groups: Sequence[Sequence[RowSource]]) -> list[BeamTimes]:
    """Return the beam times of each group of sets with common rows, numbered through."""
    lists: list[BeamTimes] = []
    for group in groups:
        times_s = group[0].times_s[np.isfinite(group[0].times_s)]
        first_s, last_s = (float(times_s.min()), float(times_s.max())) if len(times_s) else (0.0, 0.0)
        count = max(2, int(np.ceil((last_s - first_s) / STEP_S)) + 1)
        first = lists[-1].first + len(lists[-1].times_s) if lists else 0
        lists.append(BeamTimes(group[0].path, first, np.linspace(first_s, max(last_s, first_s + 1.0), count)))
    return lists
