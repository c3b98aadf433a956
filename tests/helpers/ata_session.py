"""A tiny session of the Allen Telescope Array, uvh5 files with known gains and delays; made with pyuvdata."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from lofarpipe.imaging.calibration.flux_scale import primary_calibrator

NAMES = {"1a": 1, "1c": 3, "2a": 6, "2b": 7, "3c": 11, "4g": 14, "5b": 20, "5c": 21}  # numbers with holes
MORE_NAMES = {"1f": 8, "1h": 10, "1k": 12, "2h": 18}
UNUSED = {"1b": 2, "2j": 9}
FIELDS = {
    "3c286": (202.784533, 30.509155),
    "1733-130": (263.261274, -13.08043),
    "SWIFT_J1727": (261.930583, -16.205333),
}
PHASECAL_JY, TARGET_JY = 4.2, 1.5
FIRST_HZ = {"b": 3.0e9, "c": 3.02e9}
CHANNELS, WIDTH_HZ, NODES = 16, 0.5e6, (352, 544)
INTEGRATION_S, SLEW_S = 5.0, 40.0


@dataclass
class MadeSession:
    """Place and gains of a session: delays in ns (antenna, pol), by tuning."""

    project: Path
    name: str = "2024-12-11-18:42:07"
    folders: list[str] = field(default_factory=list)
    delays_ns: dict[str, np.ndarray] = field(default_factory=dict)
    antennas: dict[str, int] = field(default_factory=NAMES.copy)

    @property
    def directory(self) -> Path:
        return self.project / self.name

    def files(self, scan: int, tuning: str) -> list[Path]:
        """Return the files of a tuning of a scan, by node."""
        return sorted((self.directory / self.folders[scan]).glob(f"Lo{tuning.upper()}.C*/*.uvh5"))


SCANS = (("3c286", 4), ("3c286", 8), ("1733-130", 6), ("SWIFT_J1727", 10), ("1733-130", 6))


def make_session(
    project: Path,
    scans=SCANS,
    seed: int = 1,
    dead: str = "",
    noise_jy: float = 0.3,
    antennas=NAMES,
    tunings="bc",
    slew_s=SLEW_S,
) -> MadeSession:
    """Write a session; the first scan of the flux calibrator is on other delays. ``dead`` is 0 in the node C0544."""
    pytest.importorskip("pyuvdata", reason="pyuvdata, of the extra ata, is not installed")
    made, rng = MadeSession(project, antennas={**antennas}), np.random.default_rng(seed)
    telescope, gains = _telescope(rng, antennas), {}
    for tuning in tunings:
        made.delays_ns[tuning] = rng.uniform(-25, 25, (len(antennas), 2))
        turns = np.exp(1j * rng.uniform(-3, 3, (len(antennas), 2)))
        gains[tuning] = rng.uniform(0.02, 0.05, (len(antennas), 2)) * turns
    start_jd = 2460656.28
    for number, (source, slots) in enumerate(scans):
        times_jd = start_jd + (np.arange(slots) + 0.5) * INTEGRATION_S / 86400
        start_jd = times_jd[-1] + slew_s / 86400
        second = int((times_jd[0] - 2400000.5) % 1 * 86400)
        made.folders.append(f"uvh5_60655_{second:05d}_{number:08d}_{source}_0001")
        for tuning in tunings:
            shift_ns = 30.0 * (number == 0)
            _write_scan(made, telescope, tuning, source, times_jd, gains[tuning], shift_ns, dead, noise_jy, rng)
    return made


def _telescope(rng, antennas):
    import astropy.units as u
    from astropy.coordinates import EarthLocation
    from pyuvdata import Telescope, utils

    site = EarthLocation.from_geodetic(-121.470736 * u.deg, 40.817431 * u.deg, 1019.222 * u.m)
    named = sorted((antennas | UNUSED).items(), key=lambda pair: pair[1])
    places = utils.ECEF_from_ENU(np.c_[rng.uniform(-150, 150, (len(named), 2)), np.zeros(len(named))], center_loc=site)
    return Telescope.new(
        name="ATA",
        location=site,
        antenna_positions=places - np.array([site.x.value, site.y.value, site.z.value]),
        antenna_names=[name for name, _ in named],
        antenna_numbers=np.array([number for _, number in named]),
        instrument="ATA",
        x_orientation="east",
        antenna_diameters=np.full(len(named), 6.1),
    )


def _write_scan(made, telescope, tuning, source, times_jd, gains, shift_ns, dead, noise_jy, rng) -> None:
    from pyuvdata import UVData

    hz = FIRST_HZ[tuning] + np.arange(CHANNELS) * WIDTH_HZ
    numbers = [*made.antennas.values()]
    ra, dec = FIELDS[source]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        uv = UVData.new(
            freq_array=hz,
            polarization_array=np.array([-5, -7, -8, -6]),
            times=times_jd,
            antpairs=np.array(
                [(b, a) if (a + b) % 5 == 0 else (a, b) for k, a in enumerate(numbers) for b in numbers[k:]]
            ),
            do_blt_outer=True,
            integration_time=INTEGRATION_S,
            channel_width=WIDTH_HZ,
            telescope=telescope,
            vis_units="uncalib",
            phase_center_catalog={
                0: {
                    "cat_name": source,
                    "cat_type": "sidereal",
                    "cat_lon": np.radians(ra),
                    "cat_lat": np.radians(dec),
                    "cat_frame": "icrs",
                    "cat_epoch": 2000.0,
                }
            },
            empty=True,
            history="made up",
        )
        uv.set_uvws_from_antenna_positions(update_vis=False)
    delays = made.delays_ns[tuning] + shift_ns * np.arange(len(numbers))[:, None] / len(numbers)
    turns = gains[:, :, None] * np.exp(2j * np.pi * delays[:, :, None] * 1e-9 * (hz - hz.mean()))
    first, second = (np.array([numbers.index(n) for n in array]) for array in (uv.ant_1_array, uv.ant_2_array))
    flux = {"3c286": primary_calibrator("3c286").flux_jy(hz), "1733-130": PHASECAL_JY, "SWIFT_J1727": TARGET_JY}[source]
    for c, (a, b) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        uv.data_array[:, :, c] = (flux if a == b else 0) * np.conj(turns[first, a]) * turns[second, b]
    noise = rng.normal(0, noise_jy * 0.035**2, (2, *uv.data_array.shape))
    uv.data_array = (uv.data_array + noise[0] + 1j * noise[1]).astype(np.complex64)
    autos = first == second
    uv.data_array[autos] = np.abs(uv.data_array[autos]) + 3
    uv.flag_array[:] = False
    uv.nsample_array[:] = -1.2e12
    for k, node in enumerate(NODES):
        half = CHANNELS // 2
        part = uv.select(freq_chans=np.arange(k * half, (k + 1) * half), inplace=False)
        part.data_array[np.flatnonzero(~autos)[2], 3, 0] = 1e30
        if dead and node == 544:
            part.data_array[(part.ant_1_array == NAMES[dead]) | (part.ant_2_array == NAMES[dead])] = 0
        place = made.directory / made.folders[-1] / f"Lo{tuning.upper()}.C{node:04d}"
        place.mkdir(parents=True)
        part.write_uvh5(str(place / f"{made.folders[-1]}.uvh5"))
    (made.directory / made.folders[-1] / "telinfo.toml").write_text('telescope_name = "ATA"\n')


def copied(made: MadeSession, project: Path) -> MadeSession:
    """Return a copy of a session that a test may change."""
    shutil.copytree(made.project, project)
    return MadeSession(project, made.name, made.folders, made.delays_ns)
