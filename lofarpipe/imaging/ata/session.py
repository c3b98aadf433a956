"""An observing session: its scans, their files, and the roles of its fields."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from lofarpipe.errors import PipelineError, counted, list_names, nearest
from lofarpipe.imaging.calibration.flux_scale import is_position_name, is_primary, primary_calibrator
from lofarpipe.support.data_map import DataMap
from lofarpipe.support.dataclass import dataclass
from lofarpipe.support.patterns import lazy_pattern
from lofarpipe.support.utilities import files_of, write_atomically

FOLDER = lazy_pattern(r"uvh5_(\d+)_(\d+)_(\d+)_(.+)_(\d+)")
NODE = lazy_pattern(r"Lo([A-D])\.C(\d{4})")
AUTO = "auto"
FLUXCAL, PHASECAL, TARGET = "fluxcal", "phasecal", "target"
SITE_DEG_M = (-121.470736, 40.817431, 1019.222)  # Source: headers of the telescope's uvh5 files
LOWEST_DEG = 15.0  # elevation below which a warning is given. Source: doc/spec/calibration.md, section 4


class SessionError(PipelineError):
    """A session cannot be processed."""


@dataclass(frozen=True)
class NodeFile:
    """One file of one correlator node: part of a tuning's band.

    ``fault`` is the reason of a failed read; the other fields are then empty.
    """

    path: str
    tuning: str  # b
    node: int
    first_hz: float = 0.0
    width_hz: float = 0.0
    channels: int = 0
    fault: str = ""


@dataclass(frozen=True)
class Scan:
    """A scan of one source; one folder."""

    folder: str
    field: str  # name of the source in the files
    direction_rad: tuple[float, float]
    start_jd: float  # of the first integration
    end_jd: float
    integration_s: float
    antennas: tuple[str, ...]
    nodes: tuple[NodeFile, ...]

    @property
    def name(self) -> str:
        """The name of the folder."""
        return Path(self.folder).name

    def tuning_files(self, tuning: str) -> list[NodeFile]:
        """Return the files of a tuning, by node number."""
        return sorted((node for node in self.nodes if node.tuning == tuning), key=lambda node: node.node)


@dataclass(frozen=True)
class Roles:
    """Fields by their roles."""

    fluxcal: str
    phasecal: str
    targets: tuple[str, ...]


@dataclass(frozen=True)
class Session:
    """Scans in use, in order of time, and the excluded ones with reasons."""

    name: str
    outdir: str  # directory of the products
    tunings: tuple[str, ...]
    roles: Roles
    scans: tuple[Scan, ...]  # in use
    left_out: tuple[tuple[str, str], ...]  # name of the folder, reason
    problems: tuple[str, ...] = field(default=())
    present: tuple[str, ...] = field(default=())  # averaged sets of this run; (): all on disk
    solved: tuple[str, ...] = field(default=())  # DP3's solutions of this run; (): of all calibrator scans

    def set_path(self, scan: Scan, tuning: str, ending: str = "") -> str:
        """Return the measurement set of a scan and tuning; ``ending`` is ``_averaged`` for the averaged one."""
        return f"{self.outdir}/{scan.name}_measure_sets/{scan.name}_{tuning}{ending}.ms"

    def kind(self, scan: Scan) -> str:
        """Return the role of a scan's field."""
        return (
            FLUXCAL if scan.field == self.roles.fluxcal else PHASECAL if scan.field == self.roles.phasecal else TARGET
        )

    def scans_of(self, kind: str) -> list[Scan]:
        """Return the scans with a role."""
        return [scan for scan in self.scans if self.kind(scan) == kind]

    def write(self, path: Path) -> None:
        """Write the session as JSON; a file with the same text is left untouched."""
        text = json.dumps(asdict(self), indent=1)
        if not path.is_file() or path.read_text() != text:
            write_atomically(path, text)


def load_session(path: str | Path, sets_mapfile: str = "", solved_mapfile: str = "") -> Session:
    """Load a session written by `Session.write`.

    The mapfiles list its averaged sets and calibrator solutions, one or more per entry; skipped entries are absent.
    """
    entry = lists_to_tuples(json.loads(Path(path).read_text()))
    scans = [lists_to_tuples(scan) for scan in entry["scans"]]
    for scan in scans:
        scan["nodes"] = tuple(NodeFile(**node) for node in scan["nodes"])
    entry |= {"roles": Roles(**lists_to_tuples(entry["roles"])), "scans": tuple(Scan(**scan) for scan in scans)}
    for key, mapfile in (("present", sets_mapfile), ("solved", solved_mapfile)):
        if mapfile:
            products = (product.file for product in DataMap.load(mapfile).data if not product.skip)
            entry[key] = tuple(name for product in products for name in files_of(product))
    return Session(**entry | {"left_out": tuple((folder, reason) for folder, reason in entry["left_out"])})


