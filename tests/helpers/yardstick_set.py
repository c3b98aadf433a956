"""A simulated LOFAR set whose visibilities are a direct Fourier sum, without gridder, station beams or averaging."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import casacore.tables as ct
import numba
import numpy as np
from numpy.typing import NDArray

from yardstick_sky import Floats, SkySource, apparent_fluxes, draw_sky

C_M_S = 299_792_458.0
EARTH_ROTATION_RAD_S = 7.2921159e-5
RA_RAD, DEC_RAD = math.radians(218.0), math.radians(34.5)
MIDDLE_S = 5_093_712_900.0  # MJD seconds; the hour angle is 0 then
SEFD_JY = 3000.0  # of every station and polarisation: HBA_DUAL_INNER
CHANNEL_HZ = 97_656.25
CS002_M = np.array([3826577.0, 461022.9, 5064892.8])
STATIONS = """
CS001HBA0 320 -44 -235; CS001HBA1 403 -126 -290; CS002HBA0 24 -70 -12; CS002HBA1 -11 -65 14; CS003HBA0 -105 -23 81;
CS003HBA1 -59 12 43; CS004HBA0 9 -157 8; CS004HBA1 3 -106 7; CS005HBA0 125 -34 -90; CS005HBA1 55 -1 -41;
CS006HBA0 77 113 -68; CS006HBA1 36 57 -32; CS007HBA0 -98 60 68; CS007HBA1 -39 147 16; CS011HBA0 61 204 -64;
CS011HBA1 72 331 -84; CS013HBA0 -258 -167 209; CS013HBA1 -175 -249 154; CS017HBA0 -172 484 85; CS017HBA1 -77 529 10;
CS021HBA0 -113 -490 130; CS021HBA1 -208 -535 205; CS024HBA0 642 381 -514; CS024HBA1 547 336 -439;
CS026HBA0 -158 783 48; CS026HBA1 -242 864 103; CS028HBA0 -1003 301 726; CS028HBA1 -920 220 671;
CS030HBA0 -535 -700 465; CS030HBA1 -618 -618 520; CS031HBA0 -194 -744 213; CS031HBA1 -99 -699 138;
CS032HBA0 288 -571 -163; CS032HBA1 371 -653 -218; CS101HBA0 -677 676 446; CS101HBA1 -771 631 521;
CS103HBA0 -245 1736 27; CS103HBA1 -328 1818 82; CS201HBA0 103 832 -152; CS201HBA1 114 959 -172;
CS301HBA0 866 28 -651; CS301HBA1 854 -99 -631; CS302HBA0 1397 -1295 -918; CS302HBA1 1313 -1213 -863;
CS401HBA0 219 -864 -84; CS401HBA1 208 -991 -64; CS501HBA0 -1008 -376 790; CS501HBA1 -913 -331 715;
RS106HBA 2629 8119 -2712; RS205HBA 4903 2464 -3903; RS208HBA 21177 5940 -16496; RS210HBA 51251 6513 -39447;
RS305HBA 2156 -6331 -1043; RS306HBA 3195 -8262 -1650; RS307HBA 11388 -11396 -7535; RS310HBA 18800 -47407 -10097;
RS406HBA -8152 -9003 6925; RS407HBA -14927 -7563 11836; RS409HBA -1764 -34893 4359; RS503HBA -2438 -1546 1966;
RS508HBA -29440 2091 21758; RS509HBA -43039 -10893 32973
"""  # ITRF metres from CS002, to 1 m
INCREMENTAL_COLUMNS = (
    *("FLAG_ROW", "WEIGHT", "SIGMA", "ARRAY_ID", "DATA_DESC_ID", "EXPOSURE", "FEED1", "FEED2", "FIELD_ID", "INTERVAL"),
    *("OBSERVATION_ID", "PROCESSOR_ID", "SCAN_NUMBER", "STATE_ID", "TIME", "TIME_CENTROID"),
)
SLOTS_AT_ONCE = 25
ROWS_OF_A_TASK = 2000


@dataclass(frozen=True)
class Observation:
    """How a sky is observed: stations, pairs of channels from 120 to 168 MHz, blocks of slots over ``span_s``."""

    stations: int = 62
    pairs: int = 10
    blocks: int = 3
    slots: int = 75
    step_s: float = 8.0
    span_s: float = 21600.0
    noise: float = 1.0  # of the thermal noise
    seed: int = 1

    @property
    def frequencies_hz(self) -> Floats:
        """The channels' centres: pairs of neighbours on LOFAR's grid of subbands."""
        bands = np.round((np.linspace(120e6, 168e6, self.pairs) - 100e6) / (2 * CHANNEL_HZ))
        return np.asarray((100e6 + bands[:, None] * 2 * CHANNEL_HZ + np.array([-0.5, 0.5]) * CHANNEL_HZ).ravel())

    @property
    def times_s(self) -> Floats:
        """The slots' centres, MJD seconds."""
        middles = MIDDLE_S + np.linspace(-self.span_s / 2, self.span_s / 2, self.blocks) * (self.blocks > 1)
        return np.asarray((middles[:, None] + self.step_s * (np.arange(self.slots) - (self.slots - 1) / 2)).ravel())

    @property
    def noise_jy(self) -> float:
        """Standard deviation of real and imaginary part of a correlation."""
        return self.noise * SEFD_JY / math.sqrt(2 * CHANNEL_HZ * self.step_s)


