"""Simulated twins of the real measurement sets in ../shared/data: the same layout, times, stations and flags.

A test that holds on a real set holds on its twin, with the same numbers where they follow from the layout.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import casacore.tables as ct
import numpy as np

import beam_sky
from lofarpipe.imaging.simulation import observation
from lofarpipe.imaging.simulation.sky import draw_sources, skymodel_text
from lofarpipe.imaging.simulation.stations import MOST_STATIONS, ObservationSettings, load_stations
from lofarpipe.programs.dp3 import predict_argv
from small_sets import SetShape, keep_rows, make_set

#: Tiles that were broken, by station: its beam is wider across them.
BROKEN_TILES = {
    "CS001HBA0": (0, 15, 16),
    "CS002HBA0": (7, 8, 15, 16, 19, 20),
    "CS002HBA1": (27, 28, 31, 32, 33, 34, 35, 37, 38, 40),
    "CS004HBA1": (27, 30, 32, 33, 36, 37, 42),
    "RS106HBA": (29,),
    "RS208HBA": (11, 22, 25, 42),
    "RS305HBA": (19, 28),
    "RS307HBA": (10, 12, 17, 19, 25, 26, 35, 37),
}
PHASE_CENTRE_DEG = (math.degrees(0.4262457236387493), math.degrees(0.5787469737178225))
MIDDLE_S = 4871282418.0417  # 2013-03-29 14:00 UTC
CHANNEL_SHIFT_HZ = -1525.87890625  # of the channels from the centre of their subband
FLAGGED_ROWS = 52  # of 168
BRIGHTER = 10  # than the simulator draws them: sidelobes far above the noise, as of the real ones
JY_PER_UNIT = 1e5  # of the raw correlator output in DATA
HBA = ObservationSettings(
    seed=31,
    nstations=len(BROKEN_TILES),
    nsubbands=1,
    lowest_frequency_hz=134.375e6,
    highest_frequency_hz=134.375e6,
    timestep_s=10.0139008,
    slots_per_block=6,
    nblocks=1,
    span_s=0,
    right_ascension_deg=PHASE_CENTRE_DEG[0],
    declination_deg=PHASE_CENTRE_DEG[1],
    transit_s=MIDDLE_S,
    nsources=4,
    flagged_fraction=0,
)
DISHES = SetShape(
    nantennas=62,
    ntimes=5,
    timestep_s=7.996616972,
    nchan=5,
    channel_width_hz=835937.5,
    first_channel_hz=856313476.5625,
    start_s=5068501684.57918,
    ra_rad=0.9084896905559134,
    dec_rad=-0.4814927073939356,
    dish_diameter_m=13.5,
    telescope="MeerKAT",
)
MEERKAT_M = (5109271.497, 2006808.893, -3239130.736)


def make_hba_twin(path: Path) -> Path:
    """Simulate the twin of tDDECal.MS: raw DATA, never calibrated, and four sources in Jy in foursources_DATA."""
    everywhere = load_stations(MOST_STATIONS, HBA.antenna_set)
    planned = observation.plan_sets(HBA, [station for station in everywhere if station.name in BROKEN_TILES])
    (made,) = observation.create_sets(planned, path.parent)
    with ct.table(f"{made}/LOFAR_ANTENNA_FIELD", readonly=False, ack=False) as fields:
        for row, tiles in enumerate(BROKEN_TILES.values()):
            flags = fields.getcell("ELEMENT_FLAG", row)
            flags[list(tiles)] = True
            fields.putcell("ELEMENT_FLAG", row, flags)
    skymodel = path.with_suffix(".skymodel")
    sources = draw_sources(HBA.seed, HBA.nsources, PHASE_CENTRE_DEG, 4.6)
    skymodel.write_text(skymodel_text([replace(source, flux_jy=BRIGHTER * source.flux_jy) for source in sources]))
    beam_sky.run(*predict_argv(beam_sky.program("DP3.py"), made, skymodel, beam=True))
    observation.add_noise(made, planned[0])
    with ct.table(str(made), ack=False) as table:
        cross = np.flatnonzero(table.getcol("ANTENNA1") != table.getcol("ANTENNA2"))
    keep_rows(str(made), list(cross))
    _make_raw(str(made))
    return made.rename(path)


def _make_raw(path: str) -> None:
    """Move calibrated visibilities into a column of their own, and leave the output of a correlator in DATA."""
    with ct.table(path, readonly=False, ack=False) as table:
        for keyword in table.getcolkeywords("DATA"):
            if keyword.startswith("LOFAR_APPLIED_BEAM"):
                table.removecolkeyword("DATA", keyword)
        table.addcols(ct.makecoldesc("foursources_DATA", table.getcoldesc("DATA")))
        table.putcol("foursources_DATA", table.getcol("DATA"))
        table.putcol("DATA", table.getcol("DATA") / JY_PER_UNIT)
        table.putcol("WEIGHT_SPECTRUM", table.getcol("WEIGHT_SPECTRUM") * JY_PER_UNIT**2)
        flags = table.getcol("FLAG")
        flags[np.random.default_rng(HBA.seed).permutation(len(flags))[:FLAGGED_ROWS]] = True
        table.putcol("FLAG", flags)
    with ct.table(f"{path}/SPECTRAL_WINDOW", readonly=False, ack=False) as window:
        window.putcol("CHAN_FREQ", window.getcol("CHAN_FREQ") + CHANNEL_SHIFT_HZ)
    with ct.table(f"{path}/FIELD", readonly=False, ack=False) as fields:
        fields.putcell("NAME", 0, "BEAM_0")


def make_generic_twin(hba_twin: Path, path: Path) -> Path:
    """Copy the twin of tDDECal.MS to that of tNDPPP-generic.MS, whose calibrated column is CORRECTED_DATA."""
    shutil.copytree(hba_twin, path)
    with ct.table(str(path), readonly=False, ack=False) as table:
        table.renamecol("foursources_DATA", "CORRECTED_DATA")
    return path


def make_dish_twin(path: Path) -> Path:
    """Make the twin of tDish.MS: dishes of MeerKAT, no beam tables, every visibility flagged."""
    make_set(path, DISHES, with_data=True)
    with ct.table(str(path), readonly=False, ack=False) as table:
        for column in ("FLAG", "FLAG_ROW"):
            table.putcol(column, np.ones_like(table.getcol(column)))
    with ct.table(f"{path}/SPECTRAL_WINDOW", readonly=False, ack=False) as window:
        window.putcell("REF_FREQUENCY", 0, 1284313476.5625)  # the centre of MeerKAT's whole band
    with ct.table(f"{path}/ANTENNA", readonly=False, ack=False) as antennas:
        antennas.putcol("NAME", [f"m{number:03d}" for number in range(DISHES.nantennas)])
        positions_m = antennas.getcol("POSITION")
        antennas.putcol("POSITION", positions_m - positions_m[0] + MEERKAT_M)
    return path