def lists_to_tuples(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with its lists converted to tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}


# ---- the files of a session


def scan_folders(session: Path) -> list[Path]:
    """Return the scan folders sorted by the MJD, second and fraction in their names."""
    matches = [
        (match, entry) for entry in session.iterdir() if (match := FOLDER.fullmatch(entry.name)) and entry.is_dir()
    ]
    return [entry for _, entry in sorted(matches, key=lambda pair: (*map(int, pair[0].groups()[:3]), pair[1].name))]


def node_files(folder: Path, tunings: Iterable[str]) -> list[NodeFile]:
    """Return the uvh5 files of a scan, with the frequencies in their headers."""
    files = []
    for directory in sorted(folder.iterdir()):
        match = NODE.fullmatch(directory.name)
        if match and match[1].lower() in tunings:
            files += [_node_file(path, match[1].lower(), int(match[2])) for path in sorted(directory.glob("*.uvh5"))]
    return files


def _node_file(path: Path, tuning: str, node: int) -> NodeFile:
    try:
        with opened_uvh5(path) as file:
            header = file["Header"]
            frequencies_hz, widths_hz = header["freq_array"][()].ravel(), header["channel_width"][()]
            if file["Data/visdata"].shape[-2] != len(frequencies_hz):
                return NodeFile(str(path), tuning, node, fault="its data have other channels than its header")
            return NodeFile(
                *(str(path), tuning, node, float(frequencies_hz[0])), float(widths_hz.flat[0]), len(frequencies_hz)
            )
    except (OSError, KeyError, ValueError, IndexError) as err:
        return NodeFile(str(path), tuning, node, fault=" ".join(str(err).split()))


def opened_uvh5(path: Path) -> Any:
    """Open a uvh5 file for reading.

    Raises
    ------
    SessionError
        If h5py is not installed.
    OSError
        If the file is not HDF5, or truncated.
    """
    try:
        import h5py
    except ImportError as err:
        raise SessionError(f"uvh5 files cannot be read ({err}); pip install 'genericpipeline[ata]'") from err
    return h5py.File(path)


def read_scan_header(folder: Path, tunings: Sequence[str]) -> Scan | None:
    """Return a scan from the headers of its files; None without files of these tunings.

    Without a readable file the field is taken from the folder's name, and there are no times.
    """
    nodes = node_files(folder, tunings)
    readable = [node for node in nodes if not node.fault]
    if not nodes:
        return None
    if not readable:
        match = FOLDER.fullmatch(folder.name)
        name = match[4] if match else folder.name
        return Scan(str(folder), name, (0.0, 0.0), 0.0, 0.0, 0.0, (), tuple(nodes))
    with opened_uvh5(Path(readable[0].path)) as file:
        header = file["Header"]
        times_jd = header["time_array"][()]
        name, direction_rad = _phase_centre(header)
        numbers = {*header["ant_1_array"][()].tolist(), *header["ant_2_array"][()].tolist()}
        numbered_names = zip(header["antenna_numbers"][()].tolist(), header["antenna_names"][()], strict=True)
        antennas = tuple(hdf5_text(antenna) for number, antenna in sorted(numbered_names) if number in numbers)
        return Scan(
            *(str(folder), name, direction_rad, float(times_jd.min()), float(times_jd.max())),
            *(float(header["integration_time"][()].flat[0]), antennas, tuple(nodes)),
        )