def chosen_stations(number: int) -> tuple[list[str], Floats]:
    """Return names and ITRF positions of evenly chosen stations."""
    entries = [line.split() for line in STATIONS.replace("\n", "").split(";")]
    picked = [entries[index] for index in np.linspace(0, len(entries) - 1, number).round().astype(int)]
    return [entry[0] for entry in picked], CS002_M + np.array(
        [[float(value) for value in entry[1:]] for entry in picked]
    )


@numba.njit(cache=True, fastmath=True, nogil=True)
def _add_sources(uvw, lmn, first, steps, which, fluxes, out):  # type: ignore[no-untyped-def]
    """out[row, channel] += sum of flux exp(2 pi i (u l + v m + w (n - 1))): a sine per distinct step, then products."""
    turns = np.empty(len(steps), np.complex128)
    for row in range(len(uvw)):
        for source in range(len(lmn)):
            path = uvw[row, 0] * lmn[source, 0] + uvw[row, 1] * lmn[source, 1] + uvw[row, 2] * lmn[source, 2]
            phase = 2 * np.pi * (path * first - np.floor(path * first))
            value = complex(np.cos(phase), np.sin(phase))
            for step in range(len(steps)):
                phase = 2 * np.pi * (path * steps[step] - np.floor(path * steps[step]))
                turns[step] = complex(np.cos(phase), np.sin(phase))
            out[row, 0] += fluxes[source, 0] * value
            for channel in range(1, fluxes.shape[1]):
                value = value * turns[which[channel - 1]]
                out[row, channel] += fluxes[source, channel] * value


def fourier_sum(
    uvw_m: Floats, lm: Floats, frequencies_hz: Floats, fluxes: Floats, threads: int = 2
) -> NDArray[np.complex128]:
    """Return the visibilities of points (source, 2) with fluxes (source, channel), shape (row, channel)."""
    lmn = np.column_stack([lm, np.sqrt(1 - (lm**2).sum(axis=1)) - 1])
    steps, which = np.unique(np.round(np.diff(frequencies_hz), 3), return_inverse=True)
    out = np.zeros((len(uvw_m), len(frequencies_hz)), np.complex128)

    def add(start: int) -> None:
        rows = slice(start, start + ROWS_OF_A_TASK)
        _add_sources(uvw_m[rows], lmn, frequencies_hz[0] / C_M_S, steps / C_M_S, which, fluxes, out[rows])

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(add, range(0, len(uvw_m), ROWS_OF_A_TASK)))
    return out


def predict(uvw_m: Floats, sources: Sequence[SkySource], frequencies_hz: Floats) -> NDArray[np.complex128]:
    """Return the visibilities of a sky seen through the beam, shape (row, channel)."""
    fluxes = apparent_fluxes(sources, frequencies_hz)
    lm = np.array([(one.l, one.m) for one in sources])
    points = np.array([one.major == 0 for one in sources])
    out = fourier_sum(uvw_m, lm[points], frequencies_hz, fluxes[points])
    for number in np.flatnonzero(~points):
        one = fourier_sum(uvw_m, lm[[number]], frequencies_hz, fluxes[[number]])
        out += one * gaussian_taper(uvw_m, sources[number], frequencies_hz)
    return out


def gaussian_taper(uvw_m: Floats, source: SkySource, frequencies_hz: Floats) -> Floats:
    """Return the Fourier transform of a Gaussian of unit flux, shape (row, channel)."""
    major, minor, angle = np.radians(source.major / 3600), np.radians(source.minor / 3600), np.radians(source.pa)
    along = (uvw_m[:, 0] * np.sin(angle) + uvw_m[:, 1] * np.cos(angle))[:, None] * frequencies_hz / C_M_S
    across = (uvw_m[:, 0] * np.cos(angle) - uvw_m[:, 1] * np.sin(angle))[:, None] * frequencies_hz / C_M_S
    return np.asarray(np.exp(-(np.pi**2) / (4 * np.log(2)) * ((along * major) ** 2 + (across * minor) ** 2)))


