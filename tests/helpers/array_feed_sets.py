"""Small sets of one beam of an array feed, as ASKAP writes them: rows of FEED, mount, random DATA."""

from __future__ import annotations

from pathlib import Path

import casacore.tables as ct
import numpy as np

from small_sets import C_M_S, SetShape, change_column, make_set

SHAPE = SetShape(
    nantennas=3,
    ntimes=4,
    nchan=4,
    channel_width_hz=1e6,
    first_channel_hz=887.5e6,
    ra_rad=np.radians(53.0),
    dec_rad=np.radians(-28.0),
    telescope="ASKAP",
)


def make_beam_set(
    path: Path,
    beam: int = 3,
    receptor_deg: float = -30.0,
    offset_deg: tuple[float, float] = (0.7, -1.1),
    feeds: int = 6,
    shape: SetShape = SHAPE,
    mount: str = "equatorial",
) -> str:
    """Write a set of one beam; every feed has the same offset, and an angle 10 deg more than the one before."""
    made = make_set(path, shape, with_data=True)
    rng = np.random.default_rng(beam)
    change_column(made, "DATA", lambda old: (rng.normal(size=(*old.shape, 2)) @ [1, 1j]).astype(np.complex64))
    for column in ("FEED1", "FEED2"):
        change_column(made, column, lambda old: np.full_like(old, beam))
    change_column(f"{made}/ANTENNA", "MOUNT", lambda old: [mount] * len(old))
    with ct.table(f"{made}/FIELD", readonly=False, ack=False) as table:
        table.putcell("NAME", 0, "CDFS_2_5")
    _write_feeds(made, feeds, receptor_deg - 10 * beam, offset_deg, shape)
    return made


def _write_feeds(path: str, feeds: int, first_deg: float, offset_deg: tuple[float, float], shape: SetShape) -> None:
    numbers, rows = np.tile(np.arange(feeds), shape.nantennas), feeds * shape.nantennas
    with ct.table(f"{path}/FEED", readonly=False, ack=False) as table:
        table.addrows(rows)
        table.putcol("ANTENNA_ID", np.repeat(np.arange(shape.nantennas), feeds))
        table.putcol("FEED_ID", numbers)
        table.putcol("TIME", np.full(rows, shape.times_s.mean()))
        table.putcol("INTERVAL", np.full(rows, 1000.0))
        table.putcol("NUM_RECEPTORS", np.full(rows, 2))
        table.putcol("BEAM_OFFSET", np.tile(np.radians(offset_deg), (rows, 2, 1)))
        table.putcol("RECEPTOR_ANGLE", np.radians(np.repeat(first_deg + 10 * numbers[:, None], 2, axis=1)))


def write_sources(path: str, angle_deg: float, sources: list[tuple[float, ...]]) -> None:
    """Put point sources into DATA: (l, m, I, Q, U, V), l and m from the centre of the beam, as ASKAP records them.

    ASKAP's I = XX + YY, Q = s (XX - YY) + c (XY + YX), U = -c (XX - YY) + s (XY + YX), V = -i (XY - YX), with s and c
    of twice the angle.
    """
    sine, cosine = np.sin(2 * np.radians(angle_deg)), np.cos(2 * np.radians(angle_deg))
    with ct.table(path, readonly=False, ack=False) as table, ct.table(f"{path}/SPECTRAL_WINDOW", ack=False) as window:
        uvw, frequencies_hz = table.getcol("UVW"), window.getcell("CHAN_FREQ", 0)
        data = np.zeros((len(uvw), len(frequencies_hz), 4), complex)
        for l, m, i, q, u, v in sources:  # noqa: E741 - the field's names
            delay_m = uvw @ np.array([l, m, np.sqrt(1 - l**2 - m**2) - 1])
            parallel, cross = sine * q - cosine * u, cosine * q + sine * u
            hands = np.array([i + parallel, cross + 1j * v, cross - 1j * v, i - parallel]) / 2
            data += np.exp(2j * np.pi * np.outer(delay_m, frequencies_hz) / C_M_S)[..., None] * hands
        table.putcol("DATA", data.astype(np.complex64))