def hdf5_text(value: Any) -> str:
    """Return a text of an HDF5 file."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _phase_centre(header: Any) -> tuple[str, tuple[float, float]]:
    """Return name and direction of the phase centre, also from the keys of older files."""
    if "phase_center_catalog" in header:
        catalogue = header["phase_center_catalog"]
        number = str(header["phase_center_id_array"][()].flat[0])
        entry = catalogue[number if number in catalogue else next(iter(catalogue))]
        return hdf5_text(entry["cat_name"][()]), (float(entry["cat_lon"][()]), float(entry["cat_lat"][()]))
    direction = (float(header["phase_center_ra"][()]), float(header["phase_center_dec"][()]))
    return hdf5_text(header["object_name"][()]), direction


# ---- roles of the fields


def find_roles(fields: Sequence[str], fluxcal: str, phasecal: str, targets: Sequence[str]) -> Roles:
    """Return the roles of the fields; ``auto`` derives them from the names.

    The flux calibrator is in the flux scale, the phase calibrator is named after its position (1733-130), and all
    others are targets.

    Raises
    ------
    SessionError
        If a name is not among the fields, or no or several fields match.
    """
    flux = _chosen(FLUXCAL, fluxcal, fields, [name for name in fields if is_primary(name)], "is in the flux scale")
    rest = [name for name in fields if name != flux]
    by_position = [name for name in rest if is_position_name(name)]
    phase = _chosen(PHASECAL, phasecal, rest, by_position, "is called after its position, as 1733-130 is")
    others = [name for name in rest if name != phase]
    target_names = [*targets] if [*targets] not in ([], [AUTO]) else others
    for name in target_names:
        _require(TARGET, name, others)
    if not target_names:
        raise SessionError(
            f"target: there is no field but the calibrators {list_names(fields)}; name the right session"
        )
    primary_calibrator(flux)
    return Roles(flux, phase, tuple(target_names))


def _chosen(option: str, choice: str, fields: Sequence[str], matches: Sequence[str], rule: str) -> str:
    if choice != AUTO:
        _require(option, choice, fields)
        return choice
    if len(matches) != 1:
        number = f"{counted(len(matches), 'field')} ({list_names(matches)})" if matches else "no field"
        raise SessionError(f"{option}: {number} of {list_names(fields)} {rule}; set {option} to one of them")
    return matches[0]


def _require(option: str, name: str, fields: Sequence[str]) -> None:
    if name not in fields:
        raise SessionError(
            f"{option}: there is no field '{name}'; there are: {list_names(fields)}{nearest(name, fields)}"
        )


def choose_scans(
    scans: Sequence[Scan], roles: Roles, fluxcal_scans: Sequence[str]
) -> tuple[list[Scan], list[tuple[str, str]]]:
    """Return the scans to use, and the excluded ones with reasons.

    ``fluxcal_scans`` selects scans of the flux calibrator: ``last``, as earlier ones have older delays and phases;
    ``all``; or names of folders.

    Raises
    ------
    SessionError
        If a named folder is not a scan of the flux calibrator.
    """
    flux = [scan for scan in scans if scan.field == roles.fluxcal]
    if [*fluxcal_scans] not in (["last"], ["all"]):
        for name in fluxcal_scans:
            _require_folder(name, [scan.name for scan in flux])
    flux_names = {scan.name for scan in flux} if [*fluxcal_scans] == ["all"] else set(fluxcal_scans)
    if [*fluxcal_scans] == ["last"]:
        flux_names = {flux[-1].name} if flux else set()
    chosen_scans, left_out = [], []
    for scan in scans:
        if scan.field == roles.fluxcal and scan.name not in flux_names:
            reason = "an earlier scan of the flux calibrator, on older delays" if [*fluxcal_scans] == ["last"] else ""
            left_out.append((scan.name, reason or "not in fluxcal_scans"))
        elif scan.field not in (roles.fluxcal, roles.phasecal, *roles.targets):
            left_out.append((scan.name, f"{scan.field} is no calibrator, and not in target"))
        else:
            chosen_scans.append(scan)
    return chosen_scans, left_out


def _require_folder(name: str, folders: Sequence[str]) -> None:
    if name not in folders:
        raise SessionError(
            f"fluxcal_scans: there is no scan '{name}' of the flux calibrator; there are: {list_names(folders)}"
            f"{nearest(name, folders)}"
        )


def scan_problems(scans: Sequence[Scan], roles: Roles, tunings: Sequence[str]) -> list[str]:
    """Return problems of scans: missing or unreadable files, and gains without a phase calibrator on both sides."""
    lines = []
    for tuning in tunings:
        nodes = {node.node for scan in scans for node in scan.tuning_files(tuning)}
        for scan in scans:
            if missing := sorted(nodes - {node.node for node in scan.tuning_files(tuning)}):
                names = list_names(f"Lo{tuning.upper()}.C{node:04d}" for node in missing)
                lines.append(f"{scan.name}: the file of {names} is missing; its channels are flagged")
    lines += [f"{node.path}: cannot be read: {node.fault}" for scan in scans for node in scan.nodes if node.fault]
    phase = [scan.start_jd for scan in scans if scan.field == roles.phasecal]
    for scan in scans:
        if scan.field in roles.targets and phase and not min(phase) < scan.start_jd < max(phase):
            side = "before" if scan.start_jd < min(phase) else "after"
            lines.append(f"{scan.name}: there is no scan of {roles.phasecal} {side} it; gains are not interpolated")
    return lines


@dataclass(frozen=True)
class SessionOptions:
    """The user's choices for sessions: fields by name or ``auto``, and tunings such as b, c."""

    fluxcal: str = AUTO
    phasecal: str = AUTO
    targets: tuple[str, ...] = ()
    fluxcal_scans: tuple[str, ...] = ("last",)
    tunings: tuple[str, ...] = ("b", "c")