def station_uvw(xyz_m: Floats, times_s: Floats) -> Floats:
    """Return u, v, w in metres, shape (time, station, 3); no precession, nothing that an imager would see."""
    hour_angle = EARTH_ROTATION_RAD_S * (times_s - MIDDLE_S) - math.atan2(CS002_M[1], CS002_M[0])
    x, y, z = xyz_m.T
    sine, cosine = np.sin(hour_angle)[:, None], np.cos(hour_angle)[:, None]
    outward, sin_dec, cos_dec = x * cosine - y * sine, math.sin(DEC_RAD), math.cos(DEC_RAD)
    return np.stack([x * sine + y * cosine, -sin_dec * outward + cos_dec * z, cos_dec * outward + sin_dec * z], -1)


def _tiled(column: str, shape: Sequence[int]) -> dict[str, Any]:
    tiles = {"DEFAULTTILESHAPE": np.array(shape, np.int32)}
    return {"TYPE": "TiledColumnStMan", "NAME": f"T{column}", "SEQNR": 0, "COLUMNS": [column], "SPEC": tiles}


def create_main_table(path: Path, channels: int, rows: int, step_s: float) -> ct.table:
    """Return the open main table of a new set, with all that imagers read but its rows' values."""
    description = ct.required_ms_desc()
    for name, kind, zero in (("DATA", "complex", 0j), ("WEIGHT_SPECTRUM", "float", 0.0)):
        column = ct.makearrcoldesc(name, zero, ndim=2, shape=[channels, 4])
        column["desc"].update(valueType=kind, option=5)
        description.update(ct.maketabdesc([column]))
    for name, shape in (("UVW", [3]), ("FLAG", [channels, 4]), ("WEIGHT", [4]), ("SIGMA", [4])):
        description[name].update(shape=shape, ndim=len(shape), option=5)
    tile = max(1, 131072 // (channels * 4))
    managers = [_tiled("DATA", [4, channels, tile]), _tiled("FLAG", [4, channels, 8 * tile])]
    managers += [_tiled("WEIGHT_SPECTRUM", [4, channels, 2 * tile]), _tiled("UVW", [3, 16384])]
    for kind, columns in (("Incremental", list(INCREMENTAL_COLUMNS)), ("Standard", ["ANTENNA1", "ANTENNA2"])):
        managers.append({"TYPE": f"{kind}StMan", "NAME": kind, "SEQNR": 0, "SPEC": {}, "COLUMNS": columns})
    ms = ct.default_ms(str(path), description, {f"*{number}": one for number, one in enumerate(managers, 1)})
    ms.putcolkeyword("UVW", "MEASINFO", {"type": "uvw", "Ref": "J2000"})
    ms.addrows(rows)
    constant = {"PROCESSOR_ID": -1, "STATE_ID": -1, "EXPOSURE": step_s, "INTERVAL": step_s, "FLAG_ROW": False}
    constant |= dict.fromkeys(("WEIGHT", "SIGMA"), np.ones(4, np.float32))
    for name in ("DATA_DESC_ID", "FEED1", "FEED2", "FIELD_ID", "ARRAY_ID", "OBSERVATION_ID", "SCAN_NUMBER"):
        constant[name] = 0
    for name, value in constant.items():
        ms.putcell(name, 0, value)
    return ms


def write_subtables(path: Path, names: Sequence[str], xyz_m: Floats, frequencies_hz: Floats) -> None:
    """Fill the subtables of a set: stations, field, polarizations, channels."""
    centre, widths = np.array([[RA_RAD, DEC_RAD]]), np.full(len(frequencies_hz), CHANNEL_HZ)
    widths_of = dict.fromkeys(("CHAN_WIDTH", "EFFECTIVE_BW", "RESOLUTION"), widths)
    rows: dict[str, Sequence[Mapping[str, Any]]] = {
        "ANTENNA": [
            {"NAME": name, "STATION": "LOFAR", "TYPE": "GROUND-BASED", "MOUNT": "X-Y", "POSITION": position}
            | {"OFFSET": np.zeros(3), "DISH_DIAMETER": 31.3, "FLAG_ROW": False}
            for name, position in zip(names, xyz_m, strict=True)
        ],
        "FIELD": [
            {"NAME": "SIM", "CODE": "", "TIME": MIDDLE_S, "NUM_POLY": 0, "SOURCE_ID": -1, "FLAG_ROW": False}
            | dict.fromkeys(("DELAY_DIR", "PHASE_DIR", "REFERENCE_DIR"), centre)
        ],
        "POLARIZATION": [
            {"NUM_CORR": 4, "CORR_TYPE": np.array([9, 10, 11, 12], np.int32), "FLAG_ROW": False}
            | {"CORR_PRODUCT": np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)}
        ],
        "DATA_DESCRIPTION": [{"SPECTRAL_WINDOW_ID": 0, "POLARIZATION_ID": 0, "FLAG_ROW": False}],
        "SPECTRAL_WINDOW": [
            {"NUM_CHAN": len(widths), "NAME": "SIM", "REF_FREQUENCY": float(frequencies_hz.mean()), "NET_SIDEBAND": 0}
            | {"CHAN_FREQ": frequencies_hz, "MEAS_FREQ_REF": 5, "TOTAL_BANDWIDTH": float(widths.sum()), **widths_of}
            | {"IF_CONV_CHAIN": 0, "FREQ_GROUP": 0, "FREQ_GROUP_NAME": "", "FLAG_ROW": False}
        ],
        "OBSERVATION": [
            {"TELESCOPE_NAME": "LOFAR", "TIME_RANGE": MIDDLE_S + np.array([-12000, 12000]), "OBSERVER": "sim"}
            | {"PROJECT": "SIM", "RELEASE_DATE": 0.0, "SCHEDULE": ["x"], "SCHEDULE_TYPE": "LOFAR", "LOG": [""]}
        ],
    }
    for name, cells in rows.items():
        with ct.table(f"{path}/{name}", readonly=False, ack=False) as table:
            table.addrows(len(cells))
            for row, values in enumerate(cells):
                for column, value in values.items():
                    table.putcell(column, row, value)


def write_set(path: Path, observation: Observation, sources: Sequence[SkySource]) -> None:
    """Write the set of an observed sky; one row in a hundred is flagged."""
    names, xyz_m = chosen_stations(observation.stations)
    frequencies_hz, times_s = observation.frequencies_hz, observation.times_s
    first, second = np.triu_indices(len(names), 1)
    uvw_m = station_uvw(xyz_m - CS002_M, times_s)
    shutil.rmtree(path, ignore_errors=True)
    with create_main_table(path, len(frequencies_hz), len(first) * len(times_s), observation.step_s) as ms:
        write_subtables(path, names, xyz_m, frequencies_hz)
        for slot, time_s in enumerate(times_s):
            ms.putcell("TIME", slot * len(first), time_s)
            ms.putcell("TIME_CENTROID", slot * len(first), time_s)
        ms.putcol("ANTENNA1", np.tile(first, len(times_s)).astype(np.int32))
        ms.putcol("ANTENNA2", np.tile(second, len(times_s)).astype(np.int32))
        rng = np.random.default_rng([observation.seed, 5])
        for slot in range(0, len(times_s), SLOTS_AT_ONCE):
            stations = uvw_m[slot : slot + SLOTS_AT_ONCE]
            rows = (stations[:, second] - stations[:, first]).reshape(-1, 3)
            sky = predict(rows, sources, frequencies_hz) if sources else 0
            _put_rows(ms, slot * len(first), rows, sky, observation, rng)


def _put_rows(
    ms: ct.table, start: int, uvw_m: Floats, sky: Any, observation: Observation, rng: np.random.Generator
) -> None:
    """Write uvw, noisy visibilities, weights and flags of some rows."""
    shape, sigma = (len(uvw_m), len(observation.frequencies_hz), 4), observation.noise_jy
    cells = np.zeros(shape, np.complex64)
    if observation.noise > 0:
        cells[:] = rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0] * np.float32(sigma)
    cells[..., 0] += sky
    cells[..., 3] += sky
    flags = np.zeros(shape, bool)
    flags[rng.uniform(size=len(uvw_m)) < 0.01] = True
    weights = np.full(shape, 1 / max(sigma, 1.0) ** 2, np.float32)
    for column, value in (("UVW", uvw_m), ("DATA", cells), ("WEIGHT_SPECTRUM", weights), ("FLAG", flags)):
        ms.putcol(column, value, start, len(uvw_m))


@dataclass(frozen=True)
class Truth:
    """Content of a set: sources, frequencies, and imaging settings (pixels, arcsec, wavelengths)."""

    kind: str
    sources: list[SkySource]
    frequencies_hz: list[float]
    pixels: int
    cell_arcsec: float
    max_uv: float
    min_uv: float = 80.0

    def save(self, path: Path) -> None:
        """Write the truth as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Read the truth that ``save`` wrote."""
        values = json.loads(path.read_text())
        return cls(**values | {"sources": [SkySource(**one) for one in values["sources"]]})


def make_yardstick(path: Path, kind: str, observation: Observation, image: tuple[int, float, float]) -> Truth:
    """Write a set and, beside it, its truth; ``image`` has pixels, arcsec per pixel and the longest uv."""
    sources = draw_sky(kind, observation.seed)
    write_set(path, observation, sources)
    truth = Truth(kind, sources, observation.frequencies_hz.tolist(), *image)
    truth.save(truth_path(path))
    return truth


def truth_path(ms: Path) -> Path:
    """Return the place of a set's truth."""
    return ms.with_name(f"{ms.name}.truth.json")