def read_session(directory: Path, outdir: Path, options: SessionOptions) -> Session:
    """Read a session from the headers of its files.

    Raises
    ------
    SessionError
        If it has no scans, a field is missing, or a calibrator has no scan.
    """
    headers = [read_scan_header(folder, options.tunings) for folder in scan_folders(directory)]
    scans = [scan for scan in headers if scan is not None]
    if not scans:
        tunings = list_names(f"Lo{tuning.upper()}" for tuning in options.tunings)
        raise SessionError(
            f"{directory}: holds no scans uvh5_*/{{{tunings}}}.C*/*.uvh5; correct project, runs or tunings"
        )
    present = tuple(t for t in options.tunings if any(scan.tuning_files(t) for scan in scans))
    try:
        fields = [*dict.fromkeys(scan.field for scan in scans)]
        roles = find_roles(fields, options.fluxcal, options.phasecal, options.targets)
        chosen_scans, left_out = choose_scans(scans, roles, options.fluxcal_scans)
    except PipelineError as err:
        raise SessionError(f"{directory}: {err}") from err
    problems = scan_problems(chosen_scans, roles, present)
    place = str(outdir / directory.name)
    return Session(directory.name, place, present, roles, tuple(chosen_scans), tuple(left_out), tuple(problems))


def find_sessions(project: str, runs: Sequence[str]) -> list[Path]:
    """Return the session directories of a project that match any pattern, sorted.

    Raises
    ------
    SessionError
        If the project does not exist, or a pattern matches nothing.
    """
    root = Path(project).expanduser()
    if not root.is_dir():
        raise SessionError(f"project: there is no directory {root}; name the directory that holds the sessions")
    directories: set[Path] = set()
    for pattern in runs:
        matches = {path for path in root.glob(pattern) if path.is_dir()}
        if not matches:
            names = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
            raise SessionError(
                f"runs: '{pattern}' matches no session in {root}, which has: {list_names(names) or 'none'}"
            )
        directories |= matches
    return sorted(Path(os.path.abspath(path)) for path in directories)  # noqa: PTH100 - links stay


# ---- elevations


def altitude_azimuth_deg(
    direction_rad: tuple[float, float], times_jd: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Return elevations and azimuths of an ICRS direction at the telescope, degrees.

    Source: astropy, AltAz without refraction; Earth orientation from the installed tables.
    """
    import astropy.units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    longitude_deg, latitude_deg, height_m = SITE_DEG_M
    site = EarthLocation.from_geodetic(longitude_deg * u.deg, latitude_deg * u.deg, height_m * u.m)
    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        frame = AltAz(obstime=Time(list(times_jd), format="jd"), location=site)
        horizontal = SkyCoord(direction_rad[0] * u.rad, direction_rad[1] * u.rad).transform_to(frame)
    return horizontal.alt.deg.tolist(), horizontal.az.deg.tolist()


def elevation_findings(scans: Sequence[Scan]) -> tuple[list[str], list[str]]:
    """Return messages on scans below the horizon, and on scans at low elevation."""
    below, low = [], []
    for scan in scans:
        if not scan.start_jd:
            continue
        lowest = min(altitude_azimuth_deg(scan.direction_rad, [scan.start_jd, scan.end_jd])[0])
        if lowest < 0:
            below.append(
                f"{scan.name}: {scan.field} is {-lowest:.1f} deg below the horizon; the times or the name are wrong"
            )
        elif lowest < LOWEST_DEG:
            low.append(
                f"{scan.name}: {scan.field} is at an elevation of {lowest:.1f} deg; below {LOWEST_DEG:g} gains are poor"
            )
    return below, low


def parallactic_rad(scan: Scan) -> float:
    """Return the parallactic angle in the middle of a scan, rad, from the mean sidereal time."""
    import math

    from astropy.time import Time
    from astropy.utils import iers

    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("auto_max_age", None):
        time = Time((scan.start_jd + scan.end_jd) / 2, format="jd")
        sidereal_rad = time.sidereal_time("mean", longitude=f"{SITE_DEG_M[0]}d").rad
    hour_rad, latitude_rad = sidereal_rad - scan.direction_rad[0], math.radians(SITE_DEG_M[1])
    declination_rad = scan.direction_rad[1]
    upward = math.tan(latitude_rad) * math.cos(declination_rad) - math.sin(declination_rad) * math.cos(hour_rad)
    return math.atan2(math.sin(hour_rad), upward)


def summary_of(session: Session) -> Mapping[str, Any]:
    """Return the used and excluded scans in the form of calibration.json."""
    return {
        "scans_used": [scan.name for scan in session.scans],
        "scans_left_out": [{"folder": folder, "reason": reason} for folder, reason in session.left_out],
    }
